use super::schema::duration_ms;
use super::{IstioKind, schema_problems, webhook_problems};
use crate::read::{read, read_admitted};
use crate::values;
use serde_json::Value;
use std::collections::BTreeMap;

fn spec(yaml: &str) -> Value {
    values(yaml).expect("it is YAML").pop().expect("a document")
}

fn told(problems: Vec<super::IstioProblem>) -> Vec<String> {
    let level = |warning| if warning { "warning " } else { "" };
    problems.iter().map(|problem| format!("{}{problem}", level(problem.warning))).collect()
}

/// What the webhook says of an AuthorizationPolicy: its only problem, or nothing.
#[track_caller]
fn webhook(yaml: &str, wanted: &str) {
    let problems = told(webhook_problems(IstioKind::AuthorizationPolicy, &BTreeMap::new(), &spec(yaml)));
    let got = problems.join(" | ");
    assert!(
        if wanted.is_empty() { got.is_empty() } else { problems.len() == 1 && got.starts_with(wanted) },
        "{yaml}: {got}"
    );
}

#[test]
fn what_the_webhook_takes_of_an_authorization_policy() {
    for yaml in [
        "{}",
        "{action: ALLOW}",
        "{action: DENY, rules: [{}]}",
        "{action: AUDIT, rules: [{}]}",
        "{action: CUSTOM, provider: {name: p}, rules: [{to: [{operation: {paths: [/x]}}]}]}",
        "{targetRef: {group: gateway.networking.k8s.io, kind: Gateway, name: g}, rules: [{}]}",
        "{targetRefs: [{group: '', kind: Service, name: s}, {group: core, kind: Service, name: t}]}",
        "{rules: [{from: [{source: {ipBlocks: [10.0.0.0/8, '::1', 1.2.3.4]}}]}]}",
        "{rules: [{from: [{source: {serviceAccounts: [a, b/c], trustDomains: [x]}}]}]}",
        "{rules: [{to: [{operation: {paths: ['/a/{*}/b', '/a/{**}/b', '/{**}', '/a*']}}]}]}",
        "{rules: [{when: [{key: 'request.headers[x]', values: [a]}, {key: source.trustDomain, notValues: [b]}]}]}",
        "{rules: [{when: [{key: 'experimental.envoy.filters.a.b[c]', values: ['[d]']}]}]}",
        "{action: DENY, rules: [{from: [{source: {requestPrincipals: [a]}}], to: [{operation: {ports: ['1']}}]}]}",
    ] {
        webhook(yaml, "");
    }
}

