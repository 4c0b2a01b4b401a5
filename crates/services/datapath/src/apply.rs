//! From one program to the next, without a moment in which neither is in force.

use crate::columns;
use crate::datapath::Datapath;
use crate::error::Error;
use crate::rule_sets;
use crate::wire::{self, Address, ENDPOINT_ACTIVE, ENDPOINT_ENROLLED, Gate, NodeKey};
use lictor_model::{Direction, Established, Mode, Name};
use lictor_network::{Endpoint, Program};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a new program changed in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Rule sets that are new.
    pub new_rule_sets: usize,
    /// Rule sets that are gone.
    pub old_rule_sets: usize,
    /// Entries of all rule sets now.
    pub rules: usize,
    /// Addresses and blocks that were written.
    pub addresses: usize,
    /// Directions of endpoints whose connections are judged again.
    pub judged_again: usize,
    /// How long it took.
    pub took: Duration,
}

/// Everything that is known before the first write.
struct Plan {
    rule_sets: rule_sets::Change,
    columns: columns::Change,
    nodes: BTreeSet<NodeKey>,
    gone_nodes: BTreeSet<NodeKey>,
}

impl Datapath {
    /// Puts a program in force; only what differs from the last one is written.
    ///
    /// New rule sets are written first, then classes into the column that no gate reads; then each direction of
    /// each endpoint turns to the new program with one store; then what is left over is removed. Connections
    /// of the directions that are affected are judged again on their next packet.
    ///
    /// # Errors
    /// If it does not fit, or the kernel refuses a write before the first gate has turned, the last program
    /// stays in force whole.
    pub fn apply(&mut self, program: &Arc<Program>) -> Result<Applied, Error> {
        let begun = Instant::now();
        let old = self.program.clone();
        let mut plan = self.plan(old.as_deref(), program)?;
        if let Err(error) = self.write(&plan) {
            self.rule_sets.cancel(plan.rule_sets);
            return Err(error);
        }
        let judged_again = self.turn(&plan, program)?;
        let new_rule_sets = plan.rule_sets.new_ones();
        self.rule_sets.commit(&mut plan.rule_sets);
        self.columns.turn();
        self.program = Some(program.clone());
        self.tables.revision.set(0, program.revision.0)?;

        let old_rule_sets = plan.rule_sets.old_ones();
        let addresses = plan.columns.writes();
        self.rule_sets.clean(plan.rule_sets, &mut self.tables)?;
        self.columns.clean(plan.columns, &mut self.tables)?;
        for key in plan.gone_nodes {
            self.tables.own_nodes.remove(&key)?;
            self.own_nodes.remove(&key);
        }
        let rules = self.rule_sets.len();
        Ok(Applied { new_rule_sets, old_rule_sets, rules, addresses, judged_again, took: begun.elapsed() })
    }

    fn plan(&mut self, old: Option<&Program>, program: &Program) -> Result<Plan, Error> {
        for (name, endpoint) in &program.endpoints {
            record(name, endpoint)?;
        }
        let wanted = program.endpoints.keys().filter(|name| self.slots.find(name).is_none()).count();
        if wanted > self.slots.room() {
            self.sweep()?;
        }
        if wanted > self.slots.room() {
            let used = self.slots.size() - self.slots.room();
            return Err(Error::NoRoom { what: "endpoints", wanted: used + wanted, room: self.slots.size() });
        }
        for name in program.endpoints.keys() {
            self.slots.take(name)?;
        }
        let mut nodes = BTreeSet::new();
        for (name, endpoint) in &program.endpoints {
            let number = self.slots.take(name)?.number;
            nodes.extend(endpoint.own_node.iter().map(|node| NodeKey { endpoint: number, address: (*node).into() }));
        }
        let wanted = nodes.union(&self.own_nodes).count();
        let room = self.limits.own_nodes();
        if wanted > room {
            return Err(Error::NoRoom { what: "addresses of nodes", wanted, room });
        }
        let gone_nodes = self.own_nodes.difference(&nodes).copied().collect();
        let slots = &self.slots;
        let at_link = |pod: &Name, address| {
            let slot = slots.find(pod).filter(|slot| slot.link.is_some())?;
            let index = program.endpoints.get(pod)?.addresses.iter().position(|own| *own == address)?;
            Some((slot.number, u8::try_from(index).ok()?))
        };
        let columns = self.columns.plan(old, program, at_link, &self.limits)?;
        let rule_sets = self.rule_sets.plan(old, program, &self.limits)?;
        Ok(Plan { rule_sets, columns, nodes, gone_nodes })
    }

