//! The ends of the analyzer's lines.

use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{Object, WorkloadKind};
use lictor_model::{Direction, Name};
use lictor_network::rule_facts;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// One end of a line: a workload, or a range of outside addresses by one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Workload(Arc<Pod>),
    Outside(Ipv4Addr),
}

impl End {
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Workload(pod) => pod.addresses.first().copied(),
            Self::Outside(address) => Some(IpAddr::from(*address)),
        }
    }
}

/// The workloads of a cluster, each by one of its pods.
pub(super) struct Ends {
    pub(super) workloads: BTreeMap<String, Arc<Pod>>,
    labels: HashMap<Name, String>,
}

/// Kind and name.
type OwnerName = (Arc<str>, Arc<str>);

/// The owners that the manifests of pods name.
pub(super) fn owners(objects: &[Object]) -> HashMap<Name, OwnerName> {
    let owner = |object: &Object| match object {
        Object::Workload(workload) if workload.kind == WorkloadKind::Pod => workload
            .owner
            .as_ref()
            .map(|owner| (workload.meta.name.clone(), (Arc::clone(&owner.kind), Arc::clone(&owner.name)))),
        _ => None,
    };
    objects.iter().filter_map(owner).collect()
}

/// The analyzer knows no host network: to it every pod is one of the pods' own.
pub(super) fn of_the_pod_network(object: &Object) -> Object {
    match object {
        Object::Workload(workload) if workload.template.spec.host_network => {
            let mut workload = workload.as_ref().clone();
            workload.template.spec.host_network = false;
            workload.host_address = None;
            workload.addresses.clear();
            Object::Workload(Arc::new(workload))
        }
        other => other.clone(),
    }
}

impl Ends {
    pub(super) fn of(snapshot: &Snapshot, owners: &HashMap<Name, OwnerName>) -> Self {
        let (mut workloads, mut labels) = (BTreeMap::new(), HashMap::new());
        for pod in snapshot.pods.values().filter(|pod| &*pod.name.namespace != "lictor-ingress-controller") {
            let namespace = &pod.name.namespace;
            let label = match owners.get(&pod.name) {
                Some((kind, name)) => format!("{namespace}/{name}[{kind}]"),
                None => format!("{namespace}/{}[{}]", pod.workload.name.name, pod.workload.kind.as_str()),
            };
            labels.insert(pod.name.clone(), label.clone());
            workloads.entry(label).or_insert_with(|| Arc::clone(pod));
        }
        Self { workloads, labels }
    }

    pub(super) fn label_of(&self, pod: &Name) -> Option<&str> {
        self.labels.get(pod).map(String::as_str)
    }

    /// The workloads, and the outside cut at these addresses.
    pub(super) fn with_outside(&self, snapshot: &Snapshot, cuts: &BTreeSet<u64>) -> Vec<(String, End)> {
        let workloads = self.workloads.iter().map(|(name, pod)| (name.clone(), End::Workload(Arc::clone(pod))));
        let cuts: Vec<u64> = cuts.iter().copied().collect();
        let address = |bits: u64| Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX));
        let range = |pair: &[u64]| {
            let (first, last) = (address(*pair.first()?), address(pair.get(1)?.checked_sub(1)?));
            Some((format!("{first}-{last}[External]"), End::Outside(free(snapshot, first, last))))
        };
        workloads.chain(cuts.windows(2).filter_map(range)).collect()
    }
}

/// Where the outside is cut for one direction: wherever a block of some rule begins or ends.
pub(super) fn cuts(snapshot: &Snapshot, direction: Direction) -> BTreeSet<u64> {
    let mut cuts = BTreeSet::from([0_u64, 1 << 32]);
    let facts = rule_facts(snapshot);
    let peers =
        facts.iter().filter(|fact| fact.direction == direction).flat_map(|fact| fact.peers().unwrap_or_default());
    for block in peers.filter_map(|peer| peer.block()) {
        for cidr in std::iter::once(block.cidr).chain(block.except) {
            if let IpAddr::V4(network) = cidr.network() {
                let first = u64::from(network.to_bits());
                cuts.extend([first, first + (1 << (32 - u32::from(cidr.prefix())))]);
            }
        }
    }
    cuts
}

/// An address of a range that no pod has; the first, where they all have pods.
fn free(snapshot: &Snapshot, first: Ipv4Addr, last: Ipv4Addr) -> Ipv4Addr {
    let mut all = (first.to_bits()..=last.to_bits()).map(Ipv4Addr::from_bits);
    all.find(|address| snapshot.pod_at((*address).into()).is_none()).unwrap_or(first)
}

/// Whether an end is a workload of this name.
pub(super) fn is_named(end: &str, name: &str) -> bool {
    let workload = end.split('[').next().unwrap_or_default();
    workload == name || workload.split_once('/').is_some_and(|(_, own)| own == name)
}
