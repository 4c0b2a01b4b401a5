//! `policy.networking.k8s.io`: ClusterNetworkPolicy, and the two kinds that it replaces.

use crate::Meta;
use lictor_model::{Cidr, DomainPattern, PolicyKind, PortRange, Protocol, Selector};
use std::sync::Arc;

/// A cluster-wide network policy.
///
/// AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1) say the same in other words and are read into it.
///
/// Source: network-policy-api, ClusterNetworkPolicySpec v1alpha2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNetworkPolicy {
    /// Name and origin.
    pub meta: Meta,
    /// What it was written as.
    pub kind: PolicyKind,
    /// Before or after the NetworkPolicies.
    pub tier: Tier,
    /// Its place within the tier, the lowest first.
    pub priority: u16,
    /// The pods that it is about; host-network ones are never among them.
    pub subject: NamespacedPods,
    /// What may come in; the first rule that matches counts.
    pub ingress: Vec<TierRule>,
    /// What may go out; the first rule that matches counts.
    pub egress: Vec<TierRule>,
}

/// A tier: all of its policies stand before or after the NetworkPolicies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Before: nobody can override it.
    Admin,
    /// After: it counts where no NetworkPolicy isolates.
    Baseline,
}

/// Pods by the labels of their namespace and their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NamespacedPods {
    /// The namespaces.
    pub namespaces: Selector,
    /// The pods in them.
    pub pods: Selector,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierRule {
    /// What its author calls it.
    pub name: Option<Arc<str>>,
    /// What it does to what it matches.
    pub action: TierAction,
    /// Who is at the other end; any of them.
    pub peers: Vec<TierPeer>,
    /// Which protocols and ports, any of them; empty means all.
    pub ports: Vec<TierPort>,
}

impl TierRule {
    /// Whether it has a peer or protocol that is not known: then an Accept matches nothing, and any other denies all.
    pub fn fails_closed(&self) -> bool {
        self.peers.contains(&TierPeer::Unknown) || self.ports.contains(&TierPort::Unknown)
    }
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TierAction {
    /// It is allowed, whatever comes after.
    Accept,
    /// It is denied, whatever comes after.
    Deny,
    /// The rest of the tier is skipped.
    Pass,
}

/// One peer form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TierPeer {
    /// Pods, host-network ones not among them.
    Pods(NamespacedPods),
    /// The addresses of nodes with these labels (egress).
    Nodes(Selector),
    /// Addresses, those of pods and nodes included (egress).
    Network(Cidr),
    /// The addresses that DNS gave for these names (egress, Accept).
    Domain(DomainPattern),
    /// A form of another version: it matches nothing in an Accept rule, and everything in another.
    Unknown,
}

/// One protocol form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TierPort {
    /// Ports of a protocol.
    Of(Protocol, PortRange),
    /// The container port of this name at the flow's destination, of whatever protocol.
    Named(Arc<str>),
    /// A form of another version: as with peers.
    Unknown,
}
