//! Tunnels: HTTP/2 over mutual TLS, one `CONNECT` stream for each connection within.
//!
//! Source: Istio's HBONE as ztunnel speaks it: TLS 1.3, ALPN `h2`, `:authority` is the inner destination.

use crate::tunnel::{Slot, TunnelStream};
use crate::window::{self, Taken, Window};
use crate::wire::Wire;
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use h2::server::SendResponse;
use http::{Method, Request, StatusCode, Version};
use lictor_model::SpiffeId;
use lictor_pki::tls::{no_name, peer_identity};
use rustls::{ClientConfig, ServerConfig};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The largest frame that this end takes. A frame is passed on only once it is here as a whole.
///
/// With its head it is four TLS records, which is as much as rustls takes at a time: nine bytes more would be a record,
/// and a system call, of their own.
const FRAME: u32 = (64 << 10) - 9;
/// What one stream may have waiting to be sent.
const SEND_AHEAD: usize = 512 << 10;
/// A CONNECT request has few headers; ztunnel's limit.
const HEADERS: u32 = 64 << 10;
/// Memory for the frames (not the bytes) that wait: applications that write little at a time are slow ones' company.
const FRAME_BUDGET: usize = 64 << 20;

/// The opening end's TLS connection.
type ClientTls = client::TlsStream<Wire>;
/// The accepting end's TLS connection.
pub(crate) type ServerTls = server::TlsStream<Wire>;

/// Why a tunnel was not made, or not given a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("cannot reach {peer}: {error}")]
    Unreachable { peer: SocketAddr, error: io::Error },
    #[error("no handshake with {peer} within {seconds} s")]
    Slow { peer: SocketAddr, seconds: u64 },
    #[error("handshake with {peer}: {error}")]
    Handshake { peer: SocketAddr, error: io::Error },
    #[error("HTTP/2 with {peer}: {error}")]
    Http2 { peer: SocketAddr, error: h2::Error },
    #[error(transparent)]
    Identity(#[from] lictor_pki::tls::ConfigError),
    #[error("the destination's proxy answered {0}")]
    Refused(StatusCode),
}

/// The opening end of a tunnel, to ask for streams.
#[derive(Debug, Clone)]
pub(crate) struct Tunnel {
    peer: SocketAddr,
    requests: SendRequest<Bytes>,
    taken: Taken,
}

impl Tunnel {
    /// Handshakes with a peer's proxy. `tcp` is connected.
    pub(crate) async fn open(tcp: TcpStream, peer: SocketAddr, config: Arc<ClientConfig>) -> Result<Self, TunnelError> {
        let wire = Wire::new(tcp);
        let tls = TlsConnector::from(config).connect(no_name(), wire).await;
        let tls = tls.map_err(|error| TunnelError::Handshake { peer, error })?;
        let handshake = h2::client::Builder::new()
            .initial_window_size(window::FIRST)
            .initial_connection_window_size(window::CONNECTION)
            .max_frame_size(FRAME)
            .max_send_buffer_size(SEND_AHEAD)
            .max_header_list_size(HEADERS)
            .data_frame_budget(FRAME_BUDGET)
            .enable_push(false)
            .handshake::<_, Bytes>(tls)
            .await;
        let (requests, connection) = handshake.map_err(|error| TunnelError::Http2 { peer, error })?;
        let taken = drive(connection);
        Ok(Self { peer, requests, taken })
    }

    /// Whether both are handles of one tunnel.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.taken, &other.taken)
    }

    /// Whether streams can still be opened in it; the peer may have said goodbye.
    pub(crate) fn is_open(&mut self) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        !matches!(self.requests.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Asks for a connection to `target`.
    pub(crate) async fn connect(&self, target: SocketAddr, slot: Slot) -> Result<TunnelStream, TunnelError> {
        let broken = |error| TunnelError::Http2 { peer: self.peer, error };
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = authority(target);
        let mut requests = self.requests.clone().ready().await.map_err(broken)?;
        let (response, send) = requests.send_request(request, false).map_err(broken)?;
        let response = response.await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(TunnelError::Refused(response.status()));
        }
        Ok(TunnelStream::new(send, response.into_body(), self.taken.clone(), slot))
    }
}

