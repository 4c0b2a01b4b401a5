//! The records of a cluster.

use super::message::{Answer, Code, Data, Query, Record, kind};
use super::name::{DnsName, InvalidName};
use lictor_cluster::{ClusterService, Snapshot};
use lictor_manifest::ServiceType;
use lictor_model::{Name, Protocol};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// CoreDNS' default for Kubernetes records.
const TTL: u32 = 5;
/// Section 2.2.
const SCHEMA_VERSION: &str = "1.1.0";
/// CoreDNS' defaults: refresh, retry and expire; the last is how long "no such name" may be kept (RFC 2308 section 5).
const SOA_TIMES: [u32; 4] = [7200, 1800, 86400, TTL];
/// What all SRV records of a name share out between them, as in CoreDNS.
const SRV_WEIGHT: u16 = 100;
/// How many aliases within the zone are followed.
const MOST_ALIASES: usize = 8;

/// The records of a snapshot. It never changes; the next snapshot makes the next zone.
#[derive(Debug, Clone)]
pub struct Zone {
    apex: DnsName,
    /// By name; a name that only others are below has an empty list.
    records: HashMap<DnsName, Vec<Data>>,
    /// Names of addresses, outside the zone.
    reverse: HashMap<DnsName, Vec<Data>>,
    soa: Record,
}

/// What a zone knows of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The answer.
    Answer(Answer),
    /// The start of the answer: the name is an alias of one in another zone.
    Alias(Answer, DnsName),
    /// Nothing: another server has to be asked.
    Elsewhere,
}

impl Zone {
    /// The records of a snapshot's services and pods, below `domain`.
    ///
    /// The addresses of pods that are `unready` are left out of headless records, unless the Service publishes those too.
    pub fn new(snapshot: &Snapshot, domain: &str, unready: &BTreeSet<Name>) -> Result<Self, InvalidName> {
        let apex = DnsName::parse(domain)?;
        let server = DnsName::parse(&format!("ns.dns.{domain}"))?;
        let mailbox = DnsName::parse(&format!("hostmaster.{domain}"))?;
        let serial = u32::try_from(snapshot.revision.0).unwrap_or(u32::MAX);
        let soa = Data::Soa { server: server.clone(), mailbox, serial, times: SOA_TIMES };
        let mut zone = Self {
            records: HashMap::from([(apex.clone(), vec![soa.clone(), Data::Ns(server.clone())])]),
            reverse: HashMap::new(),
            soa: Record { name: apex.clone(), ttl: TTL, data: soa },
            apex,
        };
        let dns = snapshot.services.get(&Name::new("kube-system", "kube-dns"));
        for address in dns.iter().flat_map(|service| &service.addresses) {
            zone.add(Some(server.clone()), address_data(*address));
        }
        zone.add(zone.apex.below(&["dns-version"]), Data::Txt(SCHEMA_VERSION.to_owned()));
        for namespace in snapshot.namespaces.keys() {
            for kind in ["svc", "pod"] {
                zone.exists(zone.apex.below(&[namespace, kind]));
            }
        }
        for (name, service) in &snapshot.services {
            match &service.service.kind {
                ServiceType::Cluster(_) => zone.clustered(name, service),
                ServiceType::Headless => zone.headless(name, service, snapshot, unready),
                ServiceType::External(alias) => {
                    if let Ok(alias) = DnsName::parse(alias) {
                        zone.add(zone.service_name(name), Data::Cname(alias));
                    }
                }
            }
        }
        for pod in snapshot.pods.values() {
            for address in &pod.addresses {
                // Section 2.6, for addresses that are a pod's in that namespace.
                let name = zone.apex.below(&[&dashed(*address), &pod.name.namespace, "pod"]);
                zone.add(name.clone(), address_data(*address));
                if !pod.host_network {
                    zone.add_reverse_if_none(*address, name);
                }
            }
        }
        Ok(zone)
    }

    /// Section 2.3.
    fn clustered(&mut self, name: &Name, service: &ClusterService) {
        let own = self.service_name(name);
        for address in &service.addresses {
            self.add(own.clone(), address_data(*address));
            self.add_reverse(*address, own.clone());
        }
        for port in &service.ports {
            let Some(target) = own.clone() else { continue };
            let data = Data::Srv { priority: 0, weight: SRV_WEIGHT, port: port.port.port, target };
            self.add(self.port_name(name, &port.port.name, port.port.protocol), data);
        }
    }

