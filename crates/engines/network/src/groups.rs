//! Pods that no selector can tell apart.

use crate::cilium::Spec;
use crate::cores::Cores;
use crate::gates::{Speaking, speak};
use crate::matching::rules;
use crate::program::Stand;
use crate::selector_index::SelectorIndex;
use crate::tiers::speaking;
use foldhash::{HashMap, HashSet};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{
    CiliumNetworkPolicy, CiliumPeer, ClusterNetworkPolicy, EndpointSelector, NetworkPolicy, PeerTerm, TierPeer,
};
use lictor_model::{Direction, Name, Selector};
use std::collections::btree_map::Range;
use std::iter::Peekable;
use std::sync::Arc;

/// The endpoints of a snapshot in groups.
///
/// A group is the pods of one namespace with the same values under every key that some selector reads: policies select all of
/// them or none, and so do peer terms and Stances.
pub(crate) struct Groups<'a> {
    /// By namespace, in the order of names.
    pub(crate) pieces: Vec<Piece<'a>>,
    /// What selects them in one direction, each once.
    pub(crate) sides: Vec<(Direction, Side<'a>)>,
    /// Its place among [`Groups::sides`].
    pub(crate) places: HashMap<Speaking, u32>,
    /// What says which policies and Stances select a pod.
    pub(crate) selecting: Selecting,
}

/// The endpoints of some namespaces.
#[derive(Default)]
pub(crate) struct Piece<'a> {
    /// Every endpoint with its group, in the order of names.
    pub(crate) endpoints: Vec<(&'a Arc<Pod>, u32)>,
    pub(crate) groups: Vec<Group<'a>>,
    /// What selects them. Groups that differ only under keys that peers read share one.
    pub(crate) selected: Vec<Selected>,
}

pub(crate) struct Group<'a> {
    /// One of the pods; whatever is said of the group is said of it.
    pub(crate) pod: &'a Arc<Pod>,
    /// Which of [`Piece::selected`] it is of.
    pub(crate) selected: u32,
}

/// What the groups share that the same policies select.
pub(crate) struct Selected {
    /// What [`Selecting::key`] says of each pod in them.
    pub(crate) key: Arc<[u8]>,
    /// By direction: which of [`Groups::sides`] selects them, and how far that goes.
    pub(crate) sides: [(u32, Stand); 2],
}

/// One direction.
#[derive(Clone, Default)]
pub(crate) struct Side<'a> {
    pub(crate) policies: Vec<&'a NetworkPolicy>,
    /// The cluster-wide policies that speak of it, in the order in which they are asked.
    pub(crate) tiered: Vec<&'a ClusterNetworkPolicy>,
    /// The specs of CiliumNetworkPolicies that speak of it.
    pub(crate) cilium: Vec<Spec<'a>>,
}

/// The label keys, and whether the service account, that say which policies and Stances select a pod.
#[derive(Debug, Clone)]
pub(crate) struct Selecting {
    keys: HashSet<Arc<str>>,
    accounts: bool,
}

impl Selecting {
    /// Pods with one key are selected by the same.
    pub(crate) fn key(&self, pod: &Pod) -> Arc<[u8]> {
        let mut key = Vec::new();
        project(pod, |label| self.keys.contains(label), self.accounts, &mut key);
        key.into()
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
    pub(crate) fn of(snapshot: &'a Snapshot, cores: Cores) -> Self {
        let keys = Keys::of(snapshot);
        let endpoints: Vec<&Arc<Pod>> = snapshot.pods.values().filter(|pod| !pod.host_network).collect();
        let split = cores.split(&endpoints, |pod, next| pod.name.namespace == next.name.namespace);
        let made = cores.each(&split, |pods| Made::of(snapshot, &keys, pods));
        let mut sides = Sides::default();
        let mut join = |made: Made<'a>| {
            let Made { mut piece, sides: own } = made;
            let places: Vec<u32> = own.into_listed().map(|own| sides.take_in(own)).collect();
            for (place, _) in piece.selected.iter_mut().flat_map(|selected| &mut selected.sides) {
                *place = places[*place as usize];
            }
            piece
        };
        let pieces = made.into_iter().map(&mut join).collect();
        let selecting = keys.selecting.iter().map(|key| Arc::from(*key)).collect();
        let selecting = Selecting { keys: selecting, accounts: keys.accounts };
        Self { pieces, sides: sides.listed, places: sides.places, selecting }
    }

