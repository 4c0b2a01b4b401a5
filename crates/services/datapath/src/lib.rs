//! The kernel side of a node: network namespaces, links, redirection, and verdicts by eBPF.
//!
//! **Purpose.** [`netns`] and [`link`] make the pods' networks, [`capture`] hands the TCP traffic of enrolled
//! pods to the proxy, and a [`Datapath`] judges every packet at the node's end of each pod's link by a compiled
//! [`Program`](lictor_network::Program), gives services their backends at the socket, and tells what it does.
//!
//! **Invariants.**
//! - What the kernel's maps say is what the program says ([`Datapath::read_back`] shows it).
//! - At every moment an endpoint is judged by one program whole: rule set, classes and mode turn in one store.
//! - An endpoint that no program knows is cut off, and what has no room is dropped: it fails closed.
//! - Nothing here needs a program of the system (`ip`, `nft`, `tc`) or a C library.
//! - Nothing is pinned and no namespace is named: when the process is gone, so is all of it.
//!
//! **Not here.** No policy is read or explained; the tunnel and what is in it are the proxy's.
//!
//! The programs are in `bpf/` at the root, with a README on building them.

mod apply;
pub mod capture;
mod columns;
mod cost;
mod datapath;
mod error;
mod event;
mod events;
mod in_use;
pub mod link;
mod netlink;
pub mod netns;
pub mod nft;
mod ranges;
mod rcu;
mod read_back;
mod rule_sets;
mod services;
mod slots;
mod sweep;
pub mod sysctl;
mod tables;
mod wire;

pub use apply::Applied;
pub use cost::Cost;
pub use datapath::Datapath;
pub use error::Error;
pub use event::{Ended, Event, Judged, LENGTH as EVENT_LENGTH, Malformed, Reason, What};
pub use events::Events;
pub use netlink::Refused;
pub use services::VirtualService;
pub use sweep::Counters;
pub use tables::Limits;
