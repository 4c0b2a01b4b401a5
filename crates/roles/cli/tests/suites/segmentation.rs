//! Every public case of the suites about segmentation, by real connections.
//!
//! One lab sees the cases one after the other, as edits of a manifest: pods are relabelled, policies come and go.

use crate::stage::Stage;
use lictor_conformance::segmentation::cases;
use lictor_conformance::steps::{End, Step};
use lictor_conformance::{SuiteReport, root};
use lictor_manifest::Object;
use lictor_model::{Name, Protocol};
use nix::libc;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::FromRawFd as _;

#[test]
fn pods_outside_the_mesh_connect_as_the_suite_says() {
    every_case("netpol-e2e", "e2e-netpol-plain", false);
}

#[test]
fn pods_of_the_mesh_connect_as_the_suite_says() {
    every_case("netpol-e2e", "e2e-netpol-mesh", true);
}

#[test]
fn tiers_around_them_hold_outside_the_mesh() {
    every_case("cnp-conformance", "e2e-cnp-plain", false);
}

#[test]
fn tiers_around_them_hold_in_the_mesh() {
    every_case("cnp-conformance", "e2e-cnp-mesh", true);
}

fn every_case(suite: &'static str, lab: &'static str, enrolled: bool) {
    let Some(folder) = root().map(|root| root.join(suite)).filter(|folder| folder.is_dir()) else {
        println!("{suite}: not run, LICTOR_CONFORMANCE names no folder that has it");
        return;
    };
    let connections = if enrolled { "encrypted" } else { "plain" };
    let mut report = SuiteReport::new(format!("{suite}, {connections} connections"));
    let mut not_made = BTreeMap::new();
    let mut stage = Stage::new(lab, &["--pod-cidr", "10.244.0.0/16"]);
    for (folder, case) in cases(&folder) {
        match case {
            Ok(case) => {
                for step in &case.steps {
                    try_step(&mut stage, &case.name, step, enrolled, &mut report, &mut not_made);
                }
            }
            Err(error) => report.broken(folder, error),
        }
    }
    println!("{report}");
    for (why, count) in not_made {
        println!("{suite}: {count} not made: {why}");
    }
    assert!(report.failed.is_empty() && report.passed > 0, "{} failures", report.failed.len());
}

fn try_step(
    stage: &mut Stage,
    case: &str,
    step: &Step,
    enrolled: bool,
    report: &mut SuiteReport,
    not_made: &mut BTreeMap<&'static str, usize>,
) {
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
        let on_the_node = |name: &Name| {
            let pod = |object: &Object| match object {
                Object::Workload(pod) => pod.meta.name == *name && pod.template.spec.host_network,
                _ => false,
            };
            step.objects.iter().any(pod)
        };
        let why = match check.protocol {
            _ if on_the_node(source) || on_the_node(destination) => Some("a lab runs no host-network pods"),
            Protocol::Sctp if !has_sctp() => Some("this kernel has no SCTP"),
            _ => None,
        };
        if let Some(why) = why {
            *not_made.entry(why).or_default() += 1;
            continue;
        }
        // A denied connection is dropped: neither refused nor opened and ended.
        let wanted = if check.wanted.opens() { "reached" } else { "dropped" };
        let got = seen.outcome(&source.to_string(), &destination.to_string(), check.protocol, check.port);
        report.check(what, wanted, got);
    }
}

/// Whether this kernel can open an SCTP connection at all.
fn has_sctp() -> bool {
    // SAFETY: the call takes three numbers.
    #[allow(unsafe_code)]
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_SCTP) };
    if socket >= 0 {
        // SAFETY: the kernel has just made it, and nothing else knows of it.
        #[allow(unsafe_code)]
        drop(unsafe { std::os::fd::OwnedFd::from_raw_fd(socket) });
    }
    socket >= 0
}

/// The documents of a step, in the mesh or out of it.
pub(crate) fn placed(documents: &str, enrolled: bool) -> Vec<String> {
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
