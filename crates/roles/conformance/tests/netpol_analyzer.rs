//! Every public connectivity list of np-guard's analyzer, in the compatibility mode.
#![allow(missing_docs)]

use lictor_conformance::{netpol_analyzer, root};

#[test]
fn every_public_list_is_the_same_but_for_what_is_written_down() {
    let Some(suite) = root().map(|root| root.join("netpol-analyzer")).filter(|suite| suite.is_dir()) else {
        println!("netpol-analyzer: not run, LICTOR_CONFORMANCE names no folder that has it");
        return;
    };
    let report = netpol_analyzer::run(&suite);
    println!("{report}");
    assert!(report.failed.is_empty() && report.passed > 0);
}
