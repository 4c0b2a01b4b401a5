//! An answer as text: the verdict, the ladder, the fix, the notes.

use crate::edges::end;
use crate::format::Format;
use crate::sentence::sentence;
use crate::style::{Style, Tone, columns, padded, wrapped};
use lictor_manifest::Position;
use lictor_model::{By, Layer, Mode, SpiffeId, Verdict};
use lictor_why::{Answer, Change, Fix, Opening, RequestAsk, Rung};
use std::fmt::Write;

/// Lines of a list of openings before the rest is counted.
const MAX_OPENINGS: usize = 10;
/// Where a rung's sentence begins.
const SENTENCE_AT: usize = 20;

/// An answer in the form that was asked for.
///
/// # Errors
/// When JSON or YAML cannot be written; the answer itself always can.
pub fn answer(answer: &Answer, format: Format, style: Style) -> Result<String, serde_json::Error> {
    Ok(match format.document(answer)? {
        Some(document) => document,
        None => Page { answer, style }.text(),
    })
}

struct Page<'a> {
    answer: &'a Answer,
    style: Style,
}

/// One line of the ladder, before it is laid out.
struct Line {
    layer: &'static str,
    symbol: (&'static str, Tone),
    text: String,
    place: String,
}

impl Page<'_> {
    fn text(&self) -> String {
        let mut out = self.headline();
        out.push('\n');
        out.push_str(&self.ladder());
        if let Some(fix) = &self.answer.fix {
            out.push_str(&self.fix(fix));
        }
        if !self.answer.notes.is_empty() {
            out.push('\n');
        }
        for note in &self.answer.notes {
            let (label, hint) = match note.code {
                Some(code) => (format!("note {code}:"), format!(" (lictor explain {code})")),
                None => ("note:".to_owned(), String::new()),
            };
            let body = format!("{}{hint}", note.text);
            let indent = columns(&label) + 1;
            let width = self.style.width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(40));
            let lines = wrapped(&body, width).join(&format!("\n{}", " ".repeat(indent)));
            let _ = writeln!(out, "{} {lines}", self.style.paint(Tone::Strong, &label));
        }
        out
    }

    fn headline(&self) -> String {
        let answer = self.answer;
        let connection = &answer.connection;
        let (word, tone) = match (answer.verdict, answer.would) {
            (Verdict::Allow, Verdict::Allow) => ("ALLOWED", Tone::Good),
            (Verdict::Allow, Verdict::Deny) => ("ALLOWED", Tone::Doubtful),
            (Verdict::Deny, _) => ("DENIED", Tone::Bad),
        };
        let mut line = format!(
            "{}  {} -> {}",
            padded(word, 7),
            connection.source.name,
            endpoint(&connection.destination.name, connection.port, connection.protocol)
        );
        if let Some(request) = &connection.request {
            let _ = write!(line, "  {}", of_request(request));
        }
        let rung = answer.denied_at.and_then(|layer| answer.rung(layer));
        let reason = rung.map(|rung| {
            let by = match &rung.step.by {
                By::Policy(policy) => format!("by {}", policy.name),
                By::Unknown(_) => "for want of knowledge".to_owned(),
                _ => "by default".to_owned(),
            };
            let would = if answer.verdict.is_allow() { "but would be denied " } else { "" };
            format!("     {would}at {}, {by}", rung.step.layer)
        });
        let painted = self.style.paint(tone, word);
        let rest = line.strip_prefix(word).unwrap_or(&line);
        format!("{painted}{}{}\n", self.style.paint(Tone::Strong, rest), reason.unwrap_or_default())
    }

    fn ladder(&self) -> String {
        let lines: Vec<Line> = self.answer.ladder.iter().flat_map(|rung| self.rung(rung)).collect();
        let place = lines.iter().map(|line| columns(&line.place)).max().unwrap_or_default();
        // The sentences get what the places leave, where the terminal is known; without one nothing wraps.
        let room = self.style.width.map(|width| width.saturating_sub(SENTENCE_AT + 3 + place).max(36));
        let room = room.unwrap_or(usize::MAX);
        let laid: Vec<(Line, Vec<String>)> = lines
            .into_iter()
            .map(|line| {
                // A line without a place has the places' room as well.
                let whole = self.style.width.map_or(usize::MAX, |width| width.saturating_sub(SENTENCE_AT).max(36));
                let text = wrapped(&line.text, if line.place.is_empty() { whole } else { room });
                (line, text)
            })
            .collect();
        let placed = laid.iter().filter(|(line, _)| !line.place.is_empty());
        let at = placed.flat_map(|(_, text)| text.first()).map(|text| columns(text)).max().unwrap_or_default();
        let mut out = String::new();
        for (line, text) in laid {
            let mut text = text.into_iter();
            let first = text.next().unwrap_or_default();
            let (symbol, tone) = line.symbol;
            let _ = write!(out, "  {}{}  ", padded(line.layer, 15), self.style.paint(tone, symbol));
            if line.place.is_empty() {
                out.push_str(&first);
            } else {
                let _ = write!(out, "{}   {}", padded(&first, at), self.style.paint(Tone::Faint, &line.place));
            }
            out.push('\n');
            for rest in text {
                let _ = writeln!(out, "{}{rest}", " ".repeat(SENTENCE_AT));
            }
        }
        out
    }

    /// A rung's own line and the lines below it.
    fn rung(&self, rung: &Rung) -> Vec<Line> {
        let step = &rung.step;
        let symbol = match (step.reached, step.verdict, step.mode) {
            (false, ..) => ("-", Tone::Faint),
            (true, Verdict::Allow, _) => ("✓", Tone::Good),
            (true, Verdict::Deny, Mode::Enforce) => ("✗", Tone::Bad),
            (true, Verdict::Deny, Mode::Audit | Mode::Observe) => ("!", Tone::Doubtful),
        };
        let path = step.by.policy().map(|policy| &*policy.path).unwrap_or_default();
        let place = rung.at.first().map(|at| placed(at, path)).unwrap_or_default();
        let text = sentence(self.answer, rung);
        let mut lines = vec![Line { layer: step.layer.as_str(), symbol, text, place }];
        let below = |text: String, place: String| Line { layer: "", symbol: (" ", Tone::Faint), text, place };
        if step.layer == Layer::Transport && self.answer.connection.encrypted {
            let ends = [&self.answer.connection.source.identity, &self.answer.connection.destination.identity];
            if let [Some(source), Some(destination)] = ends {
                lines.push(below(format!("{source} -> {}", shortened(destination, source)), String::new()));
            }
        }
        for remark in &rung.remarks {
            let said = [("description", &remark.description), ("log value", &remark.log)];
            let said =
                said.into_iter().filter_map(|(word, text)| Some(format!("{word}: {}", one_line(text.as_ref()?))));
            lines.extend(said.map(|text| below(text, String::new())));
        }
        if step.layer == Layer::Authorization {
            lines.extend(step.notes.iter().map(|note| below(note.to_string(), String::new())));
        }
        if step.verdict.is_allow() || !matches!(step.by, By::Isolation(_)) {
            return lines;
        }
        match &step.nearest_miss {
            Some(miss) => {
                let place = rung.nearest_miss_at.as_ref().map(|at| placed(at, &miss.rule.path)).unwrap_or_default();
                lines.push(below(format!("nearest miss: {}", miss.rule.name), place));
                for field in &miss.fields {
                    let name =
                        field.field.strip_prefix(&*miss.rule.path).unwrap_or(&field.field).trim_start_matches('.');
                    lines.push(below(format!("  {name}: wants {}, seen {}", field.wanted, field.seen), String::new()));
                }
            }
            None => {
                let what = match step.layer {
                    Layer::Egress => "no policy that selects this pod has an egress rule",
                    Layer::Ingress => "no policy that selects this pod has an ingress rule",
                    _ => "no ALLOW policy that selects this pod has a rule",
                };
                lines.push(below(format!("nearest miss: none ({what})"), String::new()));
            }
        }
        lines
    }

    fn fix(&self, fix: &Fix) -> String {
        let others = !fix.effect.opens.is_empty() || !fix.effect.closes.is_empty();
        let checked = if others { "what else it does is below" } else { "opens this connection and no other" };
        let once = if self.answer.verdict.is_allow() { " once all layers enforce" } else { "" };
        let mut out = format!("\nSmallest change that allows it{once} (checked: {checked}):\n\n");
        let mut documents = 0;
        for change in &fix.changes {
            match change {
                Change::Apply { document, .. } => {
                    if documents > 0 {
                        out.push_str("  ---\n");
                    }
                    documents += 1;
                    for line in document.to_yaml().lines() {
                        let _ = writeln!(out, "  {line}");
                    }
                }
                Change::Edit { policy, at, edit, .. } => {
                    let place = at.as_ref().map(|at| format!(", {}", placed(at, ""))).unwrap_or_default();
                    let _ = writeln!(out, "  edit {policy}{place}:\n    {edit}");
                }
            }
        }
        for (title, list) in [("It also opens:", &fix.effect.opens), ("It also closes:", &fix.effect.closes)] {
            if list.is_empty() {
                continue;
            }
            let _ = writeln!(out, "\n{}", self.style.paint(Tone::Doubtful, title));
            for opening in list.iter().take(MAX_OPENINGS) {
                let _ = writeln!(out, "  {}", of_opening(opening));
            }
            if let Some(more) = list.len().checked_sub(MAX_OPENINGS).filter(|more| *more > 0) {
                let _ = writeln!(out, "  and {more} more (-o json lists all)");
            }
        }
        out
    }
}

