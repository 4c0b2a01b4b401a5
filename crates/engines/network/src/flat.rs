//! Tiers and NetworkPolicies of one endpoint as one table of final verdicts.

use crate::classes::Classes;
use crate::numbers::Numbers;
use crate::program::{ClassId, Entry, Outcome, RuleId, RuleSet, SaidId, Sayable};
use crate::rules::{OwnNames, OwnPorts, Part, Peers, Port, Rule};
use crate::terms::TermId;
use foldhash::HashMap;
use lictor_manifest::{Tier, TierAction};
use lictor_model::{Protocol, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The rules of an endpoint in one direction: the Admin tier's in their order, those of NetworkPolicies and
/// CiliumNetworkPolicies, the Baseline tier's.
pub(crate) struct Flat<'a> {
    pub(crate) rules: Vec<&'a Rule>,
    /// Whether policies isolate it.
    pub(crate) isolation: Isolation,
    pub(crate) own: &'a OwnPorts,
    pub(crate) learnt: &'a OwnNames,
    pub(crate) classes: &'a Classes,
}

/// Whether what no rule allows is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Isolation {
    /// From peers but the endpoint's own node.
    pub(crate) others: bool,
    /// From that as well.
    pub(crate) own_node: bool,
}

/// What the rules of a table let be said, numbered.
pub(crate) type SaidNumbers = Numbers<Arc<[Sayable]>>;

/// The classes that a rule's peers are of.
struct Met {
    classes: Vec<ClassId>,
    own_node: bool,
    other_nodes: Vec<ClassId>,
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
    pub(crate) fn table(&self, bounds: Vec<u16>, said: &mut SaidNumbers) -> RuleSet {
        let ports = || self.rules.iter().filter_map(|rule| rule.ports.as_ref()).flatten();
        let protocols: BTreeSet<Protocol> = ports().map(Port::protocol).collect();
        let peers: Vec<Option<Met>> =
            self.rules.iter().map(|rule| rule.peers.as_ref().map(|peers| self.met(peers))).collect();
        let named = ports().filter_map(|port| match port {
            Port::Peers(name) => Some(self.classes.named(name).iter().map(|(class, _)| *class)),
            Port::Range(..) | Port::Own(_) => None,
        });
        let met = peers.iter().flatten().flat_map(|met| met.classes.iter().chain(&met.other_nodes)).copied();
        let spoken_of: BTreeSet<ClassId> = met.chain(named.flatten()).collect();
        let keys = (spoken_of.into_iter().map(|class| (class, Some(class), false)))
            .chain(self.classes.of_nodes().map(|class| (class.as_own_node(), Some(class), true)))
            .chain([(ClassId::ANY, None, false)]);
        let mut entries = HashMap::default();
        for (key, class, own_node) in keys {
            let all_others = self.outcome(&peers, Case { class, own_node, port: None }, said);
            entries.insert(Entry { class: key, port: None }, all_others);
            for protocol in &protocols {
                for (at, bound) in (0_u16..).zip(&bounds) {
                    let case = Case { class, own_node, port: Some((*protocol, *bound)) };
                    let outcome = self.outcome(&peers, case, said);
                    if outcome != all_others {
                        entries.insert(Entry { class: key, port: Some((*protocol, at)) }, outcome);
                    }
                }
            }
        }
        RuleSet { bounds, entries }
    }

    fn met(&self, peers: &Peers) -> Met {
        let learnt = peers.domains.iter().filter_map(|domain| self.learnt.get(domain)).flat_map(|meant| meant.iter());
        let terms: Vec<TermId> = peers.terms.iter().chain(learnt).copied().collect();
        Met {
            classes: self.classes.meeting(&terms).into_owned(),
            own_node: peers.own_node,
            other_nodes: peers.other_nodes.map(|term| self.classes.meeting(&[term]).into_owned()).unwrap_or_default(),
        }
    }

    /// What all tiers come to.
    fn outcome(&self, peers: &[Option<Met>], case: Case, said: &mut SaidNumbers) -> Outcome {
        let matching = || {
            let with_peers = self.rules.iter().zip(peers);
            with_peers.filter(move |(rule, peers)| self.matches(rule, peers.as_ref(), case)).map(|(rule, _)| *rule)
        };
        let tier = |wanted: Tier| {
            let mut actions = matching().filter_map(move |rule| match rule.part {
                Part::Tier(tier, action) if tier == wanted => Some((action, rule.id)),
                _ => None,
            });
            match actions.next()? {
                (TierAction::Accept, rule) => Some(Outcome::of(Verdict::Allow, rule)),
                (TierAction::Deny, rule) => Some(Outcome::of(Verdict::Deny, rule)),
                (TierAction::Pass, _) => None,
            }
        };
        if let Some(outcome) = tier(Tier::Admin) {
            return outcome;
        }
        // Of equally specific rules the first one counts: `min_by_key` keeps it.
        let denying = matching().filter(|rule| rule.part == Part::Deny);
        if let Some(rule) = denying.min_by_key(|rule| self.specificity(rule, case)) {
            return Outcome::of(Verdict::Deny, rule.id);
        }
        let Isolation { others, own_node } = self.isolation;
        if if case.own_node { own_node } else { others } {
            let allowing = || matching().filter(|rule| rule.part == Part::Network);
            let anything = allowing().filter(|rule| rule.said.is_none());
            if let Some(rule) = anything.min_by_key(|rule| self.specificity(rule, case)) {
                return Outcome::of(Verdict::Allow, rule.id);
            }
            let sayable = |rule: &Rule| Some(Sayable { rule: rule.id, said: rule.said.clone()? });
            let mut something: Vec<&Rule> = allowing().collect();
            something.sort_by_key(|rule| self.specificity(rule, case));
            let sayable: Arc<[Sayable]> = something.into_iter().filter_map(sayable).collect();
            return match sayable.first() {
                Some(first) => {
                    Outcome { verdict: Verdict::Allow, rule: first.rule, said: Some(SaidId(said.of(&sayable))) }
                }
                None => Outcome::of(Verdict::Deny, RuleId::ISOLATION),
            };
        }
        let nothing = if case.own_node { RuleId::OWN_NODE } else { RuleId::NO_POLICY };
        tier(Tier::Baseline).unwrap_or(Outcome::of(Verdict::Allow, nothing))
    }

    fn matches(&self, rule: &Rule, peers: Option<&Met>, case: Case) -> bool {
        let of = |classes: &[ClassId]| case.class.is_some_and(|class| classes.binary_search(&class).is_ok());
        let is_peer = |met: &Met| of(&met.classes) || (if case.own_node { met.own_node } else { of(&met.other_nodes) });
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
