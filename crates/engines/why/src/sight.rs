//! What policies can tell pods apart by.
//!
//! Pods that look alike get the same verdicts, at either end of a connection: one of them speaks for all. Nodes are
//! left out: where a pod and a node share one matters only to the pair of a pod and a host-network pod, which
//! [`Pair::all`](crate::lookup::Pair::all) looks at both ways.

use crate::blocks::blocks;
use crate::samples::speaks_for;
use crate::spans::Spans;
use lictor_cluster::{NamedPort, Node, Pod, Snapshot};
use lictor_manifest::{AuthorizationPolicy, AuthorizationRule, Said};
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
}

/// Which policies speak of the host that a request is for: by default its workload's name.
struct Hosts<'a> {
    /// A rule of a CiliumNetworkPolicy does.
    cilium: bool,
    authorization: Vec<&'a AuthorizationPolicy>,
}

/// What policies can see of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Looks<'a> {
    namespace: &'a str,
    labels: &'a Labels,
    account: &'a str,
    identity: &'a SpiffeId,
    enrolled: bool,
    host_network: bool,
    /// Of one in its node's network, what is seen of the node.
    node: Option<&'a Labels>,
    ports: &'a [NamedPort],
    addresses: Vec<At<'a>>,
    /// The name that requests are for, where policies speak of that.
    host: Option<&'a Name>,
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
    /// What the policies of any of these snapshots see; they differ in policies alone.
    pub(crate) fn of(snapshots: &[&'a Snapshot; 2]) -> Self {
        let [snapshot, _] = *snapshots;
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
        let hosts = Hosts::of(snapshots);
        Self { blocks, spans, snapshot, nodes: &snapshot.nodes, behind, hosts }
    }

    /// What they see of a pod.
    pub(crate) fn looks<'s>(&'s self, pod: &'s Pod) -> Looks<'s> {
        let at = |address: &IpAddr| At {
            is_ipv4: address.is_ipv4(),
            deepest: self.spans.deepest(*address),
            behind: self.behind.get(&address.to_canonical()).map_or(&[], Vec::as_slice),
            resolves: self.snapshot.resolvers.contains(address),
        };
        Looks {
            namespace: &pod.name.namespace,
            labels: &pod.labels,
            account: &pod.service_account,
            identity: &pod.identity,
            enrolled: pod.enrolled,
            host_network: pod.host_network,
            node: pod.host_network.then(|| self.nodes.get(&pod.node).map(|node| &node.labels)).flatten(),
            ports: &pod.ports,
            addresses: pod.addresses.iter().map(at).collect(),
            host: self.hosts.matter_to(self.snapshot, pod).then_some(&pod.workload.name),
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
