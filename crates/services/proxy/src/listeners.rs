//! A pod's listeners, and what comes of each connection that they accept.

use crate::hbone;
use crate::pod::{Known, Pod, Seat};
use crate::settings::ports;
use crate::socket::{self, Reach};
use crate::worker::{Command, Worker};
use crate::{inbound, outbound, plaintext};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// After a listener fails for want of memory or descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// A tunnel's connection, before its handshake.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The pod that it came to.
    pub(crate) pod: Arc<Known>,
    client: std::net::TcpStream,
    peer: SocketAddr,
    seat: Seat,
    permit: OwnedSemaphorePermit,
}

impl Worker {
    pub(crate) fn listen(self: &Rc<Self>, pod: &Rc<Pod>) -> io::Result<()> {
        let outbound = socket::listen(&pod.namespace, ports::OUTBOUND, Reach::ThisNode)?;
        let plaintext = socket::listen(&pod.namespace, ports::PLAINTEXT, Reach::Anywhere)?;
        let tunnel = socket::listen(&pod.namespace, ports::TUNNEL, Reach::Anywhere)?;
        pod.spawn(Rc::clone(self).accept_outbound(Rc::clone(pod), outbound));
        pod.spawn(Rc::clone(self).accept_plaintext(Rc::clone(pod), plaintext));
        pod.spawn(Rc::clone(self).accept_tunnels(Rc::clone(pod), tunnel));
        Ok(())
    }

    async fn accept_outbound(self: Rc<Self>, pod: Rc<Pod>, listener: TcpListener) {
        loop {
            let (client, peer) = next(&listener).await;
            let Some(seat) = self.seat(&pod, &client) else { continue };
            self.metrics().outbound_connections.increment();
            match redirected(&client) {
                Some(destination) => {
                    let serve = outbound::serve(Rc::clone(&self), Rc::clone(&pod), client, peer, destination);
                    pod.spawn(hold(seat, serve));
                }
                None => socket::reset_on_close(&client),
            }
        }
    }

    async fn accept_plaintext(self: Rc<Self>, pod: Rc<Pod>, listener: TcpListener) {
        loop {
            let (client, peer) = next(&listener).await;
            let Some(seat) = self.seat(&pod, &client) else { continue };
            self.metrics().plaintext_connections.increment();
            match redirected(&client) {
                Some(destination) => {
                    let serve = plaintext::serve(Rc::clone(&self), Rc::clone(&pod), client, peer, destination);
                    pod.spawn(hold(seat, serve));
                }
                None => socket::reset_on_close(&client),
            }
        }
    }

    async fn accept_tunnels(self: Rc<Self>, pod: Rc<Pod>, listener: TcpListener) {
        let handshakes = Arc::new(Semaphore::new(self.settings.pending_handshakes));
        loop {
            // It is never closed.
            let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
            let (client, peer) = next(&listener).await;
            let Some(seat) = self.seat(&pod, &client) else { continue };
            socket::watch_closely(&client);
            let Ok(client) = client.into_std() else { continue };
            let incoming = Incoming { pod: Arc::clone(&pod.known), client, peer, seat, permit };
            // Both ends of a tunnel within the node are on one thread: waking another one for every message, there and
            // back, costs more than all the rest.
            let source = self.view().snapshot.pod_at(peer.ip()).map(|source| source.name.clone());
            match source.and_then(|source| self.neighbours.other_with(&source)) {
                Some(other) => {
                    self.metrics().tunnels_handed_over.increment();
                    // A worker that has ended needs no tunnels.
                    let _ = other.send(Command::Tunnel(incoming));
                }
                None => self.serve_tunnel(&pod, incoming),
            }
        }
    }

    /// Serves a tunnel into a pod, at home here or not, as long as the pod is there.
    pub(crate) fn serve_tunnel(self: &Rc<Self>, pod: &Rc<Pod>, incoming: Incoming) {
        let Incoming { client, peer, seat, permit, .. } = incoming;
        // Fails only for want of memory; the client sees its connection end.
        let Ok(client) = TcpStream::from_std(client) else { return };
        let (worker, served) = (Rc::clone(self), Rc::clone(pod));
        pod.spawn(hold(seat, async move {
            match worker.handshake(&served, client).await {
                Ok(accepted) => {
                    drop(permit);
                    worker.metrics().tunnels_accepted.increment();
                    inbound::serve(worker, served, accepted, peer).await;
                }
                Err(error) => {
                    worker.metrics().accepting_handshakes_failed.increment();
                    tracing::debug!(pod = %served.name, %peer, %error, "no tunnel");
                }
            }
        }));
    }

    async fn handshake(&self, pod: &Pod, client: TcpStream) -> io::Result<hbone::Accepted> {
        let config = self.tls.server(&pod.identity).map_err(io::Error::other)?;
        let accept = hbone::accept(client, config, self.settings.accepted_streams_per_tunnel);
        tokio::time::timeout(self.settings.handshake_time, accept).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// A place for a connection that was accepted; without one it is reset.
    fn seat(&self, pod: &Pod, client: &TcpStream) -> Option<Seat> {
        let seat = pod.seat(self.settings.connections_per_pod);
        if seat.is_none() {
            self.metrics().over_connection_limit.increment();
            socket::reset_on_close(client);
        }
        seat
    }
}

/// The next connection. A listener that is out of descriptors takes a breath instead of spinning.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                socket::prepare(&client);
                return (client, socket::canonical(peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Where a connection was going before it was redirected here. One that was opened to the proxy's own port
/// was not, and has no business here.
fn redirected(client: &TcpStream) -> Option<SocketAddr> {
    let original = socket::original_destination(client).ok()?;
    let local = client.local_addr().ok().map(socket::canonical);
    (Some(original) != local).then_some(original)
}

async fn hold(seat: Seat, task: impl Future<Output = ()>) {
    task.await;
    drop(seat);
}
