//! A ClusterNetworkPolicy that takes one connection out of what a tier denies.

use super::{Patch, Wish, metadata, word};
use crate::labels;
use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::Tier;
use lictor_model::{By, Cidr, Layer, PolicyKind, Protocol, Step};
use std::sync::Arc;

/// A policy that is asked right before the one that denies. In the Admin tier it passes, so that NetworkPolicies decide.
pub(super) fn exempt(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    let By::Policy(rule) = &step.by else { return None };
    let denying = snapshot.policies.cluster_network_policy(rule.kind, &rule.name)?;
    // Nothing comes before the first priority.
    let priority = denying.priority.checked_sub(1)?;
    let (tier, action) = match denying.tier {
        Tier::Admin => ("Admin", "Pass"),
        Tier::Baseline => ("Baseline", "Accept"),
    };
    let (rules, peers, subject, peer, address) = match step.layer {
        Layer::Egress => ("egress", "to", wish.source?, wish.destination, wish.flow.destination.address),
        _ => ("ingress", "from", wish.destination?, wish.source, wish.flow.source.address),
    };
    let peer = match peer.filter(|pod| !pod.host_network) {
        Some(peer) => Tree::map([("pods", pods(wish.cluster, peer))]),
        None => Tree::map([("networks", Tree::list([Tree::text(Cidr::host(address))]))]),
    };
    let mut exempting = vec![("action", action.into()), (peers, Tree::list([peer]))];
    let port = |protocol: &'static str| {
        let number = Tree::map([("number", Tree::number(wish.flow.port))]);
        Tree::list([Tree::map([(protocol, Tree::map([("destinationPort", number)]))])])
    };
    match wish.flow.protocol {
        Protocol::Tcp => exempting.push(("protocols", port("tcp"))),
        Protocol::Udp => exempting.push(("protocols", port("udp"))),
        Protocol::Sctp => exempting.push(("protocols", port("sctp"))),
        Protocol::Other(_) => {}
    }
    let ends = [word(wish.source, wish.flow.source.address), word(wish.destination, wish.flow.destination.address)];
    let name = format!("exempt-{}-to-{}-{}-{rules}", ends[0], ends[1], wish.flow.port);
    let document = Tree::map([
        ("apiVersion", "policy.networking.k8s.io/v1alpha2".into()),
        ("kind", "ClusterNetworkPolicy".into()),
        ("metadata", metadata(snapshot, PolicyKind::ClusterNetworkPolicy, "", &name)),
        (
            "spec",
            Tree::map([
                ("tier", tier.into()),
                ("priority", Tree::number(priority)),
                ("subject", Tree::map([("pods", pods(wish.cluster, subject))])),
                (rules, Tree::list([Tree::map(exempting)])),
            ]),
        ),
    ]);
    Patch::apply(step.layer, document)
}

/// The pods of a pod's workload.
fn pods(cluster: &Snapshot, pod: &Arc<Pod>) -> Tree {
    let name = Tree::map([("kubernetes.io/metadata.name", Tree::text(&pod.name.namespace))]);
    Tree::map([
        ("namespaceSelector", Tree::map([("matchLabels", name)])),
        ("podSelector", labels::selector(&labels::of(cluster, pod))),
    ])
}
