//! One thread of the data path: its pods, and what their connections share.

use crate::hbone;
use crate::live::{Open, Question, Registry};
use crate::metrics::Metrics;
use crate::pod::{Pod, PodSockets, Seat};
use crate::policy::{Ruling, View};
use crate::pool::Pool;
use crate::record::{Recorder, Subject};
use crate::settings::{Settings, ports};
use crate::socket::Reach;
use crate::{inbound, outbound, plaintext, socket};
use lictor_model::Name;
use lictor_pki::tls::ConfigCache;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// What a worker is told.
pub(crate) enum Command {
    /// Listen for a pod.
    Add(PodSockets, oneshot::Sender<io::Result<()>>),
    /// Stop listening for it and end its connections.
    Remove(Name, oneshot::Sender<bool>),
}

/// What all connections of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) settings: Settings,
    pub(crate) tls: Arc<ConfigCache>,
    pub(crate) recorder: Recorder,
    pub(crate) pool: Pool,
    view: watch::Receiver<Arc<View>>,
    live: Rc<Registry>,
}

/// How often tunnels are looked at that nobody uses.
const SWEEP: Duration = Duration::from_secs(5);
/// After a listener fails for want of memory or descriptors.
const BREATH: Duration = Duration::from_millis(50);

impl Worker {
    pub(crate) fn new(
        settings: Settings,
        tls: Arc<ConfigCache>,
        view: watch::Receiver<Arc<View>>,
        recorder: Recorder,
        metrics: Arc<Metrics>,
    ) -> Rc<Self> {
        let pool = Pool::new(settings, Arc::clone(&tls), metrics);
        Rc::new(Self { settings, tls, recorder, pool, view, live: Rc::default() })
    }

    /// The view of now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        self.recorder.metrics()
    }

    /// Records a decision.
    pub(crate) fn record(&self, view: &View, ruling: Ruling, subject: Subject<'_>) -> u64 {
        self.recorder.decision(view, ruling, subject)
    }

    /// Keeps what was let in under `view`. A view that came meanwhile is asked at once.
    pub(crate) fn open(&self, view: &Arc<View>, question: Question, decision: Option<u64>) -> Open {
        let open = self.live.open(question, &self.recorder, decision);
        let now = self.view();
        if !Arc::ptr_eq(view, &now) {
            open.judge_again(&now);
        }
        open
    }

    /// Works until nobody can tell it anything any more.
    pub(crate) async fn run(self: Rc<Self>, mut commands: mpsc::UnboundedReceiver<Command>) {
        tokio::task::spawn_local(Rc::clone(&self).follow_policy());
        let mut pods: HashMap<Name, Rc<Pod>> = HashMap::new();
        let mut numbers = 0..;
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                _ = sweep.tick() => self.pool.sweep(Instant::now()),
                command = commands.recv() => match command {
                    None => break,
                    Some(Command::Add(sockets, answer)) => {
                        let pod = Rc::new(Pod::new(numbers.next().unwrap_or_default(), sockets));
                        if let Some(old) = pods.remove(&pod.name) {
                            self.leave(&old).await;
                        }
                        let listening = self.listen(&pod);
                        if listening.is_ok() {
                            pods.insert(pod.name.clone(), pod);
                        }
                        // Whoever asked may have gone.
                        let _ = answer.send(listening);
                    }
                    Some(Command::Remove(name, answer)) => {
                        let pod = pods.remove(&name);
                        if let Some(pod) = &pod {
                            self.leave(pod).await;
                        }
                        let _ = answer.send(pod.is_some());
                    }
                },
            }
        }
        for pod in pods.values() {
            self.leave(pod).await;
        }
    }

    pub(crate) async fn follow_policy(self: Rc<Self>) {
        let mut view = self.view.clone();
        while view.changed().await.is_ok() {
            let now = Arc::clone(&view.borrow_and_update());
            self.live.judge_again(&now, &self.recorder).await;
        }
    }

    async fn leave(&self, pod: &Pod) {
        pod.end().await;
        self.pool.forget(pod.number);
    }

    fn listen(self: &Rc<Self>, pod: &Rc<Pod>) -> io::Result<()> {
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
            let (worker, served) = (Rc::clone(&self), Rc::clone(&pod));
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
