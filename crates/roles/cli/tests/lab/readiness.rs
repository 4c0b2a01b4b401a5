//! Which pods are ready, and who may ask them.

use crate::lab::{Lab, soon};
use std::fs;

#[test]
fn probes_say_which_pods_are_ready() {
    let folder = tempfile::tempdir().unwrap();
    let pod = |name: &str, annotations: &str, probe: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: probes, labels: {{app: web}}, annotations: {{{annotations}}}}}\n\
             spec:\n  containers:\n  - name: main\n    image: x\n    command: [sleep, infinity]\n    ports: [{{name: http, \
             containerPort: 8080}}]\n    readinessProbe: {{{probe}, periodSeconds: 1}}\n---\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: probes}\n\
                   spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}\n";
    let text = pod("good", "", "httpGet: {path: /, port: http}")
        + &pod("exec", "lictor.dev/run: host", "exec: {command: [\"true\"]}")
        + &pod("bad", "lictor.dev/run: host", "tcpSocket: {port: 8080}")
        + service;
    fs::write(folder.path().join("probes.yaml"), text).unwrap();
    let lab = Lab::up("e2e-probes", &[folder.path()]);
    let ready = |pod: &str| {
        let status = lab.status();
        let states =
            status["workloads"].as_array().unwrap().iter().flat_map(|workload| workload["states"].as_array().unwrap());
        states.filter(|state| state["pod"] == format!("probes/{pod}")).any(|state| state["ready"] == true)
    };
    soon(|| ready("good") && ready("exec"));
    assert!(!ready("bad"), "nobody listens there");
    let known = |name: &str| lab.run(&["exec", "probes/good", "--", "getent", "ahostsv4", name]).stdout;
    let addresses = String::from_utf8(known("web")).unwrap();
    let addresses: std::collections::BTreeSet<&str> =
        addresses.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(addresses.len(), 2, "a headless service answers with the ready ones: {addresses:?}");
}

#[test]
fn the_node_reaches_its_pods_through_every_policy() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: pinned}\nspec:\n  nodeName: a-worker-of-another-cluster\n  \
                containers:\n  - name: main\n    image: x\n    ports: [{name: http, containerPort: 8080}]\n    readinessProbe: \
                {httpGet: {path: /, port: http}, periodSeconds: 1}\n---\n\
                apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: pinned}\n\
                spec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n";
    fs::write(folder.path().join("pinned.yaml"), text).unwrap();
    let lab = Lab::up("e2e-pinned", &[folder.path()]);
    soon(|| lab.state("pinned/web")["ready"] == true);
}
