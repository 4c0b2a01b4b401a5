//! Every public NetworkPolicy case of Kubernetes' end-to-end tests, by real connections.
//!
//! One lab sees the cases one after the other, as edits of a manifest: pods are relabelled, policies come and go.

use crate::stage::Stage;
use lictor_conformance::segmentation::cases;
use lictor_conformance::steps::{End, Step};
use lictor_conformance::{SuiteReport, root};
use lictor_model::Protocol;
use serde_json::{Value, json};
use std::collections::HashMap;

#[test]
fn pods_outside_the_mesh_connect_as_the_suite_says() {
    every_case("e2e-netpol-plain", "netpol-e2e, plain connections", false);
}

#[test]
fn pods_of_the_mesh_connect_as_the_suite_says() {
    every_case("e2e-netpol-mesh", "netpol-e2e, encrypted connections", true);
}

fn every_case(lab: &'static str, title: &str, enrolled: bool) {
    let Some(suite) = root().map(|root| root.join("netpol-e2e")).filter(|suite| suite.is_dir()) else {
        println!("netpol-e2e: not run, LICTOR_CONFORMANCE names no folder that has it");
        return;
    };
    let mut report = SuiteReport::new(title);
    let mut stage = Stage::new(lab, &["--pod-cidr", "10.244.0.0/16"]);
    for (folder, case) in cases(&suite) {
        match case {
            Ok(case) => {
                case.steps.iter().for_each(|step| try_step(&mut stage, &case.name, step, enrolled, &mut report))
            }
            Err(error) => report.broken(folder, error),
        }
    }
    println!("{report}");
    assert!(report.failed.is_empty() && report.passed > 0, "{} failures", report.failed.len());
}

fn try_step(stage: &mut Stage, case: &str, step: &Step, enrolled: bool, report: &mut SuiteReport) {
    let manifest: String = step.manifests.iter().flat_map(|text| placed(text, enrolled)).collect();
    if let Err(refused) = stage.show(&manifest) {
        report.broken(format!("{case} [{}]", step.name), refused);
        return;
    }
    let seen = Seen::new(&stage.probe(), report);
    for check in &step.checks {
        let what = format!("{case} [{}] {check}", step.name);
        let (End::Pod(source), End::Pod(destination)) = (&check.source, &check.destination) else {
            report.broken(what, "an end that is no pod");
            continue;
        };
        // A denied connection is dropped: neither refused nor opened and ended.
        let wanted = if check.wanted.is_allow() { "reached" } else { "dropped" };
        let got = seen.outcome(&source.to_string(), &destination.to_string(), check.protocol, check.port);
        report.check(what, wanted, got);
    }
}

/// The documents of a step, in the mesh or out of it.
fn placed(documents: &str, enrolled: bool) -> Vec<String> {
    let documents = documents.split("\n---\n").filter(|document| !document.trim().is_empty());
    let place = |document: &str| {
        let mut object: Value = serde_json::from_str(document).unwrap();
        if object["kind"] == "Pod" {
            object["metadata"]["annotations"]["lictor.dev/enroll"] = json!(enrolled.to_string());
        }
        format!("{object}\n---\n")
    };
    documents.map(place).collect()
}

/// What came of the connections.
struct Seen(HashMap<(String, String, String, u64), String>);

impl Seen {
    /// Counts a connection that did not do what the engine had said as a failure of its own.
    fn new(probed: &Value, report: &mut SuiteReport) -> Self {
        let mut seen = HashMap::new();
        for check in probed["checks"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (source, destination) = (text(&check["source"]["pod"]), text(&check["destination"]["pod"]));
            let (protocol, port) = (text(&check["protocol"]), check["port"].as_u64().unwrap());
            if check["agrees"] == false {
                let what = format!("prediction of {source} -> {destination}:{port}/{protocol}");
                report.check(what, &check["expected"], &check["observed"]);
            }
            seen.insert((source, destination, protocol, port), text(&check["observed"]));
        }
        Self(seen)
    }

    fn outcome(&self, source: &str, destination: &str, protocol: Protocol, port: u16) -> &str {
        let key = (source.to_owned(), destination.to_owned(), protocol.to_string(), port.into());
        self.0.get(&key).map_or("not tried", String::as_str)
    }
}
