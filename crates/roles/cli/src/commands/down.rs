//! `lictor down`.

use crate::cli::Globals;
use crate::client::{Client, Query};
use anyhow::Result;
use clap::Args;
use http::Method;
use std::process::ExitCode;

/// Take a lab down.
#[derive(Debug, Args)]
pub(crate) struct Words {}

pub(crate) fn run(_: &Words, globals: &Globals) -> Result<ExitCode> {
    Client::of(&globals.lab).ask(Method::POST, "/v1/shutdown", &Query::default())?.print()
}
