//! The words of the command line.

use crate::commands::{
    completions, control, diff, down, edges, exec, explain, flows, identity, internal, lint, probe, simulate, status,
    suggest, test, up, why,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lictor_report::Format;
use std::path::PathBuf;

/// Zero trust for Kubernetes: identities, mutual TLS, segmentation and authorization, and one answer to "why".
#[derive(Debug, Parser)]
#[command(name = "lictor", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 clean or allowed, 1 findings or denied, 2 usage or failure.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Verb,
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub(crate) struct Globals {
    /// Colour the text: auto, always or never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true,
        help_heading = "Options of every command",
        display_order = 100
    )]
    pub color: ColorWhen,
    /// The lab to ask, as it was named with `lictor up --lab`
    #[arg(
        long,
        global = true,
        default_value = "lab",
        env = "LICTOR_LAB",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "Options of every command",
        display_order = 101
    )]
    pub lab: String,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorWhen {
    /// At a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// In any case
    Always,
    /// In no case
    Never,
}

/// The verbs, in the order in which users meet them.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run what manifests describe, on this machine
    Up(Box<up::Words>),
    /// Take a lab down
    Down(down::Words),
    /// Show a lab's workloads, identities and policies
    Status(status::Words),
    /// See whether this machine can run a lab, and whether one is well
    Check(OutputOnly),
    /// Explain why a connection or request is allowed or denied
    Why(why::Words),
    /// List who may talk to whom
    Edges(edges::Words),
    /// Compare who may talk to whom between two folders
    Diff(diff::Words),
    /// Look for doubts about policies
    Lint(lint::Words),
    /// Run unit tests for policies
    Test(test::Words),
    /// Replay recorded decisions under other policies
    Simulate(simulate::Words),
    /// Write the smallest policies that what was seen needs
    Suggest(suggest::Words),
    /// Open real connections and compare them with what the policies say
    Probe(probe::Words),
    /// Show decisions as they were made
    Flows(flows::Words),
    /// Run a command in a pod
    Exec(exec::Words),
    /// See and change who signs identities, whom a lab believes, and what Certificates have
    Identity(identity::Words),
    /// Let nodes into a trust domain, and issue the identities of their pods
    Control(Box<control::Words>),
    /// Explain a finding's code
    Explain(explain::Words),
    /// Print a shell's completion script
    Completions(completions::Words),
    /// Fork the pods' processes; started by the lab
    #[command(hide = true)]
    Zygote,
    /// Make connections; started by the lab
    #[command(hide = true)]
    ProbeClient(internal::Attempts),
}

/// The form of the output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Form of the output: table, wide, json or yaml
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = plain_format)]
    pub output: Format,
}

/// A verb with nothing but an output.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputOnly {
    #[command(flatten)]
    pub output: Output,
}

/// Where manifests are read from, instead of a lab.
#[derive(Debug, Clone, Args)]
pub(crate) struct Files {
    /// Ask about the manifests below this folder (or in this file, or `-`) instead of a running lab; may be repeated
    #[arg(short, long = "filename", value_name = "DIR")]
    pub files: Vec<PathBuf>,
    /// The trust domain of identities in files
    #[arg(long, default_value = "cluster.local", value_name = "NAME", requires = "files")]
    pub trust_domain: lictor_model::TrustDomain,
    /// Let address blocks of policies in files leave pods and nodes out, as Cilium's do
    #[arg(long, requires = "files")]
    pub cidr_excludes_pods: bool,
    /// Print warnings and notes about the files as well
    #[arg(short, long, requires = "files")]
    pub verbose: bool,
}

/// A tool whose answers can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// np-guard's netpol-analyzer
    NpGuard,
}

/// The namespace of names that have none.
#[derive(Debug, Clone, Args)]
pub(crate) struct Namespace {
    /// The namespace of names that have none
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    pub namespace: String,
}

/// A format that every verb has.
pub(crate) fn plain_format(text: &str) -> Result<Format, String> {
    match text.parse() {
        Ok(format @ (Format::Text | Format::Wide | Format::Json | Format::Yaml)) => Ok(format),
        _ => Err("expected one of table, wide, json, yaml".to_owned()),
    }
}

/// A format that every verb has whose results other programs gather.
pub(crate) fn gathering_format(text: &str) -> Result<Format, String> {
    match text.parse() {
        Ok(format @ (Format::Sarif | Format::Junit | Format::Github)) => Ok(format),
        _ => plain_format(text).map_err(|_| "expected one of table, wide, json, yaml, sarif, junit, github".to_owned()),
    }
}
