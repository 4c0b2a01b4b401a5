//! Numbers, not verdicts: `cargo test --release -p lictor-datapath --test kernel measure -- --ignored --nocapture --test-threads 1`.

use crate::node::{Guarded, Node, v4};
use crate::program::{Draft, class, name};
use lictor_datapath::Datapath;
use lictor_model::{Direction, Name, Protocol, Verdict};
use lictor_network::{ClassId, Entry, Outcome, RuleId, RuleSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// A program in which pod 3 lets in pod 2 on ports 80 and 53, among this many other entries.
fn crowded(revision: u64, entries: u32) -> Draft {
    let rules = [(class(2), Protocol::Tcp, 80), (class(2), Protocol::Udp, 53)];
    let mut draft = Draft::open(revision, &[2, 3]).isolate(3, Direction::Ingress, &rules);
    let id = draft.0.endpoints[&name(3)].ingress.rule_set.unwrap();
    let mut set: RuleSet = (*draft.0.rule_sets[&id]).clone();
    set.bounds = (0..64).map(|at| at * 1000).chain([53, 54, 80, 81]).collect();
    set.bounds.sort_unstable();
    let rule = Outcome::of(Verdict::Allow, RuleId(0));
    set.entries.clear();
    for number in 0..entries {
        set.entries.insert(Entry { class: ClassId(10_000 + number), port: Some((Protocol::Tcp, 2)) }, rule);
    }
    for (_, protocol, port) in rules {
        set.entries.insert(Entry { class: class(2), port: Some((protocol, set.port_class(port))) }, rule);
    }
    draft.0.rule_sets.insert(id, Arc::new(set));
    draft
}

fn report(node: &Guarded, what: &str, before: &[lictor_datapath::Cost]) {
    for (after, before) in node.datapath.costs().unwrap().iter().zip(before) {
        let (runs, time) = (after.runs - before.runs, after.time - before.time);
        if runs > 0 {
            println!("{what}: {} {runs} runs, {:?} each", after.program, time / u32::try_from(runs).unwrap());
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_packets() {
    let _counting = Datapath::count_runs().unwrap();
    let mut node = Guarded::new(&[2, 3]);
    for cost in node.datapath.costs().unwrap() {
        println!("{}: {} instructions verified", cost.program, cost.verified);
    }
    // The first round warms up.
    for entries in [1_000, 1_000, 10_000, 100_000, 1_000] {
        let applied = node.apply(crowded(1, entries));
        println!("{entries} entries: {applied:?}");
        let before = node.datapath.costs().unwrap();
        let (mut client, mut server) = node.open(2, v4(3), 80);
        for _ in 0..20_000 {
            crate::node::pass(&mut client, &mut server, b"x").unwrap();
            crate::node::pass(&mut server, &mut client, b"x").unwrap();
        }
        report(&node, "packets of one connection", &before);
        node.events();
        let before = node.datapath.costs().unwrap();
        let server = node.pods[&3].udp(v4(3), 53);
        let client = node.pods[&2].udp(v4(2), 0);
        for _ in 0..20_000 {
            client.send_to(b"x", (v4(3), 53)).unwrap();
        }
        report(&node, "datagrams of one exchange", &before);
        drop(server);
        let before = node.datapath.costs().unwrap();
        let sender = crate::frames::sender(&node, 2).unwrap();
        for port in 0..20_000_u16 {
            let frame = crate::frames::ipv4(
                2,
                3,
                17,
                &[],
                0,
                &[&(port + 10_000).to_be_bytes()[..], &[0, 53, 0, 8, 0, 0]].concat(),
            );
            sender.send(&frame).unwrap();
        }
        report(&node, "first packets", &before);
        let begun = Instant::now();
        println!("sweep of all: {} closed in {:?}", node.datapath.sweep().unwrap(), begun.elapsed());
        node.events();
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_throughput() {
    let through = |client: TcpStream, server: TcpStream| {
        let (mut client, mut server) = (client, server);
        let sender = thread::spawn(move || {
            let chunk = vec![7; 256 * 1024];
            for _ in 0..8192 {
                client.write_all(&chunk).unwrap();
            }
        });
        let (begun, mut buffer, mut got) = (Instant::now(), vec![0; 256 * 1024], 0_u64);
        loop {
            match server.read(&mut buffer).unwrap() {
                0 => break,
                length => got += u64::try_from(length).unwrap(),
            }
        }
        sender.join().unwrap();
        f64::from(u32::try_from(got >> 20).unwrap()) / 1024.0 / begun.elapsed().as_secs_f64()
    };
    let mut node = Guarded::new(&[2, 3]);
    node.apply(crowded(1, 1000));
    let plain = Node::new();
    let (a, b) = (plain.pod(2), plain.pod(3));
    for round in 0..3 {
        let listener = b.listen(v4(3), 80);
        let client = a.connect(v4(3), 80).unwrap();
        let (server, _) = listener.accept().unwrap();
        let baseline = through(client, server);
        drop(listener);
        let (client, server) = node.open(2, v4(3), 80);
        let judged = through(client, server);
        println!("round {round}: {baseline:.2} GiB/s without, {judged:.2} GiB/s with, ratio {:.2}", judged / baseline);
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_apply() {
    let mut node = Guarded::new(&[]);
    let pods: Vec<u8> = (2..=201).collect();
    let draft = |revision| {
        let rules: Vec<_> = (2..=30).map(|last| (class(last), Protocol::Tcp, 80)).collect();
        pods.iter().fold(Draft::open(revision, &pods), |draft, last| draft.isolate(*last, Direction::Ingress, &rules))
    };
    println!("first: {:?}", node.apply(draft(1)));
    println!("second: {:?}", node.apply(draft(2)));
    println!("third, the same: {:?}", node.apply(draft(3)));
    println!("one changed: {:?}", node.apply(draft(4).isolate(7, Direction::Egress, &[])));
    let other = Node::new();
    let begun = Instant::now();
    let mut datapath = Datapath::load(&other.netns, None, lictor_datapath::Limits::default()).unwrap();
    println!("load: {:?}", begun.elapsed());
    let pods: Vec<_> = (2..=201).map(|last| other.pod(last)).collect();
    let begun = Instant::now();
    for (number, pod) in pods.iter().enumerate() {
        let name = Name::new("measure", format!("{number}"));
        datapath.attach_pod(&name, pod.host, &pod.netns).unwrap();
    }
    println!("200 pods attached in {:?}", begun.elapsed());
    thread::sleep(Duration::from_millis(10));
}
