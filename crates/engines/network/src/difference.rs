//! What differs from one snapshot to the next.

use lictor_cluster::Snapshot;
use lictor_model::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The parts in which two snapshots differ, where these are few kinds of parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Pods that came, went or changed.
    pub pods: BTreeSet<Name>,
    /// NetworkPolicies that came, went or changed.
    pub network_policies: BTreeSet<Name>,
    /// Pods that have learnt or forgotten what some name means.
    pub names: BTreeSet<Name>,
}

impl Difference {
    /// What differs; nothing when more than pods, NetworkPolicies and what pods have learnt does.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Option<Self> {
        let (old, new) = (&before.policies, &after.policies);
        let same_cilium = old.cilium.len() == new.cilium.len()
            && old.cilium.values().zip(new.cilium.values()).all(|(old, new)| Arc::ptr_eq(old, new));
        let same = before.namespaces == after.namespaces
            && before.nodes == after.nodes
            && before.cidr_excludes_pods == after.cidr_excludes_pods
            && before.resolvers == after.resolvers
            && before.names.shared() == after.names.shared()
            && old.cluster_network == new.cluster_network
            && old.cidr_groups == new.cidr_groups
            && old.stances == new.stances
            && same_cilium;
        // A policy is known by where it is in memory: an equal one somewhere else counts as another.
        same.then(|| Self {
            pods: changed(&before.pods, &after.pods, |old, new| Arc::ptr_eq(old, new) || old == new),
            network_policies: changed(&old.network, &new.network, Arc::ptr_eq),
            names: before.names.differing(&after.names),
        })
    }
}

fn changed<T>(before: &BTreeMap<Name, T>, after: &BTreeMap<Name, T>, same: impl Fn(&T, &T) -> bool) -> BTreeSet<Name> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let other = after.iter().filter(|(name, new)| !before.get(*name).is_some_and(|old| same(old, new)));
    gone.chain(other.map(|(name, _)| name)).cloned().collect()
}
