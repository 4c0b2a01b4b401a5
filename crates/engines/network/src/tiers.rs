//! The tiers before and after the NetworkPolicies: ClusterNetworkPolicies and the kinds that they replace.
//!
//! Source: network-policy-api, `apis/v1alpha2/clusternetworkpolicy_types.go`.

use crate::matching::Far;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{ClusterNetworkPolicy, Tier, TierAction, TierPeer, TierPort, TierRule};
use lictor_model::{Direction, PolicyRef};

/// The rules of a policy for a direction.
pub(crate) fn tier_rules(policy: &ClusterNetworkPolicy, direction: Direction) -> &[TierRule] {
    match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    }
}

/// The policy as a whole.
pub(crate) fn whole_tiered(policy: &ClusterNetworkPolicy) -> PolicyRef {
    PolicyRef::whole(policy.kind, policy.meta.name.clone())
}

/// The policies that speak of a pod in a direction, in the order in which they are asked.
pub(crate) fn speaking<'a>(
    snapshot: &'a Snapshot,
    pod: &Pod,
    direction: Direction,
) -> impl Iterator<Item = &'a ClusterNetworkPolicy> {
    let speaks = move |policy: &&ClusterNetworkPolicy| {
        !tier_rules(policy, direction).is_empty() && snapshot.selects(&policy.subject, pod)
    };
    snapshot.policies.cluster_network.iter().map(|policy| &**policy).filter(speaks)
}

/// The first rule of a tier that matches a flow and does not pass: what it does, and which it is.
pub(crate) fn first_match(
    snapshot: &Snapshot,
    policies: &[&ClusterNetworkPolicy],
    tier: Tier,
    far: &Far<'_>,
    direction: Direction,
) -> Option<(TierAction, PolicyRef)> {
    for policy in policies.iter().filter(|policy| policy.tier == tier) {
        for (at, rule) in tier_rules(policy, direction).iter().enumerate() {
            match action(snapshot, rule, far) {
                None => {}
                Some(TierAction::Pass) => return None,
                Some(action) => {
                    return Some((action, whole_tiered(policy).at(crate::matching::rule_path(direction, at))));
                }
            }
        }
    }
    None
}

/// What a rule does to a flow; nothing when it does not match.
fn action(snapshot: &Snapshot, rule: &TierRule, far: &Far<'_>) -> Option<TierAction> {
    let closed = rule.fails_closed();
    if closed && rule.action != TierAction::Accept {
        return Some(TierAction::Deny);
    }
    let peer = rule.peers.iter().any(|peer| is_peer(snapshot, peer, far));
    let port = rule.ports.is_empty() || rule.ports.iter().any(|port| is_port(port, far));
    (peer && port && !closed).then_some(rule.action)
}

pub(crate) fn is_peer(snapshot: &Snapshot, peer: &TierPeer, far: &Far<'_>) -> bool {
    match peer {
        TierPeer::Pods(pods) => far.pod.is_some_and(|pod| snapshot.selects(pods, pod)),
        TierPeer::Nodes(selector) => snapshot.node_at(far.address).is_some_and(|node| selector.matches(&node.labels)),
        TierPeer::Network(block) => snapshot.is_in_block(far.address, |address| block.contains(address)),
        TierPeer::Domain(pattern) => {
            snapshot.is_outside(far.address) && snapshot.names.has(far.near, pattern, far.address)
        }
        TierPeer::Unknown => false,
    }
}

fn is_port(port: &TierPort, far: &Far<'_>) -> bool {
    match port {
        TierPort::Of(protocol, range) => *protocol == far.protocol && range.contains(far.port),
        TierPort::Named(name) => far.number(name, far.protocol) == Some(far.port),
        TierPort::Unknown => false,
    }
}
