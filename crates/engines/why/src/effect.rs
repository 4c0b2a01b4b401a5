//! What a change of policies opens and closes.
//!
//! A verdict depends on ports only by the classes that rules cut them into, on pods only by their site, and on addresses
//! outside only by the blocks that policies name. Comparing one port of each class, one pair of pods of each two
//! sites, and one address for each kind of outside therefore compares every connection that there is.

use crate::engines::Engines;
use crate::lookup::Pair;
use crate::question::RequestAsk;
use crate::samples::samples;
use crate::sites::{Site, blocks, outside, sites};
use lictor_model::{Direction, Name, PortRange, Protocol};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a change does beside what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// What else it opens.
    pub opens: Vec<Opening>,
    /// What it closes.
    pub closes: Vec<Opening>,
    /// How many pairs of workloads (and kinds of addresses outside) were compared, each on every port.
    pub compared: usize,
}

/// Connections that a change opens or closes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Opening {
    /// Who opens them: a workload, or an address that stands for others like it.
    pub source: Arc<str>,
    /// Whom they are for.
    pub destination: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    #[serde(serialize_with = "as_text")]
    pub ports: PortRange,
    /// The request, where each is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestAsk>,
}

fn as_text<S: serde::Serializer>(ports: &PortRange, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(ports)
}

/// The pods whose verdicts a change can touch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Touched {
    pub as_source: BTreeSet<Name>,
    pub as_destination: BTreeSet<Name>,
}

/// The connection that the change is for.
pub(crate) struct For<'a> {
    /// A pod of the source's workload; none outside.
    pub source: Option<&'a Name>,
    pub source_address: std::net::IpAddr,
    pub destination: Option<&'a Name>,
    pub destination_address: std::net::IpAddr,
    pub protocol: Protocol,
    pub port: u16,
    pub request: Option<&'a RequestAsk>,
}

/// Compares two snapshots of the same pods, as far as the touched ones are concerned.
pub(crate) fn compare(before: &Engines<'_>, after: &Engines<'_>, touched: &Touched, wanted: &For<'_>) -> Effect {
    let mut known = blocks(before.snapshot);
    known.extend(blocks(after.snapshot));
    let mut all = sites(before.snapshot.pods.values(), &known, Some(&before.snapshot.names));
    all.extend(outside(before.snapshot, &known));
    let is = |site: &Site, set: &BTreeSet<Name>| site.pods.iter().any(|pod| set.contains(&pod.name));
    let spoken = spoken_ports(before, after);
    let mut effect = Effect::default();
    for source in &all {
        for destination in &all {
            if !is(source, &touched.as_source) && !is(destination, &touched.as_destination) {
                continue;
            }
            let Some(pair) = Pair::of(source, destination) else { continue };
            effect.compared += 1;
            let comparison = Comparison { before, after, pair, source, destination };
            comparison.run(&spoken, wanted, &mut effect);
        }
    }
    effect.opens.sort();
    effect.closes.sort();
    effect
}

struct Comparison<'a> {
    before: &'a Engines<'a>,
    after: &'a Engines<'a>,
    pair: Pair<'a>,
    source: &'a Site,
    destination: &'a Site,
}

impl Comparison<'_> {
    fn run(&self, spoken: &BTreeSet<u16>, wanted: &For<'_>, effect: &mut Effect) {
        let cuts = self.cuts(spoken);
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Other(1)] {
            let mut changed: BTreeMap<(bool, Option<RequestAsk>), Vec<PortRange>> = BTreeMap::new();
            let ends = cuts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
            for (first, last) in cuts.iter().copied().zip(ends) {
                let Ok(range) = PortRange::new(first, last) else { continue };
                for request in self.requests(protocol, first, wanted.request) {
                    let ask = |engines: &Engines<'_>| {
                        engines.rulings(self.pair, protocol, first, request.as_ref()).would().is_allow()
                    };
                    let (was, is) = (ask(self.before), ask(self.after));
                    if was != is && !self.is_wanted(wanted, protocol, range, request.as_ref()) {
                        changed.entry((is, request)).or_default().push(range);
                    }
                }
            }
            for ((opened, request), ranges) in changed {
                let list = if opened { &mut effect.opens } else { &mut effect.closes };
                list.extend(merged(ranges).into_iter().map(|ports| Opening {
                    source: self.source.label(),
                    destination: self.destination.label(),
                    protocol,
                    ports,
                    request: request.clone(),
                }));
            }
        }
    }

    /// Where port classes begin for this pair, ascending from 0.
    fn cuts(&self, spoken: &BTreeSet<u16>) -> BTreeSet<u16> {
        let mut cuts = spoken.clone();
        cuts.insert(0);
        for engines in [self.before, self.after] {
            for (site, direction) in [(self.source, Direction::Egress), (self.destination, Direction::Ingress)] {
                let endpoint = site.pod().and_then(|pod| engines.network.endpoints.get(&pod.name));
                let set = endpoint.and_then(|endpoint| endpoint.gate(direction).rule_set);
                let set = set.and_then(|id| engines.network.rule_sets.get(&id));
                cuts.extend(set.into_iter().flat_map(|set| set.bounds.iter().copied()));
            }
        }
        cuts
    }

    /// The requests to compare on a port; one of nothing where connections are judged.
    fn requests(&self, protocol: Protocol, port: u16, wanted: Option<&RequestAsk>) -> Vec<Option<RequestAsk>> {
        let Some(pod) = self.pair.destination else { return vec![None] };
        let each = [self.before, self.after].iter().any(|engines| engines.judges_requests(pod, protocol, port));
        if !each {
            return vec![None];
        }
        let mut requests: BTreeSet<RequestAsk> = samples(self.before.snapshot, pod).into_iter().collect();
        requests.extend(wanted.cloned());
        requests.into_iter().map(Some).collect()
    }

    fn is_wanted(&self, wanted: &For<'_>, protocol: Protocol, ports: PortRange, request: Option<&RequestAsk>) -> bool {
        let is = |site: &Site, pod: Option<&Name>, address| match pod {
            Some(pod) => site.has(pod),
            None => site.workload.is_none() && site.address == address,
        };
        protocol == wanted.protocol
            && ports == PortRange::single(wanted.port)
            && request == wanted.request
            && is(self.source, wanted.source, wanted.source_address)
            && is(self.destination, wanted.destination, wanted.destination_address)
    }
}

/// The ports that peer authentication and authorization speak of, and the one after each.
fn spoken_ports(before: &Engines<'_>, after: &Engines<'_>) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for snapshot in [before.snapshot, after.snapshot] {
        for rule in snapshot.policies.authorization.values().flat_map(|policy| &policy.rules) {
            ports.extend(rule.to.iter().flat_map(|operation| operation.ports.iter().chain(&operation.not_ports)));
            let conditions = rule.when.iter().filter(|condition| condition.key == "destination.port");
            let values = conditions.flat_map(|condition| condition.values.iter().chain(&condition.not_values));
            ports.extend(values.filter_map(|value| value.parse::<u16>().ok()));
        }
        ports.extend(snapshot.policies.peer_authentication.values().flat_map(|policy| policy.ports.keys().copied()));
    }
    let after: Vec<u16> = ports.iter().filter_map(|port| port.checked_add(1)).collect();
    ports.extend(after);
    ports
}

/// Neighbouring ranges as one.
fn merged(ranges: Vec<PortRange>) -> Vec<PortRange> {
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.last().checked_add(1) == Some(range.first()) => {
                if let Ok(wider) = PortRange::new(last.first(), range.last()) {
                    *last = wider;
                }
            }
            _ => merged.push(range),
        }
    }
    merged
}
