//! From a snapshot to a program.

use crate::addressing::Addressing;
use crate::cilium::{Spec, Unit};
use crate::classes::Meaning;
use crate::flat::SaidNumbers;
use crate::gates::{Gates, RuleSetMeaning};
use crate::groups::{Groups, side};
use crate::judge::whole;
use crate::matching::{rule_path, rules};
use crate::numbers::Numbers;
use crate::peers::{add_cilium, add_tier};
use crate::program::{Endpoint, Program, RuleId, RuleSet, RuleSetId, SaidId};
use crate::rules::{Part, Peers, Port, PortName, Rule};
use crate::terms::{Term, Terms};
use crate::tiers::{fails_closed, tier_rules, whole_tiered};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{
    CiliumSpec, ClusterNetworkPolicy, NetworkPolicy, NetworkRule, PortMatch, PortTerm, Tier, TierAction, TierPort,
    TierRule,
};
use lictor_model::{Direction, Name, PolicyRef, PortRange, Protocol};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Every verdict of a snapshot's network policies: the program's [`judge`](Program::judge) says what
/// [`judge`](crate::judge) says.
///
/// Use a [`Compiler`] where snapshots follow one another.
pub fn compile(snapshot: &Snapshot) -> Program {
    Compiler::default().compile(snapshot)
}

/// Compiles snapshots that follow one another into programs that differ no more than their verdicts do.
///
/// A class, a rule set and a rule keep their number while they mean the same, and a number does not come to mean
/// anything else; so the tables of one program can be turned into those of the next entry by entry: add what is
/// new, point the endpoints and addresses at it, remove what is left over. A rule set whose rules or port classes
/// change is a new one; within one, only entries for classes come and go.
#[derive(Debug, Clone)]
pub struct Compiler {
    terms: Numbers<Term>,
    classes: Numbers<Meaning>,
    rule_sets: Numbers<RuleSetMeaning>,
    said: SaidNumbers,
    rules: RuleIds,
    /// The tables of the last program: one that stays the same stays the same allocation.
    tables: BTreeMap<RuleSetId, Arc<RuleSet>>,
}

/// The rules of live policies in one direction.
#[derive(Debug, Default)]
pub(crate) struct LiveRules<'a> {
    /// Of NetworkPolicies.
    pub(crate) network: HashMap<&'a Name, Vec<Rule>>,
    /// Of cluster-wide policies, by their place in the snapshot.
    pub(crate) tiered: HashMap<usize, (Tier, Vec<Rule>)>,
    /// Of CiliumNetworkPolicies.
    pub(crate) cilium: HashMap<*const CiliumSpec, Vec<Rule>>,
}

impl LiveRules<'_> {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        let tiered = self.tiered.values().flat_map(|(_, rules)| rules);
        self.network.values().flatten().chain(tiered).chain(self.cilium.values().flatten())
    }
}

impl Default for Compiler {
    fn default() -> Self {
        Self {
            terms: Numbers::new(),
            classes: Numbers::new(),
            rule_sets: Numbers::new(),
            said: Numbers::new(),
            rules: RuleIds::default(),
            tables: BTreeMap::new(),
        }
    }
}

impl Compiler {
    /// The program of a snapshot.
    pub fn compile(&mut self, snapshot: &Snapshot) -> Program {
        let groups = Groups::of(snapshot);
        let mut terms = Terms::default();
        let rules = Direction::BOTH.map(|direction| self.live_rules(snapshot, &groups, direction, &mut terms));
        terms.index(snapshot);
        let addressing = Addressing::of(snapshot, &groups, &terms, &rules[side(Direction::Egress)], &mut self.classes);
        let numbers = (&mut self.rule_sets, &mut self.said);
        let mut gates = Gates::new(snapshot, &groups, &rules, &addressing.classes, numbers, &self.tables);
        let endpoint = |(name, pod, group): &(&Name, &Arc<Pod>, usize)| {
            let [ingress, egress] = Direction::BOTH.map(|direction| gates.of(*group, pod, direction));
            let own_node = snapshot.nodes.get(&pod.node).map(|node| node.addresses.clone()).unwrap_or_default();
            let endpoint =
                Endpoint { addresses: pod.addresses.clone(), own_node, enrolled: pod.enrolled, ingress, egress };
            ((*name).clone(), endpoint)
        };
        let endpoints = groups.endpoints.iter().map(endpoint).collect();
        let rule_sets = gates.into_tables();
        self.tables.clone_from(&rule_sets);
        self.terms.forget_unused();
        self.classes.forget_unused();
        self.rule_sets.forget_unused();
        self.said.forget_unused();
        let said = self.said.iter().map(|(said, id)| (SaidId(id), Arc::clone(said))).collect();
        Program {
            revision: snapshot.revision,
            endpoints,
            addresses: addressing.addresses,
            prefixes: addressing.prefixes,
            rule_sets,
            said,
            rules: self.rules.refs.clone(),
        }
    }

