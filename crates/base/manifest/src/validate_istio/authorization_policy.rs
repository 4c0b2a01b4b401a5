//! The webhook's view of an AuthorizationPolicy.

use super::attribute::{Checked, addresses, condition, not_empty, path_templates, ports, service_accounts, texts};
use super::{Problems, items, present, target, text};
use serde_json::Value;

pub(super) fn check(spec: &Value, problems: &mut Problems) {
    target::check(spec, problems);
    let action = present(spec, "action").and_then(Value::as_str).unwrap_or("ALLOW");
    let rules = items(spec, "rules");
    let idle = format!(
        "{action} action without `rules` is meaningless as it will never be triggered, add an empty rule `{{}}` if you \
         want it be triggered for every request"
    );
    match action {
        "CUSTOM" if present(spec, "rules").is_none() => problems.error("spec", idle),
        "CUSTOM" if present(spec, "provider").is_none_or(|provider| text(provider, "name").is_empty()) => {
            problems.error("spec.provider", "`provider.name` must not be empty");
        }
        "DENY" if present(spec, "rules").is_none() => problems.error("spec", idle),
        _ => {}
    }
    if action != "CUSTOM" && present(spec, "provider").is_some() {
        problems.error("spec.provider", format!("`provider` must not be with non CUSTOM action, found {action}"));
    }
    for (at, value) in rules.iter().enumerate() {
        let path = format!("spec.rules[{at}]");
        if value.is_null() {
            problems.error(path, format!("`rule` must not be nil, found at rule {at}"));
            continue;
        }
        if action == "CUSTOM" {
            unsupported_with_custom(value, &path, problems);
        }
        Rule { value, at, path }.check(action, problems);
    }
}

/// The fields of a source, whether each is one that a plain connection can answer, and whether CUSTOM takes it.
const SOURCE_FIELDS: [(&str, bool, bool); 14] = [
    ("principals", true, false),
    ("notPrincipals", true, false),
    ("requestPrincipals", false, false),
    ("notRequestPrincipals", false, false),
    ("namespaces", true, false),
    ("notNamespaces", true, false),
    ("serviceAccounts", true, false),
    ("notServiceAccounts", true, false),
    ("trustDomains", true, false),
    ("notTrustDomains", true, false),
    ("ipBlocks", true, true),
    ("notIpBlocks", true, true),
    ("remoteIpBlocks", true, true),
    ("notRemoteIpBlocks", true, true),
];

/// The fields of an operation, and whether each is one that a plain connection can answer.
const OPERATION_FIELDS: [(&str, bool); 8] = [
    ("ports", true),
    ("notPorts", true),
    ("hosts", false),
    ("notHosts", false),
    ("methods", false),
    ("notMethods", false),
    ("paths", false),
    ("notPaths", false),
];

fn unsupported_with_custom(rule: &Value, path: &str, problems: &mut Problems) {
    let refuse = |problems: &mut Problems, name: &str| {
        problems.error(path, format!("{name} is currently not supported with CUSTOM action"));
    };
    for source in items(rule, "from").iter().filter_map(|from| present(from, "source")) {
        for (field, ..) in SOURCE_FIELDS.iter().filter(|(.., custom)| !custom) {
            if !items(source, field).is_empty() {
                refuse(problems, &format!("from.source.{field}"));
            }
        }
    }
    for (at, when) in items(rule, "when").iter().enumerate() {
        let key = text(when, "key");
        let of_peer = ["source.namespace", "source.serviceAccount", "source.principal", "source.trustDomain"];
        if when.is_null() {
            problems.error(format!("{path}.when[{at}]"), "when field cannot be nil");
        } else if of_peer.contains(&key) || key.starts_with("request.auth.") {
            refuse(problems, key);
        }
    }
}

struct Rule<'a> {
    value: &'a Value,
    at: usize,
    path: String,
}

