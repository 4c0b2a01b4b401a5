//! Rules and policies beside each other.

use crate::world::{World, at, named};
use lictor_manifest::{Code, Finding};
use lictor_network::{Effect, RuleFact, port_covers};
use std::collections::HashMap;

/// Whether one rule matches whatever another one of the same policy does.
fn covers(wide: &RuleFact<'_>, narrow: &RuleFact<'_>) -> bool {
    let peers = match (wide.peers(), narrow.peers()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.iter().all(|peer| wide.iter().any(|other| other.covers(peer))),
    };
    let ports = match (wide.ports(), narrow.ports()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.iter().all(|port| wide.iter().any(|other| port_covers(other, port))),
    };
    peers && ports
}

/// The rules of each policy in one direction.
fn by_policy<'w>(world: &'w World<'_>) -> Vec<Vec<&'w RuleFact<'w>>> {
    let mut grouped: HashMap<_, Vec<&RuleFact<'_>>> = HashMap::new();
    let mut order = Vec::new();
    for fact in &world.facts {
        let spec = fact.rule.path.rsplit_once('.').map(|(spec, _)| spec.to_owned()).unwrap_or_default();
        let key = (fact.rule.kind, &fact.rule.name, fact.direction, spec);
        let rules = grouped.entry(key.clone()).or_default();
        if rules.is_empty() {
            order.push(key);
        }
        rules.push(fact);
    }
    order.into_iter().filter_map(|key| grouped.remove(&key)).collect()
}

/// Rules that say nothing beyond another rule of their policy.
pub(crate) fn shadowed(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rules in by_policy(world) {
        for (place, rule) in rules.iter().enumerate() {
            let others = rules.iter().enumerate().filter(|(other, wide)| {
                *other != place && wide.rule != rule.rule && wide.effect == rule.effect && wide.tier.is_none()
            });
            let wide = others.into_iter().find(|(other, wide)| {
                // Of two that say the same, the later one is told.
                let says_more = wide.said.is_none() || wide.said == rule.said;
                says_more && covers(wide, rule) && (*other < place || !covers(rule, wide))
            });
            if let Some((_, wide)) = wide.filter(|_| rule.peers().is_none_or(|peers| !peers.is_empty())) {
                let same = covers(rule, wide) && wide.said == rule.said;
                let code = if same { Code::DuplicateRule } else { Code::RuleShadowed };
                let how = if same { "says the same as" } else { "adds nothing to" };
                let message = format!("{} {} {how} {}", named(&rule.rule), rule.rule.path, wide.rule.path);
                findings.push(at(rule.meta, &rule.rule.path, code, message));
            }
        }
    }
    findings
}

/// Rules of a tier that an earlier one of their policy always comes before.
pub(crate) fn unreachable(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rules in by_policy(world) {
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.tier.is_some()) {
            if rule.peers().is_some_and(|peers| peers.is_empty()) {
                continue;
            }
            if let Some(before) = rules.iter().take(place).find(|before| covers(before, rule)) {
                let message = format!(
                    "{} {} is never reached: {} matches whatever it does",
                    named(&rule.rule),
                    rule.rule.path,
                    before.rule.path
                );
                findings.push(
                    at(rule.meta, &rule.rule.path, Code::RuleUnreachable, message)
                        .with_hint("the first rule that matches decides: move the narrower one to the front"),
                );
            }
        }
    }
    findings
}

/// A `Pass` at the end of a tier skips nothing.
pub(crate) fn passing_to_nothing(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rules in by_policy(world) {
        let Some(last) = rules.last().filter(|last| last.effect == Effect::Pass) else { continue };
        let after = world.facts.iter().any(|fact| {
            fact.direction == last.direction
                && fact.rule.name != last.rule.name
                && fact.tier.zip(last.tier).is_some_and(|(other, own)| other.0 == own.0 && other.1 >= own.1)
        });
        if !after {
            let message =
                format!("{} {} passes, and nothing of its tier comes after it", named(&last.rule), last.rule.path);
            findings.push(at(last.meta, &last.rule.path, Code::PassWithoutEffect, message));
        }
    }
    findings
}

/// Rules that are written to allow and mean no one.
pub(crate) fn allowing_no_one(world: &World<'_>) -> Vec<Finding> {
    let nobody =
        |fact: &&RuleFact<'_>| fact.effect == Effect::Allow && fact.peers().is_some_and(|peers| peers.is_empty());
    let finding = |fact: &RuleFact<'_>| {
        let message = format!("{} {} allows no one; it only isolates", named(&fact.rule), fact.rule.path);
        at(fact.meta, &fact.rule.path, Code::AllowsNoOne, message)
            .with_hint("in a CiliumNetworkPolicy a rule without peers and ports is a default deny")
    };
    world.facts.iter().filter(nobody).map(finding).collect()
}

/// Policies that say the same under two names.
pub(crate) fn duplicate_policies(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let policies: Vec<_> = world.snapshot.policies.network.values().collect();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (place, policy) in policies.iter().enumerate() {
        let says =
            format!("{} {} {:?} {:?}", policy.meta.name.namespace, policy.pod_selector, policy.ingress, policy.egress);
        if let Some(first) = seen.get(&says).and_then(|first| policies.get(*first)) {
            let message = format!("NetworkPolicy {} says the same as {}", policy.meta.name, first.meta.name);
            findings.push(at(&policy.meta, "metadata.name", Code::DuplicatePolicy, message));
        } else {
            seen.insert(says, place);
        }
    }
    findings
}
