//! What became of each policy, of every kind.

use lictor_authz::{PolicyState, PolicyStatus};
use lictor_cluster::Snapshot;
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
    let known = |kind: PolicyKind, name: &Name| {
        let policy = PolicyRef::whole(kind, name.clone());
        PolicyStatus { pods: pods.get(&policy).copied().unwrap_or_default(), policy, state: PolicyState::Enforced }
    };
    let network = snapshot.policies.network.keys().map(|name| known(PolicyKind::NetworkPolicy, name));
    let tiered = snapshot.policies.cluster_network.iter().map(|policy| known(policy.kind, &policy.meta.name));
    let cilium = snapshot.policies.cilium.values().map(|policy| known(policy.kind, &policy.meta.name));
    let stances = snapshot.policies.stances.keys().map(|name| known(PolicyKind::Stance, name));
    network.chain(tiered).chain(cilium).chain(stances).chain(authorization.iter().cloned()).collect()
}
