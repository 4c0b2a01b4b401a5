//! Decisions as they were made, one a line.

use crate::answer::endpoint;
use crate::edges::by_words;
use crate::format::Format;
use crate::style::{Style, Tone, padded};
use lictor_model::{Close, Decision, Party, Record, Verdict};
use time::OffsetDateTime;

/// One record as one line, with its line break: text, or JSON as it stands in the decision log.
///
/// # Errors
/// When JSON cannot be written; a record always can.
pub fn flow(record: &Record, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if format == Format::Json {
        return serde_json::to_string(record).map(|line| line + "\n");
    }
    Ok(match record {
        Record::Decision(decision) => of_decision(decision, style),
        Record::Close(close) => of_close(close, style),
    })
}

fn of_decision(decision: &Decision, style: Style) -> String {
    let (word, tone) = match (decision.verdict, decision.would) {
        (Verdict::Deny, _) => ("DENIED", Tone::Bad),
        (Verdict::Allow, Verdict::Deny) => ("AUDITED", Tone::Doubtful),
        (Verdict::Allow, Verdict::Allow) => ("ALLOWED", Tone::Good),
    };
    let to = endpoint(&name(&decision.destination), decision.destination.port, decision.protocol);
    let request = match (&decision.method, &decision.path, &decision.host) {
        (Some(method), Some(path), _) => format!("  {method} {path}"),
        (None, None, Some(name)) => format!("  DNS {name}"),
        _ => String::new(),
    };
    let tls = if decision.encrypted { "  mutual TLS" } else { "" };
    let who = format!("{}: {}", decision.layer, by_words(&decision.by));
    format!(
        "{}  {}{}  {} -> {to}{request}  {}{tls}  {}\n",
        style.paint(Tone::Faint, &clock(decision.time)),
        style.paint(tone, word),
        &padded(word, 7)[word.len()..],
        name(&decision.source),
        style.paint(Tone::Faint, &who),
        style.paint(Tone::Faint, &format!("#{}", decision.id)),
    )
}

fn of_close(close: &Close, style: Style) -> String {
    let (word, why) = match &close.ended_by {
        Some(by) => (style.paint(Tone::Bad, "ENDED  "), format!("  {}", by_words(by))),
        None => ("closed ".to_owned(), String::new()),
    };
    format!(
        "{}  {word}  #{}  {} sent, {} received{why}\n",
        style.paint(Tone::Faint, &clock(close.time)),
        close.id,
        bytes(close.bytes_sent),
        bytes(close.bytes_received)
    )
}

fn name(party: &Party) -> String {
    party.pod.as_ref().map_or_else(|| party.address.to_string(), ToString::to_string)
}

/// The time of day in UTC, to the millisecond.
fn clock(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    format!("{:02}:{:02}:{:02}.{:03}", time.hour(), time.minute(), time.second(), time.millisecond())
}

/// A number of bytes in the unit that a person reads it in.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}
