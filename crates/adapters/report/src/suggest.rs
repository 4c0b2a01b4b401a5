//! Suggested policies: documents to apply, with what they come to as comments.

use crate::answer::endpoint;
use crate::format::Format;
use lictor_why::{SeenEnd, Suggestion};
use std::fmt::Write;

/// So many connections beyond what was seen are named in a comment.
const NAMED: usize = 20;

/// The suggestion in the form that was asked for; as text a stream of YAML documents.
///
/// # Errors
/// When JSON or YAML cannot be written; a suggestion always can.
pub fn suggestion(suggestion: &Suggestion, format: Format) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(suggestion)? {
        return Ok(document);
    }
    let mut out = String::new();
    let covered = suggestion.observed - suggestion.missed.len();
    let _ = writeln!(out, "# {covered} of {} connections that were seen are allowed.", suggestion.observed);
    for seen in &suggestion.missed {
        let name = |end: &SeenEnd| end.pod.as_ref().map_or_else(|| end.address.to_string(), ToString::to_string);
        let to = endpoint(&name(&seen.destination), seen.port, seen.protocol);
        let _ = writeln!(out, "# NOT allowed: {} -> {to}", name(&seen.source));
    }
    match suggestion.beyond.len() {
        0 => out.push_str("# Nothing else becomes possible on a port that a pod declares.\n"),
        count => {
            let _ = writeln!(out, "# {count} more become possible on ports that pods declare:");
        }
    }
    for beyond in suggestion.beyond.iter().take(NAMED) {
        let to = endpoint(&beyond.destination.to_string(), beyond.port, beyond.protocol);
        let _ = writeln!(out, "#   {} -> {to}", beyond.source);
    }
    if let Some(more) = suggestion.beyond.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let _ = writeln!(out, "#   and {more} more");
    }
    for policy in &suggestion.instead_of {
        let _ = writeln!(out, "# It stands in for {policy}: what that allows is allowed for as long as it is there.");
    }
    for policy in &suggestion.policies {
        out.push_str("---\n");
        out.push_str(&policy.to_yaml());
    }
    Ok(out)
}
