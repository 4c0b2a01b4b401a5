//! The proxy from outside: workers, and which pod is on which.

use crate::memory::keep_freed_memory;
use crate::metrics::Metrics;
use crate::neighbours::{Neighbours, Places};
use crate::pod::{Known, PodSockets};
use crate::policy::View;
use crate::record::{RecordSink, Recorder};
use crate::settings::Settings;
use crate::worker::{Command, Worker};
use lictor_model::{DecisionIds, Name};
use lictor_pki::Keyring;
use lictor_pki::tls::ConfigCache;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;

/// The data path of a node's pods. Dropping it ends it, with every connection.
pub struct Proxy {
    threads: Vec<Thread>,
    places: Places,
    metrics: Arc<Metrics>,
}

struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    handle: Option<JoinHandle<()>>,
}

/// Why the proxy does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A socket could not be made in the pod's namespace.
    #[error("cannot listen in the network namespace of {pod}: {error}")]
    Listen {
        /// The pod.
        pod: Name,
        /// What the kernel said.
        error: io::Error,
    },
    /// The proxy has ended.
    #[error("the proxy has ended")]
    Ended,
}

impl Proxy {
    /// Starts the workers; each is a thread with a runtime of its own.
    ///
    /// `keyring` has the SVIDs of the pods that are added, and whom to believe. `view` is what verdicts are made from: a new
    /// value is applied to new and open connections at once. Records go to `records`, with ids from `ids`.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start(
        settings: Settings,
        keyring: Keyring,
        view: watch::Receiver<Arc<View>>,
        records: RecordSink,
        ids: Arc<DecisionIds>,
    ) -> io::Result<Self> {
        keep_freed_memory();
        let metrics = Arc::<Metrics>::default();
        let tls = Arc::new(ConfigCache::new(keyring));
        let recorder = Recorder::new(records, ids, Arc::clone(&metrics));
        let places = Places::default();
        let (commands, told): (Vec<_>, Vec<_>) =
            (0..settings.workers.max(1)).map(|_| mpsc::unbounded_channel()).unzip();
        let threads = told.into_iter().enumerate().map(|(number, told)| {
            let (tls, view, recorder) = (Arc::clone(&tls), view.clone(), recorder.clone());
            let metrics = Arc::clone(&metrics);
            let neighbours = Neighbours::new(number, places.clone(), &commands);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let handle = std::thread::Builder::new().name(format!("lictor-proxy-{number}")).spawn(move || {
                let local = LocalSet::new();
                let worker = local.run_until(async {
                    Worker::new(settings, tls, view, recorder, metrics, neighbours).run(told).await;
                });
                runtime.block_on(worker);
            })?;
            Ok(handle)
        });
        let handles = threads.collect::<io::Result<Vec<_>>>()?;
        let threads = commands.into_iter().zip(handles);
        let threads = threads.map(|(commands, handle)| Thread { commands, handle: Some(handle) }).collect();
        Ok(Self { threads, places, metrics })
    }

    /// Listens for a pod on [`ports`](crate::ports), in its namespace. A pod of that name that is there already is replaced.
    ///
    /// # Errors
    /// When a listener cannot be made.
    pub async fn add_pod(&self, sockets: PodSockets) -> Result<(), ProxyError> {
        let pod = Known::new(sockets);
        let name = pod.name.clone();
        let home = self.places.settle(&name, self.threads.len());
        // All know it before the first connection comes.
        for place in (0..self.threads.len()).filter(|place| *place != home).chain([home]) {
            let (pod, listen) = (Arc::clone(&pod), place == home);
            if let Err(error) = self.ask(place, |answer| Command::Add { pod, listen, answer }).await? {
                self.remove_pod(&name).await?;
                return Err(ProxyError::Listen { pod: name, error });
            }
        }
        Ok(())
    }

    /// Stops listening for a pod and ends its connections; all of it is gone when this returns. Tells whether the pod
    /// was there.
    ///
    /// # Errors
    /// When the proxy has ended.
    pub async fn remove_pod(&self, pod: &Name) -> Result<bool, ProxyError> {
        let Some(home) = self.places.of(pod) else { return Ok(false) };
        // Its listeners first: they hand nothing over after that.
        let mut was_there = false;
        for place in [home].into_iter().chain((0..self.threads.len()).filter(|place| *place != home)) {
            was_there |= self.ask(place, |answer| Command::Remove(pod.clone(), answer)).await?;
        }
        self.places.forget(pod);
        Ok(was_there)
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Tells a worker something, and waits for its answer.
    async fn ask<T>(&self, place: usize, what: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, ProxyError> {
        let thread = self.threads.get(place).ok_or(ProxyError::Ended)?;
        let (answer, answered) = oneshot::channel();
        thread.commands.send(what(answer)).map_err(|_| ProxyError::Ended)?;
        answered.await.map_err(|_| ProxyError::Ended)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.commands = mpsc::unbounded_channel().0;
        }
        for handle in self.threads.iter_mut().filter_map(|thread| thread.handle.take()) {
            if handle.join().is_err() {
                tracing::error!("a worker of the proxy had panicked");
            }
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("workers", &self.threads.len()).field("pods", &self.places.len()).finish()
    }
}
