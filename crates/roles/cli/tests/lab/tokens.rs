//! A lab whose authorities' keys are in a token: SoftHSM, as Debian has it.

use crate::lab::{Lab, example, soon};
use std::fs;
use std::path::Path;
use std::process::Command;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The private keys in the token, as another program sees them.
fn keys(config: &Path) -> usize {
    let mut command = Command::new("pkcs11-tool");
    command.args(["--module", MODULE, "--token-label", "lictor", "--login", "--pin", "654321", "--list-objects"]);
    let output = command.env("SOFTHSM2_CONF", config).output().expect("this needs opensc");
    String::from_utf8_lossy(&output.stdout).matches("Private Key Object; EC").count()
}

#[test]
fn a_token_holds_the_keys_of_the_authorities_and_a_lab_that_starts_again_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = folder.path().join("softhsm2.conf");
    fs::create_dir(at("tokens")).unwrap();
    fs::write(&config, format!("directories.tokendir = {}\nobjectstore.backend = file\n", at("tokens"))).unwrap();
    let words = ["--init-token", "--free", "--label", "lictor", "--so-pin", "123456", "--pin", "654321"];
    let made = Command::new("softhsm2-util").args(words).env("SOFTHSM2_CONF", &config).output();
    assert!(made.expect("this needs softhsm2").status.success());
    fs::write(at("pin"), "654321\n").unwrap();
    fs::write(at("key"), [7; 32]).unwrap();
    let up = || {
        let lab = Lab("e2e-token");
        let options = [
            ["--ca-pkcs11-module", MODULE],
            ["--ca-pkcs11-token", "lictor"],
            ["--ca-pkcs11-pin-file", &at("pin")],
            ["--identity-store", &at("store")],
            ["--identity-key-file", &at("key")],
        ];
        let mut command = lab.command(&["up", "--detach"]);
        let output = command.args(options.concat()).arg(example("certificate")).env("SOFTHSM2_CONF", &config).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        lab
    };
    let text = |lab: &Lab, words: &[&str]| String::from_utf8(lab.run(words).stdout).unwrap();
    let ready = |lab: &Lab| text(lab, &["identity", "certificates", "list"]).contains("True");
    let lab = up();
    soon(|| ready(&lab));
    assert_eq!(keys(&config), 2, "one for certificates, one for tokens");
    for step in ["prepare", "activate", "taint"] {
        assert!(lab.run(&["identity", "ca", step]).status.success(), "{step}");
    }
    assert_eq!(keys(&config), 3);
    soon(|| lab.run(&["identity", "ca", "revoke"]).status.success());
    assert_eq!(keys(&config), 2, "what is believed no more is deleted");
    let active = |lab: &Lab| {
        let shown = text(lab, &["identity", "ca", "show"]);
        let active = shown.lines().filter(|line| line.contains("active"));
        active.map(|line| line.split_whitespace().nth(2).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let before = active(&lab);
    drop(lab);
    let lab = up();
    assert_eq!((active(&lab), keys(&config)), (before, 2));
    soon(|| ready(&lab));
}
