//! Endpoints and EndpointSlices.

use super::accept_type;
use super::container::protocol;
use super::metadata::Metadata;
use super::syntax::address;
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{BackendPort, Endpoints};
use std::net::IpAddr;
use std::sync::Arc;

/// The label by which a slice names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// An Endpoints (v1).
pub(crate) fn endpoints(object: &Field<'_>, metadata: Metadata) -> Option<Endpoints> {
    object.record(|record| {
        accept_type(record);
        let subset = |field: &Field<'_>| {
            field.record(|record| {
                record.accept(&["notReadyAddresses"]);
                let addresses = record.items("addresses").iter().filter_map(|field| field.attempt(host)).collect();
                (addresses, record.items("ports").iter().filter_map(|field| port(field)).collect())
            })
        };
        let subsets = record.items("subsets").iter().filter_map(subset).collect();
        let service = Arc::clone(&metadata.meta.name.name);
        Endpoints { meta: metadata.meta, service, subsets }
    })
}

fn host(record: &mut Record<'_>) -> Option<(IpAddr, Arc<str>)> {
    record.accept(&["nodeName", "targetRef"]);
    let hostname = Arc::from(record.text("hostname").unwrap_or(""));
    Some((address(&record.need("ip")?)?, hostname))
}

/// A backend's port; a slice's port without a number means every port and is left out.
fn port(field: &Field<'_>) -> Option<BackendPort> {
    field.attempt(|record| {
        record.accept(&["appProtocol"]);
        let (name, protocol) = (Arc::from(record.text("name").unwrap_or("")), protocol(record));
        let port = record.get("port")?.integer(Code::InvalidPort, 1..=u16::MAX)?;
        Some(BackendPort { name, protocol, port })
    })
}

/// An EndpointSlice (discovery.k8s.io/v1): one subset.
pub(crate) fn endpoint_slice(object: &Field<'_>, metadata: Metadata) -> Option<Endpoints> {
    object.attempt(|record| {
        accept_type(record);
        let families = [("IPv4", true), ("IPv6", true), ("FQDN", false)];
        let family = record.need("addressType").and_then(|field| field.word(Code::InvalidValue, &families))?;
        let mut addresses = Vec::new();
        for item in record.items("endpoints") {
            addresses.extend(item.record(|record| endpoint(record, family)).unwrap_or_default());
        }
        let ports = record.items("ports").iter().filter_map(|field| port(field)).collect();
        let service = Arc::from(metadata.meta.labels.get(SERVICE_LABEL).unwrap_or(""));
        Some(Endpoints { meta: metadata.meta, service, subsets: vec![(addresses, ports)] })
    })
}

/// The ready addresses of a slice's endpoint; readiness that is not told counts as ready.
fn endpoint(record: &mut Record<'_>, is_address: bool) -> Vec<(IpAddr, Arc<str>)> {
    record.accept(&["deprecatedTopology", "hints", "nodeName", "targetRef", "topology", "zone"]);
    let hostname: Arc<str> = Arc::from(record.text("hostname").unwrap_or(""));
    let ready = record.get("conditions").and_then(|field| {
        field.attempt(|record| {
            record.accept(&["serving", "terminating"]);
            record.get("ready").and_then(|field| field.boolean())
        })
    });
    let given = record.items("addresses");
    if !is_address || ready == Some(false) {
        return Vec::new();
    }
    given.iter().filter_map(address).map(|address| (address, Arc::clone(&hostname))).collect()
}
