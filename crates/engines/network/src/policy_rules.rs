//! The rules of one policy in one direction, which many endpoints share.

use crate::rules::Rule;
use foldhash::quality::FixedState;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Rules that come from one policy, in its order. They are hashed once: a rule set of ten thousand policies of which
/// one changed is told from others without reading all rules anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyRules {
    hash: u64,
    rules: Arc<[Rule]>,
}

impl Hash for PolicyRules {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl FromIterator<Rule> for PolicyRules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        let rules: Arc<[Rule]> = rules.into_iter().collect();
        Self { hash: FixedState::default().hash_one(&rules), rules }
    }
}

impl Deref for PolicyRules {
    type Target = [Rule];

    fn deref(&self) -> &[Rule] {
        &self.rules
    }
}
