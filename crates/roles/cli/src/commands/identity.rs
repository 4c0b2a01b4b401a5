//! `lictor identity`.

mod bundle;
mod ca;

use crate::cli::Globals;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// See and change who signs identities, and whom a lab believes.
#[derive(Debug, Args)]
pub(crate) struct Words {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The authorities that sign identities, and the steps of their lives
    #[command(subcommand)]
    Ca(ca::Step),
    /// Trust bundles: the own one, and those of federated trust domains
    Bundle(bundle::Words),
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    match &words.what {
        What::Ca(step) => ca::run(step, globals),
        What::Bundle(words) => bundle::run(words, globals),
    }
}
