//! Pods that no selector can tell apart.

use crate::judge::isolating;
use crate::matching::rules;
use crate::tiers::speaking;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{NetworkPolicy, PeerTerm, TierPeer};
use lictor_model::{Direction, Layer, Mode, Name};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Pods of one namespace with the same values under every key that some selector reads: policies select all of
/// them or none, and so do peer terms and Stances.
pub(crate) struct Group<'a> {
    /// One of the pods; whatever is said of the group is said of it.
    pub(crate) pod: &'a Arc<Pod>,
    /// The policies that isolate ingress and egress, and how far each direction goes.
    pub(crate) sides: [Side<'a>; 2],
}

/// One direction of a group.
pub(crate) struct Side<'a> {
    pub(crate) policies: Vec<&'a NetworkPolicy>,
    /// The cluster-wide policies that speak of it, by their place in the snapshot.
    pub(crate) tiered: Vec<usize>,
    pub(crate) mode: Mode,
}

/// The endpoints of a snapshot, in groups.
pub(crate) struct Groups<'a> {
    pub(crate) groups: Vec<Group<'a>>,
    /// Every endpoint with its group, in the order of names.
    pub(crate) endpoints: Vec<(&'a Name, &'a Arc<Pod>, usize)>,
}

/// The place of a direction in a pair of things.
pub(crate) const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}

impl<'a> Groups<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        let keys = keys_read(snapshot);
        let mut numbered: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut groups = Vec::new();
        let mut endpoints = Vec::new();
        let mut key = Vec::new();
        for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| !pod.host_network) {
            project(pod, &keys, &mut key);
            let group = match numbered.get(&key) {
                Some(group) => *group,
                None => {
                    groups
                        .push(Group { pod, sides: Direction::BOTH.map(|direction| of_pod(snapshot, pod, direction)) });
                    numbered.insert(key.clone(), groups.len() - 1);
                    groups.len() - 1
                }
            };
            endpoints.push((name, pod, group));
        }
        Self { groups, endpoints }
    }

    /// Each policy that isolates some endpoint in a direction, once, by name.
    pub(crate) fn live(&self, direction: Direction) -> Vec<&'a NetworkPolicy> {
        let mut seen = HashSet::new();
        let policies = self.groups.iter().flat_map(|group| &group.sides[side(direction)].policies);
        let mut live: Vec<&NetworkPolicy> =
            policies.copied().filter(|policy| seen.insert(std::ptr::from_ref(*policy))).collect();
        live.sort_by_key(|policy| &policy.meta.name);
        live
    }

    /// Each cluster-wide policy that speaks of some endpoint in a direction, by its place in the snapshot.
    pub(crate) fn live_tiered(&self, direction: Direction) -> BTreeSet<usize> {
        self.groups.iter().flat_map(|group| &group.sides[side(direction)].tiered).copied().collect()
    }
}

fn of_pod<'a>(snapshot: &'a Snapshot, pod: &'a Pod, direction: Direction) -> Side<'a> {
    let layer = match direction {
        Direction::Ingress => Layer::Ingress,
        Direction::Egress => Layer::Egress,
    };
    Side {
        policies: isolating(snapshot, pod, direction),
        tiered: speaking(snapshot, pod, direction).map(|(place, _)| place).collect(),
        mode: snapshot.mode(pod, layer).0,
    }
}

/// The label keys that selectors of pods read.
fn keys_read(snapshot: &Snapshot) -> HashSet<&str> {
    let policies = &snapshot.policies;
    let network = policies.network.values().flat_map(|policy| {
        let peers = Direction::BOTH.into_iter().filter_map(|direction| rules(policy, direction)).flatten();
        let selectors = peers.flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
            PeerTerm::Pods { pods, .. } => pods.as_ref(),
            PeerTerm::Block(_) => None,
        });
        selectors.chain([&policy.pod_selector])
    });
    let tiered = policies.cluster_network.iter().flat_map(|policy| {
        let rules = policy.ingress.iter().chain(&policy.egress).flat_map(|rule| &rule.peers);
        let selectors = rules.filter_map(|peer| match peer {
            TierPeer::Pods(pods) => Some(&pods.pods),
            _ => None,
        });
        selectors.chain([&policy.subject.pods])
    });
    let stances = policies.stances.values().filter_map(|stance| stance.selector.as_ref());
    let requirements = network.chain(tiered).chain(stances).flat_map(|selector| selector.requirements());
    requirements.map(|requirement| &*requirement.key).collect()
}

/// Writes a pod's namespace and the labels that are read as one key, each part behind its length.
fn project(pod: &Pod, keys: &HashSet<&str>, into: &mut Vec<u8>) {
    into.clear();
    let mut part = |text: &str| {
        into.extend_from_slice(&text.len().to_le_bytes());
        into.extend_from_slice(text.as_bytes());
    };
    part(&pod.name.namespace);
    for (key, value) in pod.labels.iter().filter(|(key, _)| keys.contains(key)) {
        part(key);
        part(value);
    }
}
