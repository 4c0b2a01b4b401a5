//! The rule set of each endpoint and direction.

use crate::cilium::Spec;
use crate::classes::{Classes, Noted};
use crate::compile::LiveRules;
use crate::flat::{Flat, Isolation, SaidNumbers};
use crate::groups::{Side, side};
use crate::judge::Isolators;
use crate::learnt::{Learnt, Meant, domains};
use crate::numbers::Numbers;
use crate::policy_rules::PolicyRules;
use crate::program::{Gate, RuleSet, RuleSetId, Stand};
use crate::rules::{OwnPorts, Port, PortName, Rule, bounds, table};
use crate::terms::TermId;
use crate::tiers::whole_tiered;
use foldhash::HashMap;
use lictor_cluster::Pod;
use lictor_manifest::Tier;
use lictor_model::{Direction, DomainPattern, PolicyRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What makes a rule set: its rules in order, the numbers of the endpoint's own ports that they name, what it has learnt
/// for the domains that they name, and the port classes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RuleSetMeaning {
    rules: Arc<[PolicyRules]>,
    own: Vec<(PortName, u16)>,
    learnt: Vec<(DomainPattern, Meant)>,
    bounds: Vec<u16>,
    isolation: Isolation,
    /// Whether it is of NetworkPolicies alone, which is laid out otherwise.
    plain: bool,
}

impl RuleSetMeaning {
    /// The port classes that its rules make, by the classes that there are now.
    fn bounds_by(&self, classes: &Classes) -> Vec<u16> {
        bounds(each(&self.rules), &self.own.iter().cloned().collect(), classes)
    }
}

/// Each rule of these policies.
fn each(policies: &[PolicyRules]) -> impl Iterator<Item = &Rule> {
    policies.iter().flat_map(|rules| rules.iter())
}

/// What numbers and tables are made with.
pub(crate) struct Making<'a> {
    pub(crate) classes: &'a Classes,
    pub(crate) learnt: &'a Learnt,
    pub(crate) numbers: &'a mut Numbers<RuleSetMeaning>,
    pub(crate) said: &'a mut SaidNumbers,
}

/// The policies that speak of an endpoint in a direction, by where they are in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Speaking {
    direction: Direction,
    network: Vec<usize>,
    tiered: Vec<usize>,
    cilium: Vec<usize>,
}

/// Where a policy is in memory. What keeps the number keeps the policy alive.
pub(crate) fn place<T>(policy: &T) -> usize {
    std::ptr::from_ref(policy).addr()
}

impl Speaking {
    pub(crate) fn of(direction: Direction, half: &Side<'_>) -> Self {
        Self {
            direction,
            network: half.policies.iter().map(|policy| place(*policy)).collect(),
            tiered: half.tiered.iter().map(|policy| place(*policy)).collect(),
            cilium: half.cilium.iter().map(|spec| spec.place()).collect(),
        }
    }
}

/// The rule sets of a compilation, with what they were made of: what endpoints share of which the same policies speak.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sets {
    shared: Vec<Shared>,
    by_key: HashMap<Speaking, usize>,
    made: HashMap<GateKey, Arc<Gate>>,
    /// What each rule set means.
    meanings: HashMap<RuleSetId, RuleSetMeaning>,
    by_term: HashMap<TermId, Vec<RuleSetId>>,
    by_name: HashMap<PortName, Vec<RuleSetId>>,
    pub(crate) tables: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// Tables of before: one that stays the same stays the same allocation.
    before: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// The tables that were made or changed since the last patch.
    pub(crate) changed: BTreeSet<RuleSetId>,
    /// How many rules all that is shared has, of endpoints that there are or were.
    pub(crate) weight: usize,
}

/// What makes a gate: what is shared, how far it goes, and what its rules read of the endpoint itself.
type GateKey = (usize, Stand, Own);

/// What endpoints share of which the same policies speak.
#[derive(Debug, Clone)]
struct Shared {
    isolated_by: Arc<[PolicyRef]>,
    others: Arc<[PolicyRef]>,
    isolation: Isolation,
    /// Whether only NetworkPolicies speak of it.
    plain: bool,
    rules: Arc<[PolicyRules]>,
    /// The names of the endpoint's own ports that the rules use.
    own: Arc<[PortName]>,
    /// The domains that the rules name.
    domains: Arc<[DomainPattern]>,
}

