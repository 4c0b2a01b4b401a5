//! Verdicts about many pairs, looked up in the compiled programs.

use crate::engines::Engines;
use crate::question::RequestAsk;
use crate::sites::Site;
use lictor_authz::AppProtocol;
use lictor_cluster::Pod;
use lictor_model::{By, Direction, Http, Layer, Mode, Name, PortRange, Protocol, Request, Verdict};
use lictor_network::{Asked, Program, SaidId, Sayable};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// One layer's verdict about one connection or request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    pub layer: Layer,
    pub verdict: Verdict,
    pub mode: Mode,
    pub by: By,
}

/// What all layers say about one connection or request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rulings(pub [Ruling; 4]);

impl Rulings {
    /// What happens.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.0.iter().all(|ruling| ruling.verdict.under(ruling.mode).is_allow()) {
            Verdict::Allow
        } else {
            Verdict::Deny
        }
    }

    /// What would happen had every layer enforced.
    pub(crate) fn would(&self) -> Verdict {
        if self.0.iter().all(|ruling| ruling.verdict.is_allow()) { Verdict::Allow } else { Verdict::Deny }
    }

    /// The ruling that a record names: the first that denies, else the first that would, else the last that a policy
    /// made, else that no policy speaks of the destination.
    pub(crate) fn deciding(&self) -> &Ruling {
        let denies = self.0.iter().find(|ruling| !ruling.verdict.under(ruling.mode).is_allow());
        let would = || self.0.iter().find(|ruling| !ruling.verdict.is_allow());
        let by_policy = || self.0.iter().rev().find(|ruling| ruling.by.policy().is_some());
        denies.or_else(would).or_else(by_policy).unwrap_or(&self.0[2])
    }
}

/// One question to the compiled programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub source: Option<&'a Arc<Pod>>,
    pub destination: Option<&'a Arc<Pod>>,
    pub from: IpAddr,
    pub to: IpAddr,
}

impl<'a> Pair<'a> {
    /// The pairs of two sites between which verdicts can differ: one; of a pod and a host-network pod one that is on
    /// the same node and one that is not, as far as there are such. Of one site, they are two different pods of it.
    pub(crate) fn all(source: &'a Site, destination: &'a Site) -> impl Iterator<Item = Self> {
        let own_node = |site: &Site| site.pod().is_some_and(|pod| pod.host_network);
        let ends = match (own_node(source), own_node(destination)) {
            (true, false) => by_node(&destination.pods, &source.pods).map(|pair| pair.map(|(pod, host)| (host, pod))),
            (false, true) => by_node(&source.pods, &destination.pods),
            _ => [None, None],
        };
        let first = || Self::of(source, destination);
        let whole = ends.iter().all(Option::is_none).then(first).flatten();
        let ends = ends.into_iter().flatten();
        ends.filter_map(|(from, to)| Self::between((Some(from), from.addresses.as_slice()), (Some(to), &to.addresses)))
            .chain(whole)
    }

    /// One pair of two sites; of one site, two different pods of it.
    pub(crate) fn of(source: &'a Site, destination: &'a Site) -> Option<Self> {
        let same = source.pod().zip(destination.pod()).is_some_and(|(a, b)| a.name == b.name);
        if same && destination.pods.len() < 2 {
            return None;
        }
        let other = if same { destination.pods.get(1) } else { destination.pod() };
        let own = |pod: Option<&'a Arc<Pod>>, outside: &'a IpAddr| -> &'a [IpAddr] {
            pod.map_or(std::slice::from_ref(outside), |pod| &pod.addresses)
        };
        let ends = (own(source.pod(), &source.address), own(other, &destination.address));
        Self::between((source.pod(), ends.0), (other, ends.1))
    }

    /// Two ends at the first family that they have in common.
    fn between(
        source: (Option<&'a Arc<Pod>>, &[IpAddr]),
        destination: (Option<&'a Arc<Pod>>, &[IpAddr]),
    ) -> Option<Self> {
        let (from, to) = source.1.iter().find_map(|from| {
            let like = destination.1.iter().find(|to| to.is_ipv4() == from.is_ipv4())?;
            Some((*from, *like))
        })?;
        Some(Self { source: source.0, destination: destination.0, from, to })
    }
}

/// A pod and a host-network pod on one node, and two that are on different ones.
fn by_node<'a>(pods: &'a [Arc<Pod>], hosts: &'a [Arc<Pod>]) -> [Option<(&'a Arc<Pod>, &'a Arc<Pod>)>; 2] {
    let nodes: HashMap<&str, &Arc<Pod>> = hosts.iter().map(|host| (&*host.node, host)).collect();
    let together = pods.iter().find_map(|pod| Some((pod, *nodes.get(&*pod.node)?)));
    let apart = pods.first().zip(hosts.first()).and_then(|(pod, host)| {
        let elsewhere = hosts.iter().find(|host| host.node != pod.node).map(|host| (pod, host));
        elsewhere.or_else(|| pods.iter().find(|pod| pod.node != host.node).map(|pod| (pod, host)))
    });
    [together, apart]
}

