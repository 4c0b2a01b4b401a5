//! Namespaces whose labels change while terms are live.

use super::{Scope, TermId, Terms};
use crate::selector_index::SelectorIndex;
use lictor_cluster::Snapshot;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Terms {
    /// Has the terms that can match in each of these namespaces be those that its labels call for now.
    pub(crate) fn follow_namespaces(&mut self, namespaces: &BTreeSet<Arc<str>>, snapshot: &Snapshot) {
        for name in namespaces {
            let before = self.by_namespace.remove(name);
            let Some(state) = snapshot.namespaces.get(name) else { continue };
            let is_in = |id: &TermId| {
                self.pods.get(id).is_some_and(|of| match &of.scope {
                    Scope::Any => true,
                    Scope::Own(own) => own == name,
                    Scope::Selected(selector) => selector.matches(&state.labels),
                })
            };
            let ids: BTreeSet<TermId> = match before {
                // What does not ask for labels of the namespace stays as it was.
                Some(known) => known.all().chain(self.by_labels.iter().copied()).filter(is_in).collect(),
                None => self.pods.keys().copied().filter(is_in).collect(),
            };
            let mut within = SelectorIndex::default();
            for id in ids {
                if let Some(of) = self.pods.get(&id) {
                    within.insert(&of.pods, id);
                }
            }
            if !within.is_empty() {
                self.by_namespace.insert(Arc::clone(name), within);
            }
        }
    }
}
