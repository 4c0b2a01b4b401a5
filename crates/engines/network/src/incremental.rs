//! The program of a snapshot that differs from the last one in a few parts, by what depends on these parts alone.

use crate::addressing::ports;
use crate::classes::{Meaning, Noted};
use crate::compile::{Compiler, Last};
use crate::difference::Difference;
use crate::edits::Edits;
use crate::follow::{Followers, Following, Moves, half};
use crate::gates::Making;
use crate::learnt::moves_named_hosts;
use crate::namespaces;
use crate::patch::Patch;
use crate::program::{Address, Endpoint, Program, RuleSetId, SaidId, Stand};
use crate::terms::TermId;
use foldhash::HashMap;
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{Cidr, Direction, Name};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
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
        if many || namespaces::weigh_much(&difference.namespaces, snapshot) {
            return None;
        }
        let called_for = last.with_called_for(snapshot, difference);
        let difference = &*called_for;
        if moves_named_hosts(last, program, snapshot, difference) {
            return None;
        }
        let mut patch = Patch { revision: snapshot.revision, ..Patch::default() };
        let edits = self.edit(last, program, snapshot, difference)?;
        let mut names = difference.names.clone();
        if edits.name_domains {
            names.extend(snapshot.names.learnt().map(|(pod, _)| pod.clone()));
        }
        let mut moved: BTreeMap<&Name, &Arc<Pod>> = edits.extended.pods.iter().map(|pod| (&pod.name, *pod)).collect();
        let in_namespaces = difference.namespaces.iter().flat_map(|namespace| snapshot.pods_in(namespace));
        let in_namespaces: Vec<&Arc<Pod>> = in_namespaces.filter(|pod| !pod.host_network).collect();
        moved.extend(in_namespaces.iter().map(|pod| (&pod.name, *pod)));
        for name in &difference.pods {
            let pod = snapshot.pods.get_key_value(name).filter(|(_, pod)| !pod.host_network);
            moved.extend(pod);
            let left = program.endpoints.get(name).into_iter().flat_map(|known| known.addresses.iter());
            for address in left.filter(|address| !pod.is_some_and(|(_, pod)| pod.addresses.contains(address))) {
                if snapshot.node_at(*address).is_some() {
                    return None;
                }
                // Where another pod has it now, that one changed as well, and is told below.
                patch.addresses.insert(*address, None);
            }
        }
        let mut noted = Noted::default();
        self.learn(last, snapshot, &names, &mut noted, &mut patch);
        self.reclassify(last, &edits.extended.prefixes, &mut noted, &mut patch);
        if edits.extended.nodes {
            self.reclassify_nodes(last, program, snapshot, &mut noted, &mut patch);
        }
        let outgrown = self.classify(last, program, snapshot, &moved, noted, &mut patch);
        let asks = |endpoint: &Endpoint| endpoint.asked().any(|id| outgrown.contains(&id));
        let mut pods: BTreeSet<&Name> = difference.pods.iter().chain(&names).collect();
        pods.extend(in_namespaces.iter().map(|pod| &pod.name));
        if !outgrown.is_empty() {
            pods.extend(program.endpoints.iter().filter(|(_, endpoint)| asks(endpoint)).map(|(name, _)| name));
        }
        self.gates(last, program, snapshot, &pods, &edits, &mut patch)?;
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
        patch.rules = self.rules.from(program.rules.len())?;
        Some(patch)
    }

    /// Gives blocks the classes of what they meet now.
    fn reclassify(
        &mut self,
        last: &mut Last,
        prefixes: &[(Cidr, Option<Arc<[TermId]>>)],
        noted: &mut Noted,
        patch: &mut Patch,
    ) {
        for (prefix, met) in prefixes {
            let mut class = |met: &Arc<[TermId]>| last.classes.of_noting(Meaning::of(met), &mut self.classes, noted);
            patch.prefixes.entry(*prefix).or_insert(met.as_ref().map(&mut class));
        }
    }

    /// Gives the addresses of nodes the classes of what they meet now.
    fn reclassify_nodes(
        &mut self,
        last: &mut Last,
        program: &Program,
        snapshot: &Snapshot,
        noted: &mut Noted,
        patch: &mut Patch,
    ) {
        for (address, terms) in last.terms.of_nodes(snapshot) {
            let class = last.classes.of_noting(Meaning::of(&terms), &mut self.classes, noted);
            noted.nodes |= last.classes.has_node(class);
            let known = Address::of_node(class);
            if program.addresses.get(&address).is_some_and(|other| other.pod.is_none() && *other != known) {
                patch.addresses.insert(address, Some(known));
            }
        }
    }

    /// Gives the addresses of these pods their classes; some classes are noted as new already. The rule sets that need a
    /// number of their own now.
    fn classify(
        &mut self,
        last: &mut Last,
        program: &Program,
        snapshot: &Snapshot,
        pods: &BTreeMap<&Name, &Arc<Pod>>,
        mut noted: Noted,
        patch: &mut Patch,
    ) -> BTreeSet<RuleSetId> {
        let in_blocks = !snapshot.cidr_excludes_pods;
        for (name, pod) in pods {
            let ports = ports(pod, &last.names);
            let by_label = last.terms.of_pod(pod);
            for address in &pod.addresses {
                let terms = last.terms.met(&by_label, *address, in_blocks).into();
                let meaning = Meaning { terms, ports: ports.as_slice().into() };
                let class = last.classes.of_noting(meaning, &mut self.classes, &mut noted);
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
            cores: self.cores,
        };
        last.sets.fill_for(&noted, making)
    }

    /// Gives these endpoints, and those that a policy selects which changed, their gates.
    fn gates(
        &mut self,
        last: &mut Last,
        program: &Program,
        snapshot: &Snapshot,
        changed: &BTreeSet<&Name>,
        edits: &Edits<'_>,
        patch: &mut Patch,
    ) -> Option<()> {
        let pods = changed.iter().map(|name| {
            let pod = snapshot.pods.get(*name).filter(|pod| !pod.host_network);
            let Some(pod) = pod else { return Some((*name, None)) };
            Some((*name, Some((pod, last.selected_of(snapshot, pod)?))))
        });
        let pods: Vec<_> = pods.collect::<Option<_>>()?;
        let making = &mut Making {
            classes: &last.classes,
            learnt: &last.learnt,
            numbers: &mut self.rule_sets,
            said: &mut self.said,
            cores: self.cores,
        };
        let mut moves = Moves::default();
        for (name, pod) in pods {
            let old = program.endpoints.get(name);
            let new = pod.map(|(pod, numbers)| {
                Endpoint::of(snapshot, pod, numbers.map(|(number, stand)| last.sets.gate(number, stand, pod, making)))
            });
            if old != new.as_ref() {
                moves.add(name, old, new);
            }
        }
        // Endpoints that shared what speaks of them still do, if the changed policies select both or neither.
        let mut follow: HashMap<_, Followers> = HashMap::default();
        let spoken_of = Direction::BOTH.map(|direction| edits.speak(direction));
        let selected = edits.selected(snapshot, program);
        moves.endpoints.reserve(selected.len());
        for (pod, known, selecting) in selected {
            if changed.contains(&pod.name) {
                continue;
            }
            let key = (Arc::as_ptr(&known.ingress), Arc::as_ptr(&known.egress), selecting);
            let followers = match follow.entry(key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert(Followers::of(snapshot, pod, known, spoken_of, &last.live, (&mut last.sets, making))?)
                }
            };
            match &followers.following {
                Following::Same => {}
                Following::All(gates) => {
                    followers.count += 1;
                    moves.add_one_of_all(&pod.name, known.with(gates.clone()));
                }
                Following::ByPod(numbers) => {
                    let old = [Arc::clone(&known.ingress), Arc::clone(&known.egress)];
                    let new = known.with(last.sets.gates(&old, *numbers, pod, making));
                    if new != *known {
                        moves.add(&pod.name, Some(known), Some(new));
                    }
                }
            }
        }
        follow.values().for_each(|followers| moves.add_all(followers));
        last.sets.fill_new(making);
        for id in moves.unused(&mut last.users) {
            last.sets.forget(id);
            patch.rule_sets.insert(id, None);
        }
        patch.endpoints = moves.endpoints;
        Some(())
    }
}

impl Last {
    /// What an endpoint shares with others by direction, and how far that goes; nothing where a policy speaks of it that
    /// spoke of no one.
    fn selected_of(&mut self, snapshot: &Snapshot, pod: &Pod) -> Option<[(u32, Stand); 2]> {
        let key = self.selecting.key(pod);
        if let Some(known) = self.selected.get(&key) {
            return Some(*known);
        }
        let mut of = |direction| {
            let half = half(snapshot, pod, direction);
            let stand = Stand::of(snapshot, pod, direction);
            Some((self.sets.shared_of_live(direction, &half, &self.live)?, stand))
        };
        let found = [of(Direction::Ingress)?, of(Direction::Egress)?];
        self.selected.insert(key, found);
        Some(found)
    }
}
