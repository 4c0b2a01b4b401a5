//! `lictor why FROM TO[:PORT]`.

use crate::cli::{Files, Globals, Namespace, Output};
use crate::client::{Client, Query};
use crate::{offline, output};
use anyhow::{Result, bail};
use clap::Args;
use http::Method;
use lictor_model::Protocol;
use lictor_why::{Ask, RequestAsk};
use std::process::ExitCode;

/// Explain why a connection or request is allowed or denied.
#[derive(Debug, Args)]
#[command(
    after_help = "An end is namespace/name of a pod, a workload or a service, a service's DNS name, an address, or a SPIFFE ID.

Examples:
  lictor why production/api production/db:5432
  lictor why -f examples/shop production/api production/db:5432
  lictor why -f examples/shop checkout/storefront checkout/checkout-service:http -X GET --path /carts/1"
)]
pub(crate) struct Words {
    /// Who opens the connection
    from: String,
    /// Whom it is for; the port may be a number or a name, and may be left out where there is only one
    #[arg(value_name = "TO[:PORT[/PROTOCOL]]")]
    to: String,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    namespace: Namespace,
    #[command(flatten)]
    output: Output,
    /// Ask about a request with this HTTP method
    #[arg(short = 'X', long)]
    method: Option<String>,
    /// Ask about a request for this path
    #[arg(long)]
    path: Option<String>,
    /// The Host of the request
    #[arg(long)]
    host: Option<String>,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The protocol, where the port does not say it: tcp, udp or sctp
    #[arg(long, value_parser = protocol)]
    protocol: Option<Protocol>,
}

pub(crate) fn run(words: Words, globals: &Globals) -> Result<ExitCode> {
    if words.files.files.is_empty() {
        return Client::of(&globals.lab).ask(Method::GET, "/v1/why", &words.query(globals))?.print();
    }
    let snapshot = offline::snapshot(&words.files, globals)?;
    let format = words.output.output;
    let question = match words.ask().resolve(&snapshot) {
        Ok(question) => question,
        Err(unclear) => match unclear.hint() {
            Some(hint) => bail!("{unclear}\n  help: {hint}"),
            None => bail!("{unclear}"),
        },
    };
    let answer = lictor_why::answer(&snapshot, &question);
    output::print(&lictor_report::answer(&answer, format, output::style(globals, format))?)?;
    Ok(ExitCode::from(answer.exit_code()))
}

impl Words {
    fn ask(self) -> Ask {
        let asks = self.method.is_some() || self.path.is_some() || self.host.is_some() || !self.headers.is_empty();
        let request = asks.then(|| RequestAsk {
            method: self.method.unwrap_or_else(|| "GET".to_owned()),
            path: self.path.unwrap_or_else(|| "/".to_owned()),
            host: self.host,
            headers: self.headers,
        });
        Ask { from: self.from, to: self.to, namespace: self.namespace.namespace, protocol: self.protocol, request }
    }

    fn query(&self, globals: &Globals) -> Query {
        let style = output::style(globals, self.output.output);
        let mut query = Query::default()
            .with("from", &self.from)
            .with("to", &self.to)
            .with("namespace", &self.namespace.namespace)
            .with_some("method", self.method.as_ref())
            .with_some("path", self.path.as_ref())
            .with_some("host", self.host.as_ref())
            .with_some("protocol", self.protocol);
        for (name, value) in &self.headers {
            query = query.with("header", format!("{name}: {value}"));
        }
        output::styled(query, self.output.output, style)
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err("expected `NAME: VALUE`".to_owned()),
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    text.to_ascii_uppercase().parse().map_err(|_| "expected tcp, udp or sctp".to_owned())
}
