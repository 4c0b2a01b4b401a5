//! A connection of a node: who it has proven to be, and for how long a connection of nobody may last.

use super::node_name::NodeName;
use lictor_model::{SpiffeId, TrustDomain};
use lictor_pki::{serial_number, tls};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// For whoever shows no certificate: it is here to join, which is one request.
const STRANGER: Duration = Duration::from_secs(30);

/// Who is at the other end, as every request of the connection sees it.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    /// Somebody who has shown no certificate.
    Nobody,
    /// A node of the trust domain.
    Node(Shown),
    /// Somebody of a trust domain that is believed, and no node.
    Another(SpiffeId),
}

/// A node by the certificate that it has shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) node: NodeName,
    pub(super) serial: String,
    pub(super) not_after: OffsetDateTime,
}

/// An accepted connection after its handshake.
pub(super) struct Accepted {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// When the connection ends, if its peer is nobody.
    end: Option<Pin<Box<Sleep>>>,
    _seat: OwnedSemaphorePermit,
}

impl Accepted {
    pub(super) fn new(stream: TlsStream<TcpStream>, own: &TrustDomain, seat: OwnedSemaphorePermit) -> Self {
        let peer = Peer::of(&stream, own);
        let end = matches!(peer, Peer::Nobody).then(|| Box::pin(tokio::time::sleep(STRANGER)));
        Self { stream, peer, end, _seat: seat }
    }

    /// Whether its time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready())
    }
}

impl Peer {
    /// The handshake has verified the certificate; this reads what it names.
    fn of(stream: &TlsStream<TcpStream>, own: &TrustDomain) -> Self {
        let (_, connection) = stream.get_ref();
        let Some(id) = tls::peer_identity(connection) else { return Self::Nobody };
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        let shown = leaf.and_then(|leaf| {
            let node = NodeName::of(&id, own)?;
            Some(Shown { node, serial: serial_number(leaf)?, not_after: lictor_pki::not_after(leaf)? })
        });
        shown.map_or(Self::Another(id), Self::Node)
    }
}

impl Connected for Accepted {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.poll_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
