//! What policies can tell pods apart by.
//!
//! Pods that look alike get the same verdicts, at either end of a connection: one of them speaks for all. Nodes are
//! left out: where a pod and a node share one matters only to the pair of a pod and a host-network pod, which
//! [`Pair::all`](crate::lookup::Pair::all) looks at both ways.

use crate::blocks::blocks;
use crate::samples::speaks_for;
use crate::spans::Spans;
use lictor_cluster::{Answers, NamedPort, Node, Pod, Snapshot};
use lictor_manifest::{AuthorizationPolicy, AuthorizationRule, PortMatch, PortTerm, Said};
use lictor_model::{Cidr, Labels, Name, SpiffeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// What the policies of some snapshots see.
pub(crate) struct Sight<'a> {
    pub blocks: BTreeSet<Cidr>,
    pub spans: Spans,
    snapshot: &'a Snapshot,
    nodes: &'a BTreeMap<Arc<str>, Node>,
    /// The backends of Services that name them one by one; those of others are told by their labels.
    behind: HashMap<IpAddr, Vec<&'a Name>>,
    hosts: Hosts<'a>,
    reads: Reads,
}

/// What some policy looks at.
#[derive(Debug, Clone, Copy)]
struct Reads {
    accounts: bool,
    identities: bool,
    /// Their names.
    ports: bool,
}

impl Reads {
    fn of(snapshots: &[&Snapshot]) -> Self {
        let policies = || snapshots.iter().map(|snapshot| &snapshot.policies);
        // Services tell by the names of ports what is HTTP, where some policy speaks of that.
        let mesh = policies().any(|policies| !policies.authorization.is_empty());
        let cilium = policies().any(|policies| !policies.cilium.is_empty());
        let names = |terms: &[PortTerm]| terms.iter().any(|term| matches!(term.port, PortMatch::Named(_)));
        let network = policies().flat_map(|policies| policies.network.values());
        let mut rules = network.flat_map(|policy| policy.ingress.iter().chain(&policy.egress)).flatten();
        let tiered = policies().any(|policies| !policies.cluster_network.is_empty());
        Self {
            accounts: cilium,
            identities: mesh,
            ports: mesh || cilium || tiered || rules.any(|rule| names(&rule.ports)),
        }
    }
}

/// Which policies speak of the host that a request is for: by default its workload's name.
struct Hosts<'a> {
    /// A rule of a CiliumNetworkPolicy does.
    cilium: bool,
    authorization: Vec<&'a AuthorizationPolicy>,
}

/// What policies can see of a pod; nothing in place of what none of them looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Looks<'a> {
    namespace: &'a str,
    labels: &'a Labels,
    account: Option<&'a str>,
    identity: Option<&'a SpiffeId>,
    enrolled: bool,
    host_network: bool,
    /// Of one in its node's network, what is seen of the node.
    node: Option<&'a Labels>,
    ports: &'a [NamedPort],
    /// The first two; few have more.
    addresses: [Option<At<'a>>; 2],
    more: Vec<At<'a>>,
    /// The name that requests are for, where policies speak of that.
    host: Option<&'a Name>,
    /// What it has learnt of names beyond what everyone knows.
    learnt: Option<&'a Answers>,
}

/// What can be seen of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct At<'a> {
    is_ipv4: bool,
    deepest: Option<usize>,
    behind: &'a [&'a Name],
    resolves: bool,
}

