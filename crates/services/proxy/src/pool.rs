//! The tunnels of one worker, kept for the next connection between the same two pods.

use crate::hbone::{Tunnel, TunnelError};
use crate::metrics::Metrics;
use crate::pod::Pod;
use crate::settings::Settings;
use crate::socket::{self, Reach};
use crate::tunnel::TunnelStream;
use lictor_model::SpiffeId;
use lictor_pki::tls::{ConfigCache, Peers};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The proxy of another pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Remote {
    /// Where it takes tunnels.
    pub(crate) address: SocketAddr,
    /// Who it has to prove to be.
    pub(crate) identity: SpiffeId,
    /// Where it is.
    pub(crate) reach: Reach,
}

/// What a tunnel is for: whose connections it carries, and whom it was opened to.
///
/// The pod is part of it, not only its identity: a tunnel's source address is its pod's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    pod: u64,
    remote: Remote,
}

/// The tunnels of one worker.
#[derive(Debug)]
pub(crate) struct Pool {
    settings: Settings,
    tls: Arc<ConfigCache>,
    metrics: Arc<Metrics>,
    places: RefCell<HashMap<Key, Rc<Place>>>,
}

/// All tunnels for one key. Whoever finds none with room opens one while the others wait for it.
#[derive(Debug, Default)]
struct Place {
    opening: Mutex<()>,
    tunnels: RefCell<Vec<Pooled>>,
}

#[derive(Debug)]
struct Pooled {
    tunnel: Tunnel,
    /// The generation of this end's certificate. A tunnel of an older one gets no new streams.
    generation: u64,
    streams: Arc<()>,
    /// When the sweep first saw it without a stream.
    idle_since: Option<Instant>,
}

/// A stream of a tunnel, counted by the tunnel as long as this lives.
type Occupied = Arc<()>;

impl Pool {
    pub(crate) fn new(settings: Settings, tls: Arc<ConfigCache>, metrics: Arc<Metrics>) -> Self {
        Self { settings, tls, metrics, places: RefCell::default() }
    }

    /// A connection from `pod` to `target` through the proxy of the pod that has `target`'s address.
    pub(crate) async fn connect(
        &self,
        pod: &Pod,
        remote: &Remote,
        target: SocketAddr,
    ) -> Result<TunnelStream, TunnelError> {
        let peer = remote.address;
        let key = Key { pod: pod.number, remote: remote.clone() };
        let place = Rc::clone(self.places.borrow_mut().entry(key).or_default());
        let mut fresh = false;
        loop {
            let (tunnel, occupied) = match self.find(&place, pod) {
                Some(found) => found,
                None => {
                    let _opening = place.opening.lock().await;
                    match self.find(&place, pod) {
                        Some(found) => found,
                        None => {
                            let mut opened = self.open(pod, remote).await?;
                            let found = opened.occupy();
                            place.tunnels.borrow_mut().push(opened);
                            fresh = true;
                            found
                        }
                    }
                }
            };
            let seconds = self.settings.connect_time.as_secs();
            match timeout(self.settings.connect_time, tunnel.connect(target, Some(Arc::new(occupied)))).await {
                Err(_) => return Err(TunnelError::Slow { peer, seconds }),
                Ok(Ok(stream)) => {
                    self.metrics.tunnel_streams_opened.increment();
                    return Ok(stream);
                }
                // The peer closed a tunnel that was kept, and we had not heard of it: nothing was sent in it yet.
                Ok(Err(TunnelError::Http2 { .. })) if !fresh => fresh = self.discard(&place, &tunnel),
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// Takes a broken tunnel out. The next attempt is the last, whoever opened the tunnel it takes.
    fn discard(&self, place: &Place, broken: &Tunnel) -> bool {
        place.tunnels.borrow_mut().retain(|pooled| !pooled.tunnel.is(broken));
        true
    }

    /// A tunnel with room that was opened with the current certificate.
    fn find(&self, place: &Place, pod: &Pod) -> Option<(Tunnel, Occupied)> {
        let generation = self.tls.keyring().svid(&pod.identity).map(|(_, generation)| generation);
        let mut tunnels = place.tunnels.borrow_mut();
        // Those that are full or outdated stay until their streams are done; their handle may go.
        tunnels.retain_mut(|pooled| Some(pooled.generation) == generation && pooled.tunnel.is_open());
        let free = tunnels.iter_mut().find(|pooled| pooled.open_streams() < self.settings.streams_per_tunnel);
        free.map(Pooled::occupy)
    }

    async fn open(&self, pod: &Pod, remote: &Remote) -> Result<Pooled, TunnelError> {
        let Remote { address: peer, ref identity, reach } = *remote;
        let limit = self.settings.handshake_time;
        let (_, generation) = self.tls.keyring().svid(&pod.identity).unzip();
        let config = self.tls.client(&pod.identity, &Peers::one(identity.clone()))?;
        let source = pod.address_like(peer.ip());
        let tcp = socket::connect(&pod.namespace, source, peer, reach, self.settings.connect_time).await;
        let tcp = tcp.map_err(|error| TunnelError::Unreachable { peer, error })?;
        socket::watch_closely(&tcp);
        let opened = match timeout(limit, Tunnel::open(tcp, peer, config)).await {
            Ok(opened) => opened,
            Err(_) => Err(TunnelError::Slow { peer, seconds: limit.as_secs() }),
        };
        match &opened {
            Ok(_) => self.metrics.tunnels_opened.increment(),
            Err(_) => self.metrics.opening_handshakes_failed.increment(),
        }
        let generation = generation.unwrap_or_default();
        Ok(Pooled { tunnel: opened?, generation, streams: Arc::default(), idle_since: None })
    }

    /// Closes the tunnels that had no stream for a while.
    pub(crate) fn sweep(&self, now: Instant) {
        let limit = self.settings.tunnel_idle_time;
        self.places.borrow_mut().retain(|_, place| {
            let mut tunnels = place.tunnels.borrow_mut();
            tunnels.retain_mut(|pooled| {
                if pooled.open_streams() > 0 {
                    pooled.idle_since = None;
                    return true;
                }
                now.saturating_duration_since(*pooled.idle_since.get_or_insert(now)) < limit
            });
            // Someone may be opening one.
            !tunnels.is_empty() || Rc::strong_count(place) > 1
        });
    }

    /// Forgets the tunnels of a pod that is gone.
    pub(crate) fn forget(&self, pod: u64) {
        self.places.borrow_mut().retain(|key, _| key.pod != pod);
    }
}

impl Pooled {
    fn occupy(&mut self) -> (Tunnel, Occupied) {
        self.idle_since = None;
        (self.tunnel.clone(), Arc::clone(&self.streams))
    }

    fn open_streams(&self) -> usize {
        Arc::strong_count(&self.streams) - 1
    }
}