    /// The rules of the policies that isolate some endpoint in a direction.
    fn live_rules<'a>(
        &mut self,
        snapshot: &Snapshot,
        groups: &Groups<'a>,
        direction: Direction,
        terms: &mut Terms,
    ) -> LiveRules<'a> {
        let mut live = LiveRules::default();
        for policy in groups.live(direction) {
            let listed = rules(policy, direction).unwrap_or_default().iter().enumerate();
            let numbered = listed.map(|(at, rule)| {
                let id = self.rules.of(whole(policy).at(rule_path(direction, at)));
                self.rule(policy, rule, id, direction, terms)
            });
            live.network.insert(&policy.meta.name, numbered.collect());
        }
        for place in groups.live_tiered(direction) {
            let Some(policy) = snapshot.policies.cluster_network.get(place) else { continue };
            let listed = tier_rules(policy, direction).iter().enumerate();
            let numbered = listed.map(|(at, rule)| {
                let id = self.rules.of(whole_tiered(policy).at(rule_path(direction, at)));
                self.tier_rule(snapshot, policy, rule, id, direction, terms)
            });
            let numbered = numbered.collect();
            live.tiered.insert(place, (policy.tier, numbered));
        }
        for spec in groups.live_cilium(direction) {
            let numbered = spec.units(direction).map(|unit| {
                let id = self.rules.of(spec.rule(direction, &unit));
                self.cilium_rule(snapshot, spec, &unit, id, direction, terms)
            });
            let numbered = numbered.collect();
            live.cilium.insert(std::ptr::from_ref(spec.spec), numbered);
        }
        live
    }

    fn cilium_rule(
        &mut self,
        snapshot: &Snapshot,
        spec: Spec<'_>,
        unit: &Unit<'_>,
        id: RuleId,
        direction: Direction,
        terms: &mut Terms,
    ) -> Rule {
        let listed = unit.rule.peers.iter().flatten();
        let mut peers = Peers::default();
        for peer in unit.names_peers().then_some(listed).into_iter().flatten() {
            add_cilium(peer, spec.policy, snapshot, &mut peers, (terms, &mut self.terms));
        }
        let ports = unit.ports.map(|ports| ports.iter().map(|term| port(term, direction)).collect());
        let part = if unit.denies { Part::Deny } else { Part::Network };
        Rule { id, peers: unit.names_peers().then_some(peers), ports, part, said: unit.said.cloned() }
    }

    fn tier_rule(
        &mut self,
        snapshot: &Snapshot,
        policy: &ClusterNetworkPolicy,
        rule: &TierRule,
        id: RuleId,
        direction: Direction,
        terms: &mut Terms,
    ) -> Rule {
        let tier = policy.tier;
        let made = |peers, ports, action| Rule { id, peers, ports, part: Part::Tier(tier, action), said: None };
        if fails_closed(rule) {
            return match rule.action {
                TierAction::Accept => made(Some(Peers::default()), None, TierAction::Accept),
                _ => made(None, None, TierAction::Deny),
            };
        }
        let known = rule.peers.iter().filter_map(|peer| add_tier(peer, snapshot, (terms, &mut self.terms)));
        let peers = Peers::from(known.collect::<Vec<_>>());
        let ports = rule.ports.iter().flat_map(|term| tier_ports(term, direction)).collect();
        made(Some(peers), (!rule.ports.is_empty()).then_some(ports), rule.action)
    }

    fn rule(
        &mut self,
        policy: &NetworkPolicy,
        rule: &NetworkRule,
        id: RuleId,
        direction: Direction,
        terms: &mut Terms,
    ) -> Rule {
        let mut term = |peer| terms.add(Term::of(policy, peer), &mut self.terms);
        let peers: Option<Vec<_>> = (!rule.peers.is_empty()).then(|| rule.peers.iter().map(&mut term).collect());
        let ports = (!rule.ports.is_empty()).then(|| rule.ports.iter().map(|term| port(term, direction)).collect());
        Rule { id, peers: peers.map(Peers::from), ports, part: Part::Network, said: None }
    }
}

/// A port term, with the end at which a name resolves.
fn port(term: &PortTerm, direction: Direction) -> Port {
    let protocol = term.protocol;
    match &term.port {
        PortMatch::Any => Port::Range(protocol, PortRange::ALL),
        PortMatch::Range(range) => Port::Range(protocol, *range),
        PortMatch::Named(name) => named_port(protocol, name, direction),
    }
}

fn named_port(protocol: Protocol, name: &Arc<str>, direction: Direction) -> Port {
    let name = PortName { name: Arc::clone(name), protocol };
    match direction {
        Direction::Ingress => Port::Own(name),
        Direction::Egress => Port::Peers(name),
    }
}

/// A port term of a tier; a name stands for each protocol that has it.
fn tier_ports(term: &TierPort, direction: Direction) -> Vec<Port> {
    match term {
        TierPort::Of(protocol, range) => vec![Port::Range(*protocol, *range)],
        TierPort::Named(name) => Protocol::WITH_PORTS.map(|protocol| named_port(protocol, name, direction)).into(),
        TierPort::Unknown => Vec::new(),
    }
}

/// The rules that ever were, by number: a decision that is told late still finds its rule.
#[derive(Debug, Clone, Default)]
struct RuleIds {
    known: HashMap<PolicyRef, RuleId>,
    refs: Vec<PolicyRef>,
}

impl RuleIds {
    fn of(&mut self, rule: PolicyRef) -> RuleId {
        if let Some(id) = self.known.get(&rule) {
            return *id;
        }
        let id = RuleId(u32::try_from(self.refs.len()).unwrap_or(u32::MAX));
        self.refs.push(rule.clone());
        self.known.insert(rule, id);
        id
    }
}