/// What of an endpoint itself its rules read: the numbers of its ports, and what it has learnt for domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Own {
    ports: Vec<Option<u16>>,
    learnt: Vec<Option<Meant>>,
}

impl Sets {
    /// None yet, after those of the program before.
    pub(crate) fn after(before: BTreeMap<RuleSetId, Arc<RuleSet>>) -> Self {
        Self { before, ..Self::default() }
    }

    /// Counts what changes from here on.
    pub(crate) fn settle(&mut self) {
        self.before.clear();
        self.changed.clear();
    }

    /// The number of what endpoints share of which these policies speak, if all their rules are among the live ones.
    pub(crate) fn shared_of_live(
        &mut self,
        direction: Direction,
        half: &Side<'_>,
        live: &[LiveRules; 2],
    ) -> Option<usize> {
        let LiveRules { network, tiered, cilium } = &live[side(direction)];
        let all = half.policies.iter().all(|policy| network.contains_key(&place(*policy)))
            && half.tiered.iter().all(|policy| tiered.contains_key(&place(*policy)))
            && half.cilium.iter().all(|spec| cilium.contains_key(&spec.place()));
        all.then(|| self.shared(direction, half, live))
    }

    /// The number of what endpoints share of which these policies speak. Their rules are among the live ones.
    pub(crate) fn shared(&mut self, direction: Direction, half: &Side<'_>, live: &[LiveRules; 2]) -> usize {
        let (next, shared) = (self.shared.len(), &mut self.shared);
        *self.by_key.entry(Speaking::of(direction, half)).or_insert_with(|| {
            let made = Shared::of(half, direction, &live[side(direction)]);
            self.weight += made.rules.iter().map(|rules| rules.len()).sum::<usize>();
            shared.push(made);
            next
        })
    }

    /// One direction of an endpoint.
    pub(crate) fn gate(&mut self, number: usize, stand: Stand, pod: &Pod, making: &mut Making<'_>) -> Arc<Gate> {
        let Some(shared) = self.shared.get(number) else { return Arc::new(Gate::open(stand)) };
        let port = |name: &PortName| pod.named_port(&name.name, name.protocol);
        let learnt = |domain: &DomainPattern| making.learnt.meant(&pod.name, domain).cloned();
        let own =
            Own { ports: shared.own.iter().map(port).collect(), learnt: shared.domains.iter().map(learnt).collect() };
        let key = (number, stand, own);
        let in_force = |gate: &&Arc<Gate>| gate.rule_set.is_none_or(|id| self.tables.contains_key(&id));
        if let Some(gate) = self.made.get(&key).filter(in_force) {
            return Arc::clone(gate);
        }
        let (isolated_by, others) = (Arc::clone(&shared.isolated_by), Arc::clone(&shared.others));
        let is_spoken_of = !isolated_by.is_empty() || !others.is_empty();
        let rule_set = is_spoken_of.then(|| self.make(number, &key.2, making));
        let gate = Arc::new(Gate { rule_set, isolated_by, others, ..Gate::open(stand) });
        self.made.insert(key, Arc::clone(&gate));
        gate
    }

    fn make(&mut self, number: usize, own: &Own, making: &mut Making<'_>) -> RuleSetId {
        let shared = &self.shared[number];
        let ports = shared.own.iter().zip(&own.ports).filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let domains = shared.domains.iter().zip(&own.learnt);
        let learnt = domains.filter_map(|(domain, meant)| Some((domain.clone(), meant.clone()?)));
        let mut meaning = RuleSetMeaning {
            rules: Arc::clone(&shared.rules),
            own: ports.collect(),
            learnt: learnt.collect(),
            bounds: Vec::new(),
            isolation: shared.isolation,
            plain: shared.plain,
        };
        meaning.bounds = meaning.bounds_by(making.classes);
        let id = RuleSetId(making.numbers.of(meaning.clone()));
        if !self.tables.contains_key(&id) {
            self.index(id, &meaning);
            self.meanings.insert(id, meaning);
            self.fill(id, making);
        }
        id
    }

