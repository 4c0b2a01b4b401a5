//! Terms that come to be live while others are.

use super::{Scope, TermId, Terms};
use lictor_cluster::{Pod, Snapshot};
use lictor_model::Cidr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What new terms change.
#[derive(Default)]
pub(crate) struct Extended<'a> {
    /// The pods that may meet one of them.
    pub(crate) pods: Vec<&'a Arc<Pod>>,
    /// Blocks and holes that are new or meet others than before, as [`Terms::prefixes`] has them.
    pub(crate) prefixes: Vec<(Cidr, Arc<[TermId]>)>,
}

impl Terms {
    /// Takes in the terms of others that this has not. Nothing where more depends on them than pods and blocks do: on
    /// those of nodes, of single addresses, and of blocks that hold a node.
    pub(crate) fn extend<'a>(&mut self, others: Self, snapshot: &'a Snapshot) -> Option<Extended<'a>> {
        let nodes_known = others.nodes.keys().all(|id| self.nodes.contains_key(id));
        if !nodes_known || !others.hosts.is_empty() {
            return None;
        }
        let mut extended = Extended::default();
        self.extend_blocks(&others, snapshot, &mut extended)?;
        for (id, (scope, pods, accounts)) in others.pods {
            if self.pods.contains_key(&id) {
                continue;
            }
            let all = || snapshot.namespaces.iter();
            let namespaces: Vec<&Arc<str>> = match &scope {
                Scope::Any => all().map(|(name, _)| name).collect(),
                Scope::Own(own) => snapshot.namespaces.get_key_value(own).map(|(name, _)| name).into_iter().collect(),
                Scope::Selected(selector) => {
                    all().filter(|(_, state)| selector.matches(&state.labels)).map(|(name, _)| name).collect()
                }
            };
            for namespace in namespaces {
                self.by_namespace.entry(Arc::clone(namespace)).or_default().insert(&pods, id);
                let meeting = snapshot.pods_in(namespace).filter(|pod| !pod.host_network && pods.matches(&pod.labels));
                extended.pods.extend(meeting);
            }
            self.pods.insert(id, (scope, pods, accounts));
        }
        Some(extended)
    }

    fn extend_blocks<'a>(&mut self, others: &Self, snapshot: &'a Snapshot, extended: &mut Extended<'a>) -> Option<()> {
        let blocks: BTreeMap<_, _> = others.blocks.iter().filter(|(id, _)| !self.blocks.contains_key(id)).collect();
        let outside: BTreeMap<_, _> = others.outside.iter().filter(|(id, _)| !self.outside.contains_key(id)).collect();
        if blocks.is_empty() && outside.is_empty() {
            return Some(());
        }
        if !snapshot.cidr_excludes_pods {
            let mut nodes = snapshot.nodes.values().flat_map(|node| &node.addresses);
            if nodes.any(|address| blocks.values().any(|block| block.cidr.contains(*address))) {
                return None;
            }
            let held = |pod: &&Arc<Pod>| {
                let mut addresses = pod.addresses.iter();
                !pod.host_network && addresses.any(|address| blocks.values().any(|block| block.cidr.contains(*address)))
            };
            extended.pods.extend(snapshot.pods.values().filter(held));
        }
        self.blocks.extend(blocks.into_iter().map(|(id, block)| (*id, block.clone())));
        self.outside.extend(outside.into_iter().map(|(id, block)| (*id, *block)));
        let before = std::mem::take(&mut self.by_prefix);
        self.index_blocks(&self.strangers(snapshot));
        let other = self.by_prefix.iter().filter(|(prefix, met)| before.get(prefix) != Some(met));
        extended.prefixes.extend(other.map(|(prefix, met)| (*prefix, Arc::clone(&met.outside))));
        Some(())
    }
}
