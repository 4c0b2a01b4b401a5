//! What one decision costs: no policy, one, and a hundred; by the first rule, by the last, and by none.
//!
//! `cargo run --release -p lictor-authz --example decide_cost`

use lictor_authz::{Capabilities, Program, Workload};
use lictor_cluster::{AddressPool, Node, Settings, Snapshot, UnknownNodes};
use lictor_manifest::read;
use lictor_model::{Http, Labels, Name, Request, Revision, SpiffeId};
use std::error::Error;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: u32 = 200_000;

fn main() -> Result<(), Box<dyn Error>> {
    let baseline = measure(&*workload(0)?, 0)?;
    println!("{:>8} {:>14} {:>10} {:>8}", "policies", "decided by", "ns", "ratio");
    for (policies, client, decided) in
        [(0, 0, "no policy"), (1, 0, "the only one"), (100, 0, "the first"), (100, 99, "the last"), (100, 100, "none")]
    {
        let nanoseconds = measure(&*workload(policies)?, client)?;
        println!("{policies:>8} {decided:>14} {nanoseconds:>10.0} {:>8.1}", nanoseconds / baseline);
    }
    let started = Instant::now();
    let snapshot = snapshot(100)?;
    let read = started.elapsed();
    let started = Instant::now();
    black_box(Program::compile(&snapshot, Capabilities::default()));
    println!("100 policies: read and built in {read:.1?}, compiled in {:.1?}", started.elapsed());
    Ok(())
}

/// The mean time of a decision in nanoseconds, of the best of five runs.
fn measure(workload: &Workload, client: u32) -> Result<f64, Box<dyn Error>> {
    let id: SpiffeId = format!("spiffe://cluster.local/ns/shop/sa/client-{client}").parse()?;
    let headers = [("accept", "*/*"), ("user-agent", "bench"), ("x-request-id", "5f8d1c2e")];
    let request = Request {
        principal: Some(&id),
        source_ip: IpAddr::from([10, 244, 0, 7]),
        remote_ip: IpAddr::from([10, 244, 0, 7]),
        destination_ip: IpAddr::from([10, 244, 0, 9]),
        destination_port: 8080,
        sni: None,
        http: Some(Http { method: "GET", path: "/api/v1/items/42?page=3", host: "api.shop", headers: &headers }),
        claims: None,
    };
    let mut best = f64::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            black_box(workload.decide(black_box(&request)));
        }
        best = best.min(started.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
    Ok(best)
}

fn workload(policies: u32) -> Result<Arc<Workload>, Box<dyn Error>> {
    let (program, _) = Program::compile(&snapshot(policies)?, Capabilities::default());
    Ok(program.workload(&Name::new("shop", "api")).ok_or("the pod is in the mesh")?)
}

/// A pod under ALLOW policies, one a client, each with a path prefix, two methods and a port.
fn snapshot(policies: u32) -> Result<Snapshot, Box<dyn Error>> {
    let mut text = "apiVersion: v1\nkind: Pod\nmetadata: {name: api, namespace: shop, labels: {app: api}}\n\
                    spec: {containers: [{name: api, image: stand-in}]}\n---\n"
        .to_owned();
    for at in 0..policies {
        text.push_str(&format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: allow-{at:03}, namespace: shop}}\n\
             spec:\n  selector: {{matchLabels: {{app: api}}}}\n  rules:\n  - from:\n    - source:\n        \
             principals: [cluster.local/ns/shop/sa/client-{at}]\n    to:\n    - operation:\n        \
             methods: [GET, POST]\n        paths: ['/api/v1/*']\n        ports: ['8080']\n---\n"
        ));
    }
    let node =
        Node { name: Arc::from("node"), labels: Labels::default(), addresses: vec![IpAddr::from([172, 18, 0, 2])] };
    let settings = Settings {
        trust_domain: "cluster.local".parse()?,
        root_namespace: Arc::from("istio-system"),
        default_namespace: Arc::from("default"),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods: false,
        registration: lictor_cluster::RegistrationSettings::default(),
    };
    let objects = read("bench", &text).objects;
    Ok(Snapshot::build(&objects, &settings, &mut AddressPool::default(), Revision(1)).0)
}