#[test]
fn what_the_webhook_refuses_in_an_authorization_policy() {
    for (yaml, wanted) in [
        ("{action: DENY}", "spec: DENY action without `rules` is meaningless"),
        ("{action: CUSTOM, provider: {name: p}}", "spec: CUSTOM action without `rules` is meaningless"),
        ("{action: CUSTOM, rules: [{}]}", "spec.provider: `provider.name` must not be empty"),
        ("{provider: {name: p}}", "spec.provider: `provider` must not be with non CUSTOM action, found ALLOW"),
        ("{rules: [null]}", "spec.rules[0]: `rule` must not be nil"),
        ("{rules: [{from: []}]}", "spec.rules[0].from: `from` must not be empty"),
        ("{rules: [{from: [{}]}]}", "spec.rules[0].from[0]: `from.source` must not be nil"),
        ("{rules: [{from: [null]}]}", "spec.rules[0].from[0]: `from` must not be nil"),
        ("{rules: [{from: [{source: {}}]}]}", "spec.rules[0].from[0].source: `from.source` must not be empty"),
        ("{rules: [{}, {to: [{operation: {}}]}]}", "spec.rules[1].to[0].operation: `to.operation` must not be empty"),
        ("{rules: [{to: []}]}", "spec.rules[0].to: `to` must not be empty"),
        (
            "{rules: [{from: [{source: {namespaces: [a, '']}}]}]}",
            "spec.rules[0].from[0].source.namespaces: empty value",
        ),
        (
            "{rules: [{from: [{source: {notIpBlocks: [x]}}]}]}",
            "spec.rules[0].from[0].source.notIpBlocks: bad IP address (x)",
        ),
        (
            "{rules: [{from: [{source: {ipBlocks: [1.2.3.4/33]}}]}]}",
            "spec.rules[0].from[0].source.ipBlocks: bad CIDR range",
        ),
        (
            "{rules: [{from: [{source: {ipBlocks: [1.2.3.4/08]}}]}]}",
            "spec.rules[0].from[0].source.ipBlocks: bad CIDR range",
        ),
        (
            "{rules: [{from: [{source: {serviceAccounts: ['a*']}}]}]}",
            "spec.rules[0].from[0].source.serviceAccounts: wildcard",
        ),
        (
            "{rules: [{from: [{source: {serviceAccounts: [a/b/c]}}]}]}",
            "spec.rules[0].from[0].source.serviceAccounts: expected",
        ),
        (
            "{rules: [{from: [{source: {serviceAccounts: [/b]}}]}]}",
            "spec.rules[0].from[0].source.serviceAccounts: expected",
        ),
        (
            "{rules: [{from: [{source: {serviceAccounts: [b/]}}]}]}",
            "spec.rules[0].from[0].source.serviceAccounts: expected",
        ),
        (
            "{rules: [{from: [{source: {serviceAccounts: [a], notNamespaces: [b]}}]}]}",
            "spec.rules[0].from[0].source: cannot set",
        ),
        ("{rules: [{to: [{operation: {ports: [http]}}]}]}", "spec.rules[0].to[0].operation.ports: bad port (http)"),
        ("{rules: [{to: [{operation: {notPorts: ['65536']}}]}]}", "spec.rules[0].to[0].operation.notPorts: bad port"),
        ("{rules: [{to: [{operation: {ports: ['+80']}}]}]}", "spec.rules[0].to[0].operation.ports: bad port (+80)"),
        (
            "{rules: [{to: [{operation: {paths: ['/{**}/{*}']}}]}]}",
            "spec.rules[0].to[0].operation.paths: invalid or unsupported",
        ),
        (
            "{rules: [{to: [{operation: {paths: ['/a{*}']}}]}]}",
            "spec.rules[0].to[0].operation.paths: invalid or unsupported",
        ),
        (
            "{rules: [{to: [{operation: {paths: ['/{id}']}}]}]}",
            "spec.rules[0].to[0].operation.paths: invalid or unsupported",
        ),
        (
            "{rules: [{to: [{operation: {notPaths: ['/{*}/a*']}}]}]}",
            "spec.rules[0].to[0].operation.notPaths: invalid or unsupported",
        ),
        (
            "{rules: [{to: [{operation: {paths: ['/{*}//a']}}]}]}",
            "spec.rules[0].to[0].operation.paths: invalid or unsupported",
        ),
        ("{rules: [{when: [{key: '', values: [a]}]}]}", "spec.rules[0].when[0]: `key` must not be empty"),
        ("{rules: [{when: [{key: source.ip}]}]}", "spec.rules[0].when[0]: at least one of `values` or `notValues`"),
        (
            "{rules: [{when: [{key: source.ip, notValues: [x]}]}]}",
            "spec.rules[0].when[0]: invalid `notValue` for `key` source.ip",
        ),
        ("{rules: [{when: [{key: destination.port, values: [x]}]}]}", "spec.rules[0].when[0]: invalid `value`"),
        ("{rules: [{when: [{key: 'request.headers', values: [x]}]}]}", "spec.rules[0].when[0]: invalid `value`"),
        ("{rules: [{when: [{key: 'request.headers[]', values: [x]}]}]}", "spec.rules[0].when[0]: invalid `value`"),
        ("{rules: [{when: [{key: 'destination.labels[a]', values: [x]}]}]}", "spec.rules[0].when[0]: invalid `value`"),
        ("{rules: [{when: [{key: request.size, values: ['1']}]}]}", "spec.rules[0].when[0]: invalid `value`"),
        ("{selector: {matchLabels: {'': v}}}", "spec.selector: empty key"),
        ("{selector: {matchLabels: {a: 'v*'}}}", "spec.selector: wildcard"),
        ("{targetRef: {group: apps, kind: Deployment, name: d}}", "spec.targetRef: targetRef must be to one of"),
        ("{targetRef: {kind: Service, name: d, namespace: x}}", "spec.targetRef: targetRef namespace must not be set"),
        ("{targetRefs: [{kind: Service}]}", "spec.targetRefs[0]: targetRef name must be set"),
        ("{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: d}}", "spec: only one of targetRefs"),
        (
            "{action: CUSTOM, provider: {name: p}, rules: [{from: [{source: {principals: [a]}}]}]}",
            "spec.rules[0]: from.source.principals is",
        ),
        (
            "{action: CUSTOM, provider: {name: p}, rules: [{when: [{key: request.auth.principal, values: [a]}]}]}",
            "spec.rules[0]: request.auth.principal is",
        ),
    ] {
        webhook(yaml, wanted);
    }
}

