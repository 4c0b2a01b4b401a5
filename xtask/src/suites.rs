//! Public conformance suites.

use crate::cargo::cargo;
use anyhow::{Context, Result};

/// Runs every suite below the given folders; exit 1 on a failure.
pub(crate) fn conformance(args: &[&str]) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--locked", "-p", "lictor-conformance", "--"]);
    let status = command.args(args).status().context("cannot start cargo")?;
    std::process::exit(status.code().unwrap_or(2));
}