impl Engines<'_> {
    /// What all layers say, looked up as the kernel and the proxy do.
    pub(crate) fn rulings(
        &self,
        pair: Pair<'_>,
        protocol: Protocol,
        port: u16,
        request: Option<&RequestAsk>,
    ) -> Rulings {
        let [egress, ingress] = [
            (Layer::Egress, Direction::Egress, pair.source, pair.to),
            (Layer::Ingress, Direction::Ingress, pair.destination, pair.from),
        ]
        .map(|(layer, direction, end, peer)| match end.filter(|pod| !pod.host_network) {
            Some(pod) => {
                let found = with_request(pair.destination, request, |http| {
                    let asked = http.map_or(Asked::Connection, Asked::Http);
                    self.network.judge_asked(&pod.name, direction, peer, (protocol, port), &asked)
                });
                Ruling { layer, verdict: found.verdict, mode: found.mode, by: found.by }
            }
            None => Ruling { layer, verdict: Verdict::Allow, mode: Mode::Enforce, by: By::NoPolicy },
        });
        let transport = self.transport_ruling(pair, protocol, port);
        let authorization = self.authorization_ruling(pair, protocol, port, request);
        Rulings([egress, transport, ingress, authorization])
    }

    /// Whether the destination's proxy would let it pass: by its transport, and by what authorization says.
    pub(crate) fn mesh(
        &self,
        pair: Pair<'_>,
        protocol: Protocol,
        port: u16,
        request: Option<&RequestAsk>,
    ) -> [bool; 2] {
        let transport = self.transport_ruling(pair, protocol, port);
        [transport, self.authorization_ruling(pair, protocol, port, request)].map(|ruling| ruling.verdict.is_allow())
    }

    fn transport_ruling(&self, pair: Pair<'_>, protocol: Protocol, port: u16) -> Ruling {
        let ruling = |verdict, mode, by| Ruling { layer: Layer::Transport, verdict, mode, by };
        let pod = match pair.beyond(protocol) {
            Ok(pod) => pod,
            Err(by) => return ruling(Verdict::Allow, Mode::Enforce, by),
        };
        let wanted = self.authorization.transport(&pod.name, port);
        ruling(wanted.verdict(pair.encrypted(protocol)), wanted.stance, wanted.by)
    }

    fn authorization_ruling(
        &self,
        pair: Pair<'_>,
        protocol: Protocol,
        port: u16,
        request: Option<&RequestAsk>,
    ) -> Ruling {
        let ruling = |verdict, mode, by| Ruling { layer: Layer::Authorization, verdict, mode, by };
        let pod = match pair.beyond(protocol) {
            Ok(pod) => pod,
            Err(by) => return ruling(Verdict::Allow, Mode::Enforce, by),
        };
        let Some(workload) = self.authorization.workload(&pod.name) else {
            return ruling(Verdict::Allow, Mode::Enforce, By::NoPolicy);
        };
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
        ruling(outcome.verdict, outcome.mode, outcome.by)
    }

    /// Whether a proxy judges each HTTP request on a port.
    pub(crate) fn judges_requests(&self, pod: &Pod, protocol: Protocol, port: u16) -> bool {
        // A source's own proxy judges what it says to a pod outside the mesh.
        if protocol == Protocol::Tcp && self.http_ports.iter().any(|range| range.contains(port)) {
            return true;
        }
        protocol == Protocol::Tcp
            && pod.enrolled
            && self.authorization.workload(&pod.name).is_some_and(|workload| workload.needs_http(port))
            && AppProtocol::of(self.snapshot, pod, port) != AppProtocol::Other
    }
}

/// The ports on which some rule set speaks of HTTP requests.
pub(crate) fn http_ports(network: &Program) -> Vec<PortRange> {
    let of_http = |said: SaidId| network.said.get(&said).is_some_and(|all| all.iter().any(Sayable::is_of_http));
    let mut ports = BTreeSet::new();
    for set in network.rule_sets.values().filter(|_| !network.said.is_empty()) {
        let limited = set.entries.iter().filter(|(_, outcome)| outcome.said.is_some_and(of_http));
        for (_, class) in limited.filter_map(|(entry, _)| entry.port.filter(|(protocol, _)| *protocol == Protocol::Tcp))
        {
            let first = set.bounds.get(usize::from(class)).copied().unwrap_or_default();
            let next = set.bounds.get(usize::from(class) + 1).copied();
            ports.extend(PortRange::new(first, next.map_or(u16::MAX, |next| next - 1)).ok());
        }
    }
    ports.into_iter().collect()
}

/// Lends a request in the form that the authorization engine takes.
pub(crate) fn with_request<T>(
    pod: Option<&Arc<Pod>>,
    request: Option<&RequestAsk>,
    then: impl FnOnce(Option<Http<'_>>) -> T,
) -> T {
    let Some(request) = request else { return then(None) };
    let own = pod.map(|pod| default_host(&pod.workload.name)).unwrap_or_default();
    let host = request.host.as_deref().unwrap_or(&own);
    let headers: Vec<(&str, &str)> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    then(Some(Http { method: &request.method, path: &request.path, host, headers: &headers }))
}

/// The host that a request names when none was asked for.
pub(crate) fn default_host(workload: &Name) -> String {
    format!("{}.{}", workload.name, workload.namespace)
}
