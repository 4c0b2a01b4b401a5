//! Who may talk to whom, by workload and declared port.

use crate::answer::place;
use crate::engines::Engines;
use crate::lookup::{Pair, Rulings};
use crate::notes::is_built_in;
use crate::question::RequestAsk;
use crate::samples::samples;
use crate::sites::{Site, blocks, sites};
use lictor_cluster::{NamedPort, Snapshot};
use lictor_manifest::Position;
use lictor_model::{By, Layer, Mode, Name, Protocol, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only these pods as sources; nothing means all.
    pub sources: Option<BTreeSet<Name>>,
    /// Only these pods as destinations; nothing means all.
    pub destinations: Option<BTreeSet<Name>>,
    /// Only connections with an end in this namespace.
    pub namespace: Option<Arc<str>>,
    /// Whether the pods that lictor makes itself (the cluster's DNS) count.
    pub built_in: bool,
}

/// One workload, another, and a port that the other declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// The workload that opens the connection.
    pub source: Arc<str>,
    /// The workload that it is for.
    pub destination: Arc<str>,
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

    fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Partly }
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

/// A destination's port, with what is to be asked on it.
pub(crate) struct Door<'a> {
    pub port: &'a NamedPort,
    /// The requests to try; nothing where connections are judged.
    pub requests: Vec<RequestAsk>,
}

/// Every pair of workloads, for each port that the second declares: what happens, and who decided.
///
/// Sorted by source, destination and port. Pods of one workload that policies cannot tell apart are looked at once;
/// verdicts are looked up in the compiled programs.
pub fn edges(snapshot: &Snapshot, scope: &Scope) -> Vec<Edge> {
    let engines = Engines::new(snapshot);
    let sites = scope.sites(snapshot);
    let doors: Vec<Vec<Door<'_>>> = sites.iter().map(|site| engines.doors(site)).collect();
    let mut edges: BTreeMap<(Arc<str>, Arc<str>, u16, Protocol), Edge> = BTreeMap::new();
    let labels: Vec<Arc<str>> = sites.iter().map(Site::label).collect();
    for (source, from) in sites.iter().zip(&labels) {
        for ((destination, doors), to) in sites.iter().zip(&doors).zip(&labels) {
            if !scope.takes(source, destination) {
                continue;
            }
            let Some(pair) = Pair::of(source, destination) else { continue };
            for door in doors {
                let edge = engines.edge(pair, door, from, to);
                let key = (Arc::clone(from), Arc::clone(to), door.port.port, door.port.protocol);
                match edges.entry(key) {
                    std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(edge)),
                    std::collections::btree_map::Entry::Occupied(mut entry) => entry.get_mut().merge(edge),
                }
            }
        }
    }
    edges.into_values().collect()
}

impl Scope {
    pub(crate) fn sites(&self, snapshot: &Snapshot) -> Vec<Site> {
        let pods = snapshot.pods.values().filter(|pod| self.built_in || !is_built_in(pod));
        sites(pods, &blocks(snapshot))
    }

    pub(crate) fn takes(&self, source: &Site, destination: &Site) -> bool {
        let among = |site: &Site, names: &Option<BTreeSet<Name>>| {
            names.as_ref().is_none_or(|names| site.pods.iter().any(|pod| names.contains(&pod.name)))
        };
        let lives_in =
            |site: &Site, namespace: &Arc<str>| site.pod().is_some_and(|pod| pod.name.namespace == *namespace);
        among(source, &self.sources)
            && among(destination, &self.destinations)
            && self.namespace.as_ref().is_none_or(|own| lives_in(source, own) || lives_in(destination, own))
    }
}

impl Engines<'_> {
    /// The declared ports of a site.
    pub(crate) fn doors<'s>(&self, site: &'s Site) -> Vec<Door<'s>> {
        let Some(pod) = site.pod() else { return Vec::new() };
        let mut ports: Vec<&NamedPort> = pod.ports.iter().collect();
        ports.sort_by_key(|port| (port.port, port.protocol));
        ports.dedup_by_key(|port| (port.port, port.protocol));
        let door = |port: &'s NamedPort| {
            let judged = self.judges_requests(pod, port.protocol, port.port);
            Door { port, requests: if judged { samples(self.snapshot, pod) } else { Vec::new() } }
        };
        ports.into_iter().map(door).collect()
    }

    fn edge(&self, pair: Pair<'_>, door: &Door<'_>, from: &Arc<str>, to: &Arc<str>) -> Edge {
        let NamedPort { name, protocol, port } = door.port;
        let ask = |request: Option<&RequestAsk>| self.rulings(pair, *protocol, *port, request);
        let all: Vec<Rulings> = match door.requests.as_slice() {
            [] => vec![ask(None)],
            requests => requests.iter().map(|request| ask(Some(request))).collect(),
        };
        let verdict = Reach::of(all.iter().map(Rulings::verdict));
        let would = Reach::of(all.iter().map(Rulings::would));
        // Of a port that is open to some requests, the rule that opens it is the one to show.
        let telling = all.iter().find(|rulings| verdict != Reach::Partly || rulings.verdict().is_allow());
        let deciding = telling.or(all.first()).map(Rulings::deciding).cloned();
        let (layer, mode, by) = deciding.map_or((Layer::Authorization, Mode::Enforce, By::NoPolicy), |ruling| {
            (ruling.layer, ruling.mode, ruling.by)
        });
        let allowed = door.requests.iter().zip(&all).filter(|(_, rulings)| rulings.verdict().is_allow());
        Edge {
            source: Arc::clone(from),
            destination: Arc::clone(to),
            protocol: *protocol,
            port: *port,
            port_name: Arc::clone(name),
            verdict,
            would,
            encrypted: self.encrypted(pair, *protocol),
            layer,
            mode,
            at: by.policies().first().and_then(|policy| place(self.snapshot, policy)),
            by,
            requests: allowed.map(|(request, _)| request.clone()).collect(),
        }
    }
}

impl Edge {
    /// Takes in what other pods of the same two workloads give.
    fn merge(&mut self, other: Self) {
        self.verdict = self.verdict.and(other.verdict);
        self.would = self.would.and(other.would);
    }
}
