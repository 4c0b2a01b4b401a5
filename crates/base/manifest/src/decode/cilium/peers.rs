//! Who may be at the other end of a rule.

use super::super::labels::selector as label_selector;
use super::super::syntax::block;
use super::{ports, selector};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{CiliumPeer, Entity, GroupRef};
use lictor_model::{Direction, DomainPattern, IpBlock, Name};
use std::sync::Arc;

/// The words for a kind of peer. The last ones name what clusters without Cilium do not have.
const ENTITIES: [(&str, Entity); 14] = [
    ("all", Entity::All),
    ("world", Entity::World),
    ("world-ipv4", Entity::WorldIpv4),
    ("world-ipv6", Entity::WorldIpv6),
    ("cluster", Entity::Cluster),
    ("host", Entity::Host),
    ("remote-node", Entity::RemoteNode),
    ("kube-apiserver", Entity::KubeApiserver),
    ("none", Entity::None),
    ("init", Entity::None),
    ("health", Entity::None),
    ("ingress", Entity::None),
    ("unmanaged", Entity::None),
    ("local-node", Entity::None),
];

/// The fields that name peers, and what reads an item of each.
const FORMS: [(&str, &str, Form); 8] = [
    ("fromEndpoints", "toEndpoints", Form::Endpoints),
    ("fromEntities", "toEntities", Form::Entity),
    ("fromCIDR", "toCIDR", Form::Block),
    ("fromCIDRSet", "toCIDRSet", Form::Set),
    ("fromNodes", "toNodes", Form::Nodes),
    ("fromGroups", "toGroups", Form::Cloud),
    ("", "toServices", Form::Service),
    ("", "toFQDNs", Form::Domain),
];

#[derive(Clone, Copy)]
enum Form {
    Endpoints,
    Entity,
    Block,
    Set,
    Nodes,
    Cloud,
    Service,
    Domain,
}

/// The peers of a rule; nothing when it names none. A list without items means no one.
pub(super) fn peers(record: &mut Record<'_>, direction: Direction, denies: bool) -> Option<Vec<CiliumPeer>> {
    let mut named: Vec<&str> = Vec::new();
    let mut peers = None;
    for (from, to, form) in FORMS {
        let key = if direction == Direction::Ingress { from } else { to };
        if key.is_empty() || (denies && matches!(form, Form::Domain)) {
            continue;
        }
        let Some(list) = record.get(key) else { continue };
        let items = list.items();
        if !items.is_empty() {
            named.push(key);
        }
        peers.get_or_insert_with(Vec::new).extend(items.iter().flat_map(|field| peer(field, form, denies)));
    }
    if named.len() > 1 {
        record.field.report_with(
            Code::InvalidPeer,
            format!("expected one way to name peers, found `{}`", named.join("` and `")),
            "write a rule for each",
        );
    }
    peers
}

fn peer(field: &Field<'_>, form: Form, denies: bool) -> Vec<CiliumPeer> {
    match form {
        Form::Endpoints => selector::peers(field),
        Form::Entity => field.word(Code::InvalidPeer, &ENTITIES).map(CiliumPeer::Entity).into_iter().collect(),
        Form::Block => {
            let block = |cidr| CiliumPeer::Block(IpBlock { cidr, except: Vec::new() });
            block_of(field).map(block).into_iter().collect()
        }
        Form::Set => field.attempt(set).into_iter().collect(),
        Form::Nodes => label_selector(field).map(CiliumPeer::Nodes).into_iter().collect(),
        Form::Cloud => {
            let message =
                format!("`{}`: groups of a cloud are not looked up; {}", field.path, ports::consequence(denies));
            field.context.report(Code::CiliumUnsupported, field.spot, message, None);
            vec![CiliumPeer::Unknown]
        }
        Form::Service => field.attempt(service).into_iter().collect(),
        Form::Domain => field.attempt(domain).into_iter().collect(),
    }
}

fn block_of(field: &Field<'_>) -> Option<lictor_model::Cidr> {
    block(field, true)
}

/// An item of a `CIDRSet`.
fn set(record: &mut Record<'_>) -> Option<CiliumPeer> {
    let cidr = record.get("cidr");
    let (name, labels) = (record.get("cidrGroupRef"), record.get("cidrGroupSelector"));
    let mut except = Vec::new();
    let block_of_all = cidr.as_ref().and_then(|field| block(field, false));
    for field in record.items("except") {
        let Some(hole) = block(&field, false) else { continue };
        if let Some(cidr) = block_of_all.filter(|cidr| !cidr.covers(&hole)) {
            field.report(Code::InvalidExcept, format!("expected a block within {cidr}, found `{hole}`"));
        }
        except.push(hole);
    }
    match (cidr, name, labels) {
        (Some(_), None, None) => Some(CiliumPeer::Block(IpBlock { cidr: block_of_all?, except })),
        (None, Some(name), None) => Some(CiliumPeer::Group(GroupRef::Name(Arc::from(name.text()?)), except)),
        (None, None, Some(labels)) => Some(CiliumPeer::Group(GroupRef::Labels(label_selector(&labels)?), except)),
        _ => {
            let message = "expected exactly one of `cidr`, `cidrGroupRef` and `cidrGroupSelector`";
            record.field.report(Code::InvalidPeer, message);
            None
        }
    }
}

fn service(record: &mut Record<'_>) -> Option<CiliumPeer> {
    match (record.get("k8sService"), record.get("k8sServiceSelector")) {
        (Some(field), None) => field.attempt(|record| {
            let name = record.need("serviceName").and_then(|field| field.text())?;
            Some(CiliumPeer::Service(Name::new(record.text("namespace").unwrap_or_default(), name)))
        }),
        (None, Some(field)) => field.attempt(|record| {
            let selector = record.need("selector").and_then(|field| label_selector(&field))?;
            Some(CiliumPeer::Services(selector, record.text("namespace").map(Arc::from)))
        }),
        _ => {
            record.field.report(Code::InvalidPeer, "expected exactly one of `k8sService` and `k8sServiceSelector`");
            None
        }
    }
}

fn domain(record: &mut Record<'_>) -> Option<CiliumPeer> {
    name_or_pattern(record).map(CiliumPeer::Domain)
}

/// `matchName` or `matchPattern`.
pub(super) fn name_or_pattern(record: &mut Record<'_>) -> Option<DomainPattern> {
    let (name, pattern) = (record.get("matchName"), record.get("matchPattern"));
    let (field, exact) = match (name, pattern) {
        (Some(field), None) => (field, true),
        (None, Some(field)) => (field, false),
        _ => {
            record.field.report(Code::InvalidPeer, "expected exactly one of `matchName` and `matchPattern`");
            return None;
        }
    };
    let pattern = field.text()?.parse::<DomainPattern>().ok().filter(|pattern| !exact || pattern.exact().is_some());
    if pattern.is_none() {
        let wanted = if exact { "a domain name such as example.com" } else { "a pattern such as *.example.com" };
        field.wrong(Code::InvalidValue, wanted);
    }
    pattern
}
