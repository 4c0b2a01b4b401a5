//! What Istio's ambient mode would make of an AuthorizationPolicy.
//!
//! Its node proxy knows connections only. The status tells what it leaves out, so that a policy that works here
//! does not surprise elsewhere.
//!
//! Source: istio/istio, `pilot/pkg/serviceregistry/ambient/authorization.go`, `convertAuthorizationPolicy`.

use serde_json::Value;
use std::collections::BTreeSet;

/// What Istio's ambient mode says of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmbientStatus {
    /// The message of its status condition (reason `UnsupportedValue`); nothing when the policy is fine or not
    /// meant for the node proxy.
    pub message: Option<String>,
    /// Whether the policy enforces anything at the node proxy.
    pub effective_rules: bool,
}

/// The conditions that a connection can answer there.
const CONNECTION_ATTRIBUTES: &[&str] =
    &["source.ip", "source.namespace", "source.principal", "destination.ip", "destination.port"];

/// The fields of a source, of an operation, and which of them need HTTP there.
const SOURCE_FIELDS: &[(&str, bool)] = &[
    ("principals", false),
    ("notPrincipals", false),
    ("namespaces", false),
    ("notNamespaces", false),
    ("serviceAccounts", false),
    ("notServiceAccounts", false),
    ("ipBlocks", false),
    ("notIpBlocks", false),
    ("remoteIpBlocks", true),
    ("notRemoteIpBlocks", true),
    ("requestPrincipals", true),
    ("notRequestPrincipals", true),
];
const OPERATION_FIELDS: &[(&str, bool)] = &[
    ("ports", false),
    ("notPorts", false),
    ("hosts", true),
    ("notHosts", true),
    ("methods", true),
    ("notMethods", true),
    ("paths", true),
    ("notPaths", true),
];

impl AmbientStatus {
    /// The status of a policy's `spec`. The spec need not be valid: this one reads it as leniently as Istio does.
    pub fn of(spec: &Value) -> Self {
        let attached = |field: &str| {
            spec.get(field).is_some_and(|target| !target.is_null() && *target != Value::Array(Vec::new()))
        };
        if attached("targetRef") || attached("targetRefs") {
            return Self { message: None, effective_rules: false };
        }
        let action = spec.get("action").and_then(Value::as_str).unwrap_or("ALLOW");
        if !matches!(action, "ALLOW" | "DENY") {
            let message = format!("ztunnel does not support the {action} action");
            return Self { message: Some(message), effective_rules: false };
        }
        let allows = action == "ALLOW";
        let rules: Vec<Remainder> = list(spec, "rules").iter().map(Remainder::of).collect();
        let effective_rules = rules.iter().any(|rule| rule.matches_something && (!allows || rule.left_out.is_empty()));
        let left_out: BTreeSet<&str> = rules.iter().flat_map(|rule| rule.left_out.iter().map(String::as_str)).collect();
        let consequence = match (allows, effective_rules) {
            (true, _) => {
                "Within an ALLOW policy, rules matching HTTP attributes are omitted. \
                 This will be more restrictive than requested."
            }
            (false, true) => {
                "DENY policy with HTTP attributes is enforced without the HTTP rules. \
                 This will be more restrictive than requested."
            }
            (false, false) => {
                "After omitting unsupported HTTP attributes, this DENY policy has no enforceable rules at ztunnel and \
                 will have no effect. Deploy a waypoint proxy and use a targetRef to enforce this policy."
            }
        };
        let message = (!left_out.is_empty()).then(|| {
            let found = left_out.into_iter().collect::<Vec<_>>().join(", ");
            format!(
                "ztunnel does not support HTTP attributes (found: {found}). \
                 In ambient mode you must use a waypoint proxy to enforce HTTP rules. {consequence}"
            )
        });
        Self { message, effective_rules }
    }
}

/// What is left of a rule without its HTTP parts.
struct Remainder {
    left_out: Vec<String>,
    /// Whether each clause still has an alternative that says something; an empty one never matches there.
    matches_something: bool,
}

impl Remainder {
    fn of(rule: &Value) -> Self {
        let mut left_out = Vec::new();
        let mut clause = |alternatives: Vec<Option<&Value>>, fields: &[(&str, bool)]| {
            let present =
                |object: Option<&Value>, field: &str| object.is_some_and(|object| !list(object, field).is_empty());
            let mut says_something = alternatives.is_empty();
            for object in alternatives {
                for (field, http) in fields.iter().filter(|(field, _)| present(object, field)) {
                    if *http {
                        left_out.push((*field).to_owned());
                    } else {
                        says_something = true;
                    }
                }
            }
            says_something
        };
        let to = list(rule, "to").iter().map(|to| to.get("operation")).collect();
        let from = list(rule, "from").iter().map(|from| from.get("source")).collect();
        let mut matches_something = clause(to, OPERATION_FIELDS);
        matches_something &= clause(from, SOURCE_FIELDS);
        for condition in list(rule, "when") {
            let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
            let known = CONNECTION_ATTRIBUTES.contains(&key);
            matches_something &= known;
            if !known {
                left_out.push(key.to_owned());
            }
        }
        Self { left_out, matches_something }
    }
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
