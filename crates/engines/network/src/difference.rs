//! What differs from one snapshot to the next.

use crate::program::Program;
use lictor_cluster::{Policies, Snapshot};
use lictor_manifest::ClusterNetworkPolicy;
use lictor_model::{Name, PolicyKind};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The parts in which two snapshots differ, where these are few kinds of parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Pods that came, went or changed.
    pub pods: BTreeSet<Name>,
    /// NetworkPolicies that came, went or changed.
    pub network_policies: BTreeSet<Name>,
    /// CiliumNetworkPolicies, and those of the cluster, which have no namespace.
    pub cilium_policies: BTreeSet<Name>,
    /// ClusterNetworkPolicies and the kinds that they replace.
    pub cluster_policies: BTreeSet<(PolicyKind, Name)>,
    /// Pods that have learnt or forgotten what some name means.
    pub names: BTreeSet<Name>,
    /// Namespaces that came, went or have other labels.
    pub namespaces: BTreeSet<Arc<str>>,
}

impl Difference {
    /// What differs; nothing when more than namespaces, pods, policies and what pods have learnt does.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Option<Self> {
        let (old, new) = (&before.policies, &after.policies);
        let same = before.nodes == after.nodes
            && before.cidr_excludes_pods == after.cidr_excludes_pods
            && before.resolvers == after.resolvers
            && before.names.shared() == after.names.shared()
            && old.cidr_groups == new.cidr_groups
            && old.stances == new.stances;
        // A policy is known by where it is in memory: an equal one somewhere else counts as another.
        same.then(|| Self {
            pods: changed(&before.pods, &after.pods, |old, new| Arc::ptr_eq(old, new) || old == new),
            network_policies: changed(&old.network, &new.network, Arc::ptr_eq),
            cilium_policies: changed(&old.cilium, &new.cilium, Arc::ptr_eq),
            cluster_policies: changed(&tiered(old), &tiered(new), |old, new| Arc::ptr_eq(old, new)),
            names: before.names.differing(&after.names),
            namespaces: changed(&before.namespaces, &after.namespaces, |old, new| old.labels == new.labels),
        })
    }

    /// The addresses that the pods had or have which came, went or changed.
    pub(crate) fn moved<'a>(&'a self, program: &'a Program, snapshot: &'a Snapshot) -> impl Iterator<Item = IpAddr> {
        self.pods.iter().flat_map(|name| {
            let before = program.endpoints.get(name).into_iter().flat_map(|known| known.addresses.iter());
            let after = snapshot.pods.get(name).into_iter().flat_map(|pod| &pod.addresses);
            before.chain(after).copied()
        })
    }
}

fn tiered(policies: &Policies) -> BTreeMap<(PolicyKind, Name), &Arc<ClusterNetworkPolicy>> {
    policies.cluster_network.iter().map(|policy| ((policy.kind, policy.meta.name.clone()), policy)).collect()
}

fn changed<K: Ord + Clone, T>(
    before: &BTreeMap<K, T>,
    after: &BTreeMap<K, T>,
    same: impl Fn(&T, &T) -> bool,
) -> BTreeSet<K> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let other = after.iter().filter(|(name, new)| !before.get(*name).is_some_and(|old| same(old, new)));
    gone.chain(other.map(|(name, _)| name)).cloned().collect()
}
