//! Services with their backends resolved.

use lictor_manifest::{Service, ServicePort};
use lictor_model::Name;
use std::net::IpAddr;
use std::sync::Arc;

/// A Service and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterService {
    /// The object.
    pub service: Arc<Service>,
    /// Its virtual addresses, IPv4 first; none for a headless or external one.
    pub addresses: Vec<IpAddr>,
    /// Its backends, one entry for each of its ports, in their order.
    pub ports: Vec<ServiceBackends>,
}

/// One port of a Service and the backends behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceBackends {
    /// The port.
    pub port: ServicePort,
    /// The backends, sorted by address.
    pub backends: Vec<Backend>,
}

/// One backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The pod with that address.
    pub pod: Option<Name>,
    /// Its host name in headless records; empty when it has none.
    pub hostname: Arc<str>,
}
