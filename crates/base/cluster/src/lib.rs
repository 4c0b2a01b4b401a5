//! The cluster as one immutable value.
//!
//! **Purpose.** [`Snapshot`] holds namespaces, pods, services and policies, indexed for the questions that
//! engines ask: which pod has this address, which namespace labels does it have, which policies are there.
//! [`Snapshot::build`] makes one from objects; [`Delta::between`] says what changed from one to the next.
//!
//! **Invariants.**
//! - A snapshot never changes; it is shared by `Arc`, and carries the revision that decisions name.
//! - Every pod's namespace exists and has its `kubernetes.io/metadata.name` label.
//! - An address belongs to at most one pod; host-network pods have their node's address and are not found by it.
//! - The same objects with the same address pools give the same snapshot, whatever their order.
//!
//! **Not here.** No file is read and no policy evaluated.

mod addresses;
mod build;
mod certificates;
mod delta;
mod expand;
mod inventory;
mod names;
mod namespaces;
mod nodes;
mod notice;
mod placement;
mod pod;
pub mod registration;
mod service;
mod services;
mod snapshot;
mod stances;

pub use addresses::{AddressPool, Addresses, Exhausted};
pub use build::{BUILT_IN_ANNOTATION, ENROLL_ANNOTATION, RUN_ANNOTATION, Settings, UnknownNodes};
pub use certificates::Certificates;
pub use delta::Delta;
pub use names::{Answers, Names};
pub use pod::{NamedPort, Node, Pod, WorkloadRef};
pub use registration::RegistrationSettings;
pub use service::{Backend, ClusterService, ServiceBackends};
pub use snapshot::{NamespaceState, Policies, Snapshot};
