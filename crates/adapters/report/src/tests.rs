//! What came of unit tests for policies.

use crate::answer::placed;
use crate::format::Format;
use crate::gathered::{Gathered, gathered};
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use serde::Serialize;
use std::fmt::Write;

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRow {
    /// The file's name, or what it calls itself.
    pub suite: String,
    /// What came of it.
    pub result: Gathered,
}

#[derive(Serialize)]
struct Row<'a> {
    suite: &'a str,
    expected: &'a str,
    test: &'a str,
    passed: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// The tests in the form that was asked for; a text ends with a line that counts.
///
/// # Errors
/// When JSON or YAML cannot be written; tests always can.
pub fn tests(rows: &[TestRow], format: Format, style: Style) -> Result<String, serde_json::Error> {
    let results: Vec<Gathered> = rows.iter().map(|row| row.result.clone()).collect();
    if let Some(document) = gathered(&results, "test", format)? {
        return Ok(document);
    }
    let row = |row: &TestRow| {
        let at = row.result.position.as_ref().map(ToString::to_string);
        (at, row.result.level.is_none())
    };
    let told: Vec<(Option<String>, bool)> = rows.iter().map(row).collect();
    let listed: Vec<Row<'_>> = rows
        .iter()
        .zip(&told)
        .map(|(row, (at, passed))| Row {
            suite: &row.suite,
            expected: &row.result.rule,
            test: &row.result.name,
            passed: *passed,
            message: &row.result.message,
            at: at.clone(),
        })
        .collect();
    if let Some(document) = format.document(&listed)? {
        return Ok(document);
    }
    let mut table = Table::new(["RESULT", "EXPECTED", "CONNECTION", "BECAUSE", "WHERE"]);
    for row in rows {
        let (tone, word) = if row.result.level.is_none() { (Tone::Good, "pass") } else { (Tone::Bad, "FAIL") };
        table.row(vec![
            Cell::toned(tone, word),
            row.result.rule.clone().into(),
            row.result.name.clone().into(),
            if row.result.message.is_empty() { "-".to_owned() } else { row.result.message.clone() }.into(),
            row.result.position.as_ref().map_or_else(|| "-".to_owned(), |at| placed(at, "")).into(),
        ]);
    }
    let mut out = table.render(style) + "\n";
    let failed = rows.iter().filter(|row| row.result.level.is_some()).count();
    let _ = writeln!(out, "{} passed, {failed} failed", rows.len() - failed);
    Ok(out)
}
