use crate::node::{Guarded, is_silent, pass, v4, v6};
use crate::program::{Draft, class, name, policy};
use lictor_datapath::{Ended, Judged, Reason, What};
use lictor_model::{Direction, Mode, Protocol, Verdict};
use lictor_network::ClassId;
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
fn a_gate_that_keeps_what_is_open_refuses_only_what_is_new_until_it_keeps_nothing() {
    let mut node = Guarded::new(&[2, 3]);
    let draft = |revision, allowed: &[(ClassId, Protocol, u16)]| {
        Draft::open(revision, &[2, 3]).isolate(3, Direction::Ingress, allowed)
    };
    let keeping = |revision, allowed: &[(ClassId, Protocol, u16)]| draft(revision, allowed).keep(3, Direction::Ingress);
    let port = [(class(2), Protocol::Tcp, 80)];
    node.apply(keeping(1, &port));
    let (mut client, mut server) = node.open(2, v4(3), 80);
    pass(&mut client, &mut server, b"before").unwrap();

    node.apply(keeping(2, &[]));
    pass(&mut client, &mut server, b"it goes on").unwrap();
    pass(&mut server, &mut client, b"both ways").unwrap();
    let _listener = node.pods[&3].listen(v4(3), 80);
    assert!(node.pods[&2].connect(v4(3), 80).is_err(), "what is new is judged");

    // The rules are those of before; only what they do to open connections is not.
    node.apply(draft(3, &[]));
    client.write_all(b"one more").unwrap();
    assert!(server.read_exact(&mut [0; 8]).is_err(), "not one packet passes");
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
    assert_eq!(node.datapath.sweep().unwrap(), 0);
    node.datapath.detach_pod(&name(3)).unwrap();
    node.apply(Draft::open(2, &[2]));
    assert_eq!(node.datapath.sweep().unwrap(), 1);
    let closed = node.events();
    assert_eq!(closed.len(), 1, "{closed:#?}");
    assert_eq!(
        (closed[0].flow, closed[0].source, closed[0].destination),
        (opened[0].flow, opened[0].source, opened[0].destination)
    );
    assert!(matches!(closed[0].what, What::Closed { sent: 5, received: 5, ended: None }), "{closed:?}");
}

#[test]
fn an_event_names_the_rule_of_the_program_in_force() {
    let mut node = Guarded::new(&[2, 3]);
    let rules = [(class(9), Protocol::Tcp, 79), (class(2), Protocol::Tcp, 80), (class(2), Protocol::Udp, 81)];
    let program = Draft::open(1, &[2, 3]).isolate(3, Direction::Ingress, &rules).done();
    node.datapath.apply(&program).unwrap();
    node.tcp(2, v4(3), 80).unwrap();
    node.udp(2, v4(3), 81).unwrap();
    let named = |event: &lictor_datapath::Event| match event.what {
        What::Judged { ingress: Some(Judged { reason: Reason::Rule(rule), .. }), .. } => {
            program.rules[rule.0 as usize].clone()
        }
        _ => panic!("{event:?}"),
    };
    assert_eq!(node.judged().iter().map(named).collect::<Vec<_>>(), [policy(80), policy(81)]);
}

