//! The policies that what was seen needs, and no more.

use crate::engines::Engines;
use crate::labels;
use crate::seen::{Seen, SeenEnd};
use crate::simulate::flow;
use crate::sites::one_of_each;
use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot, WorkloadRef};
use lictor_manifest::{Object, read};
use lictor_model::{Cidr, Direction, Name, Protocol, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// In which kind a suggestion is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// NetworkPolicy.
    #[default]
    Kubernetes,
    /// CiliumNetworkPolicy: names where DNS has told them.
    Cilium,
}

/// The policies for some workloads, and what they come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// One policy a workload.
    pub policies: Vec<Tree>,
    /// How many of the flows with an end in these workloads were allowed when they were seen.
    pub observed: usize,
    /// Those among them that the policies do not allow; empty, or the suggestion is none.
    pub missed: Vec<Seen>,
    /// What else becomes possible.
    pub beyond: Vec<Beyond>,
    /// Policies that it stands in for: they select the same pods, and add to it as long as they are there.
    pub instead_of: Vec<Name>,
}

/// A connection that the policies allow and nobody was seen to make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Beyond {
    /// Who could open it.
    pub source: Name,
    /// Whom it could be for.
    pub destination: Name,
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// Peers of a workload in one direction, by what names them, with their ports.
type Rules = BTreeMap<PeerKey, BTreeSet<(Protocol, u16)>>;

/// The other end of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PeerKey {
    Workload(WorkloadRef),
    Name(String),
    Address(IpAddr),
}

/// The smallest policies for the workloads of `chosen` under which everything that was seen and allowed stays allowed.
///
/// Peers are named by the fewest labels that no other workload has, ports are those of the pods, DNS is allowed where
/// anything goes out.
pub fn suggest(snapshot: &Snapshot, seen: &[Seen], chosen: &dyn Fn(&Pod) -> bool, dialect: Dialect) -> Suggestion {
    let workloads = one_of_each(snapshot.pods.values().filter(|pod| !pod.host_network && chosen(pod)));
    let resolved: Vec<Seen> =
        seen.iter().filter(|seen| seen.verdict.is_allow()).map(|seen| behind(snapshot, seen)).collect();
    let ours = |end: &SeenEnd| {
        let pod = end.pod.as_ref().and_then(|name| snapshot.pods.get(name))?;
        workloads.contains_key(&pod.workload).then_some(&pod.workload)
    };
    let observed: Vec<&Seen> =
        resolved.iter().filter(|seen| ours(&seen.source).is_some() || ours(&seen.destination).is_some()).collect();
    let mut policies = Vec::new();
    for (workload, pod) in &workloads {
        let [mut ingress, mut egress] = [Rules::new(), Rules::new()];
        for seen in &observed {
            let service = (seen.protocol, seen.port);
            if ours(&seen.destination) == Some(*workload) {
                ingress.entry(peer(snapshot, &seen.source, dialect)).or_default().insert(service);
            }
            if ours(&seen.source) == Some(*workload) {
                egress.entry(peer(snapshot, &seen.destination, dialect)).or_default().insert(service);
            }
        }
        if !egress.is_empty() {
            egress.extend(dns(snapshot).map(|dns| (dns, [(Protocol::Udp, 53), (Protocol::Tcp, 53)].into())));
        }
        policies.push(match dialect {
            Dialect::Kubernetes => network_policy(snapshot, workload, pod, &ingress, &egress),
            Dialect::Cilium => cilium_policy(snapshot, workload, pod, &ingress, &egress),
        });
    }
    let (alone, instead_of) = without_others(snapshot, &workloads);
    let after = with_policies(&alone, &policies);
    let missed = observed.iter().filter(|seen| !is_allowed(&after, seen, &ours)).map(|seen| (*seen).clone()).collect();
    let beyond = beyond(&after, &observed, &workloads);
    Suggestion { policies, observed: observed.len(), missed, beyond, instead_of }
}

/// The pod and port behind a service's virtual address.
fn behind(snapshot: &Snapshot, seen: &Seen) -> Seen {
    let address = seen.destination.address.to_canonical();
    let service = snapshot.services.values().find(|service| service.addresses.contains(&address));
    let port = service.and_then(|service| {
        service.ports.iter().find(|port| (port.port.protocol, port.port.port) == (seen.protocol, seen.port))
    });
    match port.and_then(|port| port.backends.first()) {
        Some(backend) if seen.destination.pod.is_none() => Seen {
            destination: SeenEnd { pod: backend.pod.clone(), address: backend.address },
            port: backend.port,
            ..seen.clone()
        },
        _ => seen.clone(),
    }
}

fn peer(snapshot: &Snapshot, end: &SeenEnd, dialect: Dialect) -> PeerKey {
    let pod = end.pod.as_ref().and_then(|name| snapshot.pods.get(name)).filter(|pod| !pod.host_network);
    let name = || snapshot.names.name_of(end.address).map(ToOwned::to_owned);
    match pod {
        Some(pod) => PeerKey::Workload(pod.workload.clone()),
        None => match name().filter(|_| dialect == Dialect::Cilium) {
            Some(name) => PeerKey::Name(name),
            None => PeerKey::Address(end.address.to_canonical()),
        },
    }
}

