//! Running cargo, and reading what it knows of the workspace.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// A cargo command in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Runs a command and fails when it does, naming it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n")
}

/// The folder that cargo builds in.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    Ok(PathBuf::from(metadata["target_directory"].as_str().context("cargo metadata without a target directory")?))
}

/// `cargo metadata` for the platform that lictor runs on.
pub(crate) fn metadata(more: &[&str]) -> Result<Value> {
    let args = ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = cargo(&args).args(more).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// The dependency graph without what only tests use.
pub(crate) struct Graph {
    /// Package id to package.
    pub(crate) packages: HashMap<String, Value>,
    /// Package id to the ids that it is built with or from.
    pub(crate) edges: HashMap<String, Vec<String>>,
    /// The ids of the workspace's own packages.
    pub(crate) members: Vec<String>,
}

impl Graph {
    /// Reads the graph.
    pub(crate) fn read() -> Result<Self> {
        let metadata = metadata(&[])?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
        let shipped = |dependency: &Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev");
        let edges = list(&metadata["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let used = list(&node["deps"]).into_iter().filter(shipped).map(|dep| text(&dep["pkg"])).collect();
                (text(&node["id"]), used)
            })
            .collect();
        Ok(Self { packages, edges, members: list(&metadata["workspace_members"]).iter().map(text).collect() })
    }

    /// A package's name.
    pub(crate) fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.packages.get(id).and_then(|package| package["name"].as_str()).unwrap_or(id)
    }

    /// Everything that a package reaches, itself included.
    pub(crate) fn reach(&self, id: &str) -> Vec<String> {
        let mut seen = vec![id.to_owned()];
        let mut at = 0;
        while let Some(next) = seen.get(at).cloned() {
            for used in self.edges.get(&next).into_iter().flatten() {
                if !seen.contains(used) {
                    seen.push(used.clone());
                }
            }
            at += 1;
        }
        seen
    }
}
