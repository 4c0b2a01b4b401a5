//! The floors of the house: a crate uses crates of lower floors only, and the lower floors reach no runtime.

use crate::cargo::{Graph, root};
use anyhow::{Result, ensure};
use std::path::Path;

const FLOORS: [&str; 5] = ["base", "engines", "adapters", "services", "roles"];

/// Edges within a floor that the design allows.
const WITHIN: [(&str, &str); 21] = [
    ("lictor-template", "lictor-model"),
    ("lictor-manifest", "lictor-model"),
    ("lictor-manifest", "lictor-template"),
    ("lictor-cluster", "lictor-model"),
    ("lictor-cluster", "lictor-template"),
    ("lictor-cluster", "lictor-manifest"),
    ("lictor-lint", "lictor-network"),
    ("lictor-why", "lictor-network"),
    ("lictor-why", "lictor-authz"),
    ("lictor-pkcs11", "lictor-pki"),
    ("lictor-lab", "lictor-node"),
    ("lictor-lab", "lictor-sources"),
    ("lictor-control", "lictor-lab"),
    ("lictor-control", "lictor-sources"),
    ("lictor", "lictor-control"),
    ("lictor", "lictor-lab"),
    ("lictor", "lictor-node"),
    ("lictor", "lictor-sources"),
    ("lictor", "lictor-conformance"),
    ("lictor-bench", "lictor-lab"),
    ("lictor-bench", "lictor-sources"),
];

/// What nothing below the adapters may reach: an async runtime, the network, the Kubernetes API.
const OUTSIDE: [&str; 6] = ["tokio", "kube", "tonic", "hyper", "reqwest", "h2"];

/// Fails with every edge that breaks a rule.
pub(crate) fn check() -> Result<()> {
    let graph = Graph::read()?;
    let floor = |id: &str| floor_of(graph.packages.get(id)?["manifest_path"].as_str()?);
    let mut wrong = Vec::new();
    for id in &graph.members {
        let Some(own) = floor(id) else { continue };
        let name = graph.name(id);
        for used in graph.edges.get(id).into_iter().flatten().filter(|used| graph.members.contains(used)) {
            let Some(other) = floor(used) else {
                wrong.push(format!("{name} uses {}, which stands on no floor", graph.name(used)));
                continue;
            };
            let allowed = other < own || (other == own && WITHIN.contains(&(name, graph.name(used))));
            if !allowed {
                wrong.push(format!("{name} ({}) uses {} ({})", FLOORS[own], graph.name(used), FLOORS[other]));
            }
        }
        if own < 2 {
            let reached = graph.reach(id);
            let outside = reached.iter().map(|id| graph.name(id)).filter(|name| OUTSIDE.contains(name));
            wrong.extend(outside.map(|found| format!("{name} ({}) reaches {found}", FLOORS[own])));
        }
    }
    ensure!(wrong.is_empty(), "the floors do not hold:\n  {}", wrong.join("\n  "));
    println!("floors: {} crates on {} floors, every edge goes down", graph.members.len(), FLOORS.len());
    Ok(())
}

fn floor_of(manifest: &str) -> Option<usize> {
    let below = Path::new(manifest).strip_prefix(root().join("crates")).ok()?;
    let folder = below.components().next()?.as_os_str().to_str()?;
    FLOORS.iter().position(|floor| *floor == folder)
}

#[cfg(test)]
mod tests {
    use super::floor_of;
    use crate::cargo::root;

    #[test]
    fn a_crate_stands_on_the_floor_of_its_folder() {
        let manifest = |path: &str| root().join(path).display().to_string();
        assert_eq!(floor_of(&manifest("crates/base/model/Cargo.toml")), Some(0));
        assert_eq!(floor_of(&manifest("crates/roles/cli/Cargo.toml")), Some(4));
        assert_eq!(floor_of(&manifest("xtask/Cargo.toml")), None);
    }
}
