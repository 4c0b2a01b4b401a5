//! The engines over one snapshot, compiled once and asked often.

use crate::lookup::{Pair, http_ports, with_request};
use crate::question::RequestAsk;
use lictor_authz::Capabilities;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::Finding;
use lictor_model::{By, Direction, Flow, Layer, Peer, PortRange, Protocol, Request, Step, Trace, Verdict};
use lictor_network::Asked;
use std::sync::Arc;

/// A snapshot with the programs that enforcement points run.
pub(crate) struct Engines<'a> {
    pub snapshot: &'a Snapshot,
    pub network: lictor_network::Program,
    pub authorization: lictor_authz::Program,
    /// The ports on which segmentation speaks of HTTP requests.
    pub http_ports: Vec<PortRange>,
}

/// What the engines find in the policies of a snapshot: those that are refused, select nothing, or have parts without
/// effect. An error here refuses one policy, which then fails closed; it makes no answer wrong.
pub fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let (_, about_authorization) = lictor_authz::Program::compile(snapshot, Capabilities::default());
    lictor_network::findings(snapshot).into_iter().chain(about_authorization).collect()
}

impl<'a> Engines<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let network = lictor_network::compile(snapshot);
        Self {
            snapshot,
            http_ports: http_ports(&network),
            network,
            authorization: lictor_authz::Program::compile(snapshot, Capabilities::default()).0,
        }
    }

    pub(crate) fn pod(&self, peer: &Peer) -> Option<&'a Arc<Pod>> {
        match &peer.pod {
            Some(name) => self.snapshot.pods.get(name),
            None => self.snapshot.pod_at(peer.address),
        }
    }

    /// The two ends of a flow.
    pub(crate) fn pair(&self, flow: &Flow) -> Pair<'a> {
        Pair {
            source: self.pod(&flow.source),
            destination: self.pod(&flow.destination),
            from: flow.source.address,
            to: flow.destination.address,
        }
    }

    /// Every layer's part in one flow, asked of the policies themselves.
    pub(crate) fn ladder(&self, flow: &Flow, request: Option<&RequestAsk>) -> Trace {
        let pair = self.pair(flow);
        let steps = vec![
            self.segment(pair, flow, request, Direction::Egress),
            self.transport(pair, flow),
            self.segment(pair, flow, request, Direction::Ingress),
            self.authorize(pair, flow, request),
        ];
        Trace { steps }.with_reach()
    }

    fn segment(&self, pair: Pair<'_>, flow: &Flow, request: Option<&RequestAsk>, direction: Direction) -> Step {
        with_request(pair.destination, request, |http| {
            let asked = http.map_or(Asked::Connection, Asked::Http);
            lictor_network::judge_asked(self.snapshot, flow, direction, &asked)
        })
    }

    fn transport(&self, pair: Pair<'_>, flow: &Flow) -> Step {
        match self.beyond(pair, flow.protocol) {
            Ok(destination) => {
                lictor_authz::explain_transport(self.snapshot, pair.source.map(|pod| &**pod), destination, flow.port)
            }
            Err(by) => Step::new(Layer::Transport, Verdict::Allow, by),
        }
    }

    fn authorize(&self, pair: Pair<'_>, flow: &Flow, request: Option<&RequestAsk>) -> Step {
        let destination = match self.beyond(pair, flow.protocol) {
            Ok(destination) => destination,
            Err(by) => return Step::new(Layer::Authorization, Verdict::Allow, by),
        };
        let principal = pair.source.filter(|_| self.encrypted(pair, flow.protocol)).map(|pod| &pod.identity);
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
            lictor_authz::explain(self.snapshot, destination, &request)
        })
    }

    /// The destination, where its proxy judges the connection; otherwise why it does not.
    pub(crate) fn beyond<'p>(&self, pair: Pair<'p>, protocol: Protocol) -> Result<&'p Arc<Pod>, By> {
        let destination = pair.destination.ok_or(By::OutsideCluster)?;
        if pair.from == pair.to {
            return Err(By::OwnPod);
        }
        if protocol == Protocol::Tcp && destination.enrolled { Ok(destination) } else { Err(By::OutsideMesh) }
    }

    /// Whether a connection goes by mutual TLS.
    pub(crate) fn encrypted(&self, pair: Pair<'_>, protocol: Protocol) -> bool {
        self.beyond(pair, protocol).is_ok() && pair.source.is_some_and(|pod| pod.enrolled)
    }
}
