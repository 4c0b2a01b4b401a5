//! Services: from a virtual address to its backends, at the socket.

use crate::datapath::Datapath;
use crate::error::Error;
use crate::ranges::Ranges;
use crate::tables::Limits;
use crate::wire::{Backend, ServiceKey, Span};
use lictor_model::Protocol;
use std::collections::HashMap;
use std::net::SocketAddr;

/// One port of a virtual address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualService {
    /// The virtual address and the port.
    pub address: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// Where connections go, each to one of them at random; to none are they refused.
    pub backends: Vec<SocketAddr>,
}

/// The services in the kernel.
#[derive(Debug)]
pub(crate) struct Services {
    present: HashMap<ServiceKey, (Span, Vec<SocketAddr>)>,
    cells: Ranges,
}

impl Services {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { present: HashMap::new(), cells: Ranges::new(limits.backends) }
    }
}

impl Datapath {
    /// Makes these the services; only what differs is written. A connection keeps the backend that it has.
    ///
    /// # Errors
    /// If they do not fit, or the kernel refuses a write; services that were written before that stay.
    pub fn set_services(&mut self, services: &[VirtualService]) -> Result<(), Error> {
        self.services.cells.settle();
        let wanted: HashMap<ServiceKey, &Vec<SocketAddr>> =
            services.iter().map(|service| (key(service), &service.backends)).collect();
        let room = self.limits.services as usize;
        if wanted.len() > room {
            return Err(Error::NoRoom { what: "services", wanted: wanted.len(), room });
        }
        let gone: Vec<ServiceKey> =
            self.services.present.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.tables.services.remove(&key)?;
            if let Some((span, _)) = self.services.present.remove(&key) {
                self.services.cells.give(span);
            }
        }
        for (key, backends) in wanted {
            if self.services.present.get(&key).is_some_and(|(_, present)| present == backends) {
                continue;
            }
            let span = self.write_backends(backends)?;
            self.tables.services.insert(key, span)?;
            if let Some((old, _)) = self.services.present.insert(key, (span, backends.clone())) {
                self.services.cells.give(old);
            }
        }
        Ok(())
    }

    /// Writes backends where nobody reads yet.
    fn write_backends(&mut self, backends: &[SocketAddr]) -> Result<Span, Error> {
        let count = u32::try_from(backends.len()).unwrap_or(u32::MAX);
        let span = self.services.cells.take(count).ok_or_else(|| Error::NoRoom {
            what: "backends of services",
            wanted: self.services.cells.used() + backends.len(),
            room: self.limits.backends as usize,
        })?;
        for (at, backend) in (span.first..).zip(backends) {
            let cell = Backend { address: backend.ip().into(), port: backend.port(), pad: 0 };
            if let Err(error) = self.tables.backends.set(at, cell) {
                self.services.cells.give(span);
                return Err(error);
            }
        }
        Ok(span)
    }
}

fn key(service: &VirtualService) -> ServiceKey {
    let (address, protocol) = (service.address.ip().into(), service.protocol.number());
    ServiceKey { address, port: service.address.port(), protocol, pad: 0 }
}
