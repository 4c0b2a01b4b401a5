//! Who gets which identity: cases as data, and the laws of change.

mod changes;

use lictor_cluster::registration::{Entry, Part, Scope, StaticStatus, Stats};
use lictor_cluster::{AddressPool, Node, RegistrationSettings, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Object, read, values};
use lictor_model::{Labels, Name, Revision};
use serde_json::{Map, Value, json};
use std::sync::Arc;

fn settings() -> Settings {
    let labels: Labels = [("zone", "z1")].into_iter().collect();
    let node = Node { name: Arc::from("n1"), labels, addresses: vec!["192.168.0.1".parse().expect("an address")] };
    Settings {
        trust_domain: "example.org".parse().expect("a trust domain"),
        root_namespace: Arc::from("istio-system"),
        default_namespace: Arc::from("default"),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods: false,
        registration: RegistrationSettings { cluster_name: Arc::from("test"), ..RegistrationSettings::default() },
    }
}

/// The resources of a case as a stream of JSON documents, a document a line.
fn resources(case: &Value) -> String {
    let settings = settings();
    let agent = settings.registration.agent(&settings.trust_domain, "n1").expect("an identity");
    let mut out = String::new();
    for (key, kind) in [
        ("ids", "ClusterSPIFFEID"),
        ("static_entries", "ClusterStaticEntry"),
        ("federated", "ClusterFederatedTrustDomain"),
    ] {
        for (name, spec) in case[key].as_object().unwrap_or(&Map::new()) {
            let mut metadata = json!({ "name": name });
            if let Some(created) = case["created"].get(name) {
                metadata["creationTimestamp"] = created.clone();
            }
            let version = "spire.spiffe.io/v1alpha1";
            let object = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec});
            out += &format!("{object}\n---\n").replace("AGENT", agent.as_str());
        }
    }
    out
}

fn objects(text: &str) -> Vec<Object> {
    let reading = read("test.yaml", text);
    assert!(!reading.has_errors(), "{:?}\n{text}", reading.findings);
    reading.objects
}

