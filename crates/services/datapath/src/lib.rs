//! The kernel side of a node: network namespaces, links, redirection, and verdicts by eBPF.
//!
//! **Purpose.** [`netns`] and [`link`] make the pods' networks, [`capture`] hands the TCP traffic of enrolled
//! pods to the proxy.
//!
//! **Invariants.**
//! - Nothing here needs a program of the system (`ip`, `nft`, `tc`) or a C library.
//! - Nothing is pinned and no namespace is named: when the process is gone, so is all of it.

pub mod capture;
pub mod link;
mod netlink;
pub mod netns;
pub mod nft;
pub mod sysctl;

pub use netlink::Refused;
