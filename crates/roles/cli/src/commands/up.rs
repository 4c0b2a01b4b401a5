//! `lictor up DIR...`.

mod audience;
pub(super) mod authority;
mod broker;
mod detach;
mod federation;
mod issuance;
mod registration;

use crate::cli::Globals;
use crate::output::stderr_colour;
use anyhow::{Context, Result, bail, ensure};
use audience::Told;
use clap::Args;
use issuance::IssuanceWords;
use lictor_lab::{Options, Refused};
use lictor_model::{Cidr, TrustDomain};
use lictor_sources::{Cluster, Sources};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Run what manifests describe, on this machine; needs root.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lictor up examples/shop             until interrupted; what changes below the folder is applied
  lictor up examples/shop --detach    until `lictor down`")]
pub(crate) struct Words {
    /// Folders (or files, or `-`) to read manifests from
    #[arg(required = true, value_name = "DIR")]
    sources: Vec<PathBuf>,
    /// Where pods get their addresses; once more for the other address family
    #[arg(long, value_name = "BLOCK", default_value = "10.244.0.0/16")]
    pod_cidr: Vec<Cidr>,
    /// Where services get their addresses; once more for the other address family
    #[arg(long, value_name = "BLOCK", default_value = "10.96.0.0/16")]
    service_cidr: Vec<Cidr>,
    /// The trust domain of the pods' identities
    #[arg(long, value_name = "NAME", default_value = "cluster.local")]
    trust_domain: TrustDomain,
    /// Let address blocks of policies leave pods and nodes out, as Cilium's do; Kubernetes' match them
    #[arg(long)]
    cidr_excludes_pods: bool,
    /// Who answers names outside the cluster, instead of this machine's own resolvers
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = resolver)]
    dns_upstream: Vec<SocketAddr>,
    /// How long an SVID lives, such as 1h, 30m or 90s
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    svid_ttl: Duration,
    #[command(flatten)]
    issuance: IssuanceWords,
    #[command(flatten)]
    registration: registration::Words,
    #[command(flatten)]
    federation: federation::Words,
    #[command(flatten)]
    broker: broker::Words,
    /// Return once every pod has been started
    #[arg(short, long)]
    detach: bool,
    /// This process is the detached one
    #[arg(long, hide = true)]
    detached: bool,
}

pub(crate) fn run(words: &Words, globals: &Globals) -> Result<ExitCode> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "a lab makes namespaces, links and BPF programs; run it as root (sudo lictor up ...)"
    );
    if words.detach && !words.detached {
        return detach::start(words);
    }
    let options = words.options(globals)?;
    let sources = Sources::new(words.sources.iter().cloned()).context("cannot read the standard input")?;
    let colour = stderr_colour(globals);
    let told = if words.detached { Told::detached(&globals.lab)? } else { Told::here(&globals.lab) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    ended(runtime.block_on(lictor_lab::up(options, sources, colour, &told)))
}

/// How a lab, or control, has ended. Where the manifests were refused, their findings stand above the error.
pub(super) fn ended(result: Result<()>) -> Result<ExitCode> {
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast::<Refused>() {
            Ok(refused) => {
                eprintln!("{}\n", refused.0.trim_end());
                bail!("the manifests have errors; nothing was started")
            }
            Err(error) => Err(error),
        },
    }
}

impl Words {
    fn options(&self, globals: &Globals) -> Result<Options> {
        let mut cluster = Cluster::new(self.trust_domain.clone(), self.pod_cidr.clone(), self.service_cidr.clone())?;
        cluster.cidr_excludes_pods = self.cidr_excludes_pods;
        cluster.node = self.issuance.node().into();
        cluster.registration = self.registration.settings(&self.trust_domain)?;
        for (name, blocks) in [("--pod-cidr", &self.pod_cidr), ("--service-cidr", &self.service_cidr)] {
            let count = |v4: bool| blocks.iter().filter(|block| block.network().is_ipv4() == v4).count();
            ensure!(count(true) <= 1 && count(false) <= 1, "{name}: expected at most one block of each address family");
        }
        let overlap =
            self.pod_cidr.iter().flat_map(|pods| self.service_cidr.iter().map(move |services| (pods, services)));
        for (pods, services) in overlap {
            ensure!(!pods.covers(services) && !services.covers(pods), "{pods} and {services} overlap");
        }
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        Ok(Options {
            name: globals.lab.clone(),
            sources: self.sources.iter().map(|source| source.display().to_string()).collect(),
            cluster,
            identity: self.issuance.identity(&self.trust_domain, self.svid_ttl)?,
            federation: self.federation.options(&self.trust_domain)?,
            broker_api: self.broker.options(&self.trust_domain)?,
            resolvers: self.dns_upstream.clone(),
            zygote: (program, vec!["zygote".into()]),
        })
    }
}

/// An address, with port 53 if it names none.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let bare = || text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 53));
    let parsed = text.parse().ok().or_else(bare);
    parsed.ok_or_else(|| "expected an address such as 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353".to_owned())
}

/// A number and a unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || "expected a time such as 1h, 30m or 90s, at least 10s".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refused)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(seconds).filter(|seconds| *seconds >= 10).map(Duration::from_secs).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn times() {
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        for text in ["", "s", "1", "1d", "-1h", "9s", "99999999999999999999h", "1é"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
