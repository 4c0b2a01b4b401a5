//! `policy.networking.k8s.io`: ClusterNetworkPolicy v1alpha2, AdminNetworkPolicy and BaselineAdminNetworkPolicy v1alpha1.
//!
//! Source: network-policy-api, `apis/v1alpha2/clusternetworkpolicy_types.go` and `apis/v1alpha1`, with the validation
//! that their markers give to the CRDs.

use super::accept_type;
use super::container::protocol;
use super::labels::{is_sourced_key, pod_selector, selector};
use super::metadata::Metadata;
use super::syntax::{block, is_port_name};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{ClusterNetworkPolicy, NamespacedPods, Tier, TierAction, TierPeer, TierPort, TierRule};
use lictor_model::{Direction, DomainPattern, PolicyKind, PortRange, Protocol, Selector};
use std::sync::Arc;

/// At most so many rules of a direction, peers and protocols of a rule, and blocks of a peer.
const MOST: usize = 25;
/// At most so many rules of an older kind's direction, and items in its lists.
const MOST_BEFORE: usize = 100;
/// A BaselineAdminNetworkPolicy has no priority: it comes after those that have one.
const LAST: u16 = 1001;

/// A policy of one of the three kinds.
pub(crate) fn cluster_network_policy(
    object: &Field<'_>,
    kind: PolicyKind,
    metadata: Metadata,
) -> Option<ClusterNetworkPolicy> {
    object.attempt(|record| {
        accept_type(record);
        record.need("spec")?.attempt(|record| {
            let tier = match kind {
                PolicyKind::ClusterNetworkPolicy => {
                    let words = [("Admin", Tier::Admin), ("Baseline", Tier::Baseline)];
                    record.need("tier").and_then(|field| field.word(Code::InvalidValue, &words))
                }
                PolicyKind::BaselineAdminNetworkPolicy => Some(Tier::Baseline),
                _ => Some(Tier::Admin),
            };
            let priority = match kind {
                PolicyKind::BaselineAdminNetworkPolicy => Some(LAST),
                _ => record.need("priority").and_then(|field| field.integer(Code::InvalidValue, 0..=1000_u16)),
            };
            let subject = record.need("subject").and_then(|field| field.attempt(pods));
            let ingress = rules(record, kind, Direction::Ingress);
            let egress = rules(record, kind, Direction::Egress);
            Some(ClusterNetworkPolicy {
                meta: metadata.meta,
                kind,
                tier: tier?,
                priority: priority?,
                subject: subject?,
                ingress,
                egress,
            })
        })
    })
}

/// `namespaces`, or `pods` with both selectors.
fn pods(record: &mut Record<'_>) -> Option<NamespacedPods> {
    match (record.get("namespaces"), record.get("pods")) {
        (Some(namespaces), None) => {
            Some(NamespacedPods { namespaces: selector(&namespaces)?, ..NamespacedPods::default() })
        }
        (None, Some(pods)) => pods.attempt(|record| {
            let namespaces = record.get("namespaceSelector").and_then(|field| selector(&field)).unwrap_or_default();
            let pods = match record.get("podSelector") {
                Some(field) => pod_selector(&field, is_sourced_key)?,
                // To typed clients one that is left out is one without requirements.
                None => {
                    let message = "expected `podSelector`, found none; it is taken to mean all pods";
                    record.field.doubt(Code::MissingField, message);
                    Selector::default()
                }
            };
            Some(NamespacedPods { namespaces, pods })
        }),
        _ => {
            record.field.report(Code::InvalidPeer, "expected exactly one of `namespaces` and `pods`");
            None
        }
    }
}

fn rules(record: &mut Record<'_>, kind: PolicyKind, direction: Direction) -> Vec<TierRule> {
    let key = match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let most = if kind == PolicyKind::ClusterNetworkPolicy { MOST } else { MOST_BEFORE };
    let items = at_most(record, key, most);
    items.iter().filter_map(|field| field.attempt(|record| rule(record, kind, direction))).collect()
}

fn at_most<'a>(record: &mut Record<'a>, key: &'static str, most: usize) -> Vec<Field<'a>> {
    let items = record.items(key);
    if items.len() > most {
        record
            .field
            .report(Code::InvalidValue, format!("expected at most {most} items in `{key}`, found {}", items.len()));
    }
    items
}

