//! The maps, by their names in `bpf/maps.h`.

use crate::error::Error;
use crate::wire::{Address, Backend, Classes, Endpoint, Flow, FlowKey, NodeKey, Peer, Rule, RuleKey, ServiceKey, Span};
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray};
use aya::{Ebpf, EbpfLoader};
use std::borrow::Borrow;

/// How much the maps hold. What does not fit is refused, never left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Endpoints: pods of the program.
    pub endpoints: u32,
    /// Single addresses.
    pub addresses: u32,
    /// Address blocks of each family.
    pub prefixes: u32,
    /// Rule sets.
    pub rule_sets: u32,
    /// Entries of all rule sets, old and new ones while a program is exchanged.
    pub rules: u32,
    /// Lower bounds of port classes of all rule sets.
    pub bounds: u32,
    /// Connections tracked, one entry at each end; the longest idle one gives way.
    pub flows: u32,
    /// Ports of services.
    pub services: u32,
    /// Backends of all ports of services.
    pub backends: u32,
    /// Bytes of events on their way; what does not fit is counted as lost. A power of two.
    pub event_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            endpoints: 1024,
            addresses: 65_536,
            prefixes: 16_384,
            rule_sets: 8192,
            rules: 262_144,
            bounds: 65_536,
            flows: 65_536,
            services: 16_384,
            backends: 65_536,
            event_bytes: 1 << 20,
        }
    }
}

impl Limits {
    /// Tells the loader.
    pub(crate) fn set(self, loader: &mut EbpfLoader<'_>) {
        let sizes = [
            ("LINKS", self.endpoints),
            ("NAMESPACES", self.endpoints),
            ("ENDPOINTS", self.endpoints),
            ("GATES", self.endpoints.saturating_mul(2)),
            ("PEERS", self.addresses),
            ("PREFIXES4", self.prefixes),
            ("PREFIXES6", self.prefixes),
            ("OWN_NODES", self.endpoints.saturating_mul(16)),
            ("SPANS", self.rule_sets),
            ("RULES", self.rules),
            ("BOUNDS", self.bounds),
            ("FLOWS", self.flows),
            ("SERVICES", self.services),
            ("BACKENDS", self.backends),
            ("EVENTS", self.event_bytes),
        ];
        for (map, size) in sizes {
            loader.map_max_entries(map, size);
        }
    }

    /// Nodes' addresses over all endpoints.
    pub(crate) fn own_nodes(self) -> usize {
        self.endpoints as usize * 16
    }
}

/// A hash table of the kernel.
pub(crate) struct Table<K: aya::Pod, V: aya::Pod> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
}

impl<K: aya::Pod, V: aya::Pod> Table<K, V> {
    pub(crate) fn insert(&mut self, key: impl Borrow<K>, value: impl Borrow<V>) -> Result<(), Error> {
        self.map.insert(key, value, 0).map_err(Error::map(self.name))
    }

    /// Removes an entry; that there is none is no error.
    pub(crate) fn remove(&mut self, key: &K) -> Result<(), Error> {
        absent(self.map.remove(key)).map(|_| ()).map_err(Error::map(self.name))
    }

    pub(crate) fn find(&self, key: &K) -> Result<Option<V>, Error> {
        absent(self.map.get(key, 0)).map_err(Error::map(self.name))
    }

    /// The keys that are there; one that comes or goes meanwhile may be among them or not.
    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
        self.map.keys().filter_map(Result::ok)
    }
}

/// An array of the kernel.
pub(crate) struct Cells<V: aya::Pod> {
    name: &'static str,
    map: Array<MapData, V>,
}

impl<V: aya::Pod> Cells<V> {
    pub(crate) fn set(&mut self, index: u32, value: impl Borrow<V>) -> Result<(), Error> {
        self.map.set(index, value, 0).map_err(Error::map(self.name))
    }

    pub(crate) fn at(&self, index: u32) -> Result<V, Error> {
        self.map.get(&index, 0).map_err(Error::map(self.name))
    }
}

