//! One file for each verb.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod control;
pub(crate) mod diff;
pub(crate) mod down;
pub(crate) mod edges;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod flows;
pub(crate) mod identity;
pub(crate) mod internal;
pub(crate) mod lint;
pub(crate) mod probe;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod suggest;
pub(crate) mod test;
pub(crate) mod up;
pub(crate) mod why;

use crate::cli::{Cli, Verb};
use anyhow::Result;
use std::process::ExitCode;

/// Runs the verb.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    let globals = &cli.globals;
    match cli.command {
        Verb::Up(words) => up::run(&words, globals),
        Verb::Control(words) => control::run(&words, globals),
        Verb::Down(words) => down::run(&words, globals),
        Verb::Status(words) => status::run(&words, globals),
        Verb::Check(words) => check::run(words, globals),
        Verb::Why(words) => why::run(words, globals),
        Verb::Edges(words) => edges::run(&words, globals),
        Verb::Diff(words) => diff::run(&words, globals),
        Verb::Lint(words) => lint::run(&words, globals),
        Verb::Test(words) => test::run(&words, globals),
        Verb::Simulate(words) => simulate::run(&words, globals),
        Verb::Suggest(words) => suggest::run(&words, globals),
        Verb::Probe(words) => probe::run(&words, globals),
        Verb::Flows(words) => flows::run(&words, globals),
        Verb::Exec(words) => exec::run(&words, globals),
        Verb::Identity(words) => identity::run(&words, globals),
        Verb::Explain(words) => explain::run(&words),
        Verb::Completions(words) => completions::run(&words),
        Verb::Zygote => internal::zygote(),
        Verb::ProbeClient(words) => internal::probe_client(&words),
    }
}
