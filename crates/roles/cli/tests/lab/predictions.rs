//! What the engine predicts of each connection is what it does.

use crate::lab::{Lab, example};
use std::path::{Path, PathBuf};

#[test]
fn the_shop_does_what_is_predicted() {
    let lab = Lab::up("e2e-shop", &[&example("shop")]);
    lab.assert_predictions_hold();
    let status = lab.status();
    let policies = status["policies"].as_array().unwrap().iter();
    let pods: Vec<(&str, u64)> =
        policies.map(|one| (one["policy"]["name"].as_str().unwrap(), one["pods"].as_u64().unwrap())).collect();
    let wanted = [
        ("production/allow-api-to-db", 1),
        ("production/default-deny", 5),
        ("checkout/checkout-requests", 2),
        ("payments/payments-api", 1),
        ("istio-system/default", 11),
    ];
    assert_eq!(pods, wanted);
}

#[test]
fn the_shop_with_its_fixes_does_what_is_predicted() {
    let lab = Lab::up("e2e-fixed", &[&example("shop"), &example("shop-fixes")]);
    lab.assert_predictions_hold();
    assert!(lab.run(&["why", "production/api", "production/db:5432"]).status.success(), "the fix lets the api in");
}

#[test]
fn applications_of_others_do_what_is_predicted() {
    let suites = std::env::var_os("LICTOR_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/conformance"), PathBuf::from);
    let folder = suites.join("netpol-analyzer");
    if !folder.is_dir() {
        println!("netpol-analyzer was not found: 0 of 3 applications run");
        return;
    }
    let applications = [
        ("e2e-boutique", "onlineboutique_workloads"),
        ("e2e-minimal", "netpol-analysis-example-minimal"),
        ("e2e-ports", "test_with_named_ports"),
    ];
    for (lab, application) in applications {
        Lab::up(lab, &[&folder.join(application).join("manifests")]).assert_predictions_hold();
    }
}

#[test]
fn an_ipv6_lab_does_what_is_predicted() {
    let lab = Lab("e2e-six");
    let blocks = ["--pod-cidr", "fd00:10:244::/64", "--service-cidr", "fd00:10:96::/112"];
    let output = lab.command(&["up", "--detach"]).args(blocks).arg(example("shop")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lab.assert_predictions_hold();
}

/// Requests into a pod, out of one, and to a pod outside the mesh, each limited by a policy of Cilium's.
const REQUESTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: batch, namespace: shop, labels: {app: batch}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 9090}, {containerPort: 9091}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: shop, labels: {app: plain}, annotations: {lictor.dev/enroll: 'false'}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts:
    - ports: [{port: '9090', protocol: TCP}]
      rules: {http: [{method: GET, path: /orders, headers: ['X-Token: 42']}]}
  - fromEndpoints: [{matchLabels: {app: batch}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: batch, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: batch}}
  egress:
  - toEndpoints: [{matchLabels: {app: api}}]
    toPorts:
    - ports: [{port: '9090', protocol: TCP}]
      rules: {http: [{method: POST}]}
  - toEndpoints: [{}]
    toPorts:
    - ports: [{port: '8080', protocol: TCP}]
      rules: {http: [{path: /health}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: plain, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: plain}}
  egress:
  - toEndpoints: [{matchLabels: {app: api}}]
    toPorts:
    - ports: [{port: '9091', protocol: TCP}]
      rules: {http: [{}]}
";

#[test]
fn requests_that_ciliums_policies_limit_do_what_is_predicted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.yaml"), REQUESTS).unwrap();
    let lab = Lab::up("e2e-requests", &[folder.path()]);
    lab.assert_predictions_hold();
    let forbidden = lab.run(&[
        "exec",
        "shop/web",
        "--",
        "curl",
        "-s",
        "-m",
        "3",
        &format!("http://{}:9090/orders", lab.address("shop/api")),
    ]);
    let said = String::from_utf8_lossy(&forbidden.stdout).into_owned();
    assert!(said.contains("lictor why"), "a denial says how to ask about it: {said}");
}
