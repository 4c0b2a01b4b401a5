//! Sockets of the DNS server, and the loops that answer on them.

use super::forward::{Transport, Upstreams};
use super::gate::Gate;
use super::message::{Answer, Code, IN, LONGEST, Query, kind};
use super::zone::{Found, Zone};
use lictor_model::Protocol;
use socket2::{Domain, Socket, Type};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

const BACKLOG: i32 = 256;
/// How many questions may be with other resolvers at a time; further ones fail.
const MOST_FORWARDED: usize = 256;
/// How many TCP connections are held; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 128;
/// How long a TCP connection may be idle (RFC 7766 section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// The sockets of a DNS server.
#[derive(Debug)]
pub struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Sockets {
    /// Sockets for UDP and TCP on each address, in the network namespace of the calling thread.
    pub fn bind(addresses: &[IpAddr], port: u16) -> io::Result<Self> {
        let mut sockets = Self { udp: Vec::new(), tcp: Vec::new() };
        for address in addresses {
            let address = SocketAddr::new(*address, port);
            let open = |r#type| -> io::Result<Socket> {
                let socket = Socket::new(Domain::for_address(address), r#type, None)?;
                socket.set_nonblocking(true)?;
                if address.is_ipv6() {
                    socket.set_only_v6(true)?;
                }
                if r#type == Type::STREAM {
                    socket.set_reuse_address(true)?;
                }
                socket.bind(&address.into())?;
                Ok(socket)
            };
            sockets.udp.push(open(Type::DGRAM)?.into());
            let listener = open(Type::STREAM)?;
            listener.listen(BACKLOG)?;
            sockets.tcp.push(listener.into());
        }
        Ok(sockets)
    }
}

