//! The order of the evaluation, what refuses, and what only tells.

mod cluster;

use cluster::{Ask, POD, app, manifests, snapshot, with_policies};
use lictor_authz::{Capabilities, Program, Refusal, Stage};
use lictor_authz::{PolicyState, Transport};
use lictor_manifest::MtlsMode;
use lictor_model::{By, Mode, Name, Verdict};
use serde_json::json;

const ANY: &str = "{rules: [{}]}";
const NONE: &str = "{}";
const DENY_ANY: &str = "{action: DENY, rules: [{}]}";
const AUDIT_ANY: &str = "{action: AUDIT, rules: [{}]}";
const CUSTOM_ANY: &str = "{action: CUSTOM, provider: {name: opa}, rules: [{}]}";
const ALLOW_X: &str = "{rules: [{to: [{operation: {paths: [/x]}}]}]}";

#[track_caller]
fn check(policies: &[(&str, &str)], ask: &Ask, stage: Stage, verdict: Verdict) {
    let outcome = ask.of(&with_policies(policies), Capabilities::ALL);
    assert_eq!((outcome.stage, outcome.verdict), (stage, verdict), "{policies:?}");
}

#[test]
fn custom_before_deny_before_allow() {
    let ask = Ask::default();
    check(&[], &ask, Stage::NoAllowPolicy, Verdict::Allow);
    check(&[("a", ANY)], &ask, Stage::Allow, Verdict::Allow);
    check(&[("a", NONE)], &ask, Stage::NoAllowMatch, Verdict::Deny);
    check(&[("a", ALLOW_X)], &ask, Stage::NoAllowMatch, Verdict::Deny);
    check(&[("a", ALLOW_X), ("b", ANY)], &ask, Stage::Allow, Verdict::Allow);
    check(&[("a", ANY), ("b", DENY_ANY)], &ask, Stage::Deny, Verdict::Deny);
    check(&[("a", ANY), ("b", DENY_ANY), ("c", CUSTOM_ANY)], &ask, Stage::Custom, Verdict::Deny);
    check(&[("a", AUDIT_ANY)], &ask, Stage::NoAllowPolicy, Verdict::Allow);
}

#[test]
fn a_provider_that_allows_leaves_it_to_the_others() {
    let snapshot = with_policies(&[
        ("c", CUSTOM_ANY),
        ("d", "{action: DENY, rules: [{to: [{operation: {paths: [/x], ports: ['8080']}}]}]}"),
    ]);
    let (program, findings) = Program::compile(&snapshot, Capabilities::ALL);
    assert!(findings.is_empty(), "{findings:?}");
    let ask = |path, answer| {
        let ask = Ask { path, ..Ask::default() };
        ask.with(|request| {
            program.decide(&app(), request, &|provider| if provider == "opa" { answer } else { Verdict::Deny }).stage
        })
    };
    assert_eq!(ask("/", Verdict::Allow), Stage::NoAllowPolicy);
    assert_eq!(ask("/x", Verdict::Allow), Stage::Deny);
    assert_eq!(ask("/", Verdict::Deny), Stage::Custom);
}

#[test]
fn plain_tcp_never_widens() {
    let tcp = Ask::tcp(7000);
    let http_allow = "{rules: [{to: [{operation: {methods: [GET]}}, {operation: {ports: ['7000']}}]}]}";
    check(&[("a", http_allow)], &tcp, Stage::NoAllowMatch, Verdict::Deny);
    check(
        &[("a", http_allow), ("b", "{rules: [{to: [{operation: {ports: ['7000']}}]}]}")],
        &tcp,
        Stage::Allow,
        Verdict::Allow,
    );
    for field in [
        "to: [{operation: {methods: [GET]}}]",
        "to: [{operation: {notPaths: [/x]}}]",
        "to: [{operation: {hosts: [a]}}]",
        "from: [{source: {requestPrincipals: [a/b]}}]",
        "from: [{source: {notRequestPrincipals: ['*']}}]",
        "when: [{key: 'request.headers[x]', values: [a]}]",
        "when: [{key: 'request.auth.claims[x]', notValues: [a]}]",
    ] {
        check(&[("a", &format!("{{rules: [{{{field}}}]}}"))], &tcp, Stage::NoAllowMatch, Verdict::Deny);
        check(&[("a", &format!("{{action: DENY, rules: [{{{field}}}]}}"))], &tcp, Stage::Deny, Verdict::Deny);
    }
    // The other fields of a DENY rule still count.
    let elsewhere = "{action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['80']}}]}]}";
    check(&[("a", elsewhere)], &tcp, Stage::NoAllowPolicy, Verdict::Allow);
}

