//! Answers questions to policies: a list of `{modules, v0, rule, input}` on stdin, the list of `{value}`, `{undefined}`, `{refused}` or
//! `{failed}` on stdout. `cargo xtask interop opa` compares the answers with those of OPA.

use lictor_manifest::{Object, Stored};
use lictor_rego::{AskError, PATH_ANNOTATION, Program, STACK, VERSION_ANNOTATION};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let questions: Vec<Value> = serde_json::from_reader(io::stdin().lock())?;
    let answering = std::thread::Builder::new().stack_size(STACK);
    let answers: Vec<Value> =
        answering.spawn(move || questions.iter().map(answer).collect())?.join().map_err(|_| "failed")?;
    Ok(io::stdout().write_all(&serde_json::to_vec(&answers)?)?)
}

fn answer(question: &Value) -> Value {
    let refused = |message: String| json!({"refused": message});
    let (configs, findings) = read(&manifest(question));
    if !findings.is_empty() {
        return refused(findings.join("\n"));
    }
    let program = match Program::compile(&configs, &Program::default()) {
        Ok(program) => program,
        Err(findings) => return refused(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    };
    let Some(policy) = program.policy("asked") else { return refused("there is no policy".to_owned()) };
    // As the threads that answer Envoys do.
    match catch_unwind(AssertUnwindSafe(|| policy.ask(question["input"].clone()))) {
        Ok(Ok(value)) => json!({"value": value}),
        Ok(Err(AskError::Undefined(_))) => json!({"undefined": true}),
        Ok(Err(error)) => json!({"failed": error.to_string()}),
        Err(_) => json!({"failed": "the interpreter panicked"}),
    }
}

/// A ConfigMap with the question's modules.
fn manifest(question: &Value) -> String {
    let modules = question["modules"].as_array().into_iter().flatten().enumerate();
    let data: Map<String, Value> = modules.map(|(at, text)| (format!("{at}.rego"), text.clone())).collect();
    let rule = question["rule"].as_str().unwrap_or_default().trim_start_matches("data.").replace('.', "/");
    let version = if question["v0"] == true { "v0" } else { "v1" };
    let meta = json!({
        "name": "policies", "namespace": "asked", "labels": {"lictor.dev/rego": "authz"},
        "annotations": {PATH_ANNOTATION: rule, VERSION_ANNOTATION: version},
    });
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}).to_string()
}

fn read(manifest: &str) -> (Vec<Arc<Stored>>, Vec<String>) {
    let reading = lictor_manifest::read("question", manifest);
    let stored = reading.objects.into_iter().filter_map(|object| match object {
        Object::Stored(stored) => Some(stored),
        _ => None,
    });
    (stored.collect(), reading.findings.iter().map(ToString::to_string).collect())
}
