//! The namespaces: those that are declared, and those that are only used.

use crate::inventory::Inventory;
use crate::notice;
use crate::snapshot::NamespaceState;
use lictor_manifest::Finding;
use lictor_model::Labels;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that every namespace carries its own name under.
///
/// Source: Kubernetes, "Labels, Annotations and Taints": set by the API server, and cannot be changed.
pub(crate) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The namespaces that every cluster has, declared or not.
const ALWAYS_THERE: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Every namespace that is declared or used, with its name as a label.
pub(crate) fn namespaces(inventory: &Inventory, findings: &mut Vec<Finding>) -> BTreeMap<Arc<str>, NamespaceState> {
    let mut states: BTreeMap<Arc<str>, NamespaceState> = BTreeMap::new();
    for (name, namespace) in &inventory.namespaces {
        let labels = namespace.meta.labels.with(NAME_LABEL, name);
        states.insert(Arc::clone(name), NamespaceState { labels, declared: true });
    }
    for (name, meta) in &inventory.used {
        if states.contains_key(name) {
            continue;
        }
        if !ALWAYS_THERE.contains(&&**name) {
            findings.push(notice::namespace_made(name, meta));
        }
        let labels = Labels::default().with(NAME_LABEL, name);
        states.insert(Arc::clone(name), NamespaceState { labels, declared: false });
    }
    states
}
