//! How long a snapshot and its program take, and how large the program is: `cargo run --release --example
//! compile_time -p lictor-network [PODS...]` (10,000 and 100,000 without arguments), with 200 policies.

use lictor_cluster::{AddressPool, Settings, Snapshot};
use lictor_manifest::{
    Container, ContainerPort, Meta, Namespace, NetworkPolicy, NetworkRule, Object, Origin, PeerTerm, PodSpec,
    PodTemplate, PortMatch, PortTerm, Workload, WorkloadKind,
};
use lictor_model::{Cidr, IpBlock, Labels, Name, PortRange, Protocol, Revision, Selector};
use lictor_network::{Compiler, Program};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const NAMESPACES: usize = 100;
const WORKLOADS: usize = 20;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    for pods in if sizes.is_empty() { vec![10_000, 100_000] } else { sizes } {
        measure(pods);
    }
}

fn measure(pods: usize) {
    let mut objects = cluster(pods);
    let settings = Settings::new(Vec::new());
    let block = |text: &str| [text.parse::<Cidr>().expect("a block")];
    let mut pool = AddressPool::new(&block("10.0.0.0/12"), &block("10.96.0.0/16"));
    let started = Instant::now();
    let (snapshot, _) = Snapshot::build(&objects, &settings, &mut pool, Revision(1));
    println!("{} pods, {} policies", snapshot.pods.len(), snapshot.policies.network.len());
    println!("  snapshot          {:>8.1} ms", millis(started));
    let mut compiler = Compiler::default();
    let started = Instant::now();
    let program = compiler.compile(&snapshot);
    println!("  first program     {:>8.1} ms  {}", millis(started), size(&program));

    objects.push(policy("ns0", "one-more", "app0", vec![rule(vec![own("app1")], 81)], None));
    let started = Instant::now();
    let (snapshot, _) = Snapshot::build(&objects, &settings, &mut pool, Revision(2));
    println!("  snapshot again    {:>8.1} ms", millis(started));
    let started = Instant::now();
    let next = compiler.compile(&snapshot);
    let changed =
        next.endpoints.iter().filter(|(name, endpoint)| program.endpoints.get(*name) != Some(endpoint)).count();
    let moved = next.addresses.iter().filter(|(address, known)| program.addresses.get(*address) != Some(known)).count();
    println!("  policy more       {:>8.1} ms  {changed} endpoints and {moved} addresses change", millis(started));
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}

fn size(program: &Program) -> String {
    let classes: std::collections::BTreeSet<_> = program.addresses.values().map(|known| known.class).collect();
    let entries: usize = program.rule_sets.values().map(|set| set.entries.len()).sum();
    format!("{} classes, {} rule sets, {entries} entries", classes.len(), program.rule_sets.len())
}

/// Pods of 20 workloads in each of 100 namespaces; in each namespace one policy that denies by default and lets
/// the namespace's own pods in, and one for each kind of peer and port.
fn cluster(pods: usize) -> Vec<Object> {
    let replicas = u32::try_from(pods.div_ceil(NAMESPACES * WORKLOADS)).expect("a sane number of pods");
    let mut objects = Vec::new();
    for at in 0..NAMESPACES {
        let namespace = format!("ns{at}");
        let labels = [("team", format!("team{}", at % 10))].into_iter().collect();
        objects.push(Object::Namespace(Arc::new(Namespace { meta: Meta { labels, ..meta("", &namespace) } })));
        for workload in 0..WORKLOADS {
            objects.push(deployment(&namespace, &format!("app{workload}"), replicas));
        }
        objects.push(policy(&namespace, "default", "", vec![rule(vec![own("app0")], 80)], Some(Vec::new())));
        let team = Selector::equal_to(&[("team", format!("team{}", (at + 1) % 10))].into_iter().collect::<Labels>());
        let teams = PeerTerm::Pods { namespaces: Some(team), pods: Some(selector("app2")) };
        let cidr: Cidr = format!("203.0.{at}.0/24").parse().expect("a block");
        let except = vec![format!("203.0.{at}.128/25").parse().expect("a block")];
        let outside = PeerTerm::Block(IpBlock { cidr, except });
        let named = PortTerm { protocol: Protocol::Tcp, port: PortMatch::Named(Arc::from("http")) };
        let egress = vec![
            NetworkRule { peers: vec![own("app3"), outside], ports: vec![named] },
            NetworkRule { peers: vec![teams.clone()], ports: Vec::new() },
        ];
        objects.push(policy(&namespace, "app1", "app1", vec![rule(vec![teams], 8080)], Some(egress)));
    }
    objects
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        name: Name::new(namespace, name),
        labels: Labels::default(),
        annotations: BTreeMap::new(),
        created: None,
        uid: None,
        origin: Origin::none(),
    }
}

fn deployment(namespace: &str, name: &str, replicas: u32) -> Object {
    let port = ContainerPort { name: Arc::from("http"), port: 8080, protocol: Protocol::Tcp };
    let labels = [("app", name), ("version", "v1"), ("chart", "shop-1.2.3")].into_iter().collect();
    let containers = vec![Container { ports: vec![port], ..Container::default() }];
    Object::Workload(Arc::new(Workload {
        meta: meta(namespace, name),
        kind: WorkloadKind::Deployment,
        replicas,
        template: PodTemplate {
            labels,
            annotations: BTreeMap::new(),
            spec: PodSpec { containers, ..PodSpec::default() },
        },
        addresses: Vec::new(),
        host_address: None,
        owner: None,
    }))
}

fn selector(app: &str) -> Selector {
    if app.is_empty() { Selector::default() } else { Selector::equal_to(&[("app", app)].into_iter().collect()) }
}

fn own(app: &str) -> PeerTerm {
    PeerTerm::Pods { namespaces: None, pods: Some(selector(app)) }
}

fn rule(peers: Vec<PeerTerm>, port: u16) -> NetworkRule {
    let port = PortTerm { protocol: Protocol::Tcp, port: PortMatch::Range(PortRange::single(port)) };
    NetworkRule { peers, ports: vec![port] }
}

fn policy(
    namespace: &str,
    name: &str,
    app: &str,
    ingress: Vec<NetworkRule>,
    egress: Option<Vec<NetworkRule>>,
) -> Object {
    let meta = meta(namespace, name);
    Object::NetworkPolicy(Arc::new(NetworkPolicy { meta, pod_selector: selector(app), ingress: Some(ingress), egress }))
}
