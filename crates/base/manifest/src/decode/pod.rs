//! Pod specs and templates.

use super::container::container;
use super::labels::selector;
use super::metadata::labels_and_annotations;
use super::syntax::{address, is_dns_label, is_dns_subdomain};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{Container, PodSpec, PodTemplate};
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
        let once: Vec<_> = once.iter().filter_map(container).collect();
        let plain = containers.len();
        containers.extend(sidecars);
        let containers: Vec<_> = (containers.iter().enumerate())
            .filter_map(|(at, field)| Some(Container { sidecar: at >= plain, ..container(field)? }))
            .collect();
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
            init_images: once.iter().map(Container::image_names).collect(),
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

/// What a dumped Pod's `status` says.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its node's.
    pub(crate) host: Option<IpAddr>,
    /// For each container that has run, its name and what its image is called.
    images: Vec<(String, Vec<String>)>,
    /// The same for each init container.
    init_images: Vec<(String, Vec<String>)>,
}

impl Status {
    /// Lets the spec know what its images are called.
    pub(crate) fn complete(&self, spec: &mut PodSpec) {
        for container in &mut spec.containers {
            let mut reported = self.images.iter().chain(&self.init_images);
            if let Some((_, names)) = reported.find(|(name, _)| **name == *container.name) {
                container.status_images.clone_from(names);
            }
        }
        let once: Vec<_> = (self.init_images.iter())
            .filter(|(name, _)| spec.containers.iter().all(|container| *container.name != **name))
            .map(|(_, names)| names.clone())
            .collect();
        if !once.is_empty() {
            spec.init_images = once;
        }
    }
}

/// A dumped Pod's `status`.
pub(crate) fn status(field: &Field<'_>) -> Option<Status> {
    field.record(|record| {
        record.accept_rest();
        let host = record.get("hostIP").and_then(|field| address(&field));
        let mut addresses: Vec<IpAddr> = record.get("podIP").and_then(|field| address(&field)).into_iter().collect();
        for item in record.items("podIPs") {
            let address = item.attempt(|record| address(&record.get("ip")?));
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        let images = container_statuses(record, "containerStatuses");
        let init_images = container_statuses(record, "initContainerStatuses");
        Status { addresses, host, images, init_images }
    })
}

fn container_statuses(record: &mut Record<'_>, key: &'static str) -> Vec<(String, Vec<String>)> {
    let reported = |field: &Field<'_>| {
        field.attempt(|record| {
            record.accept_rest();
            let mut images: Vec<String> = Vec::new();
            for key in ["image", "imageID"] {
                let name = record.text(key).filter(|name| !name.is_empty());
                images.extend(name.map(ToOwned::to_owned).filter(|name| !images.contains(name)));
            }
            Some((record.text("name")?.to_owned(), images))
        })
    };
    record.items(key).iter().filter_map(reported).filter(|(_, images)| !images.is_empty()).collect()
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
