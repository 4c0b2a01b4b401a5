//! Endpoints and EndpointSlices: the backends of a Service without a selector.

use crate::Meta;
use lictor_model::Protocol;
use std::net::IpAddr;
use std::sync::Arc;

/// The addresses and ports behind a Service, from an Endpoints subset or an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Namespace, name and origin of the object itself.
    pub meta: Meta,
    /// The Service that it belongs to: the same name for Endpoints, the `kubernetes.io/service-name` label for a slice.
    pub service: Arc<str>,
    /// The ready addresses with their host names (empty when they have none) and ports; one entry a subset.
    pub subsets: Vec<Subset>,
}

/// Ready addresses, each with its host name (empty when it has none), and the ports behind all of them.
pub type Subset = (Vec<(IpAddr, Arc<str>)>, Vec<BackendPort>);

/// A backend's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendPort {
    /// The name of the Service port that it serves; empty when that has none.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub port: u16,
}
