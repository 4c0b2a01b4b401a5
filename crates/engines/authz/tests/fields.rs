//! Every field of a rule in each of its forms.

mod cluster;

use cluster::{Ask, rule_matches};
use serde_json::json;

/// A rule, the requests that it matches, and some that it does not.
#[track_caller]
fn check(rule: &str, matches: &[Ask], others: &[Ask]) {
    for (expected, asks) in [(true, matches), (false, others)] {
        for (at, ask) in asks.iter().enumerate() {
            assert_eq!(rule_matches(rule, ask), expected, "{rule}: request {at}");
        }
    }
}

fn from(source: &str) -> String {
    format!("{{from: [{{source: {{{source}}}}}]}}")
}

fn to(operation: &str) -> String {
    format!("{{to: [{{operation: {{{operation}}}}}]}}")
}

fn when(key: &str, condition: &str) -> String {
    format!("{{when: [{{key: '{key}', {condition}}}]}}")
}

fn peer(principal: &'static str) -> Ask {
    Ask { principal: Some(principal), ..Ask::default() }
}

fn plaintext() -> Ask {
    Ask { principal: None, ..Ask::default() }
}

#[test]
fn principals() {
    let (a, b) = (peer("cluster.local/ns/a/sa/x"), peer("other.example/ns/b/sa/metrics"));
    for (value, matches_a, matches_b) in [
        ("cluster.local/ns/a/sa/x", true, false),
        ("cluster.local/ns/a/*", true, false),
        ("'*/sa/metrics'", false, true),
        ("'*'", true, true),
        ("cluster.local/ns/a/sa", false, false),
    ] {
        for (ask, expected) in [(&a, matches_a), (&b, matches_b), (&plaintext(), false)] {
            let source = from(&format!("principals: [{value}]"));
            assert_eq!(rule_matches(&source, ask), expected, "{value}");
            assert_eq!(rule_matches(&from(&format!("notPrincipals: [{value}]")), ask), !expected, "not {value}");
            assert_eq!(rule_matches(&when("source.principal", &format!("values: [{value}]")), ask), expected);
            assert_eq!(rule_matches(&when("source.principal", &format!("notValues: [{value}]")), ask), !expected);
        }
    }
}

#[test]
fn the_local_trust_domain_has_a_name_of_its_own() {
    let policy = cluster::manifests(&[("p", "{rules: [{from: [{source: {principals: [cluster.local/ns/a/sa/x]}}]}]}")]);
    let snapshot = cluster::snapshot_in("mesh.example", &(cluster::POD.to_owned() + &policy));
    let allowed = |ask: Ask| ask.of(&snapshot, lictor_authz::Capabilities::ALL).verdict.is_allow();
    assert!(allowed(peer("mesh.example/ns/a/sa/x")));
    assert!(!allowed(peer("cluster.local/ns/a/sa/x")) && !allowed(peer("mesh.example/ns/b/sa/x")));
}

#[test]
fn namespaces_and_trust_domains_and_service_accounts() {
    let (a, b) = (peer("cluster.local/ns/foo/sa/client"), peer("eu-1.example/ns/foobar/sa/other"));
    for (field, attribute, value, matches_a, matches_b) in [
        ("namespaces", "source.namespace", "foo", true, false),
        ("namespaces", "source.namespace", "foo*", true, true),
        ("namespaces", "source.namespace", "'*bar'", false, true),
        ("namespaces", "source.namespace", "'*'", true, true),
        ("trustDomains", "source.trustDomain", "cluster.local", true, false),
        ("trustDomains", "source.trustDomain", "eu-*", false, true),
        ("serviceAccounts", "source.serviceAccount", "client", true, false),
        ("serviceAccounts", "source.serviceAccount", "foobar/other", false, true),
        ("serviceAccounts", "source.serviceAccount", "foobar/client", false, false),
    ] {
        let upper =
            field.replacen(field.get(..1).unwrap_or_default(), &field.get(..1).unwrap_or_default().to_uppercase(), 1);
        for (ask, expected) in [(&a, matches_a), (&b, matches_b), (&plaintext(), false)] {
            assert_eq!(rule_matches(&from(&format!("{field}: [{value}]")), ask), expected, "{field} {value}");
            assert_eq!(rule_matches(&from(&format!("not{upper}: [{value}]")), ask), !expected, "not{upper} {value}");
            assert_eq!(rule_matches(&when(attribute, &format!("values: [{value}]")), ask), expected, "{attribute}");
            assert_eq!(rule_matches(&when(attribute, &format!("notValues: [{value}]")), ask), !expected, "{attribute}");
        }
    }
}

