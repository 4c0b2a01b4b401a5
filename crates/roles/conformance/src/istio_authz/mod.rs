//! `istio-authz`: AuthorizationPolicy, PeerAuthentication and RequestAuthentication as Istio means them.
//!
//! Run here: the semantic cases, the merging of PeerAuthentications, the status that Istio's ambient mode would
//! give, and the validation tables. Not run: `ambient-convert`, `envoy-golden` and `matchers`, which compare with
//! the configuration of other proxies.

pub mod semantic;
mod tables;

use crate::report::SuiteReport;
use std::path::Path;

/// A part of the suite: the name of its folder, and what runs it.
pub type Part = (&'static str, fn(&Path, &mut SuiteReport));

/// The parts that are run.
pub const PARTS: &[Part] = &[
    ("semantic", semantic::run),
    ("peerauthn-merge", tables::merge),
    ("ambient-status", tables::ambient_status),
    ("validation/authorizationpolicy", tables::validation),
    ("validation/peerauthentication", tables::validation),
    ("validation/requestauthentication", tables::validation),
    ("crd-validation", tables::schema),
];

/// Runs every part that is there.
pub fn run(suite: &Path) -> SuiteReport {
    let mut report = SuiteReport::new("istio-authz");
    for (part, run) in PARTS {
        let folder = suite.join(part);
        if folder.is_dir() {
            run(&folder, &mut report);
        }
    }
    report
}
