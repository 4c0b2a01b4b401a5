//! Public suites on real connections: each case is brought into a lab as a user would, and tried. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

mod cilium;
mod istio_authz;
mod segmentation;
mod stage;
