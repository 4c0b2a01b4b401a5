//! Which namespaces there are, and with which labels.

use crate::{build, pod};

#[test]
fn every_namespace_carries_its_name() {
    let declared = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red, kubernetes.io/metadata.name: lie}}\n";
    let policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: empty}\nspec: {podSelector: {}}\n";
    let manifests = declared.to_owned() + policy + &pod("a", "namespace: used", "", "") + &pod("b", "", "", "");
    let (snapshot, findings) = build(&manifests);
    let namespaces: Vec<String> =
        snapshot.namespaces.iter().map(|(name, state)| format!("{name} {} {}", state.declared, state.labels)).collect();
    assert_eq!(
        namespaces,
        [
            "default false kubernetes.io/metadata.name=default",
            "empty false kubernetes.io/metadata.name=empty",
            "shop true kubernetes.io/metadata.name=shop,team=red",
            "used false kubernetes.io/metadata.name=used",
        ]
    );
    let made = |name: &str| {
        format!("LIC1102: namespace {name} is used but not declared; it is made without labels of its own")
    };
    assert_eq!(findings, [made("empty"), made("used")]);
}
