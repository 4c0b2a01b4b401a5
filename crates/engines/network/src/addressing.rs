//! Which address is of which class.

use crate::classes::{Classes, Meaning};
use crate::cores::Cores;
use crate::groups::{Groups, Piece};
use crate::numbers::Numbers;
use crate::program::{Address, ClassId};
use crate::rules::{Port, PortName, Rule};
use crate::terms::{TermId, Terms};
use foldhash::HashMap;
use foldhash::fast::RandomState;
use lictor_cluster::{Pod, Snapshot};
use lictor_model::Cidr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The classes of a snapshot and where they are.
pub(crate) struct Addressing {
    pub(crate) addresses: HashMap<IpAddr, Address>,
    pub(crate) prefixes: BTreeMap<Cidr, ClassId>,
    pub(crate) classes: Classes,
}

impl Addressing {
    /// Classifies every pod, node and block.
    pub(crate) fn of(
        snapshot: &Snapshot,
        groups: &Groups<'_>,
        terms: &Terms,
        names: &BTreeSet<PortName>,
        numbers: &mut Numbers<Meaning>,
        cores: Cores,
    ) -> Self {
        let mut classes = Classes::default();
        let groups_in_all = groups.pieces.iter().map(|piece| piece.groups.len()).sum();
        numbers.expect(groups_in_all);
        classes.expect(groups_in_all, terms.len());
        let mut alone = |met: &[TermId]| classes.of(&Meaning::of(met), numbers);
        let prefixes = terms.prefixes().map(|(prefix, met)| (prefix, alone(met))).collect();
        let mut addresses: HashMap<IpAddr, Address> =
            HashMap::with_capacity_and_hasher(snapshot.pods.len(), RandomState::default());
        for (address, met) in terms.of_nodes(snapshot) {
            addresses.insert(address, Address::of_node(alone(&met)));
        }
        for address in addresses.values() {
            classes.has_node(address.class);
        }
        for placed in cores.each(&groups.pieces, |piece| Placed::of(snapshot, piece, terms, names)) {
            let met: Vec<ClassId> = placed.meanings.iter().map(|meaning| classes.of(meaning, numbers)).collect();
            for (pod, address, meaning) in placed.addresses {
                let (enrolled, resolver) = (pod.enrolled, snapshot.resolvers.contains(&address));
                let (class, pod) = (met[meaning], Some(pod.name.clone()));
                addresses.insert(address, Address { class, pod, enrolled, resolver });
            }
        }
        Self { addresses, prefixes, classes }
    }
}

/// What the addresses of some pods meet and have.
struct Placed<'a> {
    /// In the order in which the addresses come to have them; some may be the same.
    meanings: Vec<Meaning>,
    /// Each with the place of its meaning.
    addresses: Vec<(&'a Pod, IpAddr, usize)>,
}

/// The meanings that were found already: by group, matching blocks, terms for the address alone, and named ports.
type Seen<'a> = HashMap<(u32, Option<*const [TermId]>, &'a [TermId], Vec<(PortName, u16)>), usize>;

impl<'a> Placed<'a> {
    fn of(snapshot: &Snapshot, piece: &Piece<'a>, terms: &Terms, names: &BTreeSet<PortName>) -> Self {
        let in_blocks = !snapshot.cidr_excludes_pods;
        let by_label: Vec<Vec<TermId>> = piece.groups.iter().map(|group| terms.of_pod(group.pod)).collect();
        let mut placed = Self {
            meanings: Vec::with_capacity(piece.groups.len()),
            addresses: Vec::with_capacity(piece.endpoints.len()),
        };
        let mut seen = Seen::default();
        let namespace = |group: u32| &piece.groups[group as usize].pod.name.namespace;
        for of_namespace in piece.endpoints.chunk_by(|(_, one), (_, next)| namespace(*one) == namespace(*next)) {
            // Nothing of another namespace is of the same group.
            seen.clear();
            for (pod, group) in of_namespace {
                let ports = ports(pod, names);
                for address in &pod.addresses {
                    let block = terms.of_address(*address).filter(|_| in_blocks);
                    let hosts = terms.of_host(*address);
                    let key = (*group, block.map(Arc::as_ptr), hosts, ports.clone());
                    let meaning = *seen.entry(key).or_insert_with(|| {
                        let terms = terms.met(&by_label[*group as usize], *address, in_blocks).into();
                        placed.meanings.push(Meaning { terms, ports: ports.as_slice().into() });
                        placed.meanings.len() - 1
                    });
                    placed.addresses.push((pod, *address, meaning));
                }
            }
        }
        placed
    }
}

/// The names of peers' ports that rules use, in order.
pub(crate) fn peer_names<'a>(rules: impl Iterator<Item = &'a Rule>) -> BTreeSet<PortName> {
    let ports = rules.filter_map(|rule| rule.ports.as_ref()).flatten();
    ports
        .filter_map(|port| match port {
            Port::Peers(name) => Some(name.clone()),
            Port::Range(..) | Port::Own(_) => None,
        })
        .collect()
}

/// The numbers that a pod has under these names.
pub(crate) fn ports(pod: &Pod, names: &BTreeSet<PortName>) -> Vec<(PortName, u16)> {
    let number = |name: &PortName| Some((name.clone(), pod.named_port(&name.name, name.protocol)?));
    names.iter().filter_map(number).collect()
}
