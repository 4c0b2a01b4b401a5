//! Decisions about Certificates, as cases in files, and the laws that hold for all of them.

mod judged;
mod laws;
mod reissued;

use lictor_cluster::{AddressPool, Node, Settings, Snapshot};
use lictor_manifest::{Certificate, Object, read, values};
use lictor_model::{Labels, Revision};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// The published Certificate, with fields of its spec replaced; null takes one away.
fn certificate(namespace: &str, changes: Option<&Value>) -> Arc<Certificate> {
    let mut spec = json!({
        "secretName": "workload-tls",
        "duration": "1h",
        "renewBefore": "30m",
        "issuerRef": {"name": "spiffe-issuer", "kind": "ClusterIssuer"},
        "uris": ["spiffe://cluster.local/ns/production/sa/api-server"],
    });
    let fields = spec.as_object_mut().expect("a mapping");
    for (key, value) in changes.and_then(Value::as_object).unwrap_or(&Map::new()) {
        fields.insert(key.clone(), value.clone());
    }
    let metadata = json!({"name": "workload-cert", "namespace": namespace});
    let object = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata, "spec": spec});
    let reading = read("case.yaml", &object.to_string());
    assert!(!reading.has_errors(), "{:?}", reading.findings);
    match reading.objects.into_iter().next() {
        Some(Object::Certificate(certificate)) => certificate,
        other => panic!("expected a Certificate, found {other:?}"),
    }
}

/// The cluster of the cases.
fn snapshot() -> Snapshot {
    snapshot_of("cluster.yaml", &file("cluster.yaml"))
}

fn snapshot_of(name: &str, text: &str) -> Snapshot {
    let reading = read(name, text);
    assert!(!reading.has_errors(), "{:?}", reading.findings);
    let node = Node { name: "n".into(), labels: Labels::default(), addresses: Vec::new() };
    let settings = Settings::new(vec![node]);
    Snapshot::build(&reading.objects, &settings, &mut AddressPool::default(), Revision(1)).0
}

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)).expect("a text")
}

/// The cases of a file.
fn cases(name: &str) -> Vec<Value> {
    let documents = values(&file(name)).expect("YAML");
    documents.into_iter().flat_map(|document| document.as_array().cloned().expect("a list")).collect()
}
