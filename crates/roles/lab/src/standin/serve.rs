//! Sockets of a stand-in, and the loop that accepts on them.

use super::config::{Kind, Port, StandIn};
use super::echo::{self, Sighting, canonical};
use super::http;
use lictor_model::Protocol;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const BACKLOG: i32 = 1024;
/// How long the start of a connection may look like a request that is not complete.
const DETECTION: Duration = Duration::from_millis(200);
const DETECTION_STEP: Duration = Duration::from_millis(10);
/// How long an accept waits when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// What a stand-in listens on, and what it does not.
#[derive(Debug, Default)]
pub struct Bound {
    /// The ports that are served.
    pub served: Vec<Port>,
    /// The ports that the kernel has no protocol for, with its word.
    pub unserved: Vec<(Port, io::Error)>,
}

/// Runs a stand-in in the network namespace of the calling thread; does not return while it serves.
///
/// `listening` is called once every socket is open. Errors: a port that is taken or not allowed. A
/// protocol that the kernel lacks (SCTP, often) is not an error; it is in [`Bound::unserved`].
pub fn run(stand_in: &StandIn, listening: impl FnOnce(&Bound)) -> io::Result<()> {
    let mut sockets = Vec::new();
    let mut bound = Bound::default();
    for port in &stand_in.ports {
        match open(port) {
            Ok(socket) => {
                bound.served.push(*port);
                sockets.push((port.kind, socket));
            }
            Err(error) if port.protocol == Protocol::Sctp && is_missing(&error) => bound.unserved.push((*port, error)),
            Err(error) => {
                let what = format!("cannot listen on {}/{}: {error}", port.port, port.protocol);
                return Err(io::Error::new(error.kind(), what));
            }
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let pod: Arc<str> = stand_in.pod.as_str().into();
        for (kind, socket) in sockets {
            match kind {
                Kind::Udp => drop(tokio::spawn(echo::udp(UdpSocket::from_std(socket.into())?, pod.to_string()))),
                kind => drop(tokio::spawn(accept(TcpListener::from_std(socket.into())?, kind, pod.clone()))),
            }
        }
        listening(&bound);
        std::future::pending().await
    })
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT | libc::EAFNOSUPPORT))
}

/// A bound socket for a port, on every address of both families (of IPv4 only, where there is no IPv6).
fn open(port: &Port) -> io::Result<Socket> {
    let (r#type, protocol) = match port.protocol {
        Protocol::Udp => (Type::DGRAM, socket2::Protocol::UDP),
        Protocol::Tcp => (Type::STREAM, socket2::Protocol::TCP),
        other => (Type::STREAM, socket2::Protocol::from(i32::from(other.number()))),
    };
    let socket = match Socket::new(Domain::IPV6, r#type, Some(protocol)) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            bind(&socket, (Ipv6Addr::UNSPECIFIED, port.port).into())?;
            socket
        }
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            let socket = Socket::new(Domain::IPV4, r#type, Some(protocol))?;
            bind(&socket, (Ipv4Addr::UNSPECIFIED, port.port).into())?;
            socket
        }
        Err(error) => return Err(error),
    };
    if r#type == Type::STREAM {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    // UDP would share the port with another process by this, not only take it over from a dead one.
    if socket.r#type()? == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())
}

async fn accept(listener: TcpListener, kind: Kind, pod: Arc<str>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(tokio::spawn(connection(stream, canonical(peer), kind, pod.clone()))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// One connection. How it ended is the client's business: there is nobody here to tell.
async fn connection(stream: TcpStream, peer: SocketAddr, kind: Kind, pod: Arc<str>) {
    let _ = stream.set_nodelay(true);
    let http = match kind {
        Kind::Http => true,
        Kind::Detect => opens_with_request(&stream).await.unwrap_or(false),
        Kind::Tcp | Kind::Udp => false,
    };
    if http {
        http::serve(stream, peer, pod).await;
    } else {
        let _ = echo::tcp(stream, Sighting { pod: pod.to_string(), peer }).await;
    }
}

/// Whether a connection's first bytes are the start of an HTTP request.
async fn opens_with_request(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; http::LONGEST_METHOD];
    let mut left = DETECTION;
    loop {
        let length = stream.peek(&mut start).await?;
        match http::starts_like_request(start.get(..length).unwrap_or_default()) {
            Some(known) => return Ok(known),
            None if left.is_zero() => return Ok(false),
            // Peeked bytes stay readable, so readiness cannot tell when more have come.
            None => tokio::time::sleep(DETECTION_STEP).await,
        }
        left = left.saturating_sub(DETECTION_STEP);
    }
}
