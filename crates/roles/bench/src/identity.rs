//! What a node's identities cost: real callers in cgroups of their own, each on a connection that the kernel attests.
//!
//! The issuer, the authorities with their journal, the registry and the Workload API run in this process; the callers are
//! another one's (`lictor-bench callers`), which has a process for each pod.

mod callers;
mod node;
mod spire;

pub(crate) use callers::run as callers;
pub(crate) use spire::Spire;

use crate::cost::settings;
use crate::figures::Figures;
use crate::process::proportional_memory;
use anyhow::{Context, Result, ensure};
use lictor_cluster::registration::Registrar;
use lictor_cluster::{AddressPool, Pod, RegistrationSettings, Snapshot};
use lictor_manifest::{ClusterSpiffeId, Object};
use lictor_model::{Labels, Name, Revision};
use node::Node;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Pods with a stream each while SVIDs are counted, and five each while one change is.
const PODS: usize = 2_000;

/// How often all of them get another SVID.
const ROUNDS: usize = 5;

/// Pods that start at once.
const BURST: usize = 100;

/// Entries that are loaded.
const ENTRIES: usize = 100_000;

/// Fetches that one pod makes one after the other.
const FETCHES: usize = 1_000;

/// SVIDs a second, from a pod's start to its SVID, one change among many streams, and the load of entries; beside SPIRE
/// where there is one.
pub(crate) fn measure(spire: Option<&Spire>) -> Result<Figures> {
    let mut figures = Figures::new("identity");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(node(&mut figures, spire))?;
    let (seconds, megabytes) = load()?;
    figures.add("100,000 entries: load", "s", seconds, 5.0, "aim");
    figures.add("100,000 entries: memory", "MB", megabytes, 250.0, "aim");
    Ok(figures)
}

async fn node(figures: &mut Figures, spire: Option<&Spire>) -> Result<()> {
    let alone = node::signing_alone()?;
    let mut node = Node::start().await?;
    let first = node.burst(BURST).await?;
    let fetches = node.fetches(FETCHES).await?;
    node.grow(PODS).await?;
    let (rounds, cpu) = node.rounds(ROUNDS).await?;
    let change = node.one_change().await?;
    drop(node);
    figures.add("SVIDs signed, attested and pushed", "1/s", rounds, 5_000.0, "aim");
    figures.add("the same beside signing alone", "1/s", rounds, alone, "signing alone");
    figures.add("100 pods at once: start to SVID, p99", "ms", first, 500.0, "aim");
    figures.add("one change among 10,000 streams", "ms", change, 50.0, "aim");
    if let Some(spire) = spire {
        let theirs = spire.cost(FETCHES).await?;
        figures.add("CPU of an SVID, pushed", "ms", cpu, theirs.server, "SPIRE's server");
        figures.add("CPU of an SVID, pushed", "ms", cpu, theirs.both, "SPIRE's server and agent");
        figures.add("start to SVID", "ms", first, theirs.first, "SPIRE, one entry");
        figures.add("fetches one after the other", "1/s", fetches, theirs.fetches, "SPIRE's agent");
    } else {
        eprintln!("no SPIRE beside it: `cargo xtask interop spire-server` builds it, and the next run has its figures");
        figures.add("CPU of an SVID, pushed", "ms", cpu, 0.7, "SPIRE's server, elsewhere");
        figures.add("fetches one after the other", "1/s", fetches, 737.0, "SPIRE's agent, elsewhere");
    }
    Ok(())
}

/// Seconds and megabytes for entries that resources give to as many pods.
fn load() -> Result<(f64, f64)> {
    let base = pod()?;
    let mut registrar = Registrar::new("cluster.local".parse()?, RegistrationSettings::default());
    let before = proportional_memory(std::process::id())?;
    let began = Instant::now();
    for app in 0..200 {
        registrar.set_id(&id(app)?);
    }
    for at in 0..ENTRIES {
        let space: Arc<str> = format!("n{}", at / 100).into();
        if at % 100 == 0 {
            let labels: Labels = [("name", &*space)].into_iter().collect();
            registrar.set_namespace(&space, Some(&labels));
        }
        let labels = [("app", format!("app{}", at % 200))].into_iter().collect();
        let pod = Pod { name: Name::new(space, format!("p{at}")), labels, ..base.clone() };
        registrar.set_pod(&Arc::new(pod), BTreeSet::new());
    }
    let seconds = began.elapsed().as_secs_f64();
    let megabytes = (proportional_memory(std::process::id())? - before) / 1e6;
    ensure!(registrar.work().1 >= ENTRIES as u64, "every pod has an entry");
    Ok((seconds, megabytes))
}

fn id(app: usize) -> Result<Arc<ClusterSpiffeId>> {
    let text = format!(
        "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {{name: app{app}}}\nspec:\n  \
         spiffeIDTemplate: 'spiffe://{{{{ .TrustDomain }}}}/app/{app}/{{{{ .PodMeta.Name }}}}'\n  podSelector: {{matchLabels: \
         {{app: app{app}}}}}\n"
    );
    let found = lictor_manifest::read("id.yaml", &text).objects.into_iter().find_map(|object| match object {
        Object::ClusterSpiffeId(id) => Some(id),
        _ => None,
    });
    found.context("a resource")
}

/// A pod to make the others of.
fn pod() -> Result<Pod> {
    let mut pool = AddressPool::new(&["10.0.0.0/8".parse()?], &["192.168.0.0/16".parse()?]);
    let (snapshot, _) = Snapshot::build(&[crate::objects::pod("n", "p", "app")], &settings(), &mut pool, Revision(1));
    snapshot.pods.into_values().next().map(Arc::unwrap_or_clone).context("a pod")
}
