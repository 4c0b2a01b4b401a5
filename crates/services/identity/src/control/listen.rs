//! Connections of nodes: accepted, and their handshakes made beside each other, so that a slow one keeps nobody waiting.

use super::connection::Accepted;
use crate::ca::Ca;
use futures::Stream;
use lictor_model::{SpiffeId, TrustDomain};
use lictor_pki::tls::node::{Clock, server_config};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

/// Connections at a time; a node has one, and for a moment a second one.
const CONNECTIONS: usize = 8192;

/// For a handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// After the listener fails for want of memory or descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Every connection whose handshake is done, for as long as the stream is kept.
pub(super) fn incoming(
    listener: TcpListener,
    ca: &Ca,
    own: SpiffeId,
) -> Result<impl Stream<Item = io::Result<Accepted>> + Send + 'static, rustls::Error> {
    let clock: Clock = {
        let ca = ca.clone();
        Arc::new(move || ca.now())
    };
    let trust_domain = own.trust_domain();
    let tls = TlsAcceptor::from(Arc::new(server_config(ca.keyring(), own, clock)?));
    let (done, accepted) = mpsc::channel(64);
    tokio::spawn(accept(listener, tls, trust_domain, done));
    Ok(futures::stream::unfold(accepted, |mut accepted| async move {
        let next = accepted.recv().await?;
        Some((Ok(next), accepted))
    }))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, own: TrustDomain, done: mpsc::Sender<Accepted>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = done.closed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                tokio::spawn(shake_hands(tls.clone(), client, own.clone(), seat, done.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "control cannot accept");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn shake_hands(
    tls: TlsAcceptor,
    client: TcpStream,
    own: TrustDomain,
    seat: OwnedSemaphorePermit,
    done: mpsc::Sender<Accepted>,
) {
    let from = client.peer_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
    // Small messages that somebody waits for.
    client.set_nodelay(true).ok();
    match tokio::time::timeout(PATIENCE, tls.accept(client)).await {
        // If nobody receives it, control is stopping.
        Ok(Ok(stream)) => drop(done.send(Accepted::new(stream, &own, seat)).await),
        Ok(Err(error)) => tracing::info!(%from, %error, "no handshake with a node"),
        Err(_) => tracing::info!(%from, "a handshake with a node took too long"),
    }
}