fn rule(record: &mut Record<'_>, kind: PolicyKind, direction: Direction) -> Option<TierRule> {
    let name = record.text("name").map(Arc::from);
    let words: &[(&str, TierAction)] = match kind {
        PolicyKind::ClusterNetworkPolicy => {
            &[("Accept", TierAction::Accept), ("Deny", TierAction::Deny), ("Pass", TierAction::Pass)]
        }
        PolicyKind::BaselineAdminNetworkPolicy => &[("Allow", TierAction::Accept), ("Deny", TierAction::Deny)],
        _ => &[("Allow", TierAction::Accept), ("Deny", TierAction::Deny), ("Pass", TierAction::Pass)],
    };
    let action = record.need("action").and_then(|field| field.word(Code::InvalidValue, words));
    let list = match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    };
    let most = if kind == PolicyKind::ClusterNetworkPolicy { MOST } else { MOST_BEFORE };
    let given = at_most(record, list, most);
    if given.is_empty() {
        record.field.report(Code::MissingField, format!("expected at least one item in `{list}`, found none"));
    }
    let peers: Vec<TierPeer> = given.iter().flat_map(|field| peer(field, direction)).collect();
    let ports: Vec<TierPort> = if kind == PolicyKind::ClusterNetworkPolicy {
        at_most(record, "protocols", most).iter().filter_map(by_protocol).collect()
    } else {
        at_most(record, "ports", most).iter().filter_map(by_port).collect()
    };
    let action = action?;
    let addresses = |peer: &TierPeer| !matches!(peer, TierPeer::Pods(_) | TierPeer::Unknown);
    if direction == Direction::Egress
        && peers.iter().any(addresses)
        && ports.iter().any(|port| matches!(port, TierPort::Named(_)))
    {
        let message =
            "expected no port name beside `networks`, `nodes` or `domainNames`: what they mean has no named ports";
        match kind {
            PolicyKind::ClusterNetworkPolicy => record.field.report(Code::InvalidPort, message),
            // Policies of the older kinds have it; there, the name matches no address.
            _ => record.field.doubt(Code::InvalidPort, message),
        }
    }
    if action != TierAction::Accept && peers.iter().any(|peer| matches!(peer, TierPeer::Domain(_))) {
        record.field.report(Code::InvalidPeer, "expected `domainNames` in a rule that accepts only");
    }
    Some(TierRule { name, action, peers, ports })
}

/// The peers of one item: its blocks and names are peers of their own.
fn peer(field: &Field<'_>, direction: Direction) -> Vec<TierPeer> {
    let known: &[&str] = match direction {
        Direction::Ingress => &["namespaces", "pods"],
        Direction::Egress => &["namespaces", "pods", "nodes", "networks", "domainNames"],
    };
    match the_one(field, known) {
        One::None => Vec::new(),
        One::Unknown => vec![TierPeer::Unknown],
        One::Known("nodes", value) => selector(&value).map(TierPeer::Nodes).into_iter().collect(),
        One::Known("networks", value) => {
            value.items().iter().filter_map(|field| block(field, false)).map(TierPeer::Network).collect()
        }
        One::Known("domainNames", value) => value.items().iter().filter_map(domain).map(TierPeer::Domain).collect(),
        One::Known(..) => field.attempt(pods).map(TierPeer::Pods).into_iter().collect(),
    }
}

/// A name, or `*.` for one label or more before one.
fn domain(field: &Field<'_>) -> Option<DomainPattern> {
    let text = field.text()?.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        let word = |c: u8| c.is_ascii_alphanumeric();
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(word)
            && bytes.last().copied().is_some_and(word)
            && bytes.iter().all(|c| word(*c) || matches!(c, b'-' | b'_'))
    };
    let below = text.strip_prefix("*.");
    let name = below.unwrap_or(&text);
    let pattern = if below.is_some() { DomainPattern::below(name) } else { name.parse() };
    let pattern = pattern.ok().filter(|_| name.contains('.') && name.split('.').all(label));
    if pattern.is_none() {
        field.wrong(Code::InvalidValue, "a domain name such as example.com or *.example.com");
    }
    pattern
}

