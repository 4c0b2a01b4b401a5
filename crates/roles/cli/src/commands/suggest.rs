//! `lictor suggest`.

use crate::cli::{Files, Globals};
use crate::{offline, output, records};
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use lictor_cluster::Pod;
use lictor_report::Format;
use lictor_why::{Dialect, pods_named};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Write the smallest policies under which everything that was seen stays allowed
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every connection that was seen is allowed, 1 one is not, 2 usage or failure.\n\n\
                        Examples:\n  lictor suggest production -f deploy > policies.yaml\n  \
                        lictor suggest production/api -f deploy --flows flows.jsonl --kind cilium"
)]
pub(crate) struct Words {
    /// A namespace, or a pod, workload or service as namespace/name
    #[arg(value_name = "NAMESPACE|WORKLOAD")]
    target: String,
    /// The manifests of the cluster: a folder, a file, or `-`; may be repeated
    #[arg(short, long = "filename", value_name = "DIR", required = true)]
    files: Vec<PathBuf>,
    /// The decisions, as `lictor flows -o json` prints them; those of the running lab if none is named
    #[arg(long, value_name = "FILE")]
    flows: Option<PathBuf>,
    /// Only decisions that are younger, such as 24h, 30m or 7d
    #[arg(long, value_name = "TIME", value_parser = records::period)]
    since: Option<Duration>,
    /// The kind to write: kubernetes (NetworkPolicy) or cilium (CiliumNetworkPolicy)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "KIND")]
    kind: Kind,
    /// Form of the output: table (documents to apply), json or yaml
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = crate::cli::plain_format)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Kind {
    /// NetworkPolicy
    #[default]
    Kubernetes,
    /// CiliumNetworkPolicy
    Cilium,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let files = Files {
        files: words.files.clone(),
        trust_domain: lictor_sources::Cluster::default().trust_domain,
        cidr_excludes_pods: false,
        verbose: false,
    };
    let snapshot = offline::snapshot(&files, globals)?;
    let records = records::read(words.flows.as_ref(), words.since, &globals.lab)?;
    let seen = lictor_why::seen(&snapshot, &records);
    let dialect = match words.kind {
        Kind::Kubernetes => Dialect::Kubernetes,
        Kind::Cilium => Dialect::Cilium,
    };
    let suggestion = if words.target.contains('/') {
        let pods = pods_named(&snapshot, &words.target, "default").map_err(super::edges::unclear)?;
        lictor_why::suggest(&snapshot, &seen, &|pod: &Pod| pods.contains(&pod.name), dialect)
    } else {
        if !snapshot.namespaces.contains_key(&*words.target) {
            let known: Vec<&str> = snapshot.namespaces.keys().map(|name| &**name).collect();
            bail!("there is no namespace {}\n  help: there are {}", words.target, known.join(", "));
        }
        lictor_why::suggest(&snapshot, &seen, &|pod: &Pod| *pod.name.namespace == *words.target, dialect)
    };
    ensure!(!suggestion.policies.is_empty(), "{} has no pod that a policy could be about", words.target);
    output::print(&lictor_report::suggestion(&suggestion, words.output)?)?;
    Ok(ExitCode::from(u8::from(!suggestion.missed.is_empty())))
}
