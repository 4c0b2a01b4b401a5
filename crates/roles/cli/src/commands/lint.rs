//! `lictor lint`.

use crate::cli::Globals;
use crate::{offline, output};
use anyhow::Result;
use clap::Args;
use lictor_manifest::{Code, Finding, Level, Position};
use lictor_report::Format;
use std::path::PathBuf;
use std::process::ExitCode;

/// Look for doubts about policies: what selects nothing, never decides, or is open wider than anybody uses
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing of the level, 1 findings, 2 usage or failure.\n\n\
                        Examples:\n  lictor lint deploy\n  lictor lint deploy --level note --ignore LIC1410,LIC1411\n  \
                        lictor lint deploy -o sarif > lictor.sarif")]
pub(crate) struct Words {
    /// Folders (or files, or `-`) to read manifests from
    #[arg(required = true, value_name = "DIR")]
    sources: Vec<PathBuf>,
    /// The least that is shown, and that makes the exit code 1: error, warning or note
    #[arg(long, default_value = "warning", value_name = "LEVEL", value_parser = level)]
    level: Level,
    /// Codes that are left out
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    ignore: Vec<Code>,
    /// Let address blocks of policies leave pods and nodes out, as Cilium's do
    #[arg(long)]
    cidr_excludes_pods: bool,
    /// Form of the output: table, json, yaml, sarif, junit or github
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = format)]
    output: Format,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let loaded = offline::load(&words.sources, words.cidr_excludes_pods)?;
    let mut findings = loaded.findings;
    if !findings.iter().any(Finding::is_error) {
        findings.extend(lictor_why::findings(&loaded.snapshot));
        findings.extend(lictor_lint::lint(&loaded.snapshot));
    }
    findings.retain(|finding| finding.level <= words.level && !words.ignore.contains(&finding.code));
    let place = |finding: &Finding| {
        let at = &finding.position;
        (at.file.clone(), at.line, at.column, finding.code)
    };
    findings.sort_by_key(place);
    findings.dedup();
    findings.iter_mut().for_each(|finding| offline::root(&mut finding.position, &words.sources));
    let text = |file: &std::sync::Arc<str>| {
        let named = |name: &std::sync::Arc<str>| {
            let mut position = Position::of_file(name.clone());
            offline::root(&mut position, &words.sources);
            position.file == *file
        };
        loaded.texts.iter().find(|(name, _)| named(name)).map(|(_, text)| text.clone())
    };
    let style = output::style(globals, words.output);
    output::print(&lictor_report::findings(&findings, text, words.output, style)?)?;
    Ok(ExitCode::from(u8::from(!findings.is_empty())))
}

fn level(text: &str) -> Result<Level, String> {
    let known = [Level::Error, Level::Warning, Level::Note].into_iter().find(|level| level.as_str() == text);
    known.ok_or_else(|| "expected one of error, warning, note".to_owned())
}

fn format(text: &str) -> Result<Format, String> {
    match text.parse() {
        Ok(format @ (Format::Text | Format::Json | Format::Yaml | Format::Sarif | Format::Junit | Format::Github)) => {
            Ok(format)
        }
        _ => Err("expected one of table, json, yaml, sarif, junit, github".to_owned()),
    }
}
