use super::{Effect, Scope, in_nested_brackets, request_principal};
use crate::check::Test;
use lictor_manifest::{Condition, Source};

fn scope(effect: Effect) -> Scope<'static> {
    Scope { namespace: "foo", trust_domain: "mesh.example", effect }
}

#[test]
fn each_form_says_where_it_stands_and_what_it_wants() {
    let source = Source {
        principals: vec!["a".to_owned(), "b*".to_owned()],
        not_ip_blocks: vec!["10.0.0.0/8".parse().expect("a block")],
        not_request_principals: vec!["*".to_owned()],
        ..Source::default()
    };
    let checks = scope(Effect::Permit).source(2, &source);
    let told: Vec<String> = checks.iter().map(|check| format!("{}: {}", check.field, check.wanted)).collect();
    assert_eq!(
        told,
        [
            "from[2].source.principals: one of a, b*",
            "from[2].source.notRequestPrincipals: not *",
            "from[2].source.notIpBlocks: not 10.0.0.0/8"
        ]
    );
    let condition = Condition {
        key: "source.namespace".to_owned(),
        values: vec!["a".to_owned()],
        not_values: vec!["b".to_owned(), "c".to_owned()],
    };
    let checks = scope(Effect::Permit).condition(1, &condition);
    let told: Vec<String> = checks.iter().map(|check| format!("{}: {}", check.field, check.wanted)).collect();
    assert_eq!(told, ["when[1].values: a", "when[1].notValues: none of b, c"]);
}

#[test]
fn an_attribute_that_cannot_be_read_is_unknown() {
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    for (key, list) in [
        ("destination.labels[x]", &["a"][..]),
        ("experimental.envoy.filters.a.b[c]", &["a"]),
        ("request.headers", &["a"]),
        ("request.headers[]", &["a"]),
        ("request.auth.claims", &["a"]),
        ("source.ip", &["10.0.0.1", "nonsense"]),
        ("destination.port", &["80", "http"]),
        ("", &["a"]),
    ] {
        assert_eq!(scope(Effect::Permit).attribute(key, &values(list), false), Test::Unknown, "{key}");
    }
}

#[test]
fn names_in_brackets() {
    assert_eq!(in_nested_brackets("[a]"), Some(vec!["a"]));
    assert_eq!(in_nested_brackets("[a][b c][d]"), Some(vec!["a", "b c", "d"]));
    for text in ["", "a", "[a", "a]", "[]"] {
        assert_eq!(in_nested_brackets(text), None, "{text}");
    }
}

#[test]
fn request_principals_are_split_at_the_last_slash() {
    let told = |value: &str| match request_principal(&[value.to_owned()]) {
        Test::RequestPrincipal(patterns) => {
            patterns.iter().map(|(iss, sub)| format!("{iss} {sub}")).collect::<String>()
        }
        _ => String::new(),
    };
    for (value, parts) in [
        ("*", "* *"),
        ("https://accounts.example/sub", "https://accounts.example sub"),
        ("https://accounts.example/*", "https://accounts.example *"),
        ("https://accounts.example/ab*", "https://accounts.example ab*"),
        ("*/sub", "* sub"),
        ("*.example/sub", "*.example sub"),
        ("iss*", "iss* *"),
        ("*sub", "* *sub"),
        ("iss", "iss "),
    ] {
        assert_eq!(told(value), parts, "{value}");
    }
}
