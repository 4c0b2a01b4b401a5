//! `lictor identity ca`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use lictor_report::Format;
use std::process::ExitCode;

/// One step of an authority's life after the other: prepare, activate, taint, revoke.
#[derive(Debug, Subcommand)]
pub(super) enum Step {
    /// List the authorities and where they are in their lives
    Show(Show),
    /// Make an authority that waits for its turn; everyone believes it from now on
    Prepare(Kind),
    /// Have the prepared authority sign from now on
    Activate(Named),
    /// Mark an old authority as not to be trusted: what it signed is replaced at once
    Taint(Named),
    /// Believe a tainted authority no more
    Revoke(Named),
    /// List the last certificates that were issued
    Issued(Issued),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Kind {
    /// What the authority signs: x509 (certificates) or jwt (tokens)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "KIND")]
    kind: KindWord,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The authority, as `show` names it; the only one that the step can be for, if none is named
    #[arg(value_name = "AUTHORITY")]
    id: Option<String>,
    #[command(flatten)]
    kind: Kind,
}

#[derive(Debug, Args)]
pub(super) struct Issued {
    /// The last so many, at most 1024
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    last: usize,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum KindWord {
    /// Certificates
    #[default]
    X509,
    /// Tokens
    Jwt,
}

pub(super) fn run(step: &Step, globals: &Globals) -> Result<ExitCode> {
    let ask = |method, path: &str, format: Format, query: Query| {
        let query = output::styled(query, format, output::style(globals, format));
        Client::of(&globals.lab).ask(method, &format!("/v1/identity/ca{path}"), &query)?.print()
    };
    let post = |path: &str, kind: &Kind, id: Option<&String>| {
        let word = match kind.kind {
            KindWord::X509 => "x509",
            KindWord::Jwt => "jwt",
        };
        ask(Method::POST, path, kind.output.output, Query::default().with("kind", word).with_some("id", id))
    };
    match step {
        Step::Show(show) => ask(Method::GET, "", show.output.output, Query::default()),
        Step::Issued(issued) => {
            ask(Method::GET, "/issued", issued.output.output, Query::default().with("last", issued.last))
        }
        Step::Prepare(kind) => post("/prepare", kind, None),
        Step::Activate(named) => post("/activate", &named.kind, named.id.as_ref()),
        Step::Taint(named) => post("/taint", &named.kind, named.id.as_ref()),
        Step::Revoke(named) => post("/revoke", &named.kind, named.id.as_ref()),
    }
}
