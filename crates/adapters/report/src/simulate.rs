//! What was seen, under other policies: what would change, or all of it.

use crate::answer::{endpoint, placed};
use crate::edges::by_words;
use crate::format::Format;
use crate::gathered::{Gathered, gathered};
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_manifest::Level;
use lictor_model::Verdict;
use lictor_why::{Outcome, Replay, SeenEnd};
use std::fmt::Write;

/// The replays in the form that was asked for. A text holds what changes, and ends with a line that counts.
///
/// # Errors
/// When JSON or YAML cannot be written; replays always can.
pub fn simulation(replays: &[Replay], format: Format, style: Style) -> Result<String, serde_json::Error> {
    let results: Vec<Gathered> = replays.iter().map(result).collect();
    if let Some(document) = gathered(&results, "simulate", format)? {
        return Ok(document);
    }
    Ok(match format.document(&replays)? {
        Some(document) => document,
        None => table(replays, style),
    })
}

fn name(end: &SeenEnd) -> String {
    end.pod.as_ref().map_or_else(|| end.address.to_string(), ToString::to_string)
}

fn what(replay: &Replay) -> String {
    let to = endpoint(&name(&replay.seen.destination), replay.seen.port, replay.seen.protocol);
    let request = replay.seen.request.as_ref().map(|asked| format!("  {} {}", asked.method, asked.path));
    format!("{to}{}", request.unwrap_or_default())
}

fn table(replays: &[Replay], style: Style) -> String {
    let mut table = Table::new(["OUTCOME", "FROM", "TO", "SEEN", "DECIDED BY", "WHERE"]);
    let changed = replays.iter().filter(|replay| replay.outcome != Outcome::Same);
    let mut any = false;
    for replay in changed {
        any = true;
        let tone = match replay.outcome {
            Outcome::Breaks => Tone::Bad,
            Outcome::Opens => Tone::Doubtful,
            Outcome::Gone | Outcome::Same => Tone::Faint,
        };
        let times = if replay.seen.count == 1 { "once".to_owned() } else { format!("{} times", replay.seen.count) };
        table.row(vec![
            Cell::toned(tone, replay.outcome.as_str()),
            name(&replay.seen.source).into(),
            what(replay).into(),
            times.into(),
            replay.by.as_ref().map_or_else(|| "an end is not there".to_owned(), by_words).into(),
            replay.at.as_ref().map_or_else(|| "-".to_owned(), |at| placed(at, "")).into(),
        ]);
    }
    let mut out = if any { table.render(style) + "\n" } else { String::new() };
    let count = |outcome| replays.iter().filter(|replay| replay.outcome == outcome).count();
    let _ = writeln!(
        out,
        "{} connections and requests that were seen: {} break, {} open, {} are of pods that are gone, {} stay as they are",
        replays.len(),
        count(Outcome::Breaks),
        count(Outcome::Opens),
        count(Outcome::Gone),
        count(Outcome::Same)
    );
    out
}

fn result(replay: &Replay) -> Gathered {
    let was = if replay.seen.verdict == Verdict::Allow { "allowed" } else { "denied" };
    let by = replay.by.as_ref().map(by_words).unwrap_or_default();
    let (level, title, message) = match replay.outcome {
        Outcome::Breaks => (Some(Level::Error), "what was allowed would be denied", format!("denied by {by}")),
        Outcome::Opens => (Some(Level::Warning), "what was denied would be allowed", format!("allowed by {by}")),
        Outcome::Gone | Outcome::Same => (None, "nothing changes", String::new()),
    };
    Gathered {
        rule: replay.outcome.as_str().to_owned(),
        title: title.to_owned(),
        level,
        name: format!("{} -> {}", name(&replay.seen.source), what(replay)),
        message: format!("{} -> {} was {was}; it would be {message}", name(&replay.seen.source), what(replay)),
        position: replay.at.clone(),
    }
}
