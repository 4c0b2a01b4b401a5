//! go-spiffe fetches the bundle of a lab, by both profiles of a bundle endpoint.
//!
//! Source: SPIFFE Federation, section 5.

use super::checks::Checks;
use super::client::{lines, names};
use super::lab::{Lab, TRUST_DOMAIN, refusal, said};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The endpoint by https_spiffe, then the one by https_web; on loopback.
const ADDRESSES: [&str; 2] = ["127.0.0.1:18443", "127.0.0.1:18444"];

/// Both profiles, each with a lab of its own.
pub(super) fn check(program: &Path, checks: &mut Checks) -> Result<()> {
    by_spiffe(program, checks)?;
    by_web(program, checks)
}

fn by_spiffe(program: &Path, checks: &mut Checks) -> Result<()> {
    let lab = Lab::up_with("interop-fed", &["--bundle-endpoint", ADDRESSES[0]], "")?;
    let file = write(lab.folder().join("known.json"), &said(&mut lab.lictor(&["identity", "bundle", "show"]))?)?;
    let url = format!("https://{}/", ADDRESSES[0]);
    let fetch = |endpoint: &str| {
        let mut command = Command::new(program);
        command.args(["bundle", "spiffe", TRUST_DOMAIN, &url, &format!("spiffe://{TRUST_DOMAIN}/{endpoint}"), &file]);
        command
    };
    let grows = || {
        let before = bundle(&mut fetch("lictor/bundle-endpoint"))?;
        said(&mut lab.lictor(&["identity", "ca", "prepare"]))?;
        let after = bundle(&mut fetch("lictor/bundle-endpoint"))?;
        ensure!(authorities(&after)? == authorities(&before)? + 1, "expected one more, seen {before}, then {after}");
        let sequence = |seen: &Value| seen["sequence"].as_u64().with_context(|| format!("no sequence in {seen}"));
        ensure!(sequence(&after)? > sequence(&before)?, "expected a larger sequence, seen {before}, then {after}");
        ensure!(after["jwt_authorities"].as_u64() > Some(0), "expected keys for tokens, seen {after}");
        ensure!(after["refresh_hint"].as_f64() > Some(0.0), "expected a refresh hint, seen {after}");
        Ok(())
    };
    checks.check("federation by https_spiffe: the bundle, and the next one when an authority is prepared", grows());
    let other = || names(&refusal(&mut fetch("somebody/else"))?, &["unexpected ID"]);
    checks.check("federation by https_spiffe: an endpoint of another SPIFFE ID is refused", other());
    Ok(())
}

fn by_web(program: &Path, checks: &mut Checks) -> Result<()> {
    // In a folder of its own: that of a lab is emptied when it comes up.
    let folder = super::build::cache()?.join("web");
    fs::create_dir_all(&folder)?;
    let file = |name: &str| folder.join(name).display().to_string();
    for name in ["endpoint", "other"] {
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        let words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let names = ["-subj", "/CN=bundle-endpoint", "-addext", "subjectAltName=IP:127.0.0.1"];
        said(Command::new("openssl").args(words).args(names).args(["-keyout", &key, "-out", &certificate]))?;
    }
    let (certificate, key) = (file("endpoint.pem"), file("endpoint.key"));
    let endpoint = format!("{},profile=https_web,certificate={certificate},key={key}", ADDRESSES[1]);
    let lab = Lab::up_with("interop-web", &["--bundle-endpoint", &endpoint], "")?;
    let url = format!("https://{}/", ADDRESSES[1]);
    let fetch = |roots: &str| {
        let mut command = Command::new(program);
        command.args(["bundle", "web", TRUST_DOMAIN, &url, roots]);
        command
    };
    let whole = || {
        let seen = bundle(&mut fetch(&certificate))?;
        let own: Value = serde_json::from_str(&said(&mut lab.lictor(&["identity", "bundle", "show"]))?)?;
        let keys = own["keys"].as_array().context("no keys")?;
        let count = |usage: &str| keys.iter().filter(|key| key["use"] == usage).count() as u64;
        ensure!(authorities(&seen)? == count("x509-svid"), "expected the authorities of {own}, seen {seen}");
        ensure!(seen["jwt_authorities"] == count("jwt-svid"), "expected the keys of {own}, seen {seen}");
        Ok(())
    };
    checks.check("federation by https_web: the bundle that the lab shows", whole());
    let other = || names(&refusal(&mut fetch(&file("other.pem")))?, &["unknown authority"]);
    checks.check("federation by https_web: an endpoint under another root is refused", other());
    Ok(())
}

fn bundle(command: &mut Command) -> Result<Value> {
    let seen = lines(&said(command)?)?.into_iter().next().context("nothing was printed")?;
    ensure!(seen["trust_domain"] == TRUST_DOMAIN, "expected {TRUST_DOMAIN}, seen {seen}");
    Ok(seen)
}

fn authorities(seen: &Value) -> Result<u64> {
    seen["x509_authorities"].as_u64().with_context(|| format!("no authorities in {seen}"))
}

fn write(path: PathBuf, text: &str) -> Result<String> {
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path.display().to_string())
}
