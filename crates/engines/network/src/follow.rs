//! Endpoints that change together, as the policies do that select them.

use crate::cilium;
use crate::compile::LiveRules;
use crate::gates::{Making, Sets};
use crate::groups::{Side, side};
use crate::judge::isolating;
use crate::program::{Endpoint, Gate, RuleSetId};
use crate::tiers::speaking;
use foldhash::HashMap;
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{Direction, Name};
use std::sync::Arc;

/// Endpoints that shared their gates, and are selected by the same changed policies.
pub(crate) struct Followers {
    pub(crate) following: Following,
    /// The gates that they shared.
    old: [Arc<Gate>; 2],
    /// How many of them share others now.
    pub(crate) count: usize,
}

/// What becomes of such endpoints.
pub(crate) enum Following {
    /// They keep them.
    Same,
    /// They share these.
    All([Arc<Gate>; 2]),
    /// Each has its own, of what is shared under these numbers; nothing where they keep theirs.
    ByPod([Option<u32>; 2]),
}

impl Followers {
    /// Those like this endpoint, none counted, in the directions that are spoken of; nothing where a policy speaks of it that
    /// spoke of no one.
    pub(crate) fn of(
        snapshot: &Snapshot,
        pod: &Pod,
        known: &Endpoint,
        spoken_of: [bool; 2],
        live: &[LiveRules; 2],
        (sets, making): (&mut Sets, &mut Making<'_>),
    ) -> Option<Self> {
        let mut numbers = [None; 2];
        for direction in Direction::BOTH {
            if spoken_of[side(direction)] {
                let half = half(snapshot, pod, direction);
                numbers[side(direction)] = Some(sets.shared_of_live(direction, &half, live)?);
            }
        }
        let old = [Arc::clone(&known.ingress), Arc::clone(&known.egress)];
        let following = if numbers.iter().flatten().any(|number| sets.reads_pod(*number)) {
            Following::ByPod(numbers)
        } else {
            let new = sets.gates(&old, numbers, pod, making);
            if new == old { Following::Same } else { Following::All(new) }
        };
        Some(Self { following, old, count: 0 })
    }
}

impl Sets {
    /// These gates, but for those of the directions that another number is given for.
    pub(crate) fn gates(
        &mut self,
        old: &[Arc<Gate>; 2],
        numbers: [Option<u32>; 2],
        pod: &Pod,
        making: &mut Making<'_>,
    ) -> [Arc<Gate>; 2] {
        Direction::BOTH.map(|direction| {
            let known = &old[side(direction)];
            match numbers[side(direction)] {
                Some(number) => self.gate(number, known.stand(), pod, making),
                None => Arc::clone(known),
            }
        })
    }
}

/// The endpoints that changed, and how many gates ask each rule set more or less than before.
#[derive(Default)]
pub(crate) struct Moves {
    pub(crate) endpoints: Vec<(Name, Option<Endpoint>)>,
    counts: HashMap<RuleSetId, (usize, usize)>,
}

impl Moves {
    pub(crate) fn add(&mut self, name: &Name, old: Option<&Endpoint>, new: Option<Endpoint>) {
        self.count(new.iter().flat_map(Endpoint::asked), 1, 0);
        self.count(old.into_iter().flat_map(Endpoint::asked), 0, 1);
        self.endpoints.push((name.clone(), new));
    }

    /// One of many that had the same gates and get the same, which [`Moves::add_all`] counts together.
    pub(crate) fn add_one_of_all(&mut self, name: &Name, new: Endpoint) {
        self.endpoints.push((name.clone(), Some(new)));
    }

    /// Counts endpoints that had the same gates and get the same.
    pub(crate) fn add_all(&mut self, Followers { following, old, count }: &Followers) {
        if let Following::All(new) = following {
            let asked = |gates: &[Arc<Gate>; 2]| gates.each_ref().map(|gate| gate.rule_set).into_iter().flatten();
            self.count(asked(new), *count, 0);
            self.count(asked(old), 0, *count);
        }
    }

    fn count(&mut self, asked: impl Iterator<Item = RuleSetId>, more: usize, fewer: usize) {
        for id in asked {
            let counts = self.counts.entry(id).or_default();
            *counts = (counts.0 + more, counts.1 + fewer);
        }
    }

    /// Counts the gates that ask each rule set anew; the rule sets that none asks any more.
    pub(crate) fn unused(&self, users: &mut HashMap<RuleSetId, usize>) -> Vec<RuleSetId> {
        let mut unused = Vec::new();
        for (id, (more, fewer)) in &self.counts {
            let count = users.entry(*id).or_default();
            *count = (*count + more).saturating_sub(*fewer);
            if *count == 0 {
                users.remove(id);
                unused.push(*id);
            }
        }
        unused
    }
}

/// What speaks of a pod in a direction.
pub(crate) fn half<'a>(snapshot: &'a Snapshot, pod: &'a Pod, direction: Direction) -> Side<'a> {
    Side {
        policies: isolating(snapshot, pod, direction),
        tiered: speaking(snapshot, pod, direction).collect(),
        cilium: cilium::speaking(snapshot, pod, direction),
    }
}
