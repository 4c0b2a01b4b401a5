//! What a stand-in is told: its name and its ports.

use lictor_model::Protocol;
use serde::{Deserialize, Serialize};

/// One stand-in server's configuration; JSON on its way to the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandIn {
    /// The pod, as `namespace/name`; what it answers with.
    pub pod: String,
    /// The ports to listen on.
    pub ports: Vec<Port>,
}

/// A port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// What is spoken on it.
    pub kind: Kind,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Every byte comes back.
    Tcp,
    /// Every datagram comes back.
    Udp,
    /// HTTP/1.1 and HTTP/2 without TLS.
    Http,
    /// HTTP when the first bytes are a request, else bytes come back.
    Detect,
}

/// What is spoken on a port, by what its manifest calls it.
///
/// `appProtocol` beats the name, of which the part before the first `-` counts, as in Istio's explicit
/// protocol selection (istio.io, "Protocol Selection"); the `kubernetes.io/` values are those of KEP-3726.
/// Encrypted protocols are bytes to a server without certificates. A TCP port of which nothing is said, or
/// nothing known, is [`Kind::Detect`].
pub fn kind(port_name: &str, app_protocol: Option<&str>, protocol: Protocol) -> Kind {
    if protocol == Protocol::Udp {
        return Kind::Udp;
    }
    if protocol != Protocol::Tcp {
        return Kind::Tcp;
    }
    let said = app_protocol.unwrap_or_else(|| port_name.split('-').next().unwrap_or(port_name));
    match said.to_ascii_lowercase().as_str() {
        "http" | "http2" | "h2c" | "grpc" | "grpc-web" | "kubernetes.io/h2c" | "kubernetes.io/ws" => Kind::Http,
        "tcp" | "tls" | "https" | "mongo" | "mysql" | "redis" | "kubernetes.io/wss" => Kind::Tcp,
        _ => Kind::Detect,
    }
}
