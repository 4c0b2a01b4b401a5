//! PeerAuthentication that takes plaintext on one port.

use super::{Changed, Patch, Wish, metadata, word};
use crate::labels;
use crate::tree::Tree;
use lictor_cluster::Snapshot;
use lictor_manifest::MtlsMode;
use lictor_model::{By, PolicyKind, Step};
use std::sync::Arc;

/// PERMISSIVE on the destination's port: as a policy of its own, or in the one that its workload has already, since
/// Istio takes only one with a selector for a workload.
pub(super) fn permissive(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    let destination = wish.destination?;
    let port = wish.flow.port;
    if let By::Policy(decided) = &step.by
        && let Some(policy) = snapshot.policies.peer_authentication.get(&decided.name)
        && policy.selector.is_some()
    {
        let mut edited = (**policy).clone();
        edited.ports.insert(port, MtlsMode::Permissive);
        let edit = format!("set portLevelMtls.\"{port}\".mode to PERMISSIVE");
        let whole = decided.at("spec");
        let changed = Changed::PeerAuthentication(Arc::new(edited));
        return Some(Patch::edit(snapshot, step.layer, whole, edit, changed));
    }
    let namespace = &destination.name.namespace;
    let name = format!("permissive-{}-{port}", word(wish.destination, wish.flow.destination.address));
    let selector = labels::of(wish.cluster, destination);
    if selector.is_empty() {
        return None;
    }
    let port_key = port.to_string();
    let document = Tree::map([
        ("apiVersion", "security.istio.io/v1".into()),
        ("kind", "PeerAuthentication".into()),
        ("metadata", metadata(snapshot, PolicyKind::PeerAuthentication, namespace, &name)),
        (
            "spec",
            Tree::map([
                ("selector", labels::selector(&selector)),
                ("portLevelMtls", Tree::map([(port_key.as_str(), Tree::map([("mode", "PERMISSIVE".into())]))])),
            ]),
        ),
    ]);
    Patch::apply(step.layer, document)
}
