//! A process that is kept running: started, and started again when it ends.

use super::cgroup::Cgroup;
use super::zygote::{Exit, Launch, LaunchError, Running, Work, Zygote};
use nix::sys::signal::Signal;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Whether a process that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Restart {
    /// However it ended.
    Always,
    /// Never: a Job's has done its work.
    Never,
}

/// How long to wait before a process is started again: 1 s, doubled each time up to 30 s.
///
/// It is the kubelet's `CrashLoopBackOff` at a workshop's pace; as there, a process that ran for twice the longest pause
/// is taken to have been well, and starts from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);

    /// The pause after a process that ran this long.
    pub fn pause_after(&mut self, ran: Duration) -> Duration {
        if ran >= Self::LONGEST * 2 {
            self.next = Self::FIRST;
        }
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

/// Where a process runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its network namespace.
    pub network: Arc<OwnedFd>,
    /// Its cgroup: its container's or its pod's.
    pub cgroup: Arc<Cgroup>,
    /// The file that its output is appended to.
    pub log: PathBuf,
}

/// Where a supervised process is in its life.
#[derive(Debug, Clone)]
pub enum Phase {
    /// It is being started for the first time.
    Starting,
    /// It runs.
    Running {
        /// The process.
        process: Arc<Running>,
        /// How often it has been started before.
        restarts: u32,
    },
    /// It will be started again.
    Waiting {
        /// How it ended, or why it could not be started.
        why: String,
        /// For how long in all.
        pause: Duration,
        /// How often it has been started before.
        restarts: u32,
    },
    /// It ended and is not started again.
    Ended(Exit),
    /// It was stopped.
    Stopped,
}

/// A process that is kept running; dropping this stops it.
#[derive(Debug)]
pub struct Supervised {
    control: Control,
    stop: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

/// A hand on a process that another keeps running.
#[derive(Debug, Clone)]
pub struct Control {
    phase: watch::Receiver<Phase>,
    zygote: Arc<Zygote>,
    cgroup: Arc<Cgroup>,
}

/// Starts a process and keeps it running.
pub fn supervise(zygote: Arc<Zygote>, launch: Launch, place: Place, restart: Restart) -> Supervised {
    let (phase, phases) = watch::channel(Phase::Starting);
    let stop = Arc::new(Notify::new());
    let cgroup = Arc::clone(&place.cgroup);
    let task = tokio::spawn(keep(Arc::clone(&zygote), launch, place, restart, phase, Arc::clone(&stop)));
    Supervised { control: Control { phase: phases, zygote, cgroup }, stop, task }
}

impl Supervised {
    /// Where it is, and news of that.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.control.phase()
    }

    /// The process, while it runs.
    pub fn running(&self) -> Option<Arc<Running>> {
        self.control.running()
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.control.cgroup
    }

    /// Another hand on it, for probes; it does not keep the process running, but does keep its cgroup's descriptor.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Kills the process and waits until it is gone.
    pub async fn stop(mut self) {
        self.stop.notify_one();
        // It ends by itself unless it panicked, and then there is nothing to wait for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

impl Control {
    /// Where it is, and news of that; the sender is gone when it is not supervised any more.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// The process, while it runs.
    pub fn running(&self) -> Option<Arc<Running>> {
        match &*self.phase.borrow() {
            Phase::Running { process, .. } => Some(Arc::clone(process)),
            _ => None,
        }
    }

    /// Kills the process that runs now, if one does, to be started again after its pause.
    pub fn restart(&self) -> io::Result<()> {
        self.running().map_or(Ok(()), |process| process.signal(Signal::SIGKILL))
    }

    /// Runs a command beside the process and waits for its end, at most this long; then it is killed.
    ///
    /// Nothing means that it took too long, or that the process does not run.
    pub async fn run_beside(
        &self,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        limit: Duration,
    ) -> Result<Option<Exit>, LaunchError> {
        let Some(beside) = self.running() else { return Ok(None) };
        let output = File::options().write(true).open("/dev/null");
        let output = output.map_err(|error| LaunchError::Process(error.to_string()))?;
        let work = Work::Command { arguments, environment };
        let process = KilledOnDrop(self.zygote.launch_beside(&beside, work, &*self.cgroup, output).await?);
        Ok(tokio::time::timeout(limit, process.0.exited()).await.ok())
    }
}

/// A process that ends with the interest in it; one that has ended already is not touched.
struct KilledOnDrop(Running);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        if self.0.exit().is_none() {
            kill(&self.0);
        }
    }
}

async fn keep(
    zygote: Arc<Zygote>,
    launch: Launch,
    place: Place,
    restart: Restart,
    phase: watch::Sender<Phase>,
    stop: Arc<Notify>,
) {
    let mut backoff = Backoff::default();
    let mut restarts = 0;
    let stopped = stop.notified();
    tokio::pin!(stopped);
    loop {
        let begun = Instant::now();
        let why = match start(&zygote, &launch, &place).await {
            Ok(process) => {
                let process = Arc::new(process);
                phase.send_replace(Phase::Running { process: process.clone(), restarts });
                let exit = tokio::select! {
                    exit = process.exited() => exit,
                    () = stopped.as_mut() => {
                        kill(&process);
                        process.exited().await;
                        break;
                    }
                };
                if restart == Restart::Never {
                    phase.send_replace(Phase::Ended(exit));
                    return;
                }
                exit.to_string()
            }
            Err(error) => error.to_string(),
        };
        let pause = backoff.pause_after(begun.elapsed());
        phase.send_replace(Phase::Waiting { why, pause, restarts });
        tokio::select! {
            () = tokio::time::sleep(pause) => restarts += 1,
            () = stopped.as_mut() => break,
        }
    }
    phase.send_replace(Phase::Stopped);
}

async fn start(zygote: &Zygote, launch: &Launch, place: &Place) -> Result<Running, LaunchError> {
    let log = open_log(place).map_err(|error| LaunchError::Process(format!("{}: {error}", place.log.display())))?;
    zygote.launch(launch.clone(), &*place.network, &*place.cgroup, log).await
}

fn open_log(place: &Place) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(&place.log)
}

fn kill(process: &Running) {
    if let Err(error) = process.signal(Signal::SIGKILL) {
        tracing::error!(pid = process.pid, %error, "a process cannot be killed");
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn the_pause_doubles_to_its_limit_and_starts_over_after_a_good_run() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..7).map(|_| backoff.pause_after(Duration::from_secs(59)).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(backoff.pause_after(Duration::from_secs(60)).as_secs(), 1);
        assert_eq!(backoff.pause_after(Duration::ZERO).as_secs(), 2);
    }
}
