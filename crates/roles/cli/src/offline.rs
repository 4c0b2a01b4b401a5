//! Questions on files alone.

use crate::cli::{Files, Globals};
use crate::output::stderr_colour;
use anyhow::{Context, Result, bail};
use lictor_cluster::Snapshot;
use lictor_manifest::{Finding, Level, render};
use lictor_sources::{Cluster, Sources, Texts};

/// The cluster that the files describe.
///
/// # Errors
/// When a file has an error: a question on half of the policies has a wrong answer. The findings are on the standard
/// error then; warnings and notes only when asked for.
pub(crate) fn snapshot(files: &Files, globals: &Globals) -> Result<Snapshot> {
    let sources = Sources::new(files.files.iter().cloned()).context("cannot read the standard input")?;
    let loaded = sources.load();
    let defaults = Cluster::default();
    let cluster = Cluster::new(files.trust_domain.clone(), defaults.pods, defaults.services)?;
    let (snapshot, about_objects) = cluster.snapshot(&loaded.objects);
    let findings: Vec<&Finding> = loaded.findings.iter().chain(&about_objects).collect();
    tell(&findings, &loaded.texts, files.verbose, stderr_colour(globals));
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    match errors {
        0 => Ok(snapshot),
        1 => bail!("one error in the manifests; nothing is answered from half of them"),
        errors => bail!("{errors} errors in the manifests; nothing is answered from half of them"),
    }
}

/// Prints findings with the lines that they are about, and counts those that it leaves out.
pub(crate) fn tell(findings: &[&Finding], texts: &Texts, all: bool, colour: bool) {
    for finding in findings.iter().filter(|finding| all || finding.is_error()) {
        let text = texts.get(&finding.position.file).map(String::as_str);
        eprintln!("{}\n", render(finding, text, colour));
    }
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let (warnings, notes) = (count(Level::Warning), count(Level::Note));
    if !all && warnings > 0 {
        let more = if notes > 0 { format!(" and {notes} notes") } else { String::new() };
        eprintln!("{warnings} warnings{more} about the manifests; -v shows them\n");
    }
}
