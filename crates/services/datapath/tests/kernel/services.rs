//! Services at the socket.

use crate::node::{Guarded, PATIENCE, v4, v6};
use crate::program::{Draft, class};
use lictor_datapath::VirtualService;
use lictor_model::{Direction, Protocol};
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

fn service(address: IpAddr, port: u16, protocol: Protocol, backends: &[(IpAddr, u16)]) -> VirtualService {
    let backends = backends.iter().copied().map(SocketAddr::from).collect();
    VirtualService { address: (address, port).into(), protocol, backends }
}

fn virtual_v4() -> IpAddr {
    "10.96.0.10".parse().unwrap()
}

fn virtual_v6() -> IpAddr {
    "fd96::a".parse().unwrap()
}

#[test]
fn a_tcp_connection_goes_to_a_backend_and_believes_to_be_at_the_service() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    for (virtual_address, backend) in [(virtual_v4(), v4(3)), (virtual_v6(), v6(3))] {
        node.datapath.set_services(&[service(virtual_address, 80, Protocol::Tcp, &[(backend, 8080)])]).unwrap();
        let listener = node.pods[&3].listen(backend, 8080);
        let to = SocketAddr::from((virtual_address, 80));
        let client = node.cgroup.run(&node.pods[&2].netns, || TcpStream::connect_timeout(&to, PATIENCE)).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert!(node.pods[&2].addresses.contains(&peer.ip()));
        assert_eq!(client.peer_addr().unwrap(), to);
        let events = node.judged();
        assert_eq!(events[0].destination, SocketAddr::from((backend, 8080)), "policies see the backend");
    }
}

#[test]
fn an_ipv4_service_is_reached_from_a_socket_of_both_families() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    node.datapath.set_services(&[service(virtual_v4(), 80, Protocol::Tcp, &[(v4(3), 8080)])]).unwrap();
    let _listener = node.pods[&3].listen(v4(3), 8080);
    let mapped: IpAddr = "::ffff:10.96.0.10".parse().unwrap();
    let connect = || TcpStream::connect_timeout(&(mapped, 80).into(), PATIENCE);
    let client = node.cgroup.run(&node.pods[&2].netns, connect).unwrap();
    assert_eq!(client.peer_addr().unwrap(), SocketAddr::from((mapped, 80)));
}

#[test]
fn every_backend_gets_its_share_and_a_changed_list_is_followed() {
    let mut node = Guarded::new(&[2, 3, 4]);
    node.apply(Draft::open(1, &[2, 3, 4]));
    let tcp = |backends: &[(IpAddr, u16)]| service(virtual_v4(), 80, Protocol::Tcp, backends);
    let listeners: Vec<TcpListener> = [3, 4].map(|last| node.pods[&last].listen(v4(last), 8080)).into();
    for listener in &listeners {
        listener.set_nonblocking(true).unwrap();
    }
    let connect = |node: &Guarded| {
        let to = SocketAddr::from((virtual_v4(), 80));
        node.cgroup.run(&node.pods[&2].netns, || TcpStream::connect_timeout(&to, PATIENCE))
    };
    let reached =
        || listeners.iter().map(|listener| listener.incoming().take_while(Result::is_ok).count()).collect::<Vec<_>>();
    node.datapath.set_services(&[tcp(&[(v4(3), 8080), (v4(4), 8080)])]).unwrap();
    for _ in 0..40 {
        connect(&node).unwrap();
    }
    assert!(reached().iter().all(|count| *count >= 5), "each of two has a share of forty");
    node.datapath.set_services(&[tcp(&[(v4(4), 8080)])]).unwrap();
    for _ in 0..10 {
        connect(&node).unwrap();
    }
    assert_eq!(reached(), [0, 10]);
    node.datapath.set_services(&[tcp(&[])]).unwrap();
    assert_eq!(connect(&node).unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "a service without backends");
    node.datapath.set_services(&[]).unwrap();
    assert_ne!(connect(&node).unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "no service at all");
}

#[test]
fn datagrams_go_to_a_backend_and_its_answers_come_from_the_service() {
    let mut node = Guarded::new(&[2, 3]);
    node.apply(Draft::open(1, &[2, 3]));
    for (virtual_address, backend, any) in [
        (virtual_v4(), v4(3), v4(2)),
        (virtual_v6(), v6(3), v6(2)),
        (virtual_v4(), v4(3), Ipv4Addr::UNSPECIFIED.into()),
    ] {
        node.datapath.set_services(&[service(virtual_address, 53, Protocol::Udp, &[(backend, 5353)])]).unwrap();
        let server = node.pods[&3].udp(backend, 5353);
        let to = SocketAddr::from((virtual_address, 53));
        let exchange = |connected: bool| {
            node.cgroup.run(&node.pods[&2].netns, || {
                let socket = UdpSocket::bind((any, 0))?;
                socket.set_read_timeout(Some(PATIENCE))?;
                if connected {
                    socket.connect(to)?;
                    socket.send(b"salve")?;
                } else {
                    socket.send_to(b"salve", to)?;
                }
                let mut word = [0; 16];
                let (length, peer) = server.recv_from(&mut word)?;
                server.send_to(&word[..length], peer)?;
                let (length, from) = socket.recv_from(&mut word)?;
                assert_eq!((&word[..length], from), (&b"salve"[..], to));
                if connected {
                    assert_eq!(socket.peer_addr()?, to);
                }
                Ok(())
            })
        };
        exchange(false).unwrap();
        exchange(true).unwrap();
    }
}

#[test]
fn policies_are_about_backends() {
    let mut node = Guarded::new(&[2, 3, 4]);
    let rule = [(class(2), Protocol::Tcp, 8080)];
    node.apply(Draft::open(1, &[2, 3, 4]).isolate(3, Direction::Ingress, &rule));
    node.datapath.set_services(&[service(virtual_v4(), 80, Protocol::Tcp, &[(v4(3), 8080)])]).unwrap();
    let _listener = node.pods[&3].listen(v4(3), 8080);
    let from: HashSet<u8> = [2, 4]
        .into_iter()
        .filter(|last| {
            let to = SocketAddr::from((virtual_v4(), 80));
            node.cgroup.run(&node.pods[last].netns, || TcpStream::connect_timeout(&to, PATIENCE)).is_ok()
        })
        .collect();
    assert_eq!(from, HashSet::from([2]));
}