    /// Section 2.4.
    fn headless(&mut self, name: &Name, service: &ClusterService, snapshot: &Snapshot, unready: &BTreeSet<Name>) {
        let is_ready =
            |pod: Option<&Name>| service.service.publish_not_ready || pod.is_none_or(|pod| !unready.contains(pod));
        for (address, label) in endpoints(name, service, snapshot, is_ready) {
            self.add(self.service_name(name), address_data(address));
            let endpoint = self.endpoint_name(name, &label);
            self.add(endpoint.clone(), address_data(address));
            self.add_reverse(address, endpoint);
        }
        for port in &service.ports {
            let ready = port.backends.iter().filter(|backend| is_ready(backend.pod.as_ref()));
            // Several addresses of one endpoint are one target.
            let targets: BTreeSet<_> =
                ready.map(|backend| (label(&backend.hostname, backend.address), backend.port)).collect();
            let weight = SRV_WEIGHT / u16::try_from(targets.len().max(1)).unwrap_or(SRV_WEIGHT).min(SRV_WEIGHT);
            for (label, number) in targets {
                let Some(target) = self.endpoint_name(name, &label) else { continue };
                let data = Data::Srv { priority: 0, weight, port: number, target };
                self.add(self.port_name(name, &port.port.name, port.port.protocol), data);
            }
        }
    }

    /// Answers a question. `turn` says with which of several addresses the answer begins, so that clients
    /// which take the first spread over all.
    pub(super) fn find(&self, query: &Query, turn: usize) -> Found {
        if query.name.is_within(&self.apex) {
            return self.find_within(query, turn);
        }
        match self.reverse.get(&query.name) {
            Some(known) => {
                let answers = matching(&query.name, known, query.kind).collect();
                Found::Answer(self.own(Code::Ok, answers, query.kind))
            }
            None => Found::Elsewhere,
        }
    }

    fn find_within(&self, query: &Query, turn: usize) -> Found {
        let mut answers = Vec::new();
        let mut name = &query.name;
        for _ in 0..MOST_ALIASES {
            let Some(known) = self.records.get(name) else {
                // An alias of a name that does not exist: the code is that of the last name (RFC 6604).
                return Found::Answer(self.own(Code::NoSuchName, answers, query.kind));
            };
            let alias = known.iter().find_map(|data| match data {
                Data::Cname(target) if ![kind::CNAME, kind::ANY].contains(&query.kind) => Some(target),
                _ => None,
            });
            let Some(target) = alias else {
                let mut last: Vec<_> = matching(name, known, query.kind).collect();
                let turn = turn.checked_rem(last.len()).unwrap_or_default();
                last.rotate_left(turn);
                answers.extend(last);
                return Found::Answer(self.with_targets(self.own(Code::Ok, answers, query.kind)));
            };
            answers.push(Record { name: name.clone(), ttl: TTL, data: Data::Cname(target.clone()) });
            if !target.is_within(&self.apex) {
                let start = Answer { authoritative: true, answers, ..Answer::bare(Code::Ok) };
                return Found::Alias(start, target.clone());
            }
            name = target;
        }
        Found::Answer(Answer::bare(Code::ServerFailure))
    }

    /// An answer of this zone; one that ends without a record of the type has the SOA (RFC 2308 section 2).
    fn own(&self, code: Code, answers: Vec<Record>, asked: u16) -> Answer {
        let is_wanted = |record: &Record| asked == kind::ANY || record.data.kind() == asked;
        let negative = !answers.last().is_some_and(is_wanted);
        let authority = if negative { vec![self.soa.clone()] } else { Vec::new() };
        Answer { authoritative: true, answers, authority, ..Answer::bare(code) }
    }

    /// Adds the addresses of SRV targets, as section 2.3.2 allows.
    fn with_targets(&self, mut answer: Answer) -> Answer {
        let targets = answer.answers.iter().filter_map(|record| match &record.data {
            Data::Srv { target, .. } => Some(target),
            _ => None,
        });
        let targets: BTreeSet<_> = targets.collect();
        let known = targets.into_iter().filter_map(|target| Some((target, self.records.get(target)?)));
        answer.additional = known
            .flat_map(|(name, known)| {
                [kind::A, kind::AAAA].into_iter().flat_map(move |kind| matching(name, known, kind))
            })
            .collect();
        answer
    }