#[test]
fn addresses_and_ports() {
    let ask = Ask { source_ip: "10.0.0.7", remote_ip: "203.0.113.9", ..Ask::default() };
    let mapped = Ask { source_ip: "::ffff:10.0.0.7", ..ask.clone() };
    for (field, attribute, value, expected) in [
        ("ipBlocks", "source.ip", "10.0.0.7", true),
        ("ipBlocks", "source.ip", "10.0.0.0/8", true),
        ("ipBlocks", "source.ip", "203.0.113.9", false),
        ("ipBlocks", "source.ip", "'2001:db8::/32'", false),
        ("remoteIpBlocks", "remote.ip", "203.0.113.0/24", true),
        ("remoteIpBlocks", "remote.ip", "10.0.0.7", false),
    ] {
        let upper =
            field.replacen(field.get(..1).unwrap_or_default(), &field.get(..1).unwrap_or_default().to_uppercase(), 1);
        for ask in [&ask, &mapped] {
            assert_eq!(rule_matches(&from(&format!("{field}: [{value}]")), ask), expected, "{field} {value}");
            assert_eq!(rule_matches(&from(&format!("not{upper}: [{value}]")), ask), !expected, "not{upper} {value}");
            assert_eq!(rule_matches(&when(attribute, &format!("values: [{value}]")), ask), expected, "{attribute}");
        }
    }
    check(&when("destination.ip", "values: [10.0.1.0/24]"), std::slice::from_ref(&ask), &[]);
    check(&when("destination.ip", "notValues: [10.0.1.5]"), &[], std::slice::from_ref(&ask));
    let at = |port| Ask { port, ..Ask::default() };
    check(&to("ports: ['8080', '9090']"), &[at(8080), at(9090)], &[at(80)]);
    check(&to("notPorts: ['22']"), &[at(80)], &[at(22)]);
    check(&when("destination.port", "values: ['80'], notValues: ['81']"), &[at(80)], &[at(81), at(82)]);
}

#[test]
fn hosts_methods_and_paths() {
    let host = |host| Ask { host, ..Ask::default() };
    check(
        &to("hosts: [Example.com]"),
        &[host("example.com"), host("EXAMPLE.COM")],
        &[host("a.example.com"), host("example.com:80")],
    );
    check(&to("hosts: ['*.example.com']"), &[host("A.Example.com")], &[host("example.com")]);
    check(&to("hosts: ['b.com:*']"), &[host("B.com:80")], &[host("b.com")]);
    check(&to("hosts: ['*']"), &[host("a")], &[host("")]);
    check(&to("notHosts: ['a*']"), &[host("b")], &[host("A.com")]);
    let method = |method| Ask { method, ..Ask::default() };
    check(
        &to("methods: [GET, 'P*']"),
        &[method("GET"), method("POST"), method("PUT")],
        &[method("get"), method("DELETE")],
    );
    check(&to("notMethods: [DELETE]"), &[method("GET")], &[method("DELETE")]);
    let path = |path| Ask { path, ..Ask::default() };
    check(
        &to("paths: [/a, '/pre*', '*/suf']"),
        &[path("/a?x=1"), path("/pre/x"), path("/x/suf#f")],
        &[path("/A"), path("/a/")],
    );
    check(
        &to("paths: ['/x/{*}/y/{**}']"),
        &[path("/x/1/y/"), path("/x/1/y/2/3")],
        &[path("/x/1/2/y/3"), path("/x/1/y")],
    );
    check(&to("notPaths: ['/admin*']"), &[path("/x/admin")], &[path("/admin"), path("/x/../admin"), path("/%61dmin")]);
}

