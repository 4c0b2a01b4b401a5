//! The laws of change: what results does not depend on the way there, a change names the pods that it changed, and costs
//! what depends on it.

use super::{objects, settings};
use lictor_cluster::registration::{Entry, Part, Registrar, StaticStatus, Stats};
use lictor_cluster::{AddressPool, Node, Pod, Snapshot};
use lictor_manifest::{ClusterSpiffeId, ClusterStaticEntry, Object};
use lictor_model::{Labels, Name, Revision};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const APPS: [&str; 3] = ["web", "db", "job"];
const SPACES: [&str; 3] = ["shop", "bank", "kube-system"];

/// A change of one thing; a version of nothing removes it.
#[derive(Debug, Clone)]
enum Change {
    Namespace(usize, Option<usize>),
    Node(usize, Option<usize>),
    Pod(usize, Option<(usize, usize, bool)>),
    Id(usize, Option<usize>),
    Static(usize, Option<usize>),
}

fn change() -> impl Strategy<Value = Change> {
    let some = |count: usize| prop_oneof![3 => (0..count).prop_map(Some), 1 => Just(None)];
    let pod = prop_oneof![4 => (0..3_usize, 0..2_usize, any::<bool>()).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        2 => (0..3_usize, some(2)).prop_map(|(at, to)| Change::Namespace(at, to)),
        1 => (0..2_usize, some(2)).prop_map(|(at, to)| Change::Node(at, to)),
        4 => (0..6_usize, pod).prop_map(|(at, to)| Change::Pod(at, to)),
        4 => (0..4_usize, some(IDS.len())).prop_map(|(at, to)| Change::Id(at, to)),
        2 => (0..3_usize, some(STATIC.len())).prop_map(|(at, to)| Change::Static(at, to)),
    ]
}

/// The specs that a ClusterSPIFFEID may have.
const IDS: [&str; 10] = [
    "{spiffeIDTemplate: 'spiffe://example.org/all'}",
    "{spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.app }}', podSelector: {matchLabels: {app: web}}}",
    "{spiffeIDTemplate: 'spiffe://example.org/all', namespaceSelector: {matchLabels: {team: a}}}",
    "{spiffeIDTemplate: 'spiffe://example.org/both', namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchExpressions: [{key: app, operator: In, values: [web, db]}]}}",
    "{spiffeIDTemplate: 'spiffe://example.org/not', podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}}",
    "{spiffeIDTemplate: 'spiffe://example.org/fallback', fallback: true}",
    "{spiffeIDTemplate: 'spiffe://example.org/{{ .PodMeta.Labels.tier }}', dnsNameTemplates: ['{{ .NodeMeta.Labels.zone }}'], autoPopulateDNSNames: true}",
    "{spiffeIDTemplate: 'spiffe://example.org/hint', hint: x, workloadSelectorTemplates: ['k8s:ns-label:team:a']}",
    "{spiffeIDTemplate: 'spiffe://example.org/other', className: other}",
    "{spiffeIDTemplate: 'spiffe://example.org/all', workloadSelectorTemplates: ['unix:uid:0']}",
];

/// The specs that a ClusterStaticEntry may have; `N1` is an agent.
const STATIC: [&str; 7] = [
    "{spiffeID: 'spiffe://example.org/s', parentID: N1, selectors: ['k8s:pod-label:app:web']}",
    "{spiffeID: 'spiffe://example.org/s', parentID: 'spiffe://example.org/alias', selectors: ['k8s:ns:bank', 'k8s:sa:default'], hint: x}",
    "{spiffeID: 'spiffe://example.org/alias', parentID: 'spiffe://example.org/spire/server', selectors: ['k8s_psat:agent_node_name:n2']}",
    "{spiffeID: 'spiffe://example.org/alias', parentID: 'spiffe://example.org/spire/server', selectors: ['k8s_psat:cluster:test']}",
    "{spiffeID: 'spiffe://example.org/n', parentID: N1, selectors: ['k8s:node-name:n1', 'k8s:ns-label:team:b']}",
    "{spiffeID: 'spiffe://example.org/s', parentID: N1, selectors: ['unix:gid:0']}",
    "{spiffeID: 'spiffe://example.org/c', parentID: N1, selectors: ['k8s:container-image:i', 'unix:gid:0', 'k8s:ns:shop']}",
];

