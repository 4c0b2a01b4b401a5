//! What two lists differ in.

use super::{Guard, ends};
use lictor_manifest::Object;
use lictor_model::Direction;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// One line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GuardChange {
    /// `changed`, `added` or `removed`.
    #[serde(rename = "diff-type")]
    pub kind: &'static str,
    /// Who opens the connection.
    pub source: String,
    /// Whom it is for.
    pub destination: String,
    /// What passed, or `No Connections`.
    pub ref1: String,
    /// What passes.
    pub ref2: String,
    /// Which end came or went; empty for none.
    #[serde(rename = "workloads-diff-info", skip_serializing_if = "String::is_empty")]
    pub workloads: String,
}

impl fmt::Display for GuardChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, source, destination, ref1, ref2, workloads } = self;
        write!(f, "diff-type: {kind}, source: {source}, destination: {destination}, ref1: {ref1}, ref2: {ref2}")?;
        if workloads.is_empty() { Ok(()) } else { write!(f, ", workloads-diff-info: {workloads}") }
    }
}

const NOTHING: &str = "No Connections";

/// What differs between two lists: first what changed, then what came, then what went.
pub fn guard_diff(old: &[Object], new: &[Object]) -> Vec<GuardChange> {
    let (old, new) = (Guard::of(old), Guard::of(new));
    // The outside is cut where either of the two cuts it.
    let cuts = Direction::BOTH.map(|direction| {
        let [own, others] = [&old, &new].map(|guard| ends::cuts(&guard.snapshot, direction));
        own.union(&others).copied().collect::<BTreeSet<u64>>()
    });
    let [before, after] = [&old, &new].map(|guard| guard.lines(&cuts));
    let (were, are) = (old.workloads(), new.workloads());
    let mut changes = Vec::new();
    let pairs: BTreeSet<&(String, String)> = before.keys().chain(after.keys()).collect();
    for pair in pairs {
        let (was, is) = (before.get(pair), after.get(pair));
        if was == is {
            continue;
        }
        let (kind, missing_in, word) = match (was, is) {
            (Some(_), Some(_)) => ("changed", None, ""),
            (None, _) => ("added", Some(&were), "added"),
            (Some(_), None) => ("removed", Some(&are), "removed"),
        };
        let (source, destination) = pair;
        let gone: Vec<&str> = [source.as_str(), destination.as_str()]
            .into_iter()
            .filter(|end| end.contains('/') && missing_in.is_some_and(|known| !known.contains(end)))
            .collect();
        changes.push(GuardChange {
            kind,
            source: source.clone(),
            destination: destination.clone(),
            ref1: was.cloned().unwrap_or_else(|| NOTHING.to_owned()),
            ref2: is.cloned().unwrap_or_else(|| NOTHING.to_owned()),
            workloads: if gone.is_empty() { String::new() } else { format!("workload {} {word}", gone.join(" and ")) },
        });
    }
    let place = |change: &GuardChange| ["changed", "added", "removed"].iter().position(|kind| *kind == change.kind);
    let mut changes = joined(changes);
    changes.sort_by(|a, b| (place(a), a).cmp(&(place(b), b)));
    changes
}

/// Neighbouring ranges of the outside to which the same happened, as one.
fn joined(changes: Vec<GuardChange>) -> Vec<GuardChange> {
    let mut out: Vec<GuardChange> = Vec::new();
    let mut open: Vec<GuardChange> = changes;
    for side in [0, 1] {
        out.clear();
        open.sort_by_key(|change| {
            let [near, far] =
                if side == 0 { [&change.source, &change.destination] } else { [&change.destination, &change.source] };
            (far.clone(), change.kind, change.ref1.clone(), change.ref2.clone(), range(near))
        });
        for change in open.drain(..) {
            let near =
                |change: &GuardChange| if side == 0 { change.source.clone() } else { change.destination.clone() };
            let far = |change: &GuardChange| if side == 0 { change.destination.clone() } else { change.source.clone() };
            let same = |other: &GuardChange| {
                (far(other), other.kind, &other.ref1, &other.ref2)
                    == (far(&change), change.kind, &change.ref1, &change.ref2)
            };
            let last = out.last().filter(|other| same(other)).and_then(|other| range(&near(other)));
            match (last, range(&near(&change))) {
                (Some((first, end)), Some((start, last))) if end + 1 == start => {
                    let name = format!("{}-{}[External]", ip(first), ip(last));
                    if let Some(other) = out.last_mut() {
                        *(if side == 0 { &mut other.source } else { &mut other.destination }) = name;
                    }
                }
                _ => out.push(change),
            }
        }
        open.append(&mut out.clone());
    }
    out
}

/// First and last address of a range of the outside.
fn range(end: &str) -> Option<(u64, u64)> {
    let (first, last) = end.strip_suffix("[External]")?.split_once('-')?;
    let bits = |text: &str| text.parse::<std::net::Ipv4Addr>().ok().map(|address| u64::from(address.to_bits()));
    Some((bits(first)?, bits(last)?))
}

fn ip(bits: u64) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))
}
