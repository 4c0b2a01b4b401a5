//! Terms that come to be live while others are, and addresses that come to meet them.

use super::{Scope, TermId, Terms};
use lictor_cluster::{Pod, Snapshot};
use lictor_model::Cidr;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What new terms change, and those whose addresses are others now.
#[derive(Default)]
pub(crate) struct Extended<'a> {
    /// The pods that may meet others than before.
    pub(crate) pods: Vec<&'a Arc<Pod>>,
    /// Whether nodes may.
    pub(crate) nodes: bool,
    /// Blocks and holes that are new or meet others than before, as [`Terms::prefixes`] has them; nothing for those that
    /// are gone.
    pub(crate) prefixes: Vec<(Cidr, Option<Arc<[TermId]>>)>,
}

impl Terms {
    /// Takes in the terms of others that this has not, and what Services are for now. Pods came, went or changed at the
    /// addresses that `moved` gives.
    pub(crate) fn extend<'a>(
        &mut self,
        others: Self,
        snapshot: &'a Snapshot,
        mut moved: impl Iterator<Item = IpAddr>,
    ) -> Extended<'a> {
        let mut extended = Extended::default();
        let mut prefixes_change = self.extend_blocks(&others, snapshot, &mut extended);
        for address in self.follow_hosts(&others, snapshot) {
            prefixes_change = true;
            extended.pods.extend(snapshot.pod_at(address));
            extended.nodes |= snapshot.node_at(address).is_some();
        }
        // A pod that goes leaves an address outside behind, and one that comes takes it away.
        if prefixes_change || moved.any(|address| !self.of_host(address).is_empty()) {
            self.reindex(snapshot, &mut extended);
        }
        for (id, selector) in others.nodes {
            extended.nodes |= self.nodes.insert(id, selector).is_none();
        }
        for (id, of) in others.pods {
            if self.pods.contains_key(&id) {
                continue;
            }
            let all = || snapshot.namespaces.iter();
            let namespaces: Vec<&Arc<str>> = match &of.scope {
                Scope::Any => all().map(|(name, _)| name).collect(),
                Scope::Own(own) => snapshot.namespaces.get_key_value(own).map(|(name, _)| name).into_iter().collect(),
                Scope::Selected(selector) => {
                    all().filter(|(_, state)| selector.matches(&state.labels)).map(|(name, _)| name).collect()
                }
            };
            for namespace in namespaces {
                self.by_namespace.entry(Arc::clone(namespace)).or_default().insert(&of.pods, id);
                let meets = |pod: &&Arc<Pod>| !pod.host_network && of.pods.matches(&pod.labels);
                extended.pods.extend(snapshot.pods_in(namespace).filter(meets));
            }
            if matches!(of.scope, Scope::Selected(_)) {
                self.by_labels.insert(id);
            }
            self.pods.insert(id, of);
        }
        extended
    }

    /// Takes in the blocks of others; whether there were any.
    fn extend_blocks<'a>(&mut self, others: &Self, snapshot: &'a Snapshot, extended: &mut Extended<'a>) -> bool {
        let blocks: BTreeMap<_, _> = others.blocks.iter().filter(|(id, _)| !self.blocks.contains_key(id)).collect();
        let outside: BTreeMap<_, _> = others.outside.iter().filter(|(id, _)| !self.outside.contains_key(id)).collect();
        if blocks.is_empty() && outside.is_empty() {
            return false;
        }
        if !snapshot.cidr_excludes_pods {
            let is_held = |address: &IpAddr| blocks.values().any(|block| block.cidr.contains(*address));
            extended.nodes |= snapshot.nodes.values().flat_map(|node| &node.addresses).any(is_held);
            let held = |pod: &&Arc<Pod>| !pod.host_network && pod.addresses.iter().any(is_held);
            extended.pods.extend(snapshot.pods.values().filter(held));
        }
        self.blocks.extend(blocks.into_iter().map(|(id, block)| (*id, block.clone())));
        self.outside.extend(outside.into_iter().map(|(id, block)| (*id, *block)));
        true
    }

    /// Makes the prefixes anew, and tells which of them differ.
    fn reindex(&mut self, snapshot: &Snapshot, extended: &mut Extended<'_>) {
        let before = std::mem::take(&mut self.by_prefix);
        self.index_blocks(&self.strangers(snapshot));
        let other = self.by_prefix.iter().filter(|(prefix, met)| before.get(prefix) != Some(met));
        extended.prefixes.extend(other.map(|(prefix, met)| (*prefix, Some(Arc::clone(&met.outside)))));
        let gone = before.into_keys().filter(|prefix| !self.by_prefix.contains_key(prefix));
        extended.prefixes.extend(gone.map(|prefix| (prefix, None)));
    }
}
