//! A connection that has arrived at its pod: what the policies say of it, and the way to the application.

use crate::hop::{Hop, serve_http};
use crate::live::Question;
use crate::pod::Pod;
use crate::policy::{Ask, Inbound, Limits, Ruling, Transport, View};
use crate::record::{self, Subject};
use crate::relay::{Sink, Stream, carry};
use crate::sni::{Hello, server_name};
use crate::sniff::{ENOUGH, Sniffed, sniff};
use crate::socket::{self, Reach};
use crate::tunnel::Rewound;
use crate::worker::Worker;
use bytes::BytesMut;
use lictor_authz::AppProtocol;
use lictor_model::{Direction, SpiffeId};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection that was not answered yet.
pub(crate) trait Arrival {
    /// What it is once it is accepted.
    type Stream: Stream;
    /// Takes it.
    fn accept(self) -> io::Result<Self::Stream>;
    /// Does not.
    fn refuse(self, why: Refusal);
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// By policy.
    Denied,
    /// The application does not take it.
    Unreachable,
}

/// What is spoken on a connection, as far as it matters to policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Whatever it is, no rule speaks of it, or it is declared not to be HTTP.
    Any,
    /// It is declared to be HTTP.
    Http,
    /// The first bytes tell.
    PerhapsHttp,
    /// Rules speak only of the server name that a TLS client asks for.
    PerhapsTls,
}

/// A connection into a pod, and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) worker: Rc<Worker>,
    pub(crate) pod: Rc<Pod>,
    pub(crate) inbound: Rc<Inbound>,
    pub(crate) peer: SocketAddr,
}

/// Asks the policies about a connection and carries it, or its requests, to the application.
pub(crate) async fn deliver<A: Arrival>(
    worker: Rc<Worker>,
    pod: Rc<Pod>,
    arrival: A,
    inbound: Inbound,
    peer: SocketAddr,
) {
    let delivery = Delivery { worker, pod, inbound: Rc::new(inbound), peer };
    match delivery.protocol() {
        Protocol::Any => delivery.connection(arrival).await,
        protocol => delivery.by_first_bytes(arrival, protocol).await,
    }
}

impl Delivery {
    fn protocol(&self) -> Protocol {
        let (view, port) = (self.worker.view(), self.inbound.destination.port());
        let known = view.snapshot.pods.get(&self.pod.name);
        let declared = known.filter(|_| view.speaks_of_http(&self.inbound));
        match declared.map(|pod| AppProtocol::of(&view.snapshot, pod, port)) {
            Some(AppProtocol::Http | AppProtocol::Http2) => return Protocol::Http,
            Some(AppProtocol::Undeclared) => return Protocol::PerhapsHttp,
            Some(AppProtocol::Other) | None => {}
        }
        match view.limits(&self.inbound) {
            // A rule about requests takes the port for one of HTTP, whatever it is declared to be.
            Some(Limits::Http) => Protocol::PerhapsHttp,
            Some(Limits::Others) => Protocol::PerhapsTls,
            None if view.speaks_of_sni(&self.inbound) => Protocol::PerhapsTls,
            None => Protocol::Any,
        }
    }

    async fn connection(self, arrival: impl Arrival) {
        let view = self.worker.view();
        let ruling = view.inbound(&self.inbound, Ask::Connection);
        let allowed = ruling.verdict.is_allow();
        let decision = self.record(&view, ruling);
        if !allowed {
            return arrival.refuse(Refusal::Denied);
        }
        let open = self.worker.open(&view, Question::Connection(Rc::clone(&self.inbound)), Some(decision));
        match self.connect().await {
            Err(_) => arrival.refuse(Refusal::Unreachable),
            Ok(server) => {
                if let Ok(client) = arrival.accept() {
                    carry(&open, client.into_ends(), server.into_ends()).await;
                }
            }
        }
    }

    /// Rules speak of what is within the connection, so it is taken first and its first bytes are looked at.
    async fn by_first_bytes(mut self, arrival: impl Arrival, protocol: Protocol) {
        let view = self.worker.view();
        let ruling = view.inbound(&self.inbound, Ask::Later);
        if !ruling.verdict.is_allow() {
            self.record(&view, ruling);
            return arrival.refuse(Refusal::Denied);
        }
        let carrier = self.worker.open(&view, Question::Carrier(Rc::clone(&self.inbound)), None);
        let Ok(mut client) = arrival.accept() else { return };
        let mut seen = BytesMut::new();
        let first = tokio::select! {
            biased;
            () = carrier.ending.told() => return client.into_ends().sink.abort(),
            first = self.first(&mut client, &mut seen, protocol) => first,
        };
        if let Ok((Sniffed::Tls, _)) = first {
            let sni = tokio::select! {
                biased;
                () = carrier.ending.told() => return client.into_ends().sink.abort(),
                sni = asked_for(&mut client, &mut seen) => sni,
            };
            self.inbound = Rc::new(Inbound { sni, ..(*self.inbound).clone() });
        }
        if let (Ok((_, None)), true) = (&first, seen.is_empty()) {
            return self.nothing_was_asked(client).await;
        }
        let client = Rewound::new(seen.freeze(), client);
        let Ok((sniffed, server)) = first else { return client.into_ends().sink.abort() };
        let is_http = matches!(sniffed, Sniffed::Http1 | Sniffed::Http2) && protocol == Protocol::PerhapsHttp;
        if is_http || protocol == Protocol::Http {
            let hop = Rc::new(Hop::new(self, server));
            tokio::select! {
                biased;
                () = carrier.ending.told() => {}
                () = serve_http(client, sniffed, hop) => {}
            }
        } else {
            drop(carrier);
            self.not_http(client, server).await;
        }
    }

