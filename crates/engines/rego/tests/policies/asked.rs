//! Policies asked.

use crate::{cases, config, config_with, program, text};
use lictor_rego::{AskError, Program};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn asked(rego: &str, input: Value) -> Result<Value, AskError> {
    let program = program(&config(&format!("package envoy.authz\n{rego}"))).unwrap_or_else(|found| panic!("{found:?}"));
    program.policy("shop").expect("a policy").ask(input)
}

/// What each case has: a value, none, or an evaluation that fails. `cargo xtask interop opa` compares it with OPA.
#[test]
fn a_rule_has_the_value_that_opa_gives_it() {
    for case in cases(include_str!("values.json"), 50).into_iter().chain(cases(include_str!("tokens.json"), 130)) {
        let told = match asked(text(&case, "rego"), case.get("input").cloned().unwrap_or_else(|| json!({}))) {
            Ok(value) => ("value", value),
            Err(AskError::Undefined(_)) => ("undefined", json!(true)),
            Err(error) => ("failed", json!(error.to_string())),
        };
        match (told, &case["failed"]) {
            (("failed", message), Value::String(begin)) => {
                assert!(message.as_str().unwrap().starts_with(begin), "{case}\n{message}");
            }
            ((kind, told), _) => assert_eq!(numbers_alike(&told), numbers_alike(&case[kind]), "{case}\n{kind}"),
        }
    }
}

/// Numbers as they compare: 1 is 1.0.
fn numbers_alike(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(numbers_alike).collect(),
        Value::Object(members) => members.iter().map(|(name, member)| (name.clone(), numbers_alike(member))).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_failure_says_where() {
    let failed = asked("allow := true\nallow := false\n", json!({})).unwrap_err().to_string();
    assert_eq!(failed, "rule conflicts with rule at 0:2:1, at line 3 of ConfigMap shop/checks data[authz.rego]");
}

/// One call of a function would take the memory of the whole process.
#[test]
fn what_would_not_fit_fails() {
    for (call, message) in [
        ("numbers.range(1, 1000000000000)", "expected a range of at most 65536 numbers"),
        ("numbers.range(0, 65536)", "expected a range of at most 65536 numbers"),
        ("numbers.range_step(1, 1000000000000, 7)", "expected a range of at most 65536 numbers"),
        ("numbers.range(0, 1e50)", "expected numbers of at most 127 bits in a range"),
        ("bits.lsh(1, 1000000000)", "expected a shift by at most 4096 bits"),
    ] {
        let told = asked(&format!("allow if not {call}\n"), json!({})).unwrap_err().to_string();
        assert!(told.starts_with(message), "{call}: {told}");
    }
    assert_eq!(asked("allow := count(numbers.range(1, 65536))\n", json!({})), Ok(json!(65536)));
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
