//! A lab whose identities come from another Workload API.

use crate::agent::Agent;
use crate::federation::{entries, pod};
use crate::lab::{Lab, soon};
use crate::workload_client;
use std::fs;
use std::process::Command;

const WEB: &str = "spiffe://given.example/ns/shop/sa/web";
const SERVER: &str = "spiffe://given.example/ns/shop/sa/server";
const SIDE: &str = "spiffe://given.example/ns/shop/sa/side";

/// Only `web` may speak to `server`; then what has no meaning beside another Workload API.
const OBJECTS: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-web, namespace: shop}
spec: {selector: {matchLabels: {app: server}}, rules: [{from: [{source: {principals: [given.example/ns/shop/sa/web]}}]}]}
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterFederatedTrustDomain
metadata: {name: other}
spec:
  trustDomain: other.example
  bundleEndpointURL: https://127.0.0.1:1/
  bundleEndpointProfile: {type: https_web}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: workload, namespace: shop}
spec: {secretName: workload, uris: ['spiffe://given.example/ns/shop/sa/web'], issuerRef: {name: spiffe-issuer, kind: ClusterIssuer}}
";

/// What `lictor identity source` says, each list in order.
fn source(lab: &Lab) -> (Vec<String>, Vec<String>) {
    let shown = lab.run(&["identity", "source", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let list = |key: &str| shown[key].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    (list("offered"), list("missing"))
}

/// That a command is refused, and says why.
fn refused(lab: &Lab, words: &[&str], why: &str) {
    let output = lab.run(words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains(why), "{words:?}: {said}");
}

#[test]
fn pods_prove_themselves_by_the_svids_of_another_workload_api() {
    let folder = tempfile::tempdir().unwrap();
    let limited = entries("other.example")
        .replace("  federatesWith", "  ttl: 10m\n  dnsNameTemplates: [x.test]\n  federatesWith");
    let text = ["web", "server", "side"].map(pod).concat() + &limited + OBJECTS;
    fs::write(folder.path().join("m.yaml"), text).unwrap();
    let agent = Agent::start(&[SERVER, WEB]);
    let options = ["--trust-domain", "given.example", "--workload-api", &agent.endpoint()];
    let lab = Lab::up_with("e2e-source", &options, &[folder.path()]);
    let server = lab.address("shop/server");
    let reaches = |from: &str| lab.reaches(from, &server, 7000);
    soon(|| reaches("shop/web"));
    let (offered, missing) = source(&lab);
    assert_eq!(offered, [SERVER, WEB]);
    assert!(missing.contains(&SIDE.to_owned()), "{missing:?}");
    assert!(!reaches("shop/side"), "it has no SVID");
    assert_eq!(workload_client::ids(&lab, "shop/web", "true"), [WEB]);

    // What is the other side's business is said, and refused to whoever asks for it here.
    let findings = lab.status()["findings"].as_array().unwrap().clone();
    for (code, why) in [
        ("LIC1115", "says whom to believe here; have it federate with other.example"),
        ("LIC1116", "ClusterSPIFFEID all has its SVIDs live 600 s at most"),
        ("LIC1116", "ClusterSPIFFEID all has its SVIDs have DNS names"),
        ("LIC1120", "there are none here: the identities come from somebody else"),
    ] {
        let said = |finding: &serde_json::Value| finding["message"].as_str().is_some_and(|text| text.contains(why));
        assert!(findings.iter().any(|finding| finding["code"] == code && said(finding)), "{code}: {findings:#?}");
    }
    let bundles = String::from_utf8(lab.run(&["identity", "bundle", "list", "-o", "json"]).stdout).unwrap();
    assert!(bundles.contains("other.example"), "{bundles}");
    let relations = String::from_utf8(lab.run(&["identity", "federation", "list"]).stdout).unwrap();
    assert!(!relations.contains("other.example"), "no relation, and none is missing: {relations}");
    let pem = folder.path().join("other.json");
    fs::write(&pem, lab.run(&["identity", "bundle", "show", "other.example"]).stdout).unwrap();
    let file = pem.display().to_string();
    refused(&lab, &["identity", "bundle", "set", "other.example", &file], "says whom to believe here");
    refused(&lab, &["identity", "bundle", "delete", "other.example"], "says whom to believe here");
    refused(&lab, &["identity", "ca", "show"], "its identities come from another Workload API");
    refused(&lab, &["identity", "certificates", "list"], "no Certificate is served");

    // What the other side gives and takes, it gives and takes here.
    agent.offer(&[SERVER, WEB, SIDE]);
    soon(|| source(&lab).0.len() == 3);
    assert!(!reaches("shop/side"), "the policy knows it by its identity");
    agent.offer(&[WEB]);
    soon(|| source(&lab).1.contains(&SERVER.to_owned()));
    assert!(!reaches("shop/web"), "the server proves nothing any more");
}

/// `lictor up` beside another Workload API, with more words.
fn up(endpoint: &str, words: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.yaml"), pod("web")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
    command.args(["up", "--lab", "e2e-source-no", "--detach", "--workload-api", endpoint]).args(words);
    let output = command.arg(folder.path()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_own_authorities_and_federation_are_told_is_refused_beside_another_workload_api() {
    for words in [
        &["--svid-ttl", "1h"][..],
        &["--ca-ttl", "720h"],
        &["--upstream-cert", "/c", "--upstream-key", "/k"],
        &["--identity-store", "/s", "--identity-key-file", "/k"],
        &["--ca-pkcs11-module", "/m", "--ca-pkcs11-token", "t", "--ca-pkcs11-pin-file", "/p"],
        &["--certificate-issuer", "own"],
        &["--federate-with", "other.example=https://other.example/,profile=https_web"],
        &["--web-roots", "/r"],
        &["--bundle-endpoint", "127.0.0.1:1"],
        &["--jwt-issuer", "https://issuer.example"],
    ] {
        let (code, said) = up("unix:/agent.sock", words);
        let why = format!("{} <", words[0]);
        assert!(code == Some(2) && said.contains("cannot be used with") && said.contains(&why), "{words:?}: {said}");
    }
    let (code, said) = up("tcp://127.0.0.1:8000", &[]);
    assert!(code == Some(2) && said.contains("expected unix: and the absolute path"), "{said}");
}

#[test]
fn without_a_state_of_the_other_workload_api_nothing_starts() {
    let (code, said) = up("unix:/run/lictor-no-such-agent.sock", &[]);
    let why = "the Workload API at unix:/run/lictor-no-such-agent.sock gives no SVID: X.509-SVIDs: ";
    assert!(code == Some(2) && said.contains(why), "{said}");
    // What it had made before it asked.
    let down = Command::new(env!("CARGO_BIN_EXE_lictor")).args(["down", "--lab", "e2e-source-no"]).output().unwrap();
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
}
