//! `lictor completions SHELL`.

use crate::cli::Cli;
use crate::output;
use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::process::ExitCode;

/// Print a shell's completion script.
#[derive(Debug, Args)]
#[command(after_help = "For bash: lictor completions bash > /etc/bash_completion.d/lictor")]
pub(crate) struct Words {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(words: &Words) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(words.shell, &mut Cli::command(), "lictor", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
