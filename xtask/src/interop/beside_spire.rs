//! The other way round: a lab whose identities come from a real SPIRE.

use super::Peer;
use super::build::{self, Programs, Recipe};
use super::checks::Checks;
use super::client::names;
use super::lab::{Lab, id, refusal, said, within};
use super::spire_server::{FEDERATED, Spire};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(super) const PEER: Peer = Peer {
    name: "spire-server",
    version: "v1.10.4",
    recipe: Recipe { folder: "spire", programs: &["spire-agent", "spire-server"], make: build::go },
    run,
};

/// How long SPIRE's SVIDs live; its agent renews them at half of that, and looks for changes every five seconds.
const LIFE: u64 = 24;

/// Only the client may speak to the server, by the identity that SPIRE gives it.
const POLICY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
    metadata: {name: client-only, namespace: interop}\nspec:\n  selector: {matchLabels: {app: server}}\n  \
    action: ALLOW\n  rules: [{from: [{source: {principals: [interop.test/ns/interop/sa/client]}}]}]\n---\n";

fn run(programs: &Programs, checks: &mut Checks) -> Result<()> {
    let mut spire = Spire::start(programs)?;
    spire.federate()?;
    spire.register("client", LIFE)?;
    let server = spire.register("server", LIFE)?;
    let lab = Lab::up_with("interop-beside", &["--workload-api", &format!("unix:{}", spire.socket())], POLICY)?;
    let beside = Beside { lab: &lab, agent: &programs.path("spire-agent") };

    checks.check("source: SPIRE's entries are offered, the pod without one is named as missing", beside.offered());
    checks.check(
        "proxy: a pod reaches another one with SPIRE's SVIDs, and a policy knows it by its SPIFFE ID",
        beside.passes(),
    );
    checks.check("proxy: a pod without an entry reaches nobody", beside.stranger_is_refused());
    checks.check("Workload API: the pod's SVID is verified by SPIRE's own bundle", beside.svid(&spire).map(drop));
    checks.check("Workload API: a token of SPIRE is valid, for its audience only", beside.token(&spire));
    checks.check("proxy: connections go on while SPIRE renews the SVIDs", beside.renewal(&spire));
    spire.register("stranger", LIFE)?;
    checks.check("source: a new entry arrives by itself, and policies judge it", beside.new_entry());
    checks.check(
        "source: the trust domain that SPIRE federates with is believed until SPIRE ends it",
        beside.federated(&spire),
    );
    spire.stop_agent();
    checks.check("proxy: connections go on while the agent is away, and the source says so", beside.away());
    spire.start_agent(None)?;
    checks.check("source: it follows the agent that comes back, and gets the next SVID", beside.back(&spire));
    spire.unregister(&server)?;
    checks.check("source: what SPIRE takes back is given up: the server accepts nobody", beside.taken_back());
    Ok(())
}

struct Beside<'a> {
    lab: &'a Lab,
    agent: &'a Path,
}

