//! Every rule of every family in one form, for those that look at the policies themselves.

use crate::cilium::{Spec, Unit, is_peer as is_cilium_peer, peer_words};
use crate::judge::whole;
use crate::matching::{Far, rule_path, rules};
use crate::tiers::{is_peer as is_tier_peer, tier_rules, whole_tiered};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{
    CiliumPeer, ClusterNetworkPolicy, Meta, NetworkPolicy, NetworkRule, PeerTerm, PortMatch, PortTerm, Said, Tier,
    TierAction, TierPeer, TierPort, TierRule,
};
use lictor_model::{Direction, IpBlock, PolicyRef, PortRange, Protocol, Selector};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What a rule does to what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It is allowed.
    Allow,
    /// It is denied.
    Deny,
    /// The rest of the tier is skipped.
    Pass,
}

/// One rule, of whatever family.
#[derive(Clone)]
pub struct RuleFact<'a> {
    /// The policy and the path of the rule in it.
    pub rule: PolicyRef,
    /// The policy's name and origin.
    pub meta: &'a Meta,
    /// The direction that it is for.
    pub direction: Direction,
    /// What it does.
    pub effect: Effect,
    /// The tier that it stands in with the priority there, if in one.
    pub tier: Option<(Tier, u16)>,
    /// What a connection may be used for, where the rule limits that.
    pub said: Option<&'a Arc<Said>>,
    source: Source<'a>,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Network(&'a NetworkPolicy, &'a NetworkRule),
    Tiered(&'a ClusterNetworkPolicy, &'a TierRule),
    Cilium(Spec<'a>, Unit<'a>),
}

/// One peer of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerFact<'a> {
    /// Of a NetworkPolicy.
    Network(&'a PeerTerm),
    /// Of a cluster-wide policy.
    Tiered(&'a TierPeer),
    /// Of a CiliumNetworkPolicy.
    Cilium(&'a CiliumPeer),
}

/// Every rule that can decide, in the order of the policies and as they are written. One of several port items stands
/// once for each.
pub fn rule_facts(snapshot: &Snapshot) -> Vec<RuleFact<'_>> {
    let mut facts = Vec::new();
    let policies = &snapshot.policies;
    for direction in Direction::BOTH {
        for policy in policies.network.values() {
            for (at, rule) in rules(policy, direction).unwrap_or_default().iter().enumerate() {
                facts.push(RuleFact {
                    rule: whole(policy).at(rule_path(direction, at)),
                    meta: &policy.meta,
                    direction,
                    effect: Effect::Allow,
                    tier: None,
                    said: None,
                    source: Source::Network(policy, rule),
                });
            }
        }
        for policy in &policies.cluster_network {
            for (at, rule) in tier_rules(policy, direction).iter().enumerate() {
                facts.push(RuleFact {
                    rule: whole_tiered(policy).at(rule_path(direction, at)),
                    meta: &policy.meta,
                    direction,
                    effect: match rule.action {
                        TierAction::Accept => Effect::Allow,
                        TierAction::Deny => Effect::Deny,
                        TierAction::Pass => Effect::Pass,
                    },
                    tier: Some((policy.tier, policy.priority)),
                    said: None,
                    source: Source::Tiered(policy, rule),
                });
            }
        }
        for spec in policies.cilium.values().flat_map(|policy| Spec::of(policy)) {
            for unit in spec.units(direction) {
                facts.push(RuleFact {
                    rule: spec.rule(direction, &unit),
                    meta: &spec.policy.meta,
                    direction,
                    effect: if unit.denies { Effect::Deny } else { Effect::Allow },
                    tier: None,
                    said: unit.said,
                    source: Source::Cilium(spec, unit),
                });
            }
        }
    }
    facts
}

impl<'a> RuleFact<'a> {
    /// Whether its policy is about a pod.
    pub fn selects(&self, snapshot: &Snapshot, pod: &Pod) -> bool {
        !pod.host_network
            && match self.source {
                Source::Network(policy, _) => pod.is_selected_by(policy),
                Source::Tiered(policy, _) => snapshot.selects(&policy.subject, pod),
                Source::Cilium(spec, ..) => snapshot.is_endpoint(spec.policy, &spec.spec.subject, pod),
            }
    }

    /// Its peers; nothing where it means anyone.
    pub fn peers(&self) -> Option<Vec<PeerFact<'a>>> {
        match self.source {
            Source::Network(_, rule) if rule.peers.is_empty() => None,
            Source::Network(_, rule) => Some(rule.peers.iter().map(PeerFact::Network).collect()),
            Source::Tiered(_, rule) if rule.fails_closed() => match rule.action {
                TierAction::Accept => Some(Vec::new()),
                _ => None,
            },
            Source::Tiered(_, rule) => Some(rule.peers.iter().map(PeerFact::Tiered).collect()),
            Source::Cilium(_, unit) => {
                let peers = unit.rule.peers.as_ref().filter(|_| unit.names_peers())?;
                Some(peers.iter().map(PeerFact::Cilium).collect())
            }
        }
    }

    /// Its ports; nothing where it means all ports of all protocols. A name stands for each protocol that may have it.
    pub fn ports(&self) -> Option<Vec<PortTerm>> {
        match self.source {
            Source::Network(_, rule) => (!rule.ports.is_empty()).then(|| rule.ports.clone()),
            Source::Tiered(_, rule) if rule.ports.is_empty() || rule.fails_closed() => None,
            Source::Tiered(_, rule) => Some(rule.ports.iter().flat_map(tier_terms).collect()),
            Source::Cilium(_, unit) => unit.ports.map(<[PortTerm]>::to_vec),
        }
    }

    /// Whether a peer of it means an address, as a pod of the policy sees it.
    pub fn is_peer(&self, snapshot: &Snapshot, peer: &PeerFact<'_>, near: &Pod, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let own_node = snapshot.nodes.get(&near.node).is_some_and(|node| node.addresses.contains(&address));
        let pod = snapshot.pod_at(address).map(|pod| &**pod);
        let far = Far { near: &near.name, address, pod, own_node, named: None, protocol: Protocol::Tcp, port: 0 };
        match (self.source, peer) {
            (Source::Network(policy, _), PeerFact::Network(peer)) => far.is_peer(snapshot, policy, peer),
            (Source::Tiered(..), PeerFact::Tiered(peer)) => is_tier_peer(snapshot, peer, &far),
            (Source::Cilium(spec, ..), PeerFact::Cilium(peer)) => is_cilium_peer(snapshot, spec.policy, peer, &far),
            _ => false,
        }
    }

    /// The field that names peers.
    pub fn peers_path(&self) -> String {
        let list = match (self.source, self.direction) {
            (Source::Cilium(..), _) => return self.rule.path.to_string(),
            (_, Direction::Ingress) => "from",
            (_, Direction::Egress) => "to",
        };
        format!("{}.{list}", self.rule.path)
    }
}