#[derive(Debug)]
struct Server {
    zones: watch::Receiver<Arc<Zone>>,
    upstreams: Upstreams,
    gate: Option<Gate>,
    forwarded: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Who asks, and where.
struct Asking {
    client: SocketAddr,
    server: SocketAddr,
    transport: Transport,
}

/// What became of a query.
enum Outcome {
    Now(Vec<u8>),
    /// Nothing is to be sent.
    Silence,
    /// Others are to be asked first.
    Later(Query, Later, OwnedSemaphorePermit),
}

enum Later {
    Relay,
    Alias(Answer, super::DnsName),
}

/// Answers queries from the newest zone; questions about other zones from `upstreams`, which are asked from
/// the network namespace of the calling thread. A `gate` is asked about each name, and hears of each answer before it is
/// given. Runs until it is dropped.
///
/// Errors: the sockets cannot be used by this runtime.
pub async fn serve(
    sockets: Sockets,
    zones: watch::Receiver<Arc<Zone>>,
    upstreams: Upstreams,
    gate: Option<Gate>,
) -> io::Result<()> {
    let server = Arc::new(Server {
        zones,
        upstreams,
        gate,
        forwarded: Arc::new(Semaphore::new(MOST_FORWARDED)),
        connections: Arc::new(Semaphore::new(MOST_CONNECTIONS)),
    });
    let mut tasks = JoinSet::new();
    for socket in sockets.udp {
        tasks.spawn(over_udp(server.clone(), Arc::new(tokio::net::UdpSocket::from_std(socket)?)));
    }
    for listener in sockets.tcp {
        tasks.spawn(over_tcp(server.clone(), tokio::net::TcpListener::from_std(listener)?));
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn over_udp(server: Arc<Server>, socket: Arc<tokio::net::UdpSocket>) {
    let mut waiting = JoinSet::new();
    let mut message = vec![0; LONGEST];
    let Ok(own) = socket.local_addr() else { return };
    loop {
        while waiting.try_join_next().is_some() {}
        let Ok((length, client)) = socket.recv_from(&mut message).await else {
            // An earlier answer's that came back, or no memory: the socket is well.
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let asked = message.get(..length).unwrap_or_default();
        let asking = Asking { client, server: own, transport: Transport::Udp };
        match server.answer(asked, &asking) {
            Outcome::Now(answer) => send(&socket, &answer, client).await,
            Outcome::Silence => {}
            Outcome::Later(query, later, permit) => {
                let (server, socket, message) = (server.clone(), socket.clone(), asked.to_vec());
                waiting.spawn(async move {
                    let answer = server.answer_later(&query, &message, later, &asking).await;
                    drop(permit);
                    send(&socket, &answer, client).await;
                });
            }
        }
    }
}

async fn send(socket: &tokio::net::UdpSocket, answer: &[u8], client: SocketAddr) {
    // A client that is gone does not miss it.
    let _ = socket.send_to(answer, client).await;
}

async fn over_tcp(server: Arc<Server>, listener: tokio::net::TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = server.connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let server = server.clone();
                connections.spawn(async move {
                    // How a connection ends is the client's business.
                    let _ = connection(&server, stream, client).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Messages with their length before them (RFC 1035 section 4.2.2), answered in their order.
async fn connection(server: &Server, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
    let asking = Asking { client, server: stream.local_addr()?, transport: Transport::Tcp };
    loop {
        let length = in_time(stream.read_u16()).await?;
        let mut message = vec![0; usize::from(length)];
        in_time(stream.read_exact(&mut message)).await?;
        let answer = match server.answer(&message, &asking) {
            Outcome::Now(answer) => answer,
            Outcome::Silence => return Ok(()),
            Outcome::Later(query, later, _permit) => server.answer_later(&query, &message, later, &asking).await,
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        in_time(stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())).await?;
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(IDLE, step).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

impl Server {
    fn answer(&self, message: &[u8], asking: &Asking) -> Outcome {
        let transport = asking.transport;
        let query = match Query::read(message) {
            Ok(query) => query,
            Err(Some(refusal)) => return Outcome::Now(refusal),
            Err(None) => return Outcome::Silence,
        };
        if ![IN, kind::ANY].contains(&query.class) || [kind::AXFR, kind::IXFR].contains(&query.kind) {
            return Outcome::Now(self.write(&query, &Answer::bare(Code::Refused), transport));
        }
        if let Some(gate) = &self.gate {
            let protocol = if transport == Transport::Udp { Protocol::Udp } else { Protocol::Tcp };
            if !gate.may_ask(asking.client, asking.server, protocol, &query.name.to_string()) {
                return Outcome::Now(self.write(&query, &Answer::bare(Code::Refused), transport));
            }
        }
        let found = self.zones.borrow().find(&query, usize::from(query.id));
        let later = match found {
            Found::Answer(answer) => return Outcome::Now(self.write(&query, &answer, transport)),
            Found::Alias(answer, _) if self.upstreams.is_empty() => {
                return Outcome::Now(self.write(&query, &answer, transport));
            }
            Found::Elsewhere if self.upstreams.is_empty() => {
                return Outcome::Now(self.write(&query, &Answer::bare(Code::Refused), transport));
            }
            Found::Alias(start, target) => Later::Alias(start, target),
            Found::Elsewhere => Later::Relay,
        };
        match self.forwarded.clone().try_acquire_owned() {
            Ok(permit) => Outcome::Later(query, later, permit),
            Err(_) => Outcome::Now(self.write(&query, &Answer::bare(Code::ServerFailure), transport)),
        }
    }

    async fn answer_later(&self, query: &Query, message: &[u8], later: Later, asking: &Asking) -> Vec<u8> {
        let transport = asking.transport;
        let failure = || self.write(query, &Answer::bare(Code::ServerFailure), transport);
        let answer = match later {
            Later::Relay => self.upstreams.ask(message, transport).await.unwrap_or_else(failure),
            Later::Alias(mut answer, target) => match self.upstreams.look_up(&target, query.kind).await {
                Some(records) => {
                    answer.answers.extend(records);
                    self.write(query, &answer, transport)
                }
                None => failure(),
            },
        };
        match &self.gate {
            Some(gate) if !gate.learn(asking.client.ip(), &query.name.to_string(), &answer).await => failure(),
            _ => answer,
        }
    }

    fn write(&self, query: &Query, answer: &Answer, transport: Transport) -> Vec<u8> {
        let limit = if transport == Transport::Udp { query.udp_limit() } else { LONGEST };
        query.answer(answer, limit, !self.upstreams.is_empty())
    }
}
