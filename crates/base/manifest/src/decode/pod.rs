//! Pod specs and templates.

use super::container::container;
use super::labels::selector;
use super::metadata::labels_and_annotations;
use super::syntax::{address, is_dns_label, is_dns_subdomain};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{PodSpec, PodTemplate};
use lictor_model::Selector;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// A PodTemplateSpec.
pub(crate) fn template(field: &Field<'_>) -> Option<PodTemplate> {
    field.record(|record| {
        let metadata = record.get("metadata").and_then(|field| field.record(labels_and_annotations));
        let (labels, annotations) = metadata.unwrap_or_default();
        let spec = record.need("spec").and_then(|field| pod_spec(&field)).unwrap_or_default();
        PodTemplate { labels, annotations, spec }
    })
}

/// A PodSpec.
pub(crate) fn pod_spec(field: &Field<'_>) -> Option<PodSpec> {
    field.record(|record| {
        accept_rest_of_pod_spec(record);
        let account = record.get("serviceAccountName").or_else(|| record.get("serviceAccount"));
        let account = account.and_then(|field| named(&field, is_dns_subdomain)).filter(|name| !name.is_empty());
        let mut containers: Vec<_> = record.need("containers").map(|field| field.items()).unwrap_or_default();
        let initial = record.items("initContainers");
        // A restartable init container runs beside the others; Kubernetes calls it a sidecar.
        let restarts =
            |field: &Field<'_>| field.node.get("restartPolicy").and_then(|node| node.as_str()) == Some("Always");
        let (sidecars, once): (Vec<_>, Vec<_>) = initial.into_iter().partition(restarts);
        for field in &once {
            container(field);
        }
        containers.extend(sidecars);
        let containers: Vec<_> = containers.iter().filter_map(container).collect();
        let mut names = HashSet::new();
        for container in
            containers.iter().filter(|container| !container.name.is_empty() && !names.insert(&container.name))
        {
            let message = format!("expected containers of different names, found `{}` twice", container.name);
            record.field.report(Code::InvalidValue, message);
        }
        PodSpec {
            service_account: account.unwrap_or_else(|| Arc::from("default")),
            host_network: record.flag("hostNetwork"),
            node_name: record
                .get("nodeName")
                .and_then(|field| named(&field, is_dns_subdomain))
                .filter(|name| !name.is_empty()),
            hostname: record.get("hostname").and_then(|field| named(&field, is_dns_label)),
            subdomain: record.get("subdomain").and_then(|field| named(&field, is_dns_label)),
            containers,
        }
    })
}

/// A name by its syntax; the empty text counts as none.
fn named(field: &Field<'_>, valid: fn(&str) -> bool) -> Option<Arc<str>> {
    let text = field.text().filter(|text| !text.is_empty())?;
    if !valid(text) {
        field.wrong(Code::InvalidName, "a DNS name of lower-case letters, digits and dashes");
    }
    Some(Arc::from(text))
}

fn accept_rest_of_pod_spec(record: &mut Record<'_>) {
    record.accept(&[
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "ephemeralContainers",
        "hostAliases",
        "hostIPC",
        "hostPID",
        "hostUsers",
        "hostnameOverride",
        "imagePullSecrets",
        "nodeSelector",
        "os",
        "overhead",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "readinessGates",
        "resourceClaims",
        "resources",
        "restartPolicy",
        "runtimeClassName",
        "schedulerName",
        "schedulingGates",
        "securityContext",
        "serviceAccount",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
        "workloadRef",
    ]);
}

/// What a dumped Pod's `status` says: its addresses and its node's.
pub(crate) fn status(field: &Field<'_>) -> Option<(Vec<IpAddr>, Option<IpAddr>)> {
    field.record(|record| {
        record.accept_rest();
        let host = record.get("hostIP").and_then(|field| address(&field));
        let mut addresses: Vec<IpAddr> = record.get("podIP").and_then(|field| address(&field)).into_iter().collect();
        for item in record.items("podIPs") {
            let address = item.attempt(|record| address(&record.get("ip")?));
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        (addresses, host)
    })
}

/// A workload's own selector must select its template's labels.
pub(crate) fn check_selector(field: &Field<'_>, selector: Option<&Selector>, template: &PodTemplate) {
    if let Some(unmet) = selector.and_then(|selector| selector.unmet(&template.labels).next()) {
        let message = format!("expected a selector of the template's labels `{}`, found `{unmet}`", template.labels);
        field.report(Code::TemplateMismatch, message);
    }
}

/// A workload's `selector`: a LabelSelector, or plain labels for a ReplicationController.
pub(crate) fn workload_selector(field: &Field<'_>, plain: bool) -> Option<Selector> {
    if plain { Some(Selector::equal_to(&super::labels::labels(field))) } else { selector(field) }
}
