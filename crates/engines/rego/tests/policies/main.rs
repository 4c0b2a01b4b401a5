//! Policies as they come from manifests: what compiles, what is refused and where, what is answered.
#![allow(clippy::unwrap_used)]

mod answers;
mod asked;
mod refused;

use lictor_manifest::{Finding, Object, Stored, read};
use lictor_rego::Program;
use serde_json::Value;
use std::sync::Arc;

/// The cases of a file, of which there are not fewer than there were.
fn cases(file: &str, least: usize) -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(file).unwrap();
    assert!(cases.len() >= least, "{} cases", cases.len());
    cases
}

fn text<'c>(case: &'c Value, name: &str) -> &'c str {
    case[name].as_str().unwrap_or_else(|| panic!("{case} has no {name}"))
}

/// The ConfigMaps of a manifest, and what compiling them comes to.
fn program(manifest: &str) -> Result<Program, Vec<Finding>> {
    let reading = read("policies.yaml", manifest);
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
    let configs = reading.objects.iter().filter_map(|object| match object {
        Object::Stored(stored) => Some(stored),
        _ => None,
    });
    let configs: Vec<Arc<Stored>> = configs.cloned().collect();
    Program::compile(&configs, &Program::default())
}

/// A ConfigMap in the namespace `shop` with one text, whose first line is line 8 of the file, at column 5.
fn config(rego: &str) -> String {
    config_with("", rego)
}

fn config_with(annotations: &str, rego: &str) -> String {
    let rego: String = rego.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: checks\n  namespace: shop\n  labels: {{lictor.dev/rego: authz}}\n\
         \x20 annotations: {{{annotations}}}\ndata:\n  authz.rego: |\n{rego}"
    )
}
