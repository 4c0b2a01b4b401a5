//! Identities of containers and processes, in a running lab.

use crate::lab::Lab;
use crate::workload_client;
use std::fs;

const MANIFESTS: &str = "apiVersion: v1
kind: Pod
metadata: {name: pair, namespace: proc, labels: {app: pair}, annotations: {lictor.dev/run: host}}
spec:
  containers:
  - {name: one, image: 'img/one:1', command: [sleep, infinity]}
  - {name: two, image: 'img/two@sha256:ab', command: [sleep, infinity]}
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: one}
spec:
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/one'
  podSelector: {matchLabels: {app: pair}}
  workloadSelectorTemplates: ['k8s:container-name:one']
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: two}
spec:
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/two'
  podSelector: {matchLabels: {app: pair}}
  workloadSelectorTemplates: ['k8s:container-image:img/two@sha256:ab', 'unix:uid:0']
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: three}
spec:
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/three'
  podSelector: {matchLabels: {app: pair}}
  workloadSelectorTemplates: ['unix:uid:65534', 'unix:path:/usr/bin/sleep']
";

#[test]
fn the_processes_of_a_pod_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("all.yaml"), MANIFESTS).unwrap();
    let lab = Lab::up("e2e-proc", &[folder.path()]);
    let account = "spiffe://cluster.local/ns/proc/sa/default";
    let ids = |container: &str| workload_client::ids_of(&lab, &["proc/pair", "-c", container], "true");
    assert_eq!(ids("one"), [account, "spiffe://cluster.local/one"]);
    assert_eq!(ids("two"), [account, "spiffe://cluster.local/two"]);
    let unknown = lab.run(&["exec", "proc/pair", "-c", "three", "--", "true"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no container `three`, only one, two"));
    let state = lab.state("proc/pair");
    assert_eq!(state["identities"].as_array().unwrap().len(), 4, "{state}");
}
