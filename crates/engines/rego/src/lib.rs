//! Rego policies: from ConfigMaps to compiled policies, from an input document to an answer.
//!
//! **Purpose.** [`Program`] compiles, for each namespace, the Rego of its ConfigMaps with the label `lictor.dev/rego: authz`.
//! [`Policy::ask`] evaluates the rule that the namespace has chosen on one input document; [`Answer::read`] reads its value as
//! OPA's Envoy plugin does.
//!
//! **Invariants.**
//! - What does not compile is refused with the place in its file; nothing of its reading comes into force.
//! - A policy is asked for a limited time, and has no way out: no network, no file, no environment.
//! - Whatever is not an answer denies: no policy, a rule without a value, an error, a value of another form.
//! - The interpreter of `regorus` alone is used; what it lets pass and OPA refuses is refused before (`check`).
//!
//! **Not here.** No message of Envoy's is known: whoever asks brings the input as JSON.

mod answer;
mod builtins;
mod check;
mod limits;
mod module;
mod policy;
mod program;
mod walk;

pub use answer::{Answer, NotAnAnswer};
pub use limits::STACK;
pub use policy::{AskError, Policy};
pub use program::{PATH_ANNOTATION, Program, VERSION_ANNOTATION};
