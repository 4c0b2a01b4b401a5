//! `networking.k8s.io/v1` NetworkPolicy.

use crate::Meta;
use lictor_model::{IpBlock, PortRange, Protocol, Selector};
use std::sync::Arc;

/// A NetworkPolicy with its defaults applied.
///
/// Source: Kubernetes API reference, NetworkPolicySpec v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// The pods of its namespace that it isolates and gives its rules to.
    pub pod_selector: Selector,
    /// The ingress rules, or nothing when it does not isolate ingress.
    ///
    /// `policyTypes` decides; without it, ingress is always isolated and egress when there are egress rules.
    pub ingress: Option<Vec<NetworkRule>>,
    /// The egress rules, or nothing when it does not isolate egress.
    pub egress: Option<Vec<NetworkRule>>,
}

/// One rule: a peer and a port must both match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRule {
    /// Who may be at the other end; empty means anyone.
    pub peers: Vec<PeerTerm>,
    /// Which ports; empty means all ports of all protocols.
    pub ports: Vec<PortTerm>,
}

/// One peer form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PeerTerm {
    /// Pods by namespace and label.
    Pods {
        /// The namespaces; nothing means the policy's own.
        namespaces: Option<Selector>,
        /// The pods in them; nothing means all.
        pods: Option<Selector>,
    },
    /// Addresses, those of pods and nodes included.
    Block(IpBlock),
}

/// One port form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortTerm {
    /// The protocol; TCP when the policy names none.
    pub protocol: Protocol,
    /// Which ports of it.
    pub port: PortMatch,
}

/// Which ports a port term means.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortMatch {
    /// Every port of the protocol.
    Any,
    /// A number, or `port` to `endPort`.
    Range(PortRange),
    /// The container port of this name at the flow's destination.
    Named(Arc<str>),
}
