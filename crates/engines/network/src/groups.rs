//! Pods that no selector can tell apart.

use crate::cilium::Spec;
use crate::matching::rules;
use crate::program::Stand;
use crate::selector_index::SelectorIndex;
use crate::tiers::speaking;
use foldhash::{HashMap, HashSet};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{CiliumPeer, ClusterNetworkPolicy, EndpointSelector, NetworkPolicy, PeerTerm, TierPeer};
use lictor_model::{Direction, Name, Selector};
use std::sync::Arc;

/// Pods of one namespace with the same values under every key that some selector reads: policies select all of
/// them or none, and so do peer terms and Stances.
pub(crate) struct Group<'a> {
    /// One of the pods; whatever is said of the group is said of it.
    pub(crate) pod: &'a Arc<Pod>,
    /// Which of the [`Groups::selected`] it is of.
    pub(crate) selected: usize,
}

/// What the groups share that the same policies select.
pub(crate) struct Selected<'a> {
    /// What [`Selecting::key`] says of each pod in them.
    pub(crate) key: Vec<u8>,
    /// The policies that isolate ingress and egress, and how far each direction goes.
    pub(crate) sides: [Side<'a>; 2],
}

/// One direction.
pub(crate) struct Side<'a> {
    pub(crate) policies: Vec<&'a NetworkPolicy>,
    /// The cluster-wide policies that speak of it, in the order in which they are asked.
    pub(crate) tiered: Vec<&'a ClusterNetworkPolicy>,
    /// The specs of CiliumNetworkPolicies that speak of it.
    pub(crate) cilium: Vec<Spec<'a>>,
    pub(crate) stand: Stand,
}

/// The endpoints of a snapshot, in groups.
pub(crate) struct Groups<'a> {
    pub(crate) groups: Vec<Group<'a>>,
    /// What selects them. Groups that differ only under keys that peers read share one.
    pub(crate) selected: Vec<Selected<'a>>,
    /// Every endpoint with its group, in the order of names.
    pub(crate) endpoints: Vec<(&'a Name, &'a Arc<Pod>, usize)>,
    /// What says which policies and Stances select a pod.
    pub(crate) selecting: Selecting,
}

/// The label keys, and whether the service account, that say which policies and Stances select a pod.
#[derive(Debug, Clone)]
pub(crate) struct Selecting {
    keys: HashSet<Arc<str>>,
    accounts: bool,
}

impl Selecting {
    /// Pods with one key are selected by the same.
    pub(crate) fn key(&self, pod: &Pod) -> Vec<u8> {
        let mut key = Vec::new();
        project(pod, |label| self.keys.contains(label), self.accounts, &mut key);
        key
    }

    /// Takes in what a policy asks of pods.
    pub(crate) fn add(&mut self, selector: &Selector) {
        self.keys.extend(selector.requirements().iter().map(|requirement| Arc::clone(&requirement.key)));
    }

    /// Takes in what a spec of a CiliumNetworkPolicy asks of pods.
    pub(crate) fn add_endpoints(&mut self, selector: &EndpointSelector) {
        self.add(&selector.pods);
        self.accounts |= !selector.accounts.is_empty();
    }
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
        let Keys { all, selecting, accounts } = Keys::of(snapshot);
        let policies = Policies::of(snapshot);
        let mut numbered: HashMap<Vec<u8>, usize> = HashMap::default();
        let mut selected_by: HashMap<Vec<u8>, usize> = HashMap::default();
        let (mut groups, mut selected, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
        let mut key = Vec::new();
        for (name, pod) in snapshot.pods.iter().filter(|(_, pod)| !pod.host_network) {
            project(pod, |label| all.contains(label), accounts, &mut key);
            let group = match numbered.get(&key) {
                Some(group) => *group,
                None => {
                    numbered.insert(key.clone(), groups.len());
                    project(pod, |label| selecting.contains(label), accounts, &mut key);
                    let selected = *selected_by.entry(key.clone()).or_insert_with(|| {
                        selected.push(Selected::of(snapshot, pod, key.clone(), &policies));
                        selected.len() - 1
                    });
                    groups.push(Group { pod, selected });
                    groups.len() - 1
                }
            };
            endpoints.push((name, pod, group));
        }
        let selecting = Selecting { keys: selecting.into_iter().map(Arc::from).collect(), accounts };
        Self { groups, selected, endpoints, selecting }
    }

    /// Each policy that isolates some endpoint in a direction, once, by name.
    pub(crate) fn live(&self, direction: Direction) -> Vec<&'a NetworkPolicy> {
        let mut seen = HashSet::default();
        let policies = self.selected.iter().flat_map(|selected| &selected.sides[side(direction)].policies);
        let mut live: Vec<&NetworkPolicy> =
            policies.copied().filter(|policy| seen.insert(std::ptr::from_ref(*policy))).collect();
        live.sort_by_key(|policy| &policy.meta.name);
        live
    }

    /// Each spec of a CiliumNetworkPolicy that speaks of some endpoint in a direction, once.
    pub(crate) fn live_cilium(&self, direction: Direction) -> Vec<Spec<'a>> {
        let mut seen = HashSet::default();
        let specs = self.selected.iter().flat_map(|selected| &selected.sides[side(direction)].cilium).copied();
        let mut live: Vec<Spec<'_>> = specs.filter(|spec| seen.insert(std::ptr::from_ref(spec.spec))).collect();
        live.sort_by_key(|spec| (&spec.policy.meta.name, &spec.spec.path));
        live
    }

    /// Each cluster-wide policy that speaks of some endpoint in a direction, once, in the order of kinds and names.
    pub(crate) fn live_tiered(&self, direction: Direction) -> Vec<&'a ClusterNetworkPolicy> {
        let mut seen = HashSet::default();
        let policies = self.selected.iter().flat_map(|selected| &selected.sides[side(direction)].tiered).copied();
        let mut live: Vec<_> = policies.filter(|policy| seen.insert(std::ptr::from_ref(*policy))).collect();
        live.sort_by_key(|policy| (policy.kind, &policy.meta.name));
        live
    }
}

