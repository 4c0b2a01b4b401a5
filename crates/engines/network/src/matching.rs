//! Whether a peer or port of a rule matches, and which fields do not.
//!
//! Source: Kubernetes API reference, NetworkPolicyPeer and NetworkPolicyPort v1.

use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{NetworkPolicy, NetworkRule, PeerTerm, PortMatch, PortTerm};
use lictor_model::{Direction, Labels, Mismatch, Name, Protocol, Requirement, Selector};
use std::net::IpAddr;
use std::sync::Arc;

/// The far end of a flow, and the port that it is for.
pub(crate) struct Far<'a> {
    /// The pod at the near end: what a name means is what it has learnt.
    pub(crate) near: &'a Name,
    pub(crate) address: IpAddr,
    /// The pod with the address; a host-network pod has none of its own.
    pub(crate) pod: Option<&'a Pod>,
    /// Whether it is the node of the pod at the near end.
    pub(crate) own_node: bool,
    /// The pod whose port names count: the flow's destination.
    pub(crate) named: Option<&'a Pod>,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

/// By how much a rule misses.
#[derive(Default)]
pub(crate) struct Miss {
    pub(crate) fields: Vec<Mismatch>,
    /// Whether the rule asks for pods where there is an address: no label would make it match.
    pub(crate) of_another_kind: bool,
}

impl Miss {
    /// The fewest fields first, and of those what a label or an address could mend.
    pub(crate) fn distance(&self) -> (usize, bool) {
        (self.fields.len(), self.of_another_kind)
    }
}

/// The rules of a policy for a direction, if it isolates it.
pub(crate) fn rules(policy: &NetworkPolicy, direction: Direction) -> Option<&[NetworkRule]> {
    match direction {
        Direction::Ingress => policy.ingress.as_deref(),
        Direction::Egress => policy.egress.as_deref(),
    }
}

/// The field path of a rule.
pub(crate) fn rule_path(direction: Direction, rule: usize) -> String {
    format!("spec.{direction}[{rule}]")
}

