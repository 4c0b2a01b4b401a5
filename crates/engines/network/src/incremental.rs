//! The program of a snapshot that differs from the last one in a few parts, by what depends on these parts alone.

use crate::addressing::{peer_names, ports};
use crate::cilium;
use crate::classes::Meaning;
use crate::compile::{Compiler, Last};
use crate::difference::Difference;
use crate::gates::{Making, place};
use crate::groups::{Side, side};
use crate::judge::isolating;
use crate::learnt::moves_named_hosts;
use crate::matching::rules;
use crate::patch::Patch;
use crate::program::{Address, Endpoint, Gate, Program, RuleSetId, SaidId, Stand};
use crate::rules::PortName;
use crate::terms::{TermId, Terms};
use crate::tiers::speaking;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::NetworkPolicy;
use lictor_model::{Direction, Name};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a program becomes.
#[derive(Debug, Clone)]
pub enum Change {
    /// The same with a few entries changed.
    Patch(Patch),
    /// Another one: more depends on what changed than is worth telling apart.
    Whole(Program),
}

/// After so many patches, what they left behind is cleared away by a whole compilation.
const PATCHES: usize = 10_000;

/// So many rules may be left behind, or as many as there were: then it is as well.
const LEFT_OVER: usize = 250_000;

/// So many addresses that pods had learnt may leave their classes behind.
const FORGOTTEN: usize = 1_000;

impl Compiler {
    /// Has the next program compiled as a whole: for when its last one was not put in force.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The program of a snapshot that follows the one that the last program is of.
    pub fn next(&mut self, last: &Program, before: &Snapshot, after: &Snapshot) -> Program {
        let Some(difference) = Difference::between(before, after) else { return self.compile(after) };
        match self.change(last, after, &difference) {
            Change::Whole(program) => program,
            Change::Patch(patch) => {
                let mut program = last.clone();
                program.patch(patch);
                program
            }
        }
    }

    /// What the last program becomes with a snapshot that differs from its own in these parts and no others.
    pub fn change(&mut self, last: &Program, snapshot: &Snapshot, difference: &Difference) -> Change {
        let Some(mut made_of) = self.last.take() else { return Change::Whole(self.compile(snapshot)) };
        let patch = self.patch(&mut made_of, last, snapshot, difference);
        self.last = Some(made_of);
        match patch {
            Some(patch) => Change::Patch(patch),
            None => Change::Whole(self.compile(snapshot)),
        }
    }

    /// The patch; nothing where all has to be compiled, which also mends what was changed of `last` until then.
    fn patch(
        &mut self,
        last: &mut Last,
        program: &Program,
        snapshot: &Snapshot,
        difference: &Difference,
    ) -> Option<Patch> {
        last.patches += 1;
        let many = last.patches > PATCHES || last.sets.weight > 2 * last.weight.max(LEFT_OVER);
        let many = many || last.forgotten > FORGOTTEN;
        if many || difference.network_policies.len() > 64 || last.terms.follow_pods() {
            return None;
        }
        if moves_named_hosts(last, program, snapshot, difference) {
            return None;
        }
        let mut patch = Patch { revision: snapshot.revision, ..Patch::default() };
        let edits = self.edit(last, snapshot, difference)?;
        let mut moved: BTreeMap<&Name, &Arc<Pod>> = edits.meeting.iter().map(|pod| (&pod.name, *pod)).collect();
        for name in &difference.pods {
            let pod = snapshot.pods.get_key_value(name).filter(|(_, pod)| !pod.host_network);
            moved.extend(pod);
            let left = program.endpoints.get(name).into_iter().flat_map(|known| &known.addresses);
            for address in left.filter(|address| !pod.is_some_and(|(_, pod)| pod.addresses.contains(address))) {
                if snapshot.pod_at(*address).is_some() || snapshot.node_at(*address).is_some() {
                    return None;
                }
                patch.addresses.insert(*address, None);
            }
        }
        let met = self.learn(last, snapshot, difference, &mut patch);
        self.classify(last, program, snapshot, &moved, met, &mut patch)?;
        self.gates(last, program, snapshot, difference, &edits, &mut patch)?;
        for id in std::mem::take(&mut last.sets.changed) {
            patch.rule_sets.insert(id, last.sets.tables.get(&id).cloned());
        }
        let said =
            patch.rule_sets.values().flatten().flat_map(|set| set.entries.values()).filter_map(|entry| entry.said);
        let said: BTreeSet<SaidId> = said.filter(|id| !program.said.contains_key(id)).collect();
        if !said.is_empty() {
            let all = self.said.iter().map(|(said, id)| (SaidId(id), Arc::clone(said)));
            patch.said = all.filter(|(id, _)| said.contains(id)).collect();
        }
        patch.rules = self.rules.refs.get(program.rules.len()..)?.to_vec();
        Some(patch)
    }

