//! What no policy speaks of.

use crate::world::{World, at, end, flow, listed, named};
use lictor_cluster::Pod;
use lictor_manifest::{Code, Finding};
use lictor_model::{Direction, Layer, Name, Protocol};
use lictor_network::judge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespaces in which some pod is isolated and another one is not.
pub(crate) fn without_default_deny(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for direction in Direction::BOTH {
        let mut open: BTreeMap<&Arc<str>, Vec<&Name>> = BTreeMap::new();
        let mut isolated = BTreeSet::new();
        for pod in &world.pods {
            let gate = world.program.endpoints.get(&pod.name).map(|endpoint| endpoint.gate(direction));
            if gate.is_some_and(|gate| gate.rule_set.is_some()) {
                isolated.insert(&pod.name.namespace);
            } else {
                open.entry(&pod.name.namespace).or_default().push(&pod.name);
            }
        }
        for (namespace, pods) in open {
            let Some(first) = pods.first().and_then(|name| world.snapshot.pods.get(*name)) else { continue };
            let code = match direction {
                Direction::Ingress => Code::NoDefaultDenyIngress,
                Direction::Egress => Code::NoDefaultDenyEgress,
            };
            let some = if isolated.contains(namespace) { "but not of" } else { "and so of" };
            let message = format!("namespace {namespace} has no default deny of {direction}, {some} {}", listed(&pods));
            let Some(meta) = meta_of(world, first) else { continue };
            findings.push(at(meta, "metadata", code, message).with_hint(format!(
                "a NetworkPolicy with `podSelector: {{}}` and `policyTypes: [{}]` denies what no other allows",
                if direction == Direction::Ingress { "Ingress" } else { "Egress" }
            )));
        }
    }
    findings
}

/// A policy in a pod's namespace; nothing where there is none, and so nothing that was forgotten.
fn meta_of<'w>(world: &'w World<'_>, pod: &Pod) -> Option<&'w lictor_manifest::Meta> {
    let policies = &world.snapshot.policies;
    let network = policies.network.values().map(|policy| &policy.meta);
    let mut metas = network.chain(policies.cilium.values().map(|policy| &policy.meta));
    metas.find(|meta| meta.name.namespace == pod.name.namespace)
}

/// Pods that no policy selects, in namespaces that have policies.
pub(crate) fn unselected_pods(world: &World<'_>) -> Vec<Finding> {
    let mut unselected: BTreeMap<&Arc<str>, Vec<&Name>> = BTreeMap::new();
    for pod in &world.pods {
        let Some(endpoint) = world.program.endpoints.get(&pod.name) else { continue };
        if Direction::BOTH.iter().all(|direction| endpoint.gate(*direction).rule_set.is_none()) {
            unselected.entry(&pod.name.namespace).or_default().push(&pod.name);
        }
    }
    let finding = |(namespace, pods): (&Arc<str>, Vec<&Name>)| {
        let first = world.snapshot.pods.get(*pods.first()?)?;
        let message = format!("namespace {namespace} has policies, and none of them selects {}", listed(&pods));
        Some(at(meta_of(world, first)?, "metadata", Code::PodUnselected, message))
    };
    unselected.into_iter().filter_map(finding).collect()
}

/// Policies whose selector means pods that live in the network of their node: no policy is about those.
pub(crate) fn host_network(world: &World<'_>) -> Vec<Finding> {
    let hosts: Vec<&Arc<Pod>> = world.snapshot.pods.values().filter(|pod| pod.host_network).collect();
    let mut findings = Vec::new();
    for policy in world.snapshot.policies.network.values() {
        let meant: Vec<&Name> = hosts.iter().filter(|pod| pod.is_selected_by(policy)).map(|pod| &pod.name).collect();
        if !meant.is_empty() && !policy.pod_selector.is_empty() {
            let message = format!(
                "NetworkPolicy {} selects {}, in the network of its node: no policy is about it",
                policy.meta.name,
                listed(&meant)
            );
            findings.push(at(&policy.meta, "spec.podSelector", Code::HostNetworkSelected, message));
        }
    }
    findings
}

/// Pods whose egress is isolated and that cannot ask the cluster's DNS.
pub(crate) fn egress_without_dns(world: &World<'_>) -> Vec<Finding> {
    let dns = world.snapshot.resolvers.iter().next().and_then(|address| world.snapshot.pod_at(*address));
    let Some(dns) = dns.and_then(|pod| end(pod)) else { return Vec::new() };
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for fact in world.facts.iter().filter(|fact| fact.direction == Direction::Egress) {
        let deaf = |pod: &&Arc<Pod>| {
            let Some(own) = end(pod) else { return false };
            let asked = judge(world.snapshot, &flow(own, dns.clone(), (Protocol::Udp, 53)), Direction::Egress);
            asked.layer == Layer::Egress && !asked.verdict.is_allow()
        };
        let subjects = world.subjects(fact);
        let deaf: Vec<&Name> = subjects.iter().filter(|pod| deaf(pod)).map(|pod| &pod.workload.name).collect();
        if !deaf.is_empty() && told.insert(&fact.meta.name) {
            let message =
                format!("{} isolates the egress of {}, which cannot ask DNS", named(&fact.rule), listed(&deaf));
            findings.push(
                at(fact.meta, "spec", Code::NoEgressToDns, message)
                    .with_hint("allow UDP and TCP 53 to the pods of kube-dns, if the workload resolves names"),
            );
        }
    }
    findings
}