#[test]
fn what_is_not_known_never_widens() {
    let metadata = "when: [{key: 'experimental.envoy.filters.network.mysql_proxy[db.table]', values: ['[insert]']}]";
    check(&[("a", &format!("{{rules: [{{{metadata}}}]}}"))], &Ask::default(), Stage::NoAllowMatch, Verdict::Deny);
    check(&[("a", &format!("{{action: DENY, rules: [{{{metadata}}}]}}"))], &Ask::default(), Stage::Deny, Verdict::Deny);
}

#[test]
fn a_header_that_is_sent_twice_is_no_way_past_a_rule() {
    let rule = "when: [{key: 'request.headers[x-role]', values: [guest]}]";
    let twice = Ask { headers: vec![("x-role", "guest"), ("x-role", "dev")], ..Ask::default() };
    check(&[("a", &format!("{{action: DENY, rules: [{{{rule}}}]}}"))], &twice, Stage::Deny, Verdict::Deny);
    check(&[("a", &format!("{{rules: [{{{rule}}}]}}"))], &twice, Stage::NoAllowMatch, Verdict::Deny);
    let not = "when: [{key: 'request.headers[x-role]', notValues: [guest]}]";
    check(&[("a", &format!("{{rules: [{{{not}}}]}}"))], &twice, Stage::NoAllowMatch, Verdict::Deny);
    let joined = "when: [{key: 'request.headers[x-role]', values: ['guest,dev']}]";
    check(&[("a", &format!("{{rules: [{{{joined}}}]}}"))], &twice, Stage::Allow, Verdict::Allow);
}

#[test]
fn a_dry_run_only_tells_what_it_would_do() {
    let dry = |name: &str, spec: &str| {
        let metadata = format!("{{name: {name}, namespace: foo, annotations: {{istio.io/dry-run: 'true'}}}}");
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {metadata}\nspec: {spec}\n---\n"
        )
    };
    let outcome = |text: &str| Ask::default().of(&snapshot(&(POD.to_owned() + text)), Capabilities::ALL);
    let alone = outcome(&dry("d", DENY_ANY));
    assert_eq!((alone.verdict, alone.would, alone.stage), (Verdict::Allow, Verdict::Deny, Stage::NoAllowPolicy));
    let isolates = outcome(&dry("d", ALLOW_X));
    assert_eq!((isolates.verdict, isolates.would), (Verdict::Allow, Verdict::Deny));
    let frees = outcome(&(manifests(&[("a", ALLOW_X)]) + &dry("d", ANY)));
    assert_eq!((frees.verdict, frees.would), (Verdict::Deny, Verdict::Allow));
}

#[test]
fn audit_tells_each_rule_that_matched() {
    let snapshot = with_policies(&[
        ("a", AUDIT_ANY),
        ("b", "{action: AUDIT, rules: [{to: [{operation: {paths: [/y]}}]}, {}]}"),
        ("c", ALLOW_X),
    ]);
    let outcome = Ask::default().of(&snapshot, Capabilities::ALL);
    let audited: Vec<String> = outcome.audited.iter().map(ToString::to_string).collect();
    assert_eq!(audited, ["AuthorizationPolicy foo/a spec.rules[0]", "AuthorizationPolicy foo/b spec.rules[1]"]);
    assert_eq!(outcome.stage, Stage::NoAllowMatch);
}

