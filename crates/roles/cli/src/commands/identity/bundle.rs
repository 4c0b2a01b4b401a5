//! `lictor identity bundle list|show|set|delete`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::output;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use lictor_model::TrustDomain;
use std::path::PathBuf;
use std::process::ExitCode;

/// Trust bundles: the own one, and those of federated trust domains.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lictor identity bundle show > own.json            what another trust domain needs to begin with
  lictor identity bundle set other.example b.json   until its endpoint says otherwise
  lictor identity bundle delete other.example       ends the federation, and its peers' connections")]
pub(crate) struct Words {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what is believed, and where it comes from
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Print a bundle
    Show {
        /// Whose bundle; the own one if nobody is named
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: Option<TrustDomain>,
        /// Form: jwks (whole) or pem (the authorities alone)
        #[arg(long, value_enum, default_value_t, value_name = "FORM", hide_possible_values = true)]
        form: Form,
    },
    /// Believe the bundle of a file about a foreign trust domain, until its endpoint gives another one
    Set {
        /// Whose bundle
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: TrustDomain,
        /// A JWK set, or certificates as PEM
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// End the federation with a trust domain
    Delete {
        /// Whose bundle
        #[arg(value_name = "TRUST-DOMAIN")]
        trust_domain: TrustDomain,
    },
}

/// How a bundle is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Form {
    /// SPIFFE's: a JWK set
    #[default]
    Jwks,
    /// The authorities as PEM
    Pem,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let lab = Client::of(&globals.lab);
    let ask = |method, query: &Query| lab.ask(method, "/v1/bundles", query)?.print();
    match &words.verb {
        Verb::List { output: Output { output: format } } => {
            ask(Method::GET, &output::styled(Query::default(), *format, output::style(globals, *format)))
        }
        Verb::Show { trust_domain, form } => {
            let own = || -> Result<TrustDomain> {
                let known = lab.ask(Method::GET, "/v1/bundles", &Query::default().with("output", "json"))?;
                let known: serde_json::Value = serde_json::from_str(&known.text)?;
                let own = known.as_array().and_then(|all| all.iter().find(|one| one["own"] == true));
                let own = own.and_then(|own| own["trustDomain"].as_str());
                Ok(own.context("the lab does not say its trust domain")?.parse()?)
            };
            let domain = trust_domain.clone().map_or_else(own, Ok)?;
            let form = if *form == Form::Pem { "pem" } else { "jwks" };
            ask(Method::GET, &Query::default().with("domain", domain).with("form", form))
        }
        Verb::Set { trust_domain, file } => {
            let file = file.canonicalize().with_context(|| format!("cannot read {}", file.display()))?;
            ask(Method::PUT, &Query::default().with("domain", trust_domain).with("file", file.display()))
        }
        Verb::Delete { trust_domain } => ask(Method::DELETE, &Query::default().with("domain", trust_domain)),
    }
}
