//! The question that segmentation answers.

use crate::{Name, Protocol};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// One end of a flow: an address, and the pod that has it, if one does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// The address that the packet carries.
    pub address: IpAddr,
    /// The pod with that address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Name>,
}

impl Peer {
    /// A peer outside of the cluster, or a node.
    pub const fn address(address: IpAddr) -> Self {
        Self { address, pod: None }
    }

    /// A pod, at one of its addresses.
    pub const fn pod(pod: Name, address: IpAddr) -> Self {
        Self { address, pod: Some(pod) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pod {
            Some(pod) => pod.fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// A connection, or a datagram and its answers, named by its first packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// Who opens it.
    pub source: Peer,
    /// Whom it is for; a service is already resolved to one of its endpoints.
    pub destination: Peer,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination port; 0 for a protocol without ports.
    pub port: u16,
}

impl fmt::Display for Flow {
    /// `production/api -> production/db:5432/TCP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}:{}/{}", self.source, self.destination, self.port, self.protocol)
    }
}

/// The side of an endpoint that a flow crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the endpoint.
    Ingress,
    /// Out of the endpoint.
    Egress,
}

impl Direction {
    /// Both, ingress first.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word that policies use for their field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
