//! From the words of a question to the flows that it is about.

mod nearest;
mod place;
mod unclear;

pub use unclear::Unclear;

use crate::question::{Ask, End, EndKind, Question};
use lictor_cluster::{ClusterService, Pod, Snapshot};
use lictor_manifest::{ServiceType, WorkloadKind};
use lictor_model::{Flow, Name, Peer, Protocol, SpiffeId};
use place::{Place, PortWord};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

impl Ask {
    /// Finds what the words name.
    ///
    /// A name is tried as a pod, then as a workload, then as a service. A service's port stands for the
    /// port of its backends; a port that a workload's pods declare themselves stands for itself.
    ///
    /// # Errors
    /// [`Unclear`] when a word names nothing, or a port is missing where there is not exactly one.
    pub fn resolve(&self, snapshot: &Snapshot) -> Result<Question, Unclear> {
        let lookup = Lookup { snapshot, namespace: &self.namespace };
        let source = lookup.source(self.from.trim())?;
        let place = Place::read(self.to.trim())?;
        let target = lookup.target(&place)?;
        let protocol = place.protocol.or(self.protocol);
        let Reached { end, port, protocol, backends, mut remarks } = lookup.reach(&place, target, protocol)?;
        if self.request.is_some() && protocol != Protocol::Tcp {
            return Err(Unclear::RequestWithoutTcp { protocol });
        }
        if matches!(source.kind, EndKind::Identity) {
            remarks.push(format!("{} is the identity of {} pods", source.text, source.peers.len()));
        }
        let (flows, pairs) = lookup.flows(&source, &backends, protocol);
        let mut flows = flows.into_iter();
        let Some(flow) = flows.next() else {
            return Err(Unclear::NoCommonFamily { from: source.text, to: end.text });
        };
        let (others, request) = (flows.collect(), self.request.clone());
        Ok(Question { source, destination: end, protocol, port, flow, others, pairs, request, remarks })
    }
}

/// The pods behind one end: of a pod, a workload, a service or an identity, or the one with an address.
///
/// # Errors
/// [`Unclear`] when the words name nothing.
pub fn pods_named(snapshot: &Snapshot, text: &str, namespace: &str) -> Result<BTreeSet<Name>, Unclear> {
    let end = Lookup { snapshot, namespace }.source(text.trim())?;
    Ok(end.peers.into_iter().filter_map(|peer| peer.pod).collect())
}

struct Lookup<'a> {
    snapshot: &'a Snapshot,
    namespace: &'a str,
}

/// What a destination's name is, before its port is known.
enum Target<'a> {
    Pods { end: End, pods: Vec<&'a Arc<Pod>>, service: Option<&'a Arc<ClusterService>> },
    Service(&'a Arc<ClusterService>),
    Address(IpAddr),
}

/// A destination with its port.
struct Reached {
    end: End,
    port: u16,
    protocol: Protocol,
    backends: Vec<(Peer, u16)>,
    remarks: Vec<String>,
}

impl<'a> Lookup<'a> {
    fn source(&self, text: &str) -> Result<End, Unclear> {
        if text.starts_with("spiffe://") {
            return self.identity(text);
        }
        let place = Place::read(text)?;
        if place.port.is_some() {
            return Err(Unclear::SourcePort { text: text.to_owned() });
        }
        match self.target(&place)? {
            Target::Pods { end, .. } => Ok(end),
            Target::Service(service) => {
                let pods: BTreeSet<&Name> = service
                    .ports
                    .iter()
                    .flat_map(|port| &port.backends)
                    .filter_map(|backend| backend.pod.as_ref())
                    .collect();
                let peers: Vec<Peer> =
                    pods.into_iter().filter_map(|name| self.snapshot.pods.get(name)).filter_map(peer).collect();
                let text = service.service.meta.name.to_string();
                if peers.is_empty() {
                    Err(Unclear::NoBackends { service: text })
                } else {
                    Ok(End { text, kind: EndKind::Service, peers })
                }
            }
            Target::Address(address) => Ok(self.address(address)),
        }
    }

    fn identity(&self, text: &str) -> Result<End, Unclear> {
        let id: SpiffeId = text.parse().map_err(|error| Unclear::NotAnIdentity { text: text.to_owned(), error })?;
        let peers: Vec<Peer> = self.snapshot.pods.values().filter(|pod| pod.identity == id).filter_map(peer).collect();
        if peers.is_empty() {
            let known: BTreeSet<&str> = self.snapshot.pods.values().map(|pod| pod.identity.as_str()).collect();
            return Err(Unclear::UnknownIdentity { text: text.to_owned(), nearest: nearest::among(text, known) });
        }
        Ok(End { text: text.to_owned(), kind: EndKind::Identity, peers })
    }

