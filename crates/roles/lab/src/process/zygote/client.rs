//! The lab's end: it starts the zygote, asks it for processes, and hears of their ends.

use super::protocol::{LONGEST, Launch, Reply, Request, Stage, Work, receive, send};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

/// Starts the processes of pods, through a zygote process that it keeps.
///
/// A zygote that ends takes every process of the lab with it; the next launch starts another.
#[derive(Debug)]
pub struct Zygote {
    program: PathBuf,
    arguments: Vec<OsString>,
    stage: Stage,
    connection: tokio::sync::Mutex<Connection>,
}

/// A process that a zygote started.
#[derive(Debug)]
pub struct Running {
    /// Its number, as the lab sees it.
    pub pid: u32,
    pidfd: OwnedFd,
    exit: watch::Receiver<Option<Exit>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// With the zygote, so that nobody was told how.
    Lost,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The zygote could not be started, or its stage not be set.
    #[error("cannot start the zygote: {0}")]
    Zygote(#[source] io::Error),
    /// The process failed before its work began.
    #[error("{0}")]
    Process(String),
    /// The zygote ended meanwhile.
    #[error("the zygote ended before it answered")]
    Gone,
}

impl Zygote {
    /// Starts a zygote: `program` with `arguments` has to call [`run`](super::run) first thing.
    ///
    /// The stage's workload socket has to be there already. Errors: the program cannot be executed, or the
    /// stage not be set.
    pub async fn start(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        stage: Stage,
    ) -> Result<Self, LaunchError> {
        let program = program.into();
        let arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
        let connection = connect(&program, &arguments, &stage).await.map_err(LaunchError::Zygote)?;
        Ok(Self { program, arguments, stage, connection: connection.into() })
    }

    /// Starts a process as the first of a new sandbox: in a network namespace and a cgroup that are there
    /// already, with mount, PID and UTS namespaces of its own. Returns when its work has begun.
    ///
    /// Standard output and error go to `log`.
    pub async fn launch(
        &self,
        launch: Launch,
        network: impl AsFd,
        cgroup: impl AsFd,
        log: impl AsFd,
    ) -> Result<Running, LaunchError> {
        let descriptors = [network.as_fd(), cgroup.as_fd(), log.as_fd()];
        self.ask(|id| Request::Launch { id, launch }, &descriptors).await
    }

    /// Starts a process in the sandbox of a running one. Returns when it is executed.
    pub async fn launch_beside(
        &self,
        running: &Running,
        work: Work,
        cgroup: impl AsFd,
        output: impl AsFd,
    ) -> Result<Running, LaunchError> {
        let descriptors = [running.pidfd.as_fd(), cgroup.as_fd(), output.as_fd()];
        self.ask(|id| Request::Beside { id, work }, &descriptors).await
    }

    async fn ask(
        &self,
        request: impl FnOnce(u64) -> Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Running, LaunchError> {
        let mut connection = self.connection.lock().await;
        if connection.has_ended() {
            *connection = connect(&self.program, &self.arguments, &self.stage).await.map_err(LaunchError::Zygote)?;
        }
        let (id, answer) = connection.shared.expect_answer();
        let outcome = connection.shared.send(&request(id), descriptors).await;
        drop(connection);
        match outcome {
            Ok(()) => answer.await.unwrap_or(Err(LaunchError::Gone)),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(LaunchError::Gone),
            Err(error) => Err(LaunchError::Process(error.to_string())),
        }
    }
}

impl Running {
    /// Its descriptor, for signals and `setns`.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for its end.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        // Bound first: the guard must not live on.
        let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        ended.unwrap_or(Exit::Lost)
    }

    /// How it ended; nothing while it runs.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Sends it a signal; one that has ended already is no error.
    #[allow(unsafe_code)]
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: the descriptor is open; no signal information is passed.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), signal as i32, std::ptr::null::<()>(), 0)
        };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Exit {
    /// From the status of wait(2).
    fn of(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Status(libc::WEXITSTATUS(status))
        }
    }

    /// Whether it ended by itself with status 0.
    pub fn is_success(self) -> bool {
        self == Self::Status(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "ended by {signal}"),
                Err(_) => write!(f, "ended by signal {number}"),
            },
            Self::Lost => f.write_str("ended with the zygote"),
        }
    }
}

