//! The network compiler at the shapes that Antrea publishes figures for.
//!
//! Source: antrea.io, `pkg/controller/networkpolicy/networkpolicy_controller_perf_test.go`.

use crate::figures::Figures;
use crate::process::proportional_memory;
use anyhow::{Context, Result, bail, ensure};
use lictor_cluster::{AddressPool, Node, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Container, PodSpec, PodTemplate, Workload, WorkloadKind};
use lictor_manifest::{Meta, Namespace, NetworkPolicy, NetworkRule, Object, Origin, PeerTerm};
use lictor_model::{Cidr, Labels, Name, Revision, Selector};
use lictor_network::{Change, Compiler, Difference};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// A shape: what it is called, how to make it, and the aims of seconds and megabytes for its compilation.
struct Shape {
    names: [&'static str; 4],
    objects: fn() -> Vec<Object>,
    seconds: f64,
    megabytes: f64,
}

const SHAPES: [Shape; 3] = [
    Shape {
        names: [
            "25,000 namespaces: compile",
            "25,000 namespaces: memory",
            "25,000 namespaces: one policy edited",
            "25,000 namespaces: one pod relabelled",
        ],
        objects: small_namespaces,
        seconds: 2.0,
        megabytes: 400.0,
    },
    Shape {
        names: [
            "10,000 policies for all: compile",
            "10,000 policies for all: memory",
            "10,000 policies for all: one edited",
            "10,000 policies for all: one pod relabelled",
        ],
        objects: policies_for_all,
        seconds: 2.0,
        megabytes: 300.0,
    },
    Shape {
        names: [
            "a policy for each pod: compile",
            "a policy for each pod: memory",
            "a policy for each pod: one edited",
            "a policy for each pod: one relabelled",
        ],
        objects: policy_for_each,
        seconds: 2.0,
        megabytes: 300.0,
    },
];

/// Compiles each shape from nothing, and then what follows from an edit of one policy and from a change of one pod's
/// labels: each shape in a process of its own, whose memory is its own.
pub(crate) fn measure() -> Result<Figures> {
    let mut figures = Figures::new("engine");
    for (number, shape) in SHAPES.iter().enumerate() {
        let output = Command::new(std::env::current_exe()?).args(["engine-shape", &number.to_string()]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let values: Vec<f64> =
            String::from_utf8(output.stdout)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [took, memory, policy, pod] = values.try_into().ok().context("a shape has four figures")?;
        let [named_took, named_memory, named_policy, named_pod] = shape.names;
        figures.add(named_took, "s", took, shape.seconds, "aim");
        figures.add(named_memory, "MB", memory, shape.megabytes, "aim");
        figures.add(named_policy, "ms", policy, 5.0, "aim");
        figures.add(named_pod, "ms", pod, 0.1, "aim");
    }
    Ok(figures)
}

/// Measures one shape, and prints seconds, megabytes, and the median of milliseconds for both kinds of changes.
pub(crate) fn shape(number: &str) -> Result<()> {
    let shape = SHAPES.get(number.parse::<usize>()?).context("no such shape")?;
    let objects = (shape.objects)();
    let mut pool = AddressPool::new(&[block("10.0.0.0/8")?], &[block("192.168.0.0/16")?]);
    let settings = settings()?;
    let mut snapshot = Snapshot::build(&objects, &settings, &mut pool, Revision(1)).0;
    let memory = || proportional_memory(std::process::id());
    let before = memory()?;
    let mut compiler = Compiler::default();
    let began = Instant::now();
    let mut program = compiler.compile(&snapshot);
    let took = began.elapsed().as_secs_f64();
    let used = (memory()? - before) / 1e6;

    let mut following = |snapshot: &Snapshot, difference: &Difference| {
        let began = Instant::now();
        let change = compiler.change(&program, snapshot, difference);
        let took = began.elapsed().as_secs_f64() * 1e3;
        match change {
            Change::Patch(patch) if patch.endpoints.is_empty() && patch.addresses.is_empty() => {
                bail!("nothing changed")
            }
            Change::Patch(patch) => program.patch(patch),
            Change::Whole(whole) => program = whole,
        }
        Ok(took)
    };
    let policies = sample(snapshot.policies.network.keys());
    let edits = policies.into_iter().map(|name| {
        let policy = snapshot.policies.network.get_mut(&name).context("a policy")?;
        Arc::make_mut(policy).ingress.as_mut().context("a policy for ingress")?.push(rule("app2"));
        following(&snapshot, &Difference { network_policies: [name].into(), ..Difference::default() })
    });
    let policy = median(edits.collect::<Result<_>>()?);
    let pods = sample(snapshot.pods.keys());
    let relabelled = pods.into_iter().map(|name| {
        let pod = Arc::make_mut(snapshot.pods.get_mut(&name).context("a pod")?);
        let other = if pod.labels.get("app").is_some_and(|app| app == "app2") { "app1" } else { "app2" };
        pod.labels = [("app", other)].into_iter().collect();
        following(&snapshot, &Difference { pods: [name].into(), ..Difference::default() })
    });
    let pod = median(relabelled.collect::<Result<_>>()?);
    println!("{took} {used} {policy} {pod}");
    Ok(())
}

/// So many edits are measured of each kind.
const EDITS: usize = 41;

/// Some of these, from all over.
fn sample<'a>(names: impl ExactSizeIterator<Item = &'a Name>) -> Vec<Name> {
    let apart = (names.len() / EDITS).max(1);
    names.step_by(apart).take(EDITS).cloned().collect()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// 4 pods and 3 policies in each.
fn small_namespaces() -> Vec<Object> {
    let mut objects = Vec::new();
    for number in 0..25_000 {
        let namespace = format!("ns{number}");
        objects.push(Object::Namespace(Arc::new(Namespace { meta: meta("", &namespace, "name", &namespace) })));
        for app in 0..4 {
            objects.push(pod(&namespace, &format!("pod{app}"), &format!("app{app}")));
        }
        for app in 0..3 {
            let (to, from) = (format!("app{app}"), format!("app{}", app + 1));
            objects.push(policy(&namespace, &format!("np{app}"), selector(&to), &from));
        }
    }
    objects
}

/// 10,000 pods in one namespace; as many policies select all of them, and let one in each.
fn policies_for_all() -> Vec<Object> {
    let pods = (0..10_000).map(|number| pod("ns", &format!("pod{number}"), &format!("app{number}")));
    let policies =
        (0..10_000).map(|number| policy("ns", &format!("np{number}"), Selector::default(), &format!("app{number}")));
    pods.chain(policies).collect()
}

/// 10,000 pods in one namespace, each with a policy that lets the next one in.
fn policy_for_each() -> Vec<Object> {
    let pods = (0..10_000).map(|number| pod("ns", &format!("pod{number}"), &format!("app{number}")));
    let policies = (0..10_000).map(|number| {
        let (to, from) = (format!("app{number}"), format!("app{}", (number + 1) % 10_000));
        policy("ns", &format!("np{number}"), selector(&to), &from)
    });
    pods.chain(policies).collect()
}

fn settings() -> Result<Settings> {
    let node = Node { name: "node".into(), labels: Labels::default(), addresses: vec![[192, 0, 2, 1].into()] };
    Ok(Settings {
        trust_domain: "cluster.local".parse()?,
        root_namespace: "istio-system".into(),
        default_namespace: "default".into(),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods: false,
    })
}

fn block(text: &str) -> Result<Cidr> {
    Ok(text.parse()?)
}

fn meta(namespace: &str, name: &str, key: &str, value: &str) -> Meta {
    Meta {
        name: Name::new(namespace, name),
        labels: [(key, value)].into_iter().collect(),
        annotations: BTreeMap::new(),
        created: None,
        origin: Origin::none(),
    }
}

fn selector(app: &str) -> Selector {
    Selector::equal_to(&[("app", app)].into_iter().collect())
}

fn rule(from: &str) -> NetworkRule {
    NetworkRule { peers: vec![PeerTerm::Pods { namespaces: None, pods: Some(selector(from)) }], ports: Vec::new() }
}

fn policy(namespace: &str, name: &str, pods: Selector, from: &str) -> Object {
    Object::NetworkPolicy(Arc::new(NetworkPolicy {
        meta: meta(namespace, name, "name", name),
        pod_selector: pods,
        ingress: Some(vec![rule(from)]),
        egress: None,
    }))
}

fn pod(namespace: &str, name: &str, app: &str) -> Object {
    let spec = PodSpec { containers: vec![Container::default()], ..PodSpec::default() };
    Object::Workload(Arc::new(Workload {
        meta: meta(namespace, name, "app", app),
        kind: WorkloadKind::Pod,
        replicas: 1,
        template: PodTemplate { labels: [("app", app)].into_iter().collect(), annotations: BTreeMap::new(), spec },
        addresses: Vec::new(),
        host_address: None,
        owner: None,
    }))
}
