//! The cases of Cilium's policies between pods, by real connections, requests among them.

use crate::segmentation::placed;
use crate::stage::Stage;
use lictor_conformance::segmentation::cases;
use lictor_conformance::steps::{Check, End, SaidThere, Step, Wanted};
use lictor_conformance::{SuiteReport, root};
use lictor_model::{Name, Protocol};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn pods_outside_the_mesh_connect_as_cilium_says() {
    every_case("e2e-cilium-plain", false);
}

#[test]
fn pods_of_the_mesh_connect_and_ask_as_cilium_says() {
    every_case("e2e-cilium-mesh", true);
}

fn every_case(lab: &'static str, enrolled: bool) {
    let Some(folder) = root().map(|root| root.join("cilium-policy")).filter(|folder| folder.is_dir()) else {
        println!("cilium-policy: not run, LICTOR_CONFORMANCE names no folder that has it");
        return;
    };
    let connections = if enrolled { "encrypted" } else { "plain" };
    let mut report = SuiteReport::new(format!("cilium-policy, {connections} connections"));
    let mut not_made: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut stage = Stage::new(lab, &["--pod-cidr", "10.244.0.0/16", "--cidr-excludes-pods"]);
    for (folder, case) in cases(&folder) {
        let Ok(case) = case else {
            report.broken(folder, "the case cannot be read");
            continue;
        };
        for step in &case.steps {
            let manifest: String = step.manifests.iter().flat_map(|text| placed(text, enrolled)).collect();
            let mut wanted = Vec::new();
            for check in &step.checks {
                match tried(check, enrolled) {
                    Ok(ends) => wanted.push((check, ends)),
                    Err(why) => *not_made.entry(why).or_default() += 1,
                }
            }
            match stage.show(&manifest) {
                Ok(()) => wanted.iter().for_each(|(check, ends)| attempt(&stage, step, check, *ends, &mut report)),
                Err(refused) => report.broken(format!("{} [{}]", case.name, step.name), refused),
            }
        }
    }
    println!("{report}");
    for (why, count) in not_made {
        println!("cilium-policy: {count} not made: {why}");
    }
    assert!(report.failed.is_empty() && report.passed > 0, "{} failures", report.failed.len());
}

/// The pods of a check that a lab can try; otherwise why not.
fn tried(check: &Check, enrolled: bool) -> Result<(&Name, &Name), &'static str> {
    let (End::Pod(source), End::Pod(destination)) = (&check.source, &check.destination) else {
        return Err("an end is a node, or outside");
    };
    match (check.protocol, &check.said) {
        (Protocol::Other(_), _) if !is_echo(check) => Err("an ICMP message that asks for no answer"),
        (_, Some(SaidThere::Http(_))) if !enrolled => Err("requests are judged in the mesh"),
        (_, Some(SaidThere::Dns(_))) => Err("names are judged by the lab's own DNS"),
        _ => Ok((source, destination)),
    }
}

/// Whether it is an ICMP question that every kernel answers.
fn is_echo(check: &Check) -> bool {
    (check.protocol, check.port) == (Protocol::Other(1), 8)
}

fn attempt(stage: &Stage, step: &Step, check: &Check, (source, destination): (&Name, &Name), report: &mut SuiteReport) {
    let ask = match &check.said {
        Some(SaidThere::Http(http)) => {
            let headers: Vec<Value> = http.headers.iter().map(|(name, value)| json!([name, value])).collect();
            let host = if http.host.is_empty() { &*destination.name } else { &*http.host };
            json!({"http": {"method": http.method, "path": http.path, "host": host, "headers": headers}})
        }
        _ => json!("echo"),
    };
    let address = format!("{}:{}", step.address(destination), check.port);
    let patience = if check.wanted.opens() { 2000 } else { 400 };
    let protocol = check.protocol.to_string();
    let attempt = json!([{"id": 0, "address": address, "protocol": protocol, "ask": ask, "patience_ms": patience}]);
    let words = [env!("CARGO_BIN_EXE_lictor"), "probe-client", &attempt.to_string()];
    let output = stage.exec(&source.to_string(), &words);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let got =
        said["outcome"].as_str().map_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned(), str::to_owned);
    // Nothing need listen where a connection is let through: then it is refused, or ends at once.
    let wanted: &[&str] = match check.wanted {
        Wanted::Allow if is_echo(check) => &["reached"],
        Wanted::Allow if check.said.is_some() && step.declares(destination, check.port) => &["reached"],
        Wanted::Allow => &["reached", "refused", "ended"],
        Wanted::Refuse => &["forbidden"],
        Wanted::Deny => &["dropped"],
    };
    let got = if wanted.contains(&got.as_str()) { wanted.join(" or ") } else { got };
    report.check(format!("{} {check}", step.name), wanted.join(" or "), got);
}
