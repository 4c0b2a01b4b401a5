//! `lictor down`.

use crate::cli::Globals;
use crate::client::{Client, Query};
use anyhow::{Result, bail};
use clap::Args;
use http::Method;
use lictor_lab::process::{ClaimError, STATE, cleanup};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Take a lab down.
#[derive(Debug, Args)]
pub(crate) struct Words {}

/// How long the pods' processes may take to end.
const ENDING: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Tells the lab to end and waits until it has; what a lab that was killed left behind is removed.
pub(crate) fn run(_: &Words, globals: &Globals) -> Result<ExitCode> {
    let asked = Client::of(&globals.lab).ask(Method::POST, "/v1/shutdown", &Query::default());
    if let Err(error) = asked
        && !(nix::unistd::geteuid().is_root() && Path::new(STATE).join(&globals.lab).exists())
    {
        return Err(error);
    }
    let began = Instant::now();
    loop {
        match cleanup(Path::new(STATE), &globals.lab) {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(ClaimError::Running { .. }) if began.elapsed() < ENDING => sleep(LOOK),
            Err(error) => bail!("the lab `{}` does not end: {error}", globals.lab),
        }
    }
}
