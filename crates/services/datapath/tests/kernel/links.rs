use crate::node::{Node, connect, gateways, pass, v4, v6};
use lictor_datapath::link::{self, End};
use lictor_datapath::netns::Netns;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::time::{Duration, Instant};

#[test]
fn pods_reach_each_other_and_their_gateway_in_both_families() {
    let node = Node::new();
    let (a, b) = (node.pod(2), node.pod(3));
    for address in [v4(3), v6(3)] {
        let listener = b.listen(address, 80);
        let mut client = a.connect(address, 80).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        assert!(a.addresses.contains(&peer.ip()), "{peer}");
        pass(&mut client, &mut server, b"salve").unwrap();
        pass(&mut server, &mut client, b"vale").unwrap();
    }
    for (gateway, _) in gateways() {
        let listener = node.netns.run(|| TcpListener::bind((gateway, 81))).unwrap();
        a.connect(gateway, 81).unwrap();
        drop(listener);
    }
    let listener = a.listen(v4(2), 82);
    connect(&node.netns, (v4(2), 82).into()).unwrap();
    drop(listener);
}

#[test]
fn the_first_packet_waits_for_no_resolution() {
    let node = Node::new();
    let (a, b) = (node.pod(2), node.pod(3));
    for address in [v4(3), v6(3)] {
        let listener = b.listen(address, 80);
        let before = Instant::now();
        a.connect(address, 80).unwrap_or_else(|error| panic!("{address}: {error}"));
        assert!(before.elapsed() < Duration::from_millis(200), "{address}: {:?}", before.elapsed());
        drop(listener);
    }
}

#[test]
fn a_pod_that_leaves_takes_nothing_with_it_and_its_address_can_be_had_again() {
    let node = Node::new();
    let (a, b) = (node.pod(2), node.pod(3));
    link::remove(&node.netns, b.host).unwrap();
    link::forget(&node.netns, node.bridge, &b.addresses).unwrap();
    link::forget(&node.netns, node.bridge, &b.addresses).unwrap();
    let again = node.pod(3);
    let listener = again.listen(v4(3), 80);
    a.connect(v4(3), 80).unwrap();
    drop(listener);
}

#[test]
fn a_pod_that_comes_again_is_reached_by_those_who_knew_it() {
    let node = Node::new();
    let (a, b) = (node.pod(2), node.pod(3));
    for address in [v4(3), v6(3)] {
        let listener = b.listen(address, 80);
        a.connect(address, 80).unwrap();
        drop(listener);
    }
    link::remove(&node.netns, b.host).unwrap();
    link::forget(&node.netns, node.bridge, &b.addresses).unwrap();
    let again = node.pod(3);
    for address in [v4(3), v6(3)] {
        let listener = again.listen(address, 80);
        a.connect(address, 80).unwrap_or_else(|error| panic!("{address}: {error}"));
        drop(listener);
    }
}

#[test]
fn two_hundred_pods_are_linked_within_five_seconds() {
    let node = Node::new();
    let before = Instant::now();
    let pods: Vec<_> = (2..202).map(|last| node.pod(last)).collect();
    let took = before.elapsed();
    eprintln!("200 pods linked in {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let listener = pods[199].listen(v4(201), 80);
    pods[0].connect(v4(201), 80).unwrap();
    drop(listener);
}

#[test]
fn a_refusal_names_what_was_asked_for() {
    let node = Node::new();
    let address: IpAddr = v4(1);
    let error = link::add_address(&node.netns, "lictor0", address, 24).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(error.to_string().starts_with("cannot add 10.77.0.1/24 to lictor0: "), "{error}");
}

#[test]
fn a_thread_that_entered_a_namespace_returns_from_it() {
    let id = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let (home, netns) = (id(), Netns::anonymous().unwrap());
    let inside = netns.enter_now().unwrap();
    assert_ne!(id(), home);
    drop(inside);
    assert_eq!(id(), home);
}

#[test]
fn two_namespaces_are_joined_without_a_bridge() {
    let (a, b) = (Netns::anonymous().unwrap(), Netns::anonymous().unwrap());
    let left = End { netns: &a, name: "a0", address: (v4(2), 24) };
    let right = End { netns: &b, name: "b0", address: (v4(3), 24) };
    link::veth(&left, &right).unwrap();
    let listener = b.run(|| TcpListener::bind((v4(3), 80))).unwrap();
    connect(&a, (v4(3), 80).into()).unwrap();
    drop(listener);
}
