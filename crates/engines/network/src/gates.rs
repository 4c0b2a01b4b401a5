//! The rule set of each endpoint and direction.

use crate::cilium::Spec;
use crate::classes::Classes;
use crate::compile::LiveRules;
use crate::flat::{Flat, Isolation, SaidNumbers};
use crate::groups::{Side, side};
use crate::judge::Isolators;
use crate::numbers::Numbers;
use crate::program::{Gate, RuleSet, RuleSetId, Stand};
use crate::rules::{OwnPorts, Port, PortName, Rule, bounds, table};
use crate::terms::TermId;
use crate::tiers::whole_tiered;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{NetworkPolicy, Tier};
use lictor_model::{Direction, PolicyRef};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What makes a rule set: its rules in order, the numbers of the endpoint's own ports that they name, and the
/// port classes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RuleSetMeaning {
    rules: Arc<[Rule]>,
    own: Vec<(PortName, u16)>,
    bounds: Vec<u16>,
    isolation: Isolation,
    /// Whether it is of NetworkPolicies alone, which is laid out otherwise.
    plain: bool,
}

/// What numbers and tables are made with.
pub(crate) struct Making<'a> {
    pub(crate) classes: &'a Classes,
    pub(crate) numbers: &'a mut Numbers<RuleSetMeaning>,
    pub(crate) said: &'a mut SaidNumbers,
    /// Tables of before: one that stays the same stays the same allocation.
    pub(crate) before: &'a BTreeMap<RuleSetId, Arc<RuleSet>>,
}

/// The policies that speak of an endpoint in a direction, by where they are in memory (cluster-wide ones by their place).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Speaking {
    direction: Direction,
    network: Vec<usize>,
    tiered: Vec<usize>,
    cilium: Vec<usize>,
}

/// Where a policy is in memory. What keeps the number keeps the policy alive.
pub(crate) fn place(policy: &NetworkPolicy) -> usize {
    std::ptr::from_ref(policy).addr()
}

impl Speaking {
    pub(crate) fn of(direction: Direction, half: &Side<'_>) -> Self {
        Self {
            direction,
            network: half.policies.iter().map(|policy| place(policy)).collect(),
            tiered: half.tiered.clone(),
            cilium: half.cilium.iter().map(|spec| spec.place()).collect(),
        }
    }
}

/// The rule sets of a compilation, with what they were made of: what endpoints share of which the same policies speak.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sets {
    shared: Vec<Shared>,
    by_key: HashMap<Speaking, usize>,
    made: HashMap<(usize, Vec<Option<u16>>), RuleSetId>,
    sources: HashMap<RuleSetId, Source>,
    by_term: HashMap<TermId, Vec<RuleSetId>>,
    by_name: HashMap<PortName, Vec<RuleSetId>>,
    pub(crate) tables: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// The tables that were made or changed since this was last emptied.
    pub(crate) changed: BTreeSet<RuleSetId>,
    /// How many rules all that is shared has, of endpoints that there are or were.
    pub(crate) weight: usize,
}

/// What a rule set was made of.
#[derive(Debug, Clone)]
struct Source {
    own: OwnPorts,
    meaning: RuleSetMeaning,
}

/// What endpoints share of which the same policies speak.
#[derive(Debug, Clone)]
struct Shared {
    isolated_by: Arc<[PolicyRef]>,
    others: Arc<[PolicyRef]>,
    isolation: Isolation,
    /// Whether only NetworkPolicies speak of it.
    plain: bool,
    rules: Arc<[Rule]>,
    /// The names of the endpoint's own ports that the rules use.
    own: Arc<[PortName]>,
}

impl Sets {
    /// The number of what endpoints share of which these policies speak, if all their rules are among the live ones.
    pub(crate) fn shared_of_live(
        &mut self,
        snapshot: &Snapshot,
        direction: Direction,
        half: &Side<'_>,
        live: &[LiveRules; 2],
    ) -> Option<usize> {
        let LiveRules { network, tiered, cilium } = &live[side(direction)];
        let all = half.policies.iter().all(|policy| network.contains_key(&place(policy)))
            && half.tiered.iter().all(|place| tiered.contains_key(place))
            && half.cilium.iter().all(|spec| cilium.contains_key(&spec.place()));
        all.then(|| self.shared(snapshot, direction, half, live))
    }

    /// The number of what endpoints share of which these policies speak. Their rules are among the live ones.
    pub(crate) fn shared(
        &mut self,
        snapshot: &Snapshot,
        direction: Direction,
        half: &Side<'_>,
        live: &[LiveRules; 2],
    ) -> usize {
        let (next, shared) = (self.shared.len(), &mut self.shared);
        *self.by_key.entry(Speaking::of(direction, half)).or_insert_with(|| {
            let made = Shared::of(snapshot, half, direction, &live[side(direction)]);
            self.weight += made.rules.len();
            shared.push(made);
            next
        })
    }

    /// One direction of an endpoint.
    pub(crate) fn gate(&mut self, number: usize, stand: Stand, pod: &Pod, making: &mut Making<'_>) -> Gate {
        let Some(shared) = self.shared.get(number) else { return Gate::open(stand) };
        let (isolated_by, others) = (Arc::clone(&shared.isolated_by), Arc::clone(&shared.others));
        let mut gate = Gate { isolated_by, others, ..Gate::open(stand) };
        if shared.isolated_by.is_empty() && shared.others.is_empty() {
            return gate;
        }
        let own = |name: &PortName| pod.named_port(&name.name, name.protocol);
        let key = (number, shared.own.iter().map(own).collect::<Vec<_>>());
        let id = match self.made.get(&key).filter(|id| self.tables.contains_key(id)) {
            Some(id) => *id,
            None => {
                let id = self.make(number, &key.1, making);
                self.made.insert(key, id);
                id
            }
        };
        gate.rule_set = Some(id);
        gate
    }

