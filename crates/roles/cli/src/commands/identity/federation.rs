//! `lictor identity federation list|show|refresh`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::Subcommand;
use http::Method;
use lictor_model::TrustDomain;
use std::process::ExitCode;

/// The relations to other trust domains, which ClusterFederatedTrustDomains declare or `up --federate-with` does.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// List the relations, who declares them, and how many pods believe them
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one relation
    Show {
        /// To whom
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: TrustDomain,
        #[command(flatten)]
        output: Output,
    },
    /// Ask a trust domain's bundle endpoint at once
    Refresh {
        /// Whose endpoint
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: TrustDomain,
    },
}

pub(super) fn run(verb: &Verb, globals: &Globals) -> Result<ExitCode> {
    let ask = |method, query: &Query| Client::of(&globals.lab).ask(method, "/v1/federation", query)?.print();
    let styled = |query, format| output::styled(query, format, output::style(globals, format));
    match verb {
        Verb::List { output } => ask(Method::GET, &styled(Query::default(), output.output)),
        Verb::Show { trust_domain, output } => {
            ask(Method::GET, &styled(Query::default().with("domain", trust_domain), output.output))
        }
        Verb::Refresh { trust_domain } => ask(Method::POST, &Query::default().with("domain", trust_domain)),
    }
}