fn space_labels(version: usize) -> Labels {
    [("team", ["a", "b"][version])].into_iter().collect()
}

fn node(at: usize, version: usize) -> Node {
    let labels: Labels = [("zone", ["a", "b"][version])].into_iter().collect();
    Node { name: ["n1", "n2"][at].into(), labels, addresses: vec![] }
}

fn pod(at: usize, (app, node, tier): (usize, usize, bool)) -> Arc<Pod> {
    let tier = if tier { ", tier: front" } else { "" };
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: p{at}, namespace: {}, labels: {{app: {}{tier}}}}}, spec: {{nodeName: {}, containers: [{{name: c, image: i}}]}}}}",
        SPACES[at % 3],
        APPS[app],
        ["n1", "n2"][node],
    );
    let (snapshot, _) = Snapshot::build(&objects(&text), &settings(), &mut AddressPool::default(), Revision(1));
    Arc::clone(snapshot.pods.values().next().expect("a pod"))
}

fn resource(kind: &str, at: usize, spec: &str) -> Object {
    let settings = settings();
    let agent = settings.registration.agent(&settings.trust_domain, "n1").expect("an identity");
    let spec = spec.replace("N1", &format!("'{agent}'"));
    let text =
        format!("{{apiVersion: spire.spiffe.io/v1alpha1, kind: {kind}, metadata: {{name: r{at}}}, spec: {spec}}}");
    objects(&text).remove(0)
}

fn id(at: usize, version: usize) -> Arc<ClusterSpiffeId> {
    let Object::ClusterSpiffeId(id) = resource("ClusterSPIFFEID", at, IDS[version]) else { panic!("another kind") };
    id
}

fn static_entry(at: usize, version: usize) -> Arc<ClusterStaticEntry> {
    let Object::ClusterStaticEntry(entry) = resource("ClusterStaticEntry", at, STATIC[version]) else {
        panic!("another kind")
    };
    entry
}

fn services(app: usize) -> BTreeSet<Arc<str>> {
    if APPS[app] == "web" { [Arc::from("web")].into() } else { BTreeSet::new() }
}

fn registrar() -> Registrar {
    Registrar::new(settings().trust_domain, settings().registration)
}

fn apply(registrar: &mut Registrar, change: &Change) -> BTreeSet<Name> {
    match change {
        Change::Namespace(at, to) => registrar.set_namespace(&SPACES[*at].into(), to.map(space_labels).as_ref()),
        Change::Node(at, to) => {
            let name = ["n1", "n2"][*at].into();
            registrar.set_node(&name, to.map(|version| node(*at, version)).as_ref())
        }
        Change::Pod(at, Some(version)) => registrar.set_pod(&pod(*at, *version), services(version.0)),
        Change::Pod(at, None) => registrar.remove_pod(&Name::new(SPACES[at % 3], format!("p{at}"))),
        Change::Id(at, Some(version)) => registrar.set_id(&id(*at, *version)),
        Change::Id(at, None) => registrar.remove_id(&format!("r{at}").into()),
        Change::Static(at, Some(version)) => registrar.set_static_entry(&static_entry(*at, *version)),
        Change::Static(at, None) => registrar.remove_static_entry(&format!("r{at}").into()),
    }
}

/// The changes that are still in force, in an order of their own.
fn last(changes: &[Change]) -> Vec<Change> {
    let mut last = BTreeMap::new();
    for change in changes {
        let key = match change {
            Change::Static(at, _) => (0, *at),
            Change::Id(at, _) => (1, *at),
            Change::Pod(at, _) => (2, *at),
            Change::Node(at, _) => (3, *at),
            Change::Namespace(at, _) => (4, *at),
        };
        last.insert(key, change.clone());
    }
    last.into_values().collect()
}

type Given = (Vec<Arc<Entry>>, Vec<Part>);
type Told = (BTreeMap<Name, Given>, BTreeMap<Arc<str>, Stats>, BTreeMap<Arc<str>, StaticStatus>);

