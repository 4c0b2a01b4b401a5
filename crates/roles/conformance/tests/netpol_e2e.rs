//! Every public NetworkPolicy case of Kubernetes' end-to-end tests: in the engine, in the compiled program, and by
//! what the kernel's maps hold once that program is in force. The last needs root.
#![allow(clippy::unwrap_used, missing_docs)]

use lictor_conformance::netpol_e2e::{cases, flow, run, snapshot};
use lictor_conformance::{SuiteReport, root};
use lictor_datapath::netns::Netns;
use lictor_datapath::{Datapath, Limits};
use lictor_model::{Direction, Flow, Verdict};
use lictor_network::Compiler;
use std::path::PathBuf;
use std::sync::Arc;

fn suite() -> Option<PathBuf> {
    let suite = root().map(|root| root.join("netpol-e2e")).filter(|suite| suite.is_dir());
    if suite.is_none() {
        println!("netpol-e2e: not run, LICTOR_CONFORMANCE names no folder that has it");
    }
    suite
}

#[test]
fn every_public_case_passes() {
    let Some(suite) = suite() else { return };
    let report = run(&suite);
    println!("{report}");
    assert!(report.failed.is_empty() && report.passed > 0);
}

#[test]
fn the_kernels_maps_hold_every_public_case() {
    let Some(suite) = suite() else { return };
    let mut report = SuiteReport::new("netpol-e2e, the kernel's maps");
    let node = Netns::anonymous().expect("a network namespace: this test needs root");
    let mut kernel = Datapath::load(&node, None, Limits::default()).unwrap();
    let mut compiler = Compiler::default();
    for (folder, case) in cases(&suite) {
        let case = case.unwrap_or_else(|error| panic!("{folder}: {error}"));
        for step in &case.steps {
            let snapshot = snapshot(step);
            kernel.apply(&Arc::new(compiler.compile(&snapshot))).unwrap();
            for check in &step.checks {
                let flow = flow(&snapshot, check).unwrap();
                let got = read_back(&kernel, &flow);
                report.check(format!("{} [{}] {check}", case.name, step.name), check.wanted, got);
            }
        }
    }
    println!("{report}");
    assert!(report.failed.is_empty() && report.passed > 0);
}

/// What the maps say of both sides.
fn read_back(kernel: &Datapath, flow: &Flow) -> Verdict {
    let allows = |direction: Direction| {
        let (near, far) = match direction {
            Direction::Egress => (&flow.source, &flow.destination),
            Direction::Ingress => (&flow.destination, &flow.source),
        };
        let near = near.pod.as_ref().expect("the suite's ends are pods");
        let said = kernel.read_back(near, direction, far.address, flow.protocol, flow.port).unwrap();
        said.verdict.under(said.mode).is_allow()
    };
    if Direction::BOTH.into_iter().all(allows) { Verdict::Allow } else { Verdict::Deny }
}
