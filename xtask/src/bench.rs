//! Benchmarks: each prints what it measured, its unit, the baseline of the same run, and the ratio.

use crate::cargo::{cargo, is_root};
use crate::interop;
use anyhow::{Context, Result, ensure};

/// Runs one benchmark in release mode.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    ensure!(!args.is_empty(), "usage: cargo xtask bench NAME [--json]; NAME is lab, path, engine, growth or identity");
    if !is_root() {
        eprintln!("not root: benchmarks of the lab and the path need it; run this by sudo");
    }
    let mut command = cargo(&["run", "--quiet", "--release", "--locked", "-p", "lictor-bench", "--"]);
    command.args(args);
    // It runs until the benchmark has ended.
    let spire = if args.first() == Some(&"identity") { interop::spire_beside()? } else { None };
    if let Some(spire) = &spire {
        command.arg("--spire").args(spire.words());
    }
    let status = command.status().context("cannot start cargo")?;
    drop(spire);
    std::process::exit(status.code().unwrap_or(2));
}
