//! The snapshot with what the checks ask of it again and again.

use crate::checks::Carried;
use lictor_cluster::{BUILT_IN_ANNOTATION, Pod, Snapshot};
use lictor_manifest::{Code, Finding, Meta};
use lictor_model::{Direction, Flow, Name, Peer, PolicyRef, Protocol};
use lictor_network::{Compiler, PeerFact, Program, RuleFact, rule_facts};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that the checks look at.
pub(crate) struct World<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) facts: Vec<RuleFact<'a>>,
    pub(crate) program: Program,
    /// What made the program, and makes those that follow it.
    pub(crate) compiler: Compiler,
    pub(crate) carried: Carried<'a>,
    /// The pods that a policy can be about, those that lictor brings along left out.
    pub(crate) pods: Vec<&'a Arc<Pod>>,
}

/// So many pods of a policy are looked at; the others of its workloads look alike.
const SOME: usize = 16;

impl<'a> World<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        let own = |pod: &&Arc<Pod>| !pod.host_network && !pod.annotations.contains_key(BUILT_IN_ANNOTATION);
        let mut compiler = Compiler::default();
        Self {
            facts: rule_facts(snapshot),
            program: compiler.compile(snapshot),
            compiler,
            carried: Carried::of(snapshot),
            pods: snapshot.pods.values().filter(own).collect(),
            snapshot,
        }
    }

    /// One pod of each workload that a rule's policy is about, a few at most.
    pub(crate) fn subjects(&self, fact: &RuleFact<'_>) -> Vec<&'a Arc<Pod>> {
        let mut one_each = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| fact.selects(self.snapshot, pod)) {
            one_each.entry(&pod.workload).or_insert(*pod);
            if one_each.len() == SOME {
                break;
            }
        }
        one_each.into_values().collect()
    }

    /// The pods that a rule lets be at the other end of one of its subjects, that pod left out.
    pub(crate) fn peers_of(&self, fact: &RuleFact<'_>, near: &Pod) -> Vec<&'a Arc<Pod>> {
        let peers = fact.peers();
        let is_peer = |pod: &&Arc<Pod>| {
            pod.name != near.name
                && peers.as_ref().is_none_or(|peers| peers.iter().any(|peer| self.means(fact, peer, near, pod)))
        };
        self.pods.iter().copied().filter(is_peer).collect()
    }

    /// Whether a peer means a pod.
    pub(crate) fn means(&self, fact: &RuleFact<'_>, peer: &PeerFact<'_>, near: &Pod, pod: &Pod) -> bool {
        pod.addresses.iter().any(|address| fact.is_peer(self.snapshot, peer, near, *address))
    }

    /// Whether one end lets a connection between two pods pass.
    pub(crate) fn passes(&self, source: &Pod, destination: &Pod, direction: Direction, port: (Protocol, u16)) -> bool {
        let Some((from, to)) = addresses(source, destination) else { return false };
        let (near, far) = match direction {
            Direction::Ingress => (&destination.name, from),
            Direction::Egress => (&source.name, to),
        };
        self.program.judge(near, direction, far, port.0, port.1).verdict.is_allow()
    }
}

/// The addresses of one family by which two pods speak.
fn addresses(source: &Pod, destination: &Pod) -> Option<(IpAddr, IpAddr)> {
    source.addresses.iter().find_map(|from| Some((*from, destination.address_like(*from)?)))
}

/// A finding at a path of a policy.
pub(crate) fn at(meta: &Meta, path: &str, code: Code, message: impl Into<String>) -> Finding {
    Finding::new(code, meta.origin.position(path), message)
}

/// The policy as a person names it.
pub(crate) fn named(rule: &PolicyRef) -> String {
    format!("{} {}", rule.kind, rule.name)
}

/// A flow between two addresses.
pub(crate) fn flow(source: Peer, destination: Peer, (protocol, port): (Protocol, u16)) -> Flow {
    Flow { source, destination, protocol, port }
}

/// A pod at its first address.
pub(crate) fn end(pod: &Pod) -> Option<Peer> {
    Some(Peer::pod(pod.name.clone(), *pod.addresses.first()?))
}

/// `a, b and 3 more`.
pub(crate) fn listed(names: &[&Name]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    match names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", shown.join(", ")),
        None => shown.join(", "),
    }
}
