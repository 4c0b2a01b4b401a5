//! Envoy's external authorization (ext_authz), version 3: an Envoy in a pod asks about a request, Rego answers.
//!
//! **Purpose.** [`service`] answers `Check` for Envoys that are attested as processes of a pod of this node. The policies of the
//! pod's namespace are asked with the input document of OPA's Envoy plugin, and what they say is told as the plugin tells it.
//!
//! ```text
//!  CheckRequest -> input document -> lictor_rego::Policy -> Answer -> CheckResponse
//!                                                             \---> Decision -> the decision log
//! ```
//!
//! **Invariants.**
//! - Every question of a pod gets a decision, and a decision a record.
//! - Whatever is not an answer of the policy denies, by a response: an error of the call would let an Envoy pass that is told to.
//! - What an Envoy says of a request is its word. It speaks for its own pod alone, which the kernel names.
//!
//! **Not here.** Who the caller is, is `lictor-identity`'s to say; what Rego means, `lictor-rego`'s.

mod body;
mod evaluators;
mod input;
mod json;
mod judgement;
mod multipart;
mod response;
mod service;
mod url;

pub use service::{Attest, Settings, View, service};
