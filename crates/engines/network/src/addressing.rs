//! Which address is of which class.

use crate::classes::{Classes, Meaning};
use crate::groups::Groups;
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
    ) -> Self {
        let mut classes = Classes::default();
        let mut alone = |met: &[TermId]| classes.of(Meaning::of(met), numbers);
        let prefixes = terms.prefixes().map(|(prefix, met)| (prefix, alone(met))).collect();
        let mut addresses: HashMap<IpAddr, Address> =
            HashMap::with_capacity_and_hasher(groups.endpoints.len(), RandomState::default());
        for (address, met) in terms.of_nodes(snapshot) {
            addresses.insert(address, Address::of_node(alone(&met)));
        }
        for address in addresses.values() {
            classes.has_node(address.class);
        }
        let by_label: Vec<Vec<TermId>> = groups.groups.iter().map(|group| terms.of_pod(group.pod)).collect();
        let mut seen = Seen::default();
        for (name, pod, group) in &groups.endpoints {
            let ports = ports(pod, names);
            for address in &pod.addresses {
                let block = terms.of_address(*address).filter(|_| !snapshot.cidr_excludes_pods);
                let hosts = terms.of_host(*address);
                let key = (*group, block.map(Arc::as_ptr), hosts, ports.clone());
                let class = *seen.entry(key).or_insert_with(|| {
                    let terms = terms.met(&by_label[*group], *address, !snapshot.cidr_excludes_pods);
                    classes.of(Meaning { terms, ports: ports.clone() }, numbers)
                });
                let (enrolled, resolver) = (pod.enrolled, snapshot.resolvers.contains(address));
                addresses.insert(*address, Address { class, pod: Some((*name).clone()), enrolled, resolver });
            }
        }
        Self { addresses, prefixes, classes }
    }
}

/// The classes that were found already: by group, matching blocks, terms for the address alone, and named ports.
type Seen<'a> = HashMap<(usize, Option<*const [TermId]>, &'a [TermId], Vec<(PortName, u16)>), ClassId>;

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
