//! `lictor probe`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::Args;
use http::Method;
use std::process::ExitCode;

/// Open real connections between the pods of a lab and compare them with what the policies say.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 1 means that a connection did not do what the policies say.")]
pub(crate) struct Words {
    #[command(flatten)]
    output: Output,
    /// Only connections with an end in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only connections from this pod, workload or service
    #[arg(long, value_name = "END")]
    from: Option<String>,
    /// Only connections to this pod, workload or service
    #[arg(long, value_name = "END")]
    to: Option<String>,
    /// Milliseconds without an answer after which a connection counts as dropped
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    patience: u64,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let format = words.output.output;
    let query = Query::default()
        .with_some("namespace", words.namespace.as_ref())
        .with_some("from", words.from.as_ref())
        .with_some("to", words.to.as_ref())
        .with("patience", words.patience);
    let query = output::styled(query, format, output::style(globals, format));
    Client::of(&globals.lab).ask(Method::POST, "/v1/probe", &query)?.print()
}
