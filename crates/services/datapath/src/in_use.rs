//! Whom pods are connected with.

use crate::datapath::Datapath;
use crate::error::Error;
use crate::sweep::{is_open, now};
use crate::wire::EGRESS;
use lictor_model::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl Datapath {
    /// The peers of the connections that these pods have opened and that are still open: an attempt counts for a minute,
    /// and so does a UDP exchange after its last packet.
    ///
    /// Takes a few microseconds for each connection of this node.
    pub fn peers_in_use(&self, pods: &BTreeSet<Name>) -> Result<BTreeSet<(Name, IpAddr)>, Error> {
        let numbered = pods.iter().filter_map(|pod| Some((self.slots.find(pod)?.number, pod)));
        let numbered: BTreeMap<u32, &Name> = numbered.collect();
        let mut peers = BTreeSet::new();
        if numbered.is_empty() {
            return Ok(peers);
        }
        let now = now();
        for key in self.tables.flows.keys() {
            let Some(pod) = numbered.get(&key.endpoint) else { continue };
            let Some(flow) = self.tables.flows.find(&key)? else { continue };
            if flow.direction == EGRESS && is_open(&flow, key.protocol, now) {
                peers.insert(((*pod).clone(), IpAddr::from(key.peer)));
            }
        }
        Ok(peers)
    }
}
