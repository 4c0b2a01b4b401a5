//! `lictor edges`.

use crate::cli::{Compat, Files, Globals};
use crate::client::{Client, Query};
use crate::{offline, output};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use http::Method;
use lictor_report::Format;
use lictor_why::{Scope, Show, TooMany, Unclear, pods_named};
use std::process::ExitCode;

/// List who may talk to whom, by workload and declared port.
#[derive(Debug, Args)]
pub(crate) struct Words {
    #[command(flatten)]
    files: Files,
    /// Only connections with an end in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only connections from this pod, workload or service
    #[arg(long, value_name = "END")]
    from: Option<String>,
    /// Only connections to this pod, workload or service
    #[arg(long, value_name = "END")]
    to: Option<String>,
    /// Only connections with this pod, workload or service at either end
    #[arg(long, value_name = "END")]
    focus: Option<String>,
    /// Say what each layer decides, and by which rule
    #[arg(long)]
    explain: bool,
    /// List what workloads are exposed to instead: all, every pod, the outside, pods of some labels
    #[arg(long, conflicts_with_all = ["from", "to", "show"])]
    exposure: bool,
    /// Which connections to list: allowed, denied or all
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    show: ShowWord,
    /// Count in the pods that lictor makes itself, such as the cluster's DNS
    #[arg(short = 'A', long)]
    all: bool,
    /// Answer as another tool does: np-guard (netpol-analyzer), with its `--focus`
    #[arg(long, value_enum, value_name = "TOOL", requires = "files")]
    compat: Option<Compat>,
    /// Form of the output: table, wide, json, yaml, csv, markdown, dot, mermaid or svg
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = format)]
    output: Format,
}

fn format(text: &str) -> Result<Format, String> {
    match text.parse() {
        Ok(Format::Sarif | Format::Junit | Format::Github) | Err(_) => {
            Err("expected one of table, wide, json, yaml, csv, markdown, dot, mermaid, svg".to_owned())
        }
        Ok(format) => Ok(format),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum ShowWord {
    /// Those that are open, to some requests at least
    #[default]
    Allowed,
    /// Those that are not
    Denied,
    /// All
    All,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    if words.compat == Some(Compat::NpGuard) {
        let focus: Vec<String> = words.focus.iter().cloned().collect();
        let lines = lictor_why::guard_list(&offline::objects(&words.files.files, globals)?, &focus);
        output::print(&lictor_report::guard_list(&lines, words.output)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let style = output::style(globals, words.output);
    let show = match words.show {
        ShowWord::Allowed => Show::Allowed,
        ShowWord::Denied => Show::Denied,
        ShowWord::All => Show::All,
    };
    if words.files.files.is_empty() {
        let query = Query::default()
            .with_some("namespace", words.namespace.as_ref())
            .with_some("from", words.from.as_ref())
            .with_some("to", words.to.as_ref())
            .with_some("focus", words.focus.as_ref())
            .with("explain", words.explain)
            .with("exposure", words.exposure)
            .with("show", show.as_str())
            .with("all", words.all);
        let query = output::styled(query, words.output, style);
        return Client::of(&globals.lab).ask(Method::GET, "/v1/edges", &query)?.print();
    }
    let snapshot = offline::snapshot(&words.files, globals)?;
    let namespace = words.namespace.as_deref();
    if let Some(unknown) = namespace.filter(|name| !snapshot.namespaces.contains_key(*name)) {
        let known: Vec<&str> = snapshot.namespaces.keys().map(|name| &**name).collect();
        bail!("there is no namespace {unknown}\n  help: there are {}", known.join(", "));
    }
    let pods = |end: &Option<String>| match end {
        Some(text) => pods_named(&snapshot, text, namespace.unwrap_or("default")).map(Some).map_err(unclear),
        None => Ok(None),
    };
    if words.exposure {
        let focus = pods(&words.focus)?;
        let chosen = |pod: &lictor_cluster::Pod| {
            namespace.is_none_or(|own| *pod.name.namespace == *own)
                && focus.as_ref().is_none_or(|names| names.contains(&pod.name))
        };
        let exposed = lictor_why::exposure(&snapshot, &chosen);
        output::print(&lictor_report::exposure(&exposed, words.output, style)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let scope = Scope {
        focus: pods(&words.focus)?,
        explain: words.explain,
        sources: pods(&words.from)?,
        destinations: pods(&words.to)?,
        namespace: namespace.map(Into::into),
        built_in: words.all,
    };
    let edges = lictor_why::edges(&snapshot, &scope, show).map_err(too_many)?;
    output::print(&lictor_report::edges(&edges, words.output, style)?)?;
    Ok(ExitCode::SUCCESS)
}

/// More than can be listed, with what to do about it.
pub(crate) fn too_many(error: TooMany) -> anyhow::Error {
    anyhow::anyhow!("{error}\n  help: {}", TooMany::HINT)
}

/// A name that names nothing, with what may have been meant.
pub(crate) fn unclear(unclear: Unclear) -> anyhow::Error {
    match unclear.hint() {
        Some(hint) => anyhow::anyhow!("{unclear}\n  help: {hint}"),
        None => anyhow::anyhow!("{unclear}"),
    }
}
