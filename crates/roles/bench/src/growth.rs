//! How the network compiler's cost grows with pods, policies, peers and ports.

use crate::cost::cost;
use crate::objects::{meta, pod, selector};
use anyhow::{Context, Result, ensure};
use lictor_manifest::{NetworkPolicy, NetworkRule, Object, PeerTerm, PortMatch, PortTerm};
use lictor_model::{PortRange, Protocol};
use std::process::Command;
use std::sync::Arc;

/// A cluster of 20 namespaces with 50 applications each.
#[derive(Clone, Copy)]
struct Size {
    pods: usize,
    policies: usize,
    /// Of each policy.
    peers: usize,
    /// Of each policy.
    ports: usize,
}

const NAMESPACES: usize = 20;
const APPLICATIONS: usize = 50;

/// One in which each part is varied while the others stay.
const MIDDLE: Size = Size { pods: 10_000, policies: 1_000, peers: 4, ports: 4 };

/// Prints a table with a line for each size, each measured in a process of its own.
pub(crate) fn measure() -> Result<()> {
    let pods = [1_000, 10_000, 100_000].map(|pods| Size { pods, ..MIDDLE });
    let policies = [100, 1_000, 10_000].map(|policies| Size { policies, ..MIDDLE });
    let peers = [1, 10, 50].map(|peers| Size { peers, ..MIDDLE });
    let ports = [1, 10, 100].map(|ports| Size { ports, ..MIDDLE });
    println!("|    pods | policies | peers | ports |  compile |   memory | entries |   edit | relabel |");
    println!("|--------:|---------:|------:|------:|---------:|---------:|--------:|-------:|--------:|");
    for Size { pods, policies, peers, ports } in [pods, policies, peers, ports].concat() {
        let sizes = [pods, policies, peers, ports].map(|size| size.to_string());
        let output = Command::new(std::env::current_exe()?).arg("growth-point").args(&sizes).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        print!("{}", String::from_utf8(output.stdout)?);
    }
    Ok(())
}

/// Measures one size, and prints its line.
pub(crate) fn point(sizes: &[&str]) -> Result<()> {
    let sizes: Vec<usize> = sizes.iter().map(|size| size.parse()).collect::<Result<_, _>>()?;
    let &[pods, policies, peers, ports] = sizes.as_slice() else { anyhow::bail!("four sizes are needed") };
    let cost = cost(&cluster(Size { pods, policies, peers, ports })?)?;
    println!(
        "| {pods:>7} | {policies:>8} | {peers:>5} | {ports:>5} | {:>5.0} ms | {:>5.1} MB | {:>7} | {:>3.0} us | {:>4.0} us |",
        cost.compile * 1e3,
        cost.memory,
        cost.entries,
        cost.edit * 1e3,
        cost.relabel * 1e3,
    );
    Ok(())
}

fn cluster(size: Size) -> Result<Vec<Object>> {
    let app = |number: usize| format!("app{}", number % APPLICATIONS);
    let namespace = |number: usize| format!("ns{}", number % NAMESPACES);
    let pods = (0..size.pods).map(|at| pod(&namespace(at), &format!("pod{at}"), &app(at / NAMESPACES)));
    let mut objects: Vec<Object> = pods.collect();
    for at in 0..size.policies {
        let peers = (1..=size.peers)
            .map(|next| PeerTerm::Pods { namespaces: None, pods: Some(selector(&app(at / NAMESPACES + next))) });
        let ports = (0..size.ports).map(|port| {
            // Apart, so that each is a port class of its own.
            let port = u16::try_from(1_000 + 2 * (at % 10) + 20 * port).context("a port")?;
            Ok(PortTerm { protocol: Protocol::Tcp, port: PortMatch::Range(PortRange::single(port)) })
        });
        let rule = NetworkRule { peers: peers.collect(), ports: ports.collect::<Result<_>>()? };
        let name = format!("policy{at}");
        objects.push(Object::NetworkPolicy(Arc::new(NetworkPolicy {
            meta: meta(&namespace(at), &name, "name", &name),
            pod_selector: selector(&app(at / NAMESPACES)),
            ingress: Some(vec![rule]),
            egress: None,
        })));
    }
    Ok(objects)
}
