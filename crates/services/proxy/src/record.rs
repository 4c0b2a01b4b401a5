//! One record for each decision, and one for the end of what was allowed.

use crate::metrics::Metrics;
use crate::policy::{Ruling, Transport, View};
use crate::relay::Counts;
use lictor_model::{By, Close, Decision, DecisionIds, Name, Party, Point, Protocol, Record, SpiffeId};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use time::OffsetDateTime;

/// Where records go. It is called on the data path: it must not block.
pub type RecordSink = Arc<dyn Fn(Record) + Send + Sync>;

/// Writes records and counts verdicts.
#[derive(Clone)]
pub(crate) struct Recorder {
    sink: RecordSink,
    ids: Arc<DecisionIds>,
    metrics: Arc<Metrics>,
}

/// What a decision was about.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    pub(crate) source: Party,
    pub(crate) destination: Party,
    pub(crate) encrypted: bool,
    /// Method, path without query, and host of a request.
    pub(crate) request: Option<(&'a str, &'a str, &'a str)>,
}

impl Recorder {
    pub(crate) fn new(sink: RecordSink, ids: Arc<DecisionIds>, metrics: Arc<Metrics>) -> Self {
        Self { sink, ids, metrics }
    }

    /// Records what was decided under `view`; returns the decision's id.
    pub(crate) fn decision(&self, view: &View, ruling: Ruling, subject: Subject<'_>) -> u64 {
        let Ruling { layer, mode, verdict, would, by, audited_by } = ruling;
        let Subject { source, destination, encrypted, request } = subject;
        match (verdict.is_allow(), would.is_allow()) {
            (false, _) => self.metrics.denied.increment(),
            (true, false) => self.metrics.would_be_denied.increment(),
            (true, true) => {}
        }
        let id = self.ids.draw();
        (self.sink)(Record::Decision(Decision {
            id,
            time: OffsetDateTime::now_utc(),
            layer,
            mode,
            verdict,
            would,
            by,
            source,
            destination,
            protocol: Protocol::Tcp,
            encrypted,
            method: request.map(|(method, _, _)| method.to_owned()),
            path: request.map(|(_, path, _)| path.to_owned()),
            host: request.map(|(_, _, host)| host.to_owned()),
            audited_by,
            point: if request.is_some() { Point::Http } else { Point::Proxy },
            revision: view.snapshot.revision,
        }));
        id
    }

    /// Records the end of what decision `id` allowed.
    pub(crate) fn close(&self, id: u64, counts: &Counts, ended_by: Option<By>) {
        let (bytes_sent, bytes_received) = (counts.sent.get(), counts.received.get());
        self.metrics.bytes_sent.add(bytes_sent);
        self.metrics.bytes_received.add(bytes_received);
        (self.sink)(Record::Close(Close { id, time: OffsetDateTime::now_utc(), bytes_sent, bytes_received, ended_by }));
    }

    /// The counters that go with the records.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// The other end of a connection into a pod. Its port is that of the connection that carries it, and not known
/// where that is a tunnel.
pub(crate) fn source(view: &View, address: SocketAddr, transport: &Transport) -> Party {
    let (port, identity) = match transport {
        Transport::Plaintext => (address.port(), None),
        Transport::Tunnel(id) => (0, Some(id.clone())),
    };
    Party { pod: pod_at(view, address.ip()), address: address.ip(), port, identity }
}

/// An end by its address alone.
pub(crate) fn party(view: &View, address: SocketAddr) -> Party {
    Party { pod: pod_at(view, address.ip()), address: address.ip(), port: address.port(), identity: None }
}

/// A pod, as one end.
pub(crate) fn pod(name: &Name, address: SocketAddr, identity: Option<&SpiffeId>) -> Party {
    Party { pod: Some(name.clone()), address: address.ip(), port: address.port(), identity: identity.cloned() }
}

fn pod_at(view: &View, address: IpAddr) -> Option<Name> {
    view.snapshot.pod_at(address).map(|pod| pod.name.clone())
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}
