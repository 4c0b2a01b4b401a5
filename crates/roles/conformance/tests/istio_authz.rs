//! Every public case of `istio-authz` that is run here, part by part.

use lictor_conformance::{SuiteReport, istio_authz, root};

#[test]
fn every_public_case_of_each_part_holds() {
    let Some(suite) = root().map(|root| root.join("istio-authz")).filter(|suite| suite.is_dir()) else {
        println!("istio-authz: not run, the suite is not here");
        return;
    };
    let mut failures = 0;
    for (part, run) in istio_authz::PARTS {
        let mut report = SuiteReport::new(format!("istio-authz/{part}"));
        run(&suite.join(part), &mut report);
        println!("{report}");
        assert!(report.passed + report.failed.len() > 0, "{part} has no case");
        failures += report.failed.len();
    }
    assert_eq!(failures, 0);
}
