//! `lictor control`.

use super::up::authority::AuthorityWords;
use super::up::{duration, ended};
use crate::cli::Globals;
use crate::output::stderr_colour;
use anyhow::{Context, Result, ensure};
use clap::Args;
use lictor_control::Options;
use lictor_model::{Cidr, TrustDomain};
use lictor_sources::{Cluster, Sources};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Let nodes into a trust domain, and issue the identities of their pods; needs root.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lictor control -f examples/shop --listen 10.0.0.1:8443 --lab control
  lictor identity token generate --node n1 --lab control         a token for one node, good for one join
  lictor identity bundle show --lab control > bundle.json        what the node begins with
  lictor up examples/shop --control 10.0.0.1:8443 --node n1 --join-token-file token --control-bundle bundle.json")]
pub(crate) struct Words {
    /// Folders (or files, or `-`) to read manifests from: which pod runs on which node, and who is registered for what
    #[arg(short, long = "filename", required = true, value_name = "DIR")]
    files: Vec<PathBuf>,
    /// Where nodes are served
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The trust domain
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    trust_domain: TrustDomain,
    /// The node of pods that name none
    #[arg(long, value_name = "NAME", default_value = "lab")]
    default_node: lictor_lab::NodeName,
    /// How long the SVID of a pod lives at most
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    svid_ttl: Duration,
    /// How long the SVID of a node lives: for so long a node can be away and come back without another token
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    node_ttl: Duration,
    #[command(flatten)]
    authority: AuthorityWords,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "control keeps its socket where only root may; run it as root (sudo lictor control ...)"
    );
    let block = |net: &str| net.parse::<Cidr>().map(|block| vec![block]);
    let mut cluster = Cluster::new(words.trust_domain.clone(), block("10.244.0.0/16")?, block("10.96.0.0/16")?)?;
    cluster.node = words.default_node.as_str().into();
    let options = Options {
        name: globals.lab.clone(),
        cluster,
        authorities: words.authority.authorities(words.svid_ttl, &[])?,
        node_lifetime: words.node_ttl,
        address: words.listen,
    };
    let sources = Sources::new(words.files.iter().cloned()).context("cannot read the standard input")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let tell = |text: &str| {
        if !text.trim().is_empty() {
            eprintln!("{}", text.trim_end());
        }
    };
    ended(runtime.block_on(lictor_control::run(options, sources, stderr_colour(globals), tell)))
}
