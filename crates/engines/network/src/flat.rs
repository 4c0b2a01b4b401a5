//! Tiers and NetworkPolicies of one endpoint as one table of final verdicts.

use crate::classes::Classes;
use crate::program::{ClassId, Entry, Outcome, RuleId, RuleSet};
use crate::rules::{OwnPorts, Part, Port, Rule};
use lictor_manifest::{Tier, TierAction};
use lictor_model::{Protocol, Verdict};
use std::collections::{BTreeSet, HashMap};

/// The rules of an endpoint in one direction: the Admin tier's in their order, the NetworkPolicies', the Baseline tier's.
pub(crate) struct Flat<'a> {
    pub(crate) rules: &'a [Rule],
    /// Whether NetworkPolicies isolate it.
    pub(crate) isolated: bool,
    pub(crate) own: &'a OwnPorts,
    pub(crate) classes: &'a Classes,
}

/// Which flows an entry is about.
#[derive(Clone, Copy)]
struct Case {
    /// The peer's class; nothing for one that no rule speaks of.
    class: Option<ClassId>,
    /// Whether the peer is the endpoint's own node.
    own_node: bool,
    /// Protocol and port; nothing for protocols that no rule speaks of.
    port: Option<(Protocol, u16)>,
}

impl Flat<'_> {
    /// The table: for each class that some rule speaks of, and for all others, the verdict on each protocol and port
    /// class that some rule speaks of, and on all others.
    pub(crate) fn table(&self, bounds: Vec<u16>) -> RuleSet {
        let ports = || self.rules.iter().filter_map(|rule| rule.ports.as_ref()).flatten();
        let protocols: BTreeSet<Protocol> = ports().map(Port::protocol).collect();
        let peers: Vec<Option<Vec<ClassId>>> =
            self.rules.iter().map(|rule| rule.peers.as_ref().map(|terms| self.classes.meeting(terms))).collect();
        let named = ports().filter_map(|port| match port {
            Port::Peers(name) => Some(self.classes.named(name).iter().map(|(class, _)| *class)),
            Port::Range(..) | Port::Own(_) => None,
        });
        let spoken_of: BTreeSet<ClassId> = peers.iter().flatten().flatten().copied().chain(named.flatten()).collect();
        let keys = (spoken_of.into_iter().map(|class| (class, Some(class), false)))
            .chain(self.classes.of_nodes().map(|class| (class.as_own_node(), Some(class), true)))
            .chain([(ClassId::ANY, None, false)]);
        let mut entries = HashMap::new();
        for (key, class, own_node) in keys {
            let all_others = self.outcome(&peers, Case { class, own_node, port: None });
            entries.insert(Entry { class: key, port: None }, all_others);
            for protocol in &protocols {
                for (at, bound) in (0_u16..).zip(&bounds) {
                    let outcome = self.outcome(&peers, Case { class, own_node, port: Some((*protocol, *bound)) });
                    if outcome != all_others {
                        entries.insert(Entry { class: key, port: Some((*protocol, at)) }, outcome);
                    }
                }
            }
        }
        RuleSet { bounds, entries }
    }

    /// What all tiers come to.
    fn outcome(&self, peers: &[Option<Vec<ClassId>>], case: Case) -> Outcome {
        let matching = || {
            let with_peers = self.rules.iter().zip(peers);
            with_peers.filter(move |(rule, peers)| self.matches(rule, peers.as_deref(), case)).map(|(rule, _)| rule)
        };
        let tier = |wanted: Tier| {
            let mut actions = matching().filter_map(move |rule| match rule.part {
                Part::Tier(tier, action) if tier == wanted => Some((action, rule.id)),
                _ => None,
            });
            match actions.next()? {
                (TierAction::Accept, rule) => Some(Outcome { verdict: Verdict::Allow, rule }),
                (TierAction::Deny, rule) => Some(Outcome { verdict: Verdict::Deny, rule }),
                (TierAction::Pass, _) => None,
            }
        };
        if let Some(outcome) = tier(Tier::Admin) {
            return outcome;
        }
        if self.isolated && !case.own_node {
            let network = matching().filter(|rule| rule.part == Part::Network);
            // Of equally specific rules the first one counts: `min_by_key` keeps it.
            return match network.min_by_key(|rule| self.specificity(rule, case)) {
                Some(rule) => Outcome { verdict: Verdict::Allow, rule: rule.id },
                None => Outcome { verdict: Verdict::Deny, rule: RuleId::ISOLATION },
            };
        }
        let nothing = if case.own_node { RuleId::OWN_NODE } else { RuleId::NO_POLICY };
        tier(Tier::Baseline).unwrap_or(Outcome { verdict: Verdict::Allow, rule: nothing })
    }

    fn matches(&self, rule: &Rule, peers: Option<&[ClassId]>, case: Case) -> bool {
        let is_peer = |peers: &[ClassId]| case.class.is_some_and(|class| peers.binary_search(&class).is_ok());
        peers.is_none_or(is_peer)
            && rule.ports.as_ref().is_none_or(|ports| ports.iter().any(|port| self.is_port(port, case)))
    }

    fn is_port(&self, term: &Port, case: Case) -> bool {
        let Some((_, port)) = case.port.filter(|(protocol, _)| *protocol == term.protocol()) else { return false };
        match term {
            Port::Range(_, range) => range.contains(port),
            Port::Own(name) => self.own.get(name) == Some(&port),
            Port::Peers(name) => case.class.is_some_and(|class| self.classes.named(name).contains(&(class, port))),
        }
    }

    /// As [`Far::tier`](crate::matching::Far::tier) has it.
    fn specificity(&self, rule: &Rule, case: Case) -> u8 {
        let names_peer = |port: &Port| matches!(port, Port::Peers(_)) && self.is_port(port, case);
        match (&rule.peers, &rule.ports) {
            (Some(_), Some(_)) => 0,
            (None, Some(ports)) if ports.iter().any(names_peer) => 0,
            (Some(_), None) => 1,
            (None, Some(_)) => 2,
            (None, None) => 3,
        }
    }
}