    fn address(&self, address: IpAddr) -> End {
        let peer = self.snapshot.peer(address);
        End { text: address.to_string(), kind: EndKind::Address, peers: vec![peer] }
    }

    /// What a place's name is: an address, a pod, a workload, a service.
    fn target(&self, place: &Place) -> Result<Target<'a>, Unclear> {
        if let Some(address) = place.address {
            let owns = |service: &&Arc<ClusterService>| service.addresses.contains(&address);
            return Ok(self.snapshot.services.values().find(owns).map_or(Target::Address(address), Target::Service));
        }
        for name in place.names(self.namespace, |namespace| self.snapshot.namespaces.contains_key(namespace)) {
            if let Some(target) = self.named(&name.name, name.kind) {
                return Ok(target);
            }
        }
        Err(self.unknown(place))
    }

    fn named(&self, name: &Name, kind: Option<place::Kind>) -> Option<Target<'a>> {
        use place::Kind;
        let snapshot = self.snapshot;
        let service = || snapshot.services.get(name);
        let wants = |wanted: Kind| kind.is_none_or(|kind| kind == wanted);
        if wants(Kind::Pod)
            && let Some(pod) = snapshot.pods.get(name)
        {
            // A bare Pod is its own workload; the pod of another kind is one of many.
            let end = End { text: name.to_string(), kind: EndKind::Pod, peers: peer(pod).into_iter().collect() };
            return Some(Target::Pods { end, pods: vec![pod], service: service() });
        }
        let of_kind = |pod: &&Arc<Pod>| match kind {
            None => true,
            Some(Kind::Workload(kind)) => pod.workload.kind == kind,
            Some(_) => false,
        };
        let pods: Vec<&Arc<Pod>> =
            snapshot.pods.values().filter(|pod| pod.workload.name == *name).filter(of_kind).collect();
        if let Some(first) = pods.first() {
            let peers = pods.iter().copied().filter_map(peer).collect();
            let end = End { text: name.to_string(), kind: EndKind::Workload(first.workload.kind), peers };
            return Some(Target::Pods { end, pods, service: service() });
        }
        if wants(Kind::Service) { service().map(Target::Service) } else { None }
    }

    fn unknown(&self, place: &Place) -> Unclear {
        let asked = place.full_name(self.namespace);
        let workloads = self.snapshot.pods.values().map(|pod| pod.workload.name.to_string());
        let services = self.snapshot.services.keys().map(Name::to_string);
        let known: BTreeSet<String> = workloads.chain(services).collect();
        let nearest = nearest::among(&asked.to_string(), known.iter().map(String::as_str));
        let namespace_known = self.snapshot.namespaces.contains_key(&asked.namespace);
        Unclear::UnknownName { asked: asked.to_string(), namespace_known, nearest }
    }

    /// Fits the port.
    fn reach(&self, place: &Place, target: Target<'a>, protocol: Option<Protocol>) -> Result<Reached, Unclear> {
        match target {
            Target::Address(address) => {
                let end = self.address(address);
                let (port, protocol) = match &place.port {
                    Some(PortWord::Number(port)) => (*port, protocol.unwrap_or(Protocol::Tcp)),
                    Some(PortWord::Name(name)) => {
                        return Err(Unclear::UnknownPort { end: end.text, port: name.clone(), ports: Vec::new() });
                    }
                    None => return Err(Unclear::NoPort { end: end.text, ports: Vec::new() }),
                };
                let backends = end.peers.iter().map(|peer| (peer.clone(), port)).collect();
                Ok(Reached { end, port, protocol, backends, remarks: Vec::new() })
            }
            Target::Service(service) => self.reach_service(place, service, protocol),
            Target::Pods { end, pods, service } => {
                let declared =
                    pods.iter().flat_map(|pod| &pod.ports).map(|port| (&*port.name, port.port, port.protocol));
                match choose(&end.text, place.port.as_ref(), protocol, declared) {
                    Ok((port, protocol)) => {
                        let number = |pod: &Pod| match &place.port {
                            Some(PortWord::Name(name)) => pod.named_port(name, protocol),
                            _ => Some(port),
                        };
                        let backends = pods.iter().filter_map(|pod| Some((peer(pod)?, number(pod)?))).collect();
                        Ok(Reached { end, port, protocol, backends, remarks: Vec::new() })
                    }
                    // Not a port that the pods declare: the service of the same name may have it.
                    Err(unclear) => {
                        if let Some(service) = service
                            && let Ok(mut reached) = self.reach_service(place, service, protocol)
                        {
                            reached.end.text = end.text;
                            return Ok(reached);
                        }
                        let Some(PortWord::Number(port)) = place.port else { return Err(unclear) };
                        let backends = end.peers.iter().map(|peer| (peer.clone(), port)).collect();
                        let protocol = protocol.unwrap_or(Protocol::Tcp);
                        let remarks = vec![format!("no container of {} declares port {port}/{protocol}", end.text)];
                        Ok(Reached { end, port, protocol, backends, remarks })
                    }
                }
            }
        }
    }

    fn reach_service(
        &self,
        place: &Place,
        service: &'a Arc<ClusterService>,
        protocol: Option<Protocol>,
    ) -> Result<Reached, Unclear> {
        let text = service.service.meta.name.to_string();
        if let ServiceType::External(alias) = &service.service.kind {
            return Err(Unclear::Alias { service: text, alias: alias.clone() });
        }
        let declared = service.ports.iter().map(|port| (&*port.port.name, port.port.port, port.port.protocol));
        let (port, protocol) = choose(&text, place.port.as_ref(), protocol, declared)?;
        let Some(found) = service.ports.iter().find(|found| found.port.port == port && found.port.protocol == protocol)
        else {
            return Err(Unclear::NoBackends { service: text });
        };
        let backends: Vec<(Peer, u16)> = found
            .backends
            .iter()
            .map(|backend| (Peer { address: backend.address, pod: backend.pod.clone() }, backend.port))
            .collect();
        if backends.is_empty() {
            return Err(Unclear::NoBackends { service: text });
        }
        let targets: BTreeSet<u16> = backends.iter().map(|(_, port)| *port).collect();
        let mut remarks = Vec::new();
        if targets.iter().ne([&port]) {
            let list = targets.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            remarks.push(format!("service {text}:{port} is port {list} of its pods"));
        }
        let peers = backends.iter().map(|(peer, _)| peer.clone()).collect();
        Ok(Reached { end: End { text, kind: EndKind::Service, peers }, port, protocol, backends, remarks })
    }

    /// The flows between the two ends, and how many there are in all: pairs of one family, a pod's traffic with itself
    /// only where there is no other.
    fn flows(&self, source: &End, backends: &[(Peer, u16)], protocol: Protocol) -> (Vec<Flow>, usize) {
        let sources: Vec<(&Peer, Vec<IpAddr>)> = source.peers.iter().map(|peer| (peer, self.addresses(peer))).collect();
        let destinations: Vec<(&Peer, Vec<IpAddr>, u16)> =
            backends.iter().map(|(peer, port)| (peer, self.addresses(peer), *port)).collect();
        let flow = |from: &(&Peer, Vec<IpAddr>), to: &(&Peer, Vec<IpAddr>, u16)| {
            let (source, destination) = from.1.iter().find_map(|source| {
                Some((*source, *to.1.iter().find(|address| address.is_ipv4() == source.is_ipv4())?))
            })?;
            let at = |peer: &Peer, address: IpAddr| Peer { address, pod: peer.pod.clone() };
            Some(Flow { source: at(from.0, source), destination: at(to.0, destination), protocol, port: to.2 })
        };
        let all = || sources.iter().flat_map(|from| destinations.iter().filter_map(|to| flow(from, to)));
        let is_own = |flow: &Flow| flow.source.address == flow.destination.address;
        let others: Vec<Flow> = all().filter(|flow| !is_own(flow)).take(Question::MAX_FLOWS).collect();
        if others.is_empty() {
            let mut own: Vec<Flow> = all().collect();
            let pairs = own.len();
            own.truncate(Question::MAX_FLOWS);
            return (own, pairs);
        }
        // Of the pairs that could be, those without a common family and those of a pod with itself are none.
        let mut by_address: HashMap<IpAddr, Vec<usize>> = HashMap::new();
        for (at, address) in destinations.iter().enumerate().flat_map(|(at, to)| to.1.iter().map(move |one| (at, *one)))
        {
            by_address.entry(address).or_default().push(at);
        }
        let with_itself = |from: &(&Peer, Vec<IpAddr>)| {
            let same = from.1.iter().filter_map(|address| by_address.get(address)).flatten();
            let same: BTreeSet<usize> = same.copied().collect();
            same.into_iter().filter(|at| flow(from, &destinations[*at]).is_some_and(|flow| is_own(&flow))).count()
        };
        let own: usize = sources.iter().map(with_itself).sum();
        let ends = |all: &mut dyn Iterator<Item = &Vec<IpAddr>>| {
            all.fold(HashMap::<[bool; 2], usize>::new(), |mut counts, addresses| {
                let families = [true, false].map(|v4| addresses.iter().any(|address| address.is_ipv4() == v4));
                *counts.entry(families).or_default() += 1;
                counts
            })
        };
        let (from, to) =
            (ends(&mut sources.iter().map(|one| &one.1)), ends(&mut destinations.iter().map(|one| &one.1)));
        let common = |a: &[bool; 2], b: &[bool; 2]| a.iter().zip(b).any(|(a, b)| *a && *b);
        let pairs = from.iter().flat_map(|(a, n)| to.iter().map(move |(b, m)| if common(a, b) { n * m } else { 0 }));
        (others, pairs.sum::<usize>() - own)
    }

    fn addresses(&self, peer: &Peer) -> Vec<IpAddr> {
        match peer.pod.as_ref().and_then(|name| self.snapshot.pods.get(name)) {
            // The address that was asked for comes first; another family only when it is needed.
            Some(pod) => {
                let others = pod.addresses.iter().copied().filter(|address| *address != peer.address);
                std::iter::once(peer.address).chain(others).collect()
            }
            None => vec![peer.address],
        }
    }
}

