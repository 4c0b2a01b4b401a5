//! What peers of live policies ask of an address, each question once.

mod extend;
mod hosts;
mod namespaces;

pub(crate) use extend::Extended;
pub(crate) use hosts::HostsOf;

use self::hosts::Hosts;
use crate::numbers::Numbers;
use crate::selector_index::SelectorIndex;
use foldhash::HashMap;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{NetworkPolicy, PeerTerm, TierPeer};
use lictor_model::{Cidr, IpBlock, Operator, Selector};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The number of a term.
pub(crate) type TermId = u32;

/// A peer term with its policy's namespace filled in: the same question by two policies is one term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    /// Pods by namespace and label.
    Pods(Arc<PodsOf>),
    /// Addresses.
    Block(IpBlock),
    /// Addresses that are no pod's and no node's.
    Outside(Cidr),
    /// The addresses of nodes with these labels.
    Nodes(Selector),
    /// Addresses that stand somewhere else under a name.
    Hosts(HostsOf),
}

/// Which pods a term speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PodsOf {
    /// The namespaces.
    pub(crate) scope: Scope,
    /// The pods in them.
    pub(crate) pods: Selector,
    /// What must hold for the name of their service account.
    pub(crate) accounts: Vec<Operator>,
}

/// The namespaces that a term speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The policy's own.
    Own(Arc<str>),
    /// Those with these labels.
    Selected(Selector),
    /// All of them.
    Any,
}

impl Term {
    /// Pods whatever their service account is.
    pub(crate) fn pods(scope: Scope, pods: Selector) -> Self {
        Self::Pods(Arc::new(PodsOf { scope, pods, accounts: Vec::new() }))
    }

    pub(crate) fn of(policy: &NetworkPolicy, peer: &PeerTerm) -> Self {
        match peer {
            PeerTerm::Block(block) => Self::Block(block.clone()),
            PeerTerm::Pods { namespaces, pods } => {
                let scope = match namespaces {
                    None => Scope::Own(Arc::clone(&policy.meta.name.namespace)),
                    Some(selector) => Scope::Selected(selector.clone()),
                };
                Self::pods(scope, pods.clone().unwrap_or_default())
            }
        }
    }

    /// The term of a cluster-wide policy's peer; nothing for a form that matches nothing.
    pub(crate) fn of_tier(peer: &TierPeer) -> Option<Self> {
        Some(match peer {
            TierPeer::Pods(pods) => Self::pods(Scope::Selected(pods.namespaces.clone()), pods.pods.clone()),
            TierPeer::Nodes(selector) => Self::Nodes(selector.clone()),
            TierPeer::Network(block) => Self::Block(IpBlock { cidr: *block, except: Vec::new() }),
            TierPeer::Domain(_) | TierPeer::Unknown => return None,
        })
    }
}

/// The terms that the addresses of a prefix meet, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Met {
    /// Those of a pod or node there.
    known: Arc<[TermId]>,
    /// Those of any other address there.
    outside: Arc<[TermId]>,
}

/// The terms of live policies, ready to be asked which of them an address or a pod meets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Terms {
    pods: HashMap<TermId, Arc<PodsOf>>,
    /// Those of them that speak of namespaces by their labels.
    by_labels: BTreeSet<TermId>,
    blocks: BTreeMap<TermId, IpBlock>,
    outside: BTreeMap<TermId, Cidr>,
    nodes: BTreeMap<TermId, Selector>,
    hosts: BTreeMap<TermId, Hosts>,
    by_host: HashMap<IpAddr, Vec<TermId>>,
    /// The pod terms that can match in a namespace.
    by_namespace: HashMap<Arc<str>, SelectorIndex<TermId>>,
    /// For each block and hole: the terms that an address meets which no longer one of them covers.
    by_prefix: BTreeMap<Cidr, Met>,
    /// Those of a single address that a policy's block or hole is.
    single: BTreeSet<Cidr>,
    /// The lengths of these prefixes, longest first, by family: IPv4, IPv6.
    lengths: [Vec<u8>; 2],
}