    /// Takes the policies that changed in.
    fn edit<'a>(&mut self, last: &mut Last, snapshot: &'a Snapshot, difference: &Difference) -> Option<Edits<'a>> {
        let mut edits = Edits::default();
        let mut terms = Terms::default();
        if !difference.network_policies.is_empty() {
            last.selected.clear();
        }
        for name in &difference.network_policies {
            let (old, new) = (last.policies.remove(name), snapshot.policies.network.get(name));
            for direction in Direction::BOTH {
                let live = &mut last.live[side(direction)];
                if let Some(old) = &old {
                    live.network.remove(&place(old));
                }
                if let Some(new) = new.filter(|new| rules(new, direction).is_some()) {
                    let made = self.network_rules(new, direction, &mut terms);
                    if direction == Direction::Egress && !peer_names(made.iter()).is_subset(&last.names) {
                        return None;
                    }
                    live.network.insert(place(new), made);
                }
            }
            last.selecting.add(old.iter().chain(new));
            last.replaced.extend(old.clone());
            last.policies.extend(new.map(|new| (name.clone(), Arc::clone(new))));
            edits.policies.push((name.clone(), old, new));
        }
        edits.meeting = last.terms.extend_pods(terms, snapshot)?;
        Some(edits)
    }

    /// Gives the addresses of these pods their classes. Some terms are met by classes that are new already.
    fn classify(
        &mut self,
        last: &mut Last,
        program: &Program,
        snapshot: &Snapshot,
        pods: &BTreeMap<&Name, &Arc<Pod>>,
        mut terms: BTreeSet<TermId>,
        patch: &mut Patch,
    ) -> Option<()> {
        let mut names = BTreeSet::new();
        let in_blocks = !snapshot.cidr_excludes_pods;
        for (name, pod) in pods {
            let ports = ports(pod, &last.names);
            let by_label = last.terms.of_pod(pod);
            for address in &pod.addresses {
                let meaning = Meaning { terms: last.terms.met(&by_label, *address, in_blocks), ports: ports.clone() };
                let before = last.classes.len();
                let class = last.classes.of(meaning.clone(), &mut self.classes);
                if last.classes.len() > before {
                    terms.extend(meaning.terms);
                    names.extend(meaning.ports.into_iter().map(|(name, _): (PortName, u16)| name));
                }
                let (enrolled, resolver) = (pod.enrolled, snapshot.resolvers.contains(address));
                let known = Address { class, pod: Some((*name).clone()), enrolled, resolver };
                if program.addresses.get(address) != Some(&known) {
                    patch.addresses.insert(*address, Some(known));
                }
            }
        }
        let making = &mut Making {
            classes: &last.classes,
            learnt: &last.learnt,
            numbers: &mut self.rule_sets,
            said: &mut self.said,
        };
        last.sets.fill_for(&terms, &names, making)
    }

    /// Gives the endpoints that changed, and those that a policy selects which changed, their gates.
    fn gates(
        &mut self,
        last: &mut Last,
        program: &Program,
        snapshot: &Snapshot,
        difference: &Difference,
        edits: &Edits<'_>,
        patch: &mut Patch,
    ) -> Option<()> {
        let pods = difference.pods.union(&difference.names).map(|name| {
            let pod = snapshot.pods.get(name).filter(|pod| !pod.host_network);
            let Some(pod) = pod else { return Some((name, None)) };
            Some((name, Some((pod, last.selected_of(snapshot, pod)?))))
        });
        let pods: Vec<_> = pods.collect::<Option<_>>()?;
        let making = &mut Making {
            classes: &last.classes,
            learnt: &last.learnt,
            numbers: &mut self.rule_sets,
            said: &mut self.said,
        };
        let mut changes: Vec<Changed<'_>> = Vec::new();
        for (name, pod) in pods {
            let old = program.endpoints.get(name);
            let new = pod.map(|(pod, numbers)| {
                let [ingress, egress] = numbers.map(|(number, stand)| last.sets.gate(number, stand, pod, making));
                Endpoint::of(snapshot, pod, ingress, egress)
            });
            if old != new.as_ref() {
                changes.push((name.clone(), old, new));
            }
        }
        // Endpoints that shared what speaks of them still do, if the changed policies select both or neither.
        let mut follow: HashMap<_, (usize, Option<Gate>)> = HashMap::new();
        for (pod, known) in edits.selected(snapshot, program) {
            if difference.pods.contains(&pod.name) || difference.names.contains(&pod.name) {
                continue;
            }
            let selecting = edits.selecting(pod);
            let mut gate = |direction| {
                let old = known.gate(direction);
                let key = (direction, old.isolated_by.as_ptr(), old.others.as_ptr(), selecting);
                let (number, gate) = match follow.get(&key) {
                    Some(known) => known,
                    None => {
                        let half = half(snapshot, pod, direction);
                        let number = last.sets.shared_of_live(snapshot, direction, &half, &last.live)?;
                        let gate = last.sets.gate(number, old.stand(), pod, making);
                        follow.entry(key).or_insert((number, (!last.sets.reads_pod(number)).then_some(gate)))
                    }
                };
                let gate = match gate {
                    Some(gate) => gate.clone(),
                    None => last.sets.gate(*number, old.stand(), pod, making),
                };
                Some(Gate { mode: old.mode, established: old.established, ..gate })
            };
            let (ingress, egress) = (gate(Direction::Ingress)?, gate(Direction::Egress)?);
            if ingress != known.ingress || egress != known.egress {
                let (addresses, own_node) = (known.addresses.clone(), known.own_node.clone());
                let new = Endpoint { addresses, own_node, enrolled: known.enrolled, ingress, egress };
                changes.push((pod.name.clone(), Some(known), Some(new)));
            }
        }
        for id in last.count_users(&changes) {
            last.sets.forget(id);
            patch.rule_sets.insert(id, None);
        }
        patch.endpoints = changes.into_iter().map(|(name, _, new)| (name, new)).collect();
        Some(())
    }
}