    fn make(&mut self, number: usize, numbers: &[Option<u16>], making: &mut Making<'_>) -> RuleSetId {
        let shared = &self.shared[number];
        let resolved = shared.own.iter().zip(numbers).filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let own: Vec<(PortName, u16)> = resolved.collect();
        let known: OwnPorts = own.iter().cloned().collect();
        let meaning = RuleSetMeaning {
            bounds: bounds(&shared.rules, &known, making.classes),
            rules: Arc::clone(&shared.rules),
            own,
            isolation: shared.isolation,
            plain: shared.plain,
        };
        let id = RuleSetId(making.numbers.of(meaning.clone()));
        if !self.tables.contains_key(&id) {
            self.index(id, &meaning.rules);
            self.sources.insert(id, Source { own: known, meaning });
            self.fill(id, making);
        }
        id
    }

    /// Which terms and port names change a rule set when an address comes to have them.
    fn index(&mut self, id: RuleSetId, rules: &[Rule]) {
        let enlist = |list: &mut Vec<RuleSetId>| {
            if list.last() != Some(&id) {
                list.push(id);
            }
        };
        for rule in rules {
            for term in rule.peers.iter().flat_map(|peers| peers.terms.iter().chain(&peers.other_nodes)) {
                enlist(self.by_term.entry(*term).or_default());
            }
            for port in rule.ports.iter().flatten() {
                if let Port::Peers(name) = port {
                    enlist(self.by_name.entry(name.clone()).or_default());
                }
            }
        }
    }

    /// Makes the table of a rule set, by the classes that there are now. Whether its port classes are those of before.
    fn fill(&mut self, id: RuleSetId, making: &mut Making<'_>) -> bool {
        let Some(Source { own, meaning: RuleSetMeaning { rules, isolation, plain, .. }, .. }) = self.sources.get(&id)
        else {
            return true;
        };
        let bounds = bounds(rules, own, making.classes);
        let fresh = match plain {
            true => table(rules, own, bounds, making.classes),
            false => Flat { rules, isolation: *isolation, own, classes: making.classes }.table(bounds, making.said),
        };
        let before = self.tables.get(&id).or_else(|| making.before.get(&id));
        let same_ports = self.tables.get(&id).is_none_or(|before| before.bounds == fresh.bounds);
        let table = before.filter(|before| ***before == fresh).cloned().unwrap_or_else(|| Arc::new(fresh));
        if !self.tables.get(&id).is_some_and(|before| Arc::ptr_eq(before, &table)) {
            self.tables.insert(id, table);
            self.changed.insert(id);
        }
        same_ports
    }

    /// Fills the rule sets that can speak of classes which are new: those that meet one of these terms, or have a port
    /// under one of these names. Nothing when that changes port classes: then a rule set needs a number of its own.
    pub(crate) fn fill_for(
        &mut self,
        terms: &BTreeSet<TermId>,
        names: &BTreeSet<PortName>,
        making: &mut Making<'_>,
    ) -> Option<()> {
        let by_term = terms.iter().filter_map(|term| self.by_term.get(term)).flatten();
        let by_name = names.iter().filter_map(|name| self.by_name.get(name)).flatten();
        let meant: BTreeSet<RuleSetId> = by_term.chain(by_name).copied().collect();
        let mut same_ports = true;
        for id in meant {
            same_ports &= self.fill(id, making);
        }
        same_ports.then_some(())
    }

    /// Whether what endpoints share depends on the numbers that each has under the names of its own ports.
    pub(crate) fn reads_ports(&self, number: usize) -> bool {
        self.shared.get(number).is_some_and(|shared| !shared.own.is_empty())
    }

    /// Forgets a rule set that no endpoint has.
    pub(crate) fn forget(&mut self, id: RuleSetId) {
        self.tables.remove(&id);
        self.sources.remove(&id);
    }
}

impl Shared {
    fn of(snapshot: &Snapshot, half: &Side<'_>, direction: Direction, live: &LiveRules) -> Self {
        let network = half.policies.iter().filter_map(|policy| live.network.get(&place(policy))).flatten();
        let of = |wanted: Tier| {
            let placed = half.tiered.iter().filter_map(|place| live.tiered.get(place));
            placed.filter(move |(tier, _)| *tier == wanted).flat_map(|(_, rules)| rules)
        };
        let cilium = half.cilium.iter().filter_map(|spec: &Spec<'_>| live.cilium.get(&spec.place())).flatten();
        let rules: Arc<[Rule]> =
            of(Tier::Admin).chain(network).chain(cilium).chain(of(Tier::Baseline)).cloned().collect();
        let ports = rules.iter().filter_map(|rule| rule.ports.as_ref()).flatten();
        let own: BTreeSet<PortName> = ports
            .filter_map(|port| match port {
                Port::Own(name) => Some(name.clone()),
                Port::Range(..) | Port::Peers(_) => None,
            })
            .collect();
        let Isolators { isolation, by: isolated_by, others } = Isolators::of(&half.policies, &half.cilium, direction);
        let tiered = half.tiered.iter().filter_map(|place| snapshot.policies.cluster_network.get(*place));
        let others = tiered.map(|policy| whole_tiered(policy)).chain(others).collect();
        let plain = half.tiered.is_empty() && half.cilium.is_empty();
        Self { isolated_by: isolated_by.into(), others, isolation, plain, rules, own: own.into_iter().collect() }
    }
}
