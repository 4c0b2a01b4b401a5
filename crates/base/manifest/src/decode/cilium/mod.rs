//! `cilium.io/v2`.
//!
//! Source: Cilium, `pkg/policy/api` (the types, and `rule_validation.go`) and `pkg/k8s/apis/cilium.io/utils/utils.go`.

mod peers;
mod ports;
mod selector;

use super::accept_type;
use super::labels::selector as label_selector;
use super::metadata::Metadata;
use super::syntax::block;
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{CidrGroup, CiliumNetworkPolicy, CiliumPeer, CiliumRule, CiliumSide, CiliumSpec};
use lictor_model::{Direction, PolicyKind};
use std::sync::Arc;

/// Reads a policy; a part that lictor cannot act on is told and allows nothing.
pub(crate) fn cilium_network_policy(
    object: &Field<'_>,
    kind: PolicyKind,
    metadata: Metadata,
) -> Option<CiliumNetworkPolicy> {
    object.attempt(|record| {
        accept_type(record);
        let (one, many) = (record.get("spec"), record.get("specs"));
        if one.is_none() && many.is_none() {
            record.field.report(Code::MissingField, "the required field `spec` is missing");
            return None;
        }
        let listed = many.map(|field| field.items()).unwrap_or_default();
        let specs = one.iter().chain(&listed).filter_map(|field| spec(field, kind));
        Some(CiliumNetworkPolicy { kind, specs: specs.collect(), meta: metadata.meta })
    })
}

/// A CiliumCIDRGroup.
pub(crate) fn cidr_group(object: &Field<'_>, metadata: Metadata) -> Option<CidrGroup> {
    object.attempt(|record| {
        accept_type(record);
        record.need("spec")?.attempt(|record| {
            let blocks = record.items("externalCIDRs");
            let blocks = blocks.iter().filter_map(|field| block(field, true)).collect();
            Some(CidrGroup { meta: metadata.meta, blocks })
        })
    })
}

fn spec(field: &Field<'_>, kind: PolicyKind) -> Option<CiliumSpec> {
    field.attempt(|record| {
        record.accept(&["labels"]);
        let description = record.text("description").map(Arc::from);
        let log = record.get("log").and_then(|field| field.attempt(|record| record.text("value").map(Arc::from)));
        let default_deny = record.get("enableDefaultDeny");
        let mut asked = [None, None];
        if let Some(field) = default_deny {
            field.record(|record| {
                asked = ["ingress", "egress"].map(|key| record.get(key).and_then(|field| field.boolean()));
            });
        }
        let ingress = side(record, Direction::Ingress, asked[0]);
        let egress = side(record, Direction::Egress, asked[1]);
        let subject = match (record.get("endpointSelector"), record.get("nodeSelector")) {
            (Some(field), None) => selector::subject(&field, kind)?,
            (None, Some(field)) if kind == PolicyKind::CiliumClusterwideNetworkPolicy => {
                label_selector(&field)?;
                let message = "lictor has no policies of nodes, so this part does nothing";
                field.context.report(Code::CiliumUnsupported, field.spot, format!("`{}`: {message}", field.path), None);
                return None;
            }
            _ => {
                record.field.report(Code::InvalidPeer, "expected exactly one of `endpointSelector` and `nodeSelector`");
                return None;
            }
        };
        Some(CiliumSpec { path: Arc::from(&*record.field.path), description, log, subject, ingress, egress })
    })
}

fn side(record: &mut Record<'_>, direction: Direction, default_deny: Option<bool>) -> CiliumSide {
    let keys = match direction {
        Direction::Ingress => ["ingress", "ingressDeny"],
        Direction::Egress => ["egress", "egressDeny"],
    };
    let [allow, deny] = keys.map(|key| record.items(key));
    let any = !allow.is_empty() || !deny.is_empty();
    let rules = |fields: &[Field<'_>], denies: bool| {
        fields.iter().filter_map(|field| field.attempt(|record| rule(record, direction, denies))).collect()
    };
    CiliumSide { default_deny: default_deny.unwrap_or(any), allow: rules(&allow, false), deny: rules(&deny, true) }
}

fn rule(record: &mut Record<'_>, direction: Direction, denies: bool) -> Option<CiliumRule> {
    let mut unsupported = None;
    let mut peers = peers::peers(record, direction, denies);
    for key in match direction {
        Direction::Ingress => ["fromRequires", "authentication"],
        Direction::Egress => ["toRequires", "authentication"],
    } {
        let Some(field) = record.get(key) else { continue };
        if key == "authentication" && is_disabled(&field) {
            continue;
        }
        let message = format!("`{}`: {}", field.path, ports::consequence(denies));
        field.context.report(Code::CiliumUnsupported, field.spot, message, None);
        unsupported = Some(Arc::from(key));
    }
    let named = record.items("toPorts");
    let icmps = record.items("icmps");
    if !named.is_empty() && !icmps.is_empty() {
        record.field.report_with(
            Code::InvalidPort,
            "expected either `toPorts` or `icmps`, found both",
            "write two rules",
        );
    }
    if peers.as_ref().is_some_and(|peers| peers.iter().any(|peer| matches!(peer, CiliumPeer::Service(_))))
        && !named.is_empty()
    {
        record.field.report_with(
            Code::InvalidPort,
            "expected no `toPorts` beside `toServices`",
            "name the pods behind the Service with `toEndpoints`",
        );
    }
    let mut ports = Vec::new();
    for field in &named {
        match field.attempt(|record| ports::to_ports(record, direction, denies)) {
            Some(Ok(term)) => ports.push(term),
            Some(Err(what)) => unsupported = Some(what),
            None => {}
        }
    }
    ports.extend(icmps.iter().filter_map(|field| field.attempt(ports::icmp)));
    let ports = (!named.is_empty() || !icmps.is_empty()).then_some(ports);
    if peers.is_none() && ports.is_none() {
        // A rule that says nothing allows nothing; it only isolates.
        peers = Some(Vec::new());
    }
    Some(CiliumRule { peers, ports, unsupported })
}

fn is_disabled(field: &Field<'_>) -> bool {
    field.attempt(|record| record.need("mode")?.text().map(|mode| mode == "disabled")).unwrap_or(false)
}
