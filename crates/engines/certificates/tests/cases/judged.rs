//! What is granted, and what is refused with which words.

use crate::{cases, certificate, snapshot};
use lictor_certificates::{Issuers, Rules, judge, owner};
use lictor_manifest::IssuerRef;

#[test]
fn each_certificate_is_granted_or_refused_as_its_case_says() {
    let snapshot = snapshot();
    let all = cases("judge.yaml");
    let mut wrong = Vec::new();
    for case in &all {
        let text = |key: &str| case[key].as_str();
        let named: Vec<&str> =
            case["issuers"].as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
        let mut issuers = Issuers::clusterwide(named);
        if let Some(name) = text("default") {
            issuers.all = [IssuerRef::cluster(name)].into();
        }
        let rules = Rules { issuers, cluster_domain: "cluster.local".into() };
        let certificate = certificate(text("namespace").unwrap_or("production"), case.get("spec"));
        let said = match judge(&certificate, &snapshot, &rules) {
            Ok(_) => "granted".to_owned(),
            Err(refusal) => format!("{} {} {}", refusal.reason, refusal.path, refusal.message),
        };
        let expected = text("expect").expect("an expectation");
        let mut words = expected.splitn(3, ' ');
        let head = [words.next(), words.next()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        if !said.starts_with(&head) || !said.contains(words.next().unwrap_or_default()) {
            wrong.push(format!("{}\n  wanted {expected}\n  said   {said}", case["case"]));
        }
    }
    println!("{} cases", all.len());
    assert!(all.len() >= 60 && wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn a_secret_belongs_to_the_one_it_names_else_to_the_oldest() {
    let base = certificate("production", None);
    let named = |name: &str, created: Option<&str>| {
        let mut one = (*base).clone();
        one.meta.name.name = name.into();
        let time = |text| time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
        one.meta.created = created.map(|text| time(text).expect("a time"));
        one
    };
    let (old, new) = (Some("2026-01-01T00:00:00Z"), Some("2026-02-01T00:00:00Z"));
    for (certificates, annotated, expected) in [
        (vec![named("b", None), named("a", None)], None, Some("a")),
        (vec![named("a", new), named("b", old)], None, Some("b")),
        (vec![named("a", None), named("b", old)], None, Some("b")),
        (vec![named("a", old), named("b", new)], Some("b"), Some("b")),
        (vec![named("a", old), named("b", new)], Some("gone"), Some("a")),
        (vec![], Some("a"), None),
    ] {
        let found = owner(&certificates, annotated).map(|name| name.name.to_string());
        assert_eq!(found.as_deref(), expected);
    }
}