    /// Everything that no gate reads yet.
    fn write(&mut self, plan: &Plan) -> Result<(), Error> {
        self.rule_sets.write(&plan.rule_sets, &mut self.tables)?;
        self.columns.write(&plan.columns, &mut self.tables)?;
        let new: Vec<NodeKey> = plan.nodes.difference(&self.own_nodes).copied().collect();
        let written = new.iter().try_for_each(|key| self.tables.own_nodes.insert(key, 1));
        if written.is_err() {
            new.iter().try_for_each(|key| self.tables.own_nodes.remove(key))?;
        }
        self.own_nodes.extend(written.map(|()| new)?);
        Ok(())
    }

    /// Turns every endpoint to the new program. Returns how many directions are judged again.
    fn turn(&mut self, plan: &Plan, program: &Program) -> Result<usize, Error> {
        self.generation = (self.generation + 1) & wire::GENERATION_MASK;
        let mut again = 0;
        for (name, endpoint) in &program.endpoints {
            let record = record(name, endpoint)?;
            let slot = self.slots.take(name)?;
            let (number, known) = (slot.number, slot.known);
            let nodes_changed =
                plan.gone_nodes.iter().any(|key| key.endpoint == number) || known.is_none_or(|known| known != record);
            for direction in Direction::BOTH {
                let gate = endpoint.gate(direction);
                let set = plan.rule_sets.number(gate.rule_set);
                let present = Gate::from_word(self.tables.gates.at(slot_of(number, direction))?);
                let changed = plan.columns.matters || nodes_changed || present.set != set || present.mode != gate.mode;
                // What a gate has kept open is judged as soon as it keeps nothing open any more.
                let keeps = gate.established == Established::Keep && known.is_some();
                let kept = &mut self.slots.take(name)?.kept[usize::from(direction == Direction::Egress)];
                let judged = (changed || *kept) && !keeps;
                *kept = keeps && (changed || *kept);
                let generation = if judged { self.generation } else { present.generation };
                again += usize::from(judged);
                let next = Gate { set, generation, column: self.columns.next(), mode: gate.mode };
                self.tables.gates.set(slot_of(number, direction), next.word())?;
            }
            // Last, so that the endpoint's first gates are there when it is known.
            if known != Some(record) {
                self.tables.endpoints.set(number, record)?;
                self.slots.take(name)?.known = Some(record);
            }
        }
        self.forget(program)?;
        Ok(again)
    }

    /// Endpoints that the program does not know any more: what they still send or get is dropped.
    fn forget(&mut self, program: &Program) -> Result<(), Error> {
        let gone = |(name, slot): &(&Name, &crate::slots::Slot)| {
            slot.known.is_some() && !program.endpoints.contains_key(*name)
        };
        let gone: Vec<Name> = self.slots.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        for name in gone {
            let Some(slot) = self.slots.find_mut(&name) else { continue };
            let Some(mut last) = slot.known.take() else { continue };
            let number = slot.number;
            last.flags = 0;
            self.tables.endpoints.set(number, last)?;
            for direction in Direction::BOTH {
                let shut =
                    Gate { set: 0, generation: self.generation, column: self.columns.next(), mode: Mode::Enforce };
                self.tables.gates.set(slot_of(number, direction), shut.word())?;
            }
            self.slots.leave(&name, last);
        }
        Ok(())
    }
}

/// An endpoint as the kernel holds it.
fn record(name: &Name, endpoint: &Endpoint) -> Result<wire::Endpoint, Error> {
    let mut record = wire::Endpoint::default();
    let found = endpoint.addresses.len();
    if found > record.addresses.len() {
        return Err(Error::Addresses { endpoint: name.clone(), found });
    }
    for (place, address) in record.addresses.iter_mut().zip(endpoint.addresses.iter()) {
        *place = Address::from(*address);
        record.count += 1;
    }
    record.flags = ENDPOINT_ACTIVE | if endpoint.enrolled { ENDPOINT_ENROLLED } else { 0 };
    Ok(record)
}

/// Where a direction's gate is.
pub(crate) fn slot_of(endpoint: u32, direction: Direction) -> u32 {
    endpoint * 2
        + match direction {
            Direction::Ingress => 0,
            Direction::Egress => 1,
        }
}
