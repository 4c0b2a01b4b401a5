//! Connections that know what their clients have proven.
//!
//! Source: SPIFFE Broker Endpoint, sections 3.1 and 5: mutual TLS with X509-SVIDs, on the unix socket as well.

use super::audit::{Asked, Audit};
use crate::process::Process;
use futures::{Stream, StreamExt};
use lictor_model::SpiffeId;
use lictor_pki::tls::ConfigCache;
use rustls_pki_types::CertificateDer;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::Status;
use tonic::transport::server::Connected;

/// Handshakes at a time; a client that is slow must not keep others out.
const HANDSHAKES: usize = 64;

/// For a handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// After the listener fails for want of memory or descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// A connection after its handshake.
pub(super) struct Secured {
    stream: TlsStream<UnixStream>,
    client: Client,
}

/// The other end of a connection, as every request of it sees it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The chain that it has shown, leaf first; the handshake has proven that it has the leaf's key.
    pub(super) chain: Arc<[CertificateDer<'static>]>,
    /// Whether the process that connected numbers processes as the node does. Where that is not known, it does not.
    pub(super) numbers_as_we_do: bool,
}

/// The connections whose handshakes succeed, as they come.
pub(super) fn incoming(
    listener: UnixListener,
    configs: ConfigCache,
    endpoint: SpiffeId,
    audit: Audit,
) -> impl Stream<Item = io::Result<Secured>> + Send {
    let (configs, endpoint) = (Arc::new(configs), Arc::new(endpoint));
    let accepted = futures::stream::unfold(listener, |listener| async { Some((accept(&listener).await, listener)) });
    accepted
        .map(move |stream| {
            let (configs, endpoint, audit) = (Arc::clone(&configs), Arc::clone(&endpoint), audit.clone());
            async move {
                let secured = secure(stream, &configs, &endpoint).await;
                secured.inspect_err(|status| audit.refused(&Asked::default(), status)).ok()
            }
        })
        .buffer_unordered(HANDSHAKES)
        .filter_map(|secured| std::future::ready(secured.map(Ok)))
}

/// The next connection. A failure to accept is not the end of the service: it waits and goes on.
async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "no connection to the Broker API was accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// The status is told to nobody but the log: without a handshake there is no gRPC yet.
async fn secure(stream: UnixStream, configs: &ConfigCache, endpoint: &SpiffeId) -> Result<Secured, Status> {
    // Now, while the process that has connected is most likely still there.
    let numbers_as_we_do = Process::of_peer(&stream).and_then(|process| process.numbers_as_we_do());
    let config = configs.server(endpoint).map_err(|error| Status::unavailable(error.to_string()))?;
    let handshake = tokio::time::timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await;
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Status::unauthenticated(format!("no handshake: {error}"))),
        Err(_) => return Err(Status::unauthenticated("the handshake took too long")),
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let client = Client {
        chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        numbers_as_we_do: numbers_as_we_do.unwrap_or_else(|error| {
            tracing::info!(%error, "a client of the Broker API may refer to no process");
            false
        }),
    };
    Ok(Secured { stream, client })
}

impl Connected for Secured {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
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
