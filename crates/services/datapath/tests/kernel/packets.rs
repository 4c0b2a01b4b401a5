//! Packets that no ordinary socket sends.

use crate::frames::{ethernet, ipv4, ipv6, send, tcp, udp4, udp6};
use crate::node::{Guarded, PATIENCE, is_silent, v4, v6};
use crate::program::{Draft, class};
use lictor_datapath::{Counters, Event, Reason};
use lictor_model::{Direction, Protocol};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// One echo request and its answer, as `ping` does it.
fn ping(node: &Guarded, from: u8, to: IpAddr) -> io::Result<()> {
    use socket2::{Domain, Protocol, Socket, Type};
    let (domain, protocol, request, header, reply) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8_u8, 20, 0_u8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 0, 129),
    };
    node.pods[&from].netns.run(|| {
        let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let sum = !(u16::from_be_bytes([request, 0]) + 0x1234 + 1);
        let [a, b] = if to.is_ipv4() { sum.to_be_bytes() } else { [0, 0] };
        socket.send_to(&[request, 0, a, b, 0x12, 0x34, 0, 1], &SocketAddr::new(to, 0).into())?;
        // What else arrives is not for this test; the time limit ends the wait.
        let limit = Instant::now() + PATIENCE;
        let mut buffer = [0; 256];
        loop {
            let length = socket.read(&mut buffer)?;
            if buffer[..length].get(header) == Some(&reply) {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    })
}

/// What was counted while something happened.
fn counted(node: &mut Guarded, work: impl FnOnce(&Guarded)) -> Counters {
    let before = node.datapath.counters().unwrap();
    work(node);
    thread::sleep(Duration::from_millis(50));
    let after = node.datapath.counters().unwrap();
    Counters {
        packets: after.packets - before.packets,
        events_lost: after.events_lost - before.events_lost,
        refused: after.refused - before.refused,
        plaintext: after.plaintext - before.plaintext,
        spoofed: after.spoofed - before.spoofed,
        malformed: after.malformed - before.malformed,
        untracked: after.untracked - before.untracked,
        full: after.full - before.full,
        unknown: after.unknown - before.unknown,
        fragments: after.fragments - before.fragments,
        foreign: after.foreign - before.foreign,
    }
}

/// Pods 2 and 3, of which 3 lets in UDP and TCP from 2 on port 53.
fn guarded() -> Guarded {
    let mut node = Guarded::new(&[2, 3]);
    let rules = [(class(2), Protocol::Udp, 53), (class(2), Protocol::Tcp, 53)];
    node.apply(Draft::open(1, &[2, 3]).isolate(3, Direction::Ingress, &rules));
    node
}

fn reasons(events: &[Event]) -> Vec<Reason> {
    events.iter().filter_map(|event| event.layers().last()).map(|judged| judged.reason).collect()
}

#[test]
fn an_echo_is_judged_as_its_own_protocol_and_its_answer_passes() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]).isolate(2, Direction::Ingress, &[]));
    for to in [v4(3), v6(3)] {
        ping(&node, 2, to).unwrap();
    }
    for to in [v4(2), v6(2)] {
        assert!(is_silent(&ping(&node, 3, to).unwrap_err()));
    }
    let events = node.events();
    let protocols: Vec<String> = events.iter().map(|event| event.protocol.to_string()).collect();
    assert_eq!(protocols, ["ICMP", "ICMPv6", "ICMP", "ICMPv6"]);
    assert_eq!(reasons(&events), [Reason::NoPolicy, Reason::NoPolicy, Reason::Isolated, Reason::Isolated]);
}

#[test]
fn an_error_about_a_connection_reaches_who_opened_it() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]).isolate(2, Direction::Ingress, &[]));
    for (own, to) in [(v4(2), v4(3)), (v6(2), v6(3))] {
        let client = node.pods[&2].udp(own, 0);
        client.connect((to, 9999)).unwrap();
        client.send(b"salve").unwrap();
        let refused = client.recv(&mut [0; 8]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "nobody listens there");
    }
    let quoted = ipv4(2, 3, 17, &[], 0, &udp4(4444, b""));
    let error = [&[3, 3, 0, 0, 0, 0, 0, 0], &quoted[14..]].concat();
    let forged = ipv4(3, 2, 1, &[], 0, &error);
    let counters = counted(&mut node, |node| send(node, 3, &forged).unwrap());
    assert_eq!(counters.refused, 1, "an error about no connection is judged as ICMP");
}