/// The workload of the cluster's DNS.
fn dns(snapshot: &Snapshot) -> Option<PeerKey> {
    let named = snapshot.services.get(&Name::new("kube-system", "kube-dns"))?;
    let backend = named.ports.iter().flat_map(|port| &port.backends).find_map(|backend| backend.pod.as_ref())?;
    Some(PeerKey::Workload(snapshot.pods.get(backend)?.workload.clone()))
}

fn any_pod<'s>(snapshot: &'s Snapshot, workload: &WorkloadRef) -> Option<&'s Arc<Pod>> {
    snapshot.pods.values().find(|pod| pod.workload == *workload)
}

fn network_policy(
    snapshot: &Snapshot,
    workload: &WorkloadRef,
    pod: &Arc<Pod>,
    ingress: &Rules,
    egress: &Rules,
) -> Tree {
    let rules = |rules: &Rules, list: &'static str| {
        Tree::list(rules.iter().map(|(peer, ports)| {
            let mut rule = vec![(list, Tree::list([network_peer(snapshot, pod, peer)]))];
            let with_ports = ports.iter().filter(|(protocol, _)| Protocol::WITH_PORTS.contains(protocol));
            let ports: Vec<Tree> = with_ports
                .map(|(protocol, port)| Tree::map([("protocol", Tree::text(protocol)), ("port", Tree::number(*port))]))
                .collect();
            if !ports.is_empty() {
                rule.push(("ports", Tree::list(ports)));
            }
            Tree::map(rule)
        }))
    };
    let mut spec = vec![
        ("podSelector", labels::selector(&labels::of(snapshot, pod))),
        ("policyTypes", Tree::list(["Ingress".into(), "Egress".into()])),
    ];
    if !ingress.is_empty() {
        spec.push(("ingress", rules(ingress, "from")));
    }
    if !egress.is_empty() {
        spec.push(("egress", rules(egress, "to")));
    }
    document("networking.k8s.io/v1", "NetworkPolicy", workload, spec)
}

fn document(version: &'static str, kind: &'static str, workload: &WorkloadRef, spec: Vec<(&str, Tree)>) -> Tree {
    let name = Tree::text(&workload.name.name);
    let metadata = Tree::map([("name", name), ("namespace", Tree::text(&workload.name.namespace))]);
    Tree::map([
        ("apiVersion", version.into()),
        ("kind", kind.into()),
        ("metadata", metadata),
        ("spec", Tree::map(spec)),
    ])
}

fn network_peer(snapshot: &Snapshot, subject: &Pod, peer: &PeerKey) -> Tree {
    match peer {
        PeerKey::Workload(workload) => {
            let Some(pod) = any_pod(snapshot, workload) else { return Tree::map([]) };
            let pods = ("podSelector", labels::selector(&labels::of(snapshot, pod)));
            if workload.name.namespace == subject.name.namespace {
                return Tree::map([pods]);
            }
            let name = Tree::map([("kubernetes.io/metadata.name", Tree::text(&workload.name.namespace))]);
            Tree::map([("namespaceSelector", Tree::map([("matchLabels", name)])), pods])
        }
        PeerKey::Address(address) => Tree::map([("ipBlock", Tree::map([("cidr", Tree::text(Cidr::host(*address)))]))]),
        // Only the other kind has names.
        PeerKey::Name(_) => Tree::map([]),
    }
}

fn cilium_policy(snapshot: &Snapshot, workload: &WorkloadRef, pod: &Arc<Pod>, ingress: &Rules, egress: &Rules) -> Tree {
    let rules = |rules: &Rules, direction: Direction| {
        let rule = |(peer, ports): (&PeerKey, &BTreeSet<(Protocol, u16)>)| {
            let mut rule = vec![cilium_peer(snapshot, pod, peer, direction)];
            let to_dns = Some(peer) == dns(snapshot).as_ref() && direction == Direction::Egress;
            let with_ports = ports.iter().filter(|(protocol, _)| Protocol::WITH_PORTS.contains(protocol));
            let ports: Vec<Tree> = with_ports
                .map(|(protocol, port)| Tree::map([("port", Tree::text(port)), ("protocol", Tree::text(protocol))]))
                .collect();
            if !ports.is_empty() {
                let mut item = vec![("ports", Tree::list(ports))];
                if to_dns {
                    let any = Tree::list([Tree::map([("matchPattern", "*".into())])]);
                    item.push(("rules", Tree::map([("dns", any)])));
                }
                rule.push(("toPorts", Tree::list([Tree::map(item)])));
            }
            Tree::map(rule)
        };
        match rules.is_empty() {
            // A rule that says nothing isolates and allows nothing.
            true => Tree::list([Tree::map([])]),
            false => Tree::list(rules.iter().map(rule)),
        }
    };
    let spec = vec![
        ("endpointSelector", labels::selector(&labels::of(snapshot, pod))),
        ("ingress", rules(ingress, Direction::Ingress)),
        ("egress", rules(egress, Direction::Egress)),
    ];
    document("cilium.io/v2", "CiliumNetworkPolicy", workload, spec)
}