impl PeerFact<'_> {
    /// The block that it is, if it is one.
    pub fn block(&self) -> Option<IpBlock> {
        match self {
            Self::Network(PeerTerm::Block(block)) | Self::Cilium(CiliumPeer::Block(block)) => Some(block.clone()),
            Self::Tiered(TierPeer::Network(cidr)) => Some(IpBlock { cidr: *cidr, except: Vec::new() }),
            _ => None,
        }
    }

    /// The selectors of pods and of their namespaces, if it is pods.
    pub fn selectors(&self) -> Option<(Option<&Selector>, Option<&Selector>)> {
        match self {
            Self::Network(PeerTerm::Pods { namespaces, pods }) => Some((namespaces.as_ref(), pods.as_ref())),
            Self::Tiered(TierPeer::Pods(pods)) => Some((Some(&pods.namespaces), Some(&pods.pods))),
            Self::Cilium(CiliumPeer::Pods(pods)) => Some((pods.namespaces.as_ref(), Some(&pods.pods))),
            _ => None,
        }
    }

    /// Whether whatever another peer of a policy in the same namespace means, this one means as well; false where that
    /// cannot be told from how they are written.
    pub fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if let (Some(wide), Some(narrow)) = (self.block(), other.block()) {
            let holes = wide.except.iter().all(|hole| {
                !hole.covers(&narrow.cidr)
                    && (!narrow.cidr.covers(hole) || narrow.except.iter().any(|other| other.covers(hole)))
            });
            return wide.cidr.covers(&narrow.cidr) && holes;
        }
        let selects_more = |wide: Option<&Selector>, narrow: Option<&Selector>| match (wide, narrow) {
            (None, None) => true,
            (Some(wide), Some(narrow)) => {
                wide.requirements().iter().all(|wanted| narrow.requirements().contains(wanted))
            }
            _ => false,
        };
        let accounts = |peer: &Self| match peer {
            Self::Cilium(CiliumPeer::Pods(pods)) => !pods.accounts.is_empty(),
            _ => false,
        };
        match (self.selectors(), other.selectors()) {
            (Some((namespaces, pods)), Some((other_namespaces, other_pods))) => {
                let any = Selector::default();
                selects_more(namespaces, other_namespaces)
                    && selects_more(Some(pods.unwrap_or(&any)), Some(other_pods.unwrap_or(&any)))
                    && !accounts(self)
            }
            _ => false,
        }
    }
}

impl fmt::Display for PeerFact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cilium(peer) => f.write_str(&peer_words(peer)),
            Self::Network(PeerTerm::Block(block)) => block.fmt(f),
            Self::Tiered(TierPeer::Network(block)) => block.fmt(f),
            Self::Tiered(TierPeer::Nodes(selector)) => write!(f, "nodes {selector}"),
            Self::Tiered(TierPeer::Domain(pattern)) => pattern.fmt(f),
            Self::Tiered(TierPeer::Unknown) => f.write_str("a form that is not known"),
            Self::Tiered(TierPeer::Pods(pods)) => write!(f, "namespaces {}, pods {}", pods.namespaces, pods.pods),
            Self::Network(PeerTerm::Pods { namespaces, pods }) => {
                let any = Selector::default();
                match namespaces {
                    Some(namespaces) => write!(f, "namespaces {namespaces}, pods {}", pods.as_ref().unwrap_or(&any)),
                    None => write!(f, "pods {}", pods.as_ref().unwrap_or(&any)),
                }
            }
        }
    }
}

/// Whether whatever a port term means, another one means as well.
pub fn port_covers(wide: &PortTerm, narrow: &PortTerm) -> bool {
    wide.protocol == narrow.protocol
        && match (&wide.port, &narrow.port) {
            (PortMatch::Any, _) => true,
            (PortMatch::Range(wide), PortMatch::Range(narrow)) => {
                wide.first() <= narrow.first() && narrow.last() <= wide.last()
            }
            (wide, narrow) => wide == narrow,
        }
}

fn tier_terms(port: &TierPort) -> Vec<PortTerm> {
    match port {
        TierPort::Of(protocol, range) if *range == PortRange::ALL => {
            vec![PortTerm { protocol: *protocol, port: PortMatch::Any }]
        }
        TierPort::Of(protocol, range) => vec![PortTerm { protocol: *protocol, port: PortMatch::Range(*range) }],
        TierPort::Named(name) => {
            let named = |protocol| PortTerm { protocol, port: PortMatch::Named(Arc::clone(name)) };
            Protocol::WITH_PORTS.map(named).into()
        }
        TierPort::Unknown => Vec::new(),
    }
}
