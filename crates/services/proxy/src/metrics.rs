//! What the data path counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start. All of them only grow; read them at any time from any thread.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* pub $name: Counter,)* }

        impl Metrics {
            /// Every counter with its name, in a fixed order.
            pub fn read(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.value()),)*]
            }
        }
    };
}

counters! {
    /// Connections out of pods that were accepted.
    outbound_connections,
    /// Plaintext connections into pods that were accepted.
    plaintext_connections,
    /// Tunnels into pods whose handshake was done.
    tunnels_accepted,
    /// Tunnels into pods that were given to the worker of the pod which opened them.
    tunnels_handed_over,
    /// Streams of tunnels into pods.
    tunnel_streams_accepted,
    /// Tunnels that were opened to other pods.
    tunnels_opened,
    /// Streams that were opened in tunnels to other pods.
    tunnel_streams_opened,
    /// Handshakes that failed or took too long, as the accepting end.
    accepting_handshakes_failed,
    /// Handshakes that failed or took too long, as the opening end.
    opening_handshakes_failed,
    /// Connections refused because the pod had too many open.
    over_connection_limit,
    /// HTTP requests.
    requests,
    /// Tunnel requests and HTTP requests that were malformed.
    malformed_requests,
    /// Connections and requests that a layer refused.
    denied,
    /// Connections and requests that were allowed although a layer would refuse them.
    would_be_denied,
    /// Open connections that a new policy ended.
    ended_by_policy,
    /// Connections to an application or outside address that failed.
    unreachable,
    /// Payload bytes from clients to servers, of ended connections.
    bytes_sent,
    /// Payload bytes from servers to clients, of ended connections.
    bytes_received,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}
