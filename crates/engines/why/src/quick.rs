//! Verdicts alone, for millions of pairs: the same look-ups as [`Engines::rulings`] without the names of who decided.

use crate::engines::Engines;
use crate::lookup::{Pair, with_request};
use crate::question::RequestAsk;
use crate::samples::samples;
use crate::sites::Site;
use lictor_authz::{Transport, Workload};
use lictor_cluster::NamedPort;
use lictor_model::{Direction, Mode, Protocol, Request, Verdict};
use lictor_network::RuleSet;
use std::net::IpAddr;
use std::sync::Arc;

/// A site with all that is asked of it over and over.
pub(crate) struct Ready<'a> {
    pub site: &'a Site,
    /// The declared ports.
    pub doors: Vec<Door<'a>>,
    egress: Option<(Arc<RuleSet>, Mode)>,
    ingress: Option<(Arc<RuleSet>, Mode)>,
    /// The authorization policies; nothing where there are none.
    authorization: Option<Arc<Workload>>,
    /// Whether its addresses are its node's, so that no rule set decides.
    host_network: bool,
}

/// A declared port, with what is to be asked on it.
pub(crate) struct Door<'a> {
    pub port: &'a NamedPort,
    /// The requests to try; nothing where connections are judged.
    pub requests: Vec<RequestAsk>,
    transport: Transport,
}

/// What happens, and what would happen had every layer enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quick {
    pub verdict: Verdict,
    pub would: Verdict,
}

impl Quick {
    fn new() -> Self {
        Self { verdict: Verdict::Allow, would: Verdict::Allow }
    }

    /// Whether no further layer can change it.
    fn is_settled(self) -> bool {
        !self.verdict.is_allow() && !self.would.is_allow()
    }

    fn meet(&mut self, verdict: Verdict, mode: Mode) {
        if !verdict.is_allow() {
            self.would = Verdict::Deny;
        }
        if !verdict.under(mode).is_allow() {
            self.verdict = Verdict::Deny;
        }
    }
}

impl Engines<'_> {
    pub(crate) fn ready<'s>(&self, site: &'s Site) -> Ready<'s> {
        let pod = site.pod();
        let endpoint = pod.and_then(|pod| self.network.endpoints.get(&pod.name));
        let set = |direction| {
            let gate = endpoint?.gate(direction);
            Some((Arc::clone(self.network.rule_sets.get(&gate.rule_set?)?), gate.mode))
        };
        let workload = pod.and_then(|pod| self.authorization.workload(&pod.name));
        Ready {
            site,
            doors: self.doors(site),
            egress: set(Direction::Egress),
            ingress: set(Direction::Ingress),
            authorization: workload.filter(|workload| workload.policies().next().is_some()),
            host_network: pod.is_none_or(|pod| pod.host_network),
        }
    }

    fn doors<'s>(&self, site: &'s Site) -> Vec<Door<'s>> {
        let Some(pod) = site.pod() else { return Vec::new() };
        let mut ports: Vec<&NamedPort> = pod.ports.iter().collect();
        ports.sort_by_key(|port| (port.port, port.protocol));
        ports.dedup_by_key(|port| (port.port, port.protocol));
        let door = |port: &'s NamedPort| {
            let judged = self.judges_requests(pod, port.protocol, port.port);
            let requests = if judged { samples(self.snapshot, pod) } else { Vec::new() };
            Door { port, requests, transport: self.authorization.transport(&pod.name, port.port) }
        };
        ports.into_iter().map(door).collect()
    }

    /// What happens on a door: once, or once for each request.
    pub(crate) fn quick<'q>(
        &'q self,
        source: &'q Ready<'_>,
        destination: &'q Ready<'_>,
        pair: Pair<'q>,
        door: &'q Door<'_>,
    ) -> impl Iterator<Item = Quick> + 'q {
        let NamedPort { protocol, port, .. } = *door.port;
        let plain =
            (!source.host_network && !destination.host_network && !self.is_limited(source, destination, pair, door))
                .then(|| self.connection(source, destination, pair, door));
        let requests = door.requests.iter().map(Some).chain(door.requests.is_empty().then_some(None));
        requests.map(move |request| match plain {
            Some(connection) => self.request(connection, destination, pair, (protocol, port), request),
            None => {
                let rulings = self.rulings(pair, protocol, port, request);
                Quick { verdict: rulings.verdict(), would: rulings.would() }
            }
        })
    }

    /// Whether what is said on the connection matters to segmentation.
    fn is_limited(&self, source: &Ready<'_>, destination: &Ready<'_>, pair: Pair<'_>, door: &Door<'_>) -> bool {
        let NamedPort { protocol, port, .. } = *door.port;
        let limits = |gate: &Option<(Arc<RuleSet>, Mode)>, peer| {
            let found = gate.as_ref().and_then(|(set, _)| set.lookup(self.network.class(peer), protocol, port));
            found.is_some_and(|outcome| outcome.said.is_some())
        };
        !self.network.said.is_empty() && (limits(&source.egress, pair.to) || limits(&destination.ingress, pair.from))
    }

    fn connection(&self, source: &Ready<'_>, destination: &Ready<'_>, pair: Pair<'_>, door: &Door<'_>) -> Quick {
        let NamedPort { protocol, port, .. } = *door.port;
        let mut quick = Quick::new();
        let gates = [(&source.egress, pair.to), (&destination.ingress, pair.from)];
        for (gate, peer) in gates {
            if let Some((set, mode)) = gate {
                quick.meet(self.gate(set, peer, protocol, port), *mode);
            }
            if quick.is_settled() {
                return quick;
            }
        }
        if pair.beyond(protocol).is_ok() {
            quick.meet(door.transport.verdict(pair.encrypted(protocol)), door.transport.stance);
        }
        quick
    }

    fn gate(&self, set: &RuleSet, peer: IpAddr, protocol: Protocol, port: u16) -> Verdict {
        let found = set.lookup(self.network.class(peer), protocol, port);
        found.map_or(Verdict::Deny, |outcome| outcome.verdict)
    }

    fn request(
        &self,
        mut quick: Quick,
        destination: &Ready<'_>,
        pair: Pair<'_>,
        (protocol, port): (Protocol, u16),
        request: Option<&RequestAsk>,
    ) -> Quick {
        if quick.is_settled() {
            return quick;
        }
        let (Some(workload), Ok(pod)) = (&destination.authorization, pair.beyond(protocol)) else { return quick };
        let principal = pair.source.filter(|_| pair.encrypted(protocol)).map(|pod| &pod.identity);
        let outcome = with_request(Some(pod), request, |http| {
            workload.decide(&Request {
                principal,
                source_ip: pair.from,
                remote_ip: pair.from,
                destination_ip: pair.to,
                destination_port: port,
                sni: None,
                http,
                claims: None,
            })
        });
        quick.meet(outcome.verdict, outcome.mode);
        quick
    }
}
