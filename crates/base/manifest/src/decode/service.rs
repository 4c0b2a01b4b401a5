//! Services.
//!
//! Source: Kubernetes API reference, ServiceSpec v1, and `pkg/apis/core/validation` (`ValidateService`).

use super::accept_type;
use super::container::protocol;
use super::labels::labels;
use super::metadata::Metadata;
use super::syntax::{address, is_dns_label, is_dns_subdomain, port_or_name};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{Service, ServicePort, ServiceType, TargetPort};
use lictor_model::Selector;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// A Service.
pub(crate) fn service(object: &Field<'_>, metadata: Metadata) -> Option<Service> {
    object.attempt(|record| {
        accept_type(record);
        record.need("spec")?.record(|record| {
            accept_rest_of_spec(record);
            let kind = service_type(record);
            let selector = record.get("selector").map(|field| labels(&field)).filter(|labels| !labels.is_empty());
            let ports: Vec<_> = record.items("ports").iter().filter_map(|field| service_port(field)).collect();
            check_ports(record, &ports, &kind);
            Service {
                meta: metadata.meta,
                kind,
                selector: selector.map(|labels| Selector::equal_to(&labels)),
                ports,
                publish_not_ready: record.flag("publishNotReadyAddresses"),
            }
        })
    })
}

fn accept_rest_of_spec(record: &mut Record<'_>) {
    record.accept(&[
        "allocateLoadBalancerNodePorts",
        "externalIPs",
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "internalTrafficPolicy",
        "ipFamilies",
        "ipFamily",
        "ipFamilyPolicy",
        "loadBalancerClass",
        "loadBalancerIP",
        "loadBalancerSourceRanges",
        "sessionAffinity",
        "sessionAffinityConfig",
        "topologyKeys",
        "trafficDistribution",
    ]);
}

fn service_type(record: &mut Record<'_>) -> ServiceType {
    let words = [("ClusterIP", false), ("NodePort", false), ("LoadBalancer", false), ("ExternalName", true)];
    let external = record.get("type").and_then(|field| field.word(Code::InvalidValue, &words)).unwrap_or(false);
    let mut asked: Vec<Field<'_>> = record.get("clusterIP").into_iter().collect();
    asked.extend(record.items("clusterIPs"));
    asked.retain(|field| field.node.as_str() != Some(""));
    let name = record.get("externalName");
    if external {
        let name = name.or_else(|| record.need("externalName")).and_then(|field| {
            let name = field.text()?.trim_end_matches('.');
            if !is_dns_subdomain(name) {
                field.wrong(Code::InvalidName, "a DNS name");
            }
            Some(name.to_owned())
        });
        return ServiceType::External(name.unwrap_or_default());
    }
    if asked.first().and_then(|field| field.node.as_str()) == Some("None") {
        return ServiceType::Headless;
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in asked.iter().filter_map(address) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    ServiceType::Cluster(addresses)
}

fn service_port(field: &Field<'_>) -> Option<ServicePort> {
    field.attempt(|record| {
        record.accept(&["nodePort"]);
        let name = record.get("name").and_then(|field| {
            let name = field.text()?;
            if !is_dns_label(name) && !name.is_empty() {
                field.wrong(Code::InvalidName, "a DNS label: at most 63 lower-case letters, digits and dashes");
            }
            Some(name)
        });
        let protocol = protocol(record);
        let app_protocol = record.text("appProtocol").map(Arc::from);
        let port = record.need("port").and_then(|field| field.integer(Code::InvalidPort, 1..=u16::MAX));
        // Dumps of old clusters write an absent target port as 0.
        let target = record.get("targetPort").filter(
            |field| !matches!(field.node.data, crate::yaml::Data::Scalar(ref value) if value.as_i64() == Some(0)),
        );
        let target = match target {
            None => TargetPort::Number(port?),
            Some(field) => match port_or_name(&field)? {
                Ok(number) => TargetPort::Number(number),
                Err(name) => TargetPort::Named(name),
            },
        };
        Some(ServicePort { name: Arc::from(name.unwrap_or("")), protocol, port: port?, target, app_protocol })
    })
}

fn check_ports(record: &Record<'_>, ports: &[ServicePort], kind: &ServiceType) {
    if ports.is_empty() && matches!(kind, ServiceType::Cluster(_)) && record.field.node.get("ports").is_none() {
        record.field.report(Code::MissingField, "the required field `ports` is missing");
    }
    let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
    for port in ports {
        if ports.len() > 1 && port.name.is_empty() {
            record
                .field
                .doubt(Code::MissingField, format!("port {} needs a `name`, since there are several", port.port));
        } else if !names.insert(&port.name) && !port.name.is_empty() {
            let message = format!("expected ports of different names, found `{}` twice", port.name);
            record.field.report(Code::InvalidValue, message);
        }
        if !numbers.insert((port.port, port.protocol)) {
            let message = format!("expected each port once, found {}/{} twice", port.port, port.protocol);
            record.field.report(Code::InvalidPort, message);
        }
    }
}
