//! `--detach`: a process of its own for the lab, and this one waits until it is up.

use super::Words;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What the line that says that the lab is up begins with.
pub(super) const READY: &str = "\u{1}";

/// Starts the lab, relays what it says, and returns once it is up.
pub(super) fn start(words: &Words) -> Result<ExitCode> {
    let (output, input) = std::io::pipe().context("cannot make a pipe")?;
    let reads_input = words.sources.iter().any(|source| source == Path::new("-"));
    let mut child = Command::new(std::env::current_exe().context("cannot tell which program this is")?)
        .args(std::env::args_os().skip(1))
        .arg("--detached")
        .stdin(if reads_input { Stdio::inherit() } else { Stdio::null() })
        .stdout(input.try_clone().context("cannot make a pipe")?)
        .stderr(input)
        .spawn()
        .context("cannot start the lab")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("the lab said something that is not text")?;
        match line.strip_prefix(READY) {
            Some(up) => {
                eprintln!("{up}");
                return Ok(ExitCode::SUCCESS);
            }
            None => eprintln!("{line}"),
        }
    }
    let status = child.wait().context("the lab is lost")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::from(2), ExitCode::from))
}
