//! What may be said on connections, and names.

use crate::world::{World, at, end, flow, listed, named};
use lictor_manifest::{CiliumPeer, Code, Finding, Said, TierPeer};
use lictor_model::{Direction, Name, Protocol};
use lictor_network::{PeerFact, judge};

/// Limits on what is said where nobody sees to them.
pub(crate) fn unseen(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fact in &world.facts {
        let Some(said) = fact.said else { continue };
        let subjects = world.subjects(fact);
        if let Said::Dns(_) = **said {
            let resolver = |pod: &Name| {
                let known = world.snapshot.pods.get(pod);
                known.is_some_and(|pod| pod.addresses.iter().any(|at| world.snapshot.resolvers.contains(at)))
            };
            let Some(near) = subjects.first().copied() else { continue };
            let reaches = world.snapshot.pods.values().any(|pod| {
                resolver(&pod.name)
                    && fact.peers().is_none_or(|peers| peers.iter().any(|peer| world.means(fact, peer, near, pod)))
            });
            if !reaches {
                let message = format!(
                    "{} limits questions to a DNS server that is not the cluster's: such connections are denied",
                    named(&fact.rule)
                );
                findings.push(at(fact.meta, &fact.rule.path, Code::NamesUnseen, message));
            }
            continue;
        }
        let outside: Vec<&Name> = subjects.iter().filter(|pod| !pod.enrolled).map(|pod| &pod.workload.name).collect();
        if !outside.is_empty() {
            let message = format!(
                "{} limits what is said to {}, outside the mesh: such connections are denied",
                named(&fact.rule),
                listed(&outside)
            );
            findings.push(
                at(fact.meta, &fact.rule.path, Code::RequestsUnseen, message)
                    .with_hint("take the pods into the mesh, or name ports alone"),
            );
        }
    }
    findings
}

/// Names of pods that cannot ask the cluster's DNS for them.
pub(crate) fn names_without_dns(world: &World<'_>) -> Vec<Finding> {
    let dns = world.snapshot.resolvers.iter().next().and_then(|address| world.snapshot.pod_at(*address));
    let Some(dns) = dns.and_then(|pod| end(pod)) else { return Vec::new() };
    let mut findings = Vec::new();
    for fact in world.facts.iter().filter(|fact| fact.direction == Direction::Egress) {
        let is_name = |peer: &PeerFact<'_>| {
            matches!(peer, PeerFact::Cilium(CiliumPeer::Domain(_)) | PeerFact::Tiered(TierPeer::Domain(_)))
        };
        if !fact.peers().is_some_and(|peers| peers.iter().any(is_name)) {
            continue;
        }
        let subjects = world.subjects(fact);
        let deaf = subjects.iter().filter(|pod| {
            let asked = end(pod).map(|own| flow(own, dns.clone(), (Protocol::Udp, 53)));
            asked.is_some_and(|asked| !judge(world.snapshot, &asked, Direction::Egress).verdict.is_allow())
        });
        let deaf: Vec<&Name> = deaf.map(|pod| &pod.workload.name).collect();
        if !deaf.is_empty() {
            let message =
                format!("{} speaks of names, and {} cannot ask DNS for them", named(&fact.rule), listed(&deaf));
            findings.push(
                at(fact.meta, &fact.rule.path, Code::NamesWithoutDns, message)
                    .with_hint("allow UDP and TCP 53 to the pods of kube-dns"),
            );
        }
    }
    findings
}
