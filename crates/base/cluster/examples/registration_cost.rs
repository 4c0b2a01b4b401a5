//! What a change of registration costs, among few pods and among many: `cargo run --release --example registration_cost
//! -p lictor-cluster [PODS...]` (1,000 and 100,000 without arguments), with 200 resources. Prints the ratio of the two.

use lictor_cluster::registration::Registrar;
use lictor_cluster::{AddressPool, Node, Pod, RegistrationSettings, Settings, Snapshot};
use lictor_manifest::{ClusterSpiffeId, Object, read};
use lictor_model::{Labels, Name, Revision};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// How many pods a namespace has.
const SPACE: usize = 100;
/// How many apps there are, each with a resource that selects its pods.
const APPS: usize = 200;
/// How often a change is made.
const TIMES: usize = 2_000;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 100_000] } else { sizes };
    let costs: Vec<[f64; 2]> = sizes.iter().map(|pods| measure(*pods)).collect();
    if let [first, .., last] = costs.as_slice() {
        println!("ratio: pod {:.2}, resource for one namespace {:.2}", last[0] / first[0], last[1] / first[1]);
    }
}

/// Microseconds for a pod that comes and goes, and for a resource that does.
fn measure(pods: usize) -> [f64; 2] {
    let (base, id) = (pod(), id("all", "{matchLabels: {app: none}}"));
    let settings = RegistrationSettings::default();
    let mut registrar = Registrar::new("cluster.local".parse().expect("a trust domain"), settings);
    let node = Node { name: Arc::clone(&base.node), labels: Labels::default(), addresses: vec![] };
    registrar.set_node(&node.name, Some(&node));
    (0..APPS).for_each(|app| {
        registrar.set_id(&self::id(&format!("app{app}"), &format!("{{matchLabels: {{app: app{app}}}}}")));
    });
    let started = Instant::now();
    for at in 0..pods {
        if at % SPACE == 0 {
            let space = space(at);
            let labels: Labels = [("name", &*space)].into_iter().collect();
            registrar.set_namespace(&space.as_str().into(), Some(&labels));
        }
        registrar.set_pod(&like(&base, at, at % APPS), BTreeSet::new());
    }
    println!(
        "{pods} pods, {APPS} resources: {:.1} ms, {:?} judged and rendered",
        micros(started) / 1e3,
        registrar.work()
    );

    let started = Instant::now();
    for at in 0..TIMES {
        let new = like(&base, at * 7 % pods / SPACE * SPACE + SPACE, at % APPS);
        let new = Arc::new(Pod { name: Name::new(new.name.namespace.clone(), "new"), ..(*new).clone() });
        assert_eq!(registrar.set_pod(&new, BTreeSet::new()).len(), 1);
        registrar.remove_pod(&new.name);
    }
    let by_pod = micros(started) / TIMES as f64;
    let one = Arc::new(ClusterSpiffeId {
        pods: lictor_model::Selector::default(),
        namespaces: lictor_model::Selector::equal_to(&[("name", &*space(0))].into_iter().collect()),
        ..(*id).clone()
    });
    let started = Instant::now();
    for _ in 0..TIMES / 100 {
        assert_eq!(registrar.set_id(&one).len(), SPACE);
        registrar.remove_id(&one.meta.name.name);
    }
    let by_id = micros(started) / (TIMES / 100) as f64;
    println!("  a pod more and less       {by_pod:>8.1} µs");
    println!("  a resource more and less  {by_id:>8.1} µs, {SPACE} pods are given it");
    [by_pod, by_id]
}

fn micros(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e6
}

fn space(at: usize) -> String {
    format!("ns{}", at / SPACE)
}

fn like(base: &Pod, at: usize, app: usize) -> Arc<Pod> {
    let labels = [("app", format!("app{app}")), ("pod-template-hash", format!("h{at}"))].into_iter().collect();
    let name = Name::new(space(at), format!("p{at}"));
    let uid = Arc::from(format!("00000000-0000-0000-0000-{at:012}"));
    Arc::new(Pod { name, labels, uid, ..base.clone() })
}

fn pod() -> Arc<Pod> {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: i}]}}";
    let settings = Settings::new(Vec::new());
    let objects = read("pod.yaml", text).objects;
    let (snapshot, _) = Snapshot::build(&objects, &settings, &mut AddressPool::default(), Revision(1));
    Arc::clone(snapshot.pods.values().next().expect("a pod"))
}

fn id(name: &str, pods: &str) -> Arc<ClusterSpiffeId> {
    let template = "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}/{{ .PodMeta.Name }}";
    let spec = format!("{{spiffeIDTemplate: '{template}', podSelector: {pods}}}");
    let text = format!(
        "{{apiVersion: spire.spiffe.io/v1alpha1, kind: ClusterSPIFFEID, metadata: {{name: {name}}}, spec: {spec}}}"
    );
    match read("id.yaml", &text).objects.remove(0) {
        Object::ClusterSpiffeId(id) => id,
        other => panic!("expected a ClusterSPIFFEID, found {other:?}"),
    }
}