    fn service_name(&self, name: &Name) -> Option<DnsName> {
        self.apex.below(&[&name.name, &name.namespace, "svc"])
    }

    fn endpoint_name(&self, service: &Name, label: &str) -> Option<DnsName> {
        self.apex.below(&[label, &service.name, &service.namespace, "svc"])
    }

    /// Where a port's SRV records are: a port without a name has none.
    fn port_name(&self, service: &Name, port: &str, protocol: Protocol) -> Option<DnsName> {
        if port.is_empty() {
            return None;
        }
        let (port, protocol) = (format!("_{port}"), format!("_{}", protocol.to_string().to_ascii_lowercase()));
        self.apex.below(&[&port, &protocol, &service.name, &service.namespace, "svc"])
    }

    /// Adds a record within the zone; a name that would be too long has none.
    fn add(&mut self, name: Option<DnsName>, data: Data) {
        self.exists(name.clone());
        if let Some(all) = name.and_then(|name| self.records.get_mut(&name))
            && !all.contains(&data)
        {
            all.push(data);
        }
    }

    /// Makes a name exist, and those between it and the apex (RFC 8020).
    fn exists(&mut self, name: Option<DnsName>) {
        let mut next = name;
        while let Some(name) = next.filter(|name| !self.records.contains_key(name)) {
            next = name.parent();
            self.records.insert(name, Vec::new());
        }
    }

    fn add_reverse(&mut self, address: IpAddr, target: Option<DnsName>) {
        if let (Ok(name), Some(target)) = (reverse(address), target) {
            let all = self.reverse.entry(name).or_default();
            let data = Data::Ptr(target);
            if !all.contains(&data) {
                all.push(data);
            }
        }
    }

    fn add_reverse_if_none(&mut self, address: IpAddr, target: Option<DnsName>) {
        if reverse(address).is_ok_and(|name| !self.reverse.contains_key(&name)) {
            self.add_reverse(address, target);
        }
    }
}

/// The ready addresses behind a headless Service, each with the label that names its endpoint.
fn endpoints(
    name: &Name,
    service: &ClusterService,
    snapshot: &Snapshot,
    is_ready: impl Fn(Option<&Name>) -> bool,
) -> BTreeSet<(IpAddr, String)> {
    if let (true, Some(selector)) = (service.ports.is_empty(), &service.service.selector) {
        // Without ports there are no backends in the snapshot, but the addresses are published all the same.
        let own = snapshot.pods.values().filter(|pod| pod.name.namespace == name.namespace);
        let chosen = own.filter(|pod| selector.matches(&pod.labels) && is_ready(Some(&pod.name)));
        return chosen
            .flat_map(|pod| {
                let hostname = pod.spec.hostname.as_ref().filter(|_| pod.spec.subdomain.as_ref() == Some(&name.name));
                let hostname: Arc<str> = hostname.cloned().unwrap_or_default();
                pod.addresses.iter().map(move |address| (*address, label(&hostname, *address))).collect::<Vec<_>>()
            })
            .collect();
    }
    let backends = service.ports.iter().flat_map(|port| &port.backends);
    let ready = backends.filter(|backend| is_ready(backend.pod.as_ref()));
    ready.map(|backend| (backend.address, label(&backend.hostname, backend.address))).collect()
}

/// Section 2.1, `hostname`: its own, or its address, as in CoreDNS.
fn label(hostname: &str, address: IpAddr) -> String {
    if hostname.is_empty() { dashed(address) } else { hostname.to_owned() }
}

fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn address_data(address: IpAddr) -> Data {
    match address {
        IpAddr::V4(address) => Data::A(address),
        IpAddr::V6(address) => Data::Aaaa(address),
    }
}

fn matching<'a>(name: &'a DnsName, known: &'a [Data], kind: u16) -> impl Iterator<Item = Record> + 'a {
    let wanted = known.iter().filter(move |data| kind == kind::ANY || data.kind() == kind);
    wanted.map(|data| Record { name: name.clone(), ttl: TTL, data: data.clone() })
}

/// The name that an address is looked up by (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub(super) fn reverse(address: IpAddr) -> Result<DnsName, InvalidName> {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 0xf, byte >> 4));
            format!("{}ip6.arpa", nibbles.collect::<String>())
        }
    };
    DnsName::parse(&text)
}
