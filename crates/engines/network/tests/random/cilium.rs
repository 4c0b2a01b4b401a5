//! Random CiliumNetworkPolicies.

use super::{NAMESPACES, domain, ip_block, meta, port, selector};
use lictor_manifest::{
    CiliumNetworkPolicy, CiliumPeer, CiliumPorts, CiliumRule, CiliumSide, CiliumSpec, EndpointSelector, Entity,
    FullMatch, GroupRef, HttpRule, PortMatch, PortTerm, Said,
};
use lictor_model::{Name, Operator, PolicyKind, PortRange, Protocol};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// A policy of either kind.
pub(super) fn cilium() -> impl Strategy<Value = CiliumNetworkPolicy> {
    let spec = (endpoints(), side(false), side(true));
    (option::weighted(0.7, select(&NAMESPACES[..])), vec(spec, 1..3)).prop_map(|(namespace, specs)| {
        let kind = match namespace {
            Some(_) => PolicyKind::CiliumNetworkPolicy,
            None => PolicyKind::CiliumClusterwideNetworkPolicy,
        };
        let made = |(at, (subject, ingress, egress))| CiliumSpec {
            path: Arc::from(format!("specs[{at}]")),
            description: None,
            log: None,
            subject: match kind {
                PolicyKind::CiliumNetworkPolicy => EndpointSelector { namespaces: None, ..subject },
                _ => subject,
            },
            ingress,
            egress,
        };
        let specs = specs.into_iter().enumerate().map(made).collect();
        CiliumNetworkPolicy { meta: meta(namespace.unwrap_or_default(), "cilium"), kind, specs }
    })
}

fn endpoints() -> impl Strategy<Value = EndpointSelector> {
    let account = select(&["a", "default"][..]).prop_map(|name| Operator::In([Arc::from(name)].into()));
    (option::weighted(0.4, selector(&["team"])), selector(&["app", "tier"]), vec(account, 0..2))
        .prop_map(|(namespaces, pods, accounts)| EndpointSelector { namespaces, pods, accounts })
}

fn side(egress: bool) -> impl Strategy<Value = CiliumSide> {
    (prop::bool::weighted(0.7), vec(rule(egress), 0..3), vec(rule(egress), 0..2)).prop_map(
        |(default_deny, allow, deny)| {
            let bare = |mut rule: CiliumRule| {
                rule.ports.iter_mut().flatten().for_each(|item| item.said = None);
                rule
            };
            CiliumSide { default_deny, allow, deny: deny.into_iter().map(bare).collect() }
        },
    )
}

fn rule(egress: bool) -> impl Strategy<Value = CiliumRule> {
    let item = (vec(port(), 1..3), option::weighted(0.4, said())).prop_map(|(ports, said)| CiliumPorts { ports, said });
    let icmp = select(&[(1, 8), (1, 13), (58, 128)][..]).prop_map(|(protocol, kind)| {
        let port = PortMatch::Range(PortRange::single(kind));
        CiliumPorts { ports: vec![PortTerm { protocol: Protocol::from_number(protocol), port }], said: None }
    });
    let ports = prop_oneof![6 => vec(item, 1..3), 1 => vec(icmp, 1..2)];
    let unsupported = prop::bool::weighted(0.1).prop_map(|is| is.then(|| Arc::from("kafka")));
    (option::weighted(0.8, vec(peer(egress), 0..3)), option::weighted(0.7, ports), unsupported)
        .prop_map(|(peers, ports, unsupported)| CiliumRule { peers, ports, unsupported })
}

fn said() -> impl Strategy<Value = Arc<Said>> {
    prop_oneof![
        select(&["/", "/public"][..]).prop_map(|path| {
            let path = Some(FullMatch::new(path).expect("an expression"));
            Said::Http(vec![HttpRule { path, ..HttpRule::default() }])
        }),
        domain().prop_map(|name| Said::Dns(vec![name])),
        domain().prop_map(|name| Said::ServerNames(vec![name])),
    ]
    .prop_map(Arc::new)
}

fn peer(egress: bool) -> impl Strategy<Value = CiliumPeer> {
    let entities = [
        Entity::Host,
        Entity::RemoteNode,
        Entity::KubeApiserver,
        Entity::Cluster,
        Entity::World,
        Entity::WorldIpv4,
        Entity::WorldIpv6,
        Entity::All,
        Entity::None,
    ];
    let domain = domain().prop_map(CiliumPeer::Domain).boxed();
    let block = || ip_block().prop_map(CiliumPeer::Block).boxed();
    prop_oneof![
        5 => endpoints().prop_map(CiliumPeer::Pods),
        4 => select(entities.to_vec()).prop_map(CiliumPeer::Entity),
        2 => block(),
        1 => Just(CiliumPeer::Group(GroupRef::Name(Arc::from("outside")), vec!["203.0.113.128/25".parse().expect("a block")])),
        1 => selector(&["team"]).prop_map(CiliumPeer::Nodes),
        2 => if egress { domain } else { block() },
        2 => if egress { service().boxed() } else { block() },
        1 => Just(CiliumPeer::Unknown),
    ]
}

/// Services by name, with a namespace or in the policy's own, and by label in one or all namespaces.
fn service() -> impl Strategy<Value = CiliumPeer> {
    let named = select(vec![("n1", "db"), ("", "db"), ("n0", "named"), ("", "named"), ("default", "kubernetes")]);
    let by_label = (selector(&["tier"]), select(vec![None, Some("n0"), Some("n1")]));
    prop_oneof![
        named.prop_map(|(namespace, name)| CiliumPeer::Service(Name::new(namespace, name))),
        by_label.prop_map(|(selector, namespace)| CiliumPeer::Services(selector, namespace.map(Arc::from))),
    ]
}
