//! `lictor exec POD -- COMMAND`.

use crate::cli::{Globals, Namespace};
use crate::client::{Client, Query};
use anyhow::{Context, Result};
use clap::Args;
use http::Method;
use lictor_lab::process::Target;
use lictor_model::Name;
use std::process::ExitCode;

/// Run a command in a pod: in its network, with its identity.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// The pod, as namespace/name
    pod: String,
    #[command(flatten)]
    namespace: Namespace,
    /// The container whose process the command is put beside; the first that runs, if none is named
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let pod = Name::parse(&words.pod, &words.namespace.namespace);
    let path = format!("/v1/pods/{pod}");
    let answer = Client::of(&globals.lab).ask(
        Method::GET,
        &path,
        &Query::default().with_some("container", words.container.as_ref()),
    )?;
    if answer.exit_code != 0 {
        return answer.print();
    }
    let target: Target = serde_json::from_str(&answer.text).context("the lab's answer is not understood")?;
    let status = lictor_lab::process::exec(&target, &words.command)?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(1)))
}
