//! Requests that stand for what authorization rules speak of.

use crate::question::RequestAsk;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{AuthorizationPolicy, AuthorizationRule, FullMatch, HttpRule, Operation, Said};
use lictor_model::{Name, Selector};
use std::collections::BTreeSet;
use std::sync::Arc;

/// More requests than this are not made up for one workload.
const MAX_SAMPLES: usize = 32;
/// A path that no rule names.
const UNNAMED_PATH: &str = "/named-by-no-rule";

/// Whether a policy of this namespace and selector speaks for a pod.
pub(crate) fn speaks_for(snapshot: &Snapshot, policy: &Name, selector: Option<&Selector>, pod: &Pod) -> bool {
    (policy.namespace == pod.name.namespace || policy.namespace == snapshot.root_namespace)
        && selector.is_none_or(|selector| selector.matches(&pod.labels))
}

/// The authorization policies that speak for a pod.
pub(crate) fn policies<'a>(snapshot: &'a Snapshot, pod: &'a Pod) -> impl Iterator<Item = &'a Arc<AuthorizationPolicy>> {
    snapshot.policies.authorization.values().filter(|policy| {
        !policy.has_target_refs && speaks_for(snapshot, &policy.meta.name, policy.selector.as_ref(), pod)
    })
}

/// For each method and path that a rule about the pod names, one request; and one that none names.
pub(crate) fn samples(snapshot: &Snapshot, pod: &Pod) -> Vec<RequestAsk> {
    let rules: Vec<&AuthorizationRule> = policies(snapshot, pod).flat_map(|policy| &policy.rules).collect();
    let mut samples: BTreeSet<RequestAsk> = BTreeSet::new();
    for rule in &rules {
        let headers = headers(rule);
        let anything = [Operation::default()];
        let operations = if rule.to.is_empty() { &anything[..] } else { &rule.to[..] };
        for operation in operations {
            samples.extend(of_operation(operation, &headers).into_iter().take(MAX_SAMPLES));
        }
    }
    samples.extend(of_cilium(snapshot).into_iter().take(MAX_SAMPLES));
    let mut samples: Vec<RequestAsk> = samples.into_iter().take(MAX_SAMPLES).collect();
    samples.push(unnamed(&rules));
    samples
}

/// For each HTTP rule of a CiliumNetworkPolicy a request that it means, where its expressions are plain enough.
fn of_cilium(snapshot: &Snapshot) -> BTreeSet<RequestAsk> {
    let specs = snapshot.policies.cilium.values().flat_map(|policy| &policy.specs);
    let rules = specs.flat_map(|spec| spec.ingress.allow.iter().chain(&spec.egress.allow));
    let items = rules.flat_map(|rule| rule.ports.iter().flatten()).filter_map(|item| item.said.as_deref());
    let http = items.flat_map(|said| match said {
        Said::Http(rules) => &rules[..],
        _ => &[],
    });
    let text = |part: &Option<FullMatch>, any: &str| match part {
        None => Some(any.to_owned()),
        Some(expression) => plain(expression),
    };
    let request = |rule: &HttpRule| {
        let value = |(name, value): &(Arc<str>, Option<Arc<str>>)| {
            (name.to_string(), value.as_deref().unwrap_or("some").to_owned())
        };
        Some(RequestAsk {
            method: text(&rule.method, "GET")?,
            path: text(&rule.path, "/")?,
            host: match &rule.host {
                None => None,
                Some(host) => Some(plain(host)?),
            },
            headers: rule.headers.iter().map(value).collect(),
        })
    };
    http.filter_map(request).collect()
}

/// A text that an expression means: itself, without the marks of its ends and with `.*` left out.
fn plain(expression: &FullMatch) -> Option<String> {
    let text = expression.as_str().trim_start_matches('^').trim_end_matches('$').replace(".*", "");
    let text = text.replace("\\.", ".");
    expression.matches(&text).then_some(text)
}

/// What the rules about a pod name, as `METHOD pattern`, for a person.
pub(crate) fn named(snapshot: &Snapshot, pod: &Pod) -> BTreeSet<String> {
    let operations = policies(snapshot, pod).flat_map(|policy| &policy.rules).flat_map(|rule| &rule.to);
    let mut named = BTreeSet::new();
    for operation in operations.filter(|operation| !operation.methods.is_empty() || !operation.paths.is_empty()) {
        let list =
            |values: &[String], any: &str| if values.is_empty() { vec![any.to_owned()] } else { values.to_vec() };
        let paths = list(&operation.paths, "any path");
        for method in list(&operation.methods, "any method") {
            named.extend(paths.iter().map(|path| format!("{method} {path}")));
        }
    }
    named
}

fn of_operation(operation: &Operation, headers: &[(String, String)]) -> Vec<RequestAsk> {
    let or = |values: &[String], nots: &[String], default: &str| -> Vec<String> {
        let named: Vec<String> = values.iter().chain(nots).map(|pattern| concrete(pattern)).collect();
        if named.is_empty() { vec![default.to_owned()] } else { named }
    };
    let methods = or(&operation.methods, &operation.not_methods, "GET");
    let paths = or(&operation.paths, &operation.not_paths, "/");
    let host = operation.hosts.first().map(|pattern| concrete(pattern).trim_start_matches('/').to_owned());
    let request = |method: &String, path: &String| RequestAsk {
        method: method.trim_start_matches('/').to_owned(),
        path: if path.starts_with('/') { path.clone() } else { format!("/{path}") },
        host: host.clone(),
        headers: headers.to_vec(),
    };
    methods.iter().flat_map(|method| paths.iter().map(move |path| request(method, path))).collect()
}

/// The headers that a rule's conditions want, with a value that meets each.
fn headers(rule: &AuthorizationRule) -> Vec<(String, String)> {
    let header = |condition: &lictor_manifest::Condition| {
        let name = condition.key.strip_prefix("request.headers[")?.strip_suffix(']')?;
        let value = condition.values.first().map(|pattern| concrete(pattern))?;
        Some((name.to_ascii_lowercase(), value.trim_start_matches('/').to_owned()))
    };
    rule.when.iter().filter_map(header).collect()
}

/// A request that no rule names, by its path and, where rules name methods, by its method too.
fn unnamed(rules: &[&AuthorizationRule]) -> RequestAsk {
    let operations = || rules.iter().flat_map(|rule| &rule.to);
    let named: BTreeSet<&str> = operations()
        .flat_map(|operation| operation.methods.iter().chain(&operation.not_methods))
        .map(String::as_str)
        .collect();
    let candidates = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"];
    let method = match named.is_empty() {
        true => "GET",
        false => candidates.into_iter().find(|method| !named.contains(method)).unwrap_or("GET"),
    };
    RequestAsk { method: method.to_owned(), path: UNNAMED_PATH.to_owned(), host: None, headers: Vec::new() }
}

/// A text that a pattern matches: exact, prefix (`a*`), suffix (`*a`), presence (`*`), `{*}` and `{**}`.
fn concrete(pattern: &str) -> String {
    match pattern {
        "*" => "/any".to_owned(),
        _ => pattern.replace("{**}", "some/thing").replace("{*}", "some").replace('*', "some"),
    }
}

#[cfg(test)]
mod tests {
    use super::concrete;

    #[test]
    fn a_pattern_becomes_a_text_that_it_matches() {
        for (pattern, text) in [
            ("/a", "/a"),
            ("/a/*", "/a/some"),
            ("*.com", "some.com"),
            ("/a/{*}/b", "/a/some/b"),
            ("/{**}", "/some/thing"),
        ] {
            assert_eq!(concrete(pattern), text);
        }
    }
}
