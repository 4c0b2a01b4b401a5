//! What a build finds, in words.

use crate::addresses::Exhausted;
use crate::registration::Troubled;
use lictor_manifest::{ClusterFederatedTrustDomain, Code, Finding, Meta, WorkloadKind};
use lictor_model::{InvalidSpiffeId, Name};
use std::net::IpAddr;

fn finding(code: Code, meta: &Meta, path: &str, message: String) -> Finding {
    Finding::new(code, meta.origin.position(path), message)
}

/// Two objects of one kind and name.
pub(crate) fn duplicate(kind: &str, name: &Name, first: &Meta, second: &Meta) -> Finding {
    let place = first.origin.position("metadata.name");
    let message = format!("{kind} {name} is declared twice; the one at {place} is kept");
    finding(Code::DuplicateObject, second, "metadata.name", message).with_hint("remove or rename one of them")
}

/// Two workloads whose pods would have one name.
pub(crate) fn pod_name_taken(meta: &Meta, kind: WorkloadKind, name: &Name) -> Finding {
    let message = format!("{} {} would make a pod {name}, which is there already", kind.as_str(), meta.name);
    finding(Code::DuplicateObject, meta, "metadata.name", message).with_hint("rename the workload")
}

/// A replica count beyond reason.
pub(crate) fn too_many_pods(meta: &Meta, most: usize) -> Finding {
    let message = format!("expected at most {most} pods in all; with {} there are more", meta.name);
    finding(Code::TooManyPods, meta, "spec.replicas", message).with_hint("lower `replicas`")
}

/// A namespace that had to be made.
pub(crate) fn namespace_made(name: &str, meta: &Meta) -> Finding {
    let message = format!("namespace {name} is used but not declared; it is made without labels of its own");
    let hint = "declare it if a namespaceSelector is to find it by a label";
    finding(Code::NamespaceNotDeclared, meta, "metadata.namespace", message).with_hint(hint)
}

/// A node that only a pod names.
pub(crate) fn node_made(meta: &Meta, path: &str, name: &str) -> Finding {
    finding(
        Code::UnknownNode,
        meta,
        path,
        format!("node {name} is not known; the pod is taken to be on one of that name"),
    )
}

/// A node that only a pod names, where there are no others than those that are there.
pub(crate) fn node_absent(meta: &Meta, path: &str, name: &str, first: &str) -> Finding {
    let message = format!("node {name} is not here; its pods are on {first}");
    finding(Code::UnknownNode, meta, path, message)
}

/// An address that belongs to another.
pub(crate) fn address_taken(meta: &Meta, path: &str, address: IpAddr, holder: &str) -> Finding {
    let message = format!("{} asks for address {address}, which {holder} has; it gets another one", meta.name);
    finding(Code::AddressNotGiven, meta, path, message)
}

/// A block that is used up.
pub(crate) fn no_address_left(meta: &Meta, name: &Name, error: &Exhausted) -> Finding {
    let message = format!("{name} gets no address: {error}");
    finding(Code::NoAddressLeft, meta, "", message).with_hint("take a larger block, or fewer replicas")
}

/// A service account that no manifest declares.
pub(crate) fn no_service_account(meta: &Meta, path: &str, account: &str) -> Finding {
    let message = format!("service account {}/{account} is not declared", meta.name.namespace);
    let hint = "declare it: Kubernetes makes no pod without its service account";
    finding(Code::ServiceAccountMissing, meta, path, message).with_hint(hint)
}

/// Names that make no SPIFFE ID.
pub(crate) fn no_identity(meta: &Meta, path: &str, account: &str, error: &InvalidSpiffeId) -> Finding {
    let message = format!("service account `{account}` gives {} no identity: {error}", meta.name);
    finding(Code::InvalidName, meta, path, message)
}

/// A Service without pods.
pub(crate) fn selects_nothing(meta: &Meta) -> Finding {
    let message = format!("Service {} selects no pod", meta.name);
    finding(Code::ServiceSelectsNothing, meta, "spec.selector", message)
        .with_hint("compare its selector with the labels of the pods")
}

/// A named target port that no selected pod declares.
pub(crate) fn target_port_unresolved(meta: &Meta, port: usize, target: &str) -> Finding {
    let message = format!("no pod that Service {} selects has a container port named `{target}`", meta.name);
    finding(Code::TargetPortUnresolved, meta, &format!("spec.ports[{port}].targetPort"), message)
        .with_hint("name the container port, or give its number")
}

/// Endpoints for a Service that is not there.
pub(crate) fn endpoints_alone(meta: &Meta, service: &Name) -> Finding {
    let message = format!("{} belongs to Service {service}, which is not declared", meta.name);
    finding(Code::EndpointsWithoutService, meta, "metadata.name", message)
}

/// A Stance that decides nothing.
pub(crate) fn stance_idle(meta: &Meta) -> Finding {
    let message =
        format!("Stance {} decides nothing: it selects no pod, or a narrower or stricter one does", meta.name);
    finding(Code::IneffectiveStance, meta, "spec", message)
        .with_hint("remove it, or give it the selector that it is meant for")
}

/// A ClusterSPIFFEID that gives pods nothing which it selects.
pub(crate) fn registration_fails(troubled: &Troubled) -> Finding {
    let Troubled { resource, pod, reason, pods } = troubled;
    let others = match pods.saturating_sub(1) {
        0 => String::new(),
        1 => " and another pod".to_owned(),
        others => format!(" and {others} other pods"),
    };
    let message = format!("ClusterSPIFFEID {} gives {pod}{others} no identity: {reason}", resource.meta.name);
    finding(Code::RegistrationFails, &resource.meta, "spec.spiffeIDTemplate", message)
}

/// A resource that is another controller's.
pub(crate) fn other_class(kind: &str, meta: &Meta, class: &str) -> Finding {
    let class = if class.is_empty() { "no class".to_owned() } else { format!("class `{class}`") };
    let message = format!("{kind} {} is of {class}, which another controller acts on", meta.name);
    finding(Code::OtherClass, meta, "spec.className", message)
}

/// A second resource for one trust domain.
pub(crate) fn federated_twice(second: &ClusterFederatedTrustDomain, first: &ClusterFederatedTrustDomain) -> Finding {
    let place = first.meta.origin.position("spec.trustDomain");
    let message = format!("trust domain {} is declared twice; the one at {place} counts", second.trust_domain);
    finding(Code::DuplicateObject, &second.meta, "spec.trustDomain", message).with_hint("remove one of them")
}