/// An endpoint as it was and as it is.
type Changed<'a> = (Name, Option<&'a Endpoint>, Option<Endpoint>);

impl Last {
    /// What an endpoint shares with others by direction, and how far that goes; nothing where a policy speaks of it that
    /// spoke of no one.
    fn selected_of(&mut self, snapshot: &Snapshot, pod: &Pod) -> Option<[(usize, Stand); 2]> {
        let key = self.selecting.key(pod);
        if let Some(known) = self.selected.get(&key) {
            return Some(*known);
        }
        let mut of = |direction| {
            let half = half(snapshot, pod, direction);
            Some((self.sets.shared_of_live(snapshot, direction, &half, &self.live)?, half.stand))
        };
        let found = [of(Direction::Ingress)?, of(Direction::Egress)?];
        self.selected.insert(key, found);
        Some(found)
    }

    /// Counts the gates that ask each rule set anew; the rule sets that none asks any more.
    fn count_users(&mut self, changes: &[Changed<'_>]) -> Vec<RuleSetId> {
        let asked = |endpoint: &Endpoint| [endpoint.ingress.rule_set, endpoint.egress.rule_set].into_iter().flatten();
        let now = changes.iter().filter_map(|(_, _, new)| new.as_ref()).flat_map(asked);
        now.for_each(|id| *self.users.entry(id).or_default() += 1);
        let mut left = BTreeSet::new();
        for id in changes.iter().filter_map(|(_, old, _)| *old).flat_map(asked) {
            if let Some(users) = self.users.get_mut(&id) {
                *users -= 1;
                left.insert(id);
            }
        }
        let unused: Vec<RuleSetId> = left.into_iter().filter(|id| self.users.get(id) == Some(&0)).collect();
        for id in &unused {
            self.users.remove(id);
        }
        unused
    }
}

/// A policy that changed: its name, what it was and what it is.
type Edit<'a> = (Name, Option<Arc<NetworkPolicy>>, Option<&'a Arc<NetworkPolicy>>);

/// The policies that changed.
#[derive(Default)]
struct Edits<'a> {
    policies: Vec<Edit<'a>>,
    /// The pods that meet a term which is new.
    meeting: Vec<&'a Arc<Pod>>,
}

impl Edits<'_> {
    /// The endpoints that one of them selects or selected and that the program knows, each once.
    fn selected<'b>(&self, snapshot: &'b Snapshot, program: &'b Program) -> Vec<(&'b Arc<Pod>, &'b Endpoint)> {
        let mut found = Vec::new();
        let namespaces: BTreeSet<&Arc<str>> = self.policies.iter().map(|(name, ..)| &name.namespace).collect();
        for namespace in namespaces {
            let policies: Vec<&Arc<NetworkPolicy>> = (self.policies.iter())
                .filter(|(name, ..)| name.namespace == *namespace)
                .flat_map(|(_, old, new)| old.iter().chain(*new))
                .collect();
            // Both are in the order of names.
            let mut known = program.endpoints.range(Name::new(Arc::clone(namespace), "")..).peekable();
            for pod in snapshot.pods_in(namespace) {
                while known.next_if(|(name, _)| **name < pod.name).is_some() {}
                let Some((_, endpoint)) = known.next_if(|(name, _)| **name == pod.name) else { continue };
                if policies.iter().any(|policy| policy.pod_selector.matches(&pod.labels)) {
                    found.push((pod, endpoint));
                }
            }
        }
        found
    }

    /// Which of them select an endpoint now.
    fn selecting(&self, pod: &Pod) -> u64 {
        let selects = |policy: &NetworkPolicy| {
            policy.meta.name.namespace == pod.name.namespace && policy.pod_selector.matches(&pod.labels)
        };
        let bits = self.policies.iter().map(|(_, _, new)| u64::from(new.is_some_and(|policy| selects(policy))));
        bits.fold(0, |all, bit| all << 1 | bit)
    }
}

/// What speaks of a pod in a direction.
fn half<'a>(snapshot: &'a Snapshot, pod: &'a Pod, direction: Direction) -> Side<'a> {
    Side {
        policies: isolating(snapshot, pod, direction),
        tiered: speaking(snapshot, pod, direction).map(|(place, _)| place).collect(),
        cilium: cilium::speaking(snapshot, pod, direction),
        stand: Stand::of(snapshot, pod, direction),
    }
}
