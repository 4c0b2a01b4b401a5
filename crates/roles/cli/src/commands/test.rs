//! `lictor test`: unit tests for policies.

mod file;

use crate::cli::Globals;
use crate::{offline, output};
use anyhow::{Context, Result, bail};
use clap::Args;
use file::{Expectation, TestFile};
use lictor_cluster::Snapshot;
use lictor_manifest::{Finding, Level, render};
use lictor_model::Verdict;
use lictor_report::{Format, Gathered, TestRow};
use lictor_why::{Answer, Ask};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run unit tests for policies: who may connect to whom, by given manifests
#[derive(Debug, Args)]
#[command(after_help = "A test file is YAML:

  name: the shop's paths
  given: [deploy]                                 # folders and files, from the test file
  allow:
  - production/web -> production/api:8080
  - {from: production/web, to: production/api:8080, method: GET, path: /orders}
  deny:
  - production/web -> production/db:5432

Exit codes: 0 all pass, 1 some fail, 2 usage or failure.")]
pub(crate) struct Words {
    /// Test files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Let address blocks of policies leave pods and nodes out, as Cilium's do
    #[arg(long)]
    cidr_excludes_pods: bool,
    /// Form of the output: table, json, yaml, sarif, junit or github
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = crate::cli::gathering_format)]
    output: Format,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for file in &words.files {
        rows.extend(of_file(file, words, globals)?);
    }
    let style = output::style(globals, words.output);
    output::print(&lictor_report::tests(&rows, words.output, style)?)?;
    Ok(ExitCode::from(u8::from(rows.iter().any(|row| row.result.level.is_some()))))
}

fn of_file(path: &Path, words: &Words, globals: &Globals) -> Result<Vec<TestRow>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let test = TestFile::read(&text).with_context(|| format!("{name} is no test file"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let given: Vec<PathBuf> = test.given.iter().map(|given| folder.join(given)).collect();
    let loaded = offline::load(&given, words.cidr_excludes_pods)?;
    if let Some(error) = loaded.findings.iter().find(|finding: &&Finding| finding.is_error()) {
        let source = loaded.texts.get(&error.position.file).map(String::as_str);
        bail!("{name}: the given manifests have errors\n{}", render(error, source, output::stderr_colour(globals)));
    }
    let suite = test.name.clone().unwrap_or(name);
    let expected = [(Verdict::Allow, &test.allow), (Verdict::Deny, &test.deny)];
    let mut rows = Vec::new();
    for (wanted, list) in expected {
        rows.extend(list.iter().map(|expectation| judge(&loaded.snapshot, &suite, wanted, expectation)));
    }
    Ok(rows)
}

fn judge(snapshot: &Snapshot, suite: &str, wanted: Verdict, expectation: &Expectation) -> TestRow {
    let ask: Ask = expectation.ask();
    let word = if wanted.is_allow() { "allow" } else { "deny" };
    let row = |level, message: String, position| TestRow {
        suite: suite.to_owned(),
        result: Gathered {
            rule: word.to_owned(),
            title: format!("{suite}: expected to be {wanted}"),
            level,
            name: expectation.to_string(),
            message,
            position,
        },
    };
    let question = match ask.resolve(snapshot) {
        Ok(question) => question,
        Err(unclear) => {
            let hint = unclear.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            return row(Some(Level::Error), format!("{unclear}{hint}"), None);
        }
    };
    let answer = lictor_why::answer(snapshot, &question);
    // Every pair of pods has to agree.
    let agrees = match (wanted, answer.pairs) {
        (Verdict::Allow, _) => answer.verdict.is_allow(),
        (Verdict::Deny, Some(pairs)) => pairs.allowed == 0,
        (Verdict::Deny, None) => !answer.verdict.is_allow(),
    };
    if agrees {
        return row(None, String::new(), None);
    }
    let (message, position) = told(&answer);
    row(Some(Level::Error), message, position)
}

/// Who decided otherwise, and where that stands.
fn told(answer: &Answer) -> (String, Option<lictor_manifest::Position>) {
    let rung = match answer.denied_at {
        Some(layer) if !answer.verdict.is_allow() => answer.rung(layer),
        _ => answer.ladder.iter().rev().find(|rung| rung.step.by.policy().is_some()),
    };
    let position = rung.and_then(|rung| rung.at.first().cloned());
    let by = rung.map_or_else(|| "no policy".to_owned(), |rung| format!("{}: {}", rung.step.layer, rung.step.by));
    (format!("it is {} ({by})", answer.verdict), position)
}
