//! The node's data path for enrolled pods: mutual TLS between them, and policy on every connection and request.
//!
//! **Purpose.** A [`Proxy`] listens inside the network namespaces of its node's pods ([`ports`]) and carries what is
//! redirected there. Between two pods of the mesh it is HBONE, Istio's ambient tunnel, wire-compatible with ztunnel;
//! at the destination every connection, or every HTTP request where rules speak of requests, is asked about and recorded.
//!
//! ```text
//!   application                                                          application
//!        | redirected                                                         ^ from the client's address
//!   15001 outbound: egress                                                    |
//!        |-- pod of the mesh --> pool --> TLS 1.3, h2 CONNECT --> 15008 tunnel: transport, ingress, authorization
//!        '-- anything else ---------------------------------> 15006 plaintext: the same
//! ```
//!
//! **Invariants.**
//! - A connection to a pod of the mesh goes by tunnel or not at all; nothing falls back to plaintext.
//! - What a new [`View`] denies ends, also when it is open; what it allows does not notice.
//! - A connection stays on one worker, a single thread: no lock is taken on the data path. It is its pod's, and for a tunnel
//!   within the node that of the pod which opened it.
//! - The path of a request that is judged is the path that the application gets.
//! - One [`Decision`](lictor_model::Decision) for each connection into a pod, or for each request on an HTTP connection,
//!   and a [`Close`](lictor_model::Close) for each that was allowed. Of connections out of a pod only what never
//!   arrives is recorded here, and a denial in audit of what goes by tunnel: the destination's proxy records that one,
//!   and the kernel what leaves as it is.
//! - A thread is in a pod's namespace only while it makes a socket.
//!
//! **Not here.** Redirection and the packet path (`lictor-datapath`), issuing certificates (`lictor-identity`),
//! evaluating policies (`lictor-network`, `lictor-authz`).

mod ahead;
pub mod authority;
mod body;
mod deliver;
mod denial;
mod hbone;
pub mod head;
mod hop;
mod inbound;
mod listeners;
mod live;
mod memory;
mod metrics;
mod neighbours;
mod netns;
mod outbound;
pub mod path;
mod plaintext;
mod pod;
mod policy;
mod pool;
mod proxy;
mod record;
mod relay;
mod request;
mod settings;
pub mod sni;
pub mod sniff;
mod socket;
mod tunnel;
mod upstream;
mod window;
mod wire;
mod worker;

pub use metrics::{Counter, Metrics};
pub use pod::PodSockets;
pub use policy::View;
pub use proxy::{Proxy, ProxyError};
pub use record::RecordSink;
pub use settings::{Settings, ports};

#[cfg(test)]
mod tests;
