//! `networking.k8s.io/v1` NetworkPolicy.
//!
//! Source: Kubernetes, `pkg/apis/networking/v1/defaults.go` and `pkg/apis/networking/validation/validation.go`.

use super::accept_type;
use super::container::protocol;
use super::labels::{pod_selector, selector};
use super::metadata::Metadata;
use super::syntax::{block, is_label_key, port_or_name};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{NetworkPolicy, NetworkRule, PeerTerm, PortMatch, PortTerm};
use lictor_model::{Direction, IpBlock, PortRange};

/// A NetworkPolicy, its defaults applied.
pub(crate) fn network_policy(object: &Field<'_>, metadata: Metadata) -> Option<NetworkPolicy> {
    object.record(|record| {
        accept_type(record);
        let spec = record.get("spec").and_then(|field| field.record(spec));
        let (pod_selector, ingress, egress) = spec.unwrap_or_else(|| (Default::default(), Some(Vec::new()), None));
        NetworkPolicy { meta: metadata.meta, pod_selector, ingress, egress }
    })
}

type Spec = (lictor_model::Selector, Option<Vec<NetworkRule>>, Option<Vec<NetworkRule>>);

fn spec(record: &mut Record<'_>) -> Spec {
    let pods = record.get("podSelector").and_then(|field| pod_selector(&field, is_label_key)).unwrap_or_default();
    let types = record.get("policyTypes").filter(|field| match field.node.data {
        crate::yaml::Data::List(ref items) => !items.is_empty(),
        _ => true,
    });
    let mut side = |key, peers| {
        let field = record.get(key);
        let rules: Vec<_> = field.iter().flat_map(Field::items).filter_map(|item| rule(&item, peers)).collect();
        (rules, field)
    };
    let (ingress, ingress_field) = side("ingress", "from");
    let (egress, egress_field) = side("egress", "to");
    let isolates: Vec<Direction> = match types {
        Some(field) => policy_types(&field),
        None if egress.is_empty() => vec![Direction::Ingress],
        None => Direction::BOTH.to_vec(),
    };
    let kept = |direction, rules: Vec<NetworkRule>, field: Option<Field<'_>>| {
        let isolated = isolates.contains(&direction);
        if let (false, false, Some(field)) = (isolated, rules.is_empty(), field) {
            field.context.report(
                Code::RulesWithoutType,
                field.spot,
                format!(
                    "`{}`: expected `policyTypes` to name this direction, found rules that mean nothing",
                    field.path
                ),
                Some("add the direction to `policyTypes`, or remove the rules".to_owned()),
            );
        }
        isolated.then_some(rules)
    };
    (pods, kept(Direction::Ingress, ingress, ingress_field), kept(Direction::Egress, egress, egress_field))
}

fn policy_types(field: &Field<'_>) -> Vec<Direction> {
    let words = [("Ingress", Direction::Ingress), ("Egress", Direction::Egress)];
    let items = field.items();
    if items.len() > 2 {
        field.report(Code::InvalidValue, format!("expected at most two policy types, found {}", items.len()));
    }
    items.iter().filter_map(|item| item.word(Code::InvalidValue, &words)).collect()
}

fn rule(field: &Field<'_>, peers: &'static str) -> Option<NetworkRule> {
    field.record(|record| NetworkRule {
        ports: record.items("ports").iter().filter_map(|field| port(field)).collect(),
        peers: record.items(peers).iter().filter_map(|field| field.attempt(peer)).collect(),
    })
}

fn peer(record: &mut Record<'_>) -> Option<PeerTerm> {
    let (pods, namespaces) = (record.get("podSelector"), record.get("namespaceSelector"));
    let address = record.get("ipBlock");
    let selects = pods.is_some() || namespaces.is_some();
    match &address {
        Some(_) if selects => {
            let message = "expected either `ipBlock` or selectors, found both";
            record.field.report_with(Code::InvalidPeer, message, "write two peers; each of them matches by itself");
            None
        }
        Some(field) => field.attempt(ip_block).map(PeerTerm::Block),
        None if !selects => {
            let message = "expected a peer: `podSelector`, `namespaceSelector` or `ipBlock`, found none of them";
            record.field.report_with(Code::InvalidPeer, message, "leave the whole list out to mean everyone");
            None
        }
        None => {
            let namespaces = namespaces.and_then(|field| selector(&field));
            Some(PeerTerm::Pods { namespaces, pods: pods.and_then(|field| pod_selector(&field, is_label_key)) })
        }
    }
}

fn ip_block(record: &mut Record<'_>) -> Option<IpBlock> {
    let cidr = record.need("cidr").and_then(|field| block(&field, false));
    let mut except = Vec::new();
    for field in record.items("except") {
        let Some(hole) = block(&field, false) else { continue };
        if let Some(cidr) = cidr.filter(|cidr| !(cidr.covers(&hole) && cidr.prefix() < hole.prefix())) {
            field.report(
                Code::InvalidExcept,
                format!("expected a block within {cidr} and smaller than it, found `{hole}`"),
            );
        }
        except.push(hole);
    }
    Some(IpBlock { cidr: cidr?, except })
}

fn port(field: &Field<'_>) -> Option<PortTerm> {
    field.attempt(|record| {
        let protocol = protocol(record);
        let (port, last) = (record.get("port"), record.get("endPort"));
        let first = port.as_ref().map(|field| port_or_name(field));
        let Some(last) = last else {
            let port = match first {
                None => PortMatch::Any,
                Some(Some(Ok(number))) => PortMatch::Range(PortRange::single(number)),
                Some(Some(Err(name))) => PortMatch::Named(name),
                Some(None) => return None,
            };
            return Some(PortTerm { protocol, port });
        };
        let first = match first {
            Some(Some(Ok(number))) => number,
            Some(Some(Err(_))) => {
                last.report(Code::InvalidPort, "expected no `endPort` beside a port's name");
                return None;
            }
            Some(None) => return None,
            None => {
                last.report(Code::InvalidPort, "expected a `port` beside `endPort`, found none");
                return None;
            }
        };
        let end = last.integer(Code::InvalidPort, 1..=u16::MAX)?;
        let Ok(range) = PortRange::new(first, end) else {
            last.report(Code::InvalidPort, format!("expected a number that is not below `port` {first}, found {end}"));
            return None;
        };
        Some(PortTerm { protocol, port: PortMatch::Range(range) })
    })
}
