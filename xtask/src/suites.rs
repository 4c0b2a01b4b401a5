//! Public conformance suites, and the fuzz targets.

use crate::cargo::{cargo, root, run};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Runs every suite below the given folders; exit 1 on a failure.
pub(crate) fn conformance(args: &[&str]) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--locked", "-p", "lictor-conformance", "--"]);
    let status = command.args(args).status().context("cannot start cargo")?;
    std::process::exit(status.code().unwrap_or(2));
}

/// Runs each fuzz target for a while; needs the nightly toolchain and cargo-fuzz.
pub(crate) fn fuzz(args: &[&str]) -> Result<()> {
    let seconds: u32 = args.first().map_or(Ok(60), |text| text.parse()).context("expected a number of seconds")?;
    let list = Command::new("cargo").args(["+nightly", "fuzz", "list"]).current_dir(root()).output()?;
    ensure!(
        list.status.success(),
        "cargo-fuzz is missing: cargo install cargo-fuzz, and rustup toolchain install nightly"
    );
    for target in String::from_utf8_lossy(&list.stdout).lines() {
        let limit = format!("-max_total_time={seconds}");
        run(Command::new("cargo").args(["+nightly", "fuzz", "run", target, "--", &limit]).current_dir(root()))?;
    }
    Ok(())
}