#[test]
fn every_policy_that_matched_is_told_when_asked() {
    let snapshot = with_policies(&[
        ("a", ANY),
        ("b", ALLOW_X),
        ("c", ANY),
        ("d", "{action: DENY, rules: [{to: [{operation: {paths: [/z]}}]}]}"),
    ]);
    let (program, _) = Program::compile(&snapshot, Capabilities::ALL);
    let workload = program.workload(&app()).expect("the pod is in the mesh");
    let names = |path, stage| -> Vec<String> {
        let ask = Ask { path, ..Ask::default() };
        ask.with(|request| workload.matching(request, stage)).iter().map(|one| one.name.name.to_string()).collect()
    };
    assert_eq!(names("/", Stage::Allow), ["a", "c"]);
    assert_eq!(names("/x", Stage::Allow), ["a", "b", "c"]);
    assert_eq!(names("/z", Stage::Deny), ["d"]);
    assert_eq!(names("/", Stage::NoAllowMatch), ["a", "b", "c"]);
}

#[test]
fn a_policy_that_needs_what_is_not_there_is_refused_and_never_widens() {
    let token = "{rules: [{from: [{source: {requestPrincipals: ['*']}}]}, {to: [{operation: {paths: [/open]}}]}]}";
    let deny_token =
        "{action: DENY, rules: [{from: [{source: {notRequestPrincipals: ['*']}}], to: [{operation: {paths: [/x]}}]}]}";
    let with_token = Ask { claims: Some(json!({"iss": "i", "sub": "s"})), path: "/open", ..Ask::default() };
    let now = |policies: &[(&str, &str)], ask: &Ask| {
        let outcome = ask.of(&with_policies(policies), Capabilities::default());
        (outcome.stage, outcome.verdict)
    };
    // A refused ALLOW allows nothing, not even by its rules that need no token, and isolates all the same.
    assert_eq!(now(&[("a", token)], &with_token), (Stage::NoAllowMatch, Verdict::Deny));
    assert_eq!(now(&[("a", token), ("b", ANY)], &with_token), (Stage::Allow, Verdict::Allow));
    // A refused DENY denies all that its other fields select.
    let x = Ask { path: "/x", ..with_token.clone() };
    assert_eq!(now(&[("a", deny_token)], &x), (Stage::Deny, Verdict::Deny));
    assert_eq!(now(&[("a", deny_token)], &with_token), (Stage::NoAllowPolicy, Verdict::Allow));
    // CUSTOM without a provider denies what it selects.
    assert_eq!(now(&[("c", CUSTOM_ANY)], &x), (Stage::Custom, Verdict::Deny));
    // With the capability all of them are evaluated.
    check(&[("a", token)], &Ask { path: "/", ..with_token.clone() }, Stage::Allow, Verdict::Allow);
    check(&[("a", deny_token)], &x, Stage::NoAllowPolicy, Verdict::Allow);

    let (program, _) = Program::compile(&with_policies(&[("a", token), ("c", CUSTOM_ANY)]), Capabilities::default());
    let states: Vec<_> = program.status.iter().map(|status| (status.state, status.pods)).collect();
    assert_eq!(
        states,
        [(PolicyState::Refused(Refusal::NeedsToken), 1), (PolicyState::Refused(Refusal::NeedsProvider), 1)]
    );
}

#[test]
fn ports_whose_traffic_must_be_understood() {
    let needs = |spec: &str, port: u16| {
        let (program, _) = Program::compile(&with_policies(&[("a", spec)]), Capabilities::default());
        program.workload(&app()).expect("the pod is in the mesh").needs_http(port)
    };
    assert!(!needs(ANY, 80) && !needs(DENY_ANY, 80) && !needs("{rules: [{from: [{source: {namespaces: [a]}}]}]}", 80));
    assert!(needs(ALLOW_X, 80) && needs(ALLOW_X, 1));
    let scoped = "{rules: [{to: [{operation: {paths: [/x], ports: ['80']}}, {operation: {ports: ['81']}}]}]}";
    assert!(needs(scoped, 80) && !needs(scoped, 82));
    // The whole rule is void on plain TCP, so the port of its other operation must be understood too.
    assert!(needs(scoped, 81));
    assert!(needs("{rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}", 80));
    let by_condition = "{action: AUDIT, rules: [{when: [{key: 'request.headers[x]', values: [a]}, {key: destination.port, notValues: ['80']}]}]}";
    assert!(!needs(by_condition, 80) && needs(by_condition, 81));
}

