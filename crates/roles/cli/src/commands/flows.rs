//! `lictor flows`.

use crate::cli::Globals;
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::{Args, ValueEnum};
use http::Method;
use lictor_report::Format;
use std::process::ExitCode;

/// Show decisions as they were made, one a line.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// Go on with new ones as they are made
    #[arg(short, long)]
    follow: bool,
    /// Only those with an end in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only those of this pod or workload, at either end
    #[arg(long, value_name = "END")]
    pod: Option<String>,
    /// Only those with this verdict: allowed, denied or audited
    #[arg(long, value_enum, hide_possible_values = true)]
    verdict: Option<VerdictWord>,
    /// Only those for this destination port
    #[arg(long)]
    port: Option<u16>,
    /// The last so many
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    last: usize,
    /// Form of the output: table, or json for one document a line
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = format)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerdictWord {
    /// It went on
    Allowed,
    /// It ended
    Denied,
    /// It went on, and would be denied had every layer enforced
    Audited,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let verdict = words.verdict.map(|verdict| match verdict {
        VerdictWord::Allowed => "allowed",
        VerdictWord::Denied => "denied",
        VerdictWord::Audited => "audited",
    });
    let query = Query::default()
        .with("follow", words.follow)
        .with_some("namespace", words.namespace.as_ref())
        .with_some("pod", words.pod.as_ref())
        .with_some("verdict", verdict)
        .with_some("port", words.port)
        .with("last", words.last);
    let query = output::styled(query, words.output, output::style(globals, words.output));
    let client = Client::of(&globals.lab);
    match words.follow {
        true => client.follow("/v1/flows", &query),
        false => client.ask(Method::GET, "/v1/flows", &query)?.print(),
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text.parse() {
        Ok(format @ (Format::Text | Format::Json)) => Ok(format),
        _ => Err("expected table or json".to_owned()),
    }
}
