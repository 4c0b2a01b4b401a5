//! Whom a policy is for: `selector`, `targetRef`, `targetRefs`.

use super::{Problems, entries, items, present, text};
use serde_json::Value;

/// What a policy may be attached to, as group and kind.
const TARGETS: [(&str, &str); 4] = [
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

/// Checks all three and that at most one of them is set.
pub(super) fn check(spec: &Value, problems: &mut Problems) {
    let references = items(spec, "targetRefs");
    let set = [present(spec, "selector").is_some(), present(spec, "targetRef").is_some(), !references.is_empty()];
    if set.into_iter().filter(|set| *set).count() > 1 {
        problems.error("spec", "only one of targetRefs or workloadSelector can be set");
    }
    selector(spec, problems);
    if let Some(reference) = present(spec, "targetRef") {
        target(reference, "spec.targetRef", problems);
    }
    for (at, reference) in references.iter().enumerate().filter(|(_, reference)| !reference.is_null()) {
        target(reference, &format!("spec.targetRefs[{at}]"), problems);
    }
}

/// Checks the workload selector alone.
pub(super) fn selector(spec: &Value, problems: &mut Problems) {
    const PATH: &str = "spec.selector";
    let Some(selector) = present(spec, "selector") else { return };
    let mut empty = true;
    for (key, value) in entries(selector, "matchLabels") {
        empty = false;
        let value = value.as_str().unwrap_or_default();
        if key.is_empty() {
            problems.error(PATH, format!("empty key is not supported in selector: \"{key}={value}\""));
        }
        if key.contains('*') || value.contains('*') {
            problems.error(PATH, format!("wildcard is not supported in selector: \"{key}={value}\""));
        }
    }
    if empty {
        problems.warning(PATH, "workload selector specified without labels");
    }
}

fn target(reference: &Value, path: &str, problems: &mut Problems) {
    if text(reference, "name").is_empty() {
        problems.error(path, "targetRef name must be set");
    }
    if !text(reference, "namespace").is_empty() {
        problems.error(path, "targetRef namespace must not be set; cross namespace referencing is not supported");
    }
    let (group, kind) = (text(reference, "group"), text(reference, "kind"));
    if !TARGETS.contains(&(if group == "core" { "" } else { group }, kind)) {
        let all = TARGETS.map(|(group, kind)| format!("{group}/{kind}")).join(", ");
        problems.error(path, format!("targetRef must be to one of {all} but was {group}/{kind}"));
    }
}
