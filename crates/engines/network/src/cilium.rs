//! CiliumNetworkPolicies: which speak of a pod, and what each of their rules comes to.
//!
//! Source: Cilium, "Policy enforcement", "Layer 3 examples" to "Layer 7 examples" and "Deny policies"; `pkg/policy`.

use crate::matching::{Far, Miss, mismatch};
use crate::said::{Asked, may_say};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{
    CiliumNetworkPolicy, CiliumPeer, CiliumPorts, CiliumRule, CiliumSide, CiliumSpec, Entity, GroupRef, PortMatch,
    PortTerm, Said,
};
use lictor_model::{Cidr, Direction, IpBlock, Name, PolicyRef};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// A `spec` that speaks of a pod in a direction.
#[derive(Clone, Copy)]
pub(crate) struct Spec<'a> {
    pub(crate) policy: &'a CiliumNetworkPolicy,
    pub(crate) spec: &'a CiliumSpec,
}

/// One rule with one of its port items: what is told of connections is told of these ports.
#[derive(Clone, Copy)]
pub(crate) struct Unit<'a> {
    pub(crate) rule: &'a CiliumRule,
    /// The place of the rule in its list.
    pub(crate) at: usize,
    pub(crate) denies: bool,
    /// Nothing means all ports of all protocols.
    pub(crate) ports: Option<&'a [PortTerm]>,
    pub(crate) said: Option<&'a Arc<Said>>,
}

impl<'a> Spec<'a> {
    /// The specs of a policy, in order.
    pub(crate) fn of(policy: &'a CiliumNetworkPolicy) -> impl Iterator<Item = Self> {
        policy.specs.iter().map(move |spec| Self { policy, spec })
    }

    pub(crate) fn side(self, direction: Direction) -> &'a CiliumSide {
        match direction {
            Direction::Ingress => &self.spec.ingress,
            Direction::Egress => &self.spec.egress,
        }
    }

    /// Whether it says anything about a pod in a direction.
    pub(crate) fn speaks(self, snapshot: &Snapshot, pod: &Pod, direction: Direction) -> bool {
        let side = self.side(direction);
        let says = side.default_deny || !side.allow.is_empty() || !side.deny.is_empty();
        says && snapshot.is_endpoint(self.policy, &self.spec.subject, pod)
    }

    /// Where it is in memory. What keeps the number keeps the policy alive.
    pub(crate) fn place(self) -> usize {
        std::ptr::from_ref(self.spec).addr()
    }

    /// The policy as a whole.
    pub(crate) fn whole(self) -> PolicyRef {
        PolicyRef::whole(self.policy.kind, self.policy.meta.name.clone())
    }

    /// A rule of it.
    pub(crate) fn rule(self, direction: Direction, unit: &Unit<'_>) -> PolicyRef {
        let deny = if unit.denies { "Deny" } else { "" };
        self.whole().at(format!("{}.{direction}{deny}[{}]", self.spec.path, unit.at))
    }

    /// What its rules come to: those that deny first.
    pub(crate) fn units(self, direction: Direction) -> impl Iterator<Item = Unit<'a>> {
        let side = self.side(direction);
        let deny = side.deny.iter().enumerate().map(|(at, rule)| (at, rule, true));
        let allow = side.allow.iter().enumerate().map(|(at, rule)| (at, rule, false));
        deny.chain(allow.filter(|(_, rule, _)| rule.unsupported.is_none())).flat_map(|(at, rule, denies)| {
            let unit = move |ports, said| Unit { rule, at, denies, ports, said };
            let whole = rule.ports.is_none().then(|| unit(None, None));
            let item = move |item: &'a CiliumPorts| unit(Some(&*item.ports), item.said.as_ref());
            whole.into_iter().chain(rule.ports.iter().flatten().map(item))
        })
    }
}

impl Unit<'_> {
    /// Whether it names peers; one that means anyone does not.
    pub(crate) fn names_peers(&self) -> bool {
        let anyone = |peer: &CiliumPeer| match peer {
            CiliumPeer::Entity(Entity::All) => true,
            CiliumPeer::Unknown => self.denies,
            _ => false,
        };
        self.rule.peers.as_ref().is_some_and(|peers| !peers.iter().any(anyone))
    }

    /// How specifically it matches, the lower the more, as [`Far::tier`] has it; nothing when it does not.
    pub(crate) fn tier(&self, snapshot: &Snapshot, spec: Spec<'_>, far: &Far<'_>, direction: Direction) -> Option<u8> {
        let named = self.names_peers();
        if named && !self.rule.peers.iter().flatten().any(|peer| is_peer(snapshot, spec.policy, peer, far)) {
            return None;
        }
        let Some(ports) = self.ports else { return Some(if named { 1 } else { 3 }) };
        let matching = || ports.iter().filter(|port| far.is_port(port));
        let names_peer = |port: &PortTerm| direction == Direction::Egress && matches!(port.port, PortMatch::Named(_));
        matching().next()?;
        Some(if named || matching().any(names_peer) { 0 } else { 2 })
    }
}