fn cilium_peer(snapshot: &Snapshot, subject: &Pod, peer: &PeerKey, direction: Direction) -> (&'static str, Tree) {
    let [endpoints, blocks] = match direction {
        Direction::Ingress => ["fromEndpoints", "fromCIDR"],
        Direction::Egress => ["toEndpoints", "toCIDR"],
    };
    match peer {
        PeerKey::Workload(workload) => {
            let mut pairs = any_pod(snapshot, workload).map(|pod| labels::of(snapshot, pod)).unwrap_or_default();
            if workload.name.namespace != subject.name.namespace {
                pairs.push(("k8s:io.kubernetes.pod.namespace".to_owned(), workload.name.namespace.to_string()));
            }
            (endpoints, Tree::list([labels::selector(&pairs)]))
        }
        PeerKey::Address(address) if snapshot.node_at(*address).is_some() => {
            let entities = if direction == Direction::Ingress { "fromEntities" } else { "toEntities" };
            (entities, Tree::list(["host".into(), "remote-node".into()]))
        }
        PeerKey::Address(address) => (blocks, Tree::list([Tree::text(Cidr::host(*address))])),
        PeerKey::Name(name) => ("toFQDNs", Tree::list([Tree::map([("matchName", Tree::text(name))])])),
    }
}

/// The snapshot without the policies that select these workloads, and their names.
fn without_others(snapshot: &Snapshot, workloads: &BTreeMap<&WorkloadRef, &Arc<Pod>>) -> (Snapshot, Vec<Name>) {
    let mut alone = snapshot.clone();
    let mut gone = Vec::new();
    alone.policies.network.retain(|name, policy| {
        let selects = workloads.values().any(|pod| pod.is_selected_by(policy));
        if selects {
            gone.push(name.clone());
        }
        !selects
    });
    alone.policies.cilium.retain(|name, policy| {
        let selects = workloads.values().any(|pod| snapshot.is_subject(policy, pod));
        if selects && !policy.is_clusterwide() {
            gone.push(name.clone());
        }
        !selects || policy.is_clusterwide()
    });
    (alone, gone)
}

fn with_policies(snapshot: &Snapshot, documents: &[Tree]) -> Snapshot {
    let mut after = snapshot.clone();
    for document in documents {
        for object in read("suggestion.yaml", &document.to_yaml()).objects {
            match object {
                Object::NetworkPolicy(policy) => drop(after.policies.network.insert(policy.meta.name.clone(), policy)),
                Object::CiliumNetworkPolicy(policy) => {
                    drop(after.policies.cilium.insert(policy.meta.name.clone(), policy));
                }
                _ => {}
            }
        }
    }
    after
}

/// Whether the segmentation of our own workloads lets a flow pass.
fn is_allowed<'w>(after: &Snapshot, seen: &Seen, ours: &dyn Fn(&SeenEnd) -> Option<&'w WorkloadRef>) -> bool {
    let Some(flow) = flow(after, seen) else { return true };
    let sides = [(Direction::Egress, &seen.source), (Direction::Ingress, &seen.destination)];
    sides.into_iter().filter(|(_, end)| ours(end).is_some()).all(|(direction, _)| {
        let step = lictor_network::judge(after, &flow, direction);
        step.verdict.is_allow()
    })
}

/// What other pods could now do at a declared port, or where our own could go.
fn beyond(after: &Snapshot, observed: &[&Seen], workloads: &BTreeMap<&WorkloadRef, &Arc<Pod>>) -> Vec<Beyond> {
    let engines = Engines::new(after);
    let one_each = one_of_each(after.pods.values().filter(|pod| !pod.host_network));
    let of = |end: &SeenEnd| end.pod.as_ref().and_then(|name| after.pods.get(name)).map(|pod| &pod.workload);
    let known: BTreeSet<_> = observed
        .iter()
        .filter_map(|seen| Some((of(&seen.source)?, of(&seen.destination)?, seen.protocol, seen.port)))
        .collect();
    let mut beyond = BTreeSet::new();
    for (source, from) in &one_each {
        for (destination, to) in &one_each {
            let ours = [workloads.contains_key(*source), workloads.contains_key(*destination)];
            if source == destination || ours == [false, false] {
                continue;
            }
            let Some((near, far)) = from.addresses.iter().find_map(|near| Some((*near, to.address_like(*near)?)))
            else {
                continue;
            };
            for port in &to.ports {
                let service = (port.protocol, port.port);
                if known.contains(&(*source, *destination, service.0, service.1)) {
                    continue;
                }
                let passes = |name: &Name, direction, peer| {
                    let judged = engines.network.judge(name, direction, peer, service.0, service.1);
                    judged.verdict == Verdict::Allow
                };
                if passes(&from.name, Direction::Egress, far) && passes(&to.name, Direction::Ingress, near) {
                    beyond.insert(Beyond {
                        source: source.name.clone(),
                        destination: destination.name.clone(),
                        protocol: service.0,
                        port: service.1,
                    });
                }
            }
        }
    }
    beyond.into_iter().collect()
}
