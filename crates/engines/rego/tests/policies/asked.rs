//! Policies asked.

use crate::{config, config_with, program};
use lictor_rego::{AskError, Program};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn asked(rego: &str, input: Value) -> Result<Value, AskError> {
    let program = program(&config(&format!("package envoy.authz\n{rego}"))).unwrap_or_else(|found| panic!("{found:?}"));
    program.policy("shop").expect("a policy").ask(input)
}

#[test]
fn a_rule_has_the_value_that_opa_gives_it() {
    for (rego, input, expected) in [
        ("default allow := false\nallow if input.x == 1\n", json!({"x": 1}), json!(true)),
        ("default allow := false\nallow if input.x == 1\n", json!({"x": 2}), json!(false)),
        // Another rule is not evaluated, so its failure counts for nothing.
        ("allow if true\nother if 1 / 0 == 1\n", json!({}), json!(true)),
        // A builtin that fails is undefined.
        ("default allow := false\nallow if to_number(\"x\") == 1\n", json!({}), json!(false)),
        ("default allow := false\nallow if 1 == input.y.z\n", json!({}), json!(false)),
        // An object of parts, as the plugin's documentation writes it.
        (
            "allow[\"allowed\"] := true\nallow[\"headers\"] := {\"x\": input.x}\nallow[\"body\"] := \"no\" if input.y\n",
            json!({"x": "1"}),
            json!({"allowed": true, "headers": {"x": "1"}}),
        ),
        (
            "allow := {\"allowed\": count(input.xs) > 1, \"n\": 2.5}\n",
            json!({"xs": [1, 2]}),
            json!({"allowed": true, "n": 2.5}),
        ),
        ("allow contains x if some x in input.xs\n", json!({"xs": [2, 1, 2]}), json!([1, 2])),
    ] {
        assert_eq!(asked(rego, input), Ok(expected), "{rego}");
    }
}

#[test]
fn what_has_no_value_is_an_error_that_says_why() {
    let undefined = || Err(AskError::Undefined("data.envoy.authz.allow".to_owned()));
    for rego in ["allow if input.x == 1\n", "allow := x if x := 1 / 0\n", "allow[\"allowed\"] := true if input.x\n"] {
        let told = asked(rego, json!({}));
        if rego.contains('[') {
            assert_eq!(told, Ok(json!({})), "an object of parts is empty, and says nothing");
        } else {
            assert_eq!(told, undefined(), "{rego}");
        }
    }
    let failure = |rego: &str| match asked(rego, json!({})) {
        Err(error @ AskError::Failed { .. }) => error.to_string(),
        other => panic!("{rego}{other:?}"),
    };
    assert_eq!(
        failure("allow := true\nallow := false\n"),
        "rule conflicts with rule at 0:2:1, at line 3 of ConfigMap shop/checks data[authz.rego]"
    );
    assert!(failure("allow if b\nb if allow\n").starts_with("recursion detected when evaluating rule"));
    assert!(failure("f(x) if b\nb if f(1)\nallow if b\n").starts_with("recursion detected when evaluating rule"));
}

#[test]
fn a_policy_that_does_not_end_is_ended() {
    let endless = "allow if { some a in numbers.range(1, 4000); some b in numbers.range(1, 4000); a + b == -1 }\n";
    let start = Instant::now();
    let told = asked(endless, json!({})).unwrap_err();
    assert!(matches!(told, AskError::Failed { .. }), "{told}");
    assert!(start.elapsed() < Duration::from_secs(10), "ended after {:?}", start.elapsed());
}

#[test]
fn another_version_and_another_rule_are_asked_where_the_config_map_says_so() {
    let v0 = "package policy.http\ndefault ok = false\nok { input.x == 1 }\n";
    let annotations = "lictor.dev/rego-version: v0, lictor.dev/rego-path: policy/http/ok";
    let program = program(&config_with(annotations, v0)).unwrap();
    assert_eq!(program.policy("shop").unwrap().ask(json!({"x": 1})), Ok(json!(true)));
}

#[test]
fn what_has_not_changed_is_not_compiled_again() {
    let read = |rego: &str| {
        let text = config(&format!("package envoy.authz\n{rego}"));
        let objects = lictor_manifest::read("p.yaml", &text).objects;
        let stored = objects.into_iter().map(|object| match object {
            lictor_manifest::Object::Stored(stored) => stored,
            other => panic!("{other:?}"),
        });
        stored.collect::<Vec<_>>()
    };
    let first = Program::compile(&read("allow if true\n"), &Program::default()).unwrap();
    let same = Program::compile(&read("allow if true\n"), &first).unwrap();
    let policy = |program: &Program| std::sync::Arc::as_ptr(program.policy("shop").unwrap());
    assert_eq!(policy(&first), policy(&same));
    let other = Program::compile(&read("allow if false\n"), &first).unwrap();
    assert_ne!(policy(&first), policy(&other));
}
