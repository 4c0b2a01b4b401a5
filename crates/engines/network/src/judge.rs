//! One flow against the policies themselves.

use crate::matching::{Far, rule_path, rules};
use crate::tiers::{first_match, speaking, whole_tiered};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{NetworkPolicy, Tier, TierAction};
use lictor_model::{By, Direction, Flow, Layer, Name, NearestMiss, Peer, PolicyKind, PolicyRef, Step, Verdict};
use std::sync::Arc;

/// What the network policies of a snapshot say about a flow, at the side of the endpoint that it crosses:
/// the source for egress, the destination for ingress.
///
/// An end that names no pod is looked up by its address. Answers of a connection that was allowed are not
/// asked about: they belong to it.
///
/// - The Admin tier is asked first, the Baseline tier where no NetworkPolicy isolates; in each, the first rule that
///   matches counts, by priority and then as it is written.
/// - A policy isolates the pods that it selects in the directions that it speaks of; an endpoint that is not
///   isolated may do anything.
/// - Where it is isolated, a flow needs one rule of one such policy; policies only ever add.
/// - Traffic of a pod with itself is always allowed, and with its own node unless a tier denies it. A host-network pod
///   is its node: no policy selects it, and only `ipBlock`, `networks` and `nodes` match it.
///
/// Source: Kubernetes API reference, NetworkPolicySpec v1; concepts, "Network Policies"; network-policy-api,
/// ClusterNetworkPolicySpec v1alpha2.
pub fn judge(snapshot: &Snapshot, flow: &Flow, direction: Direction) -> Step {
    let (layer, near, far) = match direction {
        Direction::Ingress => (Layer::Ingress, &flow.destination, &flow.source),
        Direction::Egress => (Layer::Egress, &flow.source, &flow.destination),
    };
    let step = |verdict, by| Step::new(layer, verdict, by);
    let subject = match endpoint(snapshot, near) {
        Ok(Some(subject)) => subject,
        Ok(None) if direction == Direction::Ingress && snapshot.node_at(near.address).is_none() => {
            return step(Verdict::Allow, By::OutsideCluster);
        }
        Ok(None) => return step(Verdict::Allow, By::NoPolicy),
        Err(unknown) => return step(Verdict::Deny, By::Unknown(unknown)),
    };
    let address = far.address.to_canonical();
    if subject.host_network {
        return step(Verdict::Allow, By::NoPolicy);
    }
    if subject.addresses.contains(&address) {
        return step(Verdict::Allow, By::OwnPod);
    }
    let own_node = snapshot.nodes.get(&subject.node).is_some_and(|node| node.addresses.contains(&address));
    let peer = snapshot.pod_at(address).map(|pod| &**pod);
    let named = match direction {
        Direction::Ingress => Some(&**subject),
        Direction::Egress => peer,
    };
    let far = Far { address, pod: peer, named, protocol: flow.protocol, port: flow.port };
    let tiered: Vec<_> = speaking(snapshot, subject, direction).map(|(_, policy)| policy).collect();
    // NetworkPolicies leave a pod and its own node alone; the tiers around them do not.
    let policies = if own_node { Vec::new() } else { isolating(snapshot, subject, direction) };
    let decided = |tier| first_match(snapshot, &tiered, tier, &far, direction);
    let (verdict, by) = match decided(Tier::Admin) {
        Some((action, rule)) => (verdict_of(action), By::Policy(rule)),
        None if !policies.is_empty() => decide(snapshot, &policies, &far, direction),
        None => match decided(Tier::Baseline) {
            Some((action, rule)) => (verdict_of(action), By::Policy(rule)),
            None if own_node => return step(Verdict::Allow, By::OwnNode),
            None => (Verdict::Allow, By::NoPolicy),
        },
    };
    let nearest_miss = match by {
        By::Isolation(_) => nearest_miss(snapshot, &policies, &far, direction),
        _ => None,
    };
    Step {
        mode: snapshot.mode(subject, layer).0,
        applied: tiered
            .iter()
            .map(|policy| whole_tiered(policy))
            .chain(policies.iter().map(|policy| whole(policy)))
            .collect(),
        nearest_miss,
        ..step(verdict, by)
    }
}

/// The pod at one end of a flow; nothing for an address outside, an error for a pod that is not known.
fn endpoint<'a>(snapshot: &'a Snapshot, end: &Peer) -> Result<Option<&'a Arc<Pod>>, String> {
    match &end.pod {
        None => Ok(snapshot.pod_at(end.address)),
        Some(name) => snapshot.pods.get(name).map(Some).ok_or_else(|| format!("{name} is not known here")),
    }
}

/// The policies that isolate a pod in a direction, by name.
pub(crate) fn isolating<'a>(snapshot: &'a Snapshot, pod: &'a Pod, direction: Direction) -> Vec<&'a NetworkPolicy> {
    in_namespace(snapshot, &pod.name.namespace)
        .filter(|policy| rules(policy, direction).is_some() && policy.pod_selector.matches(&pod.labels))
        .collect()
}

/// The policies of a namespace, by name.
fn in_namespace<'a>(snapshot: &'a Snapshot, namespace: &'a Arc<str>) -> impl Iterator<Item = &'a NetworkPolicy> {
    let first = Name::new(Arc::clone(namespace), "");
    let policies = snapshot.policies.network.range(first..).map(|(_, policy)| &**policy);
    policies.take_while(move |policy| policy.meta.name.namespace == *namespace)
}

/// The policy as a whole.
pub(crate) fn whole(policy: &NetworkPolicy) -> PolicyRef {
    PolicyRef::whole(PolicyKind::NetworkPolicy, policy.meta.name.clone())
}

fn verdict_of(action: TierAction) -> Verdict {
    if action == TierAction::Accept { Verdict::Allow } else { Verdict::Deny }
}

/// What the NetworkPolicies say that isolate an endpoint.
fn decide(snapshot: &Snapshot, policies: &[&NetworkPolicy], far: &Far<'_>, direction: Direction) -> (Verdict, By) {
    let matching = policies.iter().flat_map(|policy| {
        let rules = rules(policy, direction).unwrap_or_default().iter().enumerate();
        rules.filter_map(|(at, rule)| Some((far.tier(snapshot, policy, rule, direction)?, *policy, at)))
    });
    // Of equally specific rules the first one counts: `min_by_key` keeps it.
    match matching.min_by_key(|(tier, _, _)| *tier) {
        Some((_, policy, at)) => (Verdict::Allow, By::Policy(whole(policy).at(rule_path(direction, at)))),
        None => (Verdict::Deny, By::Isolation(policies.iter().map(|policy| whole(policy)).collect())),
    }
}

/// The rule that fails on the fewest fields; nothing when no policy has a rule.
fn nearest_miss(
    snapshot: &Snapshot,
    policies: &[&NetworkPolicy],
    far: &Far<'_>,
    direction: Direction,
) -> Option<NearestMiss> {
    let misses = policies.iter().flat_map(|policy| {
        let rules = rules(policy, direction).unwrap_or_default().iter().enumerate();
        rules.map(|(at, rule)| {
            let path = rule_path(direction, at);
            let miss = far.miss(snapshot, policy, rule, &path, direction);
            (miss, whole(policy).at(path))
        })
    });
    let (miss, rule) = misses.min_by_key(|(miss, _)| miss.distance())?;
    Some(NearestMiss { rule, fields: miss.fields })
}
