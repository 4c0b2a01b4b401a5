//! `lictor diff`.

use crate::cli::{Compat, Files, Globals, gathering_format};
use crate::client::{Client, Query};
use crate::commands::edges::too_many;
use crate::{offline, output, records};
use anyhow::{Context, Result};
use clap::Args;
use lictor_report::Format;
use lictor_why::Scope;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare who may talk to whom between two folders of manifests, or between the running lab and one
#[derive(Debug, Args)]
#[command(override_usage = "lictor diff [OPTIONS] [OLD] NEW")]
#[command(after_help = "Exit codes: 0 no connection differs, 1 some do, 2 usage or failure.\n\n\
                        Examples:\n  git worktree add ../before main && lictor diff ../before/deploy deploy\n  \
                        lictor diff deploy                       what would change in the running lab\n  \
                        lictor diff old new --only-observed flows.jsonl")]
pub(crate) struct Words {
    /// The manifests as they were and as they are to be: a folder, a file, or `-` each; one alone is compared with the
    /// running lab
    #[arg(value_name = "FOLDER", num_args = 1..=2, required = true)]
    folders: Vec<PathBuf>,
    /// Only connections that were seen, by decisions as `lictor flows -o json` prints them
    #[arg(long, value_name = "FLOWS")]
    only_observed: Option<PathBuf>,
    /// Only connections with an end in this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The trust domain of the identities
    #[arg(long, default_value = "cluster.local", value_name = "NAME")]
    trust_domain: lictor_model::TrustDomain,
    /// Let address blocks of policies leave pods and nodes out, as Cilium's do
    #[arg(long)]
    cidr_excludes_pods: bool,
    /// Answer as another tool does: np-guard (netpol-analyzer)
    #[arg(long, value_enum, value_name = "TOOL")]
    compat: Option<Compat>,
    /// Print warnings and notes about the files as well
    #[arg(short, long)]
    verbose: bool,
    /// Form of the output: table, wide, json, yaml, sarif, junit or github
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = gathering_format)]
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
    let [old, new_folder] = words.folders.as_slice() else { return with_lab(words, globals) };
    if words.compat == Some(Compat::NpGuard) {
        let of = |folder: &Path| offline::objects(&[folder.to_owned()], globals);
        let changes = lictor_why::guard_diff(&of(old)?, &of(new_folder)?);
        output::print(&lictor_report::guard_diff(&changes, words.output)?)?;
        return Ok(ExitCode::from(u8::from(!changes.is_empty())));
    }
    let (old, new) = (read(old)?, read(new_folder)?);
    let scope = Scope { namespace: words.namespace.as_deref().map(Into::into), ..Scope::default() };
    let observed = words.only_observed.as_ref();
    let records = observed.map(|file| records::read(Some(file), None, &globals.lab)).transpose()?;
    let mut difference = lictor_why::diff(&old, &new, &scope, records.as_deref()).map_err(too_many)?;
    if matches!(words.output, Format::Sarif | Format::Github | Format::Junit) {
        let places = difference.changes.iter_mut().filter_map(|change| change.after.as_mut()?.at.as_mut());
        places.for_each(|place| offline::root(place, std::slice::from_ref(new_folder)));
    }
    let style = output::style(globals, words.output);
    output::print(&lictor_report::diff(&difference, words.output, style)?)?;
    Ok(ExitCode::from(u8::from(!difference.changes.is_empty())))
}

/// The lab reads the folder itself, so that pods get the addresses that they would get.
fn with_lab(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let absolute = |path: &PathBuf| {
        let found = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
        Ok::<_, anyhow::Error>(found.display().to_string())
    };
    let new = words.folders.first().map(absolute).transpose()?;
    let observed = words.only_observed.as_ref().map(absolute).transpose()?;
    let query = Query::default()
        .with_some("new", new)
        .with_some("observed", observed)
        .with_some("namespace", words.namespace.as_ref());
    let query = output::styled(query, words.output, output::style(globals, words.output));
    Client::of(&globals.lab).ask(http::Method::GET, "/v1/diff", &query)?.print()
}