    /// What the client's first bytes begin. Where the client says nothing for a while, the application may be
    /// one that speaks first: it is connected, if the connection as such is allowed, and whoever speaks first tells.
    async fn first(
        &self,
        client: &mut (impl AsyncRead + Unpin),
        seen: &mut BytesMut,
        protocol: Protocol,
    ) -> io::Result<(Sniffed, Option<TcpStream>)> {
        if let Ok(sniffed) = timeout(self.worker.settings.first_bytes_time, first_bytes(client, seen)).await {
            return Ok((sniffed?, None));
        }
        let ruling = self.worker.view().inbound(&self.inbound, Ask::Connection);
        if protocol == Protocol::Http || !ruling.verdict.is_allow() {
            return Ok((first_bytes(client, seen).await?, None));
        }
        let server = self.connect().await?;
        tokio::select! {
            sniffed = first_bytes(client, seen) => Ok((sniffed?, Some(server))),
            readable = server.readable() => readable.map(|()| (Sniffed::Other, Some(server))),
        }
    }

    /// A connection that ends before it says anything, as a check of a port does, is judged as far as it went.
    async fn nothing_was_asked(self, client: impl Stream) {
        let view = self.worker.view();
        let decision = self.record(&view, view.inbound(&self.inbound, Ask::Later));
        let _open = self.worker.open(&view, Question::Carrier(Rc::clone(&self.inbound)), Some(decision));
        // The client may be gone already.
        let _ = client.into_ends().sink.finish().await;
    }

    async fn not_http(self, client: impl Stream, server: Option<TcpStream>) {
        let view = self.worker.view();
        let ruling = view.inbound(&self.inbound, Ask::Connection);
        let allowed = ruling.verdict.is_allow();
        let decision = self.record(&view, ruling);
        let mut client = client.into_ends();
        if !allowed {
            return client.sink.abort();
        }
        let open = self.worker.open(&view, Question::Connection(Rc::clone(&self.inbound)), Some(decision));
        let server = match server {
            Some(server) => Ok(server),
            None => self.connect().await,
        };
        match server {
            Ok(server) => carry(&open, client, server.into_ends()).await,
            Err(_) => client.sink.abort(),
        }
    }

    /// A connection to the application that comes from the client's address; or one to where the pod wanted to go.
    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let Inbound { way, source, destination, .. } = *self.inbound;
        let limit = self.worker.settings.connect_time;
        let (source, reach) = match way {
            Direction::Ingress => (Some(source), Reach::ThisNode),
            Direction::Egress => (None, Reach::Anywhere),
        };
        let connected = socket::connect(&self.pod.namespace, source, destination, reach, limit).await;
        if let Err(error) = &connected {
            self.worker.metrics().unreachable.increment();
            tracing::debug!(pod = %self.pod.name, %destination, %error, "the application does not answer");
        }
        connected
    }

    /// Records what was decided about the connection.
    fn record(&self, view: &View, ruling: Ruling) -> u64 {
        self.worker.record(view, ruling, self.subject(view, None))
    }

    /// What a decision here is about.
    pub(crate) fn subject<'a>(&self, view: &View, request: Option<(&'a str, &'a str, &'a str)>) -> Subject<'a> {
        let own: Option<&SpiffeId> = match self.inbound.transport {
            Transport::Plaintext => None,
            Transport::Tunnel(_) => Some(&self.pod.identity),
        };
        if self.inbound.way == Direction::Egress {
            let source = record::pod(&self.pod.name, self.peer, None);
            let destination = record::party(view, self.inbound.destination);
            return Subject { source, destination, encrypted: false, request };
        }
        Subject {
            source: record::source(view, self.peer, &self.inbound.transport),
            destination: record::pod(&self.pod.name, self.inbound.destination, own),
            encrypted: own.is_some(),
            request,
        }
    }
}

/// Reads until the bytes tell what they begin, or end. Safe to be dropped halfway: what was read is in `seen`.
async fn first_bytes(client: &mut (impl AsyncRead + Unpin), seen: &mut BytesMut) -> io::Result<Sniffed> {
    loop {
        match sniff(seen) {
            Sniffed::Undecided => {}
            sniffed => return Ok(sniffed),
        }
        seen.reserve(4096.max(ENOUGH));
        if client.read_buf(seen).await? == 0 {
            return Ok(Sniffed::Other);
        }
    }
}

/// The server name that a TLS client asks for, once all of its greeting is in `seen`.
async fn asked_for(client: &mut (impl AsyncRead + Unpin), seen: &mut BytesMut) -> Option<Arc<str>> {
    loop {
        match server_name(seen) {
            Hello::Name(name) => return Some(name.into()),
            Hello::NoName => return None,
            Hello::Incomplete => {}
        }
        seen.reserve(4096);
        if !matches!(client.read_buf(seen).await, Ok(1..)) {
            return None;
        }
    }
}
