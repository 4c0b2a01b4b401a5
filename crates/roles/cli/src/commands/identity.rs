//! `lictor identity`.

mod bundle;
mod ca;
mod certificates;
mod explain;
mod federation;
mod members;
mod show;
mod source;
mod workload;

use crate::cli::Globals;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// See and change who signs identities, whom a lab believes, and what Certificates have.
#[derive(Debug, Args)]
pub(crate) struct Words {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List who has which identity
    Show(show::Words),
    /// Fetch SVIDs, tokens or bundles from a Workload API, as the process that asks
    #[command(subcommand)]
    Fetch(workload::fetch::What),
    /// Follow the X509-SVIDs of the calling process as they are renewed
    Watch(workload::fetch::X509),
    /// Ask a Workload API what a token proves
    Validate(workload::validate::Words),
    /// Explain certificates, and judge them by a bundle
    X509(explain::X509),
    /// Explain a token, and judge it by a bundle
    Jwt(explain::Jwt),
    /// The authorities that sign identities, and the steps of their lives
    #[command(subcommand)]
    Ca(ca::Step),
    /// Trust bundles: the own one, and those of federated trust domains
    Bundle(bundle::Words),
    /// The Certificates of cert-manager's kind, and the Secrets that they fill
    #[command(subcommand)]
    Certificates(certificates::Step),
    /// The relations to other trust domains
    #[command(subcommand)]
    Federation(federation::Verb),
    /// The Workload API that a lab's identities come from (`lictor up --workload-api`)
    Source(source::Words),
    /// One-time tokens by which nodes join (`lictor control`)
    #[command(subcommand)]
    Token(members::Token),
    /// The nodes that have joined (`lictor control`)
    #[command(subcommand)]
    Node(members::Node),
    /// How a lab stands with the control that issues its identities (`lictor up --control`)
    Membership(members::Shown),
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    match &words.what {
        What::Show(words) => show::run(words, globals),
        What::Fetch(what) => workload::fetch::run(what, globals),
        What::Watch(words) => workload::fetch::watch(words, globals),
        What::Validate(words) => workload::validate::run(words),
        What::X509(words) => explain::x509(words, globals),
        What::Jwt(words) => explain::jwt(words, globals),
        What::Ca(step) => ca::run(step, globals),
        What::Bundle(words) => bundle::run(words, globals),
        What::Certificates(step) => certificates::run(step, globals),
        What::Federation(verb) => federation::run(verb, globals),
        What::Source(words) => source::run(words, globals),
        What::Token(words) => members::token(words, globals),
        What::Node(words) => members::node(words, globals),
        What::Membership(words) => members::membership(words, globals),
    }
}
