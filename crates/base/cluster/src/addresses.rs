//! Who gets which address.

use lictor_model::{Cidr, Name};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

/// Addresses of one block, handed out in order and kept by their owner while it lives.
///
/// The first address of the block is never handed out for IPv4 (it names the network), nor the second
/// (the node's own), nor the last.
#[derive(Debug, Clone)]
pub struct Addresses {
    block: Cidr,
    taken: BTreeMap<Name, IpAddr>,
    used: HashSet<IpAddr>,
    next: u128,
}

/// The address pools of a cluster: pods and services, one block a family.
#[derive(Debug, Clone)]
pub struct AddressPool {
    /// Pod blocks, IPv4 first.
    pub pods: Vec<Addresses>,
    /// Service blocks, IPv4 first.
    pub services: Vec<Addresses>,
}

/// No address is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no address is left in {0}")]
pub struct Exhausted(pub Cidr);

/// A block is searched no further than this many addresses.
const MAX_HOSTS: u128 = 1 << 20;

impl Addresses {
    /// An unused block.
    pub fn new(block: Cidr) -> Self {
        Self { block, taken: BTreeMap::new(), used: HashSet::new(), next: 2 }
    }

    /// The block.
    pub fn block(&self) -> Cidr {
        self.block
    }

    /// The address that the node itself has in the block: its second one.
    pub fn gateway(&self) -> IpAddr {
        self.at(1).unwrap_or_else(|| self.block.network())
    }

    /// Sets an address aside for an owner that asks for it, if it is free; the one that it had is given back.
    pub fn claim(&mut self, owner: &Name, address: IpAddr) -> bool {
        if self.taken.get(owner) == Some(&address) {
            return true;
        }
        if !self.used.insert(address) {
            return false;
        }
        if let Some(before) = self.taken.insert(owner.clone(), address) {
            self.used.remove(&before);
        }
        true
    }

    /// The owner's address, the same one as before if it has one.
    pub fn assign(&mut self, owner: &Name) -> Result<IpAddr, Exhausted> {
        if let Some(address) = self.taken.get(owner) {
            return Ok(*address);
        }
        for _ in 0..MAX_HOSTS {
            let Some(address) = self.at(self.next) else { break };
            self.next += 1;
            if address != self.block.last() && self.used.insert(address) {
                self.taken.insert(owner.clone(), address);
                return Ok(address);
            }
        }
        Err(Exhausted(self.block))
    }

    /// Takes back the addresses of owners that are gone; they are handed out again once the block has been
    /// gone through, not at once, so that a late packet does not meet a new owner.
    pub fn retain(&mut self, mut lives: impl FnMut(&Name) -> bool) {
        let used = &mut self.used;
        let mut freed = false;
        self.taken.retain(|owner, address| {
            let keep = lives(owner);
            if !keep {
                used.remove(address);
                freed = true;
            }
            keep
        });
        if freed && self.at(self.next).is_none_or(|address| address == self.block.last()) {
            self.next = 2;
        }
    }

    fn at(&self, offset: u128) -> Option<IpAddr> {
        let address = match self.block.network() {
            IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(u32::try_from(offset).ok()?)?.into()),
            IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(offset)?.into()),
        };
        self.block.contains(address).then_some(address)
    }
}

impl AddressPool {
    /// Pools over these blocks.
    pub fn new(pods: &[Cidr], services: &[Cidr]) -> Self {
        let pools = |blocks: &[Cidr]| {
            let mut blocks = blocks.to_vec();
            blocks.sort_by_key(|block| !block.network().is_ipv4());
            blocks.into_iter().map(Addresses::new).collect()
        };
        Self { pods: pools(pods), services: pools(services) }
    }

    /// Whether an address lies in a block that pods get theirs from.
    pub fn is_pod_address(&self, address: IpAddr) -> bool {
        self.pods.iter().any(|pool| pool.block.contains(address))
    }
}

impl Default for AddressPool {
    /// What most clusters use: pods in 10.244.0.0/16, services in 10.96.0.0/16.
    fn default() -> Self {
        let block = |net: [u8; 4]| Cidr::new(IpAddr::from(net), 16).into_iter().collect::<Vec<_>>();
        Self::new(&block([10, 244, 0, 0]), &block([10, 96, 0, 0]))
    }
}
