//! `lictor identity`.

mod bundle;
mod ca;
mod certificates;
mod federation;

use crate::cli::Globals;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// See and change who signs identities, whom a lab believes, and what Certificates have.
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
    /// The Certificates of cert-manager's kind, and the Secrets that they fill
    #[command(subcommand)]
    Certificates(certificates::Step),
    /// The relations to other trust domains
    #[command(subcommand)]
    Federation(federation::Verb),
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    match &words.what {
        What::Ca(step) => ca::run(step, globals),
        What::Bundle(words) => bundle::run(words, globals),
        What::Certificates(step) => certificates::run(step, globals),
        What::Federation(verb) => federation::run(verb, globals),
    }
}
