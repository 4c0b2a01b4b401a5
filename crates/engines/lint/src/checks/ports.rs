//! Ports of rules.

use crate::world::{World, at, named};
use lictor_cluster::Pod;
use lictor_manifest::{Code, Finding, PortMatch, PortTerm};
use lictor_model::{Direction, Protocol};
use lictor_network::{Effect, RuleFact};
use std::sync::Arc;

/// Whether a term means a port by number.
pub(crate) fn means(term: &PortTerm, protocol: Protocol, port: u16) -> bool {
    term.protocol == protocol
        && match &term.port {
            PortMatch::Any => true,
            PortMatch::Range(range) => range.contains(port),
            PortMatch::Named(_) => false,
        }
}

/// A port that a rule means at a destination.
pub(crate) fn one_of(fact: &RuleFact<'_>, destination: &Pod) -> (Protocol, u16) {
    let ports = fact.ports().unwrap_or_default();
    let number = |term: &PortTerm| match &term.port {
        PortMatch::Any => None,
        PortMatch::Range(range) => Some((term.protocol, range.first())),
        PortMatch::Named(name) => Some((term.protocol, destination.named_port(name, term.protocol)?)),
    };
    let declared = || destination.ports.first().map(|port| (port.protocol, port.port));
    ports.iter().find_map(number).or_else(declared).unwrap_or((Protocol::Tcp, 80))
}

/// Numbers that none of the pods at the destination declares.
pub(crate) fn not_exposed(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fact in world.facts.iter().filter(|fact| fact.effect == Effect::Allow) {
        let Some(near) = world.subjects(fact).first().copied() else { continue };
        let at_the_end: Vec<&Arc<Pod>> = match fact.direction {
            Direction::Ingress => world.subjects(fact),
            Direction::Egress if fact.peers().is_some() => world.peers_of(fact, near),
            Direction::Egress => continue,
        };
        // Pods that declare nothing may listen on anything.
        if at_the_end.is_empty() || at_the_end.iter().any(|pod| pod.ports.is_empty()) {
            continue;
        }
        for term in fact.ports().unwrap_or_default() {
            let PortMatch::Range(range) = &term.port else { continue };
            if range.first() != range.last() || matches!(term.protocol, Protocol::Other(_)) {
                continue;
            }
            let declares = |pod: &&Arc<Pod>| pod.ports.iter().any(|port| means(&term, port.protocol, port.port));
            if at_the_end.iter().any(declares) || service_of(world, &at_the_end, &term).is_some() {
                continue;
            }
            let (code, whose) = match fact.direction {
                Direction::Ingress => (Code::PortNotExposed, "it selects"),
                Direction::Egress => (Code::PeerPortNotExposed, "among its peers"),
            };
            let message =
                format!("{} allows {}/{}, which no pod {whose} declares", named(&fact.rule), range, term.protocol);
            findings.push(at(fact.meta, &fact.rule.path, code, message));
        }
    }
    findings
}

/// The Service whose own port a term means, where its pods have another.
fn service_of(world: &World<'_>, pods: &[&Arc<Pod>], term: &PortTerm) -> Option<(String, u16)> {
    world.snapshot.services.values().find_map(|service| {
        service.ports.iter().find_map(|port| {
            let backend = port
                .backends
                .iter()
                .find(|backend| backend.pod.as_ref().is_some_and(|name| pods.iter().any(|pod| pod.name == *name)))?;
            let own = means(term, port.port.protocol, port.port.port) && backend.port != port.port.port;
            own.then(|| (service.service.meta.name.to_string(), backend.port))
        })
    })
}

/// Numbers that are a Service's, where the pods have another.
pub(crate) fn of_a_service(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fact in world.facts.iter().filter(|fact| fact.effect == Effect::Allow) {
        let Some(near) = world.subjects(fact).first().copied() else { continue };
        let at_the_end: Vec<&Arc<Pod>> = match fact.direction {
            Direction::Ingress => world.subjects(fact),
            Direction::Egress => world.peers_of(fact, near),
        };
        for term in fact.ports().unwrap_or_default() {
            let PortMatch::Range(range) = &term.port else { continue };
            let declared = |pod: &&Arc<Pod>| pod.ports.iter().any(|port| means(&term, port.protocol, port.port));
            if range.first() != range.last() || at_the_end.iter().any(declared) {
                continue;
            }
            if let Some((service, target)) = service_of(world, &at_the_end, &term) {
                let message = format!(
                    "{} allows {range}/{}, the port of Service {service}; its pods listen on {target}",
                    named(&fact.rule),
                    term.protocol
                );
                findings.push(
                    at(fact.meta, &fact.rule.path, Code::ServicePort, message)
                        .with_hint(format!("policies see the pods' port: write {target}")),
                );
            }
        }
    }
    findings
}

/// DNS needs both: answers that are too long for UDP come by TCP.
pub(crate) fn dns_over_one_protocol(world: &World<'_>) -> Vec<Finding> {
    let finding = |fact: &RuleFact<'_>| {
        let ports = fact.ports().filter(|_| fact.direction == Direction::Egress && fact.effect == Effect::Allow)?;
        let has = |protocol| ports.iter().any(|term| means(term, protocol, 53) && term.port != PortMatch::Any);
        let (udp, tcp) = (has(Protocol::Udp), has(Protocol::Tcp));
        let (only, missing) = match (udp, tcp) {
            (true, false) => (Protocol::Udp, Protocol::Tcp),
            (false, true) => (Protocol::Tcp, Protocol::Udp),
            _ => return None,
        };
        let message = format!("{} allows DNS over {only} and not over {missing}", named(&fact.rule));
        Some(
            at(fact.meta, &fact.rule.path, Code::DnsOverOneProtocol, message)
                .with_hint("long answers come by TCP, all others by UDP: allow port 53 of both"),
        )
    };
    world.facts.iter().filter_map(finding).collect()
}
