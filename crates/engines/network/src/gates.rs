//! The rule set of each endpoint and direction.

use crate::classes::Classes;
use crate::compile::LiveRules;
use crate::groups::{Group, Groups, Side, side};
use crate::judge::whole;
use crate::numbers::Numbers;
use crate::program::{Gate, RuleSet, RuleSetId};
use crate::rules::{OwnPorts, Port, PortName, Rule, bounds, table};
use lictor_cluster::Pod;
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
}

/// Makes gates, and each rule set once.
pub(crate) struct Gates<'a> {
    classes: &'a Classes,
    numbers: &'a mut Numbers<RuleSetMeaning>,
    before: &'a BTreeMap<RuleSetId, Arc<RuleSet>>,
    tables: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// By group.
    plans: Vec<[Plan; 2]>,
    made: HashMap<(*const [PolicyRef], Vec<Option<u16>>), RuleSetId>,
}

/// One direction of a group: what endpoints share that the same policies isolate.
struct Plan {
    /// Shared by the groups that the same policies isolate.
    isolated_by: Arc<[PolicyRef]>,
    rules: Arc<[Rule]>,
    /// The names of the endpoint's own ports that the rules use.
    own: Arc<[PortName]>,
    mode: Mode,
}

impl<'a> Gates<'a> {
    pub(crate) fn new(
        groups: &Groups<'_>,
        rules: &[LiveRules<'_>; 2],
        classes: &'a Classes,
        numbers: &'a mut Numbers<RuleSetMeaning>,
        before: &'a BTreeMap<RuleSetId, Arc<RuleSet>>,
    ) -> Self {
        let mut shared = HashMap::new();
        let mut plan = |direction: Direction, half: &Side<'_>| {
            let names: Vec<Name> = half.policies.iter().map(|policy| policy.meta.name.clone()).collect();
            let (isolated_by, rules, own) =
                shared.entry((direction, names)).or_insert_with(|| share(half, &rules[side(direction)])).clone();
            Plan { isolated_by, rules, own, mode: half.mode }
        };
        let of_group =
            |group: &Group<'_>| Direction::BOTH.map(|direction| plan(direction, &group.sides[side(direction)]));
        let plans = groups.groups.iter().map(of_group).collect();
        Self { classes, numbers, before, tables: BTreeMap::new(), plans, made: HashMap::new() }
    }

    /// One direction of an endpoint of a group.
    pub(crate) fn of(&mut self, group: usize, pod: &Pod, direction: Direction) -> Gate {
        let plan = &self.plans[group][side(direction)];
        let gate = |rule_set| Gate { rule_set, isolated_by: Arc::clone(&plan.isolated_by), mode: plan.mode };
        if plan.isolated_by.is_empty() {
            return gate(None);
        }
        let number = |name: &PortName| pod.named_port(&name.name, name.protocol);
        let key = (Arc::as_ptr(&plan.isolated_by), plan.own.iter().map(number).collect::<Vec<_>>());
        if let Some(id) = self.made.get(&key) {
            return gate(Some(*id));
        }
        let (rules, own) = (Arc::clone(&plan.rules), Arc::clone(&plan.own));
        let mut gate = gate(None);
        let id = self.rule_set(&rules, &own, &key.1);
        self.made.insert(key, id);
        gate.rule_set = Some(id);
        gate
    }

    /// The rule sets that were made.
    pub(crate) fn into_tables(self) -> BTreeMap<RuleSetId, Arc<RuleSet>> {
        self.tables
    }

    fn rule_set(&mut self, rules: &[Rule], names: &[PortName], numbers: &[Option<u16>]) -> RuleSetId {
        let resolved = names.iter().zip(numbers).filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let own: Vec<(PortName, u16)> = resolved.collect();
        let known: OwnPorts = own.iter().cloned().collect();
        let bounds = bounds(rules, &known, self.classes);
        let meaning = RuleSetMeaning { rules: rules.to_vec(), own, bounds: bounds.clone() };
        let id = RuleSetId(self.numbers.of(meaning));
        if !self.tables.contains_key(&id) {
            let fresh = table(rules, &known, bounds, self.classes);
            let before = self.before.get(&id).filter(|before| ***before == fresh);
            self.tables.insert(id, before.cloned().unwrap_or_else(|| Arc::new(fresh)));
        }
        id
    }
}

type Shared = (Arc<[PolicyRef]>, Arc<[Rule]>, Arc<[PortName]>);

fn share(half: &Side<'_>, live: &LiveRules<'_>) -> Shared {
    let rules: Arc<[Rule]> =
        half.policies.iter().filter_map(|policy| live.get(&policy.meta.name)).flatten().cloned().collect();
    let ports = rules.iter().filter_map(|rule| rule.ports.as_ref()).flatten();
    let own: BTreeSet<PortName> = ports
        .filter_map(|port| match port {
            Port::Own(name) => Some(name.clone()),
            Port::Range(..) | Port::Peers(_) => None,
        })
        .collect();
    let isolated_by = half.policies.iter().map(|policy| whole(policy)).collect();
    (isolated_by, rules, own.into_iter().collect())
}
