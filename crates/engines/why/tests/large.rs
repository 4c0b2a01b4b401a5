//! How long answers take in a large cluster: 10,000 pods and 200 NetworkPolicies.
//!
//! `cargo test --release -p lictor-why --test large -- --ignored --nocapture` prints the times of the parts, without
//! reading the manifests.

mod world;

use lictor_cluster::Snapshot;
use lictor_why::{Scope, Show, diff, edges};
use mimalloc::MiMalloc;
use std::fmt::Write;
use std::time::Instant;
use world::{objects, question, snapshot_of};

/// The one of `lictor`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const APPS: usize = 200;
const PODS_OF_EACH: usize = 50;

/// 200 applications in ten namespaces, each let in to by the next one and by a block of addresses.
fn manifests(pods: impl Fn(&str, usize) -> String) -> String {
    let mut text = String::new();
    for app in 0..APPS {
        let namespace = format!("n{}", app % 10);
        text.push_str(&pods(&namespace, app));
        let _ = write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p{app}, namespace: {namespace}}}\n\
             spec: {{podSelector: {{matchLabels: {{app: a{app}}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: \
             {{app: a{}}}}}}}, {{ipBlock: {{cidr: 192.168.{app}.0/24}}}}], ports: [{{port: 80}}, {{port: {}}}]}}]}}\n",
            (app + 10) % APPS,
            1000 + app
        );
    }
    text
}

fn template(app: usize) -> String {
    format!(
        "spec: {{serviceAccountName: a{app}, containers: [{{name: c, image: i, ports: [{{name: http, containerPort: 80}}]}}]}}"
    )
}

fn deployment(namespace: &str, app: usize) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a{app}, namespace: {namespace}}}\nspec: {{replicas: \
         {PODS_OF_EACH}, selector: {{matchLabels: {{app: a{app}}}}}, template: {{metadata: {{labels: {{app: a{app}}}}}, {}}}}}\n",
        template(app)
    )
}

fn bare(namespace: &str, app: usize) -> String {
    let pod = |at: usize| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a{app}-{at}, namespace: {namespace}, labels: {{app: a{app}}}}}\n{}\n",
            template(app)
        )
    };
    (0..PODS_OF_EACH).map(pod).collect()
}

fn clusters() -> impl Iterator<Item = (&'static str, Snapshot)> {
    let texts = [("200 Deployments", manifests(deployment)), ("10,000 bare pods", manifests(bare))];
    texts.into_iter().map(|(name, text)| (name, snapshot_of(&objects(&text))))
}

#[test]
#[ignore = "prints times; run it in release mode"]
fn an_answer_follows_the_kinds_of_pods() {
    for (name, snapshot) in clusters() {
        let (from, to) = if name.contains("bare") { ("n5/a5-0", "n1/a1-0:80") } else { ("n5/a5", "n1/a1:80") };
        for _ in 0..3 {
            let began = Instant::now();
            let question = question(&snapshot, from, to);
            let resolved = began.elapsed();
            let answer = lictor_why::answer(&snapshot, &question);
            let fix = answer.fix.as_ref().expect("a fix");
            println!(
                "{name}: resolved in {:.2} ms, answered in {:.2} ms; {} pairs compared, {} more opened",
                resolved.as_secs_f64() * 1e3,
                (began.elapsed() - resolved).as_secs_f64() * 1e3,
                fix.effect.compared,
                fix.effect.opens.len()
            );
        }
    }
}

#[test]
#[ignore = "prints times; run it in release mode"]
fn edges_and_differences_follow_the_kinds_of_pods() {
    for (name, snapshot) in clusters() {
        let began = Instant::now();
        let edges = edges(&snapshot, &Scope::default(), Show::All).expect("few pairs");
        println!("{name}: {} edges in {:.0} ms", edges.total(), began.elapsed().as_secs_f64() * 1e3);
        let mut after = snapshot.clone();
        after.policies.network.pop_first();
        let began = Instant::now();
        let difference = diff(&snapshot, &after, &Scope::default(), None).expect("few pairs");
        let (compared, took) = (difference.compared, began.elapsed().as_secs_f64() * 1e3);
        println!("{name}: {compared} pairs compared in {took:.0} ms, {} differ", difference.changes.len());
    }
}
