//! The peers of tiers and CiliumNetworkPolicies as terms.

use crate::cilium::group_blocks;
use crate::numbers::Numbers;
use crate::rules::Peers;
use crate::terms::{HostsOf, PodsOf, Scope, Term, Terms};
use lictor_cluster::Snapshot;
use lictor_manifest::{CiliumNetworkPolicy, CiliumPeer, EndpointSelector, Entity, TierPeer};
use lictor_model::{Cidr, DomainPattern, Selector};
use std::sync::Arc;

/// The terms of live policies, and their numbers.
type Adding<'a> = (&'a mut Terms, &'a mut Numbers<Term>);

/// Takes in the peer of a tier; a form that matches nothing adds nothing.
pub(crate) fn add_tier(peer: &TierPeer, snapshot: &Snapshot, peers: &mut Peers, (terms, numbers): Adding<'_>) {
    match peer {
        TierPeer::Domain(pattern) => add_domain(pattern, snapshot, peers, (terms, numbers)),
        _ => peers.terms.extend(Term::of_tier(peer).map(|term| terms.add(term, numbers))),
    }
}

/// Takes in the peer of a CiliumNetworkPolicy.
pub(crate) fn add_cilium(
    peer: &CiliumPeer,
    policy: &CiliumNetworkPolicy,
    snapshot: &Snapshot,
    peers: &mut Peers,
    (terms, numbers): Adding<'_>,
) {
    let mut add = |term| terms.add(term, numbers);
    match peer {
        CiliumPeer::Pods(selector) => peers.terms.push(add(pods(policy, selector))),
        CiliumPeer::Block(block) => peers.terms.push(add(Term::Block(block.clone()))),
        CiliumPeer::Nodes(selector) => peers.terms.push(add(Term::Nodes(selector.clone()))),
        CiliumPeer::Group(group, except) => {
            peers.terms.extend(group_blocks(snapshot, group, except).into_iter().map(|block| add(Term::Block(block))));
        }
        CiliumPeer::Entity(entity) => match entity {
            Entity::Host => peers.own_node = true,
            Entity::RemoteNode => peers.other_nodes = Some(add(Term::Nodes(Selector::default()))),
            Entity::World => {
                peers.terms.extend([Cidr::ALL_IPV4, Cidr::ALL_IPV6].map(|block| add(Term::Outside(block))))
            }
            Entity::WorldIpv4 => peers.terms.push(add(Term::Outside(Cidr::ALL_IPV4))),
            Entity::WorldIpv6 => peers.terms.push(add(Term::Outside(Cidr::ALL_IPV6))),
            Entity::Cluster => {
                let everyone = Term::pods(Scope::Any, Selector::default());
                peers.terms.extend([everyone, Term::Nodes(Selector::default())].map(add));
                peers.terms.push(terms.add_hosts(HostsOf::ApiServer, snapshot, numbers));
            }
            Entity::KubeApiserver => {
                peers.terms.push(terms.add_hosts(HostsOf::ApiServer, snapshot, numbers));
            }
            // Anyone is not among the peers: a rule with it names none.
            Entity::All | Entity::None => {}
        },
        CiliumPeer::Service(_) | CiliumPeer::Services(..) => {
            let of = HostsOf::Services(Arc::clone(&policy.meta.name.namespace), Arc::new(peer.clone()));
            peers.terms.push(terms.add_hosts(of, snapshot, numbers));
        }
        CiliumPeer::Domain(pattern) => add_domain(pattern, snapshot, peers, (terms, numbers)),
        CiliumPeer::Unknown => {}
    }
}

fn pods(policy: &CiliumNetworkPolicy, selector: &EndpointSelector) -> Term {
    let scope = match &selector.namespaces {
        Some(selector) => Scope::Selected(selector.clone()),
        None if policy.is_clusterwide() => Scope::Any,
        None => Scope::Own(Arc::clone(&policy.meta.name.namespace)),
    };
    Term::Pods(Arc::new(PodsOf { scope, pods: selector.pods.clone(), accounts: selector.accounts.clone() }))
}

/// Names: what everyone knows of them is one term, what an endpoint has learnt is added where its rule set is made.
fn add_domain(pattern: &DomainPattern, snapshot: &Snapshot, peers: &mut Peers, (terms, numbers): Adding<'_>) {
    peers.terms.push(terms.add_hosts(HostsOf::Domain(pattern.clone()), snapshot, numbers));
    peers.domains.push(pattern.clone());
}
