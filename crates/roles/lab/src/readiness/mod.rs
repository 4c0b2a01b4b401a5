//! The probes of pods: whether a container has started, is ready, is alive.
//!
//! **Purpose.** [`Health`] is what a container's probes have come to, as a state machine without clock or
//! network; a [`Prober`] runs the probes of all pods from the node's network namespace and tells which pods
//! are ready; [`published`] takes those that are not out of their Services.
//!
//! The semantics are the kubelet's (kubernetes.io, "Configure Liveness, Readiness and Startup Probes"), with
//! these differences, all because a pod here may be a stand-in:
//! - a redirect counts as an answer and is not followed;
//! - an exec probe of a stand-in passes, as there is no container to run it in;
//! - an HTTPS probe of a stand-in, which has no certificate, is a TCP probe.

mod ask;
mod health;
mod prober;
mod publish;

pub use ask::{Asker, Problem};
pub use health::{Health, ProbeKind};
pub use prober::{ContainerProbes, PodHealth, PodProbes, Prober};
pub use publish::{published, unready};

#[cfg(test)]
mod tests;