#[test]
fn where_the_webhook_warns() {
    let all_tcp = "warning spec.rules[0]: configured AuthorizationPolicy will deny all traffic to TCP ports";
    webhook("{selector: {}}", "warning spec.selector: workload selector specified without labels");
    webhook("{action: DENY, rules: [{from: [{source: {requestPrincipals: [a]}}]}]}", all_tcp);
    webhook("{action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}", all_tcp);
    webhook(
        "{action: DENY, rules: [{from: [{source: {principals: [a]}}], to: [{operation: {methods: [GET]}}]}]}",
        all_tcp,
    );
    webhook("{action: DENY, rules: [{from: [{source: {principals: [a], requestPrincipals: [b]}}]}]}", "");
}

#[test]
fn the_dry_run_annotation() {
    let check = |kind, value: &str, yaml: &str| {
        let annotations = BTreeMap::from([("istio.io/dry-run".to_owned(), value.to_owned())]);
        webhook_problems(kind, &annotations, &spec(yaml)).is_empty()
    };
    assert!(check(IstioKind::AuthorizationPolicy, "true", "{}") && check(IstioKind::AuthorizationPolicy, "F", "{}"));
    assert!(!check(IstioKind::AuthorizationPolicy, "yes", "{}") && !check(IstioKind::PeerAuthentication, "true", "{}"));
    assert!(!check(IstioKind::AuthorizationPolicy, "true", "{action: AUDIT, rules: [{}]}"));
}

#[test]
fn what_the_schemas_say() {
    for (kind, yaml, wanted) in [
        (IstioKind::AuthorizationPolicy, "{action: DROP}", "spec.action: spec.action: Unsupported value: \"DROP\""),
        (
            IstioKind::AuthorizationPolicy,
            "{rules: {}}",
            "spec.rules: spec.rules: Invalid value: \"object\": spec.rules in body must be of type array",
        ),
        (
            IstioKind::AuthorizationPolicy,
            "{rules: [{from: [{source: {principal: [a]}}]}]}",
            "spec.rules[0].from[0].source.principal: unknown field",
        ),
        (
            IstioKind::AuthorizationPolicy,
            "{rules: [{when: [{values: [a]}]}]}",
            "spec.rules[0].when[0].key: spec.rules[0].when[0].key: Required value",
        ),
        (
            IstioKind::PeerAuthentication,
            "{mtls: {mode: SOME}}",
            "spec.mtls.mode: spec.mtls.mode: Unsupported value: \"SOME\"",
        ),
        (
            IstioKind::PeerAuthentication,
            "{portLevelMtls: {'80': {}}}",
            "spec: spec: Invalid value: \"object\": portLevelMtls requires selector",
        ),
        (
            IstioKind::PeerAuthentication,
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {}}",
            "spec.portLevelMtls: spec.portLevelMtls in body should have at least 1 properties",
        ),
        (
            IstioKind::PeerAuthentication,
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {'70000': {}}}",
            "spec.portLevelMtls: spec.portLevelMtls: Invalid value: \"object\": port must be between 1-65535",
        ),
        (
            IstioKind::PeerAuthentication,
            "{selector: {matchLabels: {'a*': b}}}",
            "spec.selector.matchLabels: spec.selector.matchLabels: Invalid value: \"object\": wildcard not allowed in label key",
        ),
        (
            IstioKind::RequestAuthentication,
            "{jwtRules: [{issuer: ''}]}",
            "spec.jwtRules[0].issuer: spec.jwtRules[0].issuer in body should be at least 1 chars long",
        ),
        (
            IstioKind::RequestAuthentication,
            "{jwtRules: [{issuer: a, jwks: x, jwksUri: 'https://a'}]}",
            "spec.jwtRules[0]: spec.jwtRules[0]: Invalid value: \"object\": only one of jwks or jwksUri",
        ),
        (
            IstioKind::RequestAuthentication,
            "{jwtRules: [{issuer: a, jwksUri: 'ftp://a'}]}",
            "spec.jwtRules[0].jwksUri: spec.jwtRules[0].jwksUri: Invalid value: \"string\": ",
        ),
        (
            IstioKind::RequestAuthentication,
            "{jwtRules: [{issuer: a, outputClaimToHeaders: [{claim: c, header: 'a%'}]}]}",
            "spec.jwtRules[0].outputClaimToHeaders[0].header: ",
        ),
        (IstioKind::RequestAuthentication, "{jwtRules: [{issuer: a, timeout: 1us}]}", "spec.jwtRules[0].timeout: "),
    ] {
        let problems = told(schema_problems(kind, &spec(yaml)));
        assert!(problems.len() == 1 && problems.iter().all(|one| one.starts_with(wanted)), "{yaml}: {problems:#?}");
    }
}