/// An item of `protocols`.
fn by_protocol(field: &Field<'_>) -> Option<TierPort> {
    let of = |protocol: Protocol, value: Field<'_>| {
        value.attempt(|record| {
            record.need("destinationPort")?.attempt(|record| {
                let port = match (record.get("number"), record.get("range")) {
                    (Some(number), None) => PortRange::single(number.integer(Code::InvalidPort, 1..=u16::MAX)?),
                    (None, Some(range)) => range.attempt(range_of)?,
                    _ => {
                        record.field.report(Code::InvalidPort, "expected exactly one of `number` and `range`");
                        return None;
                    }
                };
                Some(TierPort::Of(protocol, port))
            })
        })
    };
    match the_one(field, &["tcp", "udp", "sctp", "destinationNamedPort"]) {
        One::None => None,
        One::Unknown => Some(TierPort::Unknown),
        One::Known("tcp", value) => of(Protocol::Tcp, value),
        One::Known("udp", value) => of(Protocol::Udp, value),
        One::Known("sctp", value) => of(Protocol::Sctp, value),
        One::Known(_, value) => named(&value),
    }
}

/// An item of an older kind's `ports`.
fn by_port(field: &Field<'_>) -> Option<TierPort> {
    match the_one(field, &["portNumber", "portRange", "namedPort"]) {
        One::None => None,
        One::Unknown => Some(TierPort::Unknown),
        One::Known("portNumber", value) => value.attempt(|record| {
            let protocol = protocol(record);
            let port = record.need("port").and_then(|field| field.integer(Code::InvalidPort, 1..=u16::MAX));
            Some(TierPort::Of(protocol, PortRange::single(port?)))
        }),
        One::Known("portRange", value) => value.attempt(|record| {
            let protocol = protocol(record);
            Some(TierPort::Of(protocol, range_of(record)?))
        }),
        One::Known(_, value) => named(&value),
    }
}

/// `start` and `end`, the first below the second.
fn range_of(record: &mut Record<'_>) -> Option<PortRange> {
    let mut port = |key| record.need(key).and_then(|field| field.integer(Code::InvalidPort, 1..=u16::MAX));
    let (start, end) = (port("start")?, port("end")?);
    let range = PortRange::new(start, end).ok().filter(|_| start < end);
    if range.is_none() {
        record.field.report(Code::InvalidPort, format!("expected `start` to be below `end`, found {start} and {end}"));
    }
    range
}

fn named(field: &Field<'_>) -> Option<TierPort> {
    let name = field.text()?;
    if !is_port_name(name) {
        field.wrong(Code::InvalidPort, "a port name: at most 15 lower-case letters, digits and single dashes");
        return None;
    }
    Some(TierPort::Named(Arc::from(name)))
}

/// What an item that has exactly one field has.
enum One<'a> {
    Known(&'static str, Field<'a>),
    /// A field that this version of the kind does not have.
    Unknown,
    /// Something that was reported.
    None,
}

/// The one field of an item. One that is not known comes from another version of the kind: it is told, and the rule
/// fails closed, as the kind's own documentation asks.
fn the_one<'a>(field: &Field<'a>, known: &[&'static str]) -> One<'a> {
    let entries = field.entries();
    let set: Vec<_> = entries.into_iter().filter(|(_, value)| !value.node.is_null()).collect();
    let [(key, _)] = set.as_slice() else {
        if !set.is_empty() || matches!(field.node.data, crate::yaml::Data::Map(_)) {
            field.report(
                Code::InvalidPeer,
                format!("expected exactly one of `{}`, found {}", known.join("`, `"), set.len()),
            );
        }
        return One::None;
    };
    let Some(name) = known.iter().find(|name| *name == key) else {
        let message = format!("expected one of `{}`, found `{key}`; the rule fails closed", known.join("`, `"));
        field.doubt(Code::UnknownPeerForm, message);
        return One::Unknown;
    };
    match field.attempt(|record| record.get(name)) {
        Some(value) => One::Known(name, value),
        None => One::None,
    }
}
