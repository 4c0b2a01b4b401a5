use super::{PeerModes, merge, mode_word};
use lictor_manifest::{MtlsMode, Object, PeerAuthentication, read};
use std::sync::Arc;

/// Policies, one a line: `namespace/name [app] MODE [port=MODE] [@seconds]`.
fn policies(text: &str) -> Vec<Arc<PeerAuthentication>> {
    let manifest = |line: &str| {
        let mut words = line.split_whitespace();
        let (namespace, name) = words.next().and_then(|word| word.split_once('/')).expect("a name");
        let (mut metadata, mut spec) = (format!("{{name: {name}, namespace: {namespace}"), String::new());
        for word in words {
            if let Some(app) = word.strip_prefix('[') {
                spec.push_str(&format!("  selector: {{matchLabels: {{app: {}}}}}\n", app.trim_end_matches(']')));
            } else if let Some(second) = word.strip_prefix('@') {
                metadata.push_str(&format!(", creationTimestamp: '2026-01-01T00:00:{second}Z'"));
            } else if let Some((port, mode)) = word.split_once('=') {
                spec.push_str(&format!("  portLevelMtls: {{'{port}': {{mode: {mode}}}}}\n"));
            } else {
                spec.push_str(&format!("  mtls: {{mode: {word}}}\n"));
            }
        }
        let (head, kind) = ("apiVersion: security.istio.io/v1", "kind: PeerAuthentication");
        format!("{head}\n{kind}\nmetadata: {metadata}}}\nspec:\n{spec}---\n")
    };
    let text: String = text.lines().filter(|line| !line.trim().is_empty()).map(manifest).collect();
    let reading = read("test", &text);
    assert!(!reading.has_errors(), "{:?}", reading.findings);
    let policy = |object| match object {
        Object::PeerAuthentication(policy) => Some(policy),
        _ => None,
    };
    reading.objects.into_iter().filter_map(policy).collect()
}

fn merged(text: &str) -> PeerModes {
    merge(policies(text).iter().map(|policy| &**policy), "root")
}

#[track_caller]
fn check(text: &str, mode: MtlsMode, by: &str) {
    let merged = merged(text);
    let got = merged.by.map_or_else(|| "default".to_owned(), |by| format!("{} {}", by.name, by.path));
    assert_eq!((merged.mode, got.as_str()), (mode, by), "{text}");
}

#[test]
fn the_narrowest_scope_that_sets_a_mode_sets_it() {
    check("", MtlsMode::Permissive, "default");
    check("root/mesh STRICT", MtlsMode::Strict, "root/mesh spec.mtls.mode");
    check("root/mesh STRICT\nns/all PERMISSIVE", MtlsMode::Permissive, "ns/all spec.mtls.mode");
    check("ns/one [a] DISABLE\nns/all STRICT\nroot/mesh STRICT", MtlsMode::Disable, "ns/one spec.mtls.mode");
    check("root/mesh STRICT\nns/all UNSET\nns/one [a]", MtlsMode::Strict, "root/mesh spec.mtls.mode");
    check("root/one [a] STRICT", MtlsMode::Permissive, "default");
}

#[test]
fn the_oldest_of_a_scope_counts_and_of_equals_the_first() {
    check("ns/b STRICT\nns/a DISABLE", MtlsMode::Strict, "ns/b spec.mtls.mode");
    check("ns/b STRICT @30\nns/a DISABLE @10\nns/c STRICT @10", MtlsMode::Disable, "ns/a spec.mtls.mode");
    check("ns/new STRICT\nns/old DISABLE @59", MtlsMode::Disable, "ns/old spec.mtls.mode");
    // The one that counts sets nothing; the younger one does not step in.
    check("ns/old UNSET @10\nns/new STRICT @20", MtlsMode::Permissive, "default");
}

#[test]
fn ports_come_from_the_workloads_policy_and_inherit() {
    let merged = merged("root/mesh STRICT\nns/one [a] 8080=DISABLE @10\nns/two [a] 9090=PERMISSIVE @20");
    let ports: Vec<String> =
        merged.ports.iter().map(|(port, (mode, _))| format!("{port} {}", mode_word(*mode))).collect();
    assert_eq!(ports, ["8080 DISABLE"]);
    let inherited = super::merge(policies("root/mesh STRICT\nns/one [a] 8080=UNSET").iter().map(|one| &**one), "root");
    let (mode, by) = inherited.ports.get(&8080).expect("the port is named");
    assert_eq!((*mode, by.as_ref().map(|by| &*by.name.name)), (MtlsMode::Strict, Some("mesh")));
}
