//! Endpoints that change together, as the policies do that select them.

use crate::cilium;
use crate::compile::LiveRules;
use crate::gates::{Making, Sets};
use crate::groups::Side;
use crate::judge::isolating;
use crate::program::{Endpoint, Gate, RuleSetId, Stand};
use crate::tiers::speaking;
use foldhash::HashMap;
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{Direction, Name};
use std::sync::Arc;

/// What becomes of endpoints that shared their gates, and are selected by the same changed policies.
pub(crate) enum Following {
    /// They keep them.
    Same,
    /// They share these.
    All([Arc<Gate>; 2]),
    /// Each has its own, of what is shared under these numbers.
    ByPod([usize; 2]),
}

impl Following {
    /// What becomes of this endpoint and of those like it; nothing where a policy speaks of it that spoke of no one.
    pub(crate) fn of(
        snapshot: &Snapshot,
        pod: &Pod,
        known: &Endpoint,
        live: &[LiveRules; 2],
        (sets, making): (&mut Sets, &mut Making<'_>),
    ) -> Option<Self> {
        let mut number = |direction| sets.shared_of_live(direction, &half(snapshot, pod, direction), live);
        let numbers @ [ingress, egress] = [number(Direction::Ingress)?, number(Direction::Egress)?];
        if numbers.iter().any(|number| sets.reads_pod(*number)) {
            return Some(Self::ByPod(numbers));
        }
        let ingress = sets.gate(ingress, known.ingress.stand(), pod, making);
        let egress = sets.gate(egress, known.egress.stand(), pod, making);
        let same = ingress == known.ingress && egress == known.egress;
        Some(if same { Self::Same } else { Self::All([ingress, egress]) })
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
        let asked = |endpoint: &Endpoint| [endpoint.ingress.rule_set, endpoint.egress.rule_set].into_iter().flatten();
        new.iter().flat_map(asked).for_each(|id| self.counts.entry(id).or_default().0 += 1);
        old.into_iter().flat_map(asked).for_each(|id| self.counts.entry(id).or_default().1 += 1);
        self.endpoints.push((name.clone(), new));
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
        stand: Stand::of(snapshot, pod, direction),
    }
}
