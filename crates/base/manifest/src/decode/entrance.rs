//! Ingress and Route.
//!
//! Source: Kubernetes API reference, IngressSpec v1 (and `extensions/v1beta1` for the older form); OpenShift, RouteSpec v1.

use super::metadata::Metadata;
use crate::fields::{Field, Record};
use crate::yaml::Data;
use crate::{Entrance, EntranceBackend, TargetPort};
use serde_json::Value;
use std::sync::Arc;

/// An Ingress: its default backend and those of its paths.
pub(crate) fn ingress(object: &Field<'_>, metadata: Metadata) -> Option<Entrance> {
    entrance(object, metadata, "Ingress", |spec| {
        let mut backends = Vec::new();
        for key in ["defaultBackend", "backend"] {
            backends.extend(spec.get(key).and_then(|field| field.record(backend)).flatten());
        }
        for rule in spec.items("rules") {
            let http = rule.record(|rule| {
                rule.accept_rest();
                rule.get("http")
            });
            let Some(http) = http.flatten() else { continue };
            let paths = http.record(|http| http.items("paths")).unwrap_or_default();
            for path in paths {
                let found = path.record(|path| {
                    path.accept_rest();
                    path.get("backend").and_then(|field| field.record(backend)).flatten()
                });
                backends.extend(found.flatten());
            }
        }
        backends
    })
}

/// A Route: its Service, and those that it shares the load with.
pub(crate) fn route(object: &Field<'_>, metadata: Metadata) -> Option<Entrance> {
    entrance(object, metadata, "Route", |spec| {
        let port = spec
            .get("port")
            .and_then(|field| field.record(|port| port.get("targetPort").and_then(|field| target(&field))).flatten());
        let others = spec.items("alternateBackends");
        let mut backends = Vec::new();
        for field in spec.get("to").iter().chain(&others) {
            let service = field.record(|to| {
                to.accept_rest();
                to.text("name")
            });
            backends
                .extend(service.flatten().map(|name| EntranceBackend { service: Arc::from(name), port: port.clone() }));
        }
        backends
    })
}

/// An object of a kind, with the backends that its `spec` names.
fn entrance(
    object: &Field<'_>,
    metadata: Metadata,
    kind: &'static str,
    backends: impl FnOnce(&mut Record<'_>) -> Vec<EntranceBackend>,
) -> Option<Entrance> {
    let backends = object.record(|record| {
        record.accept_rest();
        let named = record.get("spec").and_then(|spec| {
            spec.record(|spec| {
                spec.accept_rest();
                backends(spec)
            })
        });
        named.unwrap_or_default()
    });
    Some(Entrance { meta: metadata.meta, kind, backends: backends? })
}

fn backend(record: &mut Record<'_>) -> Option<EntranceBackend> {
    record.accept_rest();
    if let Some(name) = record.text("serviceName") {
        let port = record.get("servicePort").and_then(|field| target(&field));
        return Some(EntranceBackend { service: Arc::from(name), port });
    }
    let service = record.get("service")?;
    let found = service.record(|service| {
        let name = service.text("name")?;
        let port = service.get("port").and_then(|field| {
            field.record(|port| {
                let number = port.get("number").and_then(|field| target(&field));
                number.or_else(|| port.get("name").and_then(|field| target(&field)))
            })
        });
        Some(EntranceBackend { service: Arc::from(name), port: port.flatten() })
    });
    found.flatten()
}

/// A number or a name, whatever it may be.
fn target(field: &Field<'_>) -> Option<TargetPort> {
    match &field.node.data {
        Data::Scalar(Value::Number(number)) => u16::try_from(number.as_u64()?).ok().map(TargetPort::Number),
        Data::Scalar(Value::String(name)) => Some(TargetPort::Named(Arc::from(name.as_str()))),
        _ => None,
    }
}