impl Rule<'_> {
    fn check(&self, action: &str, problems: &mut Problems) {
        let from = self.alternatives("from", "source", problems);
        let to = self.alternatives("to", "operation", problems);
        for (path, source) in &from {
            self.source(path, source, problems);
        }
        for (path, operation) in &to {
            self.operation(path, operation, problems);
        }
        for (at, one) in items(self.value, "when").iter().enumerate() {
            self.condition(at, one, problems);
        }
        let answered = |objects: &[(String, &Value)], fields: &[&str]| {
            objects.iter().any(|(_, object)| fields.iter().any(|field| present(object, field).is_some()))
        };
        let of_peer: Vec<&str> = SOURCE_FIELDS.iter().filter(|(_, tcp, _)| *tcp).map(|(field, ..)| *field).collect();
        let of_port: Vec<&str> = OPERATION_FIELDS.iter().filter(|(_, tcp)| *tcp).map(|(field, _)| *field).collect();
        let only_http = (!from.is_empty() && to.is_empty() && !answered(&from, &of_peer))
            || (!to.is_empty() && !answered(&to, &of_port));
        if action == "DENY" && only_http {
            problems.warning(
                &*self.path,
                "configured AuthorizationPolicy will deny all traffic to TCP ports under its scope due to the use of only \
                 HTTP attributes in a DENY rule; it is recommended to explicitly specify the port",
            );
        }
    }

    /// The objects of a list of alternatives, with their paths.
    fn alternatives(&self, list: &str, field: &str, problems: &mut Problems) -> Vec<(String, &Value)> {
        let (path, rule) = (format!("{}.{list}", self.path), self.at);
        let found = items(self.value, list);
        if found.is_empty() && present(self.value, list).is_some() {
            problems.error(&*path, format!("`{list}` must not be empty, found at rule {rule}"));
        }
        let mut objects = Vec::new();
        for (at, item) in found.iter().enumerate() {
            let item_path = format!("{path}[{at}]");
            if item.is_null() {
                problems.error(item_path, format!("`{list}` must not be nil, found at rule {rule}"));
            } else if let Some(object) = present(item, field) {
                objects.push((format!("{item_path}.{field}"), object));
            } else {
                problems.error(item_path, format!("`{list}.{field}` must not be nil, found at rule {rule}"));
            }
        }
        objects
    }

    fn source(&self, path: &str, source: &Value, problems: &mut Problems) {
        let has = |fields: &[&str]| fields.iter().any(|field| !items(source, field).is_empty());
        let names = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
        if has(&names) && has(&["serviceAccounts", "notServiceAccounts"]) {
            let message = "cannot set serviceAccounts with namespaces or principals";
            problems.error(path, format!("{message}, found at rule {}", self.at));
        }
        if !has(&SOURCE_FIELDS.map(|(field, ..)| field)) {
            problems.error(path, format!("`from.source` must not be empty, found at rule {}", self.at));
        }
        for (field, ..) in SOURCE_FIELDS {
            let check = |key: &str, values: &[&str]| match field {
                "ipBlocks" | "notIpBlocks" | "remoteIpBlocks" | "notRemoteIpBlocks" => {
                    not_empty(key, values).and_then(|()| addresses(values))
                }
                "serviceAccounts" | "notServiceAccounts" => service_accounts(key, values),
                _ => not_empty(key, values),
            };
            report(source, path, field, check, problems);
        }
    }

    fn operation(&self, path: &str, operation: &Value, problems: &mut Problems) {
        if OPERATION_FIELDS.iter().all(|(field, _)| items(operation, field).is_empty()) {
            problems.error(path, format!("`to.operation` must not be empty, found at rule {}", self.at));
        }
        for (field, _) in OPERATION_FIELDS {
            let check = |key: &str, values: &[&str]| {
                not_empty(key, values)?;
                match field {
                    "ports" | "notPorts" => ports(values),
                    "paths" | "notPaths" => path_templates(key, values),
                    _ => Ok(()),
                }
            };
            report(operation, path, field, check, problems);
        }
    }

    fn condition(&self, at: usize, one: &Value, problems: &mut Problems) {
        let (path, key) = (format!("{}.when[{at}]", self.path), text(one, "key"));
        let (values, not_values) = (items(one, "values"), items(one, "notValues"));
        if key.is_empty() {
            problems.error(path, "`key` must not be empty");
        } else if values.is_empty() && not_values.is_empty() {
            problems.error(path, format!("at least one of `values` or `notValues` must be set for key {key}"));
        } else {
            let halves = [(values, "value"), (not_values, "notValue")];
            for (list, name) in halves.into_iter().filter(|(list, _)| !list.is_empty()) {
                if let Err(why) = condition(key, &texts(list)) {
                    problems.error(&*path, format!("invalid `{name}` for `key` {key}: {why}"));
                }
            }
        }
    }
}

fn report(object: &Value, path: &str, field: &str, check: impl Fn(&str, &[&str]) -> Checked, problems: &mut Problems) {
    if let Err(why) = check(field, &texts(items(object, field))) {
        problems.error(format!("{path}.{field}"), why);
    }
}
