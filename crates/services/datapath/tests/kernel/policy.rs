use crate::node::{Guarded, is_silent, pass, v4, v6};
use crate::program::{Draft, class, name, policy};
use lictor_datapath::{Ended, Reason, What};
use lictor_model::{By, Direction, Mode, Protocol, Verdict};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

#[test]
fn without_policies_everything_passes_and_is_told() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    for address in [v4(3), v6(3)] {
        node.tcp(2, address, 80).unwrap();
        node.udp(2, address, 53).unwrap();
        let events = node.judged();
        assert_eq!(events.len(), 2, "{events:#?}");
        for event in &events {
            assert_eq!((event.destination.ip(), event.revision, event.is_refused()), (address, 1, false));
            let What::Judged { egress: Some(egress), ingress: Some(ingress) } = event.what else { panic!("{event:?}") };
            assert_eq!((egress.reason, ingress.reason), (Reason::NoPolicy, Reason::NoPolicy));
        }
        assert_eq!(events.iter().map(|event| event.protocol).collect::<Vec<_>>(), [Protocol::Tcp, Protocol::Udp]);
    }
}

#[test]
fn a_pod_that_no_program_knows_is_cut_off() {
    let mut node = Guarded::new(&[2, 3]);
    assert!(is_silent(&node.tcp(2, v4(3), 80).unwrap_err()));
    node.apply(Draft::open(1, &[3]));
    assert!(is_silent(&node.tcp(2, v4(3), 80).unwrap_err()));
    node.apply(Draft::open(2, &[2, 3]));
    node.tcp(2, v4(3), 80).unwrap();
    node.apply(Draft::open(3, &[2]));
    assert!(is_silent(&node.tcp(2, v4(3), 80).unwrap_err()));
}

#[test]
fn ingress_is_what_the_rules_allow() {
    let mut node = Guarded::new(&[2, 3, 4]);
    let rules = [(class(2), Protocol::Tcp, 80), (class(2), Protocol::Udp, 53)];
    node.apply(Draft::open(1, &[2, 3, 4]).isolate(3, Direction::Ingress, &rules));
    for address in [v4(3), v6(3)] {
        node.tcp(2, address, 80).unwrap();
        node.udp(2, address, 53).unwrap();
        node.events();
        for (from, port) in [(2, 81), (2, 79), (2, 53), (4, 80)] {
            let error = node.tcp(from, address, port).unwrap_err();
            assert!(is_silent(&error), "dropped, not refused: {error}");
            let events = node.events();
            assert_eq!(events.len(), 1, "{events:#?}");
            assert!(events[0].is_refused());
            let What::Judged { egress: Some(egress), ingress: Some(ingress) } = events[0].what else { panic!() };
            assert_eq!((egress.reason, ingress.reason), (Reason::NoPolicy, Reason::Isolated));
        }
        assert!(is_silent(&node.udp(2, address, 54).unwrap_err()));
        assert!(is_silent(&node.udp(4, address, 53).unwrap_err()));
        node.events();
    }
    node.tcp(3, v4(2), 99).unwrap();
    node.udp(3, v6(2), 99).unwrap();
}

#[test]
fn egress_is_what_the_rules_allow_and_never_reaches_the_bridge_otherwise() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]).isolate(2, Direction::Egress, &[(class(3), Protocol::Tcp, 80)]));
    for address in [v4(3), v6(3)] {
        node.tcp(2, address, 80).unwrap();
        node.events();
        assert!(is_silent(&node.tcp(2, address, 81).unwrap_err()));
        assert!(is_silent(&node.udp(2, address, 80).unwrap_err()));
        for event in node.events() {
            let What::Judged { egress: Some(egress), ingress: None } = event.what else { panic!("{event:?}") };
            assert_eq!((egress.reason, egress.verdict), (Reason::Isolated, Verdict::Deny));
        }
    }
}

#[test]
fn the_node_itself_is_never_refused() {
    let mut node = Guarded::new(&[2]);
    let shut = Draft::open(1, &[2]).isolate(2, Direction::Ingress, &[]).isolate(2, Direction::Egress, &[]);
    node.apply(shut);
    for address in [v4(2), v6(2)] {
        node.tcp_from_node(address, 80).unwrap();
    }
    for (gateway, _) in crate::node::gateways() {
        node.tcp_to_node(2, gateway, 80).unwrap();
    }
    assert!(node.events().iter().all(|event| event.layers().all(|judged| judged.reason == Reason::OwnNode)));
}

#[test]
fn audit_and_observe_let_pass_and_say_so() {
    for mode in [Mode::Audit, Mode::Observe] {
        let mut node = Guarded::new(&[2, 3]);
        let shut = Draft::open(1, &[2, 3]).isolate(3, Direction::Ingress, &[]).mode(3, Direction::Ingress, mode);
        node.apply(shut.isolate(2, Direction::Egress, &[]).mode(2, Direction::Egress, mode));
        node.tcp(2, v4(3), 80).unwrap();
        node.udp(2, v6(3), 80).unwrap();
        let events = node.judged();
        assert_eq!(events.len(), 2, "{events:#?}");
        for event in events {
            assert!(!event.is_refused());
            let What::Judged { egress: Some(egress), ingress: Some(ingress) } = event.what else { panic!("{event:?}") };
            for judged in [egress, ingress] {
                assert_eq!((judged.verdict, judged.mode, judged.reason), (Verdict::Deny, mode, Reason::Isolated));
            }
        }
    }
}

