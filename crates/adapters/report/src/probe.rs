//! Real connections against what was predicted.

use crate::answer::{endpoint, placed};
use crate::edges::by_words;
use crate::format::Format;
use crate::style::{Style, Tone, columns, padded};
use lictor_model::Verdict;
use lictor_why::{Check, Denial, RequestAsk};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Disagreements that are printed; all are in the JSON.
const MAX_SHOWN: usize = 50;

/// What a real connection showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    /// The other end answered.
    Reached,
    /// Nothing came back in time.
    Dropped,
    /// The connection opened and ended before an answer.
    Ended,
    /// The connection was refused: nobody listens there.
    Refused,
    /// An HTTP answer that a policy gave.
    Forbidden,
    /// The connection could not be tried.
    Broken,
}

impl Observed {
    /// What a person reads.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Reached => "an answer",
            Self::Dropped => "no answer",
            Self::Ended => "the connection ended",
            Self::Refused => "the connection was refused",
            Self::Forbidden => "status 403 by a policy",
            Self::Broken => "it could not be tried",
        }
    }
}

/// A check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probed {
    /// The check.
    #[serde(flatten)]
    pub check: Check,
    /// What came of it.
    pub observed: Observed,
    /// Whether that is what was predicted, down to how a denial shows itself; nothing when it could not be tried.
    pub agrees: Option<bool>,
}

impl Probed {
    /// Compares what came of a check with what it expects.
    pub fn new(check: Check, observed: Observed) -> Self {
        let agrees = match (check.expected, check.denial) {
            // Where nobody listens, the packet arrived and was answered: no policy stopped it.
            (Verdict::Allow, _) => matches!(observed, Observed::Reached | Observed::Refused),
            (Verdict::Deny, Some(Denial::Dropped)) => observed == Observed::Dropped,
            (Verdict::Deny, Some(Denial::Closed)) => matches!(observed, Observed::Ended | Observed::Dropped),
            (Verdict::Deny, Some(Denial::Forbidden)) => observed == Observed::Forbidden,
            (Verdict::Deny, None) => matches!(observed, Observed::Dropped | Observed::Ended | Observed::Forbidden),
        };
        Self { check, observed, agrees: (observed != Observed::Broken).then_some(agrees) }
    }
}

/// A whole probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeReport {
    /// How many connections and requests were made.
    pub made: usize,
    /// How many went as predicted.
    pub agreed: usize,
    /// How many could not be tried.
    pub broken: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Each of them.
    pub checks: Vec<Probed>,
}

impl ProbeReport {
    /// A report of these checks.
    pub fn new(checks: Vec<Probed>, seconds: f64) -> Self {
        let count = |agrees| checks.iter().filter(|probed| probed.agrees == agrees).count();
        Self { made: checks.len(), agreed: count(Some(true)), broken: count(None), seconds, checks }
    }

    /// The process's exit code: 1 when anything went otherwise than predicted, or could not be tried.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.agreed != self.made)
    }
}

/// A probe in the form that was asked for: a matrix of sources and destinations, then every disagreement.
///
/// # Errors
/// When JSON or YAML cannot be written; a report always can.
pub fn probe(report: &ProbeReport, format: Format, style: Style) -> Result<String, serde_json::Error> {
    Ok(match format.document(report)? {
        Some(document) => document,
        None => text(report, style),
    })
}

/// What a matrix's cell stands for; the worst of its checks counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Allowed,
    Denied,
    Partly,
    Broken,
    Disagrees,
}

impl Mark {
    fn of(probed: &Probed) -> Self {
        match (probed.agrees, probed.check.expected) {
            (None, _) => Self::Broken,
            (Some(false), _) => Self::Disagrees,
            (Some(true), Verdict::Allow) => Self::Allowed,
            (Some(true), Verdict::Deny) => Self::Denied,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Disagrees, _) | (_, Self::Disagrees) => Self::Disagrees,
            (Self::Broken, _) | (_, Self::Broken) => Self::Broken,
            (one, two) if one == two => one,
            _ => Self::Partly,
        }
    }

    fn symbol(self) -> (&'static str, Tone) {
        match self {
            Self::Allowed => ("✓", Tone::Good),
            Self::Denied => ("✗", Tone::Faint),
            Self::Partly => ("◐", Tone::Doubtful),
            Self::Broken => ("?", Tone::Bad),
            Self::Disagrees => ("!", Tone::Bad),
        }
    }
}

