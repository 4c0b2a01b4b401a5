//! The SPIFFE Broker API, asked by the bindings of the Rust crate `spiffe` from a pod that is a broker.

use super::build::cache;
use super::checks::Checks;
use super::client::{distinct, lines, names};
use super::lab::{Lab, SVID_SECONDS, TRUST_DOMAIN, id, refusal, said};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

const LAB: &str = "interop-broker";

/// The pod of this name is the broker; the two others are not.
const BROKER: &str = "client";

/// The broker's socket, as the pod's environment says, is passed on to those that it does not tell.
pub(super) fn check(program: &Path, checks: &mut Checks) -> Result<()> {
    let socket = cache()?.join("labs").join(LAB).join("broker/broker.sock");
    let socket = socket.to_str().context("a path in UTF-8")?;
    let broker = format!("{},type_url=*", id(BROKER));
    let lifetime = format!("{SVID_SECONDS}s");
    let options = ["--svid-ttl", &lifetime, "--broker", &broker, "--broker-socket-path", socket];
    let lab = Lab::up_with(LAB, &options, "")?;
    let ask = |words: &[&str]| lab.exec(BROKER, program, &[&["broker", &endpoint()], words].concat());
    let server = "pod:interop/server";

    checks.check("broker: another pod's SVID by its object, a chain that verifies, three leaves in turn", {
        told(&mut ask(&["x509", "3", server]), "server").and_then(|states| distinct(&states, "serial", 3))
    });
    checks.check("broker: the pod's bundles of both kinds", bundles(&mut ask(&["bundles", server])));
    checks.check("broker: a token of the pod, verified against its JWT bundles", {
        told(&mut ask(&["jwt", "an-audience", server]), "server").and_then(|lines| {
            ensure!(lines.iter().all(|line| line["audience"] == serde_json::json!(["an-audience"])), "seen {lines:?}");
            Ok(())
        })
    });
    let refused = |words: &[&str], expected: &[&str]| names(&refusal(&mut ask(words))?, expected);
    checks.check("broker: a pod that is not there is not found", {
        refused(&["x509", "1", "pod:interop/nobody"], &["NotFound", "WORKLOAD_NOT_FOUND"])
    });
    checks.check("broker: a process number of the pod's own counting is no reference", {
        refused(&["x509", "1", "pid:1"], &["InvalidArgument", "WORKLOAD_REFERENCE_INVALID"])
    });
    checks.check("broker: a pod that is no broker is refused", {
        let script = format!("SPIFFE_BROKER_SOCKET=unix://{socket} exec \"$@\"");
        let words = ["-c", &script, "--", program.to_str().context("a path in UTF-8")?, "broker", &endpoint()];
        let words = [&words[..], &["x509", "1", server]].concat();
        let mut stranger = lab.exec("stranger", Path::new("sh"), &words);
        refusal(&mut stranger).and_then(|text| names(&text, &["PermissionDenied", "no broker", "no reason"]))
    });
    checks.check("broker: an endpoint of another SPIFFE ID is refused by the client", {
        let mut other = lab.exec(BROKER, program, &["broker", &id("server"), "x509", "1", server]);
        refusal(&mut other).map(drop)
    });
    Ok(())
}

fn endpoint() -> String {
    format!("spiffe://{TRUST_DOMAIN}/lictor/broker-endpoint")
}

/// What is told, all of it about one pod.
fn told(command: &mut Command, pod: &str) -> Result<Vec<serde_json::Value>> {
    let lines = lines(&said(command)?)?;
    let own = id(pod);
    let right = |line: &serde_json::Value| line["id"] == own.as_str() && line["named"] == own.as_str();
    ensure!(lines.iter().all(right), "expected {own}, seen {lines:?}");
    Ok(lines)
}

fn bundles(command: &mut Command) -> Result<()> {
    let lines = lines(&said(command)?)?;
    let own = format!("spiffe://{TRUST_DOMAIN}");
    let count = |kind: &str| lines.first().and_then(|line| line[kind][&own].as_u64()).unwrap_or_default();
    ensure!(count("x509") > 0 && count("jwt") > 0, "expected authorities of {own} in both, seen {lines:?}");
    Ok(())
}
