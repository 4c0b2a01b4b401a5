//! The `lictor` command.
//!
//! **Purpose.** Words of the command line to a verb, a verb to its file under `commands/`, its result to an exit code:
//! 0 clean, 1 findings, denied or a difference, 2 usage or a failure. Data goes to the standard output, the rest to the
//! standard error.
//!
//! **Not here.** What a verb says comes from `lictor-report`, what it decides from the engines.

mod cli;
mod client;
mod commands;
mod offline;
mod output;
mod records;

use clap::Parser;
use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Snapshots and documents are many small blocks: the system's allocator spends a tenth of reading, and as much as an
/// answer takes, on gathering those that are free.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(2)
        }
    }
}
