//! Peer, request and authorization policy: who may talk to a workload, how, and what they may ask of it.
//!
//! **Purpose.** [`Program::compile`] prepares the PeerAuthentications and AuthorizationPolicies of a snapshot:
//! [`Program::transport`] says which transport a pod's port takes, [`Workload::decide`] what a connection or
//! request comes to. [`explain`] and [`explain_transport`] say the same with reasons.
//!
//! **Semantics** are Istio's: CUSTOM before DENY before ALLOW; a workload without an ALLOW policy allows what is
//! not denied, one with any allows nothing else (istio/api, `security/v1beta1/authorization_policy.proto`). Where
//! Istio's enforcement points disagree, the reading that lets less through is taken.
//!
//! **Invariants.**
//! - What cannot be told never widens access: a field that a connection cannot answer (HTTP on plain TCP, a token
//!   where none are verified, an attribute that is not known) makes an ALLOW rule not match and is left out of
//!   account in a DENY rule.
//! - A refused policy still isolates or denies; see [`Capabilities`].
//! - The order of policies and of rules never changes a verdict.
//! - [`explain`] and [`Workload::decide`] agree, since one asks the other.
//!
//! **Not here.** No HTTP is parsed, no token verified, no provider asked.

mod ambient;
mod app_protocol;
mod attribute;
mod check;
mod explain;
mod facts;
mod findings;
mod path;
mod policy;
mod program;
mod text;
mod transport;
mod workload;

pub use ambient::AmbientStatus;
pub use app_protocol::AppProtocol;
pub use explain::{explain, explain_transport};
pub use path::canonical_path;
pub use policy::{Capabilities, Refusal};
pub use program::{PolicyState, PolicyStatus, Program};
pub use transport::{PeerModes, Transport, merge, mode_word};
pub use workload::{Outcome, Provider, Stage, Workload};
