//! The thread that probes: it lives in the node's network namespace, as a kubelet does.

use super::ask::{Asker, Problem};
use super::health::{Health, ProbeKind};
use crate::process::{Control, Phase, Running};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lictor_manifest::{Container, Probe, ProbeAction};
use lictor_model::Name;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Probes pods until it is dropped.
#[derive(Debug)]
pub struct Prober {
    orders: mpsc::UnboundedSender<Order>,
    health: watch::Receiver<BTreeMap<Name, PodHealth>>,
}

/// A pod to probe.
#[derive(Debug, Clone)]
pub struct PodProbes {
    /// Which one.
    pub pod: Name,
    /// Where it is asked.
    pub address: IpAddr,
    /// Its containers.
    pub containers: Vec<ContainerProbes>,
}

/// A container to probe.
#[derive(Debug, Clone)]
pub struct ContainerProbes {
    /// What it is, with its probes; without any it is ready while it runs.
    pub container: Arc<Container>,
    /// A hand on its process.
    pub control: Control,
    /// Whether that is a stand-in.
    pub stand_in: bool,
    /// The environment of its exec probes.
    pub environment: Vec<(String, String)>,
}

/// What the probes of a pod have come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodHealth {
    /// Whether all of its containers are ready.
    pub ready: bool,
    /// Why its last probe that failed did, by container; gone when one of that kind passes.
    pub problems: BTreeMap<(Arc<str>, ProbeKind), String>,
}

#[derive(Debug)]
enum Order {
    Watch(PodProbes),
    Forget(Name),
}

impl Prober {
    /// Starts the thread that probes, in a network namespace, from these addresses.
    pub fn start(namespace: OwnedFd, sources: &[IpAddr]) -> io::Result<Self> {
        let asker = Asker::new(sources).map_err(io::Error::other)?;
        let (orders, received) = mpsc::unbounded_channel();
        let (sender, health) = watch::channel(BTreeMap::new());
        let (entered, enters) = std::sync::mpsc::channel();
        thread::Builder::new().name("prober".to_owned()).spawn(move || {
            let runtime = setns(namespace, CloneFlags::CLONE_NEWNET)
                .map_err(io::Error::from)
                .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
            let (runtime, outcome) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Whoever starts it waits for this.
            let _ = entered.send(outcome);
            if let Some(runtime) = runtime {
                runtime.block_on(work(asker, received, Arc::new(sender)));
            }
        })?;
        enters.recv().map_err(io::Error::other)??;
        Ok(Self { orders, health })
    }

    /// Begins to probe a pod, which is not ready until it is shown to be; one of this name is forgotten first.
    pub fn watch(&self, pod: PodProbes) {
        // The thread ends with this handle, not before it.
        let _ = self.orders.send(Order::Watch(pod));
    }

    /// Stops probing a pod.
    pub fn forget(&self, pod: &Name) {
        let _ = self.orders.send(Order::Forget(pod.clone()));
    }

    /// The pods that are probed, and news of them.
    pub fn health(&self) -> watch::Receiver<BTreeMap<Name, PodHealth>> {
        self.health.clone()
    }
}

type Board = Arc<watch::Sender<BTreeMap<Name, PodHealth>>>;

/// The tasks of a pod; they end when it is forgotten.
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn work(asker: Asker, mut orders: mpsc::UnboundedReceiver<Order>, board: Board) {
    let asker = Arc::new(asker);
    let mut pods: HashMap<Name, Tasks> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Forget(pod) => {
                pods.remove(&pod);
                board.send_if_modified(|all| all.remove(&pod).is_some());
            }
            Order::Watch(PodProbes { pod, address, containers }) => {
                pods.remove(&pod);
                board.send_modify(|all| drop(all.insert(pod.clone(), PodHealth::default())));
                let ready = Arc::new(watch::Sender::new(vec![false; containers.len()]));
                let tasks = containers.into_iter().enumerate().map(|(index, container)| {
                    let report =
                        Report { pod: pod.clone(), index, ready: Arc::clone(&ready), board: Arc::clone(&board) };
                    tokio::spawn(probe(Arc::clone(&asker), address, container, report))
                });
                pods.insert(pod.clone(), Tasks(tasks.collect()));
            }
        }
    }
}