fn told(registrar: &Registrar) -> Told {
    let names = (0..6).map(|at| Name::new(SPACES[at % 3], format!("p{at}")));
    let given = |name: &Name| (registrar.entries(name).to_vec(), registrar.parts(name).to_vec());
    let entries = names.map(|name| (name.clone(), given(&name))).collect();
    (entries, registrar.stats(), registrar.static_stats())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_results_is_the_same_on_every_way_and_a_change_names_what_it_changed(
        changes in prop::collection::vec(change(), 1..40),
    ) {
        let mut kept = registrar();
        for change in &changes {
            let (before, ..) = told(&kept);
            let named = apply(&mut kept, change);
            let (after, ..) = told(&kept);
            let differ: BTreeSet<Name> =
                after.iter().filter(|(name, entries)| before.get(name) != Some(entries)).map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(named, differ, "{:?}", change);
        }
        let mut fresh = registrar();
        for change in last(&changes) {
            apply(&mut fresh, &change);
        }
        prop_assert_eq!(told(&kept), told(&fresh));
    }
}

/// A thousand pods of ten apps in a hundred namespaces, and a resource for each app.
fn large() -> Registrar {
    let mut registrar = registrar();
    registrar.set_node(&"n1".into(), Some(&node(0, 0)));
    let base = pod(0, (0, 0, false));
    for space in 0..100 {
        let labels: Labels = [("team", format!("t{space}"))].into_iter().collect();
        registrar.set_namespace(&format!("s{space}").into(), Some(&labels));
        for at in 0..10 {
            let labels = [("app", format!("a{at}"))].into_iter().collect();
            let name = Name::new(format!("s{space}"), format!("p{at}"));
            registrar.set_pod(&Arc::new(Pod { name, labels, ..(*base).clone() }), BTreeSet::new());
        }
    }
    for at in 0..10 {
        let spec =
            format!("{{spiffeIDTemplate: 'spiffe://example.org/{at}', podSelector: {{matchLabels: {{app: a{at}}}}}}}");
        let Object::ClusterSpiffeId(id) = resource("ClusterSPIFFEID", at, &spec) else { panic!("another kind") };
        registrar.set_id(&id);
    }
    registrar
}

#[test]
fn a_change_costs_what_depends_on_it() {
    let mut registrar = large();
    let mut cost = |run: &mut dyn FnMut(&mut Registrar) -> usize| {
        let before = registrar.work();
        let changed = run(&mut registrar);
        let after = registrar.work();
        (changed, after.0 - before.0, after.1 - before.1)
    };
    let base = pod(0, (0, 0, false));
    let labels: Labels = [("app", "a3")].into_iter().collect();
    let one = Arc::new(Pod { name: Name::new("s5", "new"), labels, ..(*base).clone() });
    assert_eq!(cost(&mut |all| all.set_pod(&one, BTreeSet::new()).len()), (1, 1, 1), "a pod more");
    assert_eq!(cost(&mut |all| all.set_pod(&one, BTreeSet::new()).len()), (0, 0, 0), "the same pod again");
    assert_eq!(cost(&mut |all| all.remove_pod(&one.name).len()), (1, 0, 0), "a pod less");
    let by_label = "{spiffeIDTemplate: 'spiffe://example.org/x', podSelector: {matchLabels: {app: a3}}}";
    let Object::ClusterSpiffeId(by_label) = resource("ClusterSPIFFEID", 90, by_label) else { panic!("another kind") };
    assert_eq!(cost(&mut |all| all.set_id(&by_label).len()), (100, 100, 200), "a resource that a tenth is selected by");
    assert_eq!(cost(&mut |all| all.remove_id(&"r90".into()).len()), (100, 100, 100), "and without it");
    let by_space = "{spiffeIDTemplate: 'spiffe://example.org/x', namespaceSelector: {matchLabels: {team: t7}}}";
    let Object::ClusterSpiffeId(by_space) = resource("ClusterSPIFFEID", 91, by_space) else { panic!("another kind") };
    assert_eq!(cost(&mut |all| all.set_id(&by_space).len()), (10, 10, 20), "a resource for one namespace");
    let labels: Labels = [("team", "t8")].into_iter().collect();
    assert_eq!(
        cost(&mut |all| all.set_namespace(&"s7".into(), Some(&labels)).len()),
        (10, 10, 10),
        "a namespace's labels"
    );
}
