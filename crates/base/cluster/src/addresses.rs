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
    /// Whether the last search found nothing; it need not be repeated until an address comes back.
    full: bool,
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

/// The first address of a block that is handed out.
const FIRST: u128 = 2;
/// A block is searched no further than this many addresses.
const MAX_HOSTS: u128 = 1 << 20;

impl Addresses {
    /// An unused block.
    pub fn new(block: Cidr) -> Self {
        Self { block, taken: BTreeMap::new(), used: HashSet::new(), next: FIRST, full: false }
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
            self.full = false;
        }
        true
    }

    /// The owner's address, the same one as before if it has one.
    pub fn assign(&mut self, owner: &Name) -> Result<IpAddr, Exhausted> {
        if let Some(address) = self.taken.get(owner) {
            return Ok(*address);
        }
        let mut ends = 0;
        for _ in 0..MAX_HOSTS {
            if self.full || ends > 1 {
                break;
            }
            match self.at(self.next).filter(|address| *address != self.block.last()) {
                Some(address) => {
                    self.next += 1;
                    if self.used.insert(address) {
                        self.taken.insert(owner.clone(), address);
                        return Ok(address);
                    }
                }
                None => {
                    self.next = FIRST;
                    ends += 1;
                }
            }
        }
        self.full = true;
        Err(Exhausted(self.block))
    }

    /// Takes back the addresses of owners that are gone, or want others; they are handed out again once the block has been
    /// gone through, not at once, so that a late packet does not meet a new owner.
    pub fn retain(&mut self, mut lives: impl FnMut(&Name, IpAddr) -> bool) {
        let Self { taken, used, full, .. } = self;
        taken.retain(|owner, address| {
            let keep = lives(owner, *address);
            if !keep {
                used.remove(address);
                *full = false;
            }
            keep
        });
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

#[cfg(test)]
mod tests {
    use super::{Addresses, Exhausted};
    use lictor_model::Name;
    use std::net::IpAddr;

    fn addresses(block: &str) -> Addresses {
        Addresses::new(block.parse().expect("a block"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn name(text: &str) -> Name {
        Name::parse(text, "default")
    }

    #[test]
    fn the_networks_name_the_nodes_address_and_the_last_one_are_not_handed_out() {
        let mut block = addresses("10.0.0.0/29");
        assert_eq!(block.gateway(), address("10.0.0.1"));
        let given: Vec<_> = (0..6).map(|at| block.assign(&name(&at.to_string())).ok()).collect();
        let wanted = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"].map(|text| Some(address(text)));
        assert_eq!(given[..5], wanted);
        assert_eq!(given[5], None);
    }

    #[test]
    fn an_owner_keeps_its_address_and_a_freed_one_waits_its_turn() {
        let mut block = addresses("fd00::/125");
        let first = block.assign(&name("a"));
        assert_eq!((block.assign(&name("b")).ok(), block.assign(&name("a"))), (Some(address("fd00::3")), first));
        block.retain(|owner, _| *owner != name("a"));
        assert_eq!(block.assign(&name("c")).ok(), Some(address("fd00::4")));
        let (_, _) = (block.assign(&name("d")), block.assign(&name("e")));
        let (_, none) = (block.assign(&name("f")), block.assign(&name("g")));
        assert_eq!(none, Err(Exhausted(block.block())));
        block.retain(|owner, _| *owner != name("d"));
        assert_eq!(block.assign(&name("g")).ok(), Some(address("fd00::5")));
    }

    #[test]
    fn a_claim_takes_a_free_address_and_gives_the_old_one_back() {
        let mut block = addresses("10.0.0.0/24");
        assert!(block.claim(&name("a"), address("10.0.0.2")) && block.claim(&name("a"), address("10.0.0.2")));
        assert!(!block.claim(&name("b"), address("10.0.0.2")));
        assert!(block.claim(&name("a"), address("10.0.0.9")) && block.claim(&name("b"), address("10.0.0.2")));
        assert_eq!(block.assign(&name("c")).ok(), Some(address("10.0.0.3")));
    }
}
