//! cert-manager's Certificate in a running lab, its Secret read by somebody else: openssl.

use crate::lab::{Lab, example, soon, soon_within};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The values of a Secret as files, as a volume would have them.
struct Files(tempfile::TempDir);

impl Files {
    fn of(lab: &Lab, secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let document = json(lab, &["secret", secret]);
        for (key, value) in document["data"].as_object().unwrap() {
            let decoded = openssl(&["base64", "-d", "-A"], value.as_str().unwrap().as_bytes());
            fs::write(folder.path().join(key), decoded).unwrap();
        }
        Self(folder)
    }

    fn path(&self, key: &str) -> String {
        self.0.path().join(key).display().to_string()
    }

    fn key(&self) -> String {
        fs::read_to_string(self.path("tls.key")).unwrap()
    }

    /// What openssl says of the certificate.
    fn certificate(&self, words: &[&str]) -> String {
        let path = self.path("tls.crt");
        openssl_text(&[&["x509", "-noout", "-in", &path], words].concat())
    }
}

fn openssl(words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("this needs openssl");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn openssl_text(words: &[&str]) -> String {
    String::from_utf8(openssl(words, b"")).unwrap()
}

fn ask(lab: &Lab, words: &[&str]) -> (bool, String) {
    let output = lab.run(&[&["identity", "certificates"], words].concat());
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn json(lab: &Lab, words: &[&str]) -> serde_json::Value {
    let (found, text) = ask(lab, &[words, &["-o", "json"]].concat());
    assert!(found, "{words:?}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Status and reason of the condition `Ready`, and the revision.
fn ready(lab: &Lab, name: &str) -> (String, String, u64) {
    let status = &json(lab, &["describe", name])["status"];
    let text = |key: &str| status["conditions"][0][key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), status["revision"].as_u64().unwrap())
}

fn is_ready(lab: &Lab, name: &str, revision: u64) -> bool {
    ready(lab, name) == ("True".to_owned(), "Ready".to_owned(), revision)
}

const NAME: &str = "production/workload-cert";
const SECRET: &str = "production/workload-tls";
const ID: &str = "spiffe://cluster.local/ns/production/sa/api-server";

/// The folder of the example, in a place where it can be edited.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for file in ["06-certificate-spiffe.yaml", "kustomization.yaml"] {
        fs::copy(example("certificate").join(file), folder.path().join(file)).unwrap();
    }
    let manifest = folder.path().join("06-certificate-spiffe.yaml");
    (folder, manifest)
}

#[test]
fn the_published_manifest_fills_a_secret_that_openssl_reads() {
    let (folder, manifest) = folder();
    let lab = Lab::up("e2e-cert", &[folder.path()]);
    soon(|| is_ready(&lab, NAME, 1));
    let files = Files::of(&lab, SECRET);
    let (chain, roots, key) = (files.path("tls.crt"), files.path("ca.crt"), files.path("tls.key"));
    assert!(openssl_text(&["verify", "-CAfile", &roots, "-untrusted", &chain, &chain]).ends_with("OK\n"));
    assert!(openssl_text(&["rsa", "-in", &key, "-check", "-noout"]).contains("RSA key ok"));
    assert!(files.key().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert_eq!(openssl_text(&["pkey", "-in", &key, "-pubout"]), files.certificate(&["-pubkey"]));
    let said = files.certificate(&["-ext", "subjectAltName,keyUsage,extendedKeyUsage,basicConstraints"]);
    for part in [
        &format!("X509v3 Subject Alternative Name: critical\n    URI:{ID}\n"),
        "Key Usage: critical\n    Digital Signature, Key Encipherment\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "CA:FALSE",
    ] {
        assert!(said.contains(part), "{said}: {part}");
    }
    openssl(&["x509", "-noout", "-checkend", "3500", "-in", &chain], b"");
    let later = Command::new("openssl").args(["x509", "-noout", "-checkend", "3601", "-in", &chain]).output();
    assert!(!later.unwrap().status.success(), "it lives an hour");

    // An edit has it issued again, and so has the loss of its Secret; each time with another key.
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("duration: 1h", "duration: 2h")).unwrap();
    soon(|| is_ready(&lab, NAME, 2));
    let second = Files::of(&lab, SECRET);
    openssl(&["x509", "-noout", "-checkend", "7100", "-in", &second.path("tls.crt")], b"");
    assert!(ask(&lab, &["delete-secret", SECRET]).0);
    soon(|| is_ready(&lab, NAME, 3));
    let third = Files::of(&lab, SECRET);
    assert!(ask(&lab, &["renew", NAME]).0);
    soon(|| is_ready(&lab, NAME, 4));
    let keys = [files.key(), second.key(), third.key(), Files::of(&lab, SECRET).key()];
    assert!(keys.iter().enumerate().all(|(at, key)| !keys[at + 1..].contains(key)), "a key was used twice");
    let issued = String::from_utf8(lab.run(&["identity", "ca", "issued"]).stdout).unwrap();
    assert_eq!(issued.matches(ID).count(), 4, "{issued}");

    // What is on screen has no key in it.
    let (_, shown) = ask(&lab, &["secret", SECRET]);
    assert!(shown.contains("tls.key") && !shown.contains("LS0t"), "{shown}");
    fs::remove_file(&manifest).unwrap();
    soon(|| {
        ask(&lab, &["secret", SECRET]) == (false, format!("error: there is no Secret {SECRET} of a Certificate\n"))
    });
}

#[test]
fn what_is_of_another_namespace_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("06-certificate-spiffe.yaml");
    fs::copy(example("certificate/06-certificate-spiffe.yaml"), &file).unwrap();
    let others = "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: foreign}\nspec: {secretName: f, \
         issuerRef: {name: letsencrypt}, dnsNames: [a.test]}\n";
    fs::write(folder.path().join("others.yaml"), others).unwrap();
    // Without a namespace it is in `default`, which has no claim to production's identities.
    let lab = Lab::up("e2e-cert-no", &[folder.path()]);
    soon(|| ready(&lab, "workload-cert") == ("False".to_owned(), "URINotAllowed".to_owned(), 0));
    assert_eq!(ready(&lab, "default/foreign").1, "IssuerNotFound");
    let (_, list) = ask(&lab, &["list"]);
    let told = format!(
        "default/workload-cert: {ID} is of namespace production, and the Certificate is in default: put it into production"
    );
    assert!(list.contains(&told), "{list}");
    assert!(!ask(&lab, &["secret", "workload-tls"]).0 && !ask(&lab, &["renew", "workload-cert"]).0);
    let findings = lab.status()["findings"].to_string();
    assert!(findings.contains("LIC1120") && findings.contains("LIC1121"), "{findings}");
    let at = lab.status()["findings"].as_array().unwrap().iter().find(|one| one["code"] == "LIC1120").unwrap().clone();
    assert!(at.to_string().contains("06-certificate-spiffe.yaml") && at.to_string().contains("13"), "{at}");
    let issued = String::from_utf8(lab.run(&["identity", "ca", "issued"]).stdout).unwrap();
    assert!(!issued.contains(ID), "{issued}");
}

