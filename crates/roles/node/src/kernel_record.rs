//! From what the kernel tells to decision records.

use crate::RecordSink;
use crate::open_flows::OpenFlows;
use lictor_datapath::{Ended, Event, Events, Judged, Reason, What, capture::TUNNEL};
use lictor_model::{By, Close, Decision, DecisionIds, Direction, Layer, Mode, Party, Point, Protocol, Record, Verdict};
use lictor_network::Gate;
use lictor_proxy::View;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Connections whose close is still to come; the kernel tracks no more than this by default.
const OPEN: usize = 65_536;

/// Events wait so long for those after them. Being woken for each costs more than it does.
const GATHER: Duration = Duration::from_millis(10);

/// Records events until the kernel's stream ends.
pub(crate) async fn record(
    mut events: Events,
    views: watch::Receiver<Arc<View>>,
    ids: Arc<DecisionIds>,
    sink: RecordSink,
) {
    let mut open = OpenFlows::with_limit(OPEN);
    loop {
        let mut next = match events.next().await {
            Ok(event) => Some(event),
            Err(error) => {
                tracing::error!(%error, "the kernel's events cannot be read any more");
                return;
            }
        };
        let view = Arc::clone(&views.borrow());
        while let Some(event) = next {
            if let Some(record) = record_of(&event, &view, &ids, &mut open) {
                sink(record);
            }
            next = events.take();
        }
        // The kernel wakes nobody for what comes until the ring is looked at again.
        tokio::time::sleep(GATHER).await;
    }
}

/// The record of an event; nothing where the proxy tells of the connection.
fn record_of(event: &Event, view: &View, ids: &DecisionIds, open: &mut OpenFlows) -> Option<Record> {
    match &event.what {
        What::Judged { egress, ingress } => {
            let steps = [(Layer::Egress, egress), (Layer::Ingress, ingress)];
            let said = steps.into_iter().filter_map(|(layer, judged)| judged.map(|judged| (layer, judged)));
            let ruling = said.fold(None, Ruling::then)?;
            if ruling.verdict.is_allow() && is_told_by_the_proxy(event, ruling.judged.reason) {
                return None;
            }
            let id = ids.draw();
            if ruling.verdict.is_allow() && event.flow != 0 {
                open.begin(event.flow, id);
            }
            Some(Record::Decision(decision(id, event, view, &ruling)))
        }
        What::Closed { sent, received, ended } => {
            let id = open.end(event.flow)?;
            let ended_by = ended.map(|ended| match ended {
                Ended::Egress(judged) => by(event, view, Layer::Egress, judged.reason),
                Ended::Ingress(judged) => by(event, view, Layer::Ingress, judged.reason),
            });
            let (bytes_sent, bytes_received) = (*sent, *received);
            Some(Record::Close(Close { id, time: wall_clock(event.at), bytes_sent, bytes_received, ended_by }))
        }
    }
}

/// What both layers come to: the first that refuses stands, else the first that would, else the last.
#[derive(Debug, Clone, Copy)]
struct Ruling {
    layer: Layer,
    judged: Judged,
    verdict: Verdict,
    would: Verdict,
}

impl Ruling {
    fn then(before: Option<Self>, (layer, judged): (Layer, Judged)) -> Option<Self> {
        let would = if judged.mode == Mode::Observe { Verdict::Allow } else { judged.verdict };
        let next = Self { layer, judged, verdict: judged.verdict.under(judged.mode), would };
        match before {
            Some(before) if !before.verdict.is_allow() || (!before.would.is_allow() && next.verdict.is_allow()) => {
                Some(before)
            }
            _ => Some(next),
        }
    }
}

/// Whether the destination's proxy records the connection too: it takes every TCP connection to an enrolled pod.
fn is_told_by_the_proxy(event: &Event, reason: Reason) -> bool {
    let to_proxy = event.protocol == Protocol::Tcp && event.destination_enrolled;
    // The node's probes pass by the proxy.
    (to_proxy && reason != Reason::OwnNode) || (reason == Reason::Tunnel && event.destination.port() == TUNNEL)
}

fn decision(id: u64, event: &Event, view: &View, ruling: &Ruling) -> Decision {
    let party = |end: SocketAddr| Party {
        pod: view.snapshot.pod_at(end.ip()).map(|pod| pod.name.clone()),
        address: end.ip().to_canonical(),
        port: end.port(),
        identity: None,
    };
    Decision {
        id,
        time: wall_clock(event.at),
        layer: ruling.layer,
        mode: ruling.judged.mode,
        verdict: ruling.verdict,
        would: ruling.would,
        by: by(event, view, ruling.layer, ruling.judged.reason),
        source: party(event.source),
        destination: party(event.destination),
        protocol: event.protocol,
        encrypted: false,
        method: None,
        path: None,
        host: None,
        audited_by: Vec::new(),
        point: Point::Kernel,
        revision: view.snapshot.revision,
    }
}

/// The reason in the words of a decision.
fn by(event: &Event, view: &View, layer: Layer, reason: Reason) -> By {
    match reason {
        Reason::Rule(rule) => {
            let by = gate(event, view, layer).and_then(|gate| gate.by(rule, &view.network.rules));
            by.unwrap_or_else(|| By::Unknown("a rule of a program that is no longer in force".to_owned()))
        }
        Reason::Isolated => {
            By::Isolation(gate(event, view, layer).map(|gate| gate.isolated_by.to_vec()).unwrap_or_default())
        }
        Reason::Unseen(_) => By::Unknown(lictor_network::UNSEEN.to_owned()),
        Reason::NoPolicy => By::NoPolicy,
        Reason::OwnPod => By::OwnPod,
        Reason::OwnNode => By::OwnNode,
        Reason::Tunnel => By::Unknown("a tunnel, judged by the proxies".to_owned()),
        Reason::Plaintext => By::Unknown("plaintext between two pods of the mesh".to_owned()),
        Reason::Spoofed => By::Unknown("the source address is not the pod's".to_owned()),
        Reason::Full => By::Unknown("no room to track the connection".to_owned()),
        Reason::Unknown => By::Unknown("the pod is not known to the program in force".to_owned()),
    }
}

/// The gate at which a layer judged.
fn gate<'a>(event: &Event, view: &'a View, layer: Layer) -> Option<&'a Gate> {
    let (own, direction) = match layer {
        Layer::Egress => (event.source, Direction::Egress),
        _ => (event.destination, Direction::Ingress),
    };
    let pod = view.snapshot.pod_at(own.ip())?;
    Some(view.network.endpoints.get(&pod.name)?.gate(direction))
}

/// The time of day of a moment on the monotonic clock.
fn wall_clock(at: Duration) -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    let clock = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from);
    clock.map_or(now, |monotonic| now - monotonic.saturating_sub(at))
}
