//! The network compiler at the shapes that Antrea publishes figures for.
//!
//! Source: antrea.io, `pkg/controller/networkpolicy/networkpolicy_controller_perf_test.go`.

use crate::cost::cost;
use crate::figures::Figures;
use crate::objects::{meta, pod, policy, selector};
use anyhow::{Context, Result, ensure};
use lictor_manifest::{Namespace, Object};
use lictor_model::Selector;
use std::process::Command;
use std::sync::Arc;

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
    let cost = cost(&(shape.objects)())?;
    println!("{} {} {} {}", cost.compile, cost.memory, cost.edit, cost.relabel);
    Ok(())
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
