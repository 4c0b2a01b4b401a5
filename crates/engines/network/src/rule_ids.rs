//! Numbers of rules.

use crate::groups::side;
use crate::matching::rule_path;
use crate::program::RuleId;
use foldhash::fast::RandomState;
use indexmap::IndexSet;
use lictor_model::{Direction, Name, PolicyKind, PolicyRef};
use std::sync::Arc;

/// The rules that ever were, by number: a decision that is told late still finds its rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleIds {
    refs: IndexSet<PolicyRef, RandomState>,
    /// The paths of the first, second and further rule of a policy by direction: most policies have the same few.
    paths: [Vec<Arc<str>>; 2],
}

impl RuleIds {
    /// The number of a rule in a policy's list for a direction.
    pub(crate) fn of(&mut self, kind: PolicyKind, name: &Name, direction: Direction, at: usize) -> RuleId {
        let known = &mut self.paths[side(direction)];
        while known.len() <= at {
            known.push(rule_path(direction, known.len()).into());
        }
        let path = Arc::clone(&known[at]);
        self.of_ref(PolicyRef { kind, name: name.clone(), path })
    }

    /// The number of any rule.
    pub(crate) fn of_ref(&mut self, rule: PolicyRef) -> RuleId {
        let (place, _) = self.refs.insert_full(rule);
        RuleId(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// Makes room for so many more.
    pub(crate) fn expect(&mut self, count: usize) {
        self.refs.reserve_exact(count);
    }

    /// What the numbers from this one on stand for.
    pub(crate) fn from(&self, first: usize) -> Option<Vec<PolicyRef>> {
        Some(self.refs.get_range(first..)?.iter().cloned().collect())
    }
}
