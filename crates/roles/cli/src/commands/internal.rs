//! What the lab starts this program as; not for people.

use anyhow::{Context, Result};
use clap::Args;
use std::process::ExitCode;

/// Make connections and say what came of each.
#[derive(Debug, Args)]
pub(crate) struct Attempts {
    /// A JSON list
    attempts: String,
}

/// Forks the pods' processes.
pub(crate) fn zygote() -> Result<ExitCode> {
    lictor_lab::process::run().context("the zygote ended")?;
    Ok(ExitCode::SUCCESS)
}

/// The near end of a probe.
pub(crate) fn probe_client(words: &Attempts) -> Result<ExitCode> {
    lictor_lab::probing::run(&words.attempts, std::io::stdout().lock()).context("the probe ended")?;
    Ok(ExitCode::SUCCESS)
}
