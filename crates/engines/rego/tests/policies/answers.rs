//! Values read as OPA's Envoy plugin reads them: each case of `answers.json` names the place of its behaviour.

use lictor_rego::Answer;
use serde_json::{Value, json};

#[test]
fn a_value_says_what_it_says_to_the_plugin() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("answers.json")).unwrap();
    for case in &cases {
        let read = Answer::read(&case["value"]);
        match (&case["error"], read) {
            (Value::String(expected), Err(error)) => assert_eq!(error.to_string(), *expected, "{case}"),
            (Value::Null, Ok(answer)) => assert_eq!(told(&answer), case["answer"], "{case}"),
            (_, read) => panic!("{case}\n{read:?}"),
        }
    }
    assert!(cases.len() >= 40, "{} cases", cases.len());
}

/// `cargo xtask interop opa` compares the list with what Envoy's API and Go know.
#[test]
fn a_denial_has_the_statuses_that_envoy_and_go_know() {
    let known: Vec<u16> = serde_json::from_str(include_str!("statuses.json")).unwrap();
    let taken = |status: &u16| Answer::read(&json!({"allowed": false, "http_status": status})).is_ok();
    assert_eq!((0..1000).filter(taken).collect::<Vec<_>>(), known);
}

/// What an answer has that is not nothing.
fn told(answer: &Answer) -> Value {
    let Answer {
        allowed,
        detailed,
        headers,
        request_headers_to_remove,
        response_headers_to_add,
        query_parameters_to_set,
        query_parameters_to_remove,
        status,
        body,
        dynamic_metadata,
    } = answer;
    let mut told = json!({ "allowed": allowed });
    let mut tell = |name: &str, value: Value| {
        if value != json!([]) && value != json!("") && !value.is_null() {
            told[name] = value;
        }
    };
    tell("headers", json!(headers));
    tell("request_headers_to_remove", json!(request_headers_to_remove));
    tell("response_headers_to_add", json!(response_headers_to_add));
    tell("query_parameters_to_set", json!(query_parameters_to_set));
    tell("query_parameters_to_remove", json!(query_parameters_to_remove));
    tell("body", json!(body));
    tell("dynamic_metadata", json!(dynamic_metadata));
    if *detailed && !allowed {
        told["status"] = json!(status);
    }
    told
}
