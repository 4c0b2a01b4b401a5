//! What in network policies does nothing, though its writer will have meant something.

use crate::matching::{are_pods, rules};
use crate::tiers::tier_rules;
use foldhash::HashMap;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{Code, Finding, Meta, NetworkPolicy, NetworkRule, PeerTerm, PortMatch, PortTerm, TierPeer};
use lictor_model::{Direction, DomainPattern, Protocol};
use std::sync::Arc;

/// The pods that declare a port name.
type Declaring<'a> = HashMap<(&'a str, Protocol), Vec<&'a Pod>>;

/// Policies that select no pod, priorities that tie, domain names, and port names that no pod declares which they could mean.
///
/// None of them changes a verdict: a name that does not resolve matches nothing.
pub fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut declaring = Declaring::default();
    for pod in snapshot.pods.values().filter(|pod| !pod.host_network) {
        for port in pod.ports.iter().filter(|port| !port.name.is_empty()) {
            declaring.entry((&port.name, port.protocol)).or_default().push(pod);
        }
    }
    let mut findings = tiers(snapshot);
    for policy in snapshot.policies.network.values() {
        let endpoints = snapshot.pods_in(&policy.meta.name.namespace).filter(|pod| !pod.host_network);
        if !endpoints.into_iter().any(|pod| policy.pod_selector.matches(&pod.labels)) {
            findings.push(selects_nothing(policy));
            continue;
        }
        for direction in Direction::BOTH {
            for (at, rule) in rules(policy, direction).unwrap_or_default().iter().enumerate() {
                for (index, port) in rule.ports.iter().enumerate() {
                    if let Some(name) = unresolved(snapshot, policy, rule, port, direction, &declaring) {
                        let path = format!("spec.{direction}[{at}].ports[{index}].port");
                        findings.push(port_unresolved(policy, &path, port, name, direction));
                    }
                }
            }
        }
    }
    findings
}

/// What cluster-wide policies leave open or cannot do.
fn tiers(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    let endpoints = || snapshot.pods.values().filter(|pod| !pod.host_network);
    let policies = &snapshot.policies.cluster_network;
    for (at, policy) in policies.iter().enumerate() {
        let own: Vec<_> = endpoints().filter(|pod| snapshot.selects(&policy.subject, pod)).collect();
        if own.is_empty() {
            let message = format!("{} {} selects no pod", policy.kind, policy.meta.name);
            let position = policy.meta.origin.position("spec.subject");
            findings.push(
                Finding::new(Code::PolicySelectsNothing, position, message)
                    .with_hint("compare its subject with the labels of the namespaces and pods"),
            );
        }
        let before = policies.iter().take(at).rev();
        let equal = before.take_while(|other| (other.tier, other.priority) == (policy.tier, policy.priority));
        for other in equal {
            let both_speak =
                |direction| !tier_rules(policy, direction).is_empty() && !tier_rules(other, direction).is_empty();
            let of_one_pod = own.iter().any(|pod| snapshot.selects(&other.subject, pod));
            if of_one_pod && Direction::BOTH.into_iter().any(both_speak) {
                let message = format!(
                    "{} {} has priority {}, as {} {} of the same tier has; that one is asked first",
                    policy.kind, policy.meta.name, policy.priority, other.kind, other.meta.name
                );
                let position = policy.meta.origin.position("spec.priority");
                findings.push(
                    Finding::new(Code::PriorityTie, position, message)
                        .with_hint("the API leaves open which one counts: give each a priority of its own"),
                );
            }
        }
        for (index, rule) in policy.egress.iter().enumerate() {
            let unknown = rule.peers.iter().find_map(|peer| match peer {
                TierPeer::Domain(name) if snapshot.names.addresses(name).is_empty() => Some(name),
                _ => None,
            });
            findings.extend(unknown.map(|name| not_looked_up(&policy.meta, &format!("spec.egress[{index}]"), name)));
        }
    }
    findings
}

pub(crate) fn not_looked_up(meta: &Meta, path: &str, name: &DomainPattern) -> Finding {
    let message = format!("nobody has looked `{name}` up yet, so it matches nothing");
    Finding::new(Code::DomainNamesUnresolved, meta.origin.position(path), message)
        .with_hint("pods that ask the lab's DNS for it open it; otherwise name the addresses")
}

