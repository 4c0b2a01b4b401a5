//! Classes of addresses, in two columns.
//!
//! Every address and block has a class in each column, and a gate says which column it reads. A new program
//! is written into the column that no gate reads; then the gates turn to it, each together with its rule set.
//! So at no moment is an address of the one program judged by the rules of the other.

use crate::error::Error;
use crate::tables::{Limits, Tables};
use crate::wire::{Address, Classes, NONE, PEER_ENROLLED, PEER_RESOLVER, Peer};
use lictor_model::{Cidr, Name};
use lictor_network::{ClassId, Program};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The addresses and blocks in the kernel, as they were last written.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// The column that gates read.
    current: usize,
    peers: HashMap<IpAddr, Peer>,
    blocks: BTreeMap<Cidr, Classes>,
}

/// What the next program makes of the addresses and blocks.
#[derive(Debug, Default)]
pub(crate) struct Change {
    peers: Vec<(IpAddr, Peer)>,
    blocks: Vec<(Cidr, Classes)>,
    gone_peers: Vec<IpAddr>,
    gone_blocks: Vec<Cidr>,
    /// Whether some address changes class or comes to be enrolled or not.
    pub(crate) matters: bool,
}

impl Change {
    /// Addresses and blocks to be written.
    pub(crate) fn writes(&self) -> usize {
        self.peers.len() + self.blocks.len()
    }
}

impl Columns {
    /// The column that the next program goes to.
    pub(crate) fn next(&self) -> usize {
        1 - self.current
    }

    /// Plans the change to a program. `at_link` says which of this node's endpoints has an address.
    pub(crate) fn plan(
        &self,
        old: Option<&Program>,
        program: &Program,
        at_link: impl Fn(&Name, IpAddr) -> Option<(u32, u8)>,
        limits: &Limits,
    ) -> Result<Change, Error> {
        let (mut change, next) = (Change::default(), self.next());
        let before = |address: IpAddr| old.map_or(ClassId::default(), |old| old.class(address)).0;
        for (address, known) in &program.addresses {
            let present = self.peers.get(address).copied();
            let (endpoint, index) = known.pod.as_ref().and_then(|pod| at_link(pod, *address)).unwrap_or((NONE, 0));
            let mut class = present.map_or_else(|| [before(*address); 2], |peer| peer.class);
            change.matters |= class[self.current] != known.class.0;
            class[next] = known.class.0;
            let flags = if known.enrolled { PEER_ENROLLED } else { 0 } | if known.resolver { PEER_RESOLVER } else { 0 };
            change.matters |= present.is_some_and(|peer| peer.flags != flags);
            let peer = Peer { class, endpoint, index, flags, pad: 0 };
            if present != Some(peer) {
                change.peers.push((*address, peer));
            }
        }
        for (address, present) in self.peers.iter().filter(|(address, _)| !program.addresses.contains_key(address)) {
            let mut peer = Peer { endpoint: NONE, index: 0, flags: 0, ..*present };
            peer.class[next] = program.class(*address).0;
            change.matters |= peer.class[0] != peer.class[1] || peer.flags != present.flags;
            change.peers.push((*address, peer));
            change.gone_peers.push(*address);
        }
        for (block, class) in &program.prefixes {
            let present = self.blocks.get(block).copied();
            let before = || old.map_or(ClassId::default(), |old| around(old, *block)).0;
            let mut classes = present.unwrap_or_else(|| Classes { class: [before(); 2] });
            change.matters |= classes.class[self.current] != class.0;
            classes.class[next] = class.0;
            if present != Some(classes) {
                change.blocks.push((*block, classes));
            }
        }
        for (block, present) in self.blocks.iter().filter(|(block, _)| !program.prefixes.contains_key(block)) {
            let mut classes = *present;
            classes.class[next] = around(program, *block).0;
            change.matters |= classes.class[0] != classes.class[1];
            change.blocks.push((*block, classes));
            change.gone_blocks.push(*block);
        }
        self.check(&change, program, limits)?;
        Ok(change)
    }

    /// Whether everything fits while old and new stand side by side.
    fn check(&self, change: &Change, program: &Program, limits: &Limits) -> Result<(), Error> {
        let addresses = program.addresses.len() + change.gone_peers.len();
        let blocks = |ipv4: bool| {
            let of_family = |block: &&Cidr| block.network().is_ipv4() == ipv4;
            program.prefixes.keys().filter(of_family).count() + change.gone_blocks.iter().filter(of_family).count()
        };
        let room = limits.prefixes;
        for (what, wanted, room) in [
            ("addresses", addresses, limits.addresses),
            ("IPv4 blocks", blocks(true), room),
            ("IPv6 blocks", blocks(false), room),
        ] {
            if wanted > room as usize {
                return Err(Error::NoRoom { what, wanted, room: room as usize });
            }
        }
        Ok(())
    }

    /// Writes what is new into the column that no gate reads.
    pub(crate) fn write(&mut self, change: &Change, tables: &mut Tables) -> Result<(), Error> {
        for (address, peer) in &change.peers {
            tables.peers.insert(Address::from(*address), peer)?;
            self.peers.insert(*address, *peer);
        }
        for (block, classes) in &change.blocks {
            match block.network() {
                IpAddr::V4(network) => tables.prefixes4.insert(block.prefix(), network.octets(), *classes)?,
                IpAddr::V6(network) => tables.prefixes6.insert(block.prefix(), network.octets(), *classes)?,
            }
            self.blocks.insert(*block, *classes);
        }
        Ok(())
    }

    /// The gates have turned.
    pub(crate) fn turn(&mut self) {
        self.current = self.next();
    }

    /// Removes what the program does not name.
    pub(crate) fn clean(&mut self, change: Change, tables: &mut Tables) -> Result<(), Error> {
        for address in change.gone_peers {
            tables.peers.remove(&Address::from(address))?;
            self.peers.remove(&address);
        }
        for block in change.gone_blocks {
            match block.network() {
                IpAddr::V4(network) => tables.prefixes4.remove(block.prefix(), network.octets())?,
                IpAddr::V6(network) => tables.prefixes6.remove(block.prefix(), network.octets())?,
            }
            self.blocks.remove(&block);
        }
        Ok(())
    }

    /// An endpoint has come to a link of this node, or left it.
    pub(crate) fn locate(
        &mut self,
        address: IpAddr,
        at_link: Option<(u32, u8)>,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        let Some(peer) = self.peers.get_mut(&address) else { return Ok(()) };
        let (endpoint, index) = at_link.unwrap_or((NONE, 0));
        let located = Peer { endpoint, index, ..*peer };
        tables.peers.insert(Address::from(address), located)?;
        *peer = located;
        Ok(())
    }

    /// Whether an address is an enrolled pod's.
    pub(crate) fn is_enrolled(&self, address: IpAddr) -> bool {
        self.peers.get(&address).is_some_and(|peer| peer.flags & PEER_ENROLLED != 0)
    }
}

/// The class of a block in a program that does not name it: that of the longest block around it.
fn around(program: &Program, block: Cidr) -> ClassId {
    let shorter = (0..block.prefix()).rev().filter_map(|prefix| Cidr::new(block.network(), prefix).ok());
    shorter.into_iter().find_map(|around| program.prefixes.get(&around).copied()).unwrap_or_default()
}