#[test]
fn tokens_and_keys() {
    let webhook = |yaml: &str| told(webhook_problems(IstioKind::RequestAuthentication, &BTreeMap::new(), &spec(yaml)));
    let public = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#;
    assert_eq!(webhook(&format!("{{jwtRules: [{{issuer: a, jwks: '{public}'}}]}}")), [""; 0]);
    for (key, wanted) in [
        (r#"{"kty":"EC","crv":"P-256","x":"a","y":"b","d":"c"}"#, "warning spec.jwtRules[0].jwks"),
        (r#"{"kty":"oct","k":"a"}"#, "warning spec.jwtRules[0].jwks"),
        (r#"{"kty":"RSA","n":"a"}"#, "spec.jwtRules[0].jwks: jwks parse error"),
        (r#"{"kty":"DSA"}"#, "spec.jwtRules[0].jwks: jwks parse error"),
        ("[]", "spec.jwtRules[0].jwks: jwks parse error"),
    ] {
        let problems = webhook(&format!("{{jwtRules: [{{issuer: a, jwks: '{key}'}}]}}"));
        assert!(problems.len() == 1 && problems.iter().all(|one| one.starts_with(wanted)), "{key}: {problems:?}");
    }
    for (uri, valid) in [
        ("https://a.example/keys", true),
        ("http://a.example:8080/keys", true),
        ("https://[::1]:443/keys", true),
        ("https://user@a.example", true),
        ("a.example/keys", false),
        ("ftp://a.example", false),
        ("https://a.example:port", false),
        ("https://[::1", false),
    ] {
        assert_eq!(webhook(&format!("{{jwtRules: [{{jwksUri: '{uri}'}}]}}")).is_empty(), valid, "{uri}");
    }
    for yaml in [
        "{jwtRules: [{}]}",
        "{jwtRules: [{issuer: a, audiences: ['']}]}",
        "{jwtRules: [{issuer: a, fromHeaders: [{name: ''}]}]}",
        "{jwtRules: [{issuer: a, fromParams: ['']}]}",
        "{jwtRules: [{issuer: a, fromCookies: ['']}]}",
        "{jwtRules: [{issuer: a, outputClaimToHeaders: [null]}]}",
        "{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: h}]}]}",
        "{jwtRules: [{issuer: a, timeout: apple}]}",
    ] {
        assert_eq!(webhook(yaml).len(), 1, "{yaml}");
    }
}

#[test]
fn durations() {
    for (text, milliseconds) in
        [("5s", 5e3), ("1h30m", 5.4e6), ("1.5ms", 1.5), ("-2s", -2e3), ("0", 0.0), ("+1m1s", 6.1e4)]
    {
        assert_eq!(duration_ms(text), Some(milliseconds), "{text}");
    }
    for text in ["", "apple", "5", "s", "5 s", "5sx", "1..5s", "-"] {
        assert_eq!(duration_ms(text), None, "{text}");
    }
}

#[test]
fn a_policy_that_istio_refuses_is_refused_at_its_line_unless_it_was_admitted_elsewhere() {
    let text = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: ns}
spec:
  action: DENY
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: q, namespace: ns}
spec:
  action: DENY
  rules:
  - {}
  - to:
    - operation:
        methods: [GET]
";
    let reading = read("p.yaml", text);
    let told: Vec<String> = reading.findings.iter().map(|one| format!("{} {}", one.code, one.position)).collect();
    assert_eq!(told, ["LIC1301 p.yaml:4:1", "LIC1302 p.yaml:14:5"]);
    assert_eq!((reading.objects.len(), read_admitted("p.yaml", text).objects.len()), (1, 2));
    assert!(read_admitted("p.yaml", text).findings.is_empty());
}
