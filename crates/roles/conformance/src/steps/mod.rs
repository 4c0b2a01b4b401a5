//! Suites of steps: a cluster, the policies in force, and what connects then.
//!
//! The form is the one that the `netpol-e2e`, `cnp-conformance` and `cilium-policy` suites share: a folder a case,
//! `expect.yaml` with the steps, and the files that the steps name. Each step is complete in itself.

mod cluster;
mod expect;

pub use expect::{Case, Check, End, HttpFile, InvalidCase, SaidThere, Step, Wanted, cases};