#[test]
fn ports_whose_server_name_must_be_seen() {
    let sni = "{rules: [{to: [{operation: {ports: ['443']}}], when: [{key: connection.sni, values: [a]}]}]}";
    let (program, _) = Program::compile(&with_policies(&[("a", sni)]), Capabilities::default());
    let workload = program.workload(&app()).expect("the pod is in the mesh");
    assert!(workload.needs_sni(443) && !workload.needs_sni(80) && !workload.needs_http(443));
}

const PEERS: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: mesh, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: app, namespace: foo}
spec: {selector: {matchLabels: {app: httpbin}}, portLevelMtls: {'7000': {mode: PERMISSIVE}}}
---
";

#[test]
fn the_transport_comes_first() {
    let outside = POD
        .replace("name: app, namespace: foo", "name: out, namespace: foo, annotations: {lictor.dev/enroll: 'false'}");
    let snapshot = snapshot(&(POD.to_owned() + &outside + PEERS + &manifests(&[("d", DENY_ANY)])));
    let (program, _) = Program::compile(&snapshot, Capabilities::default());
    let said = |port| program.transport(&app(), port);
    let Transport { mode, by, stance } = said(8080);
    assert_eq!(
        (mode, stance, by.to_string().as_str()),
        (MtlsMode::Strict, Mode::Enforce, "PeerAuthentication istio-system/mesh spec.mtls.mode")
    );
    assert_eq!(
        (said(7000).mode, said(7000).by.to_string().as_str()),
        (MtlsMode::Permissive, "PeerAuthentication foo/app spec.portLevelMtls.7000")
    );
    let decide = |ask: Ask| ask.with(|request| program.decide(&app(), request, &|_| Verdict::Deny).stage);
    assert_eq!(decide(Ask { principal: None, ..Ask::default() }), Stage::PeerAuthentication);
    assert_eq!(decide(Ask { principal: None, ..Ask::tcp(7000) }), Stage::Deny);
    assert_eq!(decide(Ask::default()), Stage::Deny);
    // Outside the mesh nothing is judged; a pod that is not known takes nothing in plaintext.
    let out = Name::new("foo", "out");
    assert_eq!((program.transport(&out, 80).by, program.workload(&out).is_none()), (By::OutsideMesh, true));
    let nobody = Name::new("foo", "nobody");
    assert_eq!((program.transport(&nobody, 80).mode, program.workload(&nobody).is_none()), (MtlsMode::Strict, true));
    let stranger = Ask::default().with(|request| program.decide(&nobody, request, &|_| Verdict::Allow));
    assert_eq!(stranger.verdict, Verdict::Deny);
}

#[test]
fn a_stance_says_how_far_it_goes() {
    let stance = "
apiVersion: lictor.dev/v1alpha1
kind: Stance
metadata: {name: watch, namespace: foo}
spec: {layers: [authorization, transport], mode: Audit}
---
";
    let snapshot = snapshot(&(POD.to_owned() + PEERS + stance + &manifests(&[("d", DENY_ANY)])));
    let (program, _) = Program::compile(&snapshot, Capabilities::default());
    let outcome =
        Ask { principal: None, ..Ask::default() }.with(|request| program.decide(&app(), request, &|_| Verdict::Deny));
    assert_eq!((outcome.verdict, outcome.mode, outcome.stage), (Verdict::Deny, Mode::Audit, Stage::Deny));
    assert_eq!(program.transport(&app(), 80).stance, Mode::Audit);
}

#[test]
fn pods_with_the_same_policies_share_them() {
    let second = POD.replace("name: app, namespace", "name: app2, namespace");
    let snapshot = snapshot(&(POD.to_owned() + &second + &manifests(&[("a", ANY)])));
    let (program, _) = Program::compile(&snapshot, Capabilities::default());
    let of = |name: &str| program.workload(&Name::new("foo", name)).expect("the pod is in the mesh");
    assert!(std::sync::Arc::ptr_eq(&of("app"), &of("app2")));
}
