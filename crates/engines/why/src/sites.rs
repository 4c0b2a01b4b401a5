//! Pods that behave alike, and one address for each kind of outside.
//!
//! A cluster of a thousand pods has a few hundred workloads. What a policy can see of a pod is its labels, namespace,
//! addresses, identity, ports and enrolment; pods of one workload that agree in these are one *site*, and one of them
//! speaks for all.

use lictor_cluster::{Answers, NamedPort, Names, Pod, Snapshot, WorkloadRef};
use lictor_manifest::Condition;
use lictor_model::{Cidr, Labels, Name, SpiffeId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Pods that behave alike, or an address outside that stands for others.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The workload of the pods; nothing outside the cluster.
    pub workload: Option<WorkloadRef>,
    /// The pods; empty outside the cluster.
    pub pods: Vec<Arc<Pod>>,
    /// The first one's first address, or the address outside.
    pub address: IpAddr,
}

impl Site {
    /// What a person calls it.
    pub(crate) fn label(&self) -> Arc<str> {
        match &self.workload {
            Some(workload) => workload.name.to_string().into(),
            None => format!("outside, such as {}", self.address).into(),
        }
    }

    /// The pod that speaks for it.
    pub(crate) fn pod(&self) -> Option<&Arc<Pod>> {
        self.pods.first()
    }

    /// Whether a pod belongs to it.
    pub(crate) fn has(&self, pod: &Name) -> bool {
        self.pods.iter().any(|own| own.name == *pod)
    }
}

/// One pod of each workload, the first of these.
pub(crate) fn one_of_each<'a>(pods: impl IntoIterator<Item = &'a Arc<Pod>>) -> BTreeMap<&'a WorkloadRef, &'a Arc<Pod>> {
    let mut one_of_each = BTreeMap::new();
    for pod in pods {
        one_of_each.entry(&pod.workload).or_insert(pod);
    }
    one_of_each
}

/// What policies can see of a pod.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Looks<'a> {
    workload: &'a WorkloadRef,
    labels: &'a Labels,
    identity: &'a SpiffeId,
    enrolled: bool,
    host_network: bool,
    node: &'a str,
    ports: &'a [NamedPort],
    families: Vec<bool>,
    blocks: BTreeSet<usize>,
    learnt: Option<&'a Answers>,
}

/// The sites of the pods that a filter takes; addresses are told apart by the blocks that policies of any of these
/// snapshots name, and pods by the names that they have learnt, where these count.
pub(crate) fn sites<'a>(
    pods: impl IntoIterator<Item = &'a Arc<Pod>>,
    blocks: &BTreeSet<Cidr>,
    names: Option<&'a Names>,
) -> Vec<Site> {
    let mut sites: BTreeMap<Looks<'a>, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        let holds = |(at, block): (usize, &Cidr)| pod.addresses.iter().any(|own| block.contains(*own)).then_some(at);
        let looks = Looks {
            workload: &pod.workload,
            labels: &pod.labels,
            identity: &pod.identity,
            enrolled: pod.enrolled,
            host_network: pod.host_network,
            node: &pod.node,
            ports: &pod.ports,
            families: pod.addresses.iter().map(IpAddr::is_ipv4).collect(),
            blocks: blocks.iter().enumerate().filter_map(holds).collect(),
            learnt: names.and_then(|names| names.learnt_by(&pod.name)),
        };
        sites.entry(looks).or_default().push(Arc::clone(pod));
    }
    let site = |pods: Vec<Arc<Pod>>| {
        let first = pods.first()?;
        Some(Site { workload: Some(first.workload.clone()), address: *first.addresses.first()?, pods })
    };
    sites.into_values().filter_map(site).collect()
}