/// The name of a port that no pod declares which the rule could mean: the policy's own pods for ingress, the
/// peers for egress.
fn unresolved<'a>(
    snapshot: &Snapshot,
    policy: &NetworkPolicy,
    rule: &NetworkRule,
    port: &'a PortTerm,
    direction: Direction,
    declaring: &Declaring<'_>,
) -> Option<&'a Arc<str>> {
    let PortMatch::Named(name) = &port.port else { return None };
    let meant = |pod: &&Pod| match direction {
        Direction::Ingress => pod.is_selected_by(policy),
        Direction::Egress => {
            rule.peers.is_empty() || rule.peers.iter().any(|peer| is_peer(snapshot, policy, peer, pod))
        }
    };
    let declared = declaring.get(&(&**name, port.protocol)).is_some_and(|pods| pods.iter().any(meant));
    (!declared).then_some(name)
}

fn is_peer(snapshot: &Snapshot, policy: &NetworkPolicy, peer: &PeerTerm, pod: &Pod) -> bool {
    match peer {
        PeerTerm::Block(block) => pod.addresses.iter().any(|address| block.contains(*address)),
        PeerTerm::Pods { namespaces, pods } => are_pods(snapshot, policy, namespaces.as_ref(), pods.as_ref(), pod),
    }
}

fn selects_nothing(policy: &NetworkPolicy) -> Finding {
    let message = format!("NetworkPolicy {} selects no pod", policy.meta.name);
    Finding::new(Code::PolicySelectsNothing, policy.meta.origin.position("spec.podSelector"), message)
        .with_hint(format!("compare its selector `{}` with the labels of the pods", policy.pod_selector))
}

fn port_unresolved(policy: &NetworkPolicy, path: &str, port: &PortTerm, name: &str, direction: Direction) -> Finding {
    let whose = match direction {
        Direction::Ingress => "the policy selects",
        Direction::Egress => "the rule allows",
    };
    let message = format!("no pod that {whose} has a {} port named `{name}`, so nothing matches it", port.protocol);
    Finding::new(Code::NamedPortUnresolved, policy.meta.origin.position(path), message)
        .with_hint("name the container port, or write its number")
}

#[cfg(test)]
mod tests {
    use super::findings;
    use lictor_cluster::{AddressPool, Settings, Snapshot};
    use lictor_manifest::read;
    use lictor_model::Revision;

    const MANIFESTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: a, labels: {app: web}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: b, labels: {app: db}}
spec: {containers: [{name: c, image: i, ports: [{name: sql, containerPort: 5432}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: typo, namespace: a}
spec: {podSelector: {matchLabels: {app: wbe}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ports, namespace: a}
spec:
  podSelector: {}
  ingress:
  - ports: [{port: http}, {port: sql}, {port: http, protocol: UDP}]
  egress:
  - ports: [{port: http}, {port: sql}]
  - to: [{podSelector: {}}]
    ports: [{port: http}, {port: sql}]
  - to: [{namespaceSelector: {}}, {ipBlock: {cidr: 203.0.113.0/24}}]
    ports: [{port: sql}, {port: dns, protocol: UDP}]
";

    #[test]
    fn what_does_nothing_is_said_at_its_place() {
        let reading = read("m.yaml", MANIFESTS);
        let settings = Settings::new(Vec::new());
        let (snapshot, _) = Snapshot::build(&reading.objects, &settings, &mut AddressPool::default(), Revision(1));
        let said: Vec<String> = findings(&snapshot).iter().map(ToString::to_string).collect();
        let port = |place: &str, whose: &str, port: &str| {
            format!("warning LIC1202: m.yaml:{place}: no pod that {whose} has a {port}, so nothing matches it")
        };
        assert_eq!(
            said,
            [
                port("23:28", "the policy selects", "TCP port named `sql`"),
                port("23:41", "the policy selects", "UDP port named `http`"),
                port("27:28", "the rule allows", "TCP port named `sql`"),
                port("29:27", "the rule allows", "UDP port named `dns`"),
                "warning LIC1108: m.yaml:15:8: NetworkPolicy a/typo selects no pod".to_owned(),
            ]
        );
    }
}