/// A text of an author without its line breaks, and without what a terminal would act on.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).collect()
}

/// `production/db:5432/TCP`; an IPv6 address in brackets.
pub(crate) fn endpoint(name: &str, port: u16, protocol: lictor_model::Protocol) -> String {
    match name.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}/{protocol}"),
        Err(_) => format!("{name}:{port}/{protocol}"),
    }
}

/// `GET /orders/1`.
pub(crate) fn of_request(request: &RequestAsk) -> String {
    let host = request.host.as_ref().map(|host| format!(" (host {host})")).unwrap_or_default();
    format!("{} {}{host}", request.method, request.path)
}

/// `file:line`, and the path that stands there.
pub(crate) fn placed(at: &Position, path: &str) -> String {
    let place = if at.line == 0 { at.file.to_string() } else { format!("{}:{}", at.file, at.line) };
    if path.is_empty() { place } else { format!("{place}  {path}") }
}

fn of_opening(opening: &Opening) -> String {
    let ports = match (opening.ports.first(), opening.ports.last()) {
        (0, u16::MAX) => "all ports".to_owned(),
        _ => opening.ports.to_string(),
    };
    let request = opening.request.as_ref().map(|request| format!(" {}", of_request(request))).unwrap_or_default();
    let to = end(&format!("{}:{ports}/{}", opening.destination, opening.protocol), opening.destination_alike);
    format!("{} -> {to}{request}", end(&opening.source, opening.source_alike))
}

/// An identity without what it shares with another: `.../sa/db`.
fn shortened(id: &SpiffeId, other: &SpiffeId) -> String {
    match (id.workload(), other.workload()) {
        (Some((namespace, account)), Some((same, _))) if id.trust_domain() == other.trust_domain() => {
            if namespace == same { format!(".../sa/{account}") } else { format!(".../ns/{namespace}/sa/{account}") }
        }
        _ => id.to_string(),
    }
}