/// `address:port` as a request target; a socket address is always one.
fn authority(target: SocketAddr) -> http::Uri {
    http::Uri::builder().authority(target.to_string()).build().unwrap_or_default()
}

/// Runs the connection until both ends are done with it: the last handle and the last stream are gone.
fn drive(mut connection: h2::client::Connection<ClientTls, Bytes>) -> Taken {
    let mut window = connection.ping_pong().map(Window::new);
    let taken = window.as_ref().map(Window::taken).unwrap_or_default();
    tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| {
            let poll = Pin::new(&mut connection).poll(cx);
            if poll.is_pending()
                && let Some(larger) = window.as_mut().and_then(|window| window.poll(cx))
            {
                // It fails while an earlier change is not acknowledged; the next one is larger still.
                let _ = connection.set_initial_window_size(larger);
            }
            poll
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a tunnel ended");
        }
    });
    taken
}

/// The accepting end of a tunnel.
pub(crate) struct Accepted {
    connection: h2::server::Connection<ServerTls, Bytes>,
    window: Option<Window>,
    taken: Taken,
    /// Who opened it, as its certificate proves.
    pub(crate) peer: SpiffeId,
}

/// Handshakes with a client.
///
/// # Errors
/// What TLS or HTTP/2 object to; the peer was told by an alert.
pub(crate) async fn accept(tcp: TcpStream, config: Arc<ServerConfig>, streams: u32) -> io::Result<Accepted> {
    let wire = Wire::new(tcp);
    let tls = TlsAcceptor::from(config).accept(wire).await?;
    let session = tls.get_ref().1;
    // ALPN is only settled where the client offered one: HTTP/1 on this port is nobody's.
    let peer = match (peer_identity(session), session.alpn_protocol()) {
        (Some(peer), Some(b"h2")) => peer,
        (Some(_), _) => return Err(io::Error::other("expected the application protocol h2")),
        (None, _) => return Err(io::Error::other("expected an identity in the client's certificate")),
    };
    let handshake = h2::server::Builder::new()
        .initial_window_size(window::FIRST)
        .initial_connection_window_size(window::CONNECTION)
        .max_frame_size(FRAME)
        .max_send_buffer_size(SEND_AHEAD)
        .max_header_list_size(HEADERS)
        .max_concurrent_streams(streams)
        .data_frame_budget(FRAME_BUDGET)
        .handshake(tls)
        .await;
    let mut connection = handshake.map_err(io::Error::other)?;
    let window = connection.ping_pong().map(Window::new);
    let taken = window.as_ref().map(Window::taken).unwrap_or_default();
    Ok(Accepted { connection, window, taken, peer })
}

impl Accepted {
    /// The next request; nothing when the client is done. It has to be called again and again: it is what moves
    /// the bytes of all streams.
    pub(crate) async fn next(&mut self) -> Option<Result<(Request<RecvStream>, Answer), h2::Error>> {
        let Self { connection, window, taken, .. } = self;
        let next = poll_fn(|cx| {
            let poll = connection.poll_accept(cx);
            if poll.is_pending()
                && let Some(larger) = window.as_mut().and_then(|window| window.poll(cx))
            {
                let _ = connection.set_initial_window_size(larger);
            }
            poll
        });
        let next = next.await?;
        Some(next.map(|(request, respond)| (request, Answer { respond, taken: taken.clone() })))
    }

    /// Lets the streams that are open end, and accepts no others.
    pub(crate) fn say_goodbye(&mut self) {
        self.connection.graceful_shutdown();
    }
}

/// The answer to a `CONNECT` that is still owed.
pub(crate) struct Answer {
    respond: SendResponse<Bytes>,
    taken: Taken,
}

impl Answer {
    /// 200: what follows is the connection.
    pub(crate) fn accept(mut self, body: RecvStream) -> io::Result<TunnelStream> {
        let send = self.respond.send_response(http::Response::new(()), false).map_err(io::Error::other)?;
        Ok(TunnelStream::new(send, body, self.taken, None))
    }

    /// Any other status.
    pub(crate) fn refuse(mut self, status: StatusCode) {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        if let Err(error) = self.respond.send_response(response, true) {
            tracing::debug!(%error, "a tunnel's client was gone before its answer");
        }
    }
}
