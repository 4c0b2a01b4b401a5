//! A checklist: categories of declarative sentences, each with a hint where it does not hold, and one last verdict.

use crate::format::Format;
use crate::style::{Style, Tone};
use serde::Serialize;
use std::fmt::Write;

/// A checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckList {
    /// What it is for, such as `this machine can run a lab`.
    pub claim: String,
    /// Its parts.
    pub categories: Vec<Category>,
}

/// A part of a checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Category {
    /// What it is about.
    pub name: String,
    /// Its rows.
    pub rows: Vec<CheckRow>,
}

/// One sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRow {
    /// Whether it holds.
    pub state: CheckState,
    /// The sentence.
    pub sentence: String,
    /// What was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// What to do where it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a sentence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// It does.
    Passed,
    /// It could not be found out.
    Unknown,
    /// It does not, and something will not work as well.
    Warning,
    /// It does not, and nothing will work.
    Failed,
}

impl CheckRow {
    /// A sentence that holds.
    pub fn passed(sentence: impl Into<String>) -> Self {
        Self { state: CheckState::Passed, sentence: sentence.into(), seen: None, hint: None }
    }

    /// A sentence that does not, and what to do.
    pub fn failed(state: CheckState, sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state, sentence: sentence.into(), seen: None, hint: Some(hint.into()) }
    }

    /// With what was seen.
    #[must_use]
    pub fn seeing(self, seen: impl Into<String>) -> Self {
        Self { seen: Some(seen.into()), ..self }
    }
}

impl CheckList {
    fn rows(&self) -> impl Iterator<Item = &CheckRow> {
        self.categories.iter().flat_map(|category| &category.rows)
    }

    /// The process's exit code: 1 when a sentence fails.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.rows().any(|row| row.state == CheckState::Failed))
    }
}

/// A checklist in the form that was asked for.
///
/// # Errors
/// When JSON or YAML cannot be written; a checklist always can.
pub fn checklist(list: &CheckList, format: Format, style: Style) -> Result<String, serde_json::Error> {
    Ok(match format.document(list)? {
        Some(document) => document,
        None => text(list, style),
    })
}

fn text(list: &CheckList, style: Style) -> String {
    let mut out = String::new();
    for category in &list.categories {
        let _ = writeln!(out, "{}", style.paint(Tone::Strong, &category.name));
        for row in &category.rows {
            let (symbol, tone) = match row.state {
                CheckState::Passed => ("✓", Tone::Good),
                CheckState::Unknown => ("?", Tone::Doubtful),
                CheckState::Warning => ("!", Tone::Doubtful),
                CheckState::Failed => ("✗", Tone::Bad),
            };
            let seen =
                row.seen.as_ref().map(|seen| style.paint(Tone::Faint, &format!(" ({seen})"))).unwrap_or_default();
            let _ = writeln!(out, "  {}  {}{seen}", style.paint(tone, symbol), row.sentence);
            if let Some(hint) = row.hint.as_ref().filter(|_| row.state != CheckState::Passed) {
                let _ = writeln!(out, "     hint: {hint}");
            }
        }
        out.push('\n');
    }
    let count = |state: CheckState| list.rows().filter(|row| row.state == state).count();
    let failed = count(CheckState::Failed);
    let others = match (count(CheckState::Warning), count(CheckState::Unknown)) {
        (0, 0) => String::new(),
        (warnings, 0) => format!(", {warnings} to look at"),
        (0, unknown) => format!(", {unknown} not known"),
        (warnings, unknown) => format!(", {warnings} to look at, {unknown} not known"),
    };
    let (symbol, tone, verdict) = match failed {
        0 => ("✓", Tone::Good, list.claim.clone()),
        1 => ("✗", Tone::Bad, format!("not so: {} (1 check failed)", list.claim)),
        failed => ("✗", Tone::Bad, format!("not so: {} ({failed} checks failed)", list.claim)),
    };
    let _ = writeln!(out, "{}  {verdict}{others}", style.paint(tone, symbol));
    out
}
