//! Lists and differences in the words of np-guard's analyzer.

use crate::format::Format;
use lictor_why::{GuardChange, GuardLine};

/// A list: its lines, or JSON as the analyzer writes it.
///
/// # Errors
/// When JSON or YAML cannot be written; a list always can.
pub fn guard_list(lines: &[GuardLine], format: Format) -> Result<String, serde_json::Error> {
    Ok(match format.document(&lines)? {
        Some(document) => document,
        None => lines.iter().map(|line| format!("{line}\n")).collect(),
    })
}

/// A difference: its lines, or a list for programs.
///
/// # Errors
/// When JSON or YAML cannot be written; a difference always can.
pub fn guard_diff(changes: &[GuardChange], format: Format) -> Result<String, serde_json::Error> {
    Ok(match format.document(&changes)? {
        Some(document) => document,
        None if changes.is_empty() => String::new(),
        None => {
            "Connectivity diff:\n".to_owned() + &changes.iter().map(|change| format!("{change}\n")).collect::<String>()
        }
    })
}
