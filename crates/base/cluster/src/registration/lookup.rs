//! Which resources may select a pod, and which pods a resource may select, by label.

use lictor_manifest::ClusterSpiffeId;
use lictor_model::{Labels, Name, Operator, Selector};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// A label: key and value.
type Pair = (Arc<str>, Arc<str>);

/// For each requirement that names values: the pairs of which something has to carry one to be selected.
fn each_pairs(selector: &Selector) -> impl Iterator<Item = Vec<Pair>> {
    selector.requirements().iter().filter_map(|requirement| match &requirement.operator {
        Operator::In(values) => {
            Some(values.iter().map(|value| (Arc::clone(&requirement.key), Arc::clone(value))).collect())
        }
        _ => None,
    })
}

/// Those of the requirement with the fewest.
fn pairs(selector: &Selector) -> Option<Vec<Pair>> {
    each_pairs(selector).min_by_key(Vec::len)
}

/// Values by a key, without empty ones.
#[derive(Debug, Clone)]
struct Lists<K, V>(HashMap<K, BTreeSet<V>>);

impl<K, V> Default for Lists<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq, V: Ord> Lists<K, V> {
    fn add(&mut self, key: K, value: V) {
        self.0.entry(key).or_default().insert(value);
    }

    fn remove(&mut self, key: &K, value: &V) {
        if let Some(list) = self.0.get_mut(key) {
            list.remove(value);
            if list.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn get(&self, key: &K) -> impl Iterator<Item = &V> {
        self.0.get(key).into_iter().flatten()
    }

    fn count(&self, key: &K) -> usize {
        self.0.get(key).map_or(0, BTreeSet::len)
    }
}

/// ClusterSPIFFEIDs by what they select by.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdLookup {
    by_pod: Lists<Pair, Arc<str>>,
    by_namespace: Lists<Pair, Arc<str>>,
    /// Those that no label leads to.
    others: BTreeSet<Arc<str>>,
}

impl IdLookup {
    pub(crate) fn add(&mut self, resource: &ClusterSpiffeId) {
        let name = &resource.meta.name.name;
        match (pairs(&resource.pods), pairs(&resource.namespaces)) {
            (Some(pairs), _) => pairs.into_iter().for_each(|pair| self.by_pod.add(pair, Arc::clone(name))),
            (None, Some(pairs)) => pairs.into_iter().for_each(|pair| self.by_namespace.add(pair, Arc::clone(name))),
            (None, None) => {
                self.others.insert(Arc::clone(name));
            }
        }
    }

    pub(crate) fn remove(&mut self, resource: &ClusterSpiffeId) {
        let name = &resource.meta.name.name;
        match (pairs(&resource.pods), pairs(&resource.namespaces)) {
            (Some(pairs), _) => pairs.iter().for_each(|pair| self.by_pod.remove(pair, name)),
            (None, Some(pairs)) => pairs.iter().for_each(|pair| self.by_namespace.remove(pair, name)),
            (None, None) => {
                self.others.remove(name);
            }
        }
    }

    /// The resources that may select a pod; they have to be asked.
    pub(crate) fn candidates(&self, pod: &Labels, namespace: &Labels) -> BTreeSet<Arc<str>> {
        let pair = |(key, value): (&str, &str)| (Arc::from(key), Arc::from(value));
        let by_pod = pod.iter().map(pair).flat_map(|pair| self.by_pod.get(&pair).cloned().collect::<Vec<_>>());
        let by_namespace =
            namespace.iter().map(pair).flat_map(|pair| self.by_namespace.get(&pair).cloned().collect::<Vec<_>>());
        by_pod.chain(by_namespace).chain(self.others.iter().cloned()).collect()
    }
}

/// Pods by label and by node.
#[derive(Debug, Clone, Default)]
pub(crate) struct PodLookup {
    by_label: Lists<Pair, Name>,
    by_node: Lists<Arc<str>, Name>,
}

impl PodLookup {
    pub(crate) fn add(&mut self, pod: &Name, labels: &Labels, node: &Arc<str>) {
        for (key, value) in labels.iter() {
            self.by_label.add((Arc::from(key), Arc::from(value)), pod.clone());
        }
        self.by_node.add(Arc::clone(node), pod.clone());
    }

    pub(crate) fn remove(&mut self, pod: &Name, labels: &Labels, node: &Arc<str>) {
        for (key, value) in labels.iter() {
            self.by_label.remove(&(Arc::from(key), Arc::from(value)), pod);
        }
        self.by_node.remove(node, pod);
    }

    /// The pods that a selector may select, and how many; nothing when no label leads to them.
    pub(crate) fn selected(&self, selector: &Selector) -> Option<(usize, Vec<Pair>)> {
        let count = |pairs: &[Pair]| pairs.iter().map(|pair| self.by_label.count(pair)).sum();
        each_pairs(selector).map(|pairs| (count(&pairs), pairs)).min_by_key(|(count, _)| *count)
    }

    /// The pods with one of these labels.
    pub(crate) fn with(&self, pairs: &[Pair]) -> BTreeSet<Name> {
        pairs.iter().flat_map(|pair| self.by_label.get(pair)).cloned().collect()
    }

    /// The pods of a node.
    pub(crate) fn on(&self, node: &Arc<str>) -> BTreeSet<Name> {
        self.by_node.get(node).cloned().collect()
    }
}
