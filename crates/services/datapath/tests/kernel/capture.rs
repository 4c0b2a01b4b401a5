use crate::node::{Node, connect, pass, v4, v6};
use lictor_datapath::capture::{self, INBOUND, OUTBOUND, PROBE_V4, PROXY_MARK, REFUSED_MARK, TUNNEL};
use lictor_datapath::netns::Netns;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;

/// Where a redirected connection was going, as a proxy asks.
fn original_destination(stream: &impl AsFd, peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        IpAddr::V4(_) => {
            let found = getsockopt(stream, sockopt::OriginalDst).unwrap();
            (u32::from_be(found.sin_addr.s_addr).to_be_bytes(), u16::from_be(found.sin_port)).into()
        }
        IpAddr::V6(_) => {
            let found = getsockopt(stream, sockopt::Ip6tOriginalDst).unwrap();
            (found.sin6_addr.s6_addr, u16::from_be(found.sin6_port)).into()
        }
    }
}

/// A connection from a foreign address with a mark, as a proxy opens it.
fn connect_as(netns: &Netns, source: Option<IpAddr>, mark: u32, to: SocketAddr) -> io::Result<TcpStream> {
    use socket2::{Domain, Protocol, Socket, Type};
    netns.run(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        setsockopt(&socket, sockopt::Mark, &mark)?;
        if let Some(source) = source {
            // The IPv4 option, on IPv6 sockets too: both set the one flag of the socket.
            setsockopt(&socket, sockopt::IpTransparent, &true)?;
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        socket.connect_timeout(&to.into(), crate::node::PATIENCE)?;
        Ok(socket.into())
    })
}

#[test]
fn what_arrives_goes_to_the_proxy_and_on_with_the_clients_address() {
    let node = Node::new();
    let (client, server) = (node.pod(2), node.pod(3));
    capture::install(&server.netns).unwrap();
    let proxy = server.listen(Ipv6Addr::UNSPECIFIED.into(), INBOUND);
    for (from, to) in [(v4(2), v4(3)), (v6(2), v6(3))] {
        let application = server.listen(to, 80);
        let mut outside = client.connect(to, 80).unwrap();
        let (mut taken, peer) = proxy.accept().unwrap();
        assert_eq!(peer.ip().to_canonical(), from);
        assert_eq!(original_destination(&taken, peer), (to, 80).into());

        let mut inside = connect_as(&server.netns, Some(from), PROXY_MARK, (to, 80).into()).unwrap();
        let (mut served, seen) = application.accept().unwrap();
        assert_eq!(seen.ip(), from, "the application sees the client");
        pass(&mut outside, &mut taken, b"salve").unwrap();
        pass(&mut inside, &mut served, b"salve").unwrap();
        pass(&mut served, &mut inside, b"vale").unwrap();
        pass(&mut taken, &mut outside, b"vale").unwrap();
    }
}

#[test]
fn what_leaves_goes_to_the_proxy_which_leaves_unhindered() {
    let node = Node::new();
    let (client, server) = (node.pod(2), node.pod(3));
    capture::install(&client.netns).unwrap();
    let proxy = client.listen(Ipv6Addr::UNSPECIFIED.into(), OUTBOUND);
    for to in [v4(3), v6(3)] {
        let application = server.listen(to, 80);
        let mut outside = client.connect(to, 80).unwrap();
        let (mut taken, peer) = proxy.accept().unwrap();
        assert_eq!(original_destination(&taken, peer), (to, 80).into());
        pass(&mut outside, &mut taken, b"salve").unwrap();
        for mark in [PROXY_MARK, REFUSED_MARK] {
            let mut direct = connect_as(&client.netns, None, mark, (to, 80).into()).unwrap();
            let (mut served, seen) = application.accept().unwrap();
            assert!(client.addresses.contains(&seen.ip()));
            pass(&mut direct, &mut served, b"salve").unwrap();
            pass(&mut served, &mut direct, b"vale").unwrap();
        }
    }
}

#[test]
fn tunnels_probes_and_the_pods_own_traffic_are_left_alone() {
    let node = Node::new();
    let (client, server) = (node.pod(2), node.pod(3));
    capture::install(&server.netns).unwrap();
    for to in [v4(3), v6(3)] {
        let (tunnel, application) = (server.listen(to, TUNNEL), server.listen(to, 80));
        client.connect(to, TUNNEL).unwrap();
        assert!(client.connect(to, 80).is_err(), "redirected, and no proxy listens");
        server.connect(to, 80).unwrap();
        drop((tunnel, application));
    }
    let application = server.listen(v4(3), 81);
    connect_as(&node.netns, Some(PROBE_V4.into()), 0, (v4(3), 81).into()).unwrap();
    let (_, seen) = application.accept().unwrap();
    assert_eq!(seen.ip(), IpAddr::V4(PROBE_V4));
    assert!(connect(&node.netns, (v4(3), 81).into()).is_err(), "the node's other addresses are no probe");
}

#[test]
fn installing_twice_changes_nothing_and_removing_undoes_it() {
    let node = Node::new();
    let (client, server) = (node.pod(2), node.pod(3));
    capture::remove(&server.netns).unwrap();
    let before = rules(&server.netns);
    capture::install(&server.netns).unwrap();
    let installed = rules(&server.netns);
    capture::install(&server.netns).unwrap();
    assert_eq!(rules(&server.netns), installed);
    capture::remove(&server.netns).unwrap();
    assert_eq!(rules(&server.netns), before);
    let application: TcpListener = server.listen(v4(3), 80);
    client.connect(v4(3), 80).unwrap();
    drop(application);
}

/// The policy rules of the namespace, as far as the system has a program that shows them.
fn rules(netns: &Netns) -> String {
    netns
        .run(|| {
            let output = |program, arguments: &[&str]| match Command::new(program).args(arguments).output() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                output => output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()),
            };
            let mut shown = output("nft", &["list", "ruleset"])?;
            for family in ["-4", "-6"] {
                shown += &output("ip", &[family, "rule"])?;
                shown += &output("ip", &[family, "route", "show", "table", "100"])?;
            }
            Ok(shown)
        })
        .unwrap()
}

#[test]
fn the_rules_read_as_they_are_meant() {
    let netns = Netns::anonymous().unwrap();
    capture::install(&netns).unwrap();
    let shown = rules(&netns);
    if shown.is_empty() {
        eprintln!("neither nft nor ip is here to show the rules");
        return;
    }
    for line in [
        "type nat hook prerouting priority dstnat; policy accept;",
        "type nat hook output priority -100; policy accept;",
        "type route hook output priority mangle; policy accept;",
        "tcp dport 15008 accept",
        "ip saddr 169.254.7.127 accept",
        "ip6 saddr fd16:9254:7127::1 accept",
        "redirect to :15006",
        "redirect to :15001",
        "meta mark 0x0000053a accept",
        "meta mark 0x00000539 ct mark set 0x00000111",
        "ct mark 0x00000111 meta mark set 0x00000111",
    ] {
        assert!(shown.contains(line), "no `{line}` in\n{shown}");
    }
}
