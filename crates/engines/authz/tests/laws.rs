//! Laws that hold for all policies and requests.

mod cluster;

use cluster::{Ask, POD, app, manifests, pod, snapshot, with_policies};
use lictor_authz::{Capabilities, Program, Stage, explain};
use lictor_model::Verdict;
use proptest::prelude::*;
use proptest::sample::select;

/// Rules out of a small vocabulary, so that they meet the requests often.
fn rule() -> impl Strategy<Value = String> {
    let source = select(vec![
        "",
        "from: [{source: {principals: ['*']}}]",
        "from: [{source: {notPrincipals: ['cluster.local/ns/a/*']}}]",
        "from: [{source: {namespaces: [a]}}, {source: {ipBlocks: [10.0.0.0/8]}}]",
        "from: [{source: {requestPrincipals: ['*']}}]",
    ]);
    let operation = select(vec![
        "",
        "to: [{operation: {methods: [GET]}}]",
        "to: [{operation: {ports: ['8080'], notPaths: ['/x*']}}, {operation: {ports: ['7000']}}]",
        "to: [{operation: {paths: ['/x/{*}', '/y']}}]",
    ]);
    let when = select(vec![
        "",
        "when: [{key: 'request.headers[x]', notValues: [a]}]",
        "when: [{key: source.ip, values: [10.0.0.7]}]",
        "when: [{key: connection.sni, values: [s]}]",
    ]);
    (source, operation, when).prop_map(|(source, operation, when)| {
        let parts: Vec<&str> = [source, operation, when].into_iter().filter(|part| !part.is_empty()).collect();
        format!("{{{}}}", parts.join(", "))
    })
}

