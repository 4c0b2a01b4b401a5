//! Every layer's part in one flow, asked of the policies themselves.

use crate::lookup::{Pair, with_request};
use crate::question::RequestAsk;
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{By, Direction, Flow, Layer, Peer, Protocol, Request, Step, Trace, Verdict};
use lictor_network::Asked;
use std::sync::Arc;

/// The pod at one end.
pub(crate) fn pod_of<'a>(snapshot: &'a Snapshot, peer: &Peer) -> Option<&'a Arc<Pod>> {
    match &peer.pod {
        Some(name) => snapshot.pods.get(name),
        None => snapshot.pod_at(peer.address),
    }
}

/// The two ends of a flow.
pub(crate) fn pair_of<'a>(snapshot: &'a Snapshot, flow: &Flow) -> Pair<'a> {
    Pair {
        source: pod_of(snapshot, &flow.source),
        destination: pod_of(snapshot, &flow.destination),
        from: flow.source.address,
        to: flow.destination.address,
    }
}

/// What each layer says, in the order in which the connection meets them.
pub(crate) fn ladder(snapshot: &Snapshot, flow: &Flow, request: Option<&RequestAsk>) -> Trace {
    let pair = pair_of(snapshot, flow);
    let segment = |direction| {
        with_request(pair.destination, request, |http| {
            let asked = http.map_or(Asked::Connection, Asked::Http);
            lictor_network::judge_asked(snapshot, flow, direction, &asked)
        })
    };
    let steps = vec![
        segment(Direction::Egress),
        transport(snapshot, pair, flow),
        segment(Direction::Ingress),
        authorize(snapshot, pair, flow, request),
    ];
    Trace { steps }.with_reach()
}

fn transport(snapshot: &Snapshot, pair: Pair<'_>, flow: &Flow) -> Step {
    match pair.beyond(flow.protocol) {
        Ok(destination) => {
            lictor_authz::explain_transport(snapshot, pair.source.map(|pod| &**pod), destination, flow.port)
        }
        Err(by) => Step::new(Layer::Transport, Verdict::Allow, by),
    }
}

fn authorize(snapshot: &Snapshot, pair: Pair<'_>, flow: &Flow, request: Option<&RequestAsk>) -> Step {
    let destination = match pair.beyond(flow.protocol) {
        Ok(destination) => destination,
        Err(by) => return Step::new(Layer::Authorization, Verdict::Allow, by),
    };
    let principal = pair.source.filter(|_| pair.encrypted(flow.protocol)).map(|pod| &pod.identity);
    with_request(Some(destination), request, |http| {
        let request = Request {
            principal,
            source_ip: pair.from,
            remote_ip: pair.from,
            destination_ip: pair.to,
            destination_port: flow.port,
            sni: None,
            http,
            claims: None,
        };
        lictor_authz::explain(snapshot, destination, &request)
    })
}

impl<'a> Pair<'a> {
    /// The destination, where its proxy judges the connection; otherwise why it does not.
    pub(crate) fn beyond(&self, protocol: Protocol) -> Result<&'a Arc<Pod>, By> {
        let destination = self.destination.ok_or(By::OutsideCluster)?;
        if self.from == self.to {
            return Err(By::OwnPod);
        }
        if protocol == Protocol::Tcp && destination.enrolled { Ok(destination) } else { Err(By::OutsideMesh) }
    }

    /// Whether the connection goes by mutual TLS.
    pub(crate) fn encrypted(&self, protocol: Protocol) -> bool {
        self.beyond(protocol).is_ok() && self.source.is_some_and(|pod| pod.enrolled)
    }
}
