//! What peers of live policies ask of an address, each question once.

use crate::numbers::Numbers;
use crate::selector_index::SelectorIndex;
use lictor_cluster::Snapshot;
use lictor_manifest::{NetworkPolicy, PeerTerm, TierPeer};
use lictor_model::{Cidr, IpBlock, Labels, Selector};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The number of a term.
pub(crate) type TermId = u32;

/// A peer term with its policy's namespace filled in: the same question by two policies is one term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    /// Pods by namespace and label.
    Pods { scope: Scope, pods: Selector },
    /// Addresses.
    Block(IpBlock),
    /// The addresses of nodes with these labels.
    Nodes(Selector),
}

/// The namespaces that a term speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// The policy's own.
    Own(Arc<str>),
    /// Those with these labels.
    Selected(Selector),
}

impl Term {
    pub(crate) fn of(policy: &NetworkPolicy, peer: &PeerTerm) -> Self {
        match peer {
            PeerTerm::Block(block) => Self::Block(block.clone()),
            PeerTerm::Pods { namespaces, pods } => Self::Pods {
                scope: match namespaces {
                    None => Scope::Own(policy.meta.name.namespace.clone()),
                    Some(selector) => Scope::Selected(selector.clone()),
                },
                pods: pods.clone().unwrap_or_default(),
            },
        }
    }

    /// The term of a cluster-wide policy's peer; nothing for a form that matches nothing.
    pub(crate) fn of_tier(peer: &TierPeer) -> Option<Self> {
        Some(match peer {
            TierPeer::Pods(pods) => {
                Self::Pods { scope: Scope::Selected(pods.namespaces.clone()), pods: pods.pods.clone() }
            }
            TierPeer::Nodes(selector) => Self::Nodes(selector.clone()),
            TierPeer::Network(block) => Self::Block(IpBlock { cidr: *block, except: Vec::new() }),
            TierPeer::Domain(_) | TierPeer::Unknown => return None,
        })
    }
}

/// The terms of live policies, ready to be asked which of them an address or a pod meets.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    pods: BTreeMap<TermId, (Scope, Selector)>,
    blocks: BTreeMap<TermId, IpBlock>,
    nodes: BTreeMap<TermId, Selector>,
    /// The pod terms that can match in a namespace.
    by_namespace: HashMap<Arc<str>, SelectorIndex<TermId>>,
    /// For each block and hole: the terms that an address meets which no longer one of them covers.
    by_prefix: BTreeMap<Cidr, Arc<[TermId]>>,
    /// The lengths of these prefixes, longest first, by family: IPv4, IPv6.
    lengths: [Vec<u8>; 2],
}

impl Terms {
    /// Takes a term in; its number.
    pub(crate) fn add(&mut self, term: Term, numbers: &mut Numbers<Term>) -> TermId {
        let id = numbers.of(term.clone());
        match term {
            Term::Pods { scope, pods } => {
                self.pods.entry(id).or_insert((scope, pods));
            }
            Term::Block(block) => {
                self.blocks.entry(id).or_insert(block);
            }
            Term::Nodes(selector) => {
                self.nodes.entry(id).or_insert(selector);
            }
        }
        id
    }

    /// Makes the look-ups, once all terms are in.
    pub(crate) fn index(&mut self, snapshot: &Snapshot) {
        let mut own: HashMap<&Arc<str>, Vec<TermId>> = HashMap::new();
        let mut selected: HashMap<&Selector, Vec<TermId>> = HashMap::new();
        for (id, (scope, _)) in &self.pods {
            match scope {
                Scope::Own(namespace) => own.entry(namespace).or_default().push(*id),
                Scope::Selected(selector) => selected.entry(selector).or_default().push(*id),
            }
        }
        for (name, state) in &snapshot.namespaces {
            let selecting = selected.iter().filter(|(selector, _)| selector.matches(&state.labels));
            let mut within = SelectorIndex::default();
            for id in selecting.flat_map(|(_, ids)| ids).chain(own.get(name).into_iter().flatten()) {
                if let Some((_, pods)) = self.pods.get(id) {
                    within.insert(pods, *id);
                }
            }
            self.by_namespace.insert(Arc::clone(name), within);
        }
        self.index_blocks();
    }

    fn index_blocks(&mut self) {
        let mut blocks: HashMap<Cidr, Vec<TermId>> = HashMap::new();
        let mut holes: HashMap<Cidr, Vec<TermId>> = HashMap::new();
        for (id, block) in &self.blocks {
            blocks.entry(block.cidr).or_default().push(*id);
            for hole in &block.except {
                holes.entry(*hole).or_default().push(*id);
            }
        }
        let prefixes: BTreeSet<Cidr> = blocks.keys().chain(holes.keys()).copied().collect();
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
            for wider in covering(&self.lengths, prefix.network(), prefix.prefix()) {
                met.extend(blocks.get(&wider).into_iter().flatten().copied());
                missed.extend(holes.get(&wider).into_iter().flatten().copied());
            }
            self.by_prefix.insert(prefix, met.difference(&missed).copied().collect());
        }
    }

    /// The pod terms that a pod with these labels meets, ascending.
    pub(crate) fn of_pod(&self, namespace: &str, labels: &Labels) -> Vec<TermId> {
        let candidates = self.by_namespace.get(namespace).into_iter().flat_map(|index| index.candidates(labels));
        let meets = |id: &TermId| self.pods.get(id).is_some_and(|(_, selector)| selector.matches(labels));
        let mut met: Vec<TermId> = candidates.filter(meets).collect();
        met.sort_unstable();
        met
    }

    /// The terms that a node meets, and those of blocks that this address of it meets, ascending.
    pub(crate) fn of_node(&self, address: Option<IpAddr>, labels: &Labels) -> Vec<TermId> {
        let blocks =
            address.and_then(|address| self.of_address(address)).into_iter().flat_map(|met| met.iter().copied());
        let selected = self.nodes.iter().filter(|(_, selector)| selector.matches(labels)).map(|(id, _)| *id);
        blocks.chain(selected).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The block terms that an address meets, ascending.
    pub(crate) fn of_address(&self, address: IpAddr) -> Option<&Arc<[TermId]>> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        covering(&self.lengths, address, longest).find_map(|prefix| self.by_prefix.get(&prefix))
    }

    /// Every block and hole, with the terms that an address meets which no longer one covers.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (Cidr, &Arc<[TermId]>)> {
        self.by_prefix.iter().map(|(prefix, terms)| (*prefix, terms))
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
        terms.index_blocks();
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
