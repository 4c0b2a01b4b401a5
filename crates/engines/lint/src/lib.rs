//! What is doubtful in network policies that are valid.
//!
//! **Purpose.** [`lint`] looks at every rule of every family beside the cluster that it is for: what selects nothing,
//! matches nothing or never decides, what is open wider than anybody uses, what its writer will have meant otherwise.
//!
//! **Invariants.**
//! - No finding changes a verdict; each has a stable code and stands at the line that it is about.
//! - What cannot be told from this snapshot is not guessed at.
//!
//! **Not here.** What makes a policy invalid is found where it is read (`lictor-manifest`), what an engine refuses by the engine.

mod checks;
mod world;

use lictor_cluster::Snapshot;
use lictor_manifest::Finding;
use world::World;

/// Every doubt about the network policies of a snapshot, by place.
pub fn lint(snapshot: &Snapshot) -> Vec<Finding> {
    let world = World::of(snapshot);
    let mut findings: Vec<Finding> = checks::ALL.iter().flat_map(|check| check(&world)).collect();
    findings.sort_by(|a, b| {
        let place = |finding: &Finding| {
            let at = &finding.position;
            (at.file.clone(), at.line, at.column, finding.code)
        };
        place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message))
    });
    findings.dedup();
    findings
}