#[test]
fn headers() {
    let with = |headers: &[(&'static str, &'static str)]| Ask { headers: headers.to_vec(), ..Ask::default() };
    let none = with(&[]);
    let dev = with(&[("x-role", "dev")]);
    let empty = with(&[("x-role", "")]);
    check(
        &when("request.headers[X-Role]", "values: [dev]"),
        std::slice::from_ref(&dev),
        &[none.clone(), with(&[("x-role", "Dev")])],
    );
    check(
        &when("request.headers[x-role]", "values: ['d*', '*z']"),
        &[dev.clone(), with(&[("x-role", "z")])],
        std::slice::from_ref(&empty),
    );
    check(&when("request.headers[x-role]", "values: ['*']"), &[dev.clone(), empty], std::slice::from_ref(&none));
    check(&when("request.headers[x-role]", "notValues: [guest]"), &[none, dev], &[with(&[("x-role", "guest")])]);
    let ask = Ask { method: "PUT", host: "a.b", path: "/p?q", ..Ask::default() };
    for (header, value) in [(":method", "PUT"), (":authority", "a.b"), ("host", "a.b"), (":path", "/p?q")] {
        check(
            &when(&format!("request.headers[{header}]"), &format!("values: ['{value}']")),
            std::slice::from_ref(&ask),
            &[],
        );
    }
    let list = with(&[("accept", "a, b"), ("accept", "c")]);
    check(
        &when("request.experimental.inline.headers[accept]", "values: [b]"),
        std::slice::from_ref(&list),
        &[with(&[("accept", "ab")])],
    );
    check(&when("request.experimental.inline.headers[accept]", "values: [c]"), &[list], &[]);
}

#[test]
fn the_server_name() {
    let sni = |sni| Ask { sni, ..Ask::default() };
    check(
        &when("connection.sni", "values: [www.a.com, '*.b.com']"),
        &[sni(Some("www.a.com")), sni(Some("x.b.com"))],
        &[sni(None), sni(Some("a.com"))],
    );
    check(&when("connection.sni", "notValues: [www.a.com]"), &[sni(None)], &[sni(Some("www.a.com"))]);
}

#[test]
fn tokens() {
    let token = |claims| Ask { claims: Some(claims), ..Ask::default() };
    let none = Ask::default();
    let plain = token(json!({"iss": "https://a.example", "sub": "s", "aud": "api", "azp": "web", "n": 5}));
    let rich = token(
        json!({"iss": "i", "sub": "t", "aud": ["x", "api"], "groups": ["admin"], "scope": "read write", "a": {"b": ["c"]}}),
    );
    for (key, value, matches_plain, matches_rich) in [
        ("request.auth.principal", "https://a.example/s", true, false),
        ("request.auth.principal", "'*'", true, true),
        ("request.auth.principal", "i/*", false, true),
        ("request.auth.audiences", "api", true, true),
        ("request.auth.audiences", "x", false, true),
        ("request.auth.presenter", "web", true, false),
        ("request.auth.claims[groups]", "admin", false, true),
        ("request.auth.claims[scope]", "write", false, true),
        ("request.auth.claims[scope]", "read write", false, false),
        ("request.auth.claims[a][b]", "c", false, true),
        ("request.auth.claims[a]", "c", false, false),
        ("request.auth.claims[n]", "'5'", false, false),
        ("request.auth.claims[iss]", "https*", true, false),
    ] {
        for (ask, expected) in [(&plain, matches_plain), (&rich, matches_rich), (&none, false)] {
            assert_eq!(rule_matches(&when(key, &format!("values: [{value}]")), ask), expected, "{key} {value}");
            assert_eq!(rule_matches(&when(key, &format!("notValues: [{value}]")), ask), !expected, "not {key} {value}");
        }
    }
    check(&from("requestPrincipals: ['*']"), std::slice::from_ref(&plain), std::slice::from_ref(&none));
    check(&from("notRequestPrincipals: ['*']"), &[none], &[plain]);
}

#[test]
fn alternatives_are_one_of_and_fields_are_all_of() {
    let rule = "{from: [{source: {namespaces: [a]}}, {source: {namespaces: [b], ipBlocks: [10.0.0.0/8]}}], \
                 to: [{operation: {methods: [GET]}}, {operation: {methods: [POST], paths: [/x]}}], \
                 when: [{key: connection.sni, values: [s]}, {key: destination.port, values: ['8080']}]}";
    let ask = Ask { principal: Some("td/ns/a/sa/x"), sni: Some("s"), ..Ask::default() };
    let b = Ask { principal: Some("td/ns/b/sa/x"), ..ask.clone() };
    check(
        rule,
        &[ask.clone(), b.clone(), Ask { method: "POST", path: "/x", ..ask.clone() }],
        &[
            Ask { source_ip: "192.0.2.1", ..b },
            Ask { method: "POST", ..ask.clone() },
            Ask { sni: None, ..ask.clone() },
            Ask { port: 80, ..ask.clone() },
            Ask { principal: Some("td/ns/c/sa/x"), ..ask },
        ],
    );
}
