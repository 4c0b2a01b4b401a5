//! Stances that change nothing.

use crate::notice;
use crate::snapshot::Snapshot;
use lictor_manifest::Finding;
use lictor_model::{Layer, Name};
use std::collections::BTreeSet;

impl Snapshot {
    /// A finding for each Stance that decides no layer of any pod.
    pub(crate) fn idle_stances(&self) -> Vec<Finding> {
        if self.policies.stances.is_empty() {
            return Vec::new();
        }
        let deciding: BTreeSet<Name> = (self.pods.values())
            .flat_map(|pod| Layer::ALL.iter().filter_map(|layer| self.mode(pod, *layer).1))
            .map(|stance| stance.name)
            .collect();
        let idle = self.policies.stances.iter().filter(|(name, _)| !deciding.contains(*name));
        idle.map(|(_, stance)| notice::stance_idle(&stance.meta)).collect()
    }
}
