//! What changed from one snapshot to the next.

use crate::snapshot::{Policies, Snapshot};
use lictor_manifest::ClusterNetworkPolicy;
use lictor_model::{Name, PolicyKind, PolicyRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The names of what changed; empty when two snapshots say the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Pods that are new.
    pub pods_added: BTreeSet<Name>,
    /// Pods that are gone.
    pub pods_removed: BTreeSet<Name>,
    /// Pods of which anything changed.
    pub pods_changed: BTreeSet<Name>,
    /// Whether any namespace's labels changed.
    pub namespaces: bool,
    /// Whether any node changed.
    pub nodes: bool,
    /// Whether the list of suspended workloads changed.
    pub suspended: bool,
    /// Whether any service or backend changed.
    pub services: bool,
    /// Whether the status of registration or the other trust domains changed; what pods get is told of the pods.
    pub registrations: bool,
    /// Whether any Certificate changed, or anything that stands in the way of one.
    pub certificates: bool,
    /// Whether DNS said anything new.
    pub names: bool,
    /// Policies that are new, gone or changed, the whole policy each.
    pub policies: BTreeSet<PolicyRef>,
    /// Whether any group of address blocks that policies name changed.
    pub cidr_groups: bool,
}

impl Delta {
    /// What changed from `old` to `new`.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let (pods_added, pods_removed, pods_changed) = keyed(&old.pods, &new.pods);
        Self {
            pods_added,
            pods_removed,
            pods_changed,
            namespaces: old.namespaces != new.namespaces,
            nodes: old.nodes != new.nodes,
            suspended: old.suspended != new.suspended,
            services: old.services != new.services,
            registrations: old.registrations != new.registrations,
            certificates: old.certificates != new.certificates,
            names: old.names != new.names,
            policies: policies(&old.policies, &new.policies),
            cidr_groups: old.policies.cidr_groups != new.policies.cidr_groups,
        }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn policies(old: &Policies, new: &Policies) -> BTreeSet<PolicyRef> {
    fn of<T: PartialEq>(
        [old, new]: [&BTreeMap<Name, Arc<T>>; 2],
        kind: impl Fn(&T) -> PolicyKind,
    ) -> impl Iterator<Item = PolicyRef> {
        let (added, removed, changed) = keyed(old, new);
        let named = added.into_iter().chain(removed).chain(changed);
        named.filter_map(move |name| {
            let policy = new.get(&name).or_else(|| old.get(&name))?;
            Some(PolicyRef::whole(kind(policy), name))
        })
    }
    let tiered = [(old, new), (new, old)].into_iter().flat_map(|(these, others)| {
        let other = |policy: &&Arc<ClusterNetworkPolicy>| {
            others.cluster_network_policy(policy.kind, &policy.meta.name) != Some(*policy)
        };
        these.cluster_network.iter().filter(other)
    });
    of([&old.network, &new.network], |_| PolicyKind::NetworkPolicy)
        .chain(of([&old.cilium, &new.cilium], |policy| policy.kind))
        .chain(of([&old.peer_authentication, &new.peer_authentication], |_| PolicyKind::PeerAuthentication))
        .chain(of([&old.authorization, &new.authorization], |_| PolicyKind::AuthorizationPolicy))
        .chain(of([&old.stances, &new.stances], |_| PolicyKind::Stance))
        .chain(of([&old.rego, &new.rego], |_| PolicyKind::ConfigMap))
        .chain(tiered.map(|policy| PolicyRef::whole(policy.kind, policy.meta.name.clone())))
        .collect()
}

type Keys = BTreeSet<Name>;

fn keyed<T: PartialEq>(old: &BTreeMap<Name, Arc<T>>, new: &BTreeMap<Name, Arc<T>>) -> (Keys, Keys, Keys) {
    let added = new.keys().filter(|name| !old.contains_key(*name)).cloned().collect();
    let removed = old.keys().filter(|name| !new.contains_key(*name)).cloned().collect();
    let differs =
        |name: &Name, value: &Arc<T>| old.get(name).is_some_and(|old| !Arc::ptr_eq(old, value) && old != value);
    let changed = new.iter().filter(|(name, value)| differs(name, value)).map(|(name, _)| name.clone()).collect();
    (added, removed, changed)
}