    fn sides(&self, direction: Direction) -> impl Iterator<Item = &Side<'a>> {
        self.sides.iter().filter(move |(own, _)| *own == direction).map(|(_, half)| half)
    }

    /// Each policy that isolates some endpoint in a direction, once, by name.
    pub(crate) fn live(&self, direction: Direction) -> Vec<&'a NetworkPolicy> {
        let mut seen = HashSet::default();
        let policies = self.sides(direction).flat_map(|half| &half.policies);
        let mut live: Vec<&NetworkPolicy> =
            policies.copied().filter(|policy| seen.insert(std::ptr::from_ref(*policy))).collect();
        live.sort_by_key(|policy| &policy.meta.name);
        live
    }

    /// Each spec of a CiliumNetworkPolicy that speaks of some endpoint in a direction, once.
    pub(crate) fn live_cilium(&self, direction: Direction) -> Vec<Spec<'a>> {
        let mut seen = HashSet::default();
        let specs = self.sides(direction).flat_map(|half| &half.cilium).copied();
        let mut live: Vec<Spec<'_>> = specs.filter(|spec| seen.insert(std::ptr::from_ref(spec.spec))).collect();
        live.sort_by_key(|spec| (&spec.policy.meta.name, &spec.spec.path));
        live
    }

    /// Each cluster-wide policy that speaks of some endpoint in a direction, once, in the order of kinds and names.
    pub(crate) fn live_tiered(&self, direction: Direction) -> Vec<&'a ClusterNetworkPolicy> {
        let mut seen = HashSet::default();
        let policies = self.sides(direction).flat_map(|half| &half.tiered).copied();
        let mut live: Vec<_> = policies.filter(|policy| seen.insert(std::ptr::from_ref(*policy))).collect();
        live.sort_by_key(|policy| (policy.kind, &policy.meta.name));
        live
    }
}

/// What selects pods in one direction, each once.
#[derive(Default)]
struct Sides<'a> {
    places: HashMap<Speaking, u32>,
    listed: Vec<(Direction, Side<'a>)>,
}

impl<'a> Sides<'a> {
    /// The place of one, which is taken in if it is not there yet.
    fn place(&mut self, speaking: &[usize], direction: Direction, half: &Side<'a>) -> u32 {
        if let Some(place) = self.places.get(speaking) {
            return *place;
        }
        let place = ordinal(self.listed.len());
        self.places.insert(speaking.into(), place);
        // Those that are kept take no more room than they need.
        self.listed.push((direction, half.clone()));
        place
    }

