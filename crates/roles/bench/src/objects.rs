//! The objects of made-up clusters.

use lictor_manifest::{
    Container, Meta, NetworkPolicy, NetworkRule, Object, Origin, PeerTerm, PodSpec, PodTemplate, Workload, WorkloadKind,
};
use lictor_model::{Name, Selector};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name and the one label of an object.
pub(crate) fn meta(namespace: &str, name: &str, key: &str, value: &str) -> Meta {
    Meta {
        name: Name::new(namespace, name),
        labels: [(key, value)].into_iter().collect(),
        annotations: BTreeMap::new(),
        created: None,
        uid: None,
        origin: Origin::none(),
    }
}

/// The pods of an application.
pub(crate) fn selector(app: &str) -> Selector {
    Selector::equal_to(&[("app", app)].into_iter().collect())
}

/// A rule that lets one application in.
pub(crate) fn rule(from: &str) -> NetworkRule {
    NetworkRule { peers: vec![PeerTerm::Pods { namespaces: None, pods: Some(selector(from)) }], ports: Vec::new() }
}

/// A policy for these pods that lets one application in.
pub(crate) fn policy(namespace: &str, name: &str, pods: Selector, from: &str) -> Object {
    Object::NetworkPolicy(Arc::new(NetworkPolicy {
        meta: meta(namespace, name, "name", name),
        pod_selector: pods,
        ingress: Some(vec![rule(from)]),
        egress: None,
    }))
}

/// A pod of an application.
pub(crate) fn pod(namespace: &str, name: &str, app: &str) -> Object {
    let spec = PodSpec { containers: vec![Container::default()], ..PodSpec::default() };
    Object::Workload(Arc::new(Workload {
        meta: meta(namespace, name, "app", app),
        kind: WorkloadKind::Pod,
        replicas: 1,
        template: PodTemplate { labels: [("app", app)].into_iter().collect(), annotations: BTreeMap::new(), spec },
        addresses: Vec::new(),
        host_address: None,
        owner: None,
    }))
}