/// A table of address blocks.
pub(crate) struct Blocks<A: aya::Pod> {
    name: &'static str,
    map: LpmTrie<MapData, A, Classes>,
}

impl<A: aya::Pod> Blocks<A> {
    pub(crate) fn insert(&mut self, prefix: u8, address: A, classes: Classes) -> Result<(), Error> {
        self.map.insert(&Key::new(prefix.into(), address), classes, 0).map_err(Error::map(self.name))
    }

    pub(crate) fn remove(&mut self, prefix: u8, address: A) -> Result<(), Error> {
        absent(self.map.remove(&Key::new(prefix.into(), address))).map(|_| ()).map_err(Error::map(self.name))
    }

    /// The longest block that holds an address.
    pub(crate) fn find(&self, bits: u8, address: A) -> Result<Option<Classes>, Error> {
        absent(self.map.get(&Key::new(bits.into(), address), 0)).map_err(Error::map(self.name))
    }
}

fn absent<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(None),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every map that we write or read.
pub(crate) struct Tables {
    pub(crate) links: Table<u32, u32>,
    pub(crate) namespaces: Table<u64, u32>,
    pub(crate) endpoints: Cells<Endpoint>,
    pub(crate) gates: Cells<u64>,
    pub(crate) peers: Table<Address, Peer>,
    pub(crate) prefixes4: Blocks<[u8; 4]>,
    pub(crate) prefixes6: Blocks<[u8; 16]>,
    pub(crate) own_nodes: Table<NodeKey, u32>,
    pub(crate) rules: Table<RuleKey, Rule>,
    pub(crate) spans: Table<u32, Span>,
    pub(crate) bounds: Cells<u32>,
    pub(crate) revision: Cells<u64>,
    pub(crate) flows: Table<FlowKey, Flow>,
    pub(crate) services: Table<ServiceKey, Span>,
    pub(crate) backends: Cells<Backend>,
    pub(crate) counts: PerCpuArray<MapData, u64>,
}

impl Tables {
    /// Takes the maps out of a loaded object.
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            links: table(object, "LINKS")?,
            namespaces: table(object, "NAMESPACES")?,
            endpoints: cells(object, "ENDPOINTS")?,
            gates: cells(object, "GATES")?,
            peers: table(object, "PEERS")?,
            prefixes4: blocks(object, "PREFIXES4")?,
            prefixes6: blocks(object, "PREFIXES6")?,
            own_nodes: table(object, "OWN_NODES")?,
            rules: table(object, "RULES")?,
            spans: table(object, "SPANS")?,
            bounds: cells(object, "BOUNDS")?,
            revision: cells(object, "REVISION")?,
            flows: table(object, "FLOWS")?,
            services: table(object, "SERVICES")?,
            backends: cells(object, "BACKENDS")?,
            counts: PerCpuArray::try_from(map(object, "COUNTS")?).map_err(Error::map("COUNTS"))?,
        })
    }
}

pub(crate) fn map(object: &mut Ebpf, name: &'static str) -> Result<Map, Error> {
    object.take_map(name).ok_or(Error::Missing(name))
}

fn table<K: aya::Pod, V: aya::Pod>(object: &mut Ebpf, name: &'static str) -> Result<Table<K, V>, Error> {
    Ok(Table { name, map: HashMap::try_from(map(object, name)?).map_err(Error::map(name))? })
}

fn cells<V: aya::Pod>(object: &mut Ebpf, name: &'static str) -> Result<Cells<V>, Error> {
    Ok(Cells { name, map: Array::try_from(map(object, name)?).map_err(Error::map(name))? })
}

fn blocks<A: aya::Pod>(object: &mut Ebpf, name: &'static str) -> Result<Blocks<A>, Error> {
    Ok(Blocks { name, map: LpmTrie::try_from(map(object, name)?).map_err(Error::map(name))? })
}
