//! The fewest labels that select a workload's pods and no others.

use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot};
use std::sync::Arc;

/// Labels that controllers add to each pod, which a policy must not name.
const PER_POD: [&str; 7] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
];
/// Labels that name what a pod is, the commonest first.
const NAMING: [&str; 5] = ["app", "app.kubernetes.io/name", "k8s-app", "name", "app.kubernetes.io/component"];

/// `matchLabels` of the pod's workload: the smallest set that selects nothing else in its namespace, or all of its
/// lasting labels where none does.
pub(crate) fn of(snapshot: &Snapshot, pod: &Arc<Pod>) -> Vec<(String, String)> {
    let mut labels: Vec<(&str, &str)> = pod.labels.iter().filter(|(key, _)| !PER_POD.contains(key)).collect();
    let rank = |key: &str| NAMING.iter().position(|naming| *naming == key).unwrap_or(NAMING.len());
    labels.sort_by_key(|(key, _)| (rank(key), *key));
    let others: Vec<&Arc<Pod>> =
        snapshot.pods_in(&pod.name.namespace).filter(|other| other.workload != pod.workload).collect();
    let unique = |set: &[(&str, &str)]| {
        !others.iter().any(|other| set.iter().all(|(key, value)| other.labels.get(key) == Some(value)))
    };
    let pairs =
        || labels.iter().enumerate().flat_map(|(at, one)| labels.iter().skip(at + 1).map(move |two| vec![*one, *two]));
    let chosen = labels.iter().map(|label| vec![*label]).chain(pairs()).find(|set| unique(set)).unwrap_or(labels);
    chosen.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A label selector of these pairs; an empty one selects everything.
pub(crate) fn selector(labels: &[(String, String)]) -> Tree {
    if labels.is_empty() {
        return Tree::map([]);
    }
    let pairs = labels.iter().map(|(key, value)| (key.as_str(), Tree::text(value)));
    Tree::map([("matchLabels", Tree::map(pairs))])
}
