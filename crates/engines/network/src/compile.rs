//! From a snapshot to a program.

use crate::addressing::{Addressing, peer_names};
use crate::cilium::{Spec, Unit};
use crate::classes::{Classes, Meaning};
use crate::cores::Cores;
use crate::edits::Subjects;
use crate::flat::SaidNumbers;
use crate::gates::{Making, RuleSetMeaning, Sets, place};
use crate::groups::{Groups, Piece, Selecting, side};
use crate::learnt::Learnt;
use crate::matching::rules;
use crate::numbers::Numbers;
use crate::peers::{add_cilium, add_tier};
use crate::policy_rules::PolicyRules;
use crate::program::{Endpoint, Gate, Program, RuleId, RuleSetId, SaidId, Stand};
use crate::rule_ids::RuleIds;
use crate::rules::{Part, Peers, Port, PortName, Rule};
use crate::terms::{Term, Terms};
use crate::tiers::tier_rules;
use foldhash::HashMap;
use lictor_cluster::{Pod, Policies, Snapshot};
use lictor_manifest::{
    ClusterNetworkPolicy, NetworkPolicy, NetworkRule, PortMatch, PortTerm, Tier, TierAction, TierPort, TierRule,
};
use lictor_model::{Direction, Name, PolicyKind, PortRange, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
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
    pub(crate) terms: Numbers<Term>,
    pub(crate) classes: Numbers<Meaning>,
    pub(crate) rule_sets: Numbers<Arc<RuleSetMeaning>>,
    pub(crate) said: SaidNumbers,
    pub(crate) rules: RuleIds,
    pub(crate) last: Option<Last>,
    pub(crate) cores: Cores,
}

/// What the last program was made of.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    pub(crate) terms: Terms,
    pub(crate) classes: Classes,
    pub(crate) learnt: Learnt,
    /// The names of peers' ports that rules use.
    pub(crate) names: BTreeSet<PortName>,
    /// By direction.
    pub(crate) live: [LiveRules; 2],
    pub(crate) sets: Sets,
    /// What says which policies and Stances select a pod.
    pub(crate) selecting: Selecting,
    /// By that: what endpoints share with others by direction, as a number of [`Sets::shared`], and how far it goes.
    pub(crate) selected: HashMap<Arc<[u8]>, [(u32, Stand); 2]>,
    /// How many patches were made since all was compiled.
    pub(crate) patches: usize,
    /// How many addresses all pods have forgotten since then.
    pub(crate) forgotten: usize,
    /// [`Sets::weight`] when all was compiled.
    pub(crate) weight: usize,
    /// How many gates ask each rule set.
    pub(crate) users: HashMap<RuleSetId, usize>,
    /// The policies, and those that they replaced. Their places in memory stand for them, so they are kept.
    pub(crate) policies: Policies,
    pub(crate) replaced: Vec<Subjects>,
}

/// The rules of live policies in one direction.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveRules {
    /// Of NetworkPolicies, by their place in memory.
    pub(crate) network: HashMap<usize, PolicyRules>,
    /// Of cluster-wide policies, by their place in memory.
    pub(crate) tiered: HashMap<usize, (Tier, PolicyRules)>,
    /// Of the specs of CiliumNetworkPolicies, by their place in memory.
    pub(crate) cilium: HashMap<usize, PolicyRules>,
}

impl LiveRules {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        let tiered = self.tiered.values().map(|(_, rules)| rules);
        self.network.values().chain(tiered).chain(self.cilium.values()).flat_map(|rules| rules.iter())
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
            last: None,
            cores: Cores::default(),
        }
    }
}

impl Compiler {
    /// The same on so many threads, however small the snapshots are, where the default is as many as the machine has and one
    /// for what is not worth more. What it compiles is the same.
    #[must_use]
    pub fn on_threads(threads: NonZeroUsize) -> Self {
        Self { cores: Cores::exactly(threads), ..Self::default() }
    }

    /// The program of a snapshot.
    pub fn compile(&mut self, snapshot: &Snapshot) -> Program {
        let mut groups = Groups::of(snapshot, self.cores);
        let mut terms = Terms::default();
        let live = Direction::BOTH.map(|direction| self.live_rules(snapshot, &groups, direction, &mut terms));
        let egress = &live[side(Direction::Egress)];
        let learnt = Learnt::of(snapshot, egress, &mut terms, &mut self.terms);
        terms.index(snapshot);
        let names = peer_names(egress.all());
        let Addressing { addresses, prefixes, classes } =
            Addressing::of(snapshot, &groups, &terms, &names, &mut self.classes, self.cores);
        let before = self.last.take().map(|last| last.sets.tables).unwrap_or_default();
        let mut sets = Sets::of(&groups.sides, std::mem::take(&mut groups.places), &live, before, self.cores);
        self.rule_sets.expect(groups.sides.len());
        let mut making = Making {
            classes: &classes,
            learnt: &learnt,
            numbers: &mut self.rule_sets,
            said: &mut self.said,
            cores: self.cores,
        };
        let endpoints = endpoints(snapshot, &groups, &mut sets, &mut making);
        sets.fill_new(&mut making);
        self.terms.forget_unused();
        self.classes.forget_unused();
        self.rule_sets.forget_unused();
        self.said.forget_unused();
        let program = Program {
            revision: snapshot.revision,
            endpoints,
            addresses,
            prefixes,
            rule_sets: sets.tables.clone(),
            said: self.said.iter().map(|(said, id)| (SaidId(id), Arc::clone(said))).collect(),
            rules: self.rules.from(0).unwrap_or_default(),
        };
        let Groups { pieces, selecting, .. } = groups;
        let mut selected = HashMap::default();
        selected.reserve(pieces.iter().map(|piece| piece.selected.len()).sum());
        selected.extend(pieces.into_iter().flat_map(|piece| piece.selected).map(|one| (one.key, one.sides)));
        let mut users: HashMap<RuleSetId, usize> = HashMap::default();
        users.reserve(program.rule_sets.len());
        for id in program.endpoints.values().flat_map(Endpoint::asked) {
            *users.entry(id).or_default() += 1;
        }
        sets.settle();
        let policies = snapshot.policies.clone();
        let (patches, forgotten, weight, replaced) = (0, 0, sets.weight, Vec::new());
        self.last = Some(Last {
            terms,
            classes,
            learnt,
            names,
            live,
            sets,
            selecting,
            selected,
            patches,
            forgotten,
            weight,
            users,
            policies,
            replaced,
        });
        program
    }

