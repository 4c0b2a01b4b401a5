//! What real connections are expected to show.

use crate::answer::place;
use crate::engines::Engines;
use crate::lookup::{Pair, default_host};
use crate::question::RequestAsk;
use crate::scope::Scope;
use crate::sites::Site;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::Position;
use lictor_model::{By, Layer, Mode, Name, Protocol, Verdict};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// One connection or request to make, and what is expected of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Who makes it.
    pub source: CheckEnd,
    /// Whom it is for.
    pub destination: CheckEnd,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// The HTTP request to make; nothing where connections are judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestAsk>,
    /// What is expected to happen.
    pub expected: Verdict,
    /// What would happen had every layer enforced.
    pub would: Verdict,
    /// How a denial shows itself; nothing when it is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<Denial>,
    /// Whether it goes by mutual TLS.
    pub encrypted: bool,
    /// The layer that decides.
    pub layer: Layer,
    /// How far that layer goes.
    pub mode: Mode,
    /// What decides.
    pub by: By,
    /// Where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
}

/// One end of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckEnd {
    /// The workload.
    pub workload: Arc<str>,
    /// The pod that stands for it.
    pub pod: Name,
    /// Its address.
    pub address: IpAddr,
}

/// How a denial shows itself to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Denial {
    /// Nothing comes back.
    Dropped,
    /// The connection ends.
    Closed,
    /// Status 403.
    Forbidden,
}

/// For every pair of workloads and each port that the second declares: the connections to make (one, or one for each
/// request that authorization rules name and one that they do not) and what is expected of them.
pub fn predict(snapshot: &Snapshot, scope: &Scope) -> Vec<Check> {
    let engines = Engines::new(snapshot);
    let sites = scope.sites(snapshot);
    let doors: Vec<_> = sites.iter().map(|site| engines.ready(site).doors).collect();
    let mut checks = Vec::new();
    for source in sites.iter().filter(|site| site.pod().is_some_and(|pod| !pod.host_network)) {
        for (destination, doors) in sites.iter().zip(&doors) {
            if !scope.takes(source, destination) {
                continue;
            }
            let Some(pair) = Pair::of(source, destination) else { continue };
            for door in doors {
                let port = (door.port.protocol, door.port.port);
                if door.requests.is_empty() {
                    checks.extend(engines.check(source, destination, pair, port, None));
                }
                checks.extend(
                    door.requests
                        .iter()
                        .filter_map(|request| engines.check(source, destination, pair, port, Some(request))),
                );
            }
        }
    }
    checks
}

/// The request with its host, as it has to be made.
fn spelled(request: &RequestAsk, pair: Pair<'_>) -> RequestAsk {
    let own = || pair.destination.map(|pod| default_host(&pod.workload.name));
    RequestAsk { host: request.host.clone().or_else(own), ..request.clone() }
}

impl Engines<'_> {
    fn check(
        &self,
        source: &Site,
        destination: &Site,
        pair: Pair<'_>,
        (protocol, port): (Protocol, u16),
        request: Option<&RequestAsk>,
    ) -> Option<Check> {
        let rulings = self.rulings(pair, protocol, port, request);
        let deciding = rulings.deciding();
        let end = |site: &Site, pod: Option<&Arc<Pod>>, address| {
            Some(CheckEnd { workload: site.label(), pod: pod?.name.clone(), address })
        };
        let opens = |layer: Layer| {
            let connection = self.rulings(pair, protocol, port, None);
            connection.0.iter().any(|ruling| ruling.layer == layer && ruling.verdict.under(ruling.mode).is_allow())
        };
        let denial = match (rulings.verdict(), deciding.layer) {
            (Verdict::Allow, _) => None,
            (Verdict::Deny, layer @ (Layer::Egress | Layer::Ingress)) if request.is_some() && opens(layer) => {
                Some(Denial::Forbidden)
            }
            (Verdict::Deny, Layer::Egress | Layer::Ingress) => Some(Denial::Dropped),
            (Verdict::Deny, Layer::Authorization) if request.is_some() => Some(Denial::Forbidden),
            (Verdict::Deny, _) => Some(Denial::Closed),
        };
        Some(Check {
            source: end(source, pair.source, pair.from)?,
            destination: end(destination, pair.destination, pair.to)?,
            protocol,
            port,
            request: request.map(|request| spelled(request, pair)),
            expected: rulings.verdict(),
            would: rulings.would(),
            denial,
            encrypted: pair.encrypted(protocol),
            layer: deciding.layer,
            mode: deciding.mode,
            at: deciding.by.policies().first().and_then(|policy| place(self.snapshot, policy)),
            by: deciding.by.clone(),
        })
    }
}