    /// Which terms and port names change a rule set when an address comes to have them.
    fn index(&mut self, id: RuleSetId, meaning: &RuleSetMeaning) {
        let enlist = |list: &mut Vec<RuleSetId>| {
            if list.last() != Some(&id) {
                list.push(id);
            }
        };
        for term in meaning.learnt.iter().flat_map(|(_, meant)| meant.iter()) {
            enlist(self.by_term.entry(*term).or_default());
        }
        for rule in each(&meaning.rules) {
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

    /// Makes the table of a rule set, by the classes that there are now.
    fn fill(&mut self, id: RuleSetId, making: &mut Making<'_>) {
        let Some(meaning) = self.meanings.get(&id) else { return };
        let RuleSetMeaning { rules, own, learnt, bounds, isolation, plain } = meaning;
        let own: OwnPorts = own.iter().cloned().collect();
        let fresh = match plain {
            true => table(each(rules), &own, bounds.clone(), making.classes),
            false => {
                let (rules, learnt) = (each(rules).collect(), &learnt.iter().cloned().collect());
                let flat = Flat { rules, isolation: *isolation, own: &own, learnt, classes: making.classes };
                flat.table(bounds.clone(), making.said)
            }
        };
        let present = self.tables.get(&id);
        if present.is_some_and(|present| **present == fresh) {
            return;
        }
        let before = self.before.get(&id).filter(|before| ***before == fresh).cloned();
        self.tables.insert(id, before.unwrap_or_else(|| Arc::new(fresh)));
        self.changed.insert(id);
    }

    /// Fills the rule sets that can speak of classes which are new. Forgets those whose port classes that changes: what
    /// asks one of these needs one with a number of its own.
    pub(crate) fn fill_for(&mut self, noted: &Noted, making: &mut Making<'_>) -> BTreeSet<RuleSetId> {
        let by_term = noted.terms.iter().filter_map(|term| self.by_term.get(term)).flatten();
        let by_name = noted.names.iter().filter_map(|name| self.by_name.get(name)).flatten();
        let mut meant: BTreeSet<RuleSetId> = by_term.chain(by_name).copied().collect();
        if noted.nodes {
            meant.extend(self.meanings.iter().filter(|(_, meaning)| !meaning.plain).map(|(id, _)| *id));
        }
        let mut outgrown = BTreeSet::new();
        for id in meant {
            if self.meanings.get(&id).is_some_and(|meaning| meaning.bounds != meaning.bounds_by(making.classes)) {
                self.forget(id);
                outgrown.insert(id);
            } else {
                self.fill(id, making);
            }
        }
        outgrown
    }

    /// Whether what endpoints share still differs by what each is or has learnt itself.
    pub(crate) fn reads_pod(&self, number: usize) -> bool {
        self.shared.get(number).is_some_and(|shared| !shared.own.is_empty() || !shared.domains.is_empty())
    }

    /// Forgets a rule set that no endpoint has.
    pub(crate) fn forget(&mut self, id: RuleSetId) {
        self.tables.remove(&id);
        self.meanings.remove(&id);
    }
}

impl Shared {
    fn of(half: &Side<'_>, direction: Direction, live: &LiveRules) -> Self {
        let network = half.policies.iter().filter_map(|policy| live.network.get(&place(*policy)));
        let of = |wanted: Tier| {
            let placed = half.tiered.iter().filter_map(|policy| live.tiered.get(&place(*policy)));
            placed.filter(move |(tier, _)| *tier == wanted).map(|(_, rules)| rules)
        };
        let cilium = half.cilium.iter().filter_map(|spec: &Spec<'_>| live.cilium.get(&spec.place()));
        let in_order = of(Tier::Admin).chain(network).chain(cilium).chain(of(Tier::Baseline));
        // The same rules are the same rule set, whichever policies without any are among them.
        let rules: Arc<[PolicyRules]> = in_order.filter(|rules| !rules.is_empty()).cloned().collect();
        let ports = each(&rules).filter_map(|rule| rule.ports.as_ref()).flatten();
        let own: BTreeSet<PortName> = ports
            .filter_map(|port| match port {
                Port::Own(name) => Some(name.clone()),
                Port::Range(..) | Port::Peers(_) => None,
            })
            .collect();
        let Isolators { isolation, by: isolated_by, others } = Isolators::of(&half.policies, &half.cilium, direction);
        let others = half.tiered.iter().map(|policy| whole_tiered(policy)).chain(others).collect();
        let plain = half.tiered.is_empty() && half.cilium.is_empty();
        let (own, domains) = (own.into_iter().collect(), domains(each(&rules)).into_iter().collect());
        Self { isolated_by: isolated_by.into(), others, isolation, plain, rules, own, domains }
    }
}
