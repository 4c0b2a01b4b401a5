//! 200 pods in one lab: time to ready, memory, idle CPU.

use crate::figures::Figures;
use crate::pods::Lab;
use crate::process::{cpu_seconds, proportional_memory, tree};
use anyhow::Result;
use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

const WORKLOADS: usize = 20;
const REPLICAS: usize = 10;
const IDLE: Duration = Duration::from_secs(10);

/// Brings the lab up and measures it; the baselines are the aims of the project.
pub(crate) fn measure() -> Result<Figures> {
    let mut figures = Figures::new("lab");
    let start = Instant::now();
    let lab = Lab::up("bench-lab", &manifests())?;
    figures.add("time to ready, 200 pods", "s", start.elapsed().as_secs_f64(), 20.0, "aim");
    sleep(Duration::from_secs(2));
    let processes = tree(lab.pid);
    let memory: f64 = processes.iter().filter_map(|pid| proportional_memory(*pid).ok()).sum();
    figures.add("memory of all processes", "MB", memory / 1e6, 300.0, "aim");
    figures.add("memory of lictor itself", "MB", proportional_memory(lab.pid)? / 1e6, 300.0, "aim for all");
    let used = |pids: &[u32]| pids.iter().filter_map(|pid| cpu_seconds(*pid).ok()).sum::<f64>();
    let before = used(&processes);
    sleep(IDLE);
    let idle = (used(&processes) - before) / IDLE.as_secs_f64() * 100.0;
    figures.add("idle CPU", "% of a core", idle, 2.0, "aim");
    Ok(figures)
}

fn manifests() -> String {
    let mut text = String::new();
    for workload in 0..WORKLOADS {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: w{workload}, namespace: bench}}\nspec:\n  \
             replicas: {REPLICAS}\n  selector: {{matchLabels: {{app: w{workload}}}}}\n  template:\n    metadata: \
             {{labels: {{app: w{workload}}}}}\n    spec:\n      containers:\n      - name: main\n        image: x\n        \
             ports: [{{name: http, containerPort: 8080}}]\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: \
             w{workload}, namespace: bench}}\nspec: {{selector: {{app: w{workload}}}, ports: [{{port: 80, targetPort: \
             8080}}]}}\n"
        );
    }
    text
}