fn text(report: &ProbeReport, style: Style) -> String {
    let mut out = String::new();
    if !report.checks.is_empty() {
        out.push_str(&matrix(report, style));
        out.push('\n');
    }
    let wrong: Vec<&Probed> = report.checks.iter().filter(|probed| probed.agrees != Some(true)).collect();
    for probed in wrong.iter().take(MAX_SHOWN) {
        out.push_str(&disagreement(probed, style));
    }
    if let Some(more) = wrong.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(out, "and {more} more (-o json lists all)");
    }
    if !wrong.is_empty() {
        out.push('\n');
    }
    let allowed = report.checks.iter().filter(|probed| probed.check.expected.is_allow()).count();
    let tone = if wrong.is_empty() { Tone::Good } else { Tone::Bad };
    let mut verdict = match wrong.len().saturating_sub(report.broken) {
        1 => "1 disagreement".to_owned(),
        count => format!("{count} disagreements"),
    };
    if report.broken > 0 {
        let _ = write!(verdict, ", {} could not be tried", report.broken);
    }
    let _ = writeln!(
        out,
        "{} connections in {:.1} s: {allowed} predicted to be allowed, {} denied; {}",
        report.made,
        report.seconds,
        report.made.saturating_sub(allowed),
        style.paint(tone, &verdict)
    );
    out
}

fn matrix(report: &ProbeReport, style: Style) -> String {
    let mut cells: BTreeMap<(&str, String), Mark> = BTreeMap::new();
    for probed in &report.checks {
        let check = &probed.check;
        let to = endpoint(&check.destination.workload, check.port, check.protocol);
        let mark = Mark::of(probed);
        cells.entry((&check.source.workload, to)).and_modify(|cell| *cell = cell.and(mark)).or_insert(mark);
    }
    let sources: BTreeSet<&str> = cells.keys().map(|(source, _)| *source).collect();
    let targets: BTreeSet<&str> = cells.keys().map(|(_, target)| target.as_str()).collect();
    let left = sources.iter().map(|source| columns(source)).max().unwrap_or_default();
    let mut out = String::new();
    let number = |at: usize| format!("{:>3}", at + 1);
    let head: String = (0..targets.len()).map(number).collect();
    let _ = writeln!(out, "{}{}", " ".repeat(left), style.paint(Tone::Strong, &head));
    for source in &sources {
        let _ = write!(out, "{}", padded(source, left));
        for target in &targets {
            match cells.get(&(*source, (*target).to_owned())) {
                Some(mark) => {
                    let (symbol, tone) = mark.symbol();
                    let _ = write!(out, "  {}", style.paint(tone, symbol));
                }
                None => out.push_str("  ·"),
            }
        }
        out.push('\n');
    }
    out.push('\n');
    for (at, target) in targets.iter().enumerate() {
        let _ = writeln!(out, "{}  {target}", style.paint(Tone::Strong, &number(at)));
    }
    out.push_str("\n✓ allowed   ✗ denied   ◐ some requests   ! not as predicted   · itself\n");
    if report.broken > 0 {
        out.push_str("? could not be tried\n");
    }
    out
}

fn disagreement(probed: &Probed, style: Style) -> String {
    let check = &probed.check;
    let to = endpoint(&check.destination.workload, check.port, check.protocol);
    let request =
        check.request.as_ref().map(|request| format!("  {} {}", request.method, request.path)).unwrap_or_default();
    let expected = match (check.expected, check.denial) {
        (Verdict::Allow, _) => "an answer".to_owned(),
        (Verdict::Deny, denial) => {
            let how = match denial {
                Some(Denial::Dropped) => "no answer",
                Some(Denial::Closed) => "the connection to end",
                Some(Denial::Forbidden) => "status 403",
                None => "a denial",
            };
            let place = check.at.as_ref().map(|at| format!(", {}", placed(at, ""))).unwrap_or_default();
            format!("{how} (denied at {}: {}{place})", check.layer, by_words(&check.by))
        }
    };
    format!(
        "{}  {} -> {to}{request}\n  predicted {expected}; there was {}\n  {}\n",
        style.paint(Tone::Bad, if probed.agrees.is_none() { "NOT TRIED" } else { "DISAGREES" }),
        check.source.workload,
        probed.observed.words(),
        again(check)
    )
}

/// The command that explains a check.
fn again(check: &Check) -> String {
    let to = endpoint(&check.destination.workload, check.port, check.protocol);
    let request = |request: &RequestAsk| format!(" --method {} --path {}", request.method, request.path);
    let request = check.request.as_ref().map(request).unwrap_or_default();
    format!("lictor why {} {to}{request}", check.source.workload)
}