    /// The rules of the policies that isolate some endpoint in a direction.
    fn live_rules(
        &mut self,
        snapshot: &Snapshot,
        groups: &Groups<'_>,
        direction: Direction,
        terms: &mut Terms,
    ) -> LiveRules {
        let mut live = LiveRules::default();
        let network = groups.live(direction);
        live.network.reserve(network.len());
        self.rules.expect(network.len());
        self.terms.expect(network.len());
        terms.expect(network.len());
        for policy in network {
            live.network.insert(place(policy), self.network_rules(policy, direction, terms));
        }
        for policy in groups.live_tiered(direction) {
            live.tiered.insert(place(policy), (policy.tier, self.tiered_rules(snapshot, policy, direction, terms)));
        }
        for spec in groups.live_cilium(direction) {
            live.cilium.insert(spec.place(), self.cilium_rules(snapshot, spec, direction, terms));
        }
        live
    }

    /// The rules of a cluster-wide policy in a direction.
    pub(crate) fn tiered_rules(
        &mut self,
        snapshot: &Snapshot,
        policy: &ClusterNetworkPolicy,
        direction: Direction,
        terms: &mut Terms,
    ) -> PolicyRules {
        let listed = tier_rules(policy, direction).iter().enumerate();
        let numbered = listed.map(|(at, rule)| {
            let id = self.rules.of(policy.kind, &policy.meta.name, direction, at);
            self.tier_rule(snapshot, policy, rule, id, direction, terms)
        });
        numbered.collect()
    }

    /// The rules of a spec of a CiliumNetworkPolicy in a direction.
    pub(crate) fn cilium_rules(
        &mut self,
        snapshot: &Snapshot,
        spec: Spec<'_>,
        direction: Direction,
        terms: &mut Terms,
    ) -> PolicyRules {
        let numbered = spec.units(direction).map(|unit| {
            let id = self.rules.of_ref(spec.rule(direction, &unit));
            self.cilium_rule(snapshot, spec, &unit, id, direction, terms)
        });
        numbered.collect()
    }

    /// The rules of a NetworkPolicy in a direction.
    pub(crate) fn network_rules(
        &mut self,
        policy: &NetworkPolicy,
        direction: Direction,
        terms: &mut Terms,
    ) -> PolicyRules {
        let listed = rules(policy, direction).unwrap_or_default().iter().enumerate();
        let numbered = listed.map(|(at, rule)| {
            let id = self.rules.of(PolicyKind::NetworkPolicy, &policy.meta.name, direction, at);
            self.rule(policy, rule, id, direction, terms)
        });
        numbered.collect()
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
        if rule.fails_closed() {
            return match rule.action {
                TierAction::Accept => made(Some(Peers::default()), None, TierAction::Accept),
                _ => made(None, None, TierAction::Deny),
            };
        }
        let mut peers = Peers::default();
        rule.peers.iter().for_each(|peer| add_tier(peer, snapshot, &mut peers, (terms, &mut self.terms)));
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

/// Every endpoint with its gates.
fn endpoints(
    snapshot: &Snapshot,
    groups: &Groups<'_>,
    sets: &mut Sets,
    making: &mut Making<'_>,
) -> BTreeMap<Name, Endpoint> {
    // Numbers are given to rule sets in the order of endpoints; the rest is made in pieces.
    let mut with_gates = |Piece { endpoints, groups, selected }: &Piece<'_>| -> Vec<[Arc<Gate>; 2]> {
        let gates = endpoints.iter().map(|(pod, group)| {
            let numbers = selected[groups[*group as usize].selected as usize].sides;
            numbers.map(|(number, stand)| sets.gate(number, stand, pod, making))
        });
        gates.collect()
    };
    let gates: Vec<_> = groups.pieces.iter().map(|piece| (piece, with_gates(piece))).collect();
    let own_nodes: HashMap<&str, Arc<[IpAddr]>> =
        snapshot.nodes.iter().map(|(name, node)| (&**name, node.addresses[..].into())).collect();
    let made = making.cores.each(&gates, |(piece, gates)| {
        let endpoint = |((pod, _), gates): (&(&Arc<Pod>, u32), &[Arc<Gate>; 2])| {
            let own_node = own_nodes.get(&*pod.node).cloned().unwrap_or_default();
            (pod.name.clone(), Endpoint::on(own_node, pod, gates.clone()))
        };
        piece.endpoints.iter().zip(gates).map(endpoint).collect::<Vec<_>>()
    });
    made.into_iter().flatten().collect()
}
