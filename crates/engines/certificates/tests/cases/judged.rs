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
        let rules =
            Rules { issuers, has_authorities: case["authorities"] != false, cluster_domain: "cluster.local".into() };
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

#[test]
fn what_is_not_served_is_found_at_its_field() {
    let certificates = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a, namespace: shop}\nspec:\n  \
         secretName: a\n  issuerRef: {name: spiffe-issuer, kind: ClusterIssuer}\n  uris:\n  - spiffe://cluster.local/ns/other/sa/a\n\
         ---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: b, namespace: shop}\nspec:\n  \
         secretName: b\n  issuerRef: {name: letsencrypt}\n  uris: [x]\n";
    let found = lictor_certificates::findings(&crate::snapshot_of("c.yaml", certificates), &crate::reissued::rules());
    let said: Vec<String> = found
        .iter()
        .map(|one| format!("{}:{} {} {}", one.position.line, one.position.column, one.code, one.message))
        .collect();
    assert!(
        said[0]
            .starts_with("8:5 LIC1120 Certificate shop/a: `spec.uris[0]`: spiffe://cluster.local/ns/other/sa/a is of"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with(
            "15:3 LIC1121 Certificate shop/b: `spec.issuerRef`: Issuer.cert-manager.io/letsencrypt is none"
        ),
        "{said:?}"
    );
    assert_eq!(said.len(), 2);
}

#[test]
fn what_was_issued_is_kept_as_long_as_it_is_the_namespaces_own() {
    let (with, without) = (crate::snapshot(), crate::snapshot_of("empty.yaml", "---\n"));
    let rules = crate::reissued::rules();
    let spec = serde_json::json!({"uris": ["spiffe://cluster.local/web"], "dnsNames": ["web.example.test"]});
    let registered = judge(&certificate("production", Some(&spec)), &with, &rules).expect("a request");
    let own = judge(&certificate("production", None), &with, &rules).expect("a request");
    let kept = |request, snapshot| lictor_certificates::may_keep(request, &"production".into(), snapshot, &rules);
    assert!(kept(&registered, &with) && !kept(&registered, &without));
    assert!(kept(&own, &with) && kept(&own, &without));
}