/// The policies of each namespace with their place among all, to be found by the labels of a pod.
#[derive(Default)]
struct Policies<'a> {
    network: HashMap<&'a str, SelectorIndex<(usize, &'a NetworkPolicy)>>,
    /// Those of the cluster under no name.
    cilium: HashMap<&'a str, SelectorIndex<(usize, Spec<'a>)>>,
}

impl<'a> Policies<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut found = Self::default();
        for (place, policy) in snapshot.policies.network.values().enumerate() {
            let index = found.network.entry(&policy.meta.name.namespace).or_default();
            index.insert(&policy.pod_selector, (place, &**policy));
        }
        for (place, spec) in snapshot.policies.cilium.values().flat_map(|policy| Spec::of(policy)).enumerate() {
            let index = found.cilium.entry(&spec.policy.meta.name.namespace).or_default();
            index.insert(&spec.spec.subject.pods, (place, spec));
        }
        found
    }
}

fn candidates<'a, T: Copy>(
    found: &'a HashMap<&str, SelectorIndex<(usize, T)>>,
    namespace: &str,
    pod: &'a Pod,
) -> Vec<(usize, T)> {
    found.get(namespace).into_iter().flat_map(|index| index.candidates(&pod.labels)).collect()
}

impl<'a> Selected<'a> {
    fn of(snapshot: &'a Snapshot, pod: &'a Pod, key: Vec<u8>, policies: &Policies<'a>) -> Self {
        let mut own = candidates(&policies.network, &pod.name.namespace, pod);
        own.retain(|(_, policy)| policy.pod_selector.matches(&pod.labels));
        own.sort_unstable_by_key(|(place, _)| *place);
        let mut cilium = candidates(&policies.cilium, "", pod);
        cilium.extend(candidates(&policies.cilium, &pod.name.namespace, pod));
        cilium.sort_unstable_by_key(|(place, _)| *place);
        let sides = Direction::BOTH.map(|direction| {
            let isolating = own.iter().map(|(_, policy)| *policy).filter(|policy| rules(policy, direction).is_some());
            Side {
                policies: isolating.collect(),
                cilium: cilium
                    .iter()
                    .map(|(_, spec)| *spec)
                    .filter(|spec| spec.speaks(snapshot, pod, direction))
                    .collect(),
                tiered: speaking(snapshot, pod, direction).collect(),
                stand: Stand::of(snapshot, pod, direction),
            }
        });
        Self { key, sides }
    }
}

/// The label keys of pods that selectors read.
struct Keys<'a> {
    /// All of them.
    all: HashSet<&'a str>,
    /// Those that say which policies and Stances select a pod.
    selecting: HashSet<&'a str>,
    /// Whether some selector reads the name of the service account.
    accounts: bool,
}

impl<'a> Keys<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let policies = &snapshot.policies;
        let specs = || policies.cilium.values().flat_map(|policy| Spec::of(policy));
        let keys = |selector: &'a Selector| selector.requirements().iter().map(|requirement| &*requirement.key);
        let subjects = (policies.network.values().map(|policy| &policy.pod_selector))
            .chain(policies.cluster_network.iter().map(|policy| &policy.subject.pods))
            .chain(policies.stances.values().filter_map(|stance| stance.selector.as_ref()))
            .chain(specs().map(|spec| &spec.spec.subject.pods));
        let selecting: HashSet<&str> = subjects.flat_map(keys).collect();
        let network = policies.network.values().flat_map(|policy| {
            let listed = Direction::BOTH.into_iter().filter_map(|direction| rules(policy, direction)).flatten();
            listed.flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
                PeerTerm::Pods { pods, .. } => pods.as_ref(),
                PeerTerm::Block(_) => None,
            })
        });
        let tiered = policies.cluster_network.iter().flat_map(|policy| {
            let listed = policy.ingress.iter().chain(&policy.egress).flat_map(|rule| &rule.peers);
            listed.filter_map(|peer| match peer {
                TierPeer::Pods(pods) => Some(&pods.pods),
                _ => None,
            })
        });
        let endpoints = || {
            let sides = specs().flat_map(|spec| Direction::BOTH.map(|direction| spec.side(direction)));
            let rules = sides.flat_map(|side| side.allow.iter().chain(&side.deny));
            rules.flat_map(|rule| rule.peers.iter().flatten()).filter_map(|peer| match peer {
                CiliumPeer::Pods(selector) => Some(selector),
                _ => None,
            })
        };
        let peers = network.chain(tiered).chain(endpoints().map(|selector| &selector.pods));
        let all = peers.flat_map(keys).chain(selecting.iter().copied()).collect();
        let asks = |selector: &EndpointSelector| !selector.accounts.is_empty();
        let accounts = endpoints().any(asks) || specs().any(|spec| asks(&spec.spec.subject));
        Self { all, selecting, accounts }
    }
}

/// Writes a pod's namespace, its service account if that is read, and the labels that are read as one key, each part behind its length.
fn project(pod: &Pod, is_read: impl Fn(&str) -> bool, accounts: bool, into: &mut Vec<u8>) {
    into.clear();
    let mut part = |text: &str| {
        into.extend_from_slice(&text.len().to_le_bytes());
        into.extend_from_slice(text.as_bytes());
    };
    part(&pod.name.namespace);
    if accounts {
        part(&pod.service_account);
    }
    for (key, value) in pod.labels.iter().filter(|(key, _)| is_read(key)) {
        part(key);
        part(value);
    }
}