impl Beside<'_> {
    fn source(&self) -> Result<Value> {
        let output = self.lab.lictor(&["identity", "source", "-o", "json"]).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn offered(&self) -> Result<()> {
        let source = self.source()?;
        let wanted = serde_json::json!([id("client"), id("server")]);
        ensure!(source["offered"] == wanted, "expected {wanted}, seen {source}");
        let missing = source["missing"].as_array().context("no list")?;
        ensure!(missing.contains(&Value::from(id("stranger"))), "expected the stranger to be missing, seen {source}");
        Ok(())
    }

    fn answer(&self, from: &str, to: &str) -> Result<String> {
        self.lab.ask(from, &self.lab.address(to)?, 7000)
    }

    fn reaches(&self, from: &str, to: &str) -> Result<bool> {
        Ok(self.answer(from, to)?.contains(&format!("interop/{to}")))
    }

    fn passes(&self) -> Result<()> {
        let answer = self.answer("client", "server")?;
        ensure!(answer.contains("interop/server"), "expected the server's answer, seen `{answer}`");
        // What the destination's proxy saw: the identity that the certificate proves. Its record may come after the answer.
        let recorded = || Ok(said(&mut self.lab.lictor(&["flows", "-o", "json"]))?.contains(&id("client")));
        within(5, recorded).context("no record names the client")
    }

    fn stranger_is_refused(&self) -> Result<()> {
        ensure!(!self.reaches("stranger", "server")?, "the stranger reached the server");
        ensure!(!self.reaches("client", "stranger")?, "the stranger accepted the client");
        Ok(())
    }

    /// The client's SVID, as its pod gets it, verified by openssl; returns its serial number.
    fn svid(&self, spire: &Spire) -> Result<String> {
        let folder = self.lab.folder().join("fetched");
        std::fs::create_dir_all(&folder)?;
        let words =
            ["api", "fetch", "x509", "-socketPath", &self.lab.socket(), "-write", &folder.display().to_string()];
        names(&said(&mut self.lab.exec("client", self.agent, &words))?, &["received 1 svid", &id("client")])?;
        let (leaf, roots) = (folder.join("svid.0.pem"), folder.join("spire.pem"));
        std::fs::write(&roots, spire.bundle()?)?;
        said(Command::new("openssl").args(["verify", "-CAfile"]).arg(&roots).arg("-untrusted").arg(&leaf).arg(&leaf))?;
        said(Command::new("openssl").args(["x509", "-noout", "-serial", "-in"]).arg(&leaf))
    }

    fn token(&self, spire: &Spire) -> Result<()> {
        let token = spire.token(&id("server"), "an-audience")?;
        let validate = |audience: &str| {
            let socket = self.lab.socket();
            let words = ["api", "validate", "jwt", "-socketPath", &socket, "-audience", audience, "-svid", &token];
            self.lab.exec("client", self.agent, &words)
        };
        // The agent has the server's key for tokens after its next look, which is every five seconds.
        within(20, || Ok(said(&mut validate("an-audience")).is_ok()))?;
        names(&said(&mut validate("an-audience"))?, &["svid is valid", &id("server")])?;
        names(&refusal(&mut validate("another"))?, &["audience"])
    }

    fn federated(&self, spire: &Spire) -> Result<()> {
        let shown = |words: &[&str]| self.lab.lictor(&[&["identity", "bundle", "show", FEDERATED], words].concat());
        let seen = said(&mut shown(&["--form", "pem"]))?;
        ensure!(seen.trim() == spire.federated_bundle()?.trim(), "expected SPIRE's bundle of {FEDERATED}, seen {seen}");
        spire.end_federation()?;
        within(20, || Ok(!shown(&[]).output()?.status.success()))?;
        names(&refusal(&mut shown(&[]))?, &["nothing is believed about", FEDERATED])
    }

    fn renewal(&self, spire: &Spire) -> Result<()> {
        let before = self.svid(spire)?;
        for made in 0..LIFE {
            ensure!(self.reaches("client", "server")?, "connection {made} failed");
            std::thread::sleep(Duration::from_secs(1));
        }
        let after = self.svid(spire)?;
        ensure!(before != after, "the SVID is the same after its whole life: {before}");
        Ok(())
    }

    fn new_entry(&self) -> Result<()> {
        within(30, || Ok(self.source()?["offered"].as_array().is_some_and(|offered| offered.len() == 3)))?;
        within(10, || self.reaches("client", "stranger"))?;
        ensure!(!self.reaches("stranger", "server")?, "the policy lets the client only");
        Ok(())
    }

    fn away(&self) -> Result<()> {
        within(10, || Ok(self.source()?["faults"].as_array().is_some_and(|faults| !faults.is_empty())))?;
        ensure!(self.reaches("client", "server")?, "the connection failed although the SVIDs are valid");
        Ok(())
    }

    fn back(&self, spire: &Spire) -> Result<()> {
        within(45, || Ok(self.source()?["faults"].is_null()))?;
        self.renewal(spire)
    }

    fn taken_back(&self) -> Result<()> {
        within(30, || Ok(!self.reaches("client", "server")?))?;
        let source = self.source()?;
        let missing = source["missing"].as_array().is_some_and(|missing| missing.contains(&Value::from(id("server"))));
        ensure!(missing, "expected the server to be missing, seen {source}");
        ensure!(self.reaches("client", "stranger")?, "the other pods go on");
        Ok(())
    }
}
