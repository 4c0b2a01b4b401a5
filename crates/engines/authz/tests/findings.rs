//! What is worth saying about policies, and where.

mod cluster;

use cluster::{POD, findings, manifests, snapshot};

#[track_caller]
fn check(text: &str, wanted: &[&str]) {
    let found = findings(&snapshot(&(POD.to_owned() + text)));
    let told: Vec<String> =
        found.iter().map(|finding| format!("{} {}: {}", finding.code, finding.position, finding.message)).collect();
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.starts_with(wanted), "found  {told}\nwanted {wanted}");
    }
}

#[test]
fn a_policy_that_is_in_order_is_passed_over() {
    check(&manifests(&[("a", "{rules: [{to: [{operation: {paths: [/x], ports: ['8080']}}]}]}")]), &[]);
    check(&manifests(&[("a", "{rules: [{to: [{operation: {ports: ['5432']}}]}]}")]), &[]);
}

#[test]
fn refused_policies() {
    let text = manifests(&[
        ("a", "\n  rules:\n  - {}\n  - from:\n    - source:\n        requestPrincipals: ['*']"),
        ("b", "\n  action: CUSTOM\n  provider: {name: opa}\n  rules: [{}]"),
    ]);
    check(
        &text,
        &[
            "LIC1303 test.yaml:22:9: AuthorizationPolicy foo/a is refused: it needs verified tokens",
            "LIC1305 test.yaml:22:9: spec.rules[1] of AuthorizationPolicy foo/a speaks of HTTP, but foo/app:5432",
            "LIC1304 test.yaml:28:3: AuthorizationPolicy foo/b is refused: it asks an external provider",
        ],
    );
}

#[test]
fn http_fields_where_there_is_no_http() {
    check(
        &manifests(&[("a", "{action: DENY, rules: [{to: [{operation: {methods: [GET], notPorts: ['1']}}]}]}")]),
        &[
            "LIC1305 test.yaml:17:49: spec.rules[0] of AuthorizationPolicy foo/a speaks of HTTP, but foo/app:5432 is declared as another protocol: the rule denies there",
        ],
    );
    // A Service in front says more than the container's own port name.
    let service = "
apiVersion: v1
kind: Service
metadata: {name: app, namespace: foo}
spec: {selector: {app: httpbin}, ports: [{name: odd, port: 80, targetPort: 5432, appProtocol: http}]}
---
";
    let policy = manifests(&[("a", "{rules: [{to: [{operation: {methods: [GET]}}]}]}")]);
    check(&(service.to_owned() + &policy), &[]);
}

#[test]
fn policies_without_effect() {
    check(
        &manifests(&[("a", "{selector: {matchLabels: {app: other}}, rules: [{}]}")]),
        &["LIC1108 test.yaml:17:8: AuthorizationPolicy foo/a applies to no pod"],
    );
    check(
        &manifests(&[("a", "{targetRef: {kind: Service, name: s}, rules: [{}]}")]),
        &["LIC1308 test.yaml:17:1: AuthorizationPolicy foo/a is attached by targetRef"],
    );
    check(
        &manifests(&[("a", "{rules: [{from: [{source: {principals: ['spiffe://td/ns/a/sa/b']}}]}]}")]),
        &["LIC1310 test.yaml:17:34: `spec.rules[0].from[0].source.principals`: no identity matches"],
    );
}

#[test]
fn peer_authentications_without_effect() {
    let policy = |name: &str, namespace: &str, spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n---\n"
        )
    };
    let selector = "{selector: {matchLabels: {app: httpbin}}, mtls: {mode: STRICT}}";
    check(
        &policy("a", "istio-system", selector),
        &["LIC1306 test.yaml:17:8: PeerAuthentication istio-system/a has a selector in the root namespace"],
    );
    check(
        &(policy("a", "foo", selector) + &policy("b", "foo", selector)),
        &["LIC1307 test.yaml:19:1: PeerAuthentication foo/b never counts"],
    );
    check(&policy("a", "bar", "{}"), &["LIC1108 test.yaml:17:1: PeerAuthentication bar/a applies to no pod"]);
}