fn policy() -> impl Strategy<Value = String> {
    let action = select(vec!["ALLOW", "ALLOW", "DENY", "AUDIT", "CUSTOM"]);
    (action, proptest::collection::vec(rule(), 1..3)).prop_map(|(action, rules)| {
        // CUSTOM takes no fields of the peer.
        let taken =
            |rule: &&String| action != "CUSTOM" || !["rincipals", "namespaces"].iter().any(|word| rule.contains(word));
        let rules: Vec<&str> = rules.iter().filter(taken).map(String::as_str).collect();
        let provider = if action == "CUSTOM" { "provider: {name: p}, " } else { "" };
        format!("{{action: {action}, {provider}rules: [{}]}}", rules.join(", "))
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let principal = select(vec![None, Some("cluster.local/ns/a/sa/x"), Some("other/ns/b/sa/y")]);
    let http = select(vec![true, true, false]);
    let headers = select(vec![vec![], vec![("x", "a")], vec![("x", "a"), ("x", "b")]]);
    let claims = select(vec![None, Some(serde_json::json!({"iss": "i", "sub": "s"}))]);
    (principal, http, select(vec![8080, 7000]), select(vec!["/", "/x/1", "/y", "/x"]), headers, claims).prop_map(
        |(principal, http, port, path, headers, claims)| Ask {
            principal,
            http,
            port,
            path,
            headers,
            claims,
            ..Ask::default()
        },
    )
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    (any::<bool>(), any::<bool>()).prop_map(|(tokens, custom)| Capabilities { tokens, custom })
}

/// Names in one order or the other.
fn named<'a>(specs: &'a [String], names: &'a [String]) -> Vec<(&'a str, &'a str)> {
    names.iter().map(String::as_str).zip(specs.iter().map(String::as_str)).collect()
}

fn verdict(policies: &[(&str, &str)], ask: &Ask, capabilities: Capabilities) -> Verdict {
    ask.of(&with_policies(policies), capabilities).verdict
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_deny_that_matches_beats_everything(specs in proptest::collection::vec(policy(), 0..4), ask in ask()) {
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let mut policies = named(&specs, &names);
        policies.push(("deny", "{action: DENY, rules: [{}]}"));
        prop_assert_eq!(verdict(&policies, &ask, Capabilities::ALL), Verdict::Deny);
    }

    #[test]
    fn the_first_allow_policy_can_only_take_away(specs in proptest::collection::vec(policy(), 0..4), more in rule(), ask in ask(), can in capabilities()) {
        let specs: Vec<String> = specs.into_iter().filter(|spec| !spec.contains("ALLOW")).collect();
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let without = named(&specs, &names);
        let allow = format!("{{rules: [{more}]}}");
        let with = [without.clone(), vec![("z", allow.as_str())]].concat();
        if verdict(&with, &ask, can).is_allow() {
            prop_assert!(verdict(&without, &ask, can).is_allow());
        }
    }

    #[test]
    fn one_more_allow_policy_can_only_add_where_there_is_one(more in rule(), specs in proptest::collection::vec(rule(), 1..3), ask in ask()) {
        let specs: Vec<String> = specs.into_iter().map(|rule| format!("{{rules: [{rule}]}}")).collect();
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let without = named(&specs, &names);
        let allow = format!("{{rules: [{more}]}}");
        let with = [without.clone(), vec![("z", allow.as_str())]].concat();
        if verdict(&without, &ask, Capabilities::ALL).is_allow() {
            prop_assert!(verdict(&with, &ask, Capabilities::ALL).is_allow());
        }
    }

    #[test]
    fn the_order_of_policies_changes_nothing(specs in proptest::collection::vec(policy(), 0..5), ask in ask(), can in capabilities()) {
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let backwards: Vec<String> = names.iter().rev().cloned().collect();
        let (there, back) = (ask.of(&with_policies(&named(&specs, &names)), can), ask.of(&with_policies(&named(&specs, &backwards)), can));
        prop_assert_eq!((there.verdict, there.stage, there.audited.len()), (back.verdict, back.stage, back.audited.len()));
    }

    #[test]
    fn a_missing_capability_never_widens(specs in proptest::collection::vec(policy(), 0..5), ask in ask()) {
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let policies = named(&specs, &names);
        if verdict(&policies, &ask, Capabilities::default()).is_allow() {
            prop_assert!(verdict(&policies, &ask, Capabilities::ALL).is_allow());
        }
    }

    #[test]
    fn plain_tcp_never_widens(specs in proptest::collection::vec(policy(), 0..5), ask in ask()) {
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let policies = named(&specs, &names);
        let tcp = Ask { http: false, claims: None, ..ask.clone() };
        if verdict(&policies, &tcp, Capabilities::ALL).is_allow() {
            let denied_as_http = !verdict(&policies, &Ask { http: true, ..tcp }, Capabilities::ALL).is_allow();
            // What TCP lets through by an ALLOW rule without HTTP fields, HTTP does too.
            prop_assert!(!denied_as_http, "{:?}", policies);
        }
    }

    #[test]
    fn the_explanation_has_the_same_verdict(specs in proptest::collection::vec(policy(), 0..5), ask in ask()) {
        let names: Vec<String> = (0..specs.len()).map(|at| format!("p{at}")).collect();
        let snapshot = snapshot(&(POD.to_owned() + &manifests(&named(&specs, &names))));
        let (program, _) = Program::compile(&snapshot, Capabilities::default());
        let workload = program.workload(&app()).expect("the pod is in the mesh");
        let (outcome, step) = ask.with(|request| (workload.decide(request), explain(&snapshot, pod(&snapshot, "app"), request)));
        prop_assert_eq!((step.verdict, &step.by, step.mode), (outcome.verdict, &outcome.by, outcome.mode));
        if let Some(miss) = &step.nearest_miss {
            prop_assert!(outcome.stage == Stage::NoAllowMatch && !miss.fields.is_empty());
        }
        let matching = ask.with(|request| workload.matching(request, outcome.stage));
        prop_assert!(outcome.by.policies().iter().all(|one| matching.contains(&one.at(""))));
    }
}