#[test]
fn a_large_datagram_passes_in_fragments_or_not_at_all() {
    let mut node = guarded();
    let word = vec![7; 4000];
    for to in [v4(3), v6(3)] {
        node.udp_of(2, to, 53, &word).unwrap();
        let counters = counted(&mut node, |node| assert!(is_silent(&node.udp_of(2, to, 54, &word).unwrap_err())));
        assert_eq!((counters.refused, counters.fragments), (1, 2), "{counters:?}");
    }
    let alone = ipv4(2, 3, 17, &[], 0x2000 | 185, &[7; 64]);
    assert_eq!(counted(&mut node, |node| send(node, 2, &alone).unwrap()).fragments, 1);
}

#[test]
fn options_and_extension_headers_hide_no_port() {
    let mut node = guarded();
    let server = node.pods[&3].udp(v4(3), 53);
    let options = [1, 1, 1, 0];
    send(&node, 2, &ipv4_to(&node, ipv4(2, 3, 17, &options, 0, &udp4(53, b"salve")))).unwrap();
    assert_eq!(server.recv(&mut [0; 16]).unwrap(), 5);
    let shut = ipv4(2, 3, 17, &options, 0, &udp4(54, b"salve"));
    assert_eq!(counted(&mut node, |node| send(node, 2, &shut).unwrap()).refused, 1);

    let server = node.pods[&3].udp(v6(3), 53);
    let padded = |next: u8| [&[next, 0, 1, 4, 0, 0, 0, 0][..]].concat();
    let through = |port| [padded(60), padded(17), udp6(2, 3, port, b"salve")].concat();
    send(&node, 2, &ipv4_to(&node, ipv6(2, 3, 60, 64, &through(53)))).unwrap();
    assert_eq!(server.recv(&mut [0; 16]).unwrap(), 5);
    let shut = ipv6(2, 3, 60, 64, &through(54));
    assert_eq!(counted(&mut node, |node| send(node, 2, &shut).unwrap()).refused, 1);

    let routed = [vec![17, 2, 0, 1], vec![0; 20], udp6(2, 3, 53, b"salve")].concat();
    assert_eq!(counted(&mut node, |node| send(node, 2, &ipv6(2, 3, 43, 64, &routed)).unwrap()).malformed, 1);
    let endless = [[60, 0, 1, 4, 0, 0, 0, 0].repeat(9), udp6(2, 3, 53, b"salve")].concat();
    assert_eq!(counted(&mut node, |node| send(node, 2, &ipv6(2, 3, 60, 64, &endless)).unwrap()).malformed, 1);
}

/// The frame addressed to pod 3's hardware address, so that its stack takes it.
fn ipv4_to(node: &Guarded, mut frame: Vec<u8>) -> Vec<u8> {
    let shown = node.pods[&3].netns.run(|| {
        let links = nix::ifaddrs::getifaddrs()?;
        let mut hardware = links.filter(|link| link.interface_name == "eth0").filter_map(|link| {
            link.address.as_ref().and_then(|address| address.as_link_addr()).and_then(|link| link.addr())
        });
        hardware.next().ok_or_else(|| io::ErrorKind::NotFound.into())
    });
    frame[..6].copy_from_slice(&shown.unwrap());
    frame
}

#[test]
fn what_contradicts_itself_is_dropped() {
    let mut node = guarded();
    let good = ipv4(2, 3, 17, &[], 0, &udp4(53, b"salve"));
    let changed = |at: usize, to: u8| {
        let mut frame = good.clone();
        frame[at] = to;
        frame
    };
    let mut cases = vec![
        ("a header of four words", changed(14, 0x44)),
        ("version 6 in an IPv4 frame", changed(14, 0x65)),
        ("a length beyond the frame", changed(16, 4)),
        ("a length below the header", changed(17, 10)),
        ("UDP cut short", ipv4(2, 3, 17, &[], 0, &[0, 1, 0])),
        ("TCP cut short", ipv4(2, 3, 6, &[], 0, &tcp(53, 2)[..12])),
        ("a first fragment without the whole TCP header", ipv4(2, 3, 6, &[], 0x2000, &tcp(53, 2)[..8])),
        ("SYN and FIN at once", ipv4(2, 3, 6, &[], 0, &tcp(53, 3))),
    ];
    cases.extend((15..33).map(|length| ("a header cut short", good[..length].to_vec())));
    let sixth = ipv6(2, 3, 17, 64, &udp6(2, 3, 53, b"salve"));
    cases.extend((15..53).map(|length| ("a header cut short", sixth[..length].to_vec())));
    for (what, frame) in cases {
        let counters = counted(&mut node, |node| send(node, 2, &frame).unwrap());
        assert_eq!(counters.malformed, 1, "{what}: {counters:?}");
    }
    assert_eq!(node.events(), []);
}

