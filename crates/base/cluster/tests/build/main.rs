//! From manifests to a snapshot: one table a concern.

mod certificates;
mod namespaces;
mod nodes;
mod order;
mod placement;
mod pods;
mod services;
mod stances;

use lictor_cluster::{AddressPool, Node, Settings, Snapshot};
use lictor_manifest::{Object, read};
use lictor_model::{Labels, Revision};
use std::sync::Arc;

/// The objects of manifests that hold no error.
fn objects(manifests: &str) -> Vec<Object> {
    let reading = read("test.yaml", manifests);
    assert!(!reading.has_errors(), "{:?}", reading.findings);
    reading.objects
}

/// One node, n1 at 192.168.0.1.
fn settings() -> Settings {
    let node = Node {
        name: Arc::from("n1"),
        labels: Labels::default(),
        addresses: vec!["192.168.0.1".parse().expect("an address")],
    };
    Settings::new(vec![node])
}

/// A snapshot and its findings, each as `code: message`.
fn build_in(pool: &mut AddressPool, objects: &[Object]) -> (Snapshot, Vec<String>) {
    let (snapshot, findings) = Snapshot::build(objects, &settings(), pool, Revision(1));
    (snapshot, findings.iter().map(|finding| format!("{}: {}", finding.code, finding.message)).collect())
}

fn build(manifests: &str) -> (Snapshot, Vec<String>) {
    build_in(&mut AddressPool::default(), &objects(manifests))
}

/// `namespace/pod address,address` for each pod.
fn pods(snapshot: &Snapshot) -> Vec<String> {
    let addresses =
        |pod: &lictor_cluster::Pod| pod.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    snapshot.pods.iter().map(|(name, pod)| format!("{name} {}", addresses(pod))).collect()
}

/// A Deployment, StatefulSet, … in namespace `default`, its pods labelled `app: NAME`.
fn workload(kind: &str, name: &str, rest_of_spec: &str) -> String {
    let version = match kind {
        "Job" | "CronJob" => "batch/v1",
        "ReplicationController" => "v1",
        _ => "apps/v1",
    };
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  template:\n    \
         metadata: {{labels: {{app: {name}}}}}\n    spec: {{containers: [{{name: c, image: i}}]}}\n{rest_of_spec}"
    )
}

/// A Pod in namespace `default`; `rest` is indented below the document, `metadata` and `spec` are flow mappings.
fn pod(name: &str, metadata: &str, spec: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, {metadata}}}\nspec: {{containers: [{{name: c, image: i}}], {spec}}}\n{rest}"
    )
}
