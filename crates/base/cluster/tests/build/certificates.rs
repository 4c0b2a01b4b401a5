//! Certificates, and what stands in their way.

use crate::{build, objects, settings};
use lictor_cluster::{AddressPool, Delta, Snapshot};
use lictor_manifest::IssuerRef;
use lictor_model::{Name, Revision};

const CERTIFICATE: &str = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a}\n\
     spec: {secretName: s, uris: [spiffe://td/a], issuerRef: {name: i, kind: ClusterIssuer}}\n---\n";

fn issuer(kind: &str, namespace: &str) -> String {
    format!(
        "apiVersion: cert-manager.io/v1\nkind: {kind}\nmetadata: {{name: i, namespace: {namespace}}}\nspec: {{}}\n---\n"
    )
}

#[test]
fn one_without_a_namespace_is_in_the_default_one_and_makes_it() {
    let (snapshot, findings) = build(CERTIFICATE);
    assert!(snapshot.certificates.by_name.contains_key(&Name::new("default", "a")));
    assert_eq!(
        snapshot.certificates.by_name.values().next().map(|one| one.meta.name.to_string()),
        Some("default/a".into())
    );
    assert!(snapshot.namespaces.contains_key("default"));
    assert!(findings.iter().all(|finding| finding.starts_with("LIC1102")), "{findings:?}");
    let twice = build(&CERTIFICATE.repeat(2)).1;
    let told = |finding: &String| finding.starts_with("LIC1101: Certificate default/a is declared twice");
    assert!(twice.iter().any(told), "{twice:?}");
}

#[test]
fn a_declared_issuer_is_found_by_what_certificates_call_it() {
    let manifests = issuer("ClusterIssuer", "ignored") + &issuer("Issuer", "shop") + &issuer("Issuer", "\"\"");
    let found = build(&manifests).0.certificates;
    let cluster = IssuerRef::cluster("i");
    let own = IssuerRef { kind: "Issuer".into(), ..cluster.clone() };
    let declared = |issuer: &IssuerRef, namespace: &str| found.declaration(issuer, &namespace.into()).is_some();
    assert!(declared(&cluster, "shop") && declared(&cluster, "any"));
    assert!(declared(&own, "shop") && declared(&own, "default") && !declared(&own, "any"));
    assert!(!declared(&IssuerRef { group: "other.test".into(), ..cluster }, "shop"));
}

#[test]
fn what_matters_to_them_is_told_as_a_change() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: default}\ndata: {}\n---\n";
    let snapshot =
        |manifests: &str| Snapshot::build(&objects(manifests), &settings(), &mut AddressPool::default(), Revision(1)).0;
    let before = snapshot(CERTIFICATE);
    let differs = |manifests: &str| Delta::between(&before, &snapshot(manifests)).certificates;
    assert!(!differs(&format!("# moved\n{CERTIFICATE}")));
    assert!(differs(&CERTIFICATE.replace("secretName: s", "secretName: t")));
    assert!(
        differs(&(CERTIFICATE.to_owned() + secret))
            && differs(&(CERTIFICATE.to_owned() + &issuer("ClusterIssuer", "x")))
    );
    assert!(differs("---\n"));
}
