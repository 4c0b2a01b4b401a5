//! NetworkPolicies that let one connection out or in.

use super::{Patch, Wish, metadata, word};
use crate::labels;
use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{By, Cidr, Layer, PolicyKind, Protocol, Step};
use std::net::IpAddr;
use std::sync::Arc;

/// A policy that lets the source's workload out to the destination.
pub(super) fn egress(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    let source = wish.source?;
    policy(snapshot, wish, step, source, wish.destination, "egress", "Egress", "to")
}

/// A policy that lets the source in to the destination's workload.
pub(super) fn ingress(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    let destination = wish.destination?;
    policy(snapshot, wish, step, destination, wish.source, "ingress", "Ingress", "from")
}

#[allow(clippy::too_many_arguments)] // The two directions differ in nothing but these words.
fn policy(
    snapshot: &Snapshot,
    wish: &Wish<'_>,
    step: &Step,
    subject: &Arc<Pod>,
    peer: Option<&Arc<Pod>>,
    rules: &'static str,
    policy_type: &'static str,
    peers: &'static str,
) -> Option<Patch> {
    // Only a default is turned by one more policy; an unknown end is not.
    if !matches!(step.by, By::Isolation(_)) {
        return None;
    }
    let flow = wish.flow;
    let address = if step.layer == Layer::Egress { flow.destination.address } else { flow.source.address };
    let mut rule = vec![(peers, Tree::list([peer_term(wish.cluster, subject, peer, address)]))];
    // A protocol without ports is allowed by no rule that names ports.
    if Protocol::WITH_PORTS.contains(&flow.protocol) {
        let port = Tree::map([("protocol", Tree::text(flow.protocol)), ("port", Tree::number(flow.port))]);
        rule.push(("ports", Tree::list([port])));
    }
    let ends = [word(wish.source, flow.source.address), word(wish.destination, flow.destination.address)];
    let name = format!("allow-{}-to-{}-{}-{rules}", ends[0], ends[1], flow.port);
    let document = Tree::map([
        ("apiVersion", "networking.k8s.io/v1".into()),
        ("kind", "NetworkPolicy".into()),
        ("metadata", metadata(snapshot, PolicyKind::NetworkPolicy, &subject.name.namespace, &name)),
        (
            "spec",
            Tree::map([
                ("podSelector", labels::selector(&labels::of(wish.cluster, subject))),
                ("policyTypes", Tree::list([policy_type.into()])),
                (rules, Tree::list([Tree::map(rule)])),
            ]),
        ),
    ]);
    Patch::apply(step.layer, document)
}

/// The other end as a peer of a rule in the subject's namespace.
fn peer_term(cluster: &Snapshot, subject: &Pod, peer: Option<&Arc<Pod>>, address: IpAddr) -> Tree {
    let Some(peer) = peer.filter(|pod| !pod.host_network) else {
        return Tree::map([("ipBlock", Tree::map([("cidr", Tree::text(Cidr::host(address)))]))]);
    };
    let pods = ("podSelector", labels::selector(&labels::of(cluster, peer)));
    if peer.name.namespace == subject.name.namespace {
        return Tree::map([pods]);
    }
    let name = Tree::map([("kubernetes.io/metadata.name", Tree::text(&peer.name.namespace))]);
    Tree::map([("namespaceSelector", Tree::map([("matchLabels", name)])), pods])
}
