//! The limits of the data path.

use std::time::Duration;

/// The ports of a pod's listeners, as Istio's ambient mode has them.
pub mod ports {
    /// Connections out of the pod.
    pub const OUTBOUND: u16 = 15001;
    /// Plaintext connections into the pod.
    pub const PLAINTEXT: u16 = 15006;
    /// Tunnels into the pod.
    pub const TUNNEL: u16 = 15008;

    /// Whether a port is one of the proxy's own: nothing is relayed there.
    pub const fn are_own(port: u16) -> bool {
        matches!(port, OUTBOUND | PLAINTEXT | TUNNEL)
    }
}

/// How much of everything, and for how long. The defaults fit a node with some hundred pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Threads; each pod's connections stay on one of them.
    pub workers: usize,
    /// Open connections of one pod, in and out; more are refused and counted.
    pub connections_per_pod: usize,
    /// Handshakes under way with one pod's listener; more wait to be accepted.
    pub pending_handshakes: usize,
    /// For a TLS and HTTP/2 handshake to be done.
    pub handshake_time: Duration,
    /// For an application or a peer to accept a connection.
    pub connect_time: Duration,
    /// For a client to send its first bytes before the application may speak first.
    pub first_bytes_time: Duration,
    /// For a client to send the whole head of its next HTTP/1 request, idle time included (Envoy's hour).
    pub head_time: Duration,
    /// How long a tunnel without streams is kept.
    pub tunnel_idle_time: Duration,
    /// How long a tunnel that was accepted takes new streams: its client then has to prove itself again.
    pub tunnel_age: Duration,
    /// Streams in one tunnel that this end opens; another tunnel is opened for more.
    pub streams_per_tunnel: usize,
    /// Streams in one tunnel that this end accepts.
    pub accepted_streams_per_tunnel: u32,
    /// Bytes of an HTTP request's head.
    pub head_bytes: usize,
    /// Header fields of an HTTP/1 request.
    pub head_fields: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            workers: cores.min(4),
            connections_per_pod: 16 * 1024,
            pending_handshakes: 256,
            handshake_time: Duration::from_secs(10),
            connect_time: Duration::from_secs(10),
            first_bytes_time: Duration::from_millis(200),
            head_time: Duration::from_secs(3600),
            tunnel_idle_time: Duration::from_secs(300),
            tunnel_age: Duration::from_secs(3600),
            streams_per_tunnel: 100,
            accepted_streams_per_tunnel: 200,
            head_bytes: 64 << 10,
            head_fields: 128,
        }
    }
}
