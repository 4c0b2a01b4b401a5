//! A rule set is put in force while packets fly: none of them is judged by a part of the old one and a part of the new one.

use crate::node::{Guarded, is_silent, pass, v4};
use crate::program::{Draft, class, name};
use lictor_model::{Direction, Protocol, Verdict};
use lictor_network::{Entry, Outcome, RuleId, RuleSet};
use std::io::{Read, Write};
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A port that both programs let in, and one that neither does.
const OPEN: u16 = 1500;
const SHUT: u16 = 2500;

/// Pod 3 lets pod 2 in on ports of these classes between these bounds.
fn draft(revision: u64, bounds: &[u16], allowed: &[u16]) -> Draft {
    let mut draft = Draft::open(revision, &[2, 3]).isolate(3, Direction::Ingress, &[(class(2), Protocol::Udp, OPEN)]);
    let id = draft.0.endpoints[&name(3)].ingress.rule_set.unwrap();
    let mut set = RuleSet { bounds: bounds.to_vec(), ..RuleSet::default() };
    for at in allowed {
        let entry = Entry { class: class(2), port: Some((Protocol::Udp, *at)) };
        set.entries.insert(entry, Outcome::of(Verdict::Allow, RuleId(0)));
    }
    draft.0.rule_sets.insert(id, Arc::new(set));
    draft
}

/// The two programs say the same of both ports. The bounds of one with the entries of the other would not: the first would
/// shut the open port, and open the shut one.
fn programs(revision: u64) -> Draft {
    match revision % 2 {
        0 => draft(revision, &[0, 1000, 2000], &[1]),
        _ => draft(revision, &[0, 500, 1000, 1400, 1600, 2000, 2400, 2600], &[2, 3]),
    }
}

/// Receives until told to stop, and says how much came.
fn count(socket: UdpSocket, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20).unwrap();
    thread::spawn(move || {
        let (mut came, mut word) = (0, [0; 16]);
        loop {
            match socket.recv(&mut word) {
                Ok(_) => came += 1,
                Err(error) if is_silent(&error) && stop.load(Ordering::Relaxed) => return came,
                Err(error) if is_silent(&error) => {}
                Err(error) => panic!("{error}"),
            }
        }
    })
}

#[test]
fn no_packet_is_judged_by_a_mixture() {
    const FLIPS: u64 = 200;
    const BETWEEN: Duration = Duration::from_millis(20);
    let mut node = Guarded::new(&[2, 3]);
    node.apply(programs(0));
    let stop = Arc::new(AtomicBool::new(false));
    let [open, shut] = [OPEN, SHUT].map(|port| count(node.pods[&3].udp(v4(3), port), Arc::clone(&stop)));

    // Each datagram from a port of its own is a flow of its own, which is judged by itself.
    let pod = node.pods[&2].netns.try_clone().unwrap();
    let (sending, to): (_, IpAddr) = (Arc::clone(&stop), v4(3));
    let sender = thread::spawn(move || {
        let began = Instant::now();
        let mut sent = 0_usize;
        while !sending.load(Ordering::Relaxed) {
            let socket = pod.run(|| UdpSocket::bind((v4(2), 0))).unwrap();
            socket.send_to(b"word", (to, OPEN)).unwrap();
            socket.send_to(b"word", (to, SHUT)).unwrap();
            sent += 1;
            // 10,000 packets a second.
            let due = began + Duration::from_micros(200) * u32::try_from(sent).unwrap();
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        (sent, began.elapsed())
    });
    for revision in 1..=FLIPS {
        thread::sleep(BETWEEN);
        node.apply(programs(revision));
    }
    stop.store(true, Ordering::Relaxed);
    let (sent, took) = sender.join().unwrap();
    let (came, slipped) = (open.join().unwrap(), shut.join().unwrap());
    let rate = (2 * sent) as f64 / took.as_secs_f64();
    println!(
        "{FLIPS} flips, {} packets at {rate:.0} a second: {came} of {sent} came, {slipped} slipped through",
        2 * sent
    );
    assert_eq!((came, slipped), (sent, 0));
}

#[test]
fn a_denied_connection_stops_with_the_next_packet() {
    let mut node = Guarded::new(&[2, 3]);
    let allowing = || Draft::open(1, &[2, 3]).isolate(3, Direction::Ingress, &[(class(2), Protocol::Tcp, 80)]);
    for round in 0..50 {
        node.apply(allowing());
        let (mut client, mut server) = node.open(2, v4(3), 80);
        pass(&mut client, &mut server, b"before").unwrap();
        node.apply(Draft::open(2, &[2, 3]).isolate(3, Direction::Ingress, &[]));
        // The kernel of the client takes it, and nothing of it arrives.
        client.write_all(b"after").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        let error = server.read(&mut [0; 8]).expect_err("nothing arrives");
        assert!(is_silent(&error), "round {round}: {error}");
    }
}
