//! Enrolled pods: the tunnel, plaintext, and the verdict before a connection is captured.

use crate::node::{Guarded, PATIENCE, is_silent, v4, v6};
use crate::program::{Draft, class};
use lictor_datapath::{Reason, What, capture};
use lictor_model::{Direction, Mode, Protocol};
use std::io;
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};

/// The deciding reasons of what was told: egress, ingress.
fn reasons(node: &mut Guarded) -> Vec<(Option<Reason>, Option<Reason>)> {
    let reasons = |event: lictor_datapath::Event| match event.what {
        What::Judged { egress, ingress } => {
            Some((egress.map(|judged| judged.reason), ingress.map(|judged| judged.reason)))
        }
        What::Closed { .. } => None,
    };
    node.events().into_iter().filter_map(reasons).collect()
}

#[test]
fn between_enrolled_pods_only_the_tunnel_passes_whatever_the_policies_say() {
    let mut node = Guarded::new(&[2, 3, 4]);
    node.apply(Draft::open(1, &[2, 3, 4]).enroll(&[2, 3]));
    for to in [v4(3), v6(3)] {
        node.tcp(2, to, capture::TUNNEL).unwrap();
        assert_eq!(reasons(&mut node), [], "the proxies tell of what is in it");
        assert!(is_silent(&node.tcp(2, to, 80).unwrap_err()));
        assert_eq!(reasons(&mut node), [(Some(Reason::Plaintext), None)]);
        node.tcp(4, to, 80).unwrap();
        node.udp(2, to, 53).unwrap();
        node.events();
    }
    node.tcp(2, v4(4), 80).unwrap();

    let shut = |draft: Draft| draft.isolate(3, Direction::Ingress, &[]).isolate(2, Direction::Egress, &[]);
    node.apply(shut(Draft::open(2, &[2, 3, 4]).enroll(&[2, 3])));
    node.tcp(2, v4(3), capture::TUNNEL).unwrap();
    assert!(is_silent(&node.tcp(4, v4(3), capture::TUNNEL).unwrap_err()), "a tunnel needs two enrolled ends");
    node.apply(shut(Draft::open(3, &[2, 3, 4]).enroll(&[3])));
    assert!(is_silent(&node.tcp(2, v4(3), capture::TUNNEL).unwrap_err()));
}

#[test]
fn plaintext_between_enrolled_pods_that_the_policies_refuse_is_told_as_refused() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]).enroll(&[2, 3]).isolate(3, Direction::Ingress, &[]));
    assert!(is_silent(&node.tcp(2, v4(3), 80).unwrap_err()));
    assert_eq!(reasons(&mut node), [(Some(Reason::NoPolicy), Some(Reason::Isolated))]);
    node.apply(Draft::open(2, &[2, 3]).enroll(&[2, 3]).isolate(2, Direction::Egress, &[]));
    assert!(is_silent(&node.tcp(2, v6(3), 80).unwrap_err()));
    assert_eq!(reasons(&mut node), [(Some(Reason::Isolated), None)]);
}

#[test]
fn a_connection_in_plaintext_ends_when_its_ends_are_enrolled() {
    use crate::node::pass;
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    let (mut client, mut server) = node.open(2, v4(3), 80);
    pass(&mut client, &mut server, b"salve").unwrap();
    node.apply(Draft::open(2, &[2, 3]).enroll(&[2, 3]));
    assert!(pass(&mut client, &mut server, b"salve").is_err());
}

/// Connects as a process of a pod does.
fn connect(node: &Guarded, from: u8, to: IpAddr, port: u16) -> io::Result<TcpStream> {
    let netns = &node.pods[&from].netns;
    node.cgroup.run(netns, || TcpStream::connect_timeout(&(to, port).into(), PATIENCE))
}

/// A pod whose traffic is captured, and the proxy's listener for what it opens.
fn captured(node: &Guarded, last: u8) -> TcpListener {
    capture::install(&node.pods[&last].netns).unwrap();
    node.pods[&last].listen(Ipv6Addr::UNSPECIFIED.into(), capture::OUTBOUND)
}

#[test]
fn what_the_policies_refuse_is_silent_for_a_captured_pod_too() {
    let mut node = Guarded::new(&[2, 3, 4]);
    let enrolled = |revision| Draft::open(revision, &[2, 3, 4]).enroll(&[2, 3]);
    let _proxy = captured(&node, 2);
    for to in [v4(3), v6(3), v4(4)] {
        node.apply(enrolled(1).isolate(2, Direction::Egress, &[]));
        assert!(is_silent(&connect(&node, 2, to, 80).unwrap_err()));
        assert_eq!(reasons(&mut node), [(Some(Reason::Isolated), None)]);

        let last = if to == v4(4) { 4 } else { 3 };
        node.apply(enrolled(2).isolate(last, Direction::Ingress, &[]));
        assert!(is_silent(&connect(&node, 2, to, 80).unwrap_err()));
        assert_eq!(reasons(&mut node), [(Some(Reason::NoPolicy), Some(Reason::Isolated))]);

        let rule = [(class(2), Protocol::Tcp, 80)];
        node.apply(enrolled(3).isolate(last, Direction::Ingress, &rule));
        connect(&node, 2, to, 80).unwrap();
        assert!(is_silent(&connect(&node, 2, to, 81).unwrap_err()));
        node.apply(enrolled(4).isolate(last, Direction::Ingress, &[]).mode(last, Direction::Ingress, Mode::Audit));
        connect(&node, 2, to, 80).unwrap();
        node.events();
    }
}

#[test]
fn a_captured_pod_reaches_itself_and_its_node() {
    let mut node = Guarded::new(&[2]);
    let shut = Draft::open(1, &[2]).enroll(&[2]).isolate(2, Direction::Egress, &[]).isolate(2, Direction::Ingress, &[]);
    node.apply(shut);
    let _proxy = captured(&node, 2);
    for to in [v4(2), v6(2)] {
        let own = node.pods[&2].listen(to, 80);
        connect(&node, 2, to, 80).unwrap();
        assert!(node.pods[&2].addresses.contains(&own.accept().unwrap().1.ip()));
    }
    connect(&node, 2, v4(1), 80).unwrap();
}
