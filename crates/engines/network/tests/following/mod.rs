//! Snapshots that follow one another.

use lictor_cluster::Snapshot;
use lictor_model::Name;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The snapshot with the policies of the one before it that it has as well, as one that is read once would.
pub(crate) fn following(before: &Snapshot, mut after: Snapshot) -> Snapshot {
    fn keep<T: PartialEq>(before: &BTreeMap<Name, Arc<T>>, after: &mut BTreeMap<Name, Arc<T>>) {
        for (name, policy) in after {
            if let Some(old) = before.get(name).filter(|old| *old == policy) {
                *policy = Arc::clone(old);
            }
        }
    }
    keep(&before.policies.network, &mut after.policies.network);
    keep(&before.policies.cilium, &mut after.policies.cilium);
    for policy in &mut after.policies.cluster_network {
        if let Some(old) = before.policies.cluster_network.iter().find(|old| *old == policy) {
            *policy = Arc::clone(old);
        }
    }
    after
}
