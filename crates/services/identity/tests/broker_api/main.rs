//! The Broker API with real sockets, real TLS, and real processes in real cgroups.
//!
//! Each test plays a node: it makes cgroups, starts processes in them, and asks as a broker with an SVID of the node's trust
//! domain. Needs root and a cgroup2 hierarchy, and fails without.
#![allow(clippy::unwrap_used)]

mod access;
mod answers;
#[path = "../cgroups/mod.rs"]
mod cgroups;
mod client;
mod namespaces;
mod node;
mod references;
mod streams;
mod takeover;
mod tokens;

/// A broker that may use every type of reference.
const PROXY: &str = "spiffe://td.example/proxy";
/// Brokers that may use one type each.
const BY_PID: &str = "spiffe://td.example/by-pid";
const BY_OBJECT: &str = "spiffe://td.example/by-object";
/// Identities of pods.
const A: &str = "spiffe://td.example/ns/shop/sa/a";
const B: &str = "spiffe://td.example/ns/shop/sa/b";
/// Uids of pods.
const UID_A: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";
const UID_B: &str = "b1b2c3d4-e5f6-7890-abcd-ef1234567890";
