//! What connections two clusters differ in.

use crate::edges::{Edge, Reach, Scope, Show, edges};
use crate::seen::{Seen, SeenEnd};
use lictor_cluster::Snapshot;
use lictor_model::Protocol;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A pair of workloads and a port, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeChange {
    /// What became of it.
    pub change: Became,
    /// The workload that opens the connection.
    pub source: Arc<str>,
    /// The workload that it is for.
    pub destination: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// What happened before; nothing where an end or the port was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Edge>,
    /// What happens now; nothing where an end or the port is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Edge>,
}

/// What became of a pair of workloads and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Became {
    /// It was closed, and is open to some at least.
    Opened,
    /// It was open to some at least, and is closed.
    Closed,
    /// It was open and is, to others, to other requests, or with or without mutual TLS.
    Changed,
}

impl Became {
    /// The word that outputs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Changed => "changed",
        }
    }
}

/// The connections that two clusters differ in, and how many pairs of workload and port were compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Those that differ, by what became of them, then by source, destination and port.
    pub changes: Vec<EdgeChange>,
    /// Every pair of workload and port that is in one of the two.
    pub compared: usize,
}

impl Difference {
    /// How many became this.
    pub fn count(&self, became: Became) -> usize {
        self.changes.iter().filter(|change| change.change == became).count()
    }
}

impl Difference {
    /// Only what somebody was seen to do: pairs of workload and port between which a flow was seen. The names of pods are
    /// those of the second cluster, or of the first where the second does not have them.
    #[must_use]
    pub fn only_observed(mut self, old: &Snapshot, new: &Snapshot, seen: &[Seen]) -> Self {
        let label = |end: &SeenEnd| {
            let pod = end.pod.as_ref()?;
            let pod = new.pods.get(pod).or_else(|| old.pods.get(pod))?;
            Some(pod.workload.name.to_string())
        };
        let known: BTreeSet<(String, String, u16, Protocol)> = seen
            .iter()
            .filter_map(|seen| Some((label(&seen.source)?, label(&seen.destination)?, seen.port, seen.protocol)))
            .collect();
        self.changes.retain(|change| {
            known.contains(&(change.source.to_string(), change.destination.to_string(), change.port, change.protocol))
        });
        self
    }
}

/// Compares every pair of workloads on every port that the second declares.
///
/// A pair that only one of the two clusters has counts as closed in the other.
pub fn diff(old: &Snapshot, new: &Snapshot, scope: &Scope) -> Difference {
    let [mut before, mut after] = [old, new].map(|snapshot| {
        let keyed = edges(snapshot, scope, Show::All).edges.into_iter().map(|edge| (key(&edge), edge));
        keyed.collect::<BTreeMap<Key, Edge>>()
    });
    let keys: BTreeSet<Key> = before.keys().chain(after.keys()).cloned().collect();
    let compared = keys.len();
    let mut changes: Vec<EdgeChange> = Vec::new();
    for key in keys {
        let (before, after) = (before.remove(&key), after.remove(&key));
        if let Some(change) = became(before.as_ref(), after.as_ref()) {
            let (source, destination, port, protocol) = key;
            changes.push(EdgeChange { change, source, destination, protocol, port, before, after });
        }
    }
    changes.sort_by_key(|change| change.change);
    Difference { changes, compared }
}

type Key = (Arc<str>, Arc<str>, u16, Protocol);

fn key(edge: &Edge) -> Key {
    (Arc::clone(&edge.source), Arc::clone(&edge.destination), edge.port, edge.protocol)
}

fn became(before: Option<&Edge>, after: Option<&Edge>) -> Option<Became> {
    let open = |edge: Option<&Edge>| edge.is_some_and(|edge| edge.verdict != Reach::Denied);
    match (open(before), open(after)) {
        (false, false) => None,
        (false, true) => Some(Became::Opened),
        (true, false) => Some(Became::Closed),
        (true, true) => {
            let says = |edge: &Edge| (edge.verdict, edge.would, edge.encrypted, edge.requests.clone());
            (before.map(says) != after.map(says)).then_some(Became::Changed)
        }
    }
}
