//! `lictor identity` as a client of the Workload API, in a pod of a lab and outside.

use crate::lab::{Lab, echo_pod};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lictor");
const ID: &str = "spiffe://cluster.local/ns/fetch/sa/default";

fn text(output: &Output) -> (i32, String, String) {
    let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), read(&output.stdout), read(&output.stderr))
}

#[test]
fn what_a_pod_has_is_fetched_written_explained_and_validated() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pod.yaml"), echo_pod("fetch", "a", true)).unwrap();
    let lab = Lab::up("e2e-fetch", &[folder.path()]);
    let in_pod = |words: &[&str]| text(&lab.run(&[&["exec", "fetch/a", "--", PROGRAM, "identity"], words].concat()));
    let here = |words: &[&str]| text(&lab.run(&[&["identity"], words].concat()));

    let (code, shown, _) = here(&["show", "fetch/a", "-o", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, shown[0]["id"].as_str(), shown.as_array().unwrap().len()), (0, Some(ID), 1));
    assert_eq!(here(&["show", "nobody"]).0, 2);

    let certs = folder.path().join("certs");
    let (code, svids, said) = in_pod(&["fetch", "x509", "-o", "json", "--write", certs.to_str().unwrap()]);
    let svids: serde_json::Value = serde_json::from_str(&svids).unwrap_or_else(|_| panic!("{svids} {said}"));
    assert_eq!((code, svids[0]["id"].as_str()), (0, Some(ID)));
    assert!(!svids.to_string().contains("PRIVATE"), "a key is never printed");
    let mode = |name: &str| fs::metadata(certs.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("svid.0.pem"), mode("svid.0.key"), mode("bundle.0.pem")), (0o644, 0o600, 0o644));
    let key = fs::read_to_string(certs.join("svid.0.key")).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{}", key.lines().next().unwrap_or_default());
    let pair = rcgen::KeyPair::from_pem(&key).expect("a key that others read");
    drop(pair);

    let path = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let (code, told, _) = here(&["x509", &path("svid.0.pem"), "--bundle", &path("bundle.0.pem")]);
    assert!(code == 0 && told.ends_with(&format!("it proves {ID}\n")), "{told}");
    let (code, told, _) =
        here(&["x509", &path("svid.0.pem"), "--bundle", &path("bundle.0.pem"), "--trust-domain", "x.example"]);
    assert!(code == 1 && told.contains("it proves nothing"), "{told}");
    assert_eq!(here(&["x509", &path("nothing")]).0, 2);

    let (code, token, _) = in_pod(&["fetch", "jwt", "--audience", "shop"]);
    let token = token.trim();
    assert_eq!((code, token.split('.').count()), (0, 3));
    assert_eq!(in_pod(&["validate", token, "--audience", "shop"]).1, format!("it proves {ID}\n"));
    let (code, told, _) = in_pod(&["validate", token, "--audience", "other"]);
    assert!(code == 1 && told.starts_with("it proves nothing: "), "{told}");
    let bundle = folder.path().join("bundle.json");
    fs::write(&bundle, here(&["bundle", "show"]).1).unwrap();
    let bundle = bundle.to_str().unwrap();
    let (code, told, _) = here(&["jwt", token, "--bundle", bundle, "--audience", "shop"]);
    assert!(code == 0 && told.ends_with(&format!("it proves {ID}\n")), "{told}");
    let (code, told, _) = here(&["jwt", token]);
    assert!(code == 0 && told.contains("nothing is said about who signed it"), "{told}");
    assert!(in_pod(&["fetch", "bundle"]).1.starts_with("# spiffe://cluster.local\n-----BEGIN CERTIFICATE-----"));

    // Outside of every pod there is no identity, and without a socket nobody to ask.
    let socket = format!("unix:///run/lictor/{}/workload.sock", lab.0);
    let (code, _, said) = here(&["fetch", "x509", "--socket", &socket]);
    assert!(code == 2 && said.contains("no identity is issued to this process"), "{said}");
    let (code, _, said) = here(&["fetch", "x509"]);
    assert!(code == 2 && said.contains("no Workload API is known here"), "{said}");
    let (code, _, said) = here(&["fetch", "x509", "--socket", "/nowhere.sock"]);
    assert!(code == 2 && said.contains("nobody serves the Workload API at /nowhere.sock"), "{said}");
}

#[test]
fn what_is_watched_comes_with_each_renewal() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pod.yaml"), echo_pod("fetch", "a", true)).unwrap();
    let lab = Lab::up_with("e2e-watch", &["--svid-ttl", "10s"], &[folder.path()]);
    let script = format!("timeout 12 {PROGRAM} identity watch | grep -c {ID}");
    let (_, count, _) = text(&lab.run(&["exec", "fetch/a", "--", "sh", "-c", &script]));
    assert!((2..=8).contains(&count.trim().parse::<u32>().unwrap()), "{count}");
}
