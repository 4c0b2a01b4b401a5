//! Documents as Kubernetes reads them, and the typed objects in them.
//!
//! **Purpose.** [`read`] turns a YAML or JSON stream into [`Object`]s and [`Finding`]s. Each object knows
//! its [`Origin`], which turns a field path (`spec.ingress[0].from[1]`) into file, line and column.
//!
//! **Invariants.**
//! - A value means what it means to the API server: scalars follow `sigs.k8s.io/yaml`, a duplicate key is refused.
//! - An unknown field in a policy is an error at its line; elsewhere it is a finding.
//! - Nothing panics, whatever the bytes; depth, nodes and alias expansion are bounded.
//!
//! **Not here.** No file system, no cluster, no meaning of a policy beyond its defaults.

mod decode;
mod fields;
mod finding;
mod kinds;
mod kustomization;
mod meta;
mod object;
mod origin;
mod read;
mod registry;
mod validate_istio;
mod values;
mod yaml;

pub use finding::{Code, Finding, Level, UnknownCode, render};
pub use kinds::*;
pub use kustomization::{Kustomization, kustomization};
pub use meta::Meta;
pub use object::{Object, ObjectKey};
pub use origin::{Origin, Position};
pub use read::{Reading, read, read_admitted, read_in};
pub use validate_istio::{IstioKind, IstioProblem, schema_problems, webhook_problems};
pub use values::{InvalidYaml, values};