fn told(entry: &Entry) -> String {
    fn joined<T: ToString>(values: &[T]) -> String {
        values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
    let issuance = &entry.issuance;
    let mut text = entry.id.to_string();
    let mut say = |name: &str, value: String| {
        if !value.is_empty() {
            text += &format!(" {name}={value}");
        }
    };
    say("dns", joined(&entry.dns_names));
    say("ttl", issuance.x509_lifetime.map(|life| life.as_secs().to_string()).unwrap_or_default());
    say("jwtTtl", issuance.jwt_lifetime.map(|life| life.as_secs().to_string()).unwrap_or_default());
    say("federatesWith", joined(&issuance.federates_with));
    say("hint", issuance.hint.to_string());
    let flags = [(issuance.admin, " admin"), (issuance.downstream, " downstream")];
    flags.into_iter().filter(|(set, _)| *set).for_each(|(_, word)| text += word);
    text
}

fn told_part(part: &Part) -> String {
    let Scope { containers, process } = &part.scope;
    let mut text = told(&part.entry);
    if let Some(containers) = containers {
        text += &format!(" containers={}", containers.iter().map(|name| &**name).collect::<Vec<_>>().join(","));
    }
    if !process.is_empty() {
        text += &format!(" process={}", process.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    }
    text
}

fn stats(stats: &Stats) -> String {
    let all = [
        ("namespacesSelected", stats.namespaces_selected),
        ("namespacesIgnored", stats.namespaces_ignored),
        ("podsSelected", stats.pods_selected),
        ("podEntryRenderFailures", stats.pod_entry_render_failures),
        ("entriesMasked", stats.entries_masked),
        ("entriesToSet", stats.entries_to_set),
        ("entryFailures", stats.entry_failures),
    ];
    let said = all.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name}={count}"));
    said.collect::<Vec<_>>().join(" ")
}

fn status(status: &StaticStatus) -> String {
    let all = [("rendered", status.rendered), ("masked", status.masked), ("set", status.set)];
    all.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

/// What a snapshot says of what a case asks for.
fn outcome(case: &Value, snapshot: &Snapshot, findings: &[String]) -> Value {
    let pod = |name: &str| snapshot.pods.get(&Name::parse(name, "default")).expect("a pod");
    let named = |key: &str, value: &dyn Fn(&str) -> Value| {
        let keys = case[key].as_object().into_iter().flat_map(|map| map.keys());
        Value::Object(keys.map(|name| (name.clone(), value(name))).collect())
    };
    let entries = |name: &str| pod(name).entries.iter().map(|entry| Value::from(told(entry))).collect();
    let parts = |name: &str| pod(name).parts.iter().map(|part| Value::from(told_part(part))).collect();
    let registrations = &snapshot.registrations;
    let ids = registrations.ids.iter().map(|(name, status)| (name.to_string(), stats(status).into()));
    let static_entries = registrations.static_entries.iter();
    let static_entries = static_entries.map(|(name, entry)| (name.to_string(), status(entry).into()));
    let federated = registrations.federated.iter();
    let federated = federated.map(|(domain, resource)| Value::from(format!("{domain} {}", resource.bundle_endpoint)));
    json!({
        "entries": named("entries", &entries),
        "parts": named("parts", &parts),
        "identities": named("identities", &|name| pod(name).identity.to_string().into()),
        "stats": Value::Object(ids.collect()),
        "static": Value::Object(static_entries.collect()),
        "trust_domains": federated.collect::<Value>(),
        "findings": findings,
    })
}

#[test]
fn each_case_has_its_entries_and_status() {
    check(include_str!("cases.yaml"));
}

#[test]
fn each_selector_has_the_processes_that_it_means() {
    check(include_str!("processes.yaml"));
}

fn check(text: &str) {
    let documents = values(text).expect("cases");
    let (world, cases) = documents.split_first().expect("a world");
    let world = world["world"].as_str().expect("manifests");
    let mut wrong = Vec::new();
    for case in cases {
        let objects = objects(&(resources(case) + world));
        let (snapshot, findings) = Snapshot::build(&objects, &settings(), &mut AddressPool::default(), Revision(1));
        let findings: Vec<_> =
            findings.iter().map(|finding| format!("{}: {}", finding.code, finding.message)).collect();
        let found = outcome(case, &snapshot, &findings);
        assert!(case["source"].is_string(), "{case}");
        for key in ["entries", "parts", "identities", "stats", "static", "trust_domains", "findings"] {
            let unsaid = key == "findings" && case.get(key).is_none() && !findings.is_empty();
            if unsaid || case.get(key).is_some_and(|wanted| *wanted != found[key]) {
                wrong.push(format!("{}: {key}\n  wanted {}\n  found  {}", case["case"], case[key], found[key]));
            }
        }
    }
    println!("registration: {} cases", cases.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_registration_says_is_part_of_what_changed() {
    let build = |text: &str| Snapshot::build(&objects(text), &settings(), &mut AddressPool::default(), Revision(1)).0;
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: i}]}}\n---\n";
    let id = |ttl: &str| {
        let spec = format!("{{spiffeIDTemplate: 'spiffe://example.org/a', ttl: {ttl}}}");
        format!("{{apiVersion: spire.spiffe.io/v1alpha1, kind: ClusterSPIFFEID, metadata: {{name: a}}, spec: {spec}}}")
    };
    let (before, after) = (build(&(pod.to_owned() + &id("1h"))), build(&(pod.to_owned() + &id("2h"))));
    let delta = lictor_cluster::Delta::between(&before, &after);
    assert_eq!((delta.pods_changed.len(), delta.registrations), (1, false));
    let delta = lictor_cluster::Delta::between(&build(pod), &after);
    assert_eq!((delta.pods_changed.len(), delta.registrations), (1, true));
}
