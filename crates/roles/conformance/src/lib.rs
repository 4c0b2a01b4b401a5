//! Public conformance suites, run against the engines; and their cases as data, for those that run them for real.
//!
//! **Purpose.** [`run`] finds every suite below a folder that is known here and says how many of its checks pass.
//! A suite's loader gives its cases: what the cluster is, which policies are in force, and what must hold then.
//!
//! **Invariants.**
//! - A case that cannot be read is a failure, never left out.
//! - The suites belong to others: they are read where they are, and nothing of them is copied.
//!
//! **Not here.** No connection is opened; `lictor-lab` runs the same cases with real ones.

pub mod istio_authz;
pub mod netpol_analyzer;
mod report;
pub mod segmentation;
pub mod steps;

pub use report::{Deviation, Failure, SuiteReport};

use std::path::{Path, PathBuf};

/// Where the public suites are: the folder that `LICTOR_CONFORMANCE` names, else `shared/conformance` beside the
/// workspace; nothing when there is none.
pub fn root() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/conformance");
    let root = std::env::var_os("LICTOR_CONFORMANCE").map_or(beside, PathBuf::from);
    root.is_dir().then_some(root)
}

/// A suite: the name of its folder, and what runs it there.
type Suite = (&'static str, fn(&Path) -> SuiteReport);

/// Every suite that is known here.
const SUITES: &[Suite] = &[
    ("cilium-policy", |suite| segmentation::run("cilium-policy", suite)),
    ("cnp-conformance", |suite| segmentation::run("cnp-conformance", suite)),
    ("istio-authz", istio_authz::run),
    ("netpol-analyzer", netpol_analyzer::run),
    ("netpol-e2e", |suite| segmentation::run("netpol-e2e", suite)),
];

/// Runs every suite that is at a folder or one level below it, in the order of their names.
pub fn run(folder: &Path) -> Vec<SuiteReport> {
    let at = |name: &str| {
        let here = folder.file_name().is_some_and(|own| own == name).then(|| folder.to_owned());
        here.or_else(|| Some(folder.join(name)).filter(|below| below.is_dir()))
    };
    SUITES.iter().filter_map(|(name, run)| Some(run(&at(name)?))).collect()
}
