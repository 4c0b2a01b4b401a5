//! The rule set of each endpoint and direction.

use crate::cilium::Spec;
use crate::classes::{Classes, Noted};
use crate::compile::LiveRules;
use crate::cores::Cores;
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
    own: Box<[(PortName, u16)]>,
    learnt: Box<[(DomainPattern, Meant)]>,
    bounds: Box<[u16]>,
    isolation: Isolation,
    /// Whether it is of NetworkPolicies alone, which is laid out otherwise.
    plain: bool,
}

impl RuleSetMeaning {
    /// The port classes that its rules make, by the classes that there are now.
    fn bounds_by(&self, classes: &Classes) -> Box<[u16]> {
        bounds(each(&self.rules), &self.own_ports(), classes).into()
    }

    fn own_ports(&self) -> OwnPorts {
        self.own.iter().cloned().collect()
    }

    /// Its table, by the classes that there are now, if it is of NetworkPolicies alone.
    fn plain_table(&self, classes: &Classes) -> Option<RuleSet> {
        self.plain.then(|| table(each(&self.rules), &self.own_ports(), self.bounds.to_vec(), classes))
    }

    /// Its table, whatever it is of.
    fn table(&self, classes: &Classes, said: &mut SaidNumbers) -> RuleSet {
        self.plain_table(classes).unwrap_or_else(|| {
            let (rules, learnt) = (each(&self.rules).collect(), &self.learnt.iter().cloned().collect());
            let flat = Flat { rules, isolation: self.isolation, own: &self.own_ports(), learnt, classes };
            flat.table(self.bounds.to_vec(), said)
        })
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
    pub(crate) numbers: &'a mut Numbers<Arc<RuleSetMeaning>>,
    pub(crate) said: &'a mut SaidNumbers,
    pub(crate) cores: Cores,
}

/// The policies that speak of an endpoint in a direction, by where they are in memory: the direction, then the places of
/// each family behind a 0.
pub(crate) type Speaking = Box<[usize]>;

/// Where a policy is in memory. What keeps the number keeps the policy alive.
pub(crate) fn place<T>(policy: &T) -> usize {
    std::ptr::from_ref(policy).addr()
}

/// Writes what speaks of an endpoint as [`Speaking`] has it.
pub(crate) fn speak(direction: Direction, half: &Side<'_>, into: &mut Vec<usize>) {
    into.clear();
    into.push(side(direction));
    into.extend(half.policies.iter().map(|policy| place(*policy)));
    into.push(0);
    into.extend(half.tiered.iter().map(|policy| place(*policy)));
    into.push(0);
    into.extend(half.cilium.iter().map(|spec| spec.place()));
}

/// The rule sets of a compilation, with what they were made of: what endpoints share of which the same policies speak.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sets {
    shared: Vec<Shared>,
    by_key: HashMap<Speaking, u32>,
    made: HashMap<GateKey, Arc<Gate>>,
    /// What each rule set means.
    meanings: HashMap<RuleSetId, Arc<RuleSetMeaning>>,
    by_term: HashMap<TermId, Vec<RuleSetId>>,
    by_name: HashMap<PortName, Vec<RuleSetId>>,
    pub(crate) tables: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// Tables of before: one that stays the same stays the same allocation.
    before: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// The tables that were made or changed since the last patch.
    pub(crate) changed: Vec<RuleSetId>,
    /// The rule sets whose table is still to be made.
    unfilled: Vec<RuleSetId>,
    /// How many rules all that is shared has, of endpoints that there are or were.
    pub(crate) weight: usize,
}

/// What makes a gate: what is shared, how far it goes, and what its rules read of the endpoint itself.
type GateKey = (u32, Stand, Own);

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
    own: Box<[PortName]>,
    /// The domains that the rules name.
    domains: Box<[DomainPattern]>,
    /// The gate of the first endpoint, if all that go as far have it: most do.
    gate: Option<Arc<Gate>>,
}

