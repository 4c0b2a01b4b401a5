//! Findings: with the lines that they are about, or for programs.

use crate::format::Format;
use crate::gathered::{Gathered, gathered};
use crate::style::Style;
use lictor_manifest::{Finding, Level, render};
use std::fmt::Write;
use std::sync::Arc;

/// Findings in the form that was asked for; `text` gives a file's content. A text ends with a line that counts.
///
/// # Errors
/// When JSON or YAML cannot be written; findings always can.
pub fn findings(
    findings: &[Finding],
    text: impl Fn(&Arc<str>) -> Option<String>,
    format: Format,
    style: Style,
) -> Result<String, serde_json::Error> {
    let results: Vec<Gathered> = findings.iter().map(Gathered::from).collect();
    if let Some(document) = gathered(&results, "lint", format)? {
        return Ok(document);
    }
    if let Some(document) = format.document(&findings)? {
        return Ok(document);
    }
    let mut out = String::new();
    for finding in findings {
        let source = text(&finding.position.file);
        let _ = writeln!(out, "{}\n", render(finding, source.as_deref(), style.colour));
    }
    let count = |level: Level, word: &str| match findings.iter().filter(|finding| finding.level == level).count() {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let counts = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")];
    let counts: Vec<String> = counts.map(|(level, word)| count(level, word)).into();
    let _ = writeln!(out, "{}; `lictor explain CODE` says more about one", counts.join(", "));
    Ok(out)
}
