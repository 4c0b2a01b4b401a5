//! What Istio itself would say of its policies before it takes them.
//!
//! Two gates stand before a policy there: the schema of its kind with the rules in it ([`schema_problems`]), and
//! the validating webhook ([`webhook_problems`]). A policy that Istio refuses must not be taken here either, for
//! its writer could not know what it does.
//!
//! Source: istio/istio, `pkg/config/validation/validation.go`, `pkg/config/security/security.go`,
//! `manifests/charts/base/files/crd-all.gen.yaml`.

mod attribute;
mod authorization_policy;
mod jwks;
mod peer_authentication;
mod request_authentication;
mod schema;
mod schemas;
mod target;

use crate::finding::{Code, Finding};
use crate::meta::Meta;
use crate::yaml::Node;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

/// The Istio kinds that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are the API's own.
pub enum IstioKind {
    AuthorizationPolicy,
    PeerAuthentication,
    RequestAuthentication,
}

/// One thing that Istio would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IstioProblem {
    /// The field path within the object, such as `spec.rules[0].from`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// Whether the policy is taken all the same.
    pub warning: bool,
}

impl fmt::Display for IstioProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What the schema of a kind, and the rules in it, have against a `spec`. Nothing in it is a warning.
pub fn schema_problems(kind: IstioKind, spec: &Value) -> Vec<IstioProblem> {
    let mut problems = Problems::default();
    schemas::of(kind).check(spec, "spec", &mut problems);
    problems.0
}

/// What Istio's validating webhook has against an object with these annotations and this `spec`.
///
/// A field that is there with an empty list is told from one that is not there, as Istio does.
pub fn webhook_problems(kind: IstioKind, annotations: &BTreeMap<String, String>, spec: &Value) -> Vec<IstioProblem> {
    let mut problems = Problems::default();
    if dry_run(kind, annotations, spec, &mut problems) {
        match kind {
            IstioKind::AuthorizationPolicy => authorization_policy::check(spec, &mut problems),
            IstioKind::PeerAuthentication => peer_authentication::check(spec, &mut problems),
            IstioKind::RequestAuthentication => request_authentication::check(spec, &mut problems),
        }
    }
    problems.0
}

/// What Istio would say of an object that was read, as findings at their places. The webhook is asked only about
/// what the schema takes, as there.
pub(crate) fn findings(kind: IstioKind, meta: &Meta, document: &Node) -> Vec<Finding> {
    let none = Value::Object(Map::new());
    let spec = document.get("spec").filter(|spec| !spec.is_null()).map_or(none, Node::to_json);
    let by_schema = schema_problems(kind, &spec);
    let problems = if by_schema.is_empty() { webhook_problems(kind, &meta.annotations, &spec) } else { by_schema };
    let finding = |problem: IstioProblem| {
        let code = if problem.warning { Code::DoubtfulIstioPolicy } else { Code::InvalidIstioPolicy };
        Finding::new(code, meta.origin.position(&problem.path), problem.to_string())
    };
    problems.into_iter().map(finding).collect()
}

/// The annotation that makes an AuthorizationPolicy a record only. Whether it is in order; if not, nothing else is
/// checked.
fn dry_run(kind: IstioKind, annotations: &BTreeMap<String, String>, spec: &Value, problems: &mut Problems) -> bool {
    const NAME: &str = "istio.io/dry-run";
    let Some(value) = annotations.get(NAME) else { return true };
    let path = format!("metadata.annotations[{NAME}]");
    let action = spec.get("action").and_then(Value::as_str).unwrap_or("ALLOW");
    if kind != IstioKind::AuthorizationPolicy {
        problems.error(path, format!("unsupported annotation {NAME}, please remove the annotation"));
    } else if !matches!(action, "ALLOW" | "DENY") {
        problems.error(
            path,
            format!("the annotation {NAME} currently only supports action ALLOW/DENY, found action {action}"),
        );
    } else if parse_bool(value).is_none() {
        problems.error(path, format!("the annotation {NAME} has the invalid value `{value}`"));
    } else {
        return true;
    }
    false
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What was found so far.
#[derive(Default)]
struct Problems(Vec<IstioProblem>);

impl Problems {
    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(IstioProblem { path: path.into(), message: message.into(), warning: false });
    }

    fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(IstioProblem { path: path.into(), message: message.into(), warning: true });
    }
}

/// A field that is there and not null.
fn present<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get(field).filter(|value| !value.is_null())
}

/// The items of a list; none when it is not there.
fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The text of a field; empty when it is not there.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The entries of a mapping; none when it is not there.
fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object.get(field).and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

#[cfg(test)]
mod tests;
