//! One path, direct and through lictor with mutual TLS and policy on both hops, in one run.

use crate::figures::Figures;
use crate::load::{ECHO, SINK};
use crate::pods::{Lab, own_path};
use crate::process::{cpu_seconds, proportional_memory};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::io::{BufRead, BufReader};

const GIGABYTES: f64 = 4.0;
const ROUND_TRIPS: u64 = 20_000;
const CONNECTIONS: u64 = 2_000;
const IDLE: u64 = 1_000;
const MESHES: usize = 20;

/// What two hops of the best known node proxy cost on such a machine: the bar.
mod bar {
    pub(super) const CPU_PER_GB: f64 = 1.7;
    pub(super) const P50_MICROSECONDS: f64 = 40.0;
    pub(super) const CPU_MS_PER_CONNECTION: f64 = 0.27;
    pub(super) const CPU_MS_PER_TUNNEL: f64 = 1.4;
}

/// Brings a lab up and measures both paths.
pub(crate) fn measure() -> Result<Figures> {
    let lab = Lab::up("bench-path", &manifests()?)?;
    let mut figures = Figures::new("path");
    let direct = Path { lab: &lab, client: "direct/client-0", server: "server.direct.svc.cluster.local" };
    let meshed = Path { lab: &lab, client: "mesh/client-0", server: "server.mesh.svc.cluster.local" };

    let (seconds, _) = direct.bulk()?;
    let (meshed_seconds, cpu) = meshed.bulk()?;
    figures.add("bulk throughput", "Gbit/s", 8.0 * GIGABYTES / meshed_seconds, 8.0 * GIGABYTES / seconds, "direct");
    figures.add("bulk CPU, both hops", "CPU s/GB", cpu / GIGABYTES, bar::CPU_PER_GB, "best known proxy");

    let (p50, p99) = direct.round_trips()?;
    let (meshed_p50, meshed_p99) = meshed.round_trips()?;
    figures.add("1 KiB round trip p50", "us", meshed_p50, p50, "direct");
    figures.add("1 KiB round trip p99", "us", meshed_p99, p99, "direct");
    figures.add("added at p50", "us", meshed_p50 - p50, bar::P50_MICROSECONDS, "best known proxy");

    let (rate, _) = direct.connections()?;
    let (meshed_rate, pooled) = meshed.connections()?;
    figures.add("new connections", "1/s", meshed_rate, rate, "direct");
    figures.add("CPU per pooled connection", "ms", pooled * 1e3, bar::CPU_MS_PER_CONNECTION, "best known proxy");

    let tunnel = tunnels(&lab)? + pooled;
    figures.add("CPU per new tunnel", "ms", tunnel * 1e3, bar::CPU_MS_PER_TUNNEL, "best known proxy");

    let direct_memory = direct.idle_memory()?;
    let memory = meshed.idle_memory()?;
    figures.add("memory per 1,000 idle", "MB", memory / 1e6, (direct_memory / 1e6).max(0.1), "direct (at least 0.1)");
    Ok(figures)
}

struct Path<'a> {
    lab: &'a Lab,
    client: &'a str,
    server: &'a str,
}