/// The peers of a rule as a reader knows them.
pub(crate) fn peer_words(peer: &CiliumPeer) -> String {
    let names = |selector: &lictor_model::Selector| selector.to_string();
    match peer {
        CiliumPeer::Pods(selector) => {
            let namespaces = selector.namespaces.iter().map(|selector| format!("namespaces {selector}, "));
            format!("{}pods {}", namespaces.collect::<String>(), names(&selector.pods))
        }
        CiliumPeer::Entity(entity) => entity.to_string(),
        CiliumPeer::Block(block) => block.to_string(),
        CiliumPeer::Group(GroupRef::Name(name), _) => format!("CiliumCIDRGroup {name}"),
        CiliumPeer::Group(GroupRef::Labels(selector), _) => format!("CiliumCIDRGroups {selector}"),
        CiliumPeer::Nodes(selector) => format!("nodes {}", names(selector)),
        CiliumPeer::Service(name) => format!("Service {name}"),
        CiliumPeer::Services(selector, _) => format!("Services {}", names(selector)),
        CiliumPeer::Domain(pattern) => pattern.to_string(),
        CiliumPeer::Unknown => "a form that is not supported".to_owned(),
    }
}

impl Unit<'_> {
    /// The fields of the rule that do not match: those of the peer and of the port that come closest, and what is asked.
    pub(crate) fn miss(
        &self,
        snapshot: &Snapshot,
        spec: Spec<'_>,
        far: &Far<'_>,
        path: &str,
        direction: Direction,
        asked: &Asked<'_>,
    ) -> Miss {
        let mut miss = Miss::default();
        let peers = self.rule.peers.as_deref().filter(|_| self.names_peers());
        if let Some(peers) = peers.filter(|peers| !peers.iter().any(|peer| is_peer(snapshot, spec.policy, peer, far))) {
            let seen = match far.pod {
                Some(pod) => format!("{} {}", pod.name, pod.labels),
                None if peers.iter().any(|peer| is_known_to_others(snapshot, peer, far)) => {
                    format!("{}, which {} has not got from DNS", far.address, far.near)
                }
                None => far.address.to_string(),
            };
            let list = if direction == Direction::Ingress { "from" } else { "to" };
            let wanted: Vec<String> = peers.iter().map(peer_words).collect();
            let wanted = if wanted.is_empty() { "no one".to_owned() } else { wanted.join(" or ") };
            miss.fields.push(mismatch(format!("{path}.{list}"), wanted, seen));
            miss.of_another_kind = far.pod.is_none() && peers.iter().all(|peer| matches!(peer, CiliumPeer::Pods(_)));
        }
        let ports = self.ports.unwrap_or_default();
        let ports = ports.iter().map(|term| far.port_mismatches(term, &format!("{path}.toPorts")));
        miss.fields.extend(ports.min_by_key(Vec::len).unwrap_or_default());
        if let Some(said) = self.said.filter(|said| !may_say(said, asked)) {
            miss.fields.push(mismatch(format!("{path}.toPorts.rules"), said.to_string(), asked.to_string()));
        }
        miss
    }
}

/// The specs that speak of a pod in a direction: those of the cluster first, then by name.
pub(crate) fn speaking<'a>(snapshot: &'a Snapshot, pod: &Pod, direction: Direction) -> Vec<Spec<'a>> {
    let of_namespace = |namespace: &Arc<str>| {
        let namespace = Arc::clone(namespace);
        let first = Name::new(Arc::clone(&namespace), "");
        let policies = snapshot.policies.cilium.range(first..).map(|(_, policy)| &**policy);
        policies.take_while(move |policy| policy.meta.name.namespace == namespace)
    };
    let policies = of_namespace(&Arc::from("")).chain(of_namespace(&pod.name.namespace));
    policies.flat_map(Spec::of).filter(|spec| spec.speaks(snapshot, pod, direction)).collect()
}

