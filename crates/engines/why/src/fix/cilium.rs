//! CiliumNetworkPolicies that allow one connection or request.

use super::{Patch, Wish, metadata, word};
use crate::labels;
use crate::question::RequestAsk;
use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{By, Cidr, Direction, Layer, PolicyKind, Protocol, Step};
use std::net::IpAddr;
use std::sync::Arc;

/// Whether a connection is allowed, and denied is only what is said on it. One more policy about the connection would let
/// everything be said.
pub(super) fn denies_request_alone(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> bool {
    matches!(step.by, By::Isolation(_))
        && wish.request.is_some()
        && lictor_network::judge(snapshot, wish.flow, direction(step)).verdict.is_allow()
}

/// A policy that lets this request be made on a connection that is allowed.
///
/// Source: Cilium, "Layer 7 examples": the rules of all policies for one port add up; `pkg/policy/api/http.go`.
pub(super) fn request(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    let http = Tree::map([("http", Tree::list([http_rule(wish.request?)]))]);
    policy(snapshot, wish, step, Some(http))
}

/// A policy that lets this connection pass where none but Cilium's isolate. It isolates nobody itself, whom else its
/// labels may select: a NetworkPolicy would.
pub(super) fn connection(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    let By::Isolation(policies) = &step.by else { return None };
    let is_cilium = |kind| matches!(kind, PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy);
    let alone = !policies.is_empty() && policies.iter().all(|policy| is_cilium(policy.kind));
    if alone { policy(snapshot, wish, step, None) } else { None }
}

fn direction(step: &Step) -> Direction {
    if step.layer == Layer::Egress { Direction::Egress } else { Direction::Ingress }
}

fn policy(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step, said: Option<Tree>) -> Option<Patch> {
    let flow = wish.flow;
    // A rule without ports would open them all.
    if !Protocol::WITH_PORTS.contains(&flow.protocol) {
        return None;
    }
    let (subject, peer, address) = match step.layer {
        Layer::Egress => (wish.source?, wish.destination, flow.destination.address),
        _ => (wish.destination?, wish.source, flow.source.address),
    };
    let rules = direction(step).to_string();
    let ports = Tree::list([Tree::map([("port", Tree::text(flow.port)), ("protocol", Tree::text(flow.protocol))])]);
    let mut to_ports = vec![("ports", ports)];
    let of_request = said.is_some();
    to_ports.extend(said.map(|said| ("rules", said)));
    let rule = Tree::map([
        peer_term(snapshot, wish, subject, peer, address, direction(step)),
        ("toPorts", Tree::list([Tree::map(to_ports)])),
    ]);
    let mut spec = vec![("endpointSelector", labels::selector(&labels::of(wish.cluster, subject)))];
    if !of_request {
        spec.push(("enableDefaultDeny", Tree::map([(rules.as_str(), Tree::Bool(false))])));
    }
    spec.push((rules.as_str(), Tree::list([rule])));
    let ends = [word(wish.source, flow.source.address), word(wish.destination, flow.destination.address)];
    let what = if of_request { "-request" } else { "" };
    let name = format!("allow-{}-to-{}-{}-{rules}{what}", ends[0], ends[1], flow.port);
    let document = Tree::map([
        ("apiVersion", "cilium.io/v2".into()),
        ("kind", "CiliumNetworkPolicy".into()),
        ("metadata", metadata(snapshot, PolicyKind::CiliumNetworkPolicy, &subject.name.namespace, &name)),
        ("spec", Tree::map(spec)),
    ]);
    Patch::apply(step.layer, document)
}

/// The other end as the peers of a rule: pods by their labels, nodes by what they are to the subject, others by address.
fn peer_term(
    snapshot: &Snapshot,
    wish: &Wish<'_>,
    subject: &Pod,
    peer: Option<&Arc<Pod>>,
    address: IpAddr,
    direction: Direction,
) -> (&'static str, Tree) {
    let [endpoints, blocks, entities] = match direction {
        Direction::Ingress => ["fromEndpoints", "fromCIDR", "fromEntities"],
        Direction::Egress => ["toEndpoints", "toCIDR", "toEntities"],
    };
    match (peer.filter(|pod| !pod.host_network), snapshot.node_at(address)) {
        (Some(peer), _) => {
            let mut pairs = labels::of(wish.cluster, peer);
            if peer.name.namespace != subject.name.namespace {
                pairs.push(("k8s:io.kubernetes.pod.namespace".to_owned(), peer.name.namespace.to_string()));
            }
            (endpoints, Tree::list([labels::selector(&pairs)]))
        }
        // Cilium's address blocks leave nodes out.
        (None, Some(node)) => {
            let own = node.name == subject.node;
            (entities, Tree::list([if own { "host" } else { "remote-node" }.into()]))
        }
        (None, None) => (blocks, Tree::list([Tree::text(Cidr::host(address))])),
    }
}

fn http_rule(request: &RequestAsk) -> Tree {
    let exactly = |text: &str| Tree::Text(format!("^{}$", escaped(text)));
    let mut rule = vec![("method", exactly(&request.method)), ("path", exactly(&request.path))];
    rule.extend(request.host.as_ref().map(|host| ("host", exactly(host))));
    Tree::map(rule)
}

/// A regular expression that means a text and nothing else.
fn escaped(text: &str) -> String {
    let mut expression = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$') {
            expression.push('\\');
        }
        expression.push(c);
    }
    expression
}
