//! The address blocks that policies name, and one address for each kind of outside.

use crate::sites::Site;
use crate::spans::Spans;
use lictor_cluster::Snapshot;
use lictor_manifest::{CiliumPeer, Condition, PeerTerm, TierPeer};
use lictor_model::Cidr;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Every address block that a policy of the snapshot names.
pub(crate) fn blocks(snapshot: &Snapshot) -> BTreeSet<Cidr> {
    let mut blocks = BTreeSet::new();
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
    let hosts = |pattern| snapshot.names.addresses(pattern).into_iter().map(Cidr::host).collect::<Vec<_>>();
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
/// or node's, and one in none; of the families that these sites have.
pub(crate) fn outside(snapshot: &Snapshot, sites: &[Site], blocks: &BTreeSet<Cidr>, spans: &Spans) -> Vec<Site> {
    // TEST-NET-3 and the documentation prefix: nobody's addresses (RFC 5737, RFC 3849).
    let nowhere: [IpAddr; 2] = [[203, 0, 113, 77].into(), [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x77].into()];
    let free = |address: &IpAddr| snapshot.pod_at(*address).is_none() && snapshot.node_at(*address).is_none();
    let families: BTreeSet<bool> =
        sites.iter().filter_map(Site::pod).flat_map(|pod| &pod.addresses).map(IpAddr::is_ipv4).collect();
    let in_block = |(number, block): (usize, &Cidr)| {
        // The deepest block that holds an address decides about it.
        candidates(block).into_iter().find(|address| free(address) && spans.deepest(*address) == Some(number))
    };
    let none = nowhere
        .into_iter()
        .filter(|address| !blocks.iter().any(|block| block.prefix() > 0 && block.contains(*address)));
    let addresses: BTreeSet<IpAddr> = blocks.iter().enumerate().filter_map(in_block).chain(none).collect();
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
