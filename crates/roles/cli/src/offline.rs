//! Questions on files alone.

use crate::cli::{Files, Globals};
use crate::output::stderr_colour;
use anyhow::{Context, Result, bail};
use lictor_cluster::Snapshot;
use lictor_manifest::{Code, Finding, Level, Object, Position, render};
use lictor_sources::{Cluster, Sources, Texts};
use std::path::PathBuf;

/// What files hold, whatever is wrong with it.
pub(crate) struct Loaded {
    /// The cluster.
    pub(crate) snapshot: Snapshot,
    /// What reading the files and building the cluster found.
    pub(crate) findings: Vec<Finding>,
    /// The files.
    pub(crate) texts: Texts,
}

/// Reads files.
///
/// # Errors
/// When the standard input cannot be read.
pub(crate) fn load(files: &[PathBuf], cidr_excludes_pods: bool) -> Result<Loaded> {
    let mut cluster = Cluster::default();
    cluster.cidr_excludes_pods = cidr_excludes_pods;
    load_in(files, &cluster)
}

fn load_in(files: &[PathBuf], cluster: &Cluster) -> Result<Loaded> {
    let sources = Sources::new(files.iter().cloned()).context("cannot read the standard input")?;
    let loaded = sources.load();
    let (snapshot, about_objects) = cluster.snapshot(&loaded.objects);
    let findings = loaded.findings.into_iter().chain(about_objects).collect();
    Ok(Loaded { snapshot, findings, texts: loaded.texts })
}

/// The objects of files.
///
/// # Errors
/// When a file has an error, which is told on the standard error.
pub(crate) fn objects(files: &[PathBuf], globals: &Globals) -> Result<Vec<Object>> {
    let loaded = Sources::new(files.iter().cloned()).context("cannot read the standard input")?.load();
    let errors: Vec<&Finding> = loaded.findings.iter().filter(|finding| finding.is_error()).collect();
    tell(&errors, &loaded.texts, false, stderr_colour(globals));
    match errors.len() {
        0 => Ok(loaded.objects),
        count => bail!("{count} errors in the manifests; nothing is answered from half of them"),
    }
}

/// Names a file as one would from here: below one folder, positions are relative to it.
pub(crate) fn root(position: &mut Position, sources: &[PathBuf]) {
    if let [folder] = sources
        && folder.is_dir()
        && !position.file.is_empty()
    {
        position.file = folder.join(&*position.file).display().to_string().into();
    }
}

/// The cluster that the files describe.
///
/// # Errors
/// When a file has an error: a question on half of the policies has a wrong answer. Errors are on the standard error
/// then; warnings and notes only when asked for. A policy that an engine refuses is an error that is told, and no
/// hindrance: the answer is that it fails closed.
pub(crate) fn snapshot(files: &Files, globals: &Globals) -> Result<Snapshot> {
    let mut cluster = Cluster::default();
    cluster.trust_domain = files.trust_domain.clone();
    cluster.cidr_excludes_pods = files.cidr_excludes_pods;
    let Loaded { snapshot, findings, texts } = load_in(&files.files, &cluster)?;
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let about_policies = if errors == 0 { lictor_why::findings(&snapshot) } else { Vec::new() };
    let findings: Vec<&Finding> = findings.iter().chain(&about_policies).collect();
    tell(&findings, &texts, files.verbose, stderr_colour(globals));
    match errors {
        0 => Ok(snapshot),
        1 => bail!("one error in the manifests; nothing is answered from half of them"),
        errors => bail!("{errors} errors in the manifests; nothing is answered from half of them"),
    }
}

/// Kinds that are not acted on are named up to this many times.
const NAMED: usize = 5;

/// Prints findings with the lines that they are about, and counts those that it leaves out. What is not acted on is
/// named in any case: an answer that leaves a policy out must say so.
pub(crate) fn tell(findings: &[&Finding], texts: &Texts, all: bool, colour: bool) {
    for finding in findings.iter().filter(|finding| all || finding.is_error()) {
        let text = texts.get(&finding.position.file).map(String::as_str);
        eprintln!("{}\n", render(finding, text, colour));
    }
    if all {
        return;
    }
    let left: Vec<&&Finding> = findings.iter().filter(|finding| !finding.is_error()).collect();
    let (passed, left): (Vec<&&Finding>, Vec<&&Finding>) =
        left.into_iter().partition(|finding| finding.code == Code::NotActedOn);
    for finding in passed.iter().take(NAMED) {
        eprintln!("{} {}: {}", finding.level, finding.code, finding.message);
    }
    if let Some(more) = passed.len().checked_sub(NAMED).filter(|more| *more > 0) {
        eprintln!("and {more} more that are not acted on");
    }
    let count = |level: Level, word: &str| match left.iter().filter(|finding| finding.level == level).count() {
        0 => None,
        1 => Some(format!("1 {word}")),
        count => Some(format!("{count} {word}s")),
    };
    let counts: Vec<String> =
        [count(Level::Warning, "warning"), count(Level::Note, "note")].into_iter().flatten().collect();
    if !counts.is_empty() {
        eprintln!("{} about the manifests; -v shows them", counts.join(" and "));
    }
    if !passed.is_empty() || !counts.is_empty() {
        eprintln!();
    }
}
