//! `lictor identity token` and `lictor identity node`: what an operator of control does, and `lictor identity membership`.

use crate::cli::{Globals, Output};
use crate::client::{Client, Query};
use crate::commands::up::duration;
use crate::output;
use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use lictor_lab::NodeName;
use std::process::ExitCode;
use std::time::Duration;

/// One-time tokens by which nodes join (`lictor control`).
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token; its text is told this once
    Generate(Generate),
    /// List the tokens that wait to be used
    List(Shown),
    /// Take a token back
    Revoke {
        /// The token, as `list` names it
        #[arg(value_name = "TOKEN")]
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// The one node that it lets in; any that has not joined if none is named
    #[arg(long, value_name = "NAME")]
    node: Option<NodeName>,
    /// How long it waits to be used
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    ttl: Duration,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Shown {
    #[command(flatten)]
    output: Output,
}

/// The nodes that have joined (`lictor control`).
#[derive(Debug, Subcommand)]
pub(super) enum Node {
    /// List the nodes that have joined
    List(Shown),
    /// Take a node out: it is issued nothing more, and needs a new token
    Evict {
        /// The node
        #[arg(value_name = "NODE")]
        node: NodeName,
    },
}

pub(super) fn token(words: &Token, globals: &Globals) -> Result<ExitCode> {
    let path = "/v1/identity/tokens";
    match words {
        Token::Generate(Generate { node, ttl, output }) => {
            let query = Query::default().with_some("node", node.as_ref()).with("ttl", ttl.as_secs());
            ask(globals, Method::POST, path, query, *output)
        }
        Token::List(Shown { output }) => ask(globals, Method::GET, path, Query::default(), *output),
        Token::Revoke { id } => {
            Client::of(&globals.lab).ask(Method::DELETE, path, &Query::default().with("id", id))?.print()
        }
    }
}

pub(super) fn node(words: &Node, globals: &Globals) -> Result<ExitCode> {
    let path = "/v1/identity/nodes";
    match words {
        Node::List(Shown { output }) => ask(globals, Method::GET, path, Query::default(), *output),
        Node::Evict { node } => {
            Client::of(&globals.lab).ask(Method::DELETE, path, &Query::default().with("node", node))?.print()
        }
    }
}

pub(super) fn membership(words: &Shown, globals: &Globals) -> Result<ExitCode> {
    ask(globals, Method::GET, "/v1/identity/membership", Query::default(), words.output)
}

fn ask(globals: &Globals, method: Method, path: &str, query: Query, output: Output) -> Result<ExitCode> {
    let query = output::styled(query, output.output, output::style(globals, output.output));
    Client::of(&globals.lab).ask(method, path, &query)?.print()
}
