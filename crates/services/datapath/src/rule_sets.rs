//! The rule sets in the kernel: each a number of its own, which is never used for another.

use crate::error::Error;
use crate::ranges::Ranges;
use crate::tables::{Limits, Tables};
use crate::wire::{self, ANY_PORT, RuleKey, Span};
use lictor_network::{ClassId, Program, RuleId, RuleSet, RuleSetId};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a rule set says: rules by class and port word.
type Entries = BTreeMap<(u32, u32), wire::Rule>;

/// The rule sets in the kernel.
pub(crate) struct RuleSets {
    live: BTreeMap<RuleSetId, Live>,
    next: u32,
    entries: usize,
    bounds: Ranges,
}

struct Live {
    number: u32,
    bounds: Vec<u16>,
    span: Span,
    entries: Entries,
}

/// How the rule sets of one program become those of the next.
///
/// A rule set that says something else gets a new number, and gates are pointed at it. Only where the entries
/// that come are of classes that no address has yet, and those that go of classes that none will have, the
/// rule set stays and its entries come before, and go after, the addresses change class.
#[derive(Default)]
pub(crate) struct Change {
    /// The numbers of the program's rule sets.
    numbers: BTreeMap<RuleSetId, u32>,
    new: Vec<(RuleSetId, u32, Vec<u16>, Span, Entries)>,
    grown: Vec<(RuleSetId, Entries)>,
    shrunk: Vec<(RuleSetId, BTreeSet<(u32, u32)>)>,
    old: Vec<Live>,
}

impl Change {
    /// The number of a rule set in the kernel; 0 for none.
    pub(crate) fn number(&self, id: Option<RuleSetId>) -> u32 {
        id.and_then(|id| self.numbers.get(&id)).copied().unwrap_or_default()
    }

    /// Rule sets that are yet to be committed.
    pub(crate) fn new_ones(&self) -> usize {
        self.new.len()
    }

    /// Rule sets that the commit has put out of force.
    pub(crate) fn old_ones(&self) -> usize {
        self.old.len()
    }
}

impl RuleSets {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { live: BTreeMap::new(), next: 1, entries: 0, bounds: Ranges::new(limits.bounds) }
    }

    /// Plans the change to a program, and sees that both fit at once. Nothing is written yet.
    pub(crate) fn plan(&mut self, old: Option<&Program>, program: &Program, limits: &Limits) -> Result<Change, Error> {
        self.bounds.settle();
        let (before, after) = (old.map(live_classes).unwrap_or_default(), live_classes(program));
        let mut change = Change::default();
        for id in used(program) {
            let set = program.rule_sets.get(&id).ok_or_else(|| missing(program, format!("rule set {}", id.0)))?;
            let entries = entries(set, program)?;
            let kept = self.live.get(&id).filter(|live| live.bounds == set.bounds);
            if let Some(live) = kept
                && let Some((come, go)) = difference(&live.entries, &entries, &before, &after)
            {
                change.numbers.insert(id, live.number);
                change.grown.extend((!come.is_empty()).then_some((id, come)));
                change.shrunk.extend((!go.is_empty()).then_some((id, go)));
                continue;
            }
            let number = self.next;
            self.next += 1;
            let count = u32::try_from(set.bounds.len()).unwrap_or(u32::MAX);
            let Some(span) = self.bounds.take(count) else {
                let wanted = self.bounds.used() + set.bounds.len();
                self.cancel(change);
                return Err(Error::NoRoom { what: "bounds of port classes", wanted, room: limits.bounds as usize });
            };
            change.numbers.insert(id, number);
            change.new.push((id, number, set.bounds.clone(), span, entries));
        }
        let come = change.new.iter().map(|(.., entries)| entries.len()).sum::<usize>()
            + change.grown.iter().map(|(_, entries)| entries.len()).sum::<usize>();
        let checks = [
            ("rules", self.entries + come, limits.rules),
            ("rule sets", self.live.len() + change.new.len(), limits.rule_sets),
        ];
        for (what, wanted, room) in checks {
            if wanted > room as usize {
                self.cancel(change);
                return Err(Error::NoRoom { what, wanted, room: room as usize });
            }
        }
        Ok(change)
    }

    /// Writes what is new; nothing of it is in force yet. On an error, all of it is taken out again.
    pub(crate) fn write(&mut self, change: &Change, tables: &mut Tables) -> Result<(), Error> {
        let result = self.try_write(change, tables);
        if result.is_err() {
            for (_, number, _, _, entries) in &change.new {
                // What cannot be removed is unreachable: no gate will ever have this number.
                let _ = tables.spans.remove(number);
                entries.keys().for_each(|entry| drop(tables.rules.remove(&key(*number, *entry))));
            }
            for (id, entries) in &change.grown {
                let number = change.number(Some(*id));
                entries.keys().for_each(|entry| drop(tables.rules.remove(&key(number, *entry))));
            }
        }
        result
    }

    fn try_write(&self, change: &Change, tables: &mut Tables) -> Result<(), Error> {
        for (_, number, bounds, span, entries) in &change.new {
            for (at, bound) in (span.first..).zip(bounds) {
                tables.bounds.set(at, u32::from(*bound))?;
            }
            tables.spans.insert(number, span)?;
            entries.iter().try_for_each(|(entry, rule)| tables.rules.insert(key(*number, *entry), rule))?;
        }
        for (id, entries) in &change.grown {
            let number = change.number(Some(*id));
            entries.iter().try_for_each(|(entry, rule)| tables.rules.insert(key(number, *entry), rule))?;
        }
        Ok(())
    }

    /// Gives up a planned change.
    pub(crate) fn cancel(&mut self, change: Change) {
        change.new.into_iter().for_each(|(_, _, _, span, _)| self.bounds.give(span));
    }

    /// The change is in force: takes note of it.
    pub(crate) fn commit(&mut self, change: &mut Change) {
        let gone: Vec<RuleSetId> = self.live.keys().filter(|id| !change.numbers.contains_key(id)).copied().collect();
        change.old.extend(gone.into_iter().filter_map(|id| self.live.remove(&id)));
        for (id, number, bounds, span, entries) in std::mem::take(&mut change.new) {
            self.entries += entries.len();
            change.old.extend(self.live.insert(id, Live { number, bounds, span, entries }));
        }
        for (id, entries) in std::mem::take(&mut change.grown) {
            if let Some(live) = self.live.get_mut(&id) {
                self.entries += entries.len();
                live.entries.extend(entries);
            }
        }
    }

    /// Removes what is no longer asked for.
    pub(crate) fn clean(&mut self, change: Change, tables: &mut Tables) -> Result<(), Error> {
        for live in change.old {
            tables.spans.remove(&live.number)?;
            live.entries.keys().try_for_each(|entry| tables.rules.remove(&key(live.number, *entry)))?;
            self.entries -= live.entries.len();
            self.bounds.give(live.span);
        }
        for (id, gone) in change.shrunk {
            let Some(live) = self.live.get_mut(&id) else { continue };
            for entry in gone {
                tables.rules.remove(&key(live.number, entry))?;
                self.entries -= usize::from(live.entries.remove(&entry).is_some());
            }
        }
        Ok(())
    }

    /// Entries in the kernel.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }
}

