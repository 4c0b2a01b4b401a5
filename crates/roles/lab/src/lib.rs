//! The lab: the pods of some manifests, run on this machine.
//!
//! **Purpose.** [`up`] reads folders, runs what they describe and follows them; a [`Lab`] is what runs. Its pods are
//! network namespaces joined to a bridge, each with a cgroup and a process; control and node run in this process.
//!
//! **Invariants.**
//! - Manifests with errors change nothing: what ran before still runs.
//! - A pod is judged and has its identity before its first process starts.
//! - When the process ends, by whatever signal, the pods' processes, namespaces, links and programs end with it.
//!
//! **Not here.** No policy is evaluated and no packet judged: that is the node's ([`lictor_node`]).

pub mod api;
mod broker;
pub mod dns;
mod identity;
mod journal;
mod lab;
mod learning;
mod network;
mod pods;
pub mod probing;
pub mod process;
pub mod readiness;
pub mod standin;
#[cfg(test)]
mod testing;
mod up;

pub use api::read_bundle;
pub use broker::BrokerApi;
pub use identity::{Authorities, Identity};
pub use journal::Journal;
pub use lab::{Change, Lab, Options};
pub use lictor_identity::control::NodeName;
pub use lictor_identity::membership::{Bootstrap, MembershipOptions};
pub use lictor_identity::{StoreOptions, UpstreamFiles, WorkloadEndpoint};
pub use lictor_node::{EndpointOptions, EndpointProfile, FederationOptions};
pub use lictor_pkcs11::TokenOptions;
pub use lictor_pki::Secret;
pub use up::{Audience, Refused, up};
