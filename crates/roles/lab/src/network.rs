//! The lab's network: the namespace that plays the node, its bridge, and the pods that are joined to it.

use anyhow::{Context, Result};
use lictor_cluster::{AddressPool, Pod};
use lictor_datapath::capture::{PROBE_V4, PROBE_V6};
use lictor_datapath::link::{self, Bridge, PodLink};
use lictor_datapath::netns::Netns;
use lictor_model::Cidr;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

const BRIDGE: &str = "lictor0";
const MTU: u32 = 1500;

/// The node's namespace and its bridge.
#[derive(Debug)]
pub(crate) struct Network {
    /// The node's namespace; it lives as long as this handle.
    pub(crate) node: Netns,
    bridge: u32,
    blocks: Vec<Cidr>,
    gateways: Vec<IpAddr>,
    next_link: AtomicU32,
}

/// A pod's place in the network.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The pod's namespace; it lives as long as this handle or a process in it.
    pub(crate) netns: Netns,
    /// The index of the node's end of its link, in the node's namespace.
    pub(crate) link: u32,
    /// The name of the node's end.
    pub(crate) link_name: String,
}

impl Network {
    /// Makes the node's namespace and bridge. The node has the second address of each pod block, and the
    /// addresses that probes come from.
    pub(crate) fn new(pool: &AddressPool) -> Result<Self> {
        let node = Netns::anonymous().context("cannot make a network namespace (this needs root)")?;
        let blocks: Vec<Cidr> = pool.pods.iter().map(lictor_cluster::Addresses::block).collect();
        let gateways: Vec<IpAddr> = pool.pods.iter().map(lictor_cluster::Addresses::gateway).collect();
        let mut addresses: Vec<(IpAddr, u8)> =
            gateways.iter().zip(&blocks).map(|(ip, block)| (*ip, block.prefix())).collect();
        addresses.push((PROBE_V4.into(), 32));
        addresses.push((PROBE_V6.into(), 128));
        let bridge = link::bridge(&node, &Bridge { name: BRIDGE, addresses: &addresses, mtu: MTU })?;
        Ok(Self { node, bridge, blocks, gateways, next_link: AtomicU32::new(1) })
    }

    /// Gives a pod a namespace of its own and joins it to the bridge.
    pub(crate) fn join(&self, pod: &Pod) -> Result<Joined> {
        let netns = Netns::anonymous()?;
        let prefix = |address: &IpAddr| {
            let block = self.blocks.iter().find(|block| block.contains(*address));
            // An address outside the blocks is reached by the gateway, or not at all.
            (*address, block.map_or(if address.is_ipv4() { 32 } else { 128 }, Cidr::prefix))
        };
        let addresses: Vec<(IpAddr, u8)> = pod.addresses.iter().map(prefix).collect();
        let number = self.next_link.fetch_add(1, Ordering::Relaxed);
        let wanted = PodLink { number, addresses: &addresses, gateways: &self.gateways, mtu: MTU };
        let link = link::pod(&self.node, self.bridge, &netns, &wanted)
            .with_context(|| format!("cannot join {} to the network", pod.name))?;
        Ok(Joined { netns, link, link_name: wanted.host_name() })
    }

    /// Waits until these pods' links carry traffic.
    pub(crate) fn wait_until_up(&self, joined: &[&Joined]) -> Result<()> {
        let names: Vec<String> = joined.iter().map(|pod| pod.link_name.clone()).collect();
        Ok(link::wait_until_up(&self.node, &names)?)
    }

    /// Takes a pod out again.
    pub(crate) fn leave(&self, joined: &Joined, addresses: &[IpAddr]) -> Result<()> {
        link::remove(&self.node, joined.link)?;
        Ok(link::forget(&self.node, self.bridge, addresses)?)
    }
}
