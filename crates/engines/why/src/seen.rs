//! Connections and requests that were seen, out of the decision log.

use crate::question::RequestAsk;
use lictor_cluster::Snapshot;
use lictor_model::{By, Name, Point, Protocol, Record, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use time::OffsetDateTime;

/// One end of what was seen: the pod, or the address of what is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeenEnd {
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Name>,
    /// The address that it had.
    pub address: IpAddr,
}

/// A connection, or a request on one, with how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Who opened it.
    pub source: SeenEnd,
    /// Whom it was for.
    pub destination: SeenEnd,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination port.
    pub port: u16,
    /// The HTTP request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestAsk>,
    /// What happened to it, the last time.
    pub verdict: Verdict,
    /// How often it was seen.
    pub count: usize,
    /// When, the last time.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
}

/// Where ports begin that kernels hand out to those who connect.
const EPHEMERAL: u16 = 32_768;

/// What records say was opened, each once, in the order of ends and ports. Ends of connections say nothing new, and so
/// do a pod's flows with itself and its own node, and answers: a flow from a port that its sender declares to one that nobody serves.
pub fn seen<'r>(snapshot: &Snapshot, records: impl IntoIterator<Item = &'r Record>) -> Vec<Seen> {
    let mut all: BTreeMap<Key, Seen> = BTreeMap::new();
    let mut answered: HashSet<(IpAddr, u16, IpAddr)> = HashSet::new();
    let decisions: Vec<_> = records
        .into_iter()
        .filter_map(|record| match record {
            // What an Envoy asked came on a connection that has its own record.
            Record::Decision(decision) if decision.point == Point::Envoy => None,
            Record::Decision(decision) => Some(decision),
            Record::Close(_) => None,
        })
        .collect();
    for decision in &decisions {
        answered.insert((decision.destination.address, decision.destination.port, decision.source.address));
    }
    for decision in decisions {
        let (source, destination) = (&decision.source, &decision.destination);
        let asked_before = answered.contains(&(source.address, source.port, destination.address));
        let declares = source.pod.as_ref().and_then(|pod| snapshot.pods.get(pod)).is_some_and(|pod| {
            pod.ports.iter().any(|port| port.port == source.port && port.protocol == decision.protocol)
        });
        if destination.port >= EPHEMERAL && source.port < EPHEMERAL && source.port > 0 && (asked_before || declares) {
            continue;
        }
        // No policy is needed for these, and none can stop them.
        if matches!(decision.by, By::OwnNode | By::OwnPod) {
            continue;
        }
        // A name that was refused was asked on a connection that has its own record.
        if decision.method.is_none() && decision.host.is_some() {
            continue;
        }
        let request = decision.method.as_ref().map(|method| RequestAsk {
            method: method.clone(),
            path: decision.path.clone().unwrap_or_else(|| "/".to_owned()),
            host: decision.host.clone(),
            headers: Vec::new(),
        });
        let end = |party: &lictor_model::Party| SeenEnd { pod: party.pod.clone(), address: party.address };
        let key = Key(end(source), end(destination), decision.protocol, destination.port, request.clone());
        let one = all.entry(key).or_insert_with(|| Seen {
            source: end(source),
            destination: end(destination),
            protocol: decision.protocol,
            port: destination.port,
            request,
            verdict: decision.verdict,
            count: 0,
            last: decision.time,
        });
        one.count += 1;
        if decision.time >= one.last {
            (one.verdict, one.last) = (decision.verdict, decision.time);
        }
    }
    all.into_values().collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(SeenEnd, SeenEnd, Protocol, u16, Option<RequestAsk>);
