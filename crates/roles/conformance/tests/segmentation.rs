//! Every public case of the suites about segmentation: in the engine, in the compiled program, and by
//! what the kernel's maps hold once that program is in force. The last needs root.
#![allow(clippy::unwrap_used, missing_docs)]

use lictor_cluster::Snapshot;
use lictor_conformance::segmentation::{SUITES, blocks_exclude_pods, cases, flow, run, snapshot};
use lictor_conformance::{SuiteReport, root};
use lictor_datapath::netns::Netns;
use lictor_datapath::{Datapath, Limits};
use lictor_model::{Direction, Flow, Verdict};
use lictor_network::Compiler;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The suites that are there; of the others it is said that they are not.
fn suites() -> impl Iterator<Item = (&'static str, PathBuf)> {
    SUITES.into_iter().filter_map(|name| {
        let suite = root().map(|root| root.join(name)).filter(|suite| suite.is_dir());
        if suite.is_none() {
            println!("{name}: not run, LICTOR_CONFORMANCE names no folder that has it");
        }
        Some((name, suite?))
    })
}

#[test]
fn every_public_case_passes() {
    for (name, suite) in suites() {
        let report = run(name, &suite);
        println!("{report}");
        assert!(report.failed.is_empty() && report.passed > 0);
    }
}

#[test]
fn the_kernels_maps_hold_every_public_case() {
    suites().for_each(|(name, suite)| the_kernels_maps_hold(name, &suite));
}

fn the_kernels_maps_hold(name: &str, suite: &Path) {
    let mut report = SuiteReport::new(format!("{name}, the kernel's maps"));
    let node = Netns::anonymous().expect("a network namespace: this test needs root");
    let mut kernel = Datapath::load(&node, None, Limits::default()).unwrap();
    let mut compiler = Compiler::default();
    for (folder, case) in cases(suite) {
        let case = case.unwrap_or_else(|error| panic!("{folder}: {error}"));
        for step in &case.steps {
            let snapshot = snapshot(step, blocks_exclude_pods(name));
            kernel.apply(&Arc::new(compiler.compile(&snapshot))).unwrap();
            for check in &step.checks {
                let flow = flow(&snapshot, check).unwrap();
                let got = read_back(&kernel, &snapshot, &flow);
                // What is said on a connection is for the proxy to judge: the maps say whether it is opened.
                let wanted = if check.wanted.opens() { Verdict::Allow } else { Verdict::Deny };
                report.check(format!("{} [{}] {check}", case.name, step.name), wanted, got);
            }
        }
    }
    println!("{report}");
    assert!(report.failed.is_empty() && report.passed > 0);
}

/// What the maps say of both sides.
fn read_back(kernel: &Datapath, snapshot: &Snapshot, flow: &Flow) -> Verdict {
    let allows = |direction: Direction| {
        let (near, far) = match direction {
            Direction::Egress => (&flow.source, &flow.destination),
            Direction::Ingress => (&flow.destination, &flow.source),
        };
        // Nodes, and pods of theirs, are no endpoints.
        let Some(near) = near.pod.as_ref().filter(|pod| !snapshot.pods[*pod].host_network) else { return true };
        let said = kernel.read_back(near, direction, far.address, flow.protocol, flow.port).unwrap();
        said.verdict.under(said.mode).is_allow()
    };
    if Direction::BOTH.into_iter().all(allows) { Verdict::Allow } else { Verdict::Deny }
}