impl<'a> Sight<'a> {
    /// What the policies of a snapshot see, or those of another one that differs from it in policies alone.
    pub(crate) fn of(snapshot: &'a Snapshot, other: Option<&'a Snapshot>) -> Self {
        let snapshots: Vec<&Snapshot> = [snapshot].into_iter().chain(other).collect();
        let blocks: BTreeSet<Cidr> = snapshots.iter().flat_map(|snapshot| blocks(snapshot)).collect();
        let mut behind: HashMap<IpAddr, Vec<&Name>> = HashMap::new();
        let named = |service: &&Arc<lictor_cluster::ClusterService>| {
            service.service.selector.as_ref().is_none_or(lictor_model::Selector::is_empty)
        };
        for service in snapshot.services.values().filter(named) {
            for backend in service.ports.iter().flat_map(|port| &port.backends) {
                behind.entry(backend.address.to_canonical()).or_default().push(&service.service.meta.name);
            }
        }
        let spans = Spans::of(&blocks);
        let (hosts, reads) = (Hosts::of(&snapshots), Reads::of(&snapshots));
        Self { blocks, spans, snapshot, nodes: &snapshot.nodes, behind, hosts, reads }
    }

    /// What they could see of a pod, the ports that it declares among it: what a list tells pods apart by.
    pub(crate) fn looks<'s>(&'s self, pod: &'s Pod) -> Looks<'s> {
        let (account, identity) = (Some(&*pod.service_account), Some(&pod.identity));
        // What a pod has learnt is never another pod's address.
        Looks { account, identity, ports: &pod.ports, learnt: None, ..self.verdicts(pod) }
    }

    /// What a pod's verdicts depend on.
    pub(crate) fn verdicts<'s>(&'s self, pod: &'s Pod) -> Looks<'s> {
        let behind = |address: IpAddr| if self.behind.is_empty() { None } else { self.behind.get(&address) };
        let at = |address: &IpAddr| At {
            is_ipv4: address.is_ipv4(),
            deepest: self.spans.deepest(*address),
            behind: behind(address.to_canonical()).map_or(&[], Vec::as_slice),
            resolves: self.snapshot.resolvers.contains(address),
        };
        Looks {
            namespace: &pod.name.namespace,
            labels: &pod.labels,
            account: self.reads.accounts.then_some(&pod.service_account),
            identity: self.reads.identities.then_some(&pod.identity),
            enrolled: pod.enrolled,
            host_network: pod.host_network,
            node: pod.host_network.then(|| self.nodes.get(&pod.node).map(|node| &node.labels)).flatten(),
            ports: if self.reads.ports { &pod.ports } else { &[] },
            addresses: [pod.addresses.first().map(at), pod.addresses.get(1).map(at)],
            more: pod.addresses.iter().skip(2).map(at).collect(),
            host: self.hosts.matter_to(self.snapshot, pod).then_some(&pod.workload.name),
            learnt: self.snapshot.names.learnt_by(&pod.name),
        }
    }
}

impl<'a> Hosts<'a> {
    fn of(snapshots: &[&'a Snapshot]) -> Self {
        let policies = || snapshots.iter().map(|snapshot| &snapshot.policies);
        let specs = policies().flat_map(|policies| policies.cilium.values()).flat_map(|policy| &policy.specs);
        let rules = specs.flat_map(|spec| spec.ingress.allow.iter().chain(&spec.egress.allow));
        let mut said = rules.flat_map(|rule| rule.ports.iter().flatten()).filter_map(|item| item.said.as_deref());
        let of_rule = |rule: &AuthorizationRule| {
            rule.to.iter().any(|operation| !operation.hosts.is_empty() || !operation.not_hosts.is_empty())
                || rule.when.iter().any(|condition| condition.key.starts_with("request."))
        };
        let authorization = policies().flat_map(|policies| policies.authorization.values());
        Self {
            cilium: said.any(|said| match said {
                Said::Http(rules) => rules.iter().any(|rule| rule.host.is_some() || !rule.headers.is_empty()),
                _ => false,
            }),
            authorization: authorization
                .filter(|policy| policy.rules.iter().any(of_rule))
                .map(|policy| &**policy)
                .collect(),
        }
    }

    fn matter_to(&self, snapshot: &Snapshot, pod: &Pod) -> bool {
        let speaks =
            |policy: &&AuthorizationPolicy| speaks_for(snapshot, &policy.meta.name, policy.selector.as_ref(), pod);
        self.cilium || self.authorization.iter().any(speaks)
    }
}
