//! Numbers for the endpoints, and which of them are at a link of this node.

use crate::error::Error;
use crate::tables::Limits;
use crate::wire;
use aya::programs::tc::SchedClassifierLinkId;
use lictor_model::Name;
use std::collections::{BTreeMap, VecDeque};

/// The endpoints' numbers.
#[derive(Debug)]
pub(crate) struct Slots {
    by_name: BTreeMap<Name, Slot>,
    free: VecDeque<u32>,
    /// Numbers that connections may still refer to.
    left: BTreeMap<u32, wire::Endpoint>,
    size: u32,
}

/// An endpoint in the maps.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its number.
    pub(crate) number: u32,
    /// What was written of it; nothing as long as no program knows it.
    pub(crate) known: Option<wire::Endpoint>,
    /// Whether ingress and egress have left connections open that they have not judged since they say something else.
    pub(crate) kept: [bool; 2],
    /// Where it is, if it is here.
    pub(crate) link: Option<Link>,
}

/// A pod's link to this node.
#[derive(Debug)]
pub(crate) struct Link {
    /// Index of the node's end.
    pub(crate) index: u32,
    /// Cookie of the pod's network namespace.
    pub(crate) namespace: u64,
    /// The programs at the node's end.
    pub(crate) programs: [SchedClassifierLinkId; 2],
}

impl Slots {
    pub(crate) fn new(limits: &Limits) -> Self {
        let free = (0..limits.endpoints).collect();
        Self { by_name: BTreeMap::new(), free, left: BTreeMap::new(), size: limits.endpoints }
    }

    /// How many more endpoints there can be, now or once the last connections of those that left are gone.
    pub(crate) fn room(&self) -> usize {
        self.free.len()
    }

    /// How many there can be in all.
    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }

    /// The endpoint's slot, a new one if it has none.
    pub(crate) fn take(&mut self, name: &Name) -> Result<&mut Slot, Error> {
        if !self.by_name.contains_key(name) {
            let room = self.size();
            let number = self.free.pop_front().ok_or(Error::NoRoom { what: "endpoints", wanted: room + 1, room })?;
            self.by_name.insert(name.clone(), Slot { number, known: None, kept: [false; 2], link: None });
        }
        self.by_name.get_mut(name).ok_or(Error::Missing("ENDPOINTS"))
    }

    pub(crate) fn find(&self, name: &Name) -> Option<&Slot> {
        self.by_name.get(name)
    }

    pub(crate) fn find_mut(&mut self, name: &Name) -> Option<&mut Slot> {
        self.by_name.get_mut(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &Slot)> {
        self.by_name.iter()
    }

    /// Gives up a slot that is neither known nor at a link.
    pub(crate) fn leave(&mut self, name: &Name, last: wire::Endpoint) {
        if let Some(slot) = self.by_name.get(name)
            && slot.known.is_none()
            && slot.link.is_none()
        {
            self.left.insert(slot.number, last);
            self.by_name.remove(name);
        }
    }

    /// The endpoints that have left and whose connections are still to be closed.
    pub(crate) fn left(&self) -> &BTreeMap<u32, wire::Endpoint> {
        &self.left
    }

    /// The connections of those that left are closed: their numbers can be used again.
    pub(crate) fn reuse_left(&mut self) {
        self.free.extend(std::mem::take(&mut self.left).into_keys());
    }

    /// What was written of the endpoint with a number, whether it is still here or has left.
    pub(crate) fn record(&self, number: u32) -> Option<wire::Endpoint> {
        let here = self.by_name.values().find(|slot| slot.number == number).and_then(|slot| slot.known);
        here.or_else(|| self.left.get(&number).copied())
    }
}
