//! How fast manifests are read, beside the YAML parser's events alone.
//!
//! `cargo run --release -p lictor-manifest --example read_rate [FILE...]`; without files, on made-up ones.

use lictor_manifest::read;
use mimalloc::MiMalloc;
use saphyr_parser::Parser;
use std::error::Error;
use std::fmt::Write;
use std::time::Instant;

/// The one of `lictor`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let text = match files.as_slice() {
        [] => made_up()?,
        files => files.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?.join("\n---\n"),
    };
    #[allow(clippy::cast_precision_loss)] // Far below 2^52 bytes.
    let megabytes = text.len() as f64 / 1e6;
    let events = best(|| Parser::new_from_str(&text).count());
    let objects = best(|| read("all.yaml", &text).objects);
    println!("{megabytes:.1} MB");
    println!("events alone  {:>6.1} MB/s", megabytes / events);
    println!("objects       {:>6.1} MB/s, ratio {:.2}", megabytes / objects, events / objects);
    let freed = best(|| drop(read("all.yaml", &text)));
    println!("and freed     {:>6.1} MB/s, ratio {:.2}", megabytes / freed, events / freed);
    Ok(())
}

/// The fastest of five runs, in seconds; what a run gives is freed outside of it.
fn best<T>(mut run: impl FnMut() -> T) -> f64 {
    let timed = |_| {
        let began = Instant::now();
        let made = std::hint::black_box(run());
        let took = began.elapsed().as_secs_f64();
        drop(made);
        took
    };
    (0..5).map(timed).fold(f64::INFINITY, f64::min)
}

/// Deployments with a Service and a NetworkPolicy each.
fn made_up() -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for number in 0..4_000 {
        write!(
            text,
            "---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app{number}
  namespace: shop
  labels:
    app: app{number}
spec:
  replicas: 3
  selector:
    matchLabels:
      app: app{number}
  template:
    metadata:
      labels:
        app: app{number}
        tier: backend
    spec:
      serviceAccountName: app{number}
      containers:
        - name: server
          image: registry.example.com/shop/app{number}:1.4.2
          ports:
            - name: http
              containerPort: 8080
          env:
            - name: LEVEL
              value: info
---
apiVersion: v1
kind: Service
metadata:
  name: app{number}
  namespace: shop
spec:
  selector:
    app: app{number}
  ports:
    - name: http
      port: 80
      targetPort: http
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: app{number}
  namespace: shop
spec:
  podSelector:
    matchLabels:
      app: app{number}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              tier: frontend
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: monitoring
      ports:
        - protocol: TCP
          port: 8080
"
        )?;
    }
    Ok(text)
}
