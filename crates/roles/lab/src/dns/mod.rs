//! Cluster DNS: what `svc.cluster.local`, or that of another domain, answers.
//!
//! **Purpose.** [`Zone::new`] makes the records of a snapshot; [`serve`] answers from the newest zone over UDP
//! and TCP, on [`Sockets`] made in the network namespace of the DNS pod; [`resolv_conf`] points pods at it.
//!
//! The records are those of the Kubernetes DNS specification, version 1.1.0 (kubernetes/dns,
//! `docs/specification.md`), whose sections the code names, with a time to live of 5 s, CoreDNS' default.
//!
//! **Invariants.**
//! - A name below the zone is answered here and never asked elsewhere.
//! - A name that exists without records of the type asked for is "no data", one that does not is "no such
//!   name", both with the zone's SOA (RFC 2308).
//! - Nothing panics, whatever the bytes; a compressed name cannot loop.
//!
//! **Not here.** No DNSSEC, no transfer, no cache: a question about another zone goes to the machine's own resolvers.

mod forward;
mod gate;
mod history;
mod message;
mod name;
mod serve;
mod zone;

pub use forward::Upstreams;
pub use gate::{Gate, Learnt, Sink};
pub use history::{Full, History, Lookup};
pub use message::{Data, Record};
pub use name::{DnsName, InvalidName};
pub use serve::{Sockets, serve};
pub use zone::Zone;

use std::fmt::Write as _;
use std::net::IpAddr;

/// The `/etc/resolv.conf` of a pod in a namespace, as the kubelet writes it for `dnsPolicy: ClusterFirst`.
pub fn resolv_conf(namespace: &str, servers: &[IpAddr], domain: &str) -> String {
    let mut text = format!("search {namespace}.svc.{domain} svc.{domain} {domain}\n");
    for server in servers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "nameserver {server}");
    }
    text.push_str("options ndots:5\n");
    text
}

#[cfg(test)]
mod tests;