/// What of an endpoint itself its rules read: the numbers of its ports, and what it has learnt for domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Own {
    ports: Box<[Option<u16>]>,
    learnt: Box<[Option<Meant>]>,
}

impl Sets {
    /// Those of which these are spoken of, without a rule set yet, after those of the program before.
    pub(crate) fn of(
        sides: &[(Direction, Side<'_>)],
        by_key: HashMap<Speaking, u32>,
        live: &[LiveRules; 2],
        before: BTreeMap<RuleSetId, Arc<RuleSet>>,
        cores: Cores,
    ) -> Self {
        let pieces = cores.split(sides, |_, _| false);
        let made = |(direction, half): &(Direction, Side<'_>)| Shared::of(half, *direction, &live[side(*direction)]);
        let shared: Vec<Shared> = match &*pieces {
            [] => Vec::new(),
            [all] => all.iter().map(made).collect(),
            pieces => {
                let all = cores.each(pieces, |piece| piece.iter().map(made).collect::<Vec<_>>());
                let mut shared = Vec::with_capacity(sides.len());
                all.into_iter().for_each(|piece| shared.extend(piece));
                shared
            }
        };
        let weight = shared.iter().map(Shared::weight).sum();
        let mut sets = Self { shared, by_key, before, weight, ..Self::default() };
        let count = sets.shared.len();
        sets.meanings.reserve(count);
        sets.by_term.reserve(count);
        sets
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
    ) -> Option<u32> {
        let LiveRules { network, tiered, cilium } = &live[side(direction)];
        let all = half.policies.iter().all(|policy| network.contains_key(&place(*policy)))
            && half.tiered.iter().all(|policy| tiered.contains_key(&place(*policy)))
            && half.cilium.iter().all(|spec| cilium.contains_key(&spec.place()));
        all.then(|| self.shared(direction, half, live))
    }

    /// The number of what endpoints share of which these policies speak. Their rules are among the live ones.
    fn shared(&mut self, direction: Direction, half: &Side<'_>, live: &[LiveRules; 2]) -> u32 {
        let mut speaking = Vec::new();
        speak(direction, half, &mut speaking);
        *self.by_key.entry(speaking.into()).or_insert_with(|| {
            let made = Shared::of(half, direction, &live[side(direction)]);
            self.weight += made.weight();
            self.shared.push(made);
            u32::try_from(self.shared.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// One direction of an endpoint. The table of a rule set that is new is made by [`Sets::fill_new`].
    pub(crate) fn gate(&mut self, number: u32, stand: Stand, pod: &Pod, making: &mut Making<'_>) -> Arc<Gate> {
        let Some(shared) = self.shared.get(number as usize) else { return Arc::new(Gate::open(stand)) };
        let in_force = |gate: &&Arc<Gate>| gate.rule_set.is_none_or(|id| self.meanings.contains_key(&id));
        if let Some(gate) = shared.gate.as_ref().filter(|gate| gate.stand() == stand).filter(in_force) {
            return Arc::clone(gate);
        }
        let port = |name: &PortName| pod.named_port(&name.name, name.protocol);
        let learnt = |domain: &DomainPattern| making.learnt.meant(&pod.name, domain).cloned();
        let own =
            Own { ports: shared.own.iter().map(port).collect(), learnt: shared.domains.iter().map(learnt).collect() };
        let key = (number, stand, own);
        if let Some(gate) = self.made.get(&key).filter(in_force) {
            return Arc::clone(gate);
        }
        let (isolated_by, others) = (Arc::clone(&shared.isolated_by), Arc::clone(&shared.others));
        let is_spoken_of = !isolated_by.is_empty() || !others.is_empty();
        let meaning = is_spoken_of.then(|| shared.meaning(&key.2, making.classes));
        let rule_set = meaning.map(|meaning| self.make(meaning, making));
        let gate = Arc::new(Gate { rule_set, isolated_by, others, ..Gate::open(stand) });
        match self.shared.get_mut(number as usize) {
            Some(shared) if !shared.reads_pod() && shared.gate.as_ref().is_none_or(|known| known.stand() == stand) => {
                shared.gate = Some(Arc::clone(&gate));
            }
            _ => drop(self.made.insert(key, Arc::clone(&gate))),
        }
        gate
    }

    fn make(&mut self, meaning: Arc<RuleSetMeaning>, making: &mut Making<'_>) -> RuleSetId {
        let id = RuleSetId(making.numbers.of(&meaning));
        if !self.meanings.contains_key(&id) {
            self.index(id, &meaning);
            self.meanings.insert(id, meaning);
            self.unfilled.push(id);
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

    /// Makes the tables of the rule sets that are new, by the classes that there are now.
    pub(crate) fn fill_new(&mut self, making: &mut Making<'_>) {
        let (cores, classes) = (making.cores, making.classes);
        let new = std::mem::take(&mut self.unfilled);
        let plain = |id: &RuleSetId| {
            let fresh = self.meanings.get(id)?.plain_table(classes)?;
            Some((
                *id,
                self.before.get(id).filter(|before| ***before == fresh).cloned().unwrap_or_else(|| Arc::new(fresh)),
            ))
        };
        let made = cores.each(&cores.split(&new, |_, _| false), |ids| ids.iter().filter_map(plain).collect::<Vec<_>>());
        match self.tables.is_empty() {
            true => self.tables = made.into_iter().flatten().collect(),
            false => self.tables.extend(made.into_iter().flatten()),
        }
        // What others let be said is numbered, one after the other.
        for id in &new {
            if !self.tables.contains_key(id) {
                self.fill(*id, making);
            }
        }
        self.changed.extend(new);
    }

    /// Makes the table of a rule set, by the classes that there are now.
    fn fill(&mut self, id: RuleSetId, making: &mut Making<'_>) {
        let Some(meaning) = self.meanings.get(&id) else { return };
        let fresh = meaning.table(making.classes, making.said);
        if self.tables.get(&id).is_some_and(|present| **present == fresh) {
            return;
        }
        let before = self.before.get(&id).filter(|before| ***before == fresh).cloned();
        self.tables.insert(id, before.unwrap_or_else(|| Arc::new(fresh)));
        self.changed.push(id);
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
    pub(crate) fn reads_pod(&self, number: u32) -> bool {
        self.shared.get(number as usize).is_some_and(Shared::reads_pod)
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
        let (isolated_by, others) = (shared_list(isolated_by), shared_list(others));
        Self { isolated_by, others, isolation, plain, rules, own, domains, gate: None }
    }

    /// How many rules it has.
    fn weight(&self) -> usize {
        self.rules.iter().map(|rules| rules.len()).sum()
    }

    fn reads_pod(&self) -> bool {
        !self.own.is_empty() || !self.domains.is_empty()
    }

    /// What it means for an endpoint that has this.
    fn meaning(&self, own: &Own, classes: &Classes) -> Arc<RuleSetMeaning> {
        let ports = self.own.iter().zip(&own.ports).filter_map(|(name, number)| Some((name.clone(), (*number)?)));
        let domains = self.domains.iter().zip(&own.learnt);
        let learnt = domains.filter_map(|(domain, meant)| Some((domain.clone(), meant.clone()?)));
        let mut meaning = RuleSetMeaning {
            rules: Arc::clone(&self.rules),
            own: ports.collect(),
            learnt: learnt.collect(),
            bounds: Box::default(),
            isolation: self.isolation,
            plain: self.plain,
        };
        meaning.bounds = meaning.bounds_by(classes);
        Arc::new(meaning)
    }
}

/// A list that many share; an empty one takes no memory.
fn shared_list<T>(list: Vec<T>) -> Arc<[T]> {
    if list.is_empty() { Arc::default() } else { list.into() }
}