#[test]
fn only_ip_and_honest_address_resolution_pass() {
    let mut node = guarded();
    let foreign = [
        ethernet(0x88b5, &[0; 50]),
        ethernet(0x8100, &[&[0, 7, 8, 0], &ipv4(2, 3, 17, &[], 0, &udp4(53, b""))[14..]].concat()),
    ];
    for frame in foreign {
        assert_eq!(counted(&mut node, |node| send(node, 2, &frame).unwrap()).foreign, 1);
    }
    let arp = |sender: [u8; 4]| {
        let ends = [&[2, 0, 0, 0, 0, 9][..], &sender, &[0; 6], &[10, 77, 0, 3]].concat();
        ethernet(0x0806, &[&[0, 1, 8, 0, 6, 4, 0, 2][..], &ends].concat())
    };
    assert_eq!(counted(&mut node, |node| send(node, 2, &arp([10, 77, 0, 3])).unwrap()).spoofed, 1);
    let honest = counted(&mut node, |node| send(node, 2, &arp([10, 77, 0, 2])).unwrap());
    assert_eq!((honest.spoofed, honest.malformed), (0, 0));

    let advertisement = |target: u8| {
        let target = match v6(target) {
            IpAddr::V6(address) => address.octets(),
            IpAddr::V4(_) => unreachable!(),
        };
        ipv6(2, 3, 58, 255, &[&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target].concat())
    };
    assert_eq!(counted(&mut node, |node| send(node, 2, &advertisement(3)).unwrap()).spoofed, 1);
    assert_eq!(counted(&mut node, |node| send(node, 2, &advertisement(2)).unwrap()).spoofed, 0);
}

#[test]
fn a_pod_speaks_only_for_itself() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    for (forged, to) in [(v4(9), v4(3)), (v6(9), v6(3))] {
        let server = node.pods[&3].udp(to, 53);
        let counters = counted(&mut node, |node| {
            node.pods[&2]
                .netns
                .run(|| {
                    let socket = socket2::Socket::new(
                        socket2::Domain::for_address((to, 53).into()),
                        socket2::Type::DGRAM,
                        None,
                    )?;
                    setsockopt(&socket, sockopt::IpTransparent, &true)?;
                    socket.bind(&SocketAddr::from((forged, 0)).into())?;
                    UdpSocket::from(socket).send_to(b"salve", (to, 53))
                })
                .unwrap();
        });
        assert_eq!(counters.spoofed, 1);
        assert!(is_silent(&server.recv(&mut [0; 8]).unwrap_err()));
        let events = node.events();
        assert_eq!(reasons(&events), [Reason::Spoofed]);
        assert_eq!(events[0].source.ip(), forged);
    }
}

#[test]
fn sctp_is_not_taken_for_tcp() {
    let mut node = guarded();
    let init = [&udp4(53, b"")[..4], &[0; 12]].concat();
    let frame = ipv4(2, 3, 132, &[], 0, &init);
    assert_eq!(counted(&mut node, |node| send(node, 2, &frame).unwrap()).refused, 1);
    node.events();
    let rules = [(class(2), Protocol::Sctp, 53)];
    node.apply(Draft::open(2, &[2, 3]).isolate(3, Direction::Ingress, &rules));
    assert_eq!(counted(&mut node, |node| send(node, 2, &frame).unwrap()).refused, 0);
    let events = node.events();
    assert_eq!((events[0].protocol, events[0].destination.port(), events[0].is_refused()), (Protocol::Sctp, 53, false));
    assert!(is_silent(&node.tcp(2, v4(3), 53).unwrap_err()));
}

#[test]
fn a_segment_of_no_connection_opens_none() {
    let mut node = guarded();
    let ack = ipv4(2, 3, 6, &[], 0, &tcp(53, 0x10));
    assert_eq!(counted(&mut node, |node| send(node, 2, &ack).unwrap()).untracked, 1);
    let counters = counted(&mut node, |node| send(node, 2, &ipv4(2, 3, 6, &[], 0, &tcp(53, 2))).unwrap());
    assert_eq!((counters.untracked, counters.refused), (0, 0));
}

#[test]
fn one_attempt_is_told_once() {
    let mut node = guarded();
    let syn = ipv4(2, 3, 6, &[], 0, &tcp(99, 2));
    let counters = counted(&mut node, |node| (0..5).for_each(|_| send(node, 2, &syn).unwrap()));
    assert_eq!(counters.refused, 5);
    assert_eq!(node.events().len(), 1);
    let mut next = syn.clone();
    next[14 + 20 + 7] = 1;
    send(&node, 2, &next).unwrap();
    assert_eq!(node.events().len(), 1, "another sequence number is another attempt");
}
