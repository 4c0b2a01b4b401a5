//! Who is at the other end of a rule.

use crate::checks::ports::one_of;
use crate::world::{World, at, listed, named};
use lictor_manifest::{Code, Finding};
use lictor_model::{Direction, Name};
use lictor_network::Effect;

/// Peers that mean nobody who is there.
pub(crate) fn matching_nothing(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fact in &world.facts {
        let Some(near) = world.subjects(fact).first().copied() else { continue };
        let peers = fact.peers().unwrap_or_default();
        // A label that nothing carries is told of as that.
        let pods_alone =
            |peer: &&lictor_network::PeerFact<'_>| peer.selectors().is_some() && !world.carried.asks_for_unknown(peer);
        let meant = |peer: &lictor_network::PeerFact<'_>| {
            world.snapshot.pods.values().any(|pod| !pod.host_network && world.means(fact, peer, near, pod))
        };
        let known =
            peers.iter().filter(|peer| peer.selectors().is_none() || !world.carried.asks_for_unknown(peer)).count();
        let unmet: Vec<_> = peers.iter().filter(pods_alone).filter(|peer| !meant(peer)).collect();
        if unmet.is_empty() {
            continue;
        }
        let all = unmet.len() == known;
        let (code, message) = match (fact.effect, all) {
            (Effect::Deny, true) => {
                (Code::DenyNeverMatches, format!("{} denies nothing: no pod is among its peers", named(&fact.rule)))
            }
            _ => {
                let which = if all { "none of its peers" } else { "one of its peers" };
                let verb = if all { "is a pod that is there" } else { "means no pod that is there" };
                (Code::PeerMatchesNothing, format!("{}: {which} {verb}", named(&fact.rule)))
            }
        };
        findings.push(
            at(fact.meta, &fact.peers_path(), code, message)
                .with_hint("compare the selectors with the labels of pods and namespaces"),
        );
    }
    findings
}

/// Rules that let anyone in.
pub(crate) fn open_to_all(world: &World<'_>) -> Vec<Finding> {
    let wide = world.facts.iter().filter(|fact| {
        fact.direction == Direction::Ingress
            && fact.effect == Effect::Allow
            && fact.said.is_none()
            && fact.peers().is_none()
    });
    let finding = |fact: &lictor_network::RuleFact<'_>| {
        let ports = if fact.ports().is_none() { " on every port" } else { "" };
        let message = format!("{} lets everyone in{ports}, from outside the cluster too", named(&fact.rule));
        at(fact.meta, &fact.rule.path, Code::OpenToAll, message)
            .with_hint("name who may come with `from`; a gateway's pods can be selected like any others")
    };
    wide.map(finding).collect()
}

/// Rules whose peers are held back by policies of their own: some of them, or all.
pub(crate) fn nobody_gets_through(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let allowing = world.facts.iter().filter(|fact| fact.effect == Effect::Allow && fact.peers().is_some());
    for fact in allowing {
        let Some(near) = world.subjects(fact).first().copied() else { continue };
        let peers = world.peers_of(fact, near);
        let passes = |far: &std::sync::Arc<lictor_cluster::Pod>| {
            let (source, destination, other) = match fact.direction {
                Direction::Ingress => (far, near, Direction::Egress),
                Direction::Egress => (near, far, Direction::Ingress),
            };
            world.passes(source, destination, other, one_of(fact, destination))
        };
        let held: Vec<&Name> = peers.iter().filter(|far| !passes(far)).map(|far| &far.name).collect();
        if held.is_empty() {
            continue;
        }
        let side = match fact.direction {
            Direction::Ingress => "their own egress is denied",
            Direction::Egress => "their own ingress denies it",
        };
        let (code, message) = if held.len() == peers.len() {
            let message = format!("{} allows {}, and nobody gets through: {side}", named(&fact.rule), listed(&held));
            (Code::NobodyGetsThrough, message)
        } else {
            let message = format!(
                "{} is broader than needed by {} of {} peers ({}): {side}",
                named(&fact.rule),
                held.len(),
                peers.len(),
                listed(&held)
            );
            (Code::BroaderThanNeeded, message)
        };
        findings.push(at(fact.meta, &fact.peers_path(), code, message));
    }
    findings
}
