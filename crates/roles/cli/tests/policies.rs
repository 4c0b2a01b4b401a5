//! The commands that look at policies themselves, on files alone: lint, test, simulate, suggest, and edges by exposure.

use insta::assert_snapshot;
use std::path::Path;
use std::process::Command;

const CLUSTER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}
status: {podIP: 10.244.0.11}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 9090}]}]}
status: {podIP: 10.244.0.12}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: i, ports: [{containerPort: 5432}]}]}
status: {podIP: 10.244.0.13}
";

const POLICY: &str = "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: web}}]
    toPorts:
    - ports: [{port: '9090', protocol: TCP}]
      rules: {http: [{method: GET, path: /orders}]}
  ingressDeny:
  - fromEndpoints: [{matchLabels: {app: db}}]
";

/// One line of a decision log.
fn seen(from: (&str, &str), to: (&str, &str), port: u16, verdict: &str) -> String {
    let party = |(pod, address): (&str, &str), port: u16| {
        format!(r#"{{"pod":"shop/{pod}","address":"{address}","port":{port}}}"#)
    };
    format!(
        r#"{{"event":"decision","id":1,"time":"2026-01-01T00:00:00Z","layer":"ingress","mode":"Enforce","verdict":"{verdict}","would":"{verdict}","by":"noPolicy","source":{},"destination":{},"protocol":"TCP","encrypted":false,"point":"kernel","revision":1}}"#,
        party(from, 40_000),
        party(to, port)
    ) + "\n"
}

const WEB: (&str, &str) = ("web", "10.244.0.11");
const API: (&str, &str) = ("api", "10.244.0.12");
const DB: (&str, &str) = ("db", "10.244.0.13");

/// What a command printed, and its exit code.
fn lictor(folder: &Path, words: &[&str]) -> (i32, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lictor")).args(words).current_dir(folder).output().expect("it starts");
    assert!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("an exit code"), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    folder
}

#[test]
fn a_test_file_says_who_may_connect_and_fails_with_the_rule_that_differs() {
    let tests = "
name: the shop
given: [deploy]
allow:
- {from: shop/web, to: 'shop/api:9090', method: GET, path: /orders}
- shop/db -> shop/api:9090
deny:
- {from: shop/web, to: 'shop/api:9090', method: POST, path: /orders}
- shop/api -> shop/db:5432
";
    let folder = folder(&[("deploy/cluster.yaml", CLUSTER), ("deploy/policy.yaml", POLICY), ("shop.test.yaml", tests)]);
    let (code, out) = lictor(folder.path(), &["test", "shop.test.yaml"]);
    assert_eq!(code, 1);
    assert_snapshot!(out);
    let (_, out) = lictor(folder.path(), &["test", "shop.test.yaml", "-o", "junit"]);
    assert!(out.contains("tests=\"4\" failures=\"2\""), "{out}");
}

#[test]
fn what_was_seen_is_replayed_and_what_breaks_comes_first() {
    let flows =
        [seen(WEB, API, 9090, "allowed"), seen(DB, API, 9090, "allowed"), seen(API, DB, 5432, "denied")].concat();
    let folder = folder(&[("deploy/cluster.yaml", CLUSTER), ("deploy/policy.yaml", POLICY), ("flows.jsonl", &flows)]);
    let (code, out) = lictor(folder.path(), &["simulate", "-f", "deploy", "--flows", "flows.jsonl"]);
    assert_eq!(code, 1);
    assert_snapshot!(out);
    let (_, out) = lictor(folder.path(), &["simulate", "-f", "deploy", "--flows", "flows.jsonl", "-o", "github"]);
    assert_eq!(out.matches("::error").count(), 1, "{out}");
}

#[test]
fn a_suggestion_allows_what_was_seen_and_applied_breaks_none_of_it() {
    let flows = [seen(WEB, API, 9090, "allowed"), seen(API, DB, 5432, "allowed")].concat();
    let folder = folder(&[("deploy/cluster.yaml", CLUSTER), ("flows.jsonl", &flows)]);
    let (code, out) = lictor(folder.path(), &["suggest", "shop", "-f", "deploy", "--flows", "flows.jsonl"]);
    assert_eq!(code, 0);
    assert_snapshot!(out);
    for kind in ["kubernetes", "cilium"] {
        let words = ["suggest", "shop", "-f", "deploy", "--flows", "flows.jsonl", "--kind", kind];
        std::fs::write(folder.path().join("suggested.yaml"), lictor(folder.path(), &words).1).expect("a file");
        let words = ["simulate", "-f", "deploy", "-f", "suggested.yaml", "--flows", "flows.jsonl"];
        assert_eq!(lictor(folder.path(), &words).0, 0, "{kind}");
        let words = ["lint", "deploy", "suggested.yaml", "--level", "error"];
        assert_eq!(lictor(folder.path(), &words).0, 0, "{kind}");
    }
}

#[test]
fn a_difference_can_be_held_to_what_was_seen() {
    let flows = seen(WEB, API, 9090, "allowed");
    let files = [("old/cluster.yaml", CLUSTER), ("new/cluster.yaml", CLUSTER), ("new/policy.yaml", POLICY)];
    let folder = folder(&[&files[..], &[("flows.jsonl", &*flows)]].concat());
    assert_snapshot!(lictor(folder.path(), &["diff", "old", "new"]).1);
    assert_snapshot!(lictor(folder.path(), &["diff", "old", "new", "--only-observed", "flows.jsonl"]).1);
}

#[test]
fn exposure_says_what_is_open_beyond_the_pods_that_are_there() {
    let folder = folder(&[("deploy/cluster.yaml", CLUSTER), ("deploy/policy.yaml", POLICY)]);
    assert_snapshot!(lictor(folder.path(), &["edges", "-f", "deploy", "--exposure", "--focus", "shop/api"]).1);
    assert_snapshot!(
        lictor(folder.path(), &["edges", "-f", "deploy", "--explain", "--from", "shop/web", "--to", "shop/api"]).1
    );
    let (_, picture) = lictor(folder.path(), &["edges", "-f", "deploy", "-o", "svg"]);
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n") && picture.contains("shop/api"));
}