/// Where a container's task says what it found.
struct Report {
    pod: Name,
    index: usize,
    ready: Arc<watch::Sender<Vec<bool>>>,
    board: Board,
}

impl Report {
    fn ready(&self, ready: bool) {
        let changed = self.ready.send_if_modified(|all| match all.get_mut(self.index) {
            Some(own) if *own != ready => {
                *own = ready;
                true
            }
            _ => false,
        });
        let all = changed.then(|| self.ready.borrow().iter().all(|ready| *ready));
        if let Some(all) = all {
            self.change(|health| std::mem::replace(&mut health.ready, all) != all);
        }
    }

    fn problem(&self, container: &Arc<str>, kind: ProbeKind, problem: Option<String>) {
        let key = (Arc::clone(container), kind);
        self.change(|health| match problem {
            Some(problem) => health.problems.insert(key, problem.clone()).as_ref() != Some(&problem),
            None => health.problems.remove(&key).is_some(),
        });
    }

    fn change(&self, change: impl FnOnce(&mut PodHealth) -> bool) {
        self.board.send_if_modified(|all| all.get_mut(&self.pod).is_some_and(change));
    }
}

/// Probes one container until its process is not supervised any more.
async fn probe(asker: Arc<Asker>, address: IpAddr, probes: ContainerProbes, report: Report) {
    let ContainerProbes { container, control, .. } = &probes;
    let mut health = Health::new(container);
    let mut phase = control.phase();
    let mut process: Option<Arc<Running>> = None;
    let mut under_way = FuturesUnordered::new();
    phase.mark_changed();
    loop {
        let next = health.next_due().map(tokio::time::Instant::from_std);
        tokio::select! {
            changed = phase.changed() => {
                let runs = match (&*phase.borrow_and_update(), &changed) {
                    (Phase::Running { process, .. }, Ok(())) => Some(Arc::clone(process)),
                    _ => None,
                };
                if runs.as_ref().map(Arc::as_ptr) != process.as_ref().map(Arc::as_ptr) {
                    // What an earlier process answers says nothing of this one.
                    under_way.clear();
                    if runs.is_some() { health.begins(Instant::now()) } else { health.ends() }
                    process = runs;
                }
                if changed.is_err() {
                    report.ready(false);
                    return;
                }
            }
            () = sleep_until(next) => {
                let asked = Instant::now();
                for (kind, probe) in health.due(asked) {
                    let outcome = outcome(&asker, &probes, probe, address);
                    under_way.push(async move { (kind, asked, outcome.await) });
                }
            }
            Some((kind, asked, outcome)) = under_way.next() => {
                let restart = health.report(kind, outcome.is_ok(), asked, Instant::now());
                report.problem(&container.name, kind, outcome.err().map(|problem: Problem| problem.to_string()));
                if restart {
                    under_way.clear();
                    // Of all processes, the one that was asked.
                    if let Some(Err(error)) = process.as_ref().map(|process| process.signal(Signal::SIGKILL)) {
                        tracing::error!(pod = %report.pod, %error, "a container that is not alive cannot be killed");
                    }
                }
            }
        }
        report.ready(health.is_ready());
    }
}

async fn sleep_until(next: Option<tokio::time::Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

async fn outcome(asker: &Asker, probes: &ContainerProbes, mut probe: Probe, address: IpAddr) -> Result<(), Problem> {
    let exec = match &mut probe.action {
        ProbeAction::Exec(command) if !probes.stand_in => Some(std::mem::take(command)),
        ProbeAction::Http { port, tls: true, .. } if probes.stand_in => {
            probe.action = ProbeAction::Tcp(port.clone());
            None
        }
        _ => None,
    };
    let Some(command) = exec else { return asker.ask(&probe, &probes.container, address).await };
    match probes.control.run_beside(command, probes.environment.clone(), probe.timeout).await {
        Ok(Some(exit)) if exit.is_success() => Ok(()),
        Ok(Some(exit)) => Err(Problem::Command(exit.to_string())),
        Ok(None) => Err(Problem::TimedOut(probe.timeout)),
        Err(error) => Err(Problem::Command(format!("did not start: {error}"))),
    }
}
