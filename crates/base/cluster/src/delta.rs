//! What changed from one snapshot to the next.

use crate::snapshot::Snapshot;
use lictor_model::Name;
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
    /// Whether DNS said anything new.
    pub names: bool,
    /// Whether any policy changed.
    pub policies: bool,
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
            names: old.names != new.names,
            policies: old.policies != new.policies,
        }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
