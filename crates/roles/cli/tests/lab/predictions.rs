//! What the engine predicts of each connection is what it does.

use crate::lab::{Lab, example};
use std::path::{Path, PathBuf};

#[test]
fn the_shop_does_what_is_predicted() {
    let lab = Lab::up("e2e-shop", &[&example("shop")]);
    lab.assert_predictions_hold();
    let status = lab.status();
    let policies = status["policies"].as_array().unwrap().iter();
    let pods: Vec<(&str, u64)> =
        policies.map(|one| (one["policy"]["name"].as_str().unwrap(), one["pods"].as_u64().unwrap())).collect();
    let wanted = [
        ("production/allow-api-to-db", 1),
        ("production/default-deny", 5),
        ("checkout/checkout-requests", 2),
        ("payments/payments-api", 1),
        ("istio-system/default", 11),
    ];
    assert_eq!(pods, wanted);
}

#[test]
fn the_shop_with_its_fixes_does_what_is_predicted() {
    let lab = Lab::up("e2e-fixed", &[&example("shop"), &example("shop-fixes")]);
    lab.assert_predictions_hold();
    assert!(lab.run(&["why", "production/api", "production/db:5432"]).status.success(), "the fix lets the api in");
}

#[test]
fn applications_of_others_do_what_is_predicted() {
    let suites = std::env::var_os("LICTOR_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/conformance"), PathBuf::from);
    let folder = suites.join("netpol-analyzer");
    if !folder.is_dir() {
        println!("netpol-analyzer was not found: 0 of 3 applications run");
        return;
    }
    let applications = [
        ("e2e-boutique", "onlineboutique_workloads"),
        ("e2e-minimal", "netpol-analysis-example-minimal"),
        ("e2e-ports", "test_with_named_ports"),
    ];
    for (lab, application) in applications {
        Lab::up(lab, &[&folder.join(application).join("manifests")]).assert_predictions_hold();
    }
}

#[test]
fn an_ipv6_lab_does_what_is_predicted() {
    let lab = Lab("e2e-six");
    let blocks = ["--pod-cidr", "fd00:10:244::/64", "--service-cidr", "fd00:10:96::/112"];
    let output = lab.command(&["up", "--detach"]).args(blocks).arg(example("shop")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lab.assert_predictions_hold();
}
