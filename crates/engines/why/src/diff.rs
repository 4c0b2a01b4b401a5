//! What connections two clusters differ in.

use crate::edges::{Edge, Reach, Show, edges_of, is_none};
use crate::scope::{Scope, TooMany};
use crate::seen::{SeenEnd, seen};
use crate::sight::Sight;
use crate::sites::{Site, owner};
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{Name, Protocol, Record};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A pair of workloads and a port, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeChange {
    /// What became of it.
    pub change: Became,
    /// The workload that opens the connection; of pods without an owner that look alike to every policy, the first.
    pub source: Arc<str>,
    /// How many more such pods it stands for.
    #[serde(skip_serializing_if = "is_none")]
    pub source_alike: usize,
    /// The workload that it is for, likewise.
    pub destination: Arc<str>,
    /// How many more such pods that stands for.
    #[serde(skip_serializing_if = "is_none")]
    pub destination_alike: usize,
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

/// Two clusters, and the rows of a list of each: pods without an owner are one in both or in neither.
struct Both<'a> {
    snapshots: [&'a Snapshot; 2],
    rows: [Vec<Vec<Site>>; 2],
}

impl<'a> Both<'a> {
    fn of(old: &'a Snapshot, new: &'a Snapshot, scope: &Scope) -> Self {
        let snapshots = [old, new];
        let sights = snapshots.map(|snapshot| Sight::of(snapshot, None));
        let rows = [0, 1].map(|at| {
            let (own, sight) = (snapshots[at], &sights[at]);
            let looks = |pod: &'a Arc<Pod>| {
                let unowned = |snapshot: &'a Snapshot| snapshot.pods.get(&pod.name).filter(|pod| owner(pod).is_none());
                [0, 1].map(|at| unowned(snapshots[at]).map(|pod| sights[at].looks(pod)))
            };
            scope.rows(own, |pod| sight.looks(pod), looks)
        });
        Self { snapshots, rows }
    }

    /// The row of each pod.
    fn labels(&self) -> BTreeMap<&Name, Arc<str>> {
        // The names are those of the second cluster where it has them.
        let sites = self.rows.iter().flatten().flatten();
        sites.flat_map(|site| site.pods.iter().map(|pod| (&pod.name, site.label()))).collect()
    }

    fn difference(&self, scope: &Scope) -> Difference {
        let [mut before, mut after] = [0, 1].map(|at| {
            let edges = edges_of(self.snapshots[at], &self.rows[at], scope, Show::All).edges;
            edges.into_iter().map(|edge| (key(&edge), edge)).collect::<BTreeMap<Key, Edge>>()
        });
        let keys: BTreeSet<Key> = before.keys().chain(after.keys()).cloned().collect();
        let compared = keys.len();
        let mut changes: Vec<EdgeChange> = Vec::new();
        for key in keys {
            let (before, after) = (before.remove(&key), after.remove(&key));
            if let Some(change) = became(before.as_ref(), after.as_ref()) {
                let alike = before.iter().chain(&after).map(|edge| (edge.source_alike, edge.destination_alike)).next();
                let (source_alike, destination_alike) = alike.unwrap_or_default();
                let (source, destination, port, protocol) = key;
                changes.push(EdgeChange {
                    change,
                    source,
                    source_alike,
                    destination,
                    destination_alike,
                    protocol,
                    port,
                    before,
                    after,
                });
            }
        }
        changes.sort_by_key(|change| change.change);
        Difference { changes, compared }
    }
}

/// Compares every pair of workloads on every port that the second declares.
///
/// A pair that only one of the two clusters has counts as closed in the other. With `records`, only what somebody was
/// seen to do is told: pairs of workload and port between which a flow was seen.
///
/// # Errors
/// [`TooMany`] pairs to list, in one of the two.
pub fn diff(old: &Snapshot, new: &Snapshot, scope: &Scope, records: Option<&[Record]>) -> Result<Difference, TooMany> {
    let both = Both::of(old, new, scope);
    for rows in &both.rows {
        scope.bound(rows)?;
    }
    let mut difference = both.difference(scope);
    if let Some(records) = records {
        let labels = both.labels();
        let label = |end: &SeenEnd| labels.get(end.pod.as_ref()?).cloned();
        let seen = seen(new, records);
        let seen = seen
            .iter()
            .filter_map(|seen| Some((label(&seen.source)?, label(&seen.destination)?, seen.port, seen.protocol)));
        let known: BTreeSet<Key> = seen.collect();
        let key = |change: &EdgeChange| {
            (Arc::clone(&change.source), Arc::clone(&change.destination), change.port, change.protocol)
        };
        difference.changes.retain(|change| known.contains(&key(change)));
    }
    Ok(difference)
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
