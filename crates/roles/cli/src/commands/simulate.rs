//! `lictor simulate`.

use crate::cli::{Files, Globals};
use crate::{offline, output, records};
use anyhow::Result;
use clap::Args;
use lictor_report::Format;
use lictor_why::Outcome;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Replay recorded decisions under other policies: what would break, and what would open
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing would change, 1 something would, 2 usage or failure.\n\n\
                        Examples:\n  lictor simulate -f deploy --since 24h\n  \
                        lictor flows -o json > flows.jsonl && lictor simulate -f deploy --flows flows.jsonl")]
pub(crate) struct Words {
    /// The manifests to judge by: a folder, a file, or `-`; may be repeated
    #[arg(short, long = "filename", value_name = "DIR", required = true)]
    files: Vec<PathBuf>,
    /// The decisions, as `lictor flows -o json` prints them; those of the running lab if none is named
    #[arg(long, value_name = "FILE")]
    flows: Option<PathBuf>,
    /// Only decisions that are younger, such as 24h, 30m or 7d
    #[arg(long, value_name = "TIME", value_parser = records::period)]
    since: Option<Duration>,
    /// The trust domain of the identities
    #[arg(long, default_value = "cluster.local", value_name = "NAME")]
    trust_domain: lictor_model::TrustDomain,
    /// Let address blocks of policies leave pods and nodes out, as Cilium's do
    #[arg(long)]
    cidr_excludes_pods: bool,
    /// Print warnings and notes about the files as well
    #[arg(short, long)]
    verbose: bool,
    /// Form of the output: table, wide, json, yaml, sarif, junit or github
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = crate::cli::gathering_format)]
    output: Format,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let files = Files {
        files: words.files.clone(),
        trust_domain: words.trust_domain.clone(),
        cidr_excludes_pods: words.cidr_excludes_pods,
        verbose: words.verbose,
    };
    let snapshot = offline::snapshot(&files, globals)?;
    let records = records::read(words.flows.as_ref(), words.since, &globals.lab)?;
    let replays = lictor_why::simulate(&snapshot, &lictor_why::seen(&snapshot, &records));
    let style = output::style(globals, words.output);
    output::print(&lictor_report::simulation(&replays, words.output, style)?)?;
    let changes = replays.iter().any(|replay| matches!(replay.outcome, Outcome::Breaks | Outcome::Opens));
    Ok(ExitCode::from(u8::from(changes)))
}
