//! One thread of the data path: its pods, and what their connections share.

use crate::listeners::Incoming;
use crate::live::{Open, Question, Registry};
use crate::metrics::Metrics;
use crate::neighbours::Neighbours;
use crate::pod::{Known, Pod};
use crate::policy::{Ruling, View};
use crate::pool::Pool;
use crate::record::{Recorder, Subject};
use crate::settings::Settings;
use lictor_model::Name;
use lictor_pki::tls::ConfigCache;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Know a pod, and listen for it if it is at home here.
    Add { pod: Arc<Known>, listen: bool, answer: oneshot::Sender<io::Result<()>> },
    /// Stop listening for it and end its connections.
    Remove(Name, oneshot::Sender<bool>),
    /// Serve a tunnel that came to a pod from one that is at home here.
    Tunnel(Incoming),
}

/// What all connections of one worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) settings: Settings,
    pub(crate) tls: Arc<ConfigCache>,
    pub(crate) recorder: Recorder,
    pub(crate) pool: Pool,
    pub(crate) neighbours: Neighbours,
    view: watch::Receiver<Arc<View>>,
    live: Rc<Registry>,
}

/// How often tunnels are looked at that nobody uses.
const SWEEP: Duration = Duration::from_secs(5);

impl Worker {
    pub(crate) fn new(
        settings: Settings,
        tls: Arc<ConfigCache>,
        view: watch::Receiver<Arc<View>>,
        recorder: Recorder,
        metrics: Arc<Metrics>,
        neighbours: Neighbours,
    ) -> Rc<Self> {
        let pool = Pool::new(settings, Arc::clone(&tls), metrics);
        Rc::new(Self { settings, tls, recorder, pool, neighbours, view, live: Rc::default() })
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
                    Some(Command::Add { pod, listen, answer }) => {
                        let pod = Rc::new(Pod::new(numbers.next().unwrap_or_default(), pod));
                        if let Some(old) = pods.remove(&pod.name) {
                            self.leave(&old).await;
                        }
                        let listening = if listen { self.listen(&pod) } else { Ok(()) };
                        if listening.is_ok() {
                            pods.insert(pod.name.clone(), pod);
                        }
                        // Whoever asked may have gone.
                        let _ = answer.send(listening);
                    }
                    Some(Command::Tunnel(incoming)) => {
                        // The pod may have gone meanwhile, or be another of its name.
                        if let Some(pod) = pods.get(&incoming.pod.name)
                            && Arc::ptr_eq(&pod.known, &incoming.pod)
                        {
                            self.serve_tunnel(pod, incoming);
                        }
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
}
