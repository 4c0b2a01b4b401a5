//! Verdicts with their reasons.

mod cluster;

use cluster::{Ask, POD, manifests, pod, snapshot, with_policies};
use lictor_authz::{explain, explain_transport};
use lictor_model::{Layer, NearestMiss, Step, Verdict};

fn of(policies: &[(&str, &str)], ask: &Ask) -> Step {
    let snapshot = with_policies(policies);
    ask.with(|request| explain(&snapshot, pod(&snapshot, "app"), request))
}

fn told(miss: &NearestMiss) -> Vec<String> {
    miss.fields.iter().map(|field| format!("{}: {} / {}", field.field, field.wanted, field.seen)).collect()
}

#[track_caller]
fn check(policies: &[(&str, &str)], ask: &Ask, rule: &str, fields: &[&str]) {
    let step = of(policies, ask);
    assert_eq!((step.layer, step.verdict), (Layer::Authorization, Verdict::Deny));
    let miss = step.nearest_miss.expect("something came closest");
    assert_eq!(
        (miss.rule.to_string().as_str(), told(&miss)),
        (rule, fields.iter().map(|field| (*field).to_owned()).collect())
    );
}

const SHOP: (&str, &str) = (
    "shop",
    "{rules: [
       {from: [{source: {principals: [cluster.local/ns/production/sa/api]}}, {source: {namespaces: [test], ipBlocks: [192.0.2.0/24]}}],
        to: [{operation: {methods: [GET, HEAD], paths: ['/info*']}}, {operation: {methods: [POST], paths: [/data]}}]},
       {when: [{key: connection.sni, values: [x]}, {key: source.namespace, values: [z]}, {key: destination.port, values: ['1']}]}]}",
);

#[test]
fn the_rule_that_failed_on_the_fewest_fields() {
    let ask = Ask { path: "/info/1", ..Ask::default() };
    check(
        &[SHOP],
        &ask,
        "AuthorizationPolicy foo/shop spec.rules[0]",
        &[
            "spec.rules[0].from[0].source.principals: cluster.local/ns/production/sa/api / cluster.local/ns/default/sa/sleep",
        ],
    );
    let post = Ask {
        principal: Some("cluster.local/ns/production/sa/api"),
        method: "POST",
        path: "/data/1?q",
        ..Ask::default()
    };
    check(
        &[SHOP],
        &post,
        "AuthorizationPolicy foo/shop spec.rules[0]",
        &["spec.rules[0].to[1].operation.paths: /data / /data/1"],
    );
    let plain = Ask { principal: None, path: "/info", ..Ask::default() };
    check(
        &[SHOP],
        &plain,
        "AuthorizationPolicy foo/shop spec.rules[0]",
        &["spec.rules[0].from[0].source.principals: cluster.local/ns/production/sa/api / no identity (plaintext)"],
    );
}

#[test]
fn a_connection_that_is_not_http_is_told_so() {
    let rule = "{rules: [{to: [{operation: {methods: [GET]}}]}]}";
    check(
        &[("a", rule)],
        &Ask::tcp(7000),
        "AuthorizationPolicy foo/a spec.rules[0]",
        &["spec.rules[0].to[0].operation.methods: GET / a connection that is not HTTP"],
    );
    let other = "{rules: [{to: [{operation: {methods: [GET]}}, {operation: {ports: ['7000']}}]}]}";
    check(
        &[("a", other)],
        &Ask::tcp(7000),
        "AuthorizationPolicy foo/a spec.rules[0]",
        &["spec.rules[0].to[0].operation.methods: GET / a connection that is not HTTP"],
    );
}

#[test]
fn who_decided_and_who_had_a_say() {
    let step = of(
        &[("a", "{rules: [{}]}"), ("d", "{action: DENY, rules: [{to: [{operation: {ports: ['1']}}]}, {}]}")],
        &Ask::default(),
    );
    assert_eq!(step.by.to_string(), "AuthorizationPolicy foo/d spec.rules[1]");
    assert_eq!(step.applied.iter().map(|one| &*one.name.name).collect::<Vec<_>>(), ["d", "a"]);
    assert!(step.nearest_miss.is_none() && step.notes.is_empty());
    let none = of(&[("a", "{}")], &Ask::default());
    assert_eq!(none.by.to_string(), "default, isolated by foo/a");
    assert!(none.nearest_miss.is_none());
    let refused = of(&[("a", "{rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}")], &Ask::default());
    assert_eq!(
        refused.notes.iter().map(|note| &**note).collect::<Vec<_>>(),
        ["AuthorizationPolicy foo/a is refused, see its finding"]
    );
    assert!(refused.nearest_miss.is_none(), "a refused policy is no way in");
}

#[test]
fn the_transport_with_both_identities() {
    let outside = POD
        .replace("name: app, namespace: foo", "name: out, namespace: foo, annotations: {lictor.dev/enroll: 'false'}");
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p, namespace: foo}\nspec: {mtls: {mode: STRICT}}\n---\n";
    let snapshot = snapshot(&(POD.to_owned() + &outside + strict + &manifests(&[])));
    let (app, out) = (pod(&snapshot, "app"), pod(&snapshot, "out"));
    let told = |step: Step| {
        let notes = step.notes.iter().map(|note| &**note).collect::<Vec<_>>().join("; ");
        assert_eq!(step.layer, Layer::Transport);
        format!("{} by {}: {notes}", step.verdict, step.by)
    };
    let id = "spiffe://cluster.local/ns/foo/sa/default";
    let policy = "PeerAuthentication foo/p spec.mtls.mode";
    for (source, destination, wanted) in [
        (Some(app), app, format!("allowed by {policy}: STRICT; mutual TLS, {id} to {id}")),
        (Some(out), app, format!("denied by {policy}: STRICT; foo/out is outside the mesh; plaintext")),
        (None, app, format!("denied by {policy}: STRICT; plaintext, from no pod of the mesh")),
        (
            Some(app),
            out,
            "allowed by default, an end is outside the mesh: foo/out is outside the mesh; plaintext".to_owned(),
        ),
    ] {
        assert_eq!(told(explain_transport(&snapshot, source, destination, 8080)), wanted);
    }
    let step = explain_transport(&snapshot, Some(app), app, 8080);
    assert_eq!(step.applied.iter().map(ToString::to_string).collect::<Vec<_>>(), ["PeerAuthentication foo/p"]);
}