impl Far<'_> {
    /// How specifically a rule matches, the lower the more; nothing when it does not.
    ///
    /// Where several rules allow a flow, the one that says most about it is the one that decided: a peer before
    /// any peer, a port before all ports. The compiled form is laid out in the same order.
    pub(crate) fn tier(
        &self,
        snapshot: &Snapshot,
        policy: &NetworkPolicy,
        rule: &NetworkRule,
        direction: Direction,
    ) -> Option<u8> {
        if !rule.peers.is_empty() && !rule.peers.iter().any(|peer| self.is_peer(snapshot, policy, peer)) {
            return None;
        }
        if rule.ports.is_empty() {
            return Some(if rule.peers.is_empty() { 3 } else { 1 });
        }
        let matching = || rule.ports.iter().filter(|port| self.is_port(port));
        // A port name of an egress rule resolves at the peer, so it says which peers as well.
        let names_peer = |port: &PortTerm| direction == Direction::Egress && matches!(port.port, PortMatch::Named(_));
        matching().next()?;
        Some(if !rule.peers.is_empty() || matching().any(names_peer) { 0 } else { 2 })
    }

    /// Whether a peer term matches.
    pub(crate) fn is_peer(&self, snapshot: &Snapshot, policy: &NetworkPolicy, term: &PeerTerm) -> bool {
        match term {
            PeerTerm::Block(block) => snapshot.is_in_block(self.address, |address| block.contains(address)),
            PeerTerm::Pods { namespaces, pods } => {
                self.pod.is_some_and(|pod| are_pods(snapshot, policy, namespaces.as_ref(), pods.as_ref(), pod))
            }
        }
    }

    /// Whether a port term matches; a name that does not resolve matches nothing.
    pub(crate) fn is_port(&self, term: &PortTerm) -> bool {
        term.protocol == self.protocol
            && match &term.port {
                PortMatch::Any => true,
                PortMatch::Range(range) => range.contains(self.port),
                PortMatch::Named(name) => self.number(name, term.protocol) == Some(self.port),
            }
    }

    pub(crate) fn number(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.named.and_then(|pod| pod.named_port(name, protocol))
    }

    /// The fields of a rule that do not match: those of the peer and of the port that come closest.
    pub(crate) fn miss(
        &self,
        snapshot: &Snapshot,
        policy: &NetworkPolicy,
        rule: &NetworkRule,
        path: &str,
        direction: Direction,
    ) -> Miss {
        let list = match direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        let peers = rule.peers.iter().enumerate().map(|(at, term)| Miss {
            fields: self.peer_mismatches(snapshot, policy, term, &format!("{path}.{list}[{at}]")),
            of_another_kind: self.pod.is_none() && matches!(term, PeerTerm::Pods { .. }),
        });
        let ports = (rule.ports.iter().enumerate())
            .map(|(at, term)| self.port_mismatches(term, &format!("{path}.ports[{at}]")));
        let mut nearest = peers.min_by_key(Miss::distance).unwrap_or_default();
        nearest.fields.extend(ports.min_by_key(Vec::len).unwrap_or_default());
        nearest
    }

    fn peer_mismatches(
        &self,
        snapshot: &Snapshot,
        policy: &NetworkPolicy,
        term: &PeerTerm,
        path: &str,
    ) -> Vec<Mismatch> {
        let (namespaces, pods) = match term {
            PeerTerm::Block(block) if snapshot.is_in_block(self.address, |address| block.contains(address)) => {
                return Vec::new();
            }
            PeerTerm::Block(block) => {
                return vec![mismatch(format!("{path}.ipBlock"), block.to_string(), self.address.to_string())];
            }
            PeerTerm::Pods { namespaces, pods } => (namespaces.as_ref(), pods.as_ref()),
        };
        let Some(pod) = self.pod else {
            let stranger = if snapshot.node_at(self.address).is_some() { "a node" } else { "no pod" };
            let seen = format!("{}, {stranger}", self.address);
            let wanted = |field: &str, selector: &Selector| {
                mismatch(format!("{path}.{field}"), selector.to_string(), seen.clone())
            };
            let fields = (namespaces.map(|selector| wanted("namespaceSelector", selector)).into_iter())
                .chain(pods.map(|selector| wanted("podSelector", selector)));
            return fields.collect();
        };
        let mut fields = Vec::new();
        if !in_namespaces(snapshot, policy, namespaces, pod) {
            fields.push(match namespaces {
                Some(selector) => {
                    let labels = snapshot.namespace_labels(&pod.name.namespace);
                    unmet(format!("{path}.namespaceSelector"), selector, &labels)
                }
                // Without a namespaceSelector the term speaks of the policy's own namespace.
                None => mismatch(
                    format!("{path}.namespaceSelector"),
                    format!("none, which means namespace {}", policy.meta.name.namespace),
                    format!("namespace {}", pod.name.namespace),
                ),
            });
        }
        if let Some(selector) = pods.filter(|selector| !selector.matches(&pod.labels)) {
            fields.push(unmet(format!("{path}.podSelector"), selector, &pod.labels));
        }
        fields
    }

    pub(crate) fn port_mismatches(&self, term: &PortTerm, path: &str) -> Vec<Mismatch> {
        let mut fields = Vec::new();
        if term.protocol != self.protocol {
            fields.push(mismatch(format!("{path}.protocol"), term.protocol.to_string(), self.protocol.to_string()));
        }
        let (matches, wanted) = match &term.port {
            PortMatch::Any => (true, String::new()),
            PortMatch::Range(range) => (range.contains(self.port), range.to_string()),
            PortMatch::Named(name) => match self.number(name, term.protocol) {
                Some(number) => (number == self.port, format!("{name} ({number} there)")),
                None => (false, format!("{name} (no such port there)")),
            },
        };
        if !matches {
            fields.push(mismatch(format!("{path}.port"), wanted, self.port.to_string()));
        }
        fields
    }
}

/// Whether a pod is among those of a peer term.
pub(crate) fn are_pods(
    snapshot: &Snapshot,
    policy: &NetworkPolicy,
    namespaces: Option<&Selector>,
    pods: Option<&Selector>,
    pod: &Pod,
) -> bool {
    in_namespaces(snapshot, policy, namespaces, pod) && pods.is_none_or(|pods| pods.matches(&pod.labels))
}

fn in_namespaces(snapshot: &Snapshot, policy: &NetworkPolicy, selector: Option<&Selector>, pod: &Pod) -> bool {
    match selector {
        None => pod.name.namespace == policy.meta.name.namespace,
        Some(selector) => selector.matches(&snapshot.namespace_labels(&pod.name.namespace)),
    }
}

/// The requirements of a selector that a label set does not meet, beside the labels that it has instead.
pub(crate) fn unmet(field: String, selector: &Selector, labels: &Labels) -> Mismatch {
    let failing: Vec<&Requirement> = selector.unmet(labels).collect();
    let wanted: Vec<String> = failing.iter().map(ToString::to_string).collect();
    let has = |requirement: &&Requirement| match labels.get(&requirement.key) {
        Some(value) => format!("{}={value}", requirement.key),
        None => format!("no {}", requirement.key),
    };
    let seen: Vec<String> = failing.iter().map(has).collect();
    mismatch(field, wanted.join(","), seen.join(","))
}

pub(crate) fn mismatch(field: String, wanted: String, seen: String) -> Mismatch {
    Mismatch { field: Arc::from(field), wanted: Arc::from(wanted), seen: Arc::from(seen) }
}