impl Terms {
    /// Takes a term in; its number.
    pub(crate) fn add(&mut self, term: Term, numbers: &mut Numbers<Term>) -> TermId {
        let id = numbers.of(&term);
        match term {
            Term::Pods(of) => {
                if matches!(of.scope, Scope::Selected(_)) {
                    self.by_labels.insert(id);
                }
                self.pods.entry(id).or_insert(of);
            }
            Term::Block(block) => {
                self.blocks.entry(id).or_insert(block);
            }
            Term::Outside(block) => {
                self.outside.entry(id).or_insert(block);
            }
            Term::Nodes(selector) => {
                self.nodes.entry(id).or_insert(selector);
            }
            Term::Hosts(of) => {
                self.hosts.entry(id).or_insert(Hosts { of, addresses: BTreeSet::new() });
            }
        }
        id
    }

    /// How many there are of pods.
    pub(crate) fn len(&self) -> usize {
        self.pods.len()
    }

    /// Makes room for so many pods' terms.
    pub(crate) fn expect(&mut self, count: usize) {
        self.pods.reserve(count);
    }

    /// Makes the look-ups, once all terms are in.
    pub(crate) fn index(&mut self, snapshot: &Snapshot) {
        let mut own: HashMap<&Arc<str>, Vec<TermId>> = HashMap::default();
        own.reserve(snapshot.namespaces.len().min(self.pods.len()));
        self.by_namespace.reserve(own.capacity());
        let mut selected: HashMap<&Selector, Vec<TermId>> = HashMap::default();
        let mut any: Vec<TermId> = Vec::new();
        for (id, of) in &self.pods {
            match &of.scope {
                Scope::Any => any.push(*id),
                Scope::Own(namespace) => own.entry(namespace).or_default().push(*id),
                Scope::Selected(selector) => selected.entry(selector).or_default().push(*id),
            }
        }
        for (name, state) in &snapshot.namespaces {
            let selecting = selected.iter().filter(|(selector, _)| selector.matches(&state.labels));
            let mut within = SelectorIndex::default();
            for id in selecting.flat_map(|(_, ids)| ids).chain(own.get(name).into_iter().flatten()).chain(&any) {
                if let Some(of) = self.pods.get(id) {
                    within.insert(&of.pods, *id);
                }
            }
            if !within.is_empty() {
                self.by_namespace.insert(Arc::clone(name), within);
            }
        }
        for (id, hosts) in &self.hosts {
            for address in &hosts.addresses {
                self.by_host.entry(*address).or_default().push(*id);
            }
        }
        self.index_blocks(&self.strangers(snapshot));
    }

    /// Makes the prefixes; these addresses are of hosts that are no pod and no node.
    fn index_blocks(&mut self, strangers: &[IpAddr]) {
        let mut blocks: HashMap<Cidr, Vec<TermId>> = HashMap::default();
        let mut holes: HashMap<Cidr, Vec<TermId>> = HashMap::default();
        for (id, block) in &self.blocks {
            blocks.entry(block.cidr).or_default().push(*id);
            for hole in &block.except {
                holes.entry(*hole).or_default().push(*id);
            }
        }
        let mut outside: HashMap<Cidr, Vec<TermId>> = HashMap::default();
        for (id, block) in &self.outside {
            outside.entry(*block).or_default().push(*id);
        }
        let single = strangers.iter().map(|address| Cidr::host(*address));
        let named = || blocks.keys().chain(holes.keys()).chain(outside.keys()).copied();
        self.single = named().filter(|block| *block == Cidr::host(block.network())).collect();
        let prefixes: BTreeSet<Cidr> = named().chain(single).collect();
        for prefix in &prefixes {
            let family = &mut self.lengths[usize::from(prefix.network().is_ipv6())];
            if !family.contains(&prefix.prefix()) {
                family.push(prefix.prefix());
            }
        }
        for family in &mut self.lengths {
            family.sort_unstable_by(|a, b| b.cmp(a));
        }
        for prefix in prefixes {
            let mut met = BTreeSet::new();
            let mut missed = BTreeSet::new();
            let mut beyond = BTreeSet::new();
            for wider in covering(&self.lengths, prefix.network(), prefix.prefix()) {
                met.extend(blocks.get(&wider).into_iter().flatten().copied());
                missed.extend(holes.get(&wider).into_iter().flatten().copied());
                beyond.extend(outside.get(&wider).into_iter().flatten().copied());
            }
            if prefix == Cidr::host(prefix.network()) {
                beyond.extend(self.by_host.get(&prefix.network()).into_iter().flatten().copied());
            }
            let known: BTreeSet<TermId> = met.difference(&missed).copied().collect();
            beyond.extend(&known);
            let [known, outside] = [known, beyond].map(|terms| terms.into_iter().collect());
            self.by_prefix.insert(prefix, Met { known, outside });
        }
    }

