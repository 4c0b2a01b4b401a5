//! A node with pods, as the lab makes them.

use crate::program::{Draft, name};
use lictor_datapath::link::{self, Bridge, PodLink};
use lictor_datapath::netns::Netns;
use lictor_datapath::{Applied, Datapath, Event, Events, Limits, What};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
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

    /// A pod at 10.77.0.`last` and fd77::`last`.
    pub fn pod(&self, last: u8) -> Pod {
        let netns = Netns::anonymous().unwrap();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let gateways: Vec<IpAddr> = vec![v4(1), v6(1)];
        let addresses = [(v4(last), 24), (v6(last), 64)];
        let pod_link = PodLink { number, addresses: &addresses, gateways: &gateways, mtu: 1500 };
        let host = link::pod(&self.netns, self.bridge, &netns, &pod_link).unwrap();
        Pod { netns, addresses: vec![v4(last), v6(last)], host }
    }
}

impl Pod {
    pub fn listen(&self, address: IpAddr, port: u16) -> TcpListener {
        self.netns.run(|| TcpListener::bind((address, port))).unwrap()
    }

    pub fn udp(&self, address: IpAddr, port: u16) -> UdpSocket {
        let socket = self.netns.run(|| UdpSocket::bind((address, port))).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
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

/// Whether nothing came back: no answer, no refusal, no error message.
pub fn is_silent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// A node whose pods' links are judged.
pub struct Guarded {
    pub node: Node,
    pub pods: BTreeMap<u8, Pod>,
    pub datapath: Datapath,
    pub cgroup: Cgroup,
    runtime: tokio::runtime::Runtime,
    events: Events,
}

impl Guarded {
    /// A node with pods at these last numbers of the addresses; no program is in force yet.
    pub fn new(pods: &[u8]) -> Self {
        Self::with_limits(pods, Limits::default())
    }

    pub fn with_limits(pods: &[u8], limits: Limits) -> Self {
        let (node, cgroup) = (Node::new(), Cgroup::new());
        let mut datapath = Datapath::load(&node.netns, cgroup.0.as_path(), limits).unwrap();
        let pods: BTreeMap<u8, Pod> = pods.iter().map(|last| (*last, node.pod(*last))).collect();
        for (last, pod) in &pods {
            datapath.attach_pod(&name(*last), pod.host, &pod.netns).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let events = runtime.block_on(async { datapath.events() }).unwrap();
        Self { node, pods, datapath, cgroup, runtime, events }
    }

    pub fn apply(&mut self, draft: Draft) -> Applied {
        self.datapath.apply(&draft.done()).unwrap()
    }

    /// The events so far.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let wait = Duration::from_millis(50);
        self.runtime.block_on(async {
            while let Ok(event) = tokio::time::timeout(wait, self.events.next()).await {
                events.push(event.unwrap());
            }
        });
        events
    }

    /// The events so far about connections that are judged.
    pub fn judged(&mut self) -> Vec<Event> {
        self.events().into_iter().filter(|event| matches!(event.what, What::Judged { .. })).collect()
    }

    fn owner(&self, address: IpAddr) -> &Pod {
        self.pods.values().find(|pod| pod.addresses.contains(&address)).unwrap()
    }

    /// A connection from a pod to another one's address.
    pub fn open(&self, from: u8, to: IpAddr, port: u16) -> (TcpStream, TcpStream) {
        let listener = self.owner(to).listen(to, port);
        let client = self.pods[&from].connect(to, port).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        server.set_nodelay(true).unwrap();
        (client, server)
    }

    /// Tries a connection from a pod to another one's address.
    pub fn tcp(&self, from: u8, to: IpAddr, port: u16) -> io::Result<()> {
        let _listener = self.owner(to).listen(to, port);
        self.pods[&from].connect(to, port).map(drop)
    }

    /// Tries a connection from a pod's port.
    pub fn tcp_between(&self, (from, source): (u8, u16), to: IpAddr, port: u16) -> io::Result<()> {
        use socket2::{Domain, Socket, Type};
        let _listener = self.owner(to).netns.run(|| {
            let socket = Socket::new(Domain::for_address((to, port).into()), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((to, port)).into())?;
            socket.listen(1).map(|()| socket)
        })?;
        self.pods[&from].netns.run(|| {
            let socket = Socket::new(Domain::for_address((to, port).into()), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            let own = if to.is_ipv4() { v4(from) } else { v6(from) };
            socket.bind(&SocketAddr::from((own, source)).into())?;
            socket.connect_timeout(&SocketAddr::from((to, port)).into(), PATIENCE)
        })
    }

    /// Tries a connection from the node to a pod's address.
    pub fn tcp_from_node(&self, to: IpAddr, port: u16) -> io::Result<()> {
        let _listener = self.owner(to).listen(to, port);
        connect(&self.node.netns, (to, port).into()).map(drop)
    }

    /// Tries a connection from a pod to an address of the node.
    pub fn tcp_to_node(&self, from: u8, to: IpAddr, port: u16) -> io::Result<()> {
        let _listener = self.node.netns.run(|| TcpListener::bind((to, port)))?;
        self.pods[&from].connect(to, port).map(drop)
    }

    /// Sends a word from a pod to another one's address and waits for its echo.
    pub fn udp(&self, from: u8, to: IpAddr, port: u16) -> io::Result<()> {
        self.udp_of(from, to, port, b"salve")
    }

    /// Sends a datagram from a pod to another one's address and waits for its echo.
    pub fn udp_of(&self, from: u8, to: IpAddr, port: u16, word: &[u8]) -> io::Result<()> {
        let server = self.owner(to).udp(to, port);
        let own = if to.is_ipv4() { v4(from) } else { v6(from) };
        let client = self.pods[&from].udp(own, 0);
        client.send_to(word, (to, port))?;
        let mut buffer = vec![0; 65_536];
        let (length, peer) = server.recv_from(&mut buffer)?;
        server.send_to(&buffer[..length], peer)?;
        let length = client.recv(&mut buffer)?;
        assert_eq!(&buffer[..length], word);
        Ok(())
    }
}

/// A cgroup of its own for threads of this process, removed with its owner.
pub struct Cgroup(pub PathBuf);

impl Cgroup {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let path = fields.nth(1)?;
            (fields.next() == Some("cgroup2")).then(|| PathBuf::from(path))
        });
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = root.unwrap().join(own).join(format!("lictor-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("cgroup.type"), "threaded").unwrap();
        Self(path)
    }

    /// Runs something in a network namespace and this cgroup, as a process of a pod would.
    pub fn run<T: Send>(&self, netns: &Netns, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        netns.run(|| {
            std::fs::write(self.0.join("cgroup.threads"), nix::unistd::gettid().to_string())?;
            work()
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