#[test]
fn blocks_and_port_ranges_are_looked_up_as_the_program_does() {
    use lictor_network::{ClassId, Entry, Outcome, RuleId, RuleSet};
    use std::sync::Arc;
    let mut node = Guarded::new(&[2, 3]);
    let blocks = [("0.0.0.0/0", 11), ("10.0.0.0/8", 12), ("10.1.0.0/16", 13), ("::/0", 21), ("fd00::/8", 22)];
    let mut draft =
        blocks.into_iter().fold(Draft::open(1, &[2, 3]), |draft, (block, class)| draft.block(block, ClassId(class)));
    draft = draft.isolate(3, Direction::Ingress, &[]).isolate(2, Direction::Egress, &[(class(3), Protocol::Udp, 53)]);
    let id = draft.0.endpoints[&name(3)].ingress.rule_set.unwrap();
    let mut set = RuleSet { bounds: vec![0, 80, 81, 1000, 2001, 65_535], ..RuleSet::default() };
    draft.0.rules = (0..4).map(policy).collect();
    let outcome = |verdict, rule| Outcome::of(verdict, RuleId(rule));
    let entry = |class, port| Entry { class: ClassId(class), port };
    set.entries.insert(entry(12, Some((Protocol::Tcp, 1))), outcome(Verdict::Allow, 0));
    set.entries.insert(entry(12, Some((Protocol::Udp, 3))), outcome(Verdict::Allow, 1));
    set.entries.insert(entry(13, None), outcome(Verdict::Deny, 2));
    set.entries.insert(entry(22, None), outcome(Verdict::Allow, 3));
    set.entries.insert(Entry { class: ClassId::ANY, port: Some((Protocol::Sctp, 5)) }, outcome(Verdict::Allow, 0));
    draft.0.rule_sets.insert(id, Arc::new(set));
    let program = draft.done();
    node.datapath.apply(&program).unwrap();

    let peers = [
        "10.2.3.4",
        "10.1.2.3",
        "192.0.2.1",
        "10.77.0.2",
        "fd77::3",
        "fd12::1",
        "2001:db8::1",
        "10.77.0.3",
        "10.77.0.1",
    ];
    let ports = [0, 1, 79, 80, 81, 999, 1000, 2000, 2001, 65_534, 65_535];
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Other(1)];
    let mut compared = 0;
    for endpoint in [name(2), name(3), name(4)] {
        for direction in Direction::BOTH {
            for peer in peers {
                for (port, protocol) in ports.iter().flat_map(|port| protocols.map(|protocol| (*port, protocol))) {
                    let peer = peer.parse().unwrap();
                    let wanted = program.judge(&endpoint, direction, peer, protocol, port);
                    let found = node.datapath.read_back(&endpoint, direction, peer, protocol, port).unwrap();
                    assert_eq!(found, wanted, "{endpoint} {direction} {peer} {protocol}/{port}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 3 * 2 * 9 * 44);
}

#[test]
fn a_program_that_does_not_fit_leaves_the_last_one_in_force() {
    use lictor_datapath::{Error, Limits};
    let limits = Limits { rules: 4, bounds: 64, rule_sets: 4, ..Limits::default() };
    let mut node = Guarded::with_limits(&[2, 3], limits);
    let rules = |revision, count: u16| {
        let rules: Vec<_> = (1..=count).map(|port| (class(2), Protocol::Tcp, port * 10)).collect();
        Draft::open(revision, &[2, 3]).isolate(3, Direction::Ingress, &rules)
    };
    node.apply(rules(1, 2));
    let error = node.datapath.apply(&rules(2, 5).done()).unwrap_err();
    assert!(matches!(error, Error::NoRoom { what: "rules", wanted: 7, room: 4 }), "{error}");
    assert_eq!(error.to_string(), "the program needs 7 rules, and there is room for 4");
    node.tcp(2, v4(3), 20).unwrap();
    assert!(is_silent(&node.tcp(2, v4(3), 50).unwrap_err()));
    // Again and again: nothing that was given up stays behind.
    for revision in 3..40 {
        node.datapath.apply(&rules(revision, 5).done()).unwrap_err();
        assert!(node.apply(rules(revision, if revision % 2 == 0 { 2 } else { 1 })).rules <= 2);
    }
}

#[test]
fn only_what_differs_is_written() {
    let mut node = Guarded::new(&[2, 3, 4]);
    let base =
        |revision| Draft::open(revision, &[2, 3, 4]).isolate(3, Direction::Ingress, &[(class(2), Protocol::Tcp, 80)]);
    let first = node.apply(base(1));
    assert_eq!((first.new_rule_sets, first.addresses, first.rules), (1, 6, 1));
    let second = node.apply(base(2));
    assert_eq!((second.new_rule_sets, second.old_rule_sets, second.judged_again), (0, 0, 0), "{second:?}");
    let third = node.apply(base(3).isolate(4, Direction::Egress, &[]));
    assert_eq!((third.new_rule_sets, third.old_rule_sets, third.judged_again), (1, 0, 1), "{third:?}");
}

#[test]
fn a_pod_whose_class_changes_is_judged_by_its_new_one() {
    let mut node = Guarded::new(&[2, 3]);
    let rule = [(class(2), Protocol::Tcp, 80)];
    node.apply(Draft::open(1, &[2, 3]).isolate(3, Direction::Ingress, &rule));
    let (mut client, mut server) = node.open(2, v4(3), 80);
    pass(&mut client, &mut server, b"salve").unwrap();
    let mut relabelled = Draft::open(2, &[2, 3]).isolate(3, Direction::Ingress, &rule);
    relabelled
        .0
        .addresses
        .values_mut()
        .filter(|address| address.class == class(2))
        .for_each(|address| address.class = class(9));
    node.apply(relabelled);
    assert!(pass(&mut client, &mut server, b"salve").is_err());
    assert!(is_silent(&node.tcp(2, v4(3), 80).unwrap_err()));
    node.apply(Draft::open(3, &[2, 3]).isolate(3, Direction::Ingress, &rule));
    node.tcp(2, v4(3), 80).unwrap();
}

#[test]
fn a_peer_is_in_use_as_long_as_the_connection_that_the_pod_opened_to_it() {
    let mut node = Guarded::new(&[2, 3, 4]);
    node.apply(Draft::open(1, &[2, 3, 4]));
    let in_use = |node: &Guarded, of: &[u8]| {
        node.datapath
            .peers_in_use(&of.iter().map(|last| name(*last)).collect())
            .unwrap()
            .into_iter()
            .collect::<Vec<_>>()
    };
    let (mut client, mut server) = node.open(2, v4(3), 80);
    pass(&mut client, &mut server, b"salve").unwrap();
    assert_eq!(in_use(&node, &[2, 3, 4]), [(name(2), v4(3))], "it is the client's peer, not the server's");
    assert_eq!(in_use(&node, &[3, 4]), []);
    drop((client, server));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(in_use(&node, &[2, 3, 4]), [], "both have closed it");
}