impl Path<'_> {
    /// Runs a load; its printed figures by name, and the CPU seconds that lictor used meanwhile.
    fn load(&self, kind: &str, port: u16, amount: u64) -> Result<(String, f64)> {
        let before = cpu_seconds(self.lab.pid)?;
        let target = format!("{}:{port}", self.server);
        let printed = self.lab.exec(self.client, &["load", kind, &target, &amount.to_string()])?;
        Ok((printed, cpu_seconds(self.lab.pid)? - before))
    }

    /// Seconds for [`GIGABYTES`], and the CPU seconds.
    fn bulk(&self) -> Result<(f64, f64)> {
        self.load("bulk", SINK, 100_000_000)?;
        let (printed, cpu) = self.load("bulk", SINK, (GIGABYTES * 1e9) as u64)?;
        Ok((named(&printed, "seconds")?, cpu))
    }

    /// Median and 99th percentile in microseconds.
    fn round_trips(&self) -> Result<(f64, f64)> {
        let (printed, _) = self.load("rtt", ECHO, ROUND_TRIPS)?;
        Ok((named(&printed, "p50")?, named(&printed, "p99")?))
    }

    /// Connections a second, and CPU seconds for each.
    fn connections(&self) -> Result<(f64, f64)> {
        self.load("connect", ECHO, 50)?;
        let (printed, cpu) = self.load("connect", ECHO, CONNECTIONS)?;
        let count = CONNECTIONS as f64;
        Ok((count / named(&printed, "seconds")?, cpu / count))
    }

    /// Bytes of lictor's memory that [`IDLE`] open connections add.
    fn idle_memory(&self) -> Result<f64> {
        let before = proportional_memory(self.lab.pid)?;
        let target = format!("{}:{ECHO}", self.server);
        let mut child = self.lab.start(self.client, &["load", "hold", &target, &IDLE.to_string()])?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        anyhow::ensure!(line.starts_with("open"), "the client did not open its connections");
        let after = proportional_memory(self.lab.pid)?;
        child.kill()?;
        child.wait()?;
        Ok((after - before).max(0.0))
    }
}

/// CPU seconds for making a tunnel: every pair of so many clients and servers connects, and once more when the tunnels
/// are there. What both times cost (the commands, their DNS, the connections) is not the tunnels'.
fn tunnels(lab: &Lab) -> Result<f64> {
    let target = format!("peer-{{}}.peer.mesh.svc.cluster.local:{ECHO}");
    let every = || -> Result<f64> {
        let before = cpu_seconds(lab.pid)?;
        for client in 0..MESHES {
            lab.exec(&format!("mesh/fan-{client}"), &["load", "fan", &target, &MESHES.to_string()])?;
        }
        Ok(cpu_seconds(lab.pid)? - before)
    };
    Ok((every()? - every()?) / (MESHES * MESHES) as f64)
}

fn named(printed: &str, name: &str) -> Result<f64> {
    let line = printed.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().parse()?)
}

fn manifests() -> Result<String> {
    let own = own_path()?;
    let mut text = String::from(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: direct\n  annotations: {lictor.dev/enroll: \"false\"}\n---\n\
         apiVersion: v1\nkind: Namespace\nmetadata: {name: mesh}\n---\n\
         apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\n\
         spec: {mtls: {mode: STRICT}}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: servers, namespace: mesh}\nspec:\n  \
         podSelector: {matchLabels: {role: server}}\n  ingress: [{from: [{podSelector: {}}]}]\n---\n\
         apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: servers, namespace: mesh}\nspec:\n  \
         selector: {matchLabels: {role: server}}\n  rules: [{from: [{source: {namespaces: [mesh]}}]}]\n",
    );
    let mut workload = |namespace: &str, name: &str, kind: &str, replicas: usize, role: &str| {
        let sleep = "sleep";
        let command = if role == "server" { format!("[\"{own}\", serve]") } else { format!("[{sleep}, infinity]") };
        let cluster = if kind == "StatefulSet" { "clusterIP: None, " } else { "" };
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  replicas: \
             {replicas}\n  serviceName: {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata:\n      \
             labels: {{app: {name}, role: {role}}}\n      annotations: {{lictor.dev/run: host}}\n    spec:\n      containers:\n      \
             - {{name: main, image: x, command: {command}, ports: [{{containerPort: {SINK}}}, {{containerPort: {ECHO}}}]}}\n\
             ---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{cluster}selector: \
             {{app: {name}}}, ports: [{{name: sink, port: {SINK}}}, {{name: echo, port: {ECHO}}}]}}\n"
        );
    };
    for namespace in ["direct", "mesh"] {
        workload(namespace, "server", "Deployment", 1, "server");
        workload(namespace, "client", "Deployment", 1, "client");
    }
    workload("mesh", "peer", "StatefulSet", MESHES, "server");
    workload("mesh", "fan", "Deployment", MESHES, "client");
    Ok(text)
}
