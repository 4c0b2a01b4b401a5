//! A lab whose authorities are signed by a CA in files, as cert-manager puts and renews them.

use crate::authorities::{pods, show};
use crate::lab::{Lab, soon_within};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A CA without a SPIFFE ID.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
}

fn authority(name: &str, above: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    let (certificate, text) = (certificate.unwrap().pem(), key.serialize_pem());
    Authority { issuer: Issuer::new(params, key), certificate, key: text }
}

/// Root and intermediate as files named like cert-manager's keys in a Secret.
fn write(folder: &Path, root: &Authority, middle: &Authority) {
    for (name, text) in [("ca.crt", &root.certificate), ("tls.crt", &middle.certificate), ("tls.key", &middle.key)] {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
fn a_renewed_upstream_is_taken_up_while_pods_speak() {
    let (folder, files) = (pods("nested"), tempfile::tempdir().unwrap());
    let at = |name: &str| files.path().join(name).display().to_string();
    let (certificate, key, roots) = (at("tls.crt"), at("tls.key"), at("ca.crt"));
    let options = ["--upstream-cert", &certificate, "--upstream-key", &key, "--upstream-roots", &roots];
    let (root, other) = (authority("root", None), authority("other root", None));
    let middle = authority("middle", Some(&root));

    fs::write(&certificate, &middle.certificate).unwrap();
    fs::write(&key, &other.key).unwrap();
    fs::write(&roots, &root.certificate).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
    let refused = command.args(["up", "--detach", "--lab", "e2e-nested"]).args(options).arg(folder.path());
    let refused = String::from_utf8(refused.output().unwrap().stderr).unwrap();
    let why = format!("{key}: expected the key of the first certificate, saw another one");
    assert!(refused.contains(&why), "{refused}");

    write(files.path(), &root, &middle);
    let lab = Lab::up_with(
        "e2e-nested",
        &[&options[..], &["--svid-ttl", "10s", "--ca-ttl", "60s"]].concat(),
        &[folder.path()],
    );
    let server = lab.address("nested/server");
    assert!(lab.reaches("nested/client", &server, 7000));
    assert_eq!(show(&lab)["bundleSequence"], 1);

    // The key comes first, and does not fit until the certificate follows; then all of it is under another root.
    let renewed = authority("renewed", Some(&other));
    fs::write(&key, &renewed.key).unwrap();
    soon_within(Duration::from_secs(25), || show(&lab)["faults"][0].as_str().is_some_and(|fault| fault.contains(&why)));
    assert!(lab.reaches("nested/client", &server, 7000), "what was read before goes on");
    write(files.path(), &other, &renewed);
    soon_within(Duration::from_secs(25), || show(&lab)["bundleSequence"].as_u64() > Some(1));
    assert_eq!(show(&lab)["faults"], serde_json::Value::Null);
    let activated = lab.run(&["identity", "ca", "activate"]);
    assert!(activated.status.success());
    for _ in 0..12 {
        assert!(lab.reaches("nested/client", &server, 7000), "through a renewal of every SVID");
        std::thread::sleep(Duration::from_millis(500));
    }
    let tainted = lab.run(&["identity", "ca", "taint"]);
    let said = String::from_utf8_lossy(&tainted.stderr).into_owned();
    assert!(said.contains("are signed by an upstream; replace the upstream's files instead"), "{said}");
}
