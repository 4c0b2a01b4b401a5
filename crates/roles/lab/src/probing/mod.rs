//! Real connections against the prediction.

mod client;
mod ping;

pub use client::{Ask, Attempt, Outcome, Reported, run};

use crate::lab::Lab;
use crate::pods::LivePod;
use crate::process::Work;
use crate::standin::{self, Kind};
use anyhow::{Context, Result};
use lictor_cluster::{BUILT_IN_ANNOTATION, Pod, RUN_ANNOTATION, Snapshot};
use lictor_model::{Name, Protocol};
use lictor_report::{Observed, Probed};
use lictor_why::{Check, Scope, predict};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::net::SocketAddr;
use tokio::task::JoinSet;

/// Attempts that one process makes, so that its arguments stay short.
const BATCH: usize = 200;
/// How long an attempt may take, first and when it disagreed.
const PATIENCE_MS: [u64; 2] = [1_500, 5_000];

/// Makes every check of a scope, and once more, with more patience, what disagreed.
pub(crate) async fn probe(lab: &Lab, scope: &Scope) -> Result<Vec<Probed>> {
    let snapshot = lab.snapshot();
    // A lab runs no host-network pods: behind their addresses nobody answers.
    let runs = |check: &Check| snapshot.pods.get(&check.destination.pod).is_none_or(|pod| !pod.host_network);
    let checks = predict(&snapshot, scope).into_iter().filter(runs);
    let mut probed: Vec<Probed> = checks.map(|check| Probed::new(check, Observed::Broken)).collect();
    for patience_ms in PATIENCE_MS {
        let open = probed.iter().enumerate().filter(|(_, probed)| probed.agrees != Some(true));
        let asked = open.filter_map(|(at, probed)| {
            let check = &probed.check;
            let attempt = Attempt {
                id: u32::try_from(at).ok()?,
                address: SocketAddr::new(check.destination.address, check.port),
                protocol: check.protocol,
                ask: ask(check, &snapshot),
                patience_ms,
            };
            Some((check.source.pod.clone(), attempt))
        });
        for report in attempt(lab, asked.collect()).await? {
            if let Some(known) = usize::try_from(report.id).ok().and_then(|at| probed.get_mut(at)) {
                *known = Probed::new(known.check.clone(), observed(report.outcome));
            }
        }
    }
    Ok(probed)
}

/// What to say on a check's connection.
fn ask(check: &Check, snapshot: &Snapshot) -> Ask {
    let destination = snapshot.pods.get(&check.destination.pod);
    let runs_own = destination.is_some_and(|pod| {
        pod.annotations.contains_key(RUN_ANNOTATION) || pod.annotations.contains_key(BUILT_IN_ANNOTATION)
    });
    match &check.request {
        Some(request) => Ask::Http {
            method: request.method.clone(),
            path: request.path.clone(),
            host: request.host.clone().unwrap_or_else(|| check.destination.address.to_string()),
            headers: request.headers.clone(),
        },
        None if runs_own => Ask::Open,
        None if destination.is_some_and(|pod| speaks_http(pod, snapshot, check.port)) => Ask::Http {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: check.destination.address.to_string(),
            headers: Vec::new(),
        },
        None => Ask::Echo,
    }
}

fn speaks_http(pod: &Pod, snapshot: &Snapshot, port: u16) -> bool {
    standin::ports(pod, snapshot).iter().any(|served| served.port == port && served.kind == Kind::Http)
}

fn observed(outcome: Outcome) -> Observed {
    match outcome {
        Outcome::Reached => Observed::Reached,
        Outcome::Dropped => Observed::Dropped,
        Outcome::Ended => Observed::Ended,
        Outcome::Refused => Observed::Refused,
        Outcome::Forbidden => Observed::Forbidden,
        Outcome::Broken => Observed::Broken,
    }
}

/// Makes attempts, each from its pod, all pods at once.
pub(crate) async fn attempt(lab: &Lab, attempts: Vec<(Name, Attempt)>) -> Result<Vec<Reported>> {
    let mut by_pod: BTreeMap<Name, Vec<Attempt>> = BTreeMap::new();
    for (pod, attempt) in attempts {
        // The lab's kernel has no SCTP.
        if matches!(attempt.protocol, Protocol::Tcp | Protocol::Udp) {
            by_pod.entry(pod).or_default().push(attempt);
        }
    }
    let mut running = JoinSet::new();
    let mut reported: HashMap<u32, Reported> = HashMap::new();
    {
        let pods = lab.pods.lock().await;
        for (name, attempts) in &by_pod {
            let Some(live) = pods.get(name) else { continue };
            for batch in attempts.chunks(BATCH) {
                if let Some(output) = start(lab, live, batch).await? {
                    running.spawn_blocking(move || read(output));
                }
            }
        }
    }
    while let Some(read) = running.join_next().await {
        reported.extend(read??.into_iter().map(|report| (report.id, report)));
    }
    Ok(reported.into_values().collect())
}

/// Starts a probing process in a pod; nothing when the pod runs no process to be put beside.
async fn start(lab: &Lab, live: &LivePod, attempts: &[Attempt]) -> Result<Option<std::io::PipeReader>> {
    let Some((beside, cgroup)) = live.running(None) else { return Ok(None) };
    let program = lab.options.zygote.0.to_str().context("expected a program path that is text")?;
    let arguments = vec![program.to_owned(), "probe-client".to_owned(), serde_json::to_string(attempts)?];
    let work = Work::Command { arguments, environment: lab.workshop.environment(&live.pod) };
    let (output, input) = std::io::pipe()?;
    lab.workshop.zygote.launch_beside(&beside, work, cgroup, input).await?;
    Ok(Some(output))
}

fn read(mut output: std::io::PipeReader) -> Result<Vec<Reported>> {
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("a probe said `{line}`")));
    lines.collect()
}
