//! The proxy from outside: workers, and which pod is on which.

use crate::memory::keep_freed_memory;
use crate::metrics::Metrics;
use crate::pod::PodSockets;
use crate::policy::View;
use crate::record::{RecordSink, Recorder};
use crate::settings::Settings;
use crate::worker::{Command, Worker};
use lictor_model::{DecisionIds, Name};
use lictor_pki::Keyring;
use lictor_pki::tls::ConfigCache;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;

/// The data path of a node's pods. Dropping it ends it, with every connection.
pub struct Proxy {
    threads: Vec<Thread>,
    places: Mutex<HashMap<Name, usize>>,
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
        let threads = (0..settings.workers.max(1)).map(|number| {
            let (tls, view, recorder) = (Arc::clone(&tls), view.clone(), recorder.clone());
            let metrics = Arc::clone(&metrics);
            let (commands, told) = mpsc::unbounded_channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let handle = std::thread::Builder::new().name(format!("lictor-proxy-{number}")).spawn(move || {
                let local = LocalSet::new();
                let worker =
                    local.run_until(async { Worker::new(settings, tls, view, recorder, metrics).run(told).await });
                runtime.block_on(worker);
            })?;
            Ok(Thread { commands, handle: Some(handle) })
        });
        Ok(Self { threads: threads.collect::<io::Result<_>>()?, places: Mutex::default(), metrics })
    }

    /// Listens for a pod on [`ports`](crate::ports), in its namespace. A pod of that name that is there already is replaced.
    ///
    /// # Errors
    /// When a listener cannot be made.
    pub async fn add_pod(&self, sockets: PodSockets) -> Result<(), ProxyError> {
        let pod = sockets.name.clone();
        let (answer, answered) = oneshot::channel();
        self.thread_for(&pod).send(Command::Add(sockets, answer)).map_err(|_| ProxyError::Ended)?;
        match answered.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.places().remove(&pod);
                Err(ProxyError::Listen { pod, error })
            }
            Err(_) => Err(ProxyError::Ended),
        }
    }

    /// Stops listening for a pod and ends its connections; all of it is gone when this returns. Tells whether the pod
    /// was there.
    ///
    /// # Errors
    /// When the proxy has ended.
    pub async fn remove_pod(&self, pod: &Name) -> Result<bool, ProxyError> {
        let Some(place) = self.places().remove(pod) else { return Ok(false) };
        let thread = self.threads.get(place).ok_or(ProxyError::Ended)?;
        let (answer, answered) = oneshot::channel();
        thread.commands.send(Command::Remove(pod.clone(), answer)).map_err(|_| ProxyError::Ended)?;
        answered.await.map_err(|_| ProxyError::Ended)
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The worker of a pod: the one that it is on, else the one with the fewest pods.
    fn thread_for(&self, pod: &Name) -> mpsc::UnboundedSender<Command> {
        let mut places = self.places();
        let load = |number: usize| places.values().filter(|place| **place == number).count();
        let lightest = (0..self.threads.len()).min_by_key(|number| load(*number)).unwrap_or_default();
        let place = *places.entry(pod.clone()).or_insert(lightest);
        match self.threads.get(place) {
            Some(thread) => thread.commands.clone(),
            None => mpsc::unbounded_channel().0,
        }
    }

    // Nothing panics while it holds the lock.
    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<Name, usize>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
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
        f.debug_struct("Proxy").field("workers", &self.threads.len()).field("pods", &self.places().len()).finish()
    }
}