/// The rule sets that some gate asks.
fn used(program: &Program) -> BTreeSet<RuleSetId> {
    let gates = program.endpoints.values().flat_map(|endpoint| [&endpoint.ingress, &endpoint.egress]);
    gates.filter_map(|gate| gate.rule_set).collect()
}

/// The classes that some address has, or an entry for any.
fn live_classes(program: &Program) -> HashSet<u32> {
    let named = program.addresses.values().map(|address| address.class).chain(program.prefixes.values().copied());
    let nodes = program.addresses.values().filter(|address| address.pod.is_none());
    let own_nodes = nodes.map(|address| address.class.as_own_node());
    named.chain(own_nodes).chain([ClassId::default(), ClassId::ANY]).map(|class| class.0).collect()
}

fn entries(set: &RuleSet, program: &Program) -> Result<Entries, Error> {
    let entry = |(entry, outcome): (&lictor_network::Entry, &lictor_network::Outcome)| {
        let rule = outcome.rule.0;
        let of_no_rule = [RuleId::NO_POLICY, RuleId::ISOLATION, RuleId::OWN_NODE].contains(&outcome.rule);
        if !of_no_rule && program.rules.get(rule as usize).is_none() {
            return Err(missing(program, format!("rule {rule}")));
        }
        let port = match entry.port {
            Some((protocol, class)) => u32::from(protocol.number()) << 16 | u32::from(class),
            None => ANY_PORT,
        };
        let value = wire::Rule { id: rule, allow: allow(outcome, program) };
        Ok(((entry.class.0, port), value))
    };
    set.entries.iter().map(entry).collect()
}

/// How far an outcome allows: what is said on a connection is judged elsewhere.
fn allow(outcome: &lictor_network::Outcome, program: &Program) -> u32 {
    let Some(said) = outcome.said else {
        return if outcome.verdict.is_allow() { wire::ALLOW_ALL } else { 0 };
    };
    let sayable = program.said.get(&said).map_or(&[][..], |all| all);
    // Nothing that may be said is nothing that is allowed.
    sayable.iter().fold(0, |allow, sayable| {
        allow | if sayable.is_for_resolver() { wire::ALLOW_BY_RESOLVER } else { wire::ALLOW_BY_PROXY }
    })
}

/// What comes and what goes, if the set can stay meanwhile.
fn difference(
    old: &Entries,
    new: &Entries,
    before: &HashSet<u32>,
    after: &HashSet<u32>,
) -> Option<(Entries, BTreeSet<(u32, u32)>)> {
    let (mut come, mut go) = (Entries::new(), BTreeSet::new());
    for (entry, rule) in new {
        match old.get(entry) {
            Some(same) if same == rule => {}
            Some(_) => return None,
            None if before.contains(&entry.0) => return None,
            None => drop(come.insert(*entry, *rule)),
        }
    }
    for entry in old.keys().filter(|entry| !new.contains_key(entry)) {
        if after.contains(&entry.0) {
            return None;
        }
        go.insert(*entry);
    }
    Some((come, go))
}

fn key(set: u32, (class, port): (u32, u32)) -> RuleKey {
    RuleKey { set, class, port }
}

fn missing(program: &Program, what: String) -> Error {
    Error::Inconsistent { revision: program.revision.0, what }
}
