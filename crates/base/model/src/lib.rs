//! The words of lictor: what every engine, service and command speaks in.
//!
//! **Purpose.** Types that cannot be wrong for the things that outside data names (a [`SpiffeId`], a
//! [`Cidr`], a [`PortRange`], a [`Selector`]), the two questions that engines answer (a [`Flow`], a
//! [`Request`]), and the two answers that all of them give (a [`Decision`], a [`Trace`]).
//!
//! **Invariants.**
//! - Nothing here does IO, knows the time, or draws a random number.
//! - A value that exists is valid: constructors parse, fields that could break an invariant are private.
//! - A [`Decision`] always says who decided: a policy and the path of its rule, or the scope of a default.
//!
//! **Not here.** No Kubernetes object (that is `lictor-manifest`), no cluster state (`lictor-cluster`),
//! no evaluation.

mod address;
mod decision;
mod dns_name;
mod domain;
mod flow;
mod identity;
mod labels;
mod layer;
mod name;
mod policy_ref;
mod port;
mod process_selector;
mod request;
mod selector;
mod trace;

pub use address::{Cidr, InvalidCidr, IpBlock};
pub use decision::{By, Close, Decision, DecisionIds, Party, Point, Record, SCHEMA};
pub use dns_name::{DnsName, InvalidDnsName};
pub use domain::{DomainPattern, InvalidDomain};
pub use flow::{Direction, Flow, Peer};
pub use identity::{InvalidSpiffeId, SpiffeId, TrustDomain};
pub use labels::Labels;
pub use layer::{Established, Layer, Mode, UnknownWord, Verdict};
pub use name::{Name, Revision};
pub use policy_ref::{PolicyKind, PolicyRef};
pub use port::{InvalidPort, PortRange, Protocol};
pub use process_selector::{InvalidProcessSelector, ProcessSelector};
pub use request::{Http, Request};
pub use selector::{Operator, Requirement, Selector};
pub use trace::{Mismatch, NearestMiss, Step, Trace};
