//! What connections two clusters differ in: a table, or a list for programs.

use crate::answer::placed;
use crate::edges::{decided, end, port_of};
use crate::format::Format;
use crate::gathered::{Gathered, gathered};
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_manifest::Level;
use lictor_why::{Became, Difference, Edge, EdgeChange, Reach};
use std::fmt::Write;

/// The difference in the form that was asked for; a text ends with a line that counts.
///
/// # Errors
/// When JSON or YAML cannot be written; a difference always can.
pub fn diff(difference: &Difference, format: Format, style: Style) -> Result<String, serde_json::Error> {
    let results: Vec<Gathered> = difference.changes.iter().map(result).collect();
    if let Some(document) = gathered(&results, "diff", format)? {
        return Ok(document);
    }
    Ok(match format.document(&difference.changes)? {
        Some(document) => document,
        None => table(difference, style),
    })
}

fn table(difference: &Difference, style: Style) -> String {
    let mut table = Table::new(["CHANGE", "FROM", "TO", "BEFORE", "AFTER", "DECIDED BY", "WHERE"]);
    for change in &difference.changes {
        let tone = match change.change {
            Became::Opened => Tone::Good,
            Became::Closed => Tone::Bad,
            Became::Changed => Tone::Doubtful,
        };
        let deciding = change.after.as_ref();
        table.row(vec![
            Cell::toned(tone, change.change.as_str()),
            end(&change.source, change.source_alike).into(),
            port_of(&change.destination, change.destination_alike, change.port, change.protocol).into(),
            state(change.before.as_ref()).into(),
            state(change.after.as_ref()).into(),
            deciding.map_or_else(|| "an end or the port is gone".to_owned(), decided).into(),
            deciding.and_then(|edge| edge.at.as_ref()).map_or_else(|| "-".to_owned(), |at| placed(at, "")).into(),
        ]);
    }
    let mut out = if difference.changes.is_empty() { String::new() } else { table.render(style) + "\n" };
    let [opened, closed, changed] =
        [Became::Opened, Became::Closed, Became::Changed].map(|became| difference.count(became));
    let _ = writeln!(
        out,
        "{} pairs of workload and port: {opened} opened, {closed} closed, {changed} changed",
        difference.compared
    );
    out
}

fn result(change: &EdgeChange) -> Gathered {
    let to = port_of(&change.destination, change.destination_alike, change.port, change.protocol);
    let name = format!("{} -> {to}", end(&change.source, change.source_alike));
    let deciding = change.after.as_ref();
    let by = deciding.map_or_else(|| "an end or the port is gone".to_owned(), decided);
    Gathered {
        rule: change.change.as_str().to_owned(),
        title: format!("a connection is {}", change.change.as_str()),
        level: Some(match change.change {
            Became::Opened | Became::Closed => Level::Warning,
            Became::Changed => Level::Note,
        }),
        message: format!("{name} was {}, is {} ({by})", state(change.before.as_ref()), state(deciding)),
        name,
        position: deciding.and_then(|edge| edge.at.clone()),
    }
}

/// What happens, in few words.
fn state(edge: Option<&Edge>) -> String {
    let Some(edge) = edge else { return "not there".to_owned() };
    let tls = if edge.encrypted && edge.verdict != Reach::Denied { ", TLS" } else { "" };
    let requests = match edge.requests.len() {
        0 => String::new(),
        1 => ", 1 request".to_owned(),
        count => format!(", {count} requests"),
    };
    format!("{}{tls}{requests}", edge.verdict.as_str())
}
