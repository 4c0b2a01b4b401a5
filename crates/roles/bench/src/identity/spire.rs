//! A SPIRE server with its agent, asked for the same as this node is, in the same run.

use super::callers::{Api, first_state};
use crate::process::cpu_seconds;
use anyhow::{Context, Result, ensure};
use hyper_util::rt::TokioIo;
use lictor_wire::workload::X509svidResponse;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use serde_json::json;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tonic::transport::Endpoint;

/// Entries that are created one after the other, each as soon as the one before has its SVID.
const SINGLE: usize = 5;

/// Entries that are created at once.
const MANY: usize = 500;

/// A SPIRE that runs on this machine: its agent gives this process, which is root's, every entry for `unix:uid:0`.
pub(crate) struct Spire {
    /// The program `spire-server`.
    program: PathBuf,
    /// The server's socket for administrators.
    server: PathBuf,
    /// The agent's Workload API.
    agent: PathBuf,
    /// The agent's SPIFFE ID, or an alias of it.
    node: String,
}

/// What it took.
pub(super) struct Cost {
    /// Fetches of one SVID that the agent has, one after the other, a second.
    pub(super) fetches: f64,
    /// Milliseconds from the creation of an entry to its SVID, the longest of a few.
    pub(super) first: f64,
    /// Milliseconds of the server's CPU for an SVID, without the entry's creation.
    pub(super) server: f64,
    /// The same with the agent's.
    pub(super) both: f64,
}

impl Spire {
    /// The one that the words after `--spire` name.
    pub(crate) fn of(words: &[&str]) -> Result<Option<Self>> {
        let Some(at) = words.iter().position(|word| *word == "--spire") else { return Ok(None) };
        let Some([program, server, agent, node]) = words.get(at + 1..at + 5) else {
            anyhow::bail!("--spire: expected spire-server, its socket, the agent's socket and the agent's SPIFFE ID");
        };
        let (program, server, agent) = (program.into(), server.into(), agent.into());
        Ok(Some(Self { program, server, agent, node: (*node).to_owned() }))
    }

    /// Measures it; `fetches` is how many are made one after the other.
    pub(super) async fn cost(&self, fetches: usize) -> Result<Cost> {
        let mut api = self.api().await?;
        let mut first = self.until_there(&mut api, 0).await?;
        let began = Instant::now();
        for _ in 0..fetches {
            first_state(&mut api).await.context("a fetch")?;
        }
        let fetches = fetches as f64 / began.elapsed().as_secs_f64();
        for at in 1..SINGLE {
            first = first.max(self.until_there(&mut api, at).await?);
        }
        let (server, agent) = (listener(&self.server)?, listener(&self.agent)?);
        self.create(SINGLE..SINGLE + MANY)?;
        let before = (cpu_seconds(server)?, cpu_seconds(agent)?);
        self.all_there(&mut api, SINGLE + MANY).await?;
        let used = (cpu_seconds(server)? - before.0, cpu_seconds(agent)? - before.1);
        let each = |seconds: f64| seconds * 1e3 / MANY as f64;
        Ok(Cost { fetches, first, server: each(used.0), both: each(used.0 + used.1) })
    }

    async fn api(&self) -> Result<Api> {
        let agent = self.agent.clone();
        let connector = tower::service_fn(move |_| {
            let agent = agent.clone();
            async move { UnixStream::connect(agent).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://agent");
        let channel = endpoint.connect_with_connector(connector).await.context("the agent's socket")?;
        // Some hundred SVIDs are in one message.
        Ok(Api::new(channel).max_decoding_message_size(64 << 20))
    }

    fn id(&self, at: usize) -> Result<String> {
        let (domain, _) =
            self.node.trim_start_matches("spiffe://").split_once('/').context("a SPIFFE ID of the agent")?;
        Ok(format!("spiffe://{domain}/bench/{at}"))
    }

    /// Milliseconds from the creation of an entry to its SVID.
    async fn until_there(&self, api: &mut Api, at: usize) -> Result<f64> {
        let began = Instant::now();
        self.create(at..at + 1)?;
        self.all_there(api, at + 1).await?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    /// Waits until this process gets so many SVIDs.
    async fn all_there(&self, api: &mut Api, count: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // Refused until there is one at all.
            let seen = first_state(api).await.map_or(0, |state: X509svidResponse| state.svids.len());
            if seen >= count {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "expected {count} SVIDs of SPIRE in a minute, seen {seen}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn create(&self, which: std::ops::Range<usize>) -> Result<()> {
        let selectors = json!([{ "type": "unix", "value": "uid:0" }]);
        let entry =
            |at| anyhow::Ok(json!({ "spiffe_id": self.id(at)?, "parent_id": self.node, "selectors": selectors }));
        let entries = which.map(entry).collect::<Result<Vec<_>>>()?;
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), json!({ "entries": entries }).to_string())?;
        let mut command = Command::new(&self.program);
        command.args(["entry", "create", "-socketPath"]).arg(&self.server).arg("-data").arg(file.path());
        let output = command.output().context("spire-server")?;
        ensure!(output.status.success(), "entry create: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// The process that listens on a socket.
fn listener(path: &PathBuf) -> Result<u32> {
    let stream = StdStream::connect(path).with_context(|| path.display().to_string())?;
    Ok(u32::try_from(getsockopt(&stream, PeerCredentials)?.pid())?)
}