/// The port and protocol that the words mean, among those that are declared as (name, number, protocol).
fn choose<'a>(
    end: &str,
    word: Option<&PortWord>,
    protocol: Option<Protocol>,
    declared: impl Iterator<Item = (&'a str, u16, Protocol)>,
) -> Result<(u16, Protocol), Unclear> {
    let declared: BTreeSet<(u16, Protocol, &str)> =
        declared.map(|(name, port, protocol)| (port, protocol, name)).collect();
    let fits = |(_, of, _): &&(u16, Protocol, &str)| protocol.is_none_or(|protocol| protocol == *of);
    let ports = || {
        declared
            .iter()
            .map(|(port, protocol, name)| match *name {
                "" => format!("{port}/{protocol}"),
                name => format!("{port}/{protocol} ({name})"),
            })
            .collect::<Vec<_>>()
    };
    let matching: Vec<&(u16, Protocol, &str)> = match word {
        None => declared.iter().filter(fits).collect(),
        Some(PortWord::Number(port)) => declared.iter().filter(fits).filter(|(number, ..)| number == port).collect(),
        Some(PortWord::Name(name)) => declared.iter().filter(fits).filter(|(.., named)| named == name).collect(),
    };
    match (matching.as_slice(), word) {
        ([(port, protocol, _), ..], Some(_)) => {
            // A number that is declared for several protocols means TCP, as kubectl's port forms do.
            let tcp = matching.iter().any(|(_, protocol, _)| *protocol == Protocol::Tcp);
            Ok((*port, if tcp { Protocol::Tcp } else { *protocol }))
        }
        ([(port, protocol, _)], None) => Ok((*port, *protocol)),
        (_, None) => Err(Unclear::NoPort { end: end.to_owned(), ports: ports() }),
        ([], Some(word)) => Err(Unclear::UnknownPort { end: end.to_owned(), port: word.to_string(), ports: ports() }),
    }
}

fn peer(pod: &Arc<Pod>) -> Option<Peer> {
    pod.addresses.first().map(|address| Peer::pod(pod.name.clone(), *address))
}

/// The word that `kubectl` users write before a slash, as a kind of workload.
fn workload_kind(word: &str) -> Option<WorkloadKind> {
    Some(match word {
        "deploy" | "deployment" | "deployments" => WorkloadKind::Deployment,
        "sts" | "statefulset" | "statefulsets" => WorkloadKind::StatefulSet,
        "ds" | "daemonset" | "daemonsets" => WorkloadKind::DaemonSet,
        "rs" | "replicaset" | "replicasets" => WorkloadKind::ReplicaSet,
        "rc" | "replicationcontroller" => WorkloadKind::ReplicationController,
        "job" | "jobs" => WorkloadKind::Job,
        "cj" | "cronjob" | "cronjobs" => WorkloadKind::CronJob,
        _ => return None,
    })
}