    /// The same for one of others.
    fn take_in(&mut self, (speaking, direction, half): (Speaking, Direction, Side<'a>)) -> u32 {
        *self.places.entry(speaking).or_insert_with(|| {
            self.listed.push((direction, half));
            ordinal(self.listed.len() - 1)
        })
    }

    /// All of them, in the order of their places.
    fn into_listed(self) -> impl Iterator<Item = (Speaking, Direction, Side<'a>)> {
        let mut places: Vec<(Speaking, u32)> = self.places.into_iter().collect();
        places.sort_unstable_by_key(|(_, place)| *place);
        places.into_iter().zip(self.listed).map(|((speaking, _), (direction, half))| (speaking, direction, half))
    }
}

/// A place in a list of which there are as many as pods at most.
fn ordinal(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// A piece, with what selects its groups by places of its own.
#[derive(Default)]
struct Made<'a> {
    piece: Piece<'a>,
    sides: Sides<'a>,
}

impl<'a> Made<'a> {
    /// Of these pods, which are in the order of names.
    fn of(snapshot: &'a Snapshot, keys: &Keys<'_>, pods: &[&'a Arc<Pod>]) -> Self {
        let mut made = Self::default();
        made.piece.endpoints.reserve_exact(pods.len());
        let Some(first) = pods.first() else { return made };
        let mut policies = Policies::from(snapshot, &first.name.namespace);
        let mut groups: HashMap<Arc<[u8]>, u32> = HashMap::default();
        let mut selected: HashMap<Arc<[u8]>, u32> = HashMap::default();
        let same_keys = keys.all.len() == keys.selecting.len();
        let mut key = Vec::new();
        for of_namespace in pods.chunk_by(|pod, next| pod.name.namespace == next.name.namespace) {
            policies.enter(&of_namespace[0].name.namespace);
            // Nothing of another namespace is of the same group.
            groups.clear();
            selected.clear();
            for pod in of_namespace {
                project(pod, |label| keys.all.contains(label), keys.accounts, &mut key);
                let group = groups.get(&*key).copied().unwrap_or_else(|| {
                    let group = ordinal(made.piece.groups.len());
                    let mut kept: Arc<[u8]> = key.as_slice().into();
                    groups.insert(Arc::clone(&kept), group);
                    if !same_keys {
                        project(pod, |label| keys.selecting.contains(label), keys.accounts, &mut key);
                        kept = key.as_slice().into();
                    }
                    let selected = *selected.entry(kept).or_insert_with_key(|key| {
                        let sides = policies.sides(snapshot, pod, &mut made.sides);
                        made.piece.selected.push(Selected { key: Arc::clone(key), sides });
                        ordinal(made.piece.selected.len() - 1)
                    });
                    made.piece.groups.push(Group { pod, selected });
                    group
                });
                made.piece.endpoints.push((pod, group));
            }
        }
        made
    }
}

/// The policies that can select the pods of one namespace after the other, to be found by the labels of a pod.
struct Policies<'a> {
    network: SelectorIndex<(usize, &'a NetworkPolicy)>,
    cilium: SelectorIndex<(usize, Spec<'a>)>,
    /// Those of the cluster.
    clusterwide: SelectorIndex<(usize, Spec<'a>)>,
    later_network: Later<'a, NetworkPolicy>,
    later_cilium: Later<'a, CiliumNetworkPolicy>,
    /// What selects the pod that was asked for last, so that few lists are made.
    own: Vec<(usize, &'a NetworkPolicy)>,
    half: Side<'a>,
    speaking: Vec<usize>,
}

/// The policies of namespaces that were not entered yet.
type Later<'a, T> = Peekable<Range<'a, Name, Arc<T>>>;

/// Those of one namespace; all before it are left out for good.
fn of_namespace<'b, 'a, T>(later: &'b mut Later<'a, T>, namespace: &'b str) -> impl Iterator<Item = &'a T> + 'b {
    while later.next_if(|(name, _)| *name.namespace < *namespace).is_some() {}
    std::iter::from_fn(move || Some(&**later.next_if(|(name, _)| *name.namespace == *namespace)?.1))
}

impl<'a> Policies<'a> {
    /// Those for this namespace and later ones, none of which is entered yet.
    fn from(snapshot: &'a Snapshot, first: &Arc<str>) -> Self {
        let mut cilium = snapshot.policies.cilium.range(Name::new("", "")..).peekable();
        let mut clusterwide = SelectorIndex::default();
        for (place, spec) in of_namespace(&mut cilium, "").flat_map(Spec::of).enumerate() {
            clusterwide.insert(&spec.spec.subject.pods, (place, spec));
        }
        let first = Name::new(Arc::clone(first), "");
        Self {
            network: SelectorIndex::default(),
            cilium: SelectorIndex::default(),
            clusterwide,
            later_network: snapshot.policies.network.range(first.clone()..).peekable(),
            later_cilium: snapshot.policies.cilium.range(first..).peekable(),
            own: Vec::new(),
            half: Side::default(),
            speaking: Vec::new(),
        }
    }

    /// Has it be about the pods of this namespace, which comes after those that it was about.
    fn enter(&mut self, namespace: &str) {
        self.network.clear();
        self.cilium.clear();
        for (place, policy) in of_namespace(&mut self.later_network, namespace).enumerate() {
            self.network.insert(&policy.pod_selector, (place, policy));
        }
        for (place, spec) in of_namespace(&mut self.later_cilium, namespace).flat_map(Spec::of).enumerate() {
            self.cilium.insert(&spec.spec.subject.pods, (place, spec));
        }
    }

    /// What speaks of a pod of the namespace by direction, by its place, and how far that goes.
    fn sides(&mut self, snapshot: &'a Snapshot, pod: &Pod, sides: &mut Sides<'a>) -> [(u32, Stand); 2] {
        self.own.clear();
        self.own.extend(self.network.candidates(&pod.labels));
        self.own.retain(|(_, policy)| policy.pod_selector.matches(&pod.labels));
        self.own.sort_unstable_by_key(|(place, _)| *place);
        let mut specs: Vec<_> = self.clusterwide.candidates(&pod.labels).collect();
        specs.sort_unstable_by_key(|(place, _)| *place);
        let of_cluster = specs.len();
        specs.extend(self.cilium.candidates(&pod.labels));
        specs[of_cluster..].sort_unstable_by_key(|(place, _)| *place);
        Direction::BOTH.map(|direction| {
            let Side { policies, tiered, cilium } = &mut self.half;
            policies.clear();
            policies.extend(self.own.iter().map(|(_, policy)| *policy).filter(|own| rules(own, direction).is_some()));
            tiered.clear();
            tiered.extend(speaking(snapshot, pod, direction));
            cilium.clear();
            cilium.extend(specs.iter().map(|(_, spec)| *spec).filter(|spec| spec.speaks(snapshot, pod, direction)));
            speak(direction, &self.half, &mut self.speaking);
            (sides.place(&self.speaking, direction, &self.half), Stand::of(snapshot, pod, direction))
        })
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
        into.extend_from_slice(&ordinal(text.len()).to_le_bytes());
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
