//! `lictor identity show`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::Args;
use http::Method;
use std::process::ExitCode;

/// List who has which identity.
#[derive(Debug, Args)]
pub(super) struct Words {
    /// The pods, as namespace/name or name; all of them, if none is named
    #[arg(value_name = "POD")]
    pod: Option<String>,
    /// Only the pods of this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let format = words.output.output;
    let query = Query::default().with_some("pod", words.pod.as_ref()).with_some("namespace", words.namespace.as_ref());
    let query = output::styled(query, format, output::style(globals, format));
    Client::of(&globals.lab).ask(Method::GET, "/v1/identity/entries", &query)?.print()
}
