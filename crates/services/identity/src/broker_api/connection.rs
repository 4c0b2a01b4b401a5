//! Connections that know what their clients have proven.
//!
//! Source: SPIFFE Broker Endpoint, sections 3.1 and 5: mutual TLS with X509-SVIDs, on the unix socket as well.

use super::audit::{Asked, Audit};
use crate::process::Process;
use crate::unix_server::{Accepted, accept};
use futures::{Stream, StreamExt};
use lictor_model::SpiffeId;
use lictor_pki::tls::ConfigCache;
use rustls_pki_types::CertificateDer;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::Status;

/// Handshakes at a time; a client that is slow must not keep others out.
const HANDSHAKES: usize = 64;

/// For a handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection after its handshake.
pub(super) type Secured = Accepted<TlsStream<UnixStream>, Client>;

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
    let accepted =
        futures::stream::unfold(listener, |listener| async { Some((accept(&listener, "Broker API").await, listener)) });
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
    Ok(Accepted::new(stream, client))
}
