//! `lictor identity source`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::Args;
use http::Method;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let format = words.output.output;
    let query = output::styled(Query::default(), format, output::style(globals, format));
    Client::of(&globals.lab).ask(Method::GET, "/v1/identity/source", &query)?.print()
}