/// Every address block that a policy of the snapshot names.
pub(crate) fn blocks(snapshot: &Snapshot) -> BTreeSet<Cidr> {
    use lictor_manifest::{CiliumPeer, PeerTerm, TierPeer};
    let mut blocks = BTreeSet::new();
    let hosts = |pattern| snapshot.names.addresses(pattern).into_iter().map(Cidr::host).collect::<Vec<_>>();
    for policy in snapshot.policies.network.values() {
        let rules = policy.ingress.iter().chain(&policy.egress).flatten();
        for peer in rules.flat_map(|rule| &rule.peers) {
            if let PeerTerm::Block(block) = peer {
                blocks.insert(block.cidr);
                blocks.extend(&block.except);
            }
        }
    }
    let tiered = snapshot.policies.cluster_network.iter().flat_map(|policy| &policy.egress);
    blocks.extend(tiered.flat_map(|rule| &rule.peers).flat_map(|peer| match peer {
        TierPeer::Network(block) => vec![*block],
        TierPeer::Domain(pattern) => hosts(pattern),
        _ => Vec::new(),
    }));
    for spec in snapshot.policies.cilium.values().flat_map(|policy| &policy.specs) {
        let rules = [&spec.ingress, &spec.egress].into_iter().flat_map(|side| side.allow.iter().chain(&side.deny));
        for peer in rules.flat_map(|rule| rule.peers.iter().flatten()) {
            match peer {
                CiliumPeer::Block(block) => {
                    blocks.insert(block.cidr);
                    blocks.extend(&block.except);
                }
                CiliumPeer::Group(_, except) => blocks.extend(except),
                CiliumPeer::Domain(pattern) => blocks.extend(hosts(pattern)),
                _ => {}
            }
        }
    }
    blocks.extend(snapshot.policies.cidr_groups.values().flat_map(|group| &group.blocks));
    let conditions = |condition: &Condition| -> Vec<Cidr> {
        let values = condition.values.iter().chain(&condition.not_values);
        values.filter_map(|text| text.parse().ok().or_else(|| Some(Cidr::host(text.parse().ok()?)))).collect()
    };
    for rule in snapshot.policies.authorization.values().flat_map(|policy| &policy.rules) {
        for source in &rule.from {
            let lists =
                [&source.ip_blocks, &source.not_ip_blocks, &source.remote_ip_blocks, &source.not_remote_ip_blocks];
            blocks.extend(lists.into_iter().flatten());
        }
        blocks.extend(rule.when.iter().flat_map(conditions));
    }
    blocks
}

/// An address outside the cluster for each kind that these blocks tell apart: one in each block that is not a pod's
/// or node's, and one in none.
pub(crate) fn outside(snapshot: &Snapshot, blocks: &BTreeSet<Cidr>) -> Vec<Site> {
    // TEST-NET-3 and the documentation prefix: nobody's addresses (RFC 5737, RFC 3849).
    let nowhere: [IpAddr; 2] = [[203, 0, 113, 77].into(), [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x77].into()];
    let free = |address: &IpAddr| snapshot.pod_at(*address).is_none() && snapshot.node_at(*address).is_none();
    let families: BTreeSet<bool> = snapshot.pods.values().flat_map(|pod| &pod.addresses).map(IpAddr::is_ipv4).collect();
    let in_block = |block: &Cidr| {
        // The deepest block that holds an address decides about it: take one that no deeper block holds.
        let deeper =
            |address: &IpAddr| blocks.iter().any(|other| other.prefix() > block.prefix() && other.contains(*address));
        candidates(block).into_iter().find(|address| free(address) && !deeper(address))
    };
    let none = nowhere
        .into_iter()
        .filter(|address| !blocks.iter().any(|block| block.prefix() > 0 && block.contains(*address)));
    let addresses: BTreeSet<IpAddr> = blocks.iter().filter_map(in_block).chain(none).collect();
    addresses
        .into_iter()
        .filter(|address| families.contains(&address.is_ipv4()))
        .map(|address| Site { workload: None, pods: Vec::new(), address })
        .collect()
}

/// A few addresses of a block: its ends, and some between.
fn candidates(block: &Cidr) -> Vec<IpAddr> {
    let (first, last) = (block.network(), block.last());
    let between = |at: u32| match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (u32::from(first), u32::from(last));
            IpAddr::from((first + ((u64::from(last - first) * u64::from(at)) >> 4) as u32).to_be_bytes())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (first, last) = (u128::from(first), u128::from(last));
            IpAddr::from((first + ((last - first) >> 4) * u128::from(at)).to_be_bytes())
        }
        (first, _) => first,
    };
    (0..16).map(between).chain([last]).collect()
}
