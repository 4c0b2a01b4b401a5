//! A SPIRE server and agent of this machine, for as long as they are needed.

use super::build::Programs;
use super::lab::{Running, TRUST_DOMAIN, id, said, within};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where the server listens, on loopback.
const PORT: u16 = 18_081;

/// A trust domain that the server federates with, and each of its entries.
pub(super) const FEDERATED: &str = "other.test";

/// A server with an agent; both end when it is dropped.
pub(crate) struct Spire {
    folder: PathBuf,
    server_program: PathBuf,
    agent_program: PathBuf,
    agent: Option<Running>,
    _server: Running,
}

impl Spire {
    /// Starts both; the agent joins by a token.
    pub(super) fn start(programs: &Programs) -> Result<Self> {
        // Not below the project: the path of a unix socket has 107 bytes at most.
        let folder = std::env::temp_dir().join(format!("lictor-spire-{}", std::process::id()));
        fs::create_dir_all(folder.join("agent-keys"))?;
        let place = folder.display();
        let server = format!(
            "server {{\n bind_address = \"127.0.0.1\"\n bind_port = \"{PORT}\"\n socket_path = \"{place}/server.sock\"\n \
             trust_domain = \"{TRUST_DOMAIN}\"\n data_dir = \"{place}/server\"\n log_level = \"INFO\"\n}}\nplugins {{\n \
             DataStore \"sql\" {{ plugin_data {{ database_type = \"sqlite3\" connection_string = \"{place}/server.db\" }} }}\n \
             KeyManager \"memory\" {{ plugin_data {{}} }}\n NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n}}\n"
        );
        let agent = format!(
            "agent {{\n server_address = \"127.0.0.1\"\n server_port = \"{PORT}\"\n socket_path = \"{place}/agent.sock\"\n \
             trust_bundle_path = \"{place}/bundle.pem\"\n trust_domain = \"{TRUST_DOMAIN}\"\n data_dir = \"{place}/agent\"\n \
             log_level = \"INFO\"\n}}\nplugins {{\n \
             KeyManager \"disk\" {{ plugin_data {{ directory = \"{place}/agent-keys\" }} }}\n \
             NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n WorkloadAttestor \"unix\" {{ plugin_data {{}} }}\n}}\n"
        );
        fs::write(folder.join("server.conf"), server)?;
        fs::write(folder.join("agent.conf"), agent)?;
        let server_program = programs.path("spire-server");
        let mut command = Command::new(&server_program);
        command.args(["run", "-config"]).arg(folder.join("server.conf"));
        let running = Running::start(&mut command, "Starting Server APIs").context("spire-server")?;
        let agent_program = programs.path("spire-agent");
        let mut spire = Self { folder, server_program, agent_program, agent: None, _server: running };
        within(15, || Ok(spire.bundle().is_ok()))?;
        fs::write(spire.folder.join("bundle.pem"), spire.bundle()?)?;
        let token = said(&mut spire.server(&["token", "generate"], &["-spiffeID", &node()]))?;
        let token = token.lines().find_map(|line| line.strip_prefix("Token: ")).context("no join token")?.to_owned();
        spire.start_agent(Some(&token))?;
        Ok(spire)
    }

    /// The agent's socket.
    pub(super) fn socket(&self) -> String {
        self.folder.join("agent.sock").display().to_string()
    }

    /// What a benchmark asks it by: the server's program and socket, the agent's socket, the SPIFFE ID that the agent's
    /// entries have as their parent.
    pub(crate) fn words(&self) -> [String; 4] {
        let server = self.folder.join("server.sock").display().to_string();
        [self.server_program.display().to_string(), server, self.socket(), node()]
    }

    /// The trust domain's certificates, in PEM.
    pub(super) fn bundle(&self) -> Result<String> {
        said(&mut self.server(&["bundle", "show"], &[]))
    }

    /// Starts the agent, with a token the first time.
    pub(super) fn start_agent(&mut self, token: Option<&str>) -> Result<()> {
        let mut command = Command::new(&self.agent_program);
        command.args(["run", "-config"]).arg(self.folder.join("agent.conf"));
        if let Some(token) = token {
            command.args(["-joinToken", token]);
        }
        self.agent = Some(Running::start(&mut command, "Starting Workload and SDS APIs").context("spire-agent")?);
        Ok(())
    }

    /// Ends the agent.
    pub(super) fn stop_agent(&mut self) {
        self.agent = None;
    }

    /// Registers the SPIFFE ID of a lab's pod for processes of root, of which lictor is one; returns the entry's name.
    pub(super) fn register(&self, pod: &str, life: u64) -> Result<String> {
        let (node, life) = (node(), life.to_string());
        let other = format!("spiffe://{FEDERATED}");
        let words = ["-parentID", &node, "-spiffeID", &id(pod), "-selector", "unix:uid:0", "-x509SVIDTTL", &life];
        let mut create = self.server(&["entry", "create", "-output", "json"], &words);
        let shown = said(create.args(["-federatesWith", &other]))?;
        let shown: Value = serde_json::from_str(&shown).context("spire-server entry create")?;
        let entry = shown["results"][0]["entry"]["id"].as_str();
        Ok(entry.with_context(|| format!("no entry in {shown}"))?.to_owned())
    }

    /// Removes an entry.
    pub(super) fn unregister(&self, entry: &str) -> Result<()> {
        said(&mut self.server(&["entry", "delete"], &["-entryID", entry])).map(drop)
    }

    /// Federates with a trust domain whose one authority openssl makes.
    pub(super) fn federate(&self) -> Result<()> {
        let (bundle, key) = (self.folder.join("federated.pem"), self.folder.join("federated.key"));
        let words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let name = format!("/CN={FEDERATED}");
        let mut openssl = Command::new("openssl");
        // An authority that may not sign certificates is none (X509-SVID, section 4.3).
        openssl.args(words).args(["-subj", &name, "-addext", "keyUsage=critical,keyCertSign"]);
        said(openssl.arg("-keyout").arg(&key).arg("-out").arg(&bundle))?;
        let id = format!("spiffe://{FEDERATED}");
        said(self.server(&["bundle", "set"], &["-id", &id, "-path"]).arg(&bundle)).map(drop)
    }

    /// That trust domain's certificates, in PEM.
    pub(super) fn federated_bundle(&self) -> Result<String> {
        let file = self.folder.join("federated.pem");
        fs::read_to_string(&file).with_context(|| file.display().to_string())
    }

    /// Ends the federation; the entries go on without it.
    pub(super) fn end_federation(&self) -> Result<()> {
        let id = format!("spiffe://{FEDERATED}");
        said(&mut self.server(&["bundle", "delete"], &["-id", &id, "-mode", "dissociate"])).map(drop)
    }

    /// A token that SPIRE signs.
    pub(super) fn token(&self, id: &str, audience: &str) -> Result<String> {
        said(&mut self.server(&["jwt", "mint"], &["-spiffeID", id, "-audience", audience]))
    }

    fn server(&self, verb: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new(&self.server_program);
        command.args(verb).arg("-socketPath").arg(self.folder.join("server.sock")).args(words);
        command
    }
}

/// What the agent's entries have as their parent.
fn node() -> String {
    format!("spiffe://{TRUST_DOMAIN}/node")
}

impl Drop for Spire {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
