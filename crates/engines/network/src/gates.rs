//! The rule set of each endpoint and direction.

use crate::cilium::Spec;
use crate::classes::Classes;
use crate::compile::LiveRules;
use crate::flat::{Flat, Isolation, SaidNumbers};
use crate::groups::{Groups, Selected, Side, side};
use crate::judge::Isolators;
use crate::numbers::Numbers;
use crate::program::{Gate, RuleSet, RuleSetId};
use crate::rules::{OwnPorts, Port, PortName, Rule, bounds, table};
use crate::tiers::whole_tiered;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::Tier;
use lictor_model::{Direction, Mode, Name, PolicyRef};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What makes a rule set: its rules in order, the numbers of the endpoint's own ports that they name, and the
/// port classes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RuleSetMeaning {
    rules: Vec<Rule>,
    own: Vec<(PortName, u16)>,
    bounds: Vec<u16>,
    isolation: Isolation,
    /// Whether it is of NetworkPolicies alone, which is laid out otherwise.
    plain: bool,
}

/// Makes gates, and each rule set once.
pub(crate) struct Gates<'a> {
    classes: &'a Classes,
    numbers: &'a mut Numbers<RuleSetMeaning>,
    said: &'a mut SaidNumbers,
    before: &'a BTreeMap<RuleSetId, Arc<RuleSet>>,
    tables: BTreeMap<RuleSetId, Arc<RuleSet>>,
    plans: Vec<[Plan; 2]>,
    /// The place of each group's plans.
    selected: Vec<usize>,
    made: HashMap<(usize, Vec<Option<u16>>), RuleSetId>,
}

/// One direction of a group: what endpoints share that the same policies isolate.
struct Plan {
    shared: Shared,
    mode: Mode,
}

/// What the groups share of which the same policies speak.
#[derive(Clone)]
struct Shared {
    number: usize,
    isolated_by: Arc<[PolicyRef]>,
    others: Arc<[PolicyRef]>,
    isolation: Isolation,
    /// Whether only NetworkPolicies speak of it.
    plain: bool,
    rules: Arc<[Rule]>,
    /// The names of the endpoint's own ports that the rules use.
    own: Arc<[PortName]>,
}

impl<'a> Gates<'a> {
    pub(crate) fn new(
        snapshot: &Snapshot,
        groups: &Groups<'_>,
        rules: &[LiveRules<'_>; 2],
        classes: &'a Classes,
        (numbers, said): (&'a mut Numbers<RuleSetMeaning>, &'a mut SaidNumbers),
        before: &'a BTreeMap<RuleSetId, Arc<RuleSet>>,
    ) -> Self {
        let mut shared = HashMap::new();
        let mut plan = |direction: Direction, half: &Side<'_>| {
            let names: Vec<Name> = half.policies.iter().map(|policy| policy.meta.name.clone()).collect();
            let specs: Vec<_> = half.cilium.iter().map(|spec| std::ptr::from_ref(spec.spec)).collect();
            let number = shared.len();
            let make = || share(number, snapshot, half, direction, &rules[side(direction)]);
            let shared = shared.entry((direction, names, half.tiered.clone(), specs)).or_insert_with(make).clone();
            Plan { shared, mode: half.mode }
        };
        let of_selected = |selected: &Selected<'_>| {
            Direction::BOTH.map(|direction| plan(direction, &selected.sides[side(direction)]))
        };
        let plans = groups.selected.iter().map(of_selected).collect();
        let selected = groups.groups.iter().map(|group| group.selected).collect();
        Self { classes, numbers, said, before, tables: BTreeMap::new(), plans, selected, made: HashMap::new() }
    }

    /// One direction of an endpoint of a group.
    pub(crate) fn of(&mut self, group: usize, pod: &Pod, direction: Direction) -> Gate {
        let plan = &self.plans[self.selected[group]][side(direction)];
        let shared = plan.shared.clone();
        let (isolated_by, others) = (Arc::clone(&shared.isolated_by), Arc::clone(&shared.others));
        let mut gate = Gate { rule_set: None, isolated_by, others, mode: plan.mode };
        if shared.isolated_by.is_empty() && shared.others.is_empty() {
            return gate;
        }
        let number = |name: &PortName| pod.named_port(&name.name, name.protocol);
        let key = (shared.number, shared.own.iter().map(number).collect::<Vec<_>>());
        if let Some(id) = self.made.get(&key) {
            gate.rule_set = Some(*id);
            return gate;
        }
        let id = self.rule_set(&shared, &key.1);
        self.made.insert(key, id);
        gate.rule_set = Some(id);
        gate
    }

    /// The rule sets that were made.
    pub(crate) fn into_tables(self) -> BTreeMap<RuleSetId, Arc<RuleSet>> {
        self.tables
    }

    fn rule_set(&mut self, shared: &Shared, numbers: &[Option<u16>]) -> RuleSetId {
        let rules = &*shared.rules;
        let isolation = shared.isolation;
        let resolved = shared.own.iter().zip(numbers).filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let own: Vec<(PortName, u16)> = resolved.collect();
        let known: OwnPorts = own.iter().cloned().collect();
        let bounds = bounds(rules, &known, self.classes);
        let meaning =
            RuleSetMeaning { rules: rules.to_vec(), own, bounds: bounds.clone(), isolation, plain: shared.plain };
        let id = RuleSetId(self.numbers.of(meaning));
        if !self.tables.contains_key(&id) {
            let fresh = match shared.plain {
                true => table(rules, &known, bounds, self.classes),
                false => Flat { rules, isolation, own: &known, classes: self.classes }.table(bounds, self.said),
            };
            let before = self.before.get(&id).filter(|before| ***before == fresh);
            self.tables.insert(id, before.cloned().unwrap_or_else(|| Arc::new(fresh)));
        }
        id
    }
}

fn share(number: usize, snapshot: &Snapshot, half: &Side<'_>, direction: Direction, live: &LiveRules<'_>) -> Shared {
    let network = half.policies.iter().filter_map(|policy| live.network.get(&policy.meta.name)).flatten();
    let of = |wanted: Tier| {
        let placed = half.tiered.iter().filter_map(|place| live.tiered.get(place));
        placed.filter(move |(tier, _)| *tier == wanted).flat_map(|(_, rules)| rules)
    };
    let of_spec = |spec: &Spec<'_>| live.cilium.get(&std::ptr::from_ref(spec.spec));
    let cilium = half.cilium.iter().filter_map(of_spec).flatten();
    let rules: Arc<[Rule]> = of(Tier::Admin).chain(network).chain(cilium).chain(of(Tier::Baseline)).cloned().collect();
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
    let own = own.into_iter().collect();
    Shared { number, isolated_by: isolated_by.into(), others, isolation, plain, rules, own }
}
