//! What became of each policy, of every kind.

use lictor_authz::{PolicyState, PolicyStatus};
use lictor_cluster::Snapshot;
use lictor_manifest::{CiliumNetworkPolicy, ClusterNetworkPolicy};
use lictor_model::{Layer, Name, PolicyKind, PolicyRef};
use lictor_network::Program;
use std::collections::{BTreeSet, HashMap};

/// NetworkPolicies and Stances, with how many pods each speaks for, then what authorization says of its own.
pub(crate) fn policies(snapshot: &Snapshot, network: &Program, authorization: &[PolicyStatus]) -> Vec<PolicyStatus> {
    let mut pods: HashMap<PolicyRef, usize> = HashMap::new();
    for endpoint in network.endpoints.values() {
        let isolating: BTreeSet<&PolicyRef> = [&endpoint.egress, &endpoint.ingress]
            .into_iter()
            .flat_map(|gate| gate.isolated_by.iter().chain(gate.others.iter()))
            .collect();
        for policy in isolating {
            *pods.entry(policy.at("")).or_default() += 1;
        }
    }
    if !snapshot.policies.stances.is_empty() {
        for pod in snapshot.pods.values() {
            let modes = Layer::ALL.iter().filter_map(|layer| snapshot.mode(pod, *layer).1);
            for stance in modes.collect::<BTreeSet<_>>() {
                *pods.entry(stance.at("")).or_default() += 1;
            }
        }
    }
    let known = |kind: PolicyKind, name: &Name, closed: usize| {
        let policy = PolicyRef::whole(kind, name.clone());
        let state = if closed == 0 { PolicyState::Enforced } else { PolicyState::FailsClosed(closed) };
        PolicyStatus { pods: pods.get(&policy).copied().unwrap_or_default(), policy, state }
    };
    let network = snapshot.policies.network.keys().map(|name| known(PolicyKind::NetworkPolicy, name, 0));
    let tiered = snapshot.policies.cluster_network.iter();
    let tiered = tiered.map(|policy| known(policy.kind, &policy.meta.name, tiered_closed(policy)));
    let cilium = snapshot.policies.cilium.values();
    let cilium = cilium.map(|policy| known(policy.kind, &policy.meta.name, cilium_closed(policy)));
    let rego = snapshot.policies.rego.keys().map(|name| PolicyStatus {
        policy: PolicyRef::whole(PolicyKind::ConfigMap, name.clone()),
        state: PolicyState::Enforced,
        pods: snapshot.pods.keys().filter(|pod| pod.namespace == name.namespace).count(),
    });
    let stances = snapshot.policies.stances.keys().map(|name| known(PolicyKind::Stance, name, 0));
    network.chain(tiered).chain(cilium).chain(stances).chain(rego).chain(authorization.iter().cloned()).collect()
}

fn tiered_closed(policy: &ClusterNetworkPolicy) -> usize {
    policy.ingress.iter().chain(&policy.egress).filter(|rule| rule.fails_closed()).count()
}

fn cilium_closed(policy: &CiliumNetworkPolicy) -> usize {
    let sides = policy.specs.iter().flat_map(|spec| [&spec.ingress, &spec.egress]);
    sides.flat_map(|side| side.allow.iter().chain(&side.deny)).filter(|rule| rule.fails_closed()).count()
}