#[derive(Debug)]
struct Connection {
    shared: Arc<Shared>,
    reader: tokio::task::JoinHandle<()>,
    /// Reaped by the runtime.
    _process: Child,
}

/// What the reader task and the askers share.
#[derive(Debug)]
struct Shared {
    socket: AsyncFd<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    asked: HashMap<u64, oneshot::Sender<Result<Running, LaunchError>>>,
    running: HashMap<u32, watch::Sender<Option<Exit>>>,
}

#[allow(unsafe_code)]
async fn connect(program: &PathBuf, arguments: &[OsString], stage: &Stage) -> io::Result<Connection> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    nix::fcntl::fcntl(&ours, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    let mut command = Command::new(program);
    // A process group of its own: an interrupt at the terminal is for the lab to act on.
    command.args(arguments).stdin(Stdio::from(theirs)).process_group(0).kill_on_drop(true);
    let process = command.spawn()?;
    // The command holds the other end, which would never be closed.
    drop(command);
    // SAFETY: an `OwnedFd` is the same open descriptor until it is dropped, which ends the registration first.
    let socket = unsafe { AsyncFd::register(ours) }?;
    let shared = Arc::new(Shared { socket, state: Mutex::default() });
    shared.send(&Request::Stage(stage.clone()), &[]).await?;
    let mut buffer = vec![0; LONGEST];
    match shared.receive(&mut buffer).await? {
        Some((Reply::Staged, _)) => {}
        Some((Reply::NotStaged { problem }, _)) => return Err(io::Error::other(problem)),
        _ => return Err(io::Error::other(format!("{} ended before its stage was set", program.display()))),
    }
    let reader = tokio::spawn(shared.clone().read(buffer));
    Ok(Connection { shared, reader, _process: process })
}

impl Connection {
    fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect_answer(&self) -> (u64, oneshot::Receiver<Result<Running, LaunchError>>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.asked.insert(id, sender);
        (id, receiver)
    }

    async fn send(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, |socket| send(socket, request, descriptors)).await
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(Reply, Vec<OwnedFd>)>> {
        self.socket.async_io(Interest::READABLE, |socket| receive(socket, &mut *buffer)).await
    }

    /// Hears the zygote until it ends, which ends everything that is waited for.
    async fn read(self: Arc<Self>, mut buffer: Vec<u8>) {
        loop {
            match self.receive(&mut buffer).await {
                Ok(Some((reply, descriptors))) => self.hear(reply, descriptors),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "the zygote cannot be understood");
                    break;
                }
            }
        }
        let mut state = self.state();
        state.asked.clear();
        for (_, exit) in state.running.drain() {
            exit.send_replace(Some(Exit::Lost));
        }
    }

    fn hear(&self, reply: Reply, descriptors: Vec<OwnedFd>) {
        let mut state = self.state();
        let (id, outcome) = match reply {
            Reply::Launched { id, pid } => match descriptors.into_iter().next() {
                Some(pidfd) => {
                    let (sender, exit) = watch::channel(None);
                    state.running.insert(pid, sender);
                    (id, Ok(Running { pid, pidfd, exit }))
                }
                None => (id, Err(LaunchError::Process(format!("process {pid} came without its descriptor")))),
            },
            Reply::Failed { id, problem } => (id, Err(LaunchError::Process(problem))),
            // One that is not known failed before its work began, and its launch has said so.
            Reply::Exited { pid, status } => {
                if let Some(exit) = state.running.remove(&pid) {
                    exit.send_replace(Some(Exit::of(status)));
                }
                return;
            }
            Reply::Staged | Reply::NotStaged { .. } => return,
        };
        if let Some(asked) = state.asked.remove(&id) {
            // An asker that is gone leaves its process to the pod's cgroup.
            let _ = asked.send(outcome);
        }
    }
}
