//! What workloads are exposed to: a table, or a list for programs.

use crate::answer::placed;
use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_why::{Exposed, To};
use std::fmt::Write;

/// The exposure in the form that was asked for; a text ends with a line that counts.
///
/// # Errors
/// When JSON or YAML cannot be written; an exposure always can.
pub fn exposure(exposed: &[Exposed], format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&exposed)? {
        return Ok(document);
    }
    let mut table = Table::new(["WORKLOAD", "DIRECTION", "OPEN TO", "PEERS", "PORTS", "PODS NOW", "RULE", "WHERE"]);
    for one in exposed {
        let (tone, word) = match (one.open, one.to) {
            (false, _) => (Tone::Good, "denied".to_owned()),
            (true, To::All) => (Tone::Bad, one.to.as_str().to_owned()),
            (true, To::Cluster | To::Outside) => (Tone::Doubtful, one.to.as_str().to_owned()),
            (true, To::Labels) => (Tone::Good, one.to.as_str().to_owned()),
        };
        table.row(vec![
            one.workload.to_string().into(),
            one.direction.as_str().into(),
            Cell::toned(tone, word),
            one.peer.clone().into(),
            one.ports.clone().into(),
            one.pods.to_string().into(),
            one.rule.as_ref().map_or_else(|| "no policy".to_owned(), |rule| rule.name.to_string()).into(),
            one.at.as_ref().map_or_else(|| "-".to_owned(), |at| placed(at, "")).into(),
        ]);
    }
    let mut out = if exposed.is_empty() { String::new() } else { table.render(style) + "\n" };
    let count = |to: To| exposed.iter().filter(|one| one.open && one.to == to).count();
    let _ = writeln!(
        out,
        "{} open to all, {} to every pod of the cluster, {} to the outside, {} by labels",
        count(To::All),
        count(To::Cluster),
        count(To::Outside),
        count(To::Labels)
    );
    Ok(out)
}
