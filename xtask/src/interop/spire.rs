//! SPIRE's own command line, as a client of our Workload API.

use super::Peer;
use super::build::{self, Programs, Recipe};
use super::checks::Checks;
use super::client::names;
use super::lab::{Lab, SVID_SECONDS, TRUST_DOMAIN, id, refusal, said};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

pub(super) const PEER: Peer = Peer {
    name: "spire-agent",
    version: "v1.10.4",
    recipe: Recipe { folder: "spire", programs: &["spire-agent", "spire-server"], make: build::go },
    run,
};

fn run(programs: &Programs, checks: &mut Checks) -> Result<()> {
    let lab = Lab::up("interop-spire")?;
    let agent = programs.path("spire-agent");
    let api = Api { lab: &lab, agent: &agent };
    checks.check("fetch x509: the pod's SPIFFE ID, and files whose chain and key openssl verifies", api.x509());
    checks.check("fetch x509: a process outside of every pod is refused", api.outside());
    checks.check("watch: another SVID in time, at about half of the life", api.watch());
    checks.check("fetch jwt: the token, and the trust domain's keys beside it", api.jwt());
    let token = api.token()?;
    checks.check("validate jwt: valid, of the pod's SPIFFE ID", api.validate(&token));
    let other = || {
        names(&refusal(&mut api.call(&["validate", "jwt", "-audience", "another", "-svid", &token]))?, &["audience"])
    };
    checks.check("validate jwt: another audience is refused", other());
    let cut = token.get(..token.len() - 4).context("the token is short")?;
    let forged = || refusal(&mut api.call(&["validate", "jwt", "-audience", "an-audience", "-svid", cut])).map(drop);
    checks.check("validate jwt: a signature that is cut is refused", forged());
    Ok(())
}

struct Api<'a> {
    lab: &'a Lab,
    agent: &'a Path,
}

impl Api<'_> {
    /// `spire-agent api ...` in the client's pod.
    fn call(&self, words: &[&str]) -> Command {
        let (verb, rest) = words.split_first().unwrap_or((&"fetch", &[]));
        let noun = usize::from(*verb != "watch").min(rest.len());
        let mut command = self.lab.exec("client", self.agent, &["api", verb]);
        command.args(&rest[..noun]).args(["-socketPath", &self.lab.socket()]).args(&rest[noun..]);
        command
    }

    fn x509(&self) -> Result<()> {
        let folder = self.lab.folder().join("fetched");
        std::fs::create_dir_all(&folder)?;
        let write = folder.display().to_string();
        let shown = said(&mut self.call(&["fetch", "x509", "-write", &write]))?;
        names(&shown, &["received 1 svid", &id("client")])?;
        let file = |name: &str| folder.join(name).display().to_string();
        let (leaf, key, bundle) = (file("svid.0.pem"), file("svid.0.key"), file("bundle.0.pem"));
        let openssl = |words: &[&str]| said(Command::new("openssl").args(words));
        openssl(&["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", &bundle, "-untrusted", &leaf, &leaf])?;
        names(
            &openssl(&["x509", "-in", &leaf, "-noout", "-ext", "subjectAltName"])?,
            &[&format!("URI:{}", id("client"))],
        )?;
        let of_leaf = openssl(&["x509", "-in", &leaf, "-noout", "-pubkey"])?;
        let of_key = openssl(&["pkey", "-in", &key, "-pubout"])?;
        ensure!(of_leaf == of_key, "the key is another one's: {of_key} for {of_leaf}");
        Ok(())
    }

    fn outside(&self) -> Result<()> {
        let mut command = Command::new(self.agent);
        let refused = refusal(command.args(["api", "fetch", "x509", "-socketPath", &self.lab.socket()]))?;
        names(&refused, &["no identity issued"])
    }

    fn watch(&self) -> Result<()> {
        let seconds = (SVID_SECONDS * 3 / 2).to_string();
        let mut watch = self.lab.lictor(&["exec", "interop/client", "--", "timeout", &seconds]);
        watch.arg(self.agent).args(["api", "watch", "-socketPath", &self.lab.socket()]);
        // It goes on until it is ended, so its status says nothing.
        let output = watch.output()?;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        names(&shown, &[&id("client")])?;
        let ends: BTreeSet<&str> = shown.lines().filter(|line| line.contains("Valid Until")).collect();
        ensure!(ends.len() >= 3, "expected three SVIDs in {seconds} s, seen {} in: {shown}", ends.len());
        Ok(())
    }

    /// The answers of `fetch jwt`: the tokens, then the bundles.
    fn fetch_jwt(&self) -> Result<Value> {
        let output = self.call(&["fetch", "jwt", "-audience", "an-audience", "-output", "json"]).output()?;
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn jwt(&self) -> Result<()> {
        let answer = self.fetch_jwt()?;
        let svid = &answer[0]["svids"][0];
        ensure!(svid["spiffe_id"] == id("client").as_str(), "expected {}, seen {svid}", id("client"));
        let bundles = answer[1]["bundles"].as_object().context("no bundles")?;
        let domain = format!("spiffe://{TRUST_DOMAIN}");
        ensure!(bundles.keys().eq([&domain]), "expected the bundle of {domain}, seen {:?}", bundles.keys());
        Ok(())
    }

    fn token(&self) -> Result<String> {
        Ok(self.fetch_jwt()?[0]["svids"][0]["svid"].as_str().context("no token")?.to_owned())
    }

    fn validate(&self, token: &str) -> Result<()> {
        let shown = said(&mut self.call(&["validate", "jwt", "-audience", "an-audience", "-svid", token]))?;
        names(&shown, &["svid is valid", &id("client")])
    }
}