#[test]
fn a_certificate_is_renewed_while_time_goes_by_and_its_secret_outlives_the_lab() {
    let (folder, manifest) = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (store, key) = (at("store"), at("key"));
    fs::write(&key, [7; 32]).unwrap();
    // An authority of a minute gives no certificate more, so this one is renewed within that minute.
    let options = ["--svid-ttl", "10s", "--ca-ttl", "60s", "--identity-store", &store, "--identity-key-file", &key];
    let up = |options: &[&str]| {
        Lab::up_with("e2e-cert-time", options, &[Path::new(&manifest), &folder.path().join("kustomization.yaml")])
    };
    let lab = up(&options);
    soon(|| is_ready(&lab, NAME, 1));
    let first = Files::of(&lab, SECRET);
    let took = soon_within(Duration::from_secs(59), || ready(&lab, NAME).2 > 1);
    println!("renewed after {:.1} s", took.as_secs_f64());
    assert!(is_ready(&lab, NAME, 2));
    let second = Files::of(&lab, SECRET);
    assert_ne!(first.key(), second.key());
    drop(lab);
    let lab = up(&options);
    soon(|| ready(&lab, NAME).0 == "True");
    let (_, _, revision) = ready(&lab, NAME);
    assert!(revision >= 2, "{revision}");
    if revision == 2 {
        assert_eq!(Files::of(&lab, SECRET).key(), second.key());
    }
}
