//! Any text as a policy: it is refused at a place within it, or asked, and nothing of it ends the process or takes long.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_manifest::{Object, Stored, read};
use lictor_rego::{Answer, Policy, Program, STACK};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex};

type Ends = (Sender<Arc<Policy>>, Receiver<()>);

/// A thread with the stack that asking needs.
static ASKING: LazyLock<Mutex<Ends>> = LazyLock::new(|| {
    let ((questions, asked), (answers, answered)) = (channel::<Arc<Policy>>(), channel());
    let asking = move || {
        for policy in asked {
            if let Ok(value) = policy.ask(input()) {
                let _ = Answer::read(&value);
            }
            answers.send(()).expect("the target waits");
        }
    };
    std::thread::Builder::new().stack_size(STACK).spawn(asking).expect("a thread");
    Mutex::new((questions, answered))
});

fn input() -> Value {
    let http = json!({"method": "GET", "path": "/a/b?c=1", "headers": {"authorization": "Bearer a.b.c", "x": "1"}});
    json!({
        "attributes": {"request": {"http": http}, "source": {"principal": "spiffe://td/ns/a/sa/b"}},
        "parsed_path": ["a", "b"], "parsed_query": {"c": ["1"]}, "parsed_body": {"n": [1, 2.5, null]}, "truncated_body": false,
    })
}

fuzz_target!(|text: &str| {
    let text = format!("package envoy.authz\n{text}");
    let meta = json!({"name": "checks", "namespace": "shop", "labels": {"lictor.dev/rego": "authz"}});
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"authz.rego": text}});
    let configs = read("fuzz.yaml", &config.to_string()).objects.into_iter().filter_map(|object| match object {
        Object::Stored(stored) => Some(stored),
        _ => None,
    });
    let configs: Vec<Arc<Stored>> = configs.collect();
    match Program::compile(&configs, &Program::default()) {
        Err(findings) => assert!(!findings.is_empty() && findings.iter().all(|finding| finding.is_error())),
        Ok(program) => {
            let policy = Arc::clone(program.policy("shop").expect("what compiles can be asked"));
            let asking = ASKING.lock().expect("one question at a time");
            asking.0.send(policy).expect("the thread runs");
            asking.1.recv().expect("an answer");
        }
    }
});
