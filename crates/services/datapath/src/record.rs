//! From the kernel's events to decision records.

use crate::capture::{PROBE_V4, PROBE_V6};
use crate::event::{Ended, Event, Judged, Reason, What};
use crate::names::Resolver;
use lictor_model::{
    By, Close, Decision, DecisionIds, Direction, Layer, Mode, Name, Party, Point, Protocol, Record, Revision, Verdict,
};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use time::OffsetDateTime;

/// Connections whose end is waited for. Beyond that, the oldest one's end is not recorded.
const OPEN: usize = 131_072;

/// Makes one record of each connection, and one of its end.
///
/// The proxies record what they carry: of a captured connection, only the kernel's refusal is recorded here.
#[derive(Debug)]
pub struct Recorder {
    resolver: Arc<Resolver>,
    ids: Arc<DecisionIds>,
    booted: OffsetDateTime,
    open: HashMap<u64, u64>,
    order: VecDeque<u64>,
}

impl Recorder {
    /// A recorder; `booted` is the wall-clock time of the monotonic clock's zero, see [`booted`].
    pub fn new(resolver: Arc<Resolver>, ids: Arc<DecisionIds>, booted: OffsetDateTime) -> Self {
        Self { resolver, ids, booted, open: HashMap::new(), order: VecDeque::new() }
    }

    /// The record of an event, if it makes one.
    pub fn record(&mut self, event: &Event) -> Option<Record> {
        match event.what {
            What::Judged { egress, ingress } => self.decision(event, egress, ingress).map(Record::Decision),
            What::Closed { sent, received, ended } => self.close(event, sent, received, ended).map(Record::Close),
        }
    }

    fn decision(&mut self, event: &Event, egress: Option<Judged>, ingress: Option<Judged>) -> Option<Decision> {
        if !event.is_refused() && is_captured(event) {
            return None;
        }
        let (source, destination) = (self.party(event.source), self.party(event.destination));
        let (layer, judged) = deciding(egress, ingress)?;
        let (pod, direction) = match layer {
            Layer::Egress => (&source.pod, Direction::Egress),
            _ => (&destination.pod, Direction::Ingress),
        };
        let by = self.resolver.by(judged.reason, pod.as_ref(), direction);
        let verdict = if event.is_refused() { Verdict::Deny } else { Verdict::Allow };
        let would = [egress, ingress].into_iter().flatten().any(would_deny);
        let id = self.ids.draw();
        if verdict.is_allow() {
            self.remember(event.flow, id);
        }
        Some(Decision {
            id,
            time: self.booted + event.at,
            layer,
            mode: judged.mode,
            verdict,
            would: if would { Verdict::Deny } else { Verdict::Allow },
            by,
            source,
            destination,
            protocol: event.protocol,
            encrypted: false,
            method: None,
            path: None,
            host: None,
            audited_by: Vec::new(),
            point: Point::Kernel,
            revision: Revision(event.revision),
        })
    }

    /// Both ends of a connection may tell of its end; the first counts.
    fn close(&mut self, event: &Event, sent: u64, received: u64, ended: Option<Ended>) -> Option<Close> {
        let id = self.open.remove(&event.flow)?;
        let ended_by = ended.map(|ended| {
            let (judged, address, direction) = match ended {
                Ended::Egress(judged) => (judged, event.source.ip(), Direction::Egress),
                Ended::Ingress(judged) => (judged, event.destination.ip(), Direction::Ingress),
            };
            self.by(judged, address, direction)
        });
        Some(Close { id, time: self.booted + event.at, bytes_sent: sent, bytes_received: received, ended_by })
    }

    fn by(&self, judged: Judged, endpoint: IpAddr, direction: Direction) -> By {
        self.resolver.by(judged.reason, self.resolver.pod(endpoint).as_ref(), direction)
    }

    fn party(&self, socket: SocketAddr) -> Party {
        let pod: Option<Name> = self.resolver.pod(socket.ip());
        Party { pod, address: socket.ip(), port: socket.port(), identity: None }
    }

    fn remember(&mut self, flow: u64, id: u64) {
        if self.order.len() >= 2 * OPEN {
            self.order.retain(|flow| self.open.contains_key(flow));
        }
        while self.open.len() >= OPEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        self.open.insert(flow, id);
        self.order.push_back(flow);
    }
}

/// The wall-clock time at which the kernel's monotonic clock was zero.
pub fn booted() -> OffsetDateTime {
    OffsetDateTime::now_utc() - crate::sweep::now()
}

/// Whether a proxy carries it: TCP of an enrolled pod, but for the node's own probes.
fn is_captured(event: &Event) -> bool {
    let probe = [IpAddr::V4(PROBE_V4), IpAddr::V6(PROBE_V6)].contains(&event.source.ip());
    event.protocol == Protocol::Tcp && !probe && (event.source_enrolled || event.destination_enrolled)
}

fn would_deny(judged: Judged) -> bool {
    !judged.verdict.is_allow() && judged.mode != Mode::Observe
}

/// The layer that denied, else the first that would have, else the last one asked. A tunnel is no verdict of
/// this layer.
fn deciding(egress: Option<Judged>, ingress: Option<Judged>) -> Option<(Layer, Judged)> {
    let asked = || {
        let egress = egress.map(|judged| (Layer::Egress, judged));
        let ingress = ingress.map(|judged| (Layer::Ingress, judged));
        let asked = egress.into_iter().chain(ingress);
        asked.filter(|(_, judged)| judged.reason != Reason::Tunnel)
    };
    asked()
        .find(|(_, judged)| !judged.verdict.under(judged.mode).is_allow())
        .or_else(|| asked().find(|(_, judged)| would_deny(*judged)))
        .or_else(|| asked().next_back())
}

#[cfg(test)]
mod tests;
