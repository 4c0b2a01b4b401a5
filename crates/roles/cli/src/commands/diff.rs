//! `lictor diff`.

use crate::cli::{Files, Globals, plain_format};
use crate::{offline, output};
use anyhow::{Context, Result};
use clap::Args;
use lictor_report::Format;
use lictor_why::Scope;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare who may talk to whom between two folders of manifests
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 no connection differs, 1 some do, 2 usage or failure.\n\n\
                        Example:\n  git worktree add ../before main && lictor diff ../before/deploy deploy")]
pub(crate) struct Words {
    /// The manifests as they were: a folder, a file, or `-`
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The manifests as they are to be
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Only connections with an end in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The trust domain of the identities
    #[arg(long, default_value = "cluster.local", value_name = "NAME")]
    trust_domain: lictor_model::TrustDomain,
    /// Let address blocks of policies leave pods and nodes out, as Cilium's do
    #[arg(long)]
    cidr_excludes_pods: bool,
    /// Print warnings and notes about the files as well
    #[arg(short, long)]
    verbose: bool,
    /// Form of the output: table, wide, json or yaml
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = plain_format)]
    output: Format,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let read = |folder: &Path| {
        let files = Files {
            files: vec![folder.to_owned()],
            trust_domain: words.trust_domain.clone(),
            cidr_excludes_pods: words.cidr_excludes_pods,
            verbose: words.verbose,
        };
        offline::snapshot(&files, globals).with_context(|| format!("{} cannot be compared", folder.display()))
    };
    let (old, new) = (read(&words.old)?, read(&words.new)?);
    let scope = Scope { namespace: words.namespace.as_deref().map(Into::into), ..Scope::default() };
    let difference = lictor_why::diff(&old, &new, &scope);
    let style = output::style(globals, words.output);
    output::print(&lictor_report::diff(&difference, words.output, style)?)?;
    Ok(ExitCode::from(u8::from(!difference.changes.is_empty())))
}
