//! `lictor identity certificates`.

use crate::cli::{Globals, Namespace, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use lictor_report::Format;
use std::process::ExitCode;

/// What can be asked about Certificates, and done to them.
#[derive(Debug, Subcommand)]
pub(super) enum Step {
    /// List the Certificates, and what keeps one from being ready
    List(List),
    /// Show the status of a Certificate
    Describe(Named),
    /// Show a Secret of a Certificate; its values with -o yaml or -o json
    Secret(Named),
    /// Have a Certificate issued again now
    Renew(Name),
    /// Delete a Secret; the Certificate that names it is issued anew, with a new key
    DeleteSecret(Name),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The Certificates of this namespace alone
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// Its name, such as production/workload-cert
    #[arg(value_name = "[NAMESPACE/]NAME")]
    name: String,
    #[command(flatten)]
    namespace: Namespace,
}

pub(super) fn run(step: &Step, globals: &Globals) -> Result<ExitCode> {
    let ask = |method, path: &str, format: Format, query: Query| {
        let query = output::styled(query, format, output::style(globals, format));
        Client::of(&globals.lab).ask(method, &format!("/v1/identity/certificates{path}"), &query)?.print()
    };
    let named = |name: &Name| Query::default().with("name", &name.name).with("namespace", &name.namespace.namespace);
    match step {
        Step::List(list) => {
            let query = Query::default().with_some("namespace", list.namespace.as_ref());
            ask(Method::GET, "", list.output.output, query)
        }
        Step::Describe(one) => ask(Method::GET, "/describe", one.output.output, named(&one.name)),
        Step::Secret(one) => ask(Method::GET, "/secret", one.output.output, named(&one.name)),
        Step::Renew(name) => ask(Method::POST, "/renew", Format::Text, named(name)),
        Step::DeleteSecret(name) => ask(Method::POST, "/delete-secret", Format::Text, named(name)),
    }
}