#[test]
fn a_policy_that_goes_ends_the_connection_with_the_next_packet() {
    let mut node = Guarded::new(&[2, 3]);
    let allowed =
        |revision| Draft::open(revision, &[2, 3]).isolate(3, Direction::Ingress, &[(class(2), Protocol::Tcp, 80)]);
    node.apply(allowed(1));
    let (mut client, mut server) = node.open(2, v4(3), 80);
    pass(&mut client, &mut server, &[1; 1000]).unwrap();
    pass(&mut server, &mut client, &[2; 500]).unwrap();
    node.events();

    node.apply(Draft::open(2, &[2, 3]).isolate(3, Direction::Ingress, &[]));
    client.write_all(b"one more").unwrap();
    let mut word = [0; 8];
    assert!(server.read_exact(&mut word).is_err(), "not one packet passes");
    server.write_all(b"an answer").unwrap();
    assert!(client.read_exact(&mut word).is_err(), "nor does an answer");
    let events = node.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    let What::Closed { sent: 1000, received: 500, ended: Some(Ended::Ingress(judged)) } = events[0].what else {
        panic!("{events:#?}")
    };
    assert_eq!((judged.reason, judged.verdict), (Reason::Isolated, Verdict::Deny));
}

#[test]
fn a_change_that_still_allows_it_does_not_disturb_a_transfer() {
    let mut node = Guarded::new(&[2, 3, 4]);
    let rule = (class(2), Protocol::Tcp, 80);
    node.apply(Draft::open(1, &[2, 3, 4]).isolate(3, Direction::Ingress, &[rule]));
    let (client, server) = node.open(2, v4(3), 80);
    let transfer = thread::spawn(move || carry(client, server, 20_000_000));
    for revision in 2..40 {
        let other = (class(4), Protocol::Tcp, u16::try_from(revision).unwrap());
        node.apply(Draft::open(revision, &[2, 3, 4]).isolate(3, Direction::Ingress, &[rule, other]));
        thread::sleep(Duration::from_millis(2));
    }
    let longest = transfer.join().unwrap();
    assert!(longest < Duration::from_millis(200), "no packet is lost: the longest pause was {longest:?}");
    let closed = node.events().into_iter().filter(|event| matches!(event.what, What::Closed { .. })).count();
    assert!(closed <= 1);
}

/// Sends so many bytes; returns the longest time between two reads.
fn carry(mut client: TcpStream, mut server: TcpStream, bytes: usize) -> Duration {
    let sender = thread::spawn(move || client.write_all(&vec![7; bytes]));
    let (mut got, mut buffer, mut longest) = (0, vec![0; 65_536], Duration::ZERO);
    while got < bytes {
        let before = std::time::Instant::now();
        got += server.read(&mut buffer).unwrap();
        longest = longest.max(before.elapsed());
    }
    sender.join().unwrap().unwrap();
    longest
}

#[test]
fn an_answer_needs_no_rule_but_what_is_none_does() {
    let mut node = Guarded::new(&[2, 3]);
    let one_way = Draft::open(1, &[2, 3]).isolate(2, Direction::Ingress, &[]).isolate(3, Direction::Egress, &[]);
    node.apply(one_way);
    let (mut client, mut server) = node.open(2, v4(3), 80);
    pass(&mut client, &mut server, b"salve").unwrap();
    pass(&mut server, &mut client, b"vale").unwrap();
    node.udp(2, v6(3), 53).unwrap();
    assert!(is_silent(&node.tcp(3, v4(2), 80).unwrap_err()));
    let port = client.local_addr().unwrap().port();
    assert!(node.tcp_between((3, 80), v4(2), port).is_err(), "the same ports from the other side are no answer");
}

#[test]
fn a_connection_that_closes_is_told_with_its_bytes() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    let (mut client, mut server) = node.open(2, v4(3), 80);
    pass(&mut client, &mut server, &[1; 1234]).unwrap();
    pass(&mut server, &mut client, &[2; 567]).unwrap();
    let opened = node.events();
    drop(client);
    assert_eq!(server.read(&mut [0; 10]).unwrap(), 0);
    drop(server);
    let events = node.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0].what, What::Closed { sent: 1234, received: 567, ended: None });
    assert_eq!(events[0].flow, opened[0].flow);
}

#[test]
fn an_exchange_of_datagrams_closes_when_its_pod_leaves() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    node.udp(2, v4(3), 53).unwrap();
    let opened = node.events();
    assert_eq!(node.datapath.sweep().unwrap(), []);
    node.datapath.detach_pod(&name(3)).unwrap();
    node.apply(Draft::open(2, &[2]));
    let closed = node.datapath.sweep().unwrap();
    assert_eq!(closed.len(), 1, "{closed:#?}");
    assert_eq!(
        (closed[0].flow, closed[0].source, closed[0].destination),
        (opened[0].flow, opened[0].source, opened[0].destination)
    );
    assert!(matches!(closed[0].what, What::Closed { sent: 5, received: 5, ended: None }), "{closed:?}");
}

#[test]
fn rules_are_named_by_their_policy_whatever_their_number() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]).isolate(3, Direction::Ingress, &[(class(2), Protocol::Tcp, 80)]));
    node.tcp(2, v4(3), 80).unwrap();
    node.apply(Draft::open(2, &[2, 3]).isolate(3, Direction::Ingress, &[(class(2), Protocol::Tcp, 81)]));
    node.tcp(2, v4(3), 81).unwrap();
    let resolver = node.datapath.resolver();
    let names: Vec<By> = node
        .events()
        .into_iter()
        .filter_map(|event| match event.what {
            What::Judged { ingress: Some(judged), .. } => Some(resolver.by(judged.reason, None, Direction::Ingress)),
            _ => None,
        })
        .collect();
    assert_eq!(names, [By::Policy(policy(80)), By::Policy(policy(81))]);
}
