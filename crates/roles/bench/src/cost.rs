//! What the network compiler takes for a cluster, and for what changes in it.

use crate::objects::rule;
use crate::process::proportional_memory;
use anyhow::{Context, Result, bail};
use lictor_cluster::{AddressPool, Node, Settings, Snapshot};
use lictor_manifest::Object;
use lictor_model::{Cidr, Labels, Name, Revision};
use lictor_network::{Change, Compiler, Difference};
use std::sync::Arc;
use std::time::Instant;

/// What the compiler takes for a cluster.
pub(crate) struct Cost {
    /// From nothing, in seconds.
    pub(crate) compile: f64,
    /// The growth of the process meanwhile, in megabytes.
    pub(crate) memory: f64,
    /// After an edit of one policy, the median in milliseconds.
    pub(crate) edit: f64,
    /// After a change of one pod's labels, the median in milliseconds.
    pub(crate) relabel: f64,
    /// The entries of all rule sets.
    pub(crate) entries: usize,
}

/// Compiles these objects from nothing, and then what follows from edits of policies and changes of pods' labels.
pub(crate) fn cost(objects: &[Object]) -> Result<Cost> {
    let mut pool = AddressPool::new(&[block("10.0.0.0/8")?], &[block("192.168.0.0/16")?]);
    let settings = settings();
    let mut snapshot = Snapshot::build(objects, &settings, &mut pool, Revision(1)).0;
    let memory = || proportional_memory(std::process::id());
    let before = memory()?;
    let mut compiler = Compiler::default();
    let began = Instant::now();
    let mut program = compiler.compile(&snapshot);
    let compile = began.elapsed().as_secs_f64();
    let memory = (memory()? - before) / 1e6;
    let entries = program.rule_sets.values().map(|set| set.entries.len()).sum();

    let mut following = |snapshot: &Snapshot, difference: &Difference| {
        let began = Instant::now();
        let change = compiler.change(&program, snapshot, difference);
        let took = began.elapsed().as_secs_f64() * 1e3;
        match change {
            Change::Patch(patch) if patch.endpoints.is_empty() && patch.addresses.is_empty() => {
                bail!("nothing changed")
            }
            Change::Patch(patch) => program.patch(patch),
            Change::Whole(whole) => program = whole,
        }
        Ok(took)
    };
    let policies = sample(snapshot.policies.network.keys());
    let edits = policies.into_iter().map(|name| {
        let policy = snapshot.policies.network.get_mut(&name).context("a policy")?;
        Arc::make_mut(policy).ingress.as_mut().context("a policy for ingress")?.push(rule("app2"));
        following(&snapshot, &Difference { network_policies: [name].into(), ..Difference::default() })
    });
    let edit = median(edits.collect::<Result<_>>()?);
    let pods = sample(snapshot.pods.keys());
    let relabelled = pods.into_iter().map(|name| {
        let pod = Arc::make_mut(snapshot.pods.get_mut(&name).context("a pod")?);
        let other = if pod.labels.get("app").is_some_and(|app| app == "app2") { "app1" } else { "app2" };
        pod.labels = [("app", other)].into_iter().collect();
        following(&snapshot, &Difference { pods: [name].into(), ..Difference::default() })
    });
    let relabel = median(relabelled.collect::<Result<_>>()?);
    Ok(Cost { compile, memory, edit, relabel, entries })
}

/// So many edits are measured of each kind.
const EDITS: usize = 41;

/// Some of these, from all over.
fn sample<'a>(names: impl ExactSizeIterator<Item = &'a Name>) -> Vec<Name> {
    let apart = (names.len() / EDITS).max(1);
    names.step_by(apart).take(EDITS).cloned().collect()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// A cluster of one node.
pub(crate) fn settings() -> Settings {
    let node = Node { name: "node".into(), labels: Labels::default(), addresses: vec![[192, 0, 2, 1].into()] };
    Settings::new(vec![node])
}

fn block(text: &str) -> Result<Cidr> {
    Ok(text.parse()?)
}
