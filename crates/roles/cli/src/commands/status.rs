//! `lictor status`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::Args;
use http::Method;
use std::process::ExitCode;

/// Show a lab's workloads, identities and policies.
#[derive(Debug, Args)]
pub(crate) struct Words {
    #[command(flatten)]
    output: Output,
    /// Only this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Show the pods that lictor makes itself as well
    #[arg(short = 'A', long)]
    all: bool,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let format = words.output.output;
    let query = Query::default().with_some("namespace", words.namespace.as_ref()).with("all", words.all);
    let query = output::styled(query, format, output::style(globals, format));
    Client::of(&globals.lab).ask(Method::GET, "/v1/status", &query)?.print()
}
