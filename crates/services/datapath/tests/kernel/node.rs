//! A node with pods, as the lab makes them.

use lictor_datapath::link::{self, Bridge, PodLink};
use lictor_datapath::netns::Netns;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a connection is tried before it counts as dropped.
pub const PATIENCE: Duration = Duration::from_millis(700);

pub struct Node {
    pub netns: Netns,
    pub bridge: u32,
    numbers: AtomicU32,
}

pub struct Pod {
    pub netns: Netns,
    pub addresses: Vec<IpAddr>,
    /// Index of the node's end of its link.
    pub host: u32,
    pub host_name: String,
}

/// The gateways and the probe's addresses.
pub fn gateways() -> Vec<(IpAddr, u8)> {
    [("10.77.0.1", 24), ("fd77::1", 64), ("169.254.7.127", 32), ("fd16:9254:7127::1", 128)]
        .map(|(address, prefix)| (address.parse().unwrap(), prefix))
        .to_vec()
}

pub fn v4(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

pub fn v6(last: u8) -> IpAddr {
    format!("fd77::{last:x}").parse().unwrap()
}

impl Node {
    pub fn new() -> Self {
        let netns = Netns::anonymous().unwrap();
        let addresses = gateways();
        let bridge = link::bridge(&netns, &Bridge { name: "lictor0", addresses: &addresses, mtu: 1500 }).unwrap();
        Self { netns, bridge, numbers: AtomicU32::new(1) }
    }

    /// A pod at 10.77.0.`last` and fd77::`last`, not waited for.
    pub fn pod_soon(&self, last: u8) -> Pod {
        let netns = Netns::anonymous().unwrap();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let gateways: Vec<IpAddr> = vec![v4(1), v6(1)];
        let addresses = [(v4(last), 24), (v6(last), 64)];
        let pod_link = PodLink { number, addresses: &addresses, gateways: &gateways, mtu: 1500 };
        let host = link::pod(&self.netns, self.bridge, &netns, &pod_link).unwrap();
        Pod { netns, addresses: vec![v4(last), v6(last)], host, host_name: pod_link.host_name() }
    }

    /// A pod at 10.77.0.`last` and fd77::`last`.
    pub fn pod(&self, last: u8) -> Pod {
        let pod = self.pod_soon(last);
        link::wait_until_up(&self.netns, std::slice::from_ref(&pod.host_name)).unwrap();
        pod
    }
}

impl Pod {
    pub fn listen(&self, address: IpAddr, port: u16) -> TcpListener {
        self.netns.run(|| TcpListener::bind((address, port))).unwrap()
    }

    pub fn connect(&self, address: IpAddr, port: u16) -> io::Result<TcpStream> {
        connect(&self.netns, (address, port).into())
    }
}

pub fn connect(netns: &Netns, address: SocketAddr) -> io::Result<TcpStream> {
    let stream = netns.run(|| TcpStream::connect_timeout(&address, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a word one way and reads it at the other end.
pub fn pass(from: &mut TcpStream, to: &mut TcpStream, word: &[u8]) -> io::Result<()> {
    from.write_all(word)?;
    let mut got = vec![0; word.len()];
    to.read_exact(&mut got)?;
    assert_eq!(got, word);
    Ok(())
}
