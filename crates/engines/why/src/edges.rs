//! Who may talk to whom, by workload and declared port.

use crate::answer::place;
use crate::engines::Engines;
use crate::lookup::{Pair, Rulings};
use crate::question::RequestAsk;
use crate::quick::{Door, Ready};
use crate::scope::{Scope, TooMany};
use crate::sight::Sight;
use crate::sites::Site;
use lictor_cluster::{NamedPort, Snapshot};
use lictor_manifest::Position;
use lictor_model::{By, Layer, Mode, Protocol, Verdict};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One workload, another, and a port that the other declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
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
    /// Its name; empty when it has none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub port_name: Arc<str>,
    /// What happens.
    pub verdict: Reach,
    /// What would happen had every layer enforced.
    pub would: Reach,
    /// Whether it goes by mutual TLS.
    pub encrypted: bool,
    /// The layer that decided: the one that denies or would, else the last with a policy that allows.
    pub layer: Layer,
    /// How far that layer goes.
    pub mode: Mode,
    /// What decided.
    pub by: By,
    /// Where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
    /// Where each request is judged: those that were tried and are allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestAsk>,
    /// What each layer says, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<EdgeLayer>,
}

/// What one layer says of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeLayer {
    /// The layer.
    pub layer: Layer,
    /// What it says, whatever its mode.
    pub verdict: Verdict,
    /// What decides there.
    pub by: By,
    /// Where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
}

/// Whether a workload reaches another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// In no case.
    Denied,
    /// Some requests do, or some pods.
    Partly,
    /// In every case.
    Allowed,
}

impl Reach {
    fn of(verdicts: impl Iterator<Item = Verdict>) -> Self {
        let (mut allowed, mut denied) = (false, false);
        for verdict in verdicts {
            allowed |= verdict.is_allow();
            denied |= !verdict.is_allow();
        }
        match (allowed, denied) {
            (true, false) => Self::Allowed,
            (true, true) => Self::Partly,
            (false, _) => Self::Denied,
        }
    }

    /// The word that outputs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Partly => "partly",
            Self::Allowed => "allowed",
        }
    }
}

/// Which edges to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Show {
    /// Those that are open, to some requests at least.
    #[default]
    Allowed,
    /// Those that are not, or that would not be had every layer enforced.
    Denied,
    /// All.
    All,
}

impl Show {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::All];

    /// The word that names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::All => "all",
        }
    }

    /// The choice that a word names.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|show| show.as_str() == word)
    }

    fn takes(self, verdict: Reach, would: Reach) -> bool {
        match self {
            Self::Allowed => verdict != Reach::Denied,
            Self::Denied => verdict != Reach::Allowed || would != Reach::Allowed,
            Self::All => true,
        }
    }
}

/// The edges that were asked for, and how many there are of each sort.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edges {
    /// The edges, by source, destination and port.
    pub edges: Vec<Edge>,
    /// Pairs of workload and port that are open.
    pub allowed: usize,
    /// Those that are open to some requests, or some pods.
    pub partly: usize,
    /// Those that are not open.
    pub denied: usize,
}

impl Edges {
    /// Every pair of workload and port that was looked at.
    pub fn total(&self) -> usize {
        self.allowed + self.partly + self.denied
    }
}

/// Every pair of workloads, for each port that the second declares: what happens, and who decided.
///
/// Pods of one workload that policies cannot tell apart are looked at once, and pods without an owner that they cannot
/// tell apart are one workload; verdicts are looked up in the compiled programs.
///
/// # Errors
/// [`TooMany`] pairs to list.
pub fn edges(snapshot: &Snapshot, scope: &Scope, show: Show) -> Result<Edges, TooMany> {
    let sight = Sight::of(snapshot, None);
    let rows = scope.rows(snapshot, |pod| sight.looks(pod), |pod| scope.chosen(pod));
    scope.bound(&rows)?;
    Ok(edges_of(snapshot, &rows, scope, show))
}