    /// The pod terms that a pod meets, ascending.
    pub(crate) fn of_pod(&self, pod: &Pod) -> Vec<TermId> {
        let (namespace, labels) = (&pod.name.namespace, &pod.labels);
        let candidates = self.by_namespace.get(namespace).into_iter().flat_map(|index| index.candidates(labels));
        let holds = |accounts: &[Operator]| accounts.iter().all(|operator| operator.holds(Some(&pod.service_account)));
        let meets = |id: &TermId| self.pods.get(id).is_some_and(|of| of.pods.matches(labels) && holds(&of.accounts));
        let mut met: Vec<TermId> = candidates.filter(meets).collect();
        met.sort_unstable();
        met
    }

    /// Each address of a node with the terms that it meets, those of blocks among them if these count; ascending.
    pub(crate) fn of_nodes<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = (IpAddr, Vec<TermId>)> + 'a {
        let in_blocks = !snapshot.cidr_excludes_pods;
        snapshot.nodes.values().flat_map(move |node| {
            let selected = self.nodes.iter().filter(|(_, selector)| selector.matches(&node.labels));
            let selected: Vec<TermId> = selected.map(|(id, _)| *id).collect();
            node.addresses.iter().map(move |address| (*address, self.met(&selected, *address, in_blocks)))
        })
    }

    /// The terms that a pod or node meets at an address: those by its labels, those that name the address, and those of
    /// blocks if these count; ascending.
    pub(crate) fn met(&self, by_label: &[TermId], address: IpAddr, in_blocks: bool) -> Vec<TermId> {
        let blocks = self.of_address(address).filter(|_| in_blocks).into_iter().flat_map(|met| met.iter());
        let mut all: Vec<TermId> = by_label.to_vec();
        all.extend(blocks.chain(self.of_host(address)));
        if all.len() > by_label.len() {
            all.sort_unstable();
            all.dedup();
        }
        all
    }

    /// The block terms that the address of a pod or node meets, ascending.
    pub(crate) fn of_address(&self, address: IpAddr) -> Option<&Arc<[TermId]>> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        covering(&self.lengths, address, longest).find_map(|prefix| self.by_prefix.get(&prefix)).map(|met| &met.known)
    }

    /// Every block and hole, with the terms that an address meets which no longer one covers and no pod or node has.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (Cidr, &Arc<[TermId]>)> {
        self.by_prefix.iter().map(|(prefix, met)| (*prefix, &met.outside))
    }
}

/// The blocks of the known lengths that hold an address, longest first, none longer than `longest`.
fn covering(lengths: &[Vec<u8>; 2], address: IpAddr, longest: u8) -> impl Iterator<Item = Cidr> {
    let known = &lengths[usize::from(address.is_ipv6())];
    known.iter().filter(move |length| **length <= longest).filter_map(move |length| Cidr::new(address, *length).ok())
}

#[cfg(test)]
mod tests {
    use super::{Term, Terms};
    use crate::numbers::Numbers;
    use lictor_model::{Cidr, IpBlock};

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a block")
    }

    #[test]
    fn a_prefix_meets_what_covers_it_and_not_what_has_a_hole_there() {
        let mut numbers = Numbers::new();
        let mut terms = Terms::default();
        let mut block = |cidr_: &str, holes: &[&str]| {
            let except = holes.iter().map(|hole| cidr(hole)).collect();
            terms.add(Term::Block(IpBlock { cidr: cidr(cidr_), except }), &mut numbers)
        };
        let all = block("0.0.0.0/0", &["10.0.0.0/8"]);
        let ten = block("10.0.0.0/8", &["10.1.0.0/16", "10.2.0.0/16"]);
        let six = block("2001:db8::/32", &[]);
        terms.index_blocks(&[]);
        let met = |address: &str| {
            terms.of_address(address.parse().expect("an address")).map(|terms| terms.to_vec()).unwrap_or_default()
        };
        assert_eq!(met("192.0.2.1"), [all]);
        assert_eq!(met("10.0.0.1"), [ten]);
        assert_eq!(met("10.2.0.1"), [] as [u32; 0]);
        assert_eq!(met("2001:db8::1"), [six]);
        assert_eq!(met("2001:db9::1"), [] as [u32; 0]);
    }
}
