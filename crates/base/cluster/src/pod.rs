//! Pods as engines see them, and the nodes that they are on.

use crate::registration::{Entry, Part};
use lictor_manifest::{NetworkPolicy, Owner, PodSpec, WorkloadKind};
use lictor_model::{Labels, Name, Protocol, SpiffeId, TrustDomain};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The workload that makes it.
    pub workload: WorkloadRef,
    /// Its addresses, IPv4 first; the node's for a host-network pod.
    pub addresses: Vec<IpAddr>,
    /// The ports that its containers declare.
    pub ports: Vec<NamedPort>,
    /// The node it is on.
    pub node: Arc<str>,
    /// Whether it lives in the node's network: no policy selects it, and its addresses are the node's.
    pub host_network: bool,
    /// Whether its traffic goes through the mesh: not host-network, and neither it nor its namespace
    /// says `lictor.dev/enroll: "false"`.
    pub enrolled: bool,
    /// The identity that it can prove: the first of its entries', or that of its service account when it has none.
    pub identity: SpiffeId,
    /// The entries that registration gives it, its default one first; none where nothing applies.
    pub entries: Vec<Arc<Entry>>,
    /// The entries that registration gives to some of its processes.
    pub parts: Vec<Part>,
    /// What owns it, as its `ownerReferences` say, or as they would for a pod that a manifest's controller makes; a Deployment
    /// owns its pods by a ReplicaSet whose name no manifest has.
    pub owner: Option<Owner>,
    /// Its uid: the one that a dump has, or one made of its name.
    pub uid: Arc<str>,
    /// Its service account's name.
    pub service_account: Arc<str>,
    /// What runs in it.
    pub spec: Arc<PodSpec>,
}

/// The workload that a pod belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkloadRef {
    /// The kind.
    pub kind: WorkloadKind,
    /// Namespace and name.
    pub name: Name,
}

/// A port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedPort {
    /// The name; empty when it has none.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}

impl Pod {
    /// The number of a named port, by protocol.
    pub fn named_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.ports.iter().find(|port| &*port.name == name && port.protocol == protocol).map(|port| port.port)
    }

    /// Whether a NetworkPolicy selects it; the caller has left host-network pods out.
    pub fn is_selected_by(&self, policy: &NetworkPolicy) -> bool {
        self.name.namespace == policy.meta.name.namespace && policy.pod_selector.matches(&self.labels)
    }

    /// Every identity that it or one of its processes can prove, its default one first.
    pub fn identities(&self) -> impl Iterator<Item = &SpiffeId> {
        let others = self.entries.iter().skip(1).map(|entry| &entry.id);
        [&self.identity].into_iter().chain(others).chain(self.parts.iter().map(|part| &part.entry.id))
    }

    /// The foreign trust domains whose workloads it believes: those that its entries federate with, and no others.
    pub fn federates_with(&self) -> BTreeSet<TrustDomain> {
        self.entries.iter().flat_map(|entry| &entry.issuance.federates_with).cloned().collect()
    }

    /// Whether it believes the workloads of a foreign trust domain.
    pub fn federates(&self, trust_domain: &str) -> bool {
        let mut named = self.entries.iter().flat_map(|entry| &entry.issuance.federates_with);
        named.any(|name| name.as_str() == trust_domain)
    }

    /// Its address in the family of another one.
    pub fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == other.is_ipv4())
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: Labels,
    /// Its addresses: what a pod sees as its own node.
    pub addresses: Vec<IpAddr>,
}
