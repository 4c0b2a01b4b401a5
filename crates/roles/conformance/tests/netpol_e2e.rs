//! Every public NetworkPolicy case of Kubernetes' end-to-end tests, in the engine and in the compiled program.

use lictor_conformance::{netpol_e2e, root};

#[test]
fn every_public_case_passes() {
    let Some(suite) = root().map(|root| root.join("netpol-e2e")).filter(|suite| suite.is_dir()) else {
        println!("netpol-e2e: not run, LICTOR_CONFORMANCE names no folder that has it");
        return;
    };
    let report = netpol_e2e::run(&suite);
    println!("{report}");
    assert!(report.failed.is_empty() && report.passed > 0);
}