/// The edges between these rows.
pub(crate) fn edges_of(snapshot: &Snapshot, rows: &[Vec<Site>], scope: &Scope, show: Show) -> Edges {
    let engines = Engines::new(snapshot);
    let workloads: Vec<Vec<Ready<'_>>> =
        rows.iter().map(|sites| sites.iter().map(|site| engines.ready(site)).collect()).collect();
    let mut edges = Edges::default();
    for sources in &workloads {
        for destinations in &workloads {
            engines.between(sources, destinations, scope, show, &mut edges);
        }
    }
    let key = |edge: &Edge| (Arc::clone(&edge.source), Arc::clone(&edge.destination), edge.port, edge.protocol);
    edges.edges.sort_by_cached_key(key);
    edges
}

/// Whether a count needs no telling.
#[allow(clippy::trivially_copy_pass_by_ref)] // The form that serde asks for.
pub(crate) fn is_none(count: &usize) -> bool {
    *count == 0
}

/// A pair of sites, with one of the destination's ports.
type Way<'a> = (&'a Ready<'a>, &'a Ready<'a>, Pair<'a>, &'a Door<'a>);

impl Engines<'_> {
    /// Every edge between two workloads.
    fn between(&self, sources: &[Ready<'_>], destinations: &[Ready<'_>], scope: &Scope, show: Show, edges: &mut Edges) {
        let mut ways: BTreeMap<(u16, Protocol), Vec<Way<'_>>> = BTreeMap::new();
        for source in sources {
            for destination in destinations.iter().filter(|destination| scope.takes(source.site, destination.site)) {
                for pair in Pair::all(source.site, destination.site) {
                    for door in &destination.doors {
                        let way = (source, destination, pair, door);
                        ways.entry((door.port.port, door.port.protocol)).or_default().push(way);
                    }
                }
            }
        }
        for ways in ways.into_values() {
            let all = || ways.iter().flat_map(|(from, to, pair, door)| self.quick(from, to, *pair, door));
            let verdict = Reach::of(all().map(|quick| quick.verdict));
            let would = Reach::of(all().map(|quick| quick.would));
            *match verdict {
                Reach::Allowed => &mut edges.allowed,
                Reach::Partly => &mut edges.partly,
                Reach::Denied => &mut edges.denied,
            } += 1;
            if show.takes(verdict, would) {
                edges.edges.extend(self.edge(&ways, verdict, would, scope.explain));
            }
        }
    }

    fn edge(&self, ways: &[Way<'_>], verdict: Reach, would: Reach, explain: bool) -> Option<Edge> {
        // Of a port that is open to some, the way that is open is the one to show.
        let open =
            |(from, to, pair, door): &&Way<'_>| self.quick(from, to, *pair, door).any(|quick| quick.verdict.is_allow());
        let &(from, to, pair, door) = ways.iter().find(open).or(ways.first())?;
        let NamedPort { name, protocol, port } = door.port;
        let ask = |request: Option<&RequestAsk>| self.rulings(pair, *protocol, *port, request);
        let requests: Vec<(&RequestAsk, Rulings)> =
            door.requests.iter().map(|request| (request, ask(Some(request)))).collect();
        let allowed = || requests.iter().filter(|(_, rulings)| rulings.verdict().is_allow());
        let telling = allowed().next().or(requests.first()).map(|(_, rulings)| rulings.clone());
        let rulings = telling.unwrap_or_else(|| ask(None));
        let deciding = rulings.deciding().clone();
        let at = |by: &By| by.policies().first().and_then(|policy| place(self.snapshot, policy));
        let layer = |ruling: &crate::lookup::Ruling| EdgeLayer {
            layer: ruling.layer,
            verdict: ruling.verdict,
            by: ruling.by.clone(),
            at: at(&ruling.by),
        };
        let layers = rulings.0.iter().filter(|_| explain).map(layer).collect();
        Some(Edge {
            source: from.site.label(),
            source_alike: from.site.alike(),
            destination: to.site.label(),
            destination_alike: to.site.alike(),
            protocol: *protocol,
            port: *port,
            port_name: Arc::clone(name),
            verdict,
            would,
            encrypted: pair.encrypted(*protocol),
            layer: deciding.layer,
            mode: deciding.mode,
            at: at(&deciding.by),
            by: deciding.by,
            requests: allowed().map(|(request, _)| (*request).clone()).collect(),
            layers,
        })
    }
}
