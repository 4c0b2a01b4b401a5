//! The `cluster.yaml` of a step as Kubernetes objects.

use lictor_cluster::Node;
use lictor_model::Labels;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A cluster as the suites write it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClusterFile {
    #[serde(default)]
    namespaces: Vec<NamespaceEntry>,
    pods: Vec<PodEntry>,
    #[serde(default)]
    nodes: Vec<NodeEntry>,
    /// What DNS has said.
    #[serde(default)]
    pub(super) dns: BTreeMap<String, Vec<IpAddr>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamespaceEntry {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodEntry {
    namespace: String,
    name: String,
    ip: IpAddr,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<PortEntry>,
    node: Option<String>,
    #[serde(default)]
    host_network: bool,
    service_account: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortEntry {
    name: Option<String>,
    port: u16,
    protocol: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeEntry {
    name: String,
    #[serde(default)]
    addresses: Vec<IpAddr>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl ClusterFile {
    /// The namespaces and pods as a stream of JSON documents.
    pub(super) fn manifests(&self) -> String {
        let namespaces = self.namespaces.iter().map(NamespaceEntry::object);
        let objects = namespaces.chain(self.pods.iter().map(PodEntry::object));
        objects.map(|object| format!("{object}\n---\n")).collect()
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> Vec<Node> {
        let node = |entry: &NodeEntry| Node {
            name: Arc::from(&*entry.name),
            labels: entry.labels.iter().map(|(key, value)| (&**key, &**value)).collect::<Labels>(),
            addresses: entry.addresses.clone(),
        };
        self.nodes.iter().map(node).collect()
    }
}

impl NamespaceEntry {
    fn object(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": self.labels}})
    }
}

impl PodEntry {
    fn object(&self) -> Value {
        let ports = self.ports.iter().map(|port| {
            let mut object = json!({"containerPort": port.port, "protocol": port.protocol});
            if let Some(name) = &port.name {
                object["name"] = json!(name);
            }
            object
        });
        let container = json!({"name": "server", "image": "stand-in", "ports": ports.collect::<Vec<_>>()});
        let mut spec = json!({"containers": [container], "hostNetwork": self.host_network});
        if let Some(node) = &self.node {
            spec["nodeName"] = json!(node);
        }
        if let Some(account) = &self.service_account {
            spec["serviceAccountName"] = json!(account);
        }
        let metadata = json!({"name": self.name, "namespace": self.namespace, "labels": self.labels});
        let status = json!({"podIP": self.ip, "podIPs": [{"ip": self.ip}]});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status})
    }
}