pub(crate) fn is_peer(snapshot: &Snapshot, policy: &CiliumNetworkPolicy, peer: &CiliumPeer, far: &Far<'_>) -> bool {
    let node = || snapshot.node_at(far.address);
    let outside = || snapshot.is_outside(far.address);
    match peer {
        CiliumPeer::Pods(selector) => far.pod.is_some_and(|pod| snapshot.is_endpoint(policy, selector, pod)),
        CiliumPeer::Entity(entity) => match entity {
            Entity::Host => far.own_node,
            Entity::RemoteNode => !far.own_node && node().is_some(),
            Entity::KubeApiserver => api_server(snapshot).contains(&far.address),
            Entity::Cluster => !outside() || api_server(snapshot).contains(&far.address),
            Entity::World => outside(),
            Entity::WorldIpv4 => outside() && far.address.is_ipv4(),
            Entity::WorldIpv6 => outside() && far.address.is_ipv6(),
            Entity::All => true,
            Entity::None => false,
        },
        CiliumPeer::Block(block) => snapshot.is_in_block(far.address, |address| block.contains(address)),
        CiliumPeer::Group(group, except) => {
            let blocks = group_blocks(snapshot, group, except);
            blocks.iter().any(|block| snapshot.is_in_block(far.address, |address| block.contains(address)))
        }
        CiliumPeer::Nodes(selector) => node().is_some_and(|node| selector.matches(&node.labels)),
        CiliumPeer::Service(_) | CiliumPeer::Services(..) => {
            service_addresses(snapshot, &policy.meta.name.namespace, peer).contains(&far.address)
        }
        CiliumPeer::Domain(pattern) => outside() && snapshot.names.has(far.near, pattern, far.address),
        CiliumPeer::Unknown => false,
    }
}

/// Whether a peer is a name that someone else has learnt the far end as.
fn is_known_to_others(snapshot: &Snapshot, peer: &CiliumPeer, far: &Far<'_>) -> bool {
    match peer {
        CiliumPeer::Domain(pattern) => {
            snapshot.is_outside(far.address) && snapshot.names.addresses(pattern).contains(&far.address)
        }
        _ => false,
    }
}

/// The addresses of the API server.
pub(crate) fn api_server(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    snapshot.services.get(&Name::new("default", "kubernetes")).map(|service| backends(service)).unwrap_or_default()
}

fn backends(service: &lictor_cluster::ClusterService) -> BTreeSet<IpAddr> {
    service.ports.iter().flat_map(|port| &port.backends).map(|backend| backend.address.to_canonical()).collect()
}

/// The addresses behind the Services of a peer as a namespace sees them, which is empty for the cluster: a Service without
/// a namespace is in that one.
pub(crate) fn service_addresses(snapshot: &Snapshot, own: &Arc<str>, peer: &CiliumPeer) -> BTreeSet<IpAddr> {
    match peer {
        CiliumPeer::Service(name) => {
            let namespace = if name.namespace.is_empty() { own } else { &name.namespace };
            let name = Name::new(Arc::clone(namespace), Arc::clone(&name.name));
            snapshot.services.get(&name).map(|service| backends(service)).unwrap_or_default()
        }
        CiliumPeer::Services(selector, namespace) => {
            let namespace = namespace.as_ref().or(Some(own).filter(|own| !own.is_empty()));
            let meant = snapshot.services.iter().filter(|(name, service)| {
                namespace.is_none_or(|namespace| name.namespace == *namespace)
                    && selector.matches(&service.service.meta.labels)
            });
            meant.flat_map(|(_, service)| backends(service)).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// The blocks of groups, with the excepted ones as their holes. A group that does not exist has none.
pub(crate) fn group_blocks(snapshot: &Snapshot, group: &GroupRef, except: &[Cidr]) -> Vec<IpBlock> {
    let groups = &snapshot.policies.cidr_groups;
    let meant = groups.values().filter(|found| match group {
        GroupRef::Name(name) => found.meta.name.name == *name,
        GroupRef::Labels(selector) => selector.matches(&found.meta.labels),
    });
    let block = |cidr: &Cidr| {
        let holes = except.iter().filter(|hole| cidr.covers(hole)).copied().collect();
        // A hole that covers the whole block leaves nothing of it.
        let nothing_left = except.iter().any(|hole| hole.covers(cidr));
        (!nothing_left).then_some(IpBlock { cidr: *cidr, except: holes })
    };
    meant.flat_map(|group| &group.blocks).filter_map(block).collect()
}
