//! Who runs on this node, and the identity that each of them gets.
//!
//! **Purpose.** A [`Registry`] knows the pods of this node by their cgroups. The [`Issuer`] keeps a fresh SVID in the
//! keyring for each of their identities; the [`Ca`] has the trust domain's authorities, one after the other, and replaces
//! what a tainted one signed. [`certificates`] keeps the Secrets that Certificates name. [`workload_api`] hands a process the SVID
//! of the pod that it belongs to, as the kernel tells it, and pushes the next one when it comes; [`broker_api`] hands a broker those
//! of the workloads that it refers to. [`federation`] exchanges bundles with other trust domains. A [`Source`] takes the place of
//! issuer and authorities where an existing SPIRE gives the identities. Where the authorities are with [`control`], a
//! [`membership`] does, and asks it for what the pods of this node need.
//!
//! ```text
//!  Registry ---identities---> Issuer ---SVIDs---> lictor_pki::Keyring ---> the proxy
//!      |                        Ca ----bundle---------^ |
//!      |                        Ca <---- certificates: the Secrets of Certificates
//!      +--- Attestor <--- connected unix socket --- workload_api ---> the pod's process
//! ```
//!
//! **Invariants.**
//! - A caller is known by facts of the kernel about the process that connected, never by what it says: the pidfd of
//!   its socket and its cgroup in the unified hierarchy as *this* process sees it; never its mounts.
//! - The shallowest registered cgroup counts, and only if it is still the one that was registered.
//! - A connection belongs to one cgroup of one pod for good; a caller that dies, moves to another or loses its pod gets nothing.
//! - Nobody is a broker but whom the node's list names, and none gets what the workload itself would not.
//! - What another trust domain's endpoint says is believed about that trust domain only.
//! - What else a process has to be is asked at each call, and what cannot be found out does not hold.
//! - An SVID is in the keyring only as long as a pod of this node needs it.
//!
//! **Not here.** No certificate is made or read here (`lictor-pki`), no policy is known, no pod is started.

mod attestation;
mod backoff;
pub mod broker_api;
mod ca;
pub mod certificates;
mod cgroup;
pub mod control;
mod credentials;
mod entitlement;
pub mod federation;
mod issuer;
pub mod membership;
mod needs;
mod process;
mod program;
mod registry;
mod source;
mod unix_server;
mod workload;
pub mod workload_api;

pub use attestation::{AttestError, Attestor, Caller};
pub use ca::{Ca, CaError, CaOptions, CaStatus, Issued, StoreError, StoreOptions, UpstreamError, UpstreamFiles};
pub use cgroup::{Cgroup, CgroupPath, InvalidCgroupPath, NoCgroup2, Tree};
pub use entitlement::identities_of;
pub use issuer::{Clock, Fraction, Issuer, random_fraction, system_clock};
pub use needs::{Identity, Processes};
pub use process::{Process, ProcessError};
pub use registry::{Conflict, Place, Pod, Registration, Registry};
pub use source::{InvalidEndpoint, Source, SourceStatus, WorkloadEndpoint};
pub use workload::Workload;
