//! The zygote itself: one thread that forks what it is asked for and says what became of it.

use super::fork::{Started, start};
use super::protocol::{LONGEST, Launch, Reply, Request, Work, receive, send};
use crate::process::sandbox;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Runs the zygote on the socket that is its standard input, until the lab closes the other end.
///
/// To be called first thing by a process with one thread: its children go on from here without executing
/// anything. Errors: the stage cannot be set (the lab has been told), or the socket breaks.
pub fn run() -> io::Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let mut buffer = vec![0; LONGEST];
    let Some((request, _)) = receive::<Request>(&socket, &mut buffer)? else { return Ok(()) };
    let Request::Stage(stage) = request else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "expected a stage first"));
    };
    let pods = match stage.set() {
        Ok(pods) => pods,
        Err(error) => {
            send(&socket, &Reply::NotStaged { problem: error.to_string() }, &[])?;
            return Err(error);
        }
    };
    let mut ended = SigSet::empty();
    ended.add(Signal::SIGCHLD);
    ended.thread_block()?;
    let ends = SignalFd::with_flags(&ended, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let own_pids = File::open("/proc/self/ns/pid")?;
    let zygote = Zygote { socket, pods, own_pids: own_pids.into() };
    send(&zygote.socket, &Reply::Staged, &[])?;
    loop {
        let mut ready =
            [PollFd::new(zygote.socket.as_fd(), PollFlags::POLLIN), PollFd::new(ends.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [asked, _] = ready.map(|one| one.any().unwrap_or_default());
        while ends.read_signal()?.is_some() {}
        zygote.report_ends()?;
        if asked {
            match receive::<Request>(&zygote.socket, &mut buffer)? {
                Some((request, descriptors)) => zygote.answer(request, descriptors)?,
                None => return Ok(()),
            }
        }
    }
}

struct Zygote {
    socket: OwnedFd,
    pods: PathBuf,
    own_pids: OwnedFd,
}

impl Zygote {
    fn answer(&self, request: Request, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let (id, outcome) = match (request, <[OwnedFd; 3]>::try_from(descriptors)) {
            (Request::Launch { id, launch }, Ok([network, cgroup, log])) => {
                (id, self.launch(&launch, network.as_fd(), cgroup.as_fd(), log.as_fd()))
            }
            (Request::Beside { id, work }, Ok([process, cgroup, output])) => {
                (id, self.beside(&work, process.as_fd(), cgroup.as_fd(), output.as_fd()))
            }
            (Request::Launch { id, .. } | Request::Beside { id, .. }, Err(_)) => {
                (id, Err(io::Error::new(io::ErrorKind::InvalidData, "expected three descriptors")))
            }
            (Request::Stage(_), _) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the stage is set once")),
        };
        match outcome {
            Ok(started) => send(&self.socket, &Reply::Launched { id, pid: started.pid }, &[started.pidfd.as_fd()]),
            Err(error) => send(&self.socket, &Reply::Failed { id, problem: error.to_string() }, &[]),
        }
    }

    fn launch(
        &self,
        launch: &Launch,
        network: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
        log: BorrowedFd<'_>,
    ) -> io::Result<Started> {
        let new = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS;
        start(new, cgroup, |tell| {
            sandbox::enter(launch, &self.pods, network)?;
            sandbox::settle(log)?;
            work(&launch.work, tell)
        })
    }

    fn beside(
        &self,
        beside: &Work,
        process: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
        output: BorrowedFd<'_>,
    ) -> io::Result<Started> {
        // Only children come to be in the PID namespace that a process enters, so it can be left again.
        setns(process, CloneFlags::CLONE_NEWPID)?;
        let outcome = start(0, cgroup, |tell| {
            sandbox::enter_beside(process)?;
            sandbox::settle(output)?;
            work(beside, tell)
        });
        setns(&self.own_pids, CloneFlags::CLONE_NEWPID)?;
        outcome
    }

    /// Tells of every child that has ended.
    fn report_ends(&self) -> io::Result<()> {
        loop {
            let mut status = 0;
            // SAFETY: the pointer is to an integer that outlives the call.
            #[allow(unsafe_code)]
            let outcome = Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) });
            match outcome {
                Ok(0) | Err(Errno::ECHILD) => return Ok(()),
                Ok(pid) => send(&self.socket, &Reply::Exited { pid: pid.cast_unsigned(), status }, &[])?,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Does the work of a child; returns only if that fails. `tell` is closed once it has begun: by hand, or by
/// the execution of a program.
fn work(work: &Work, tell: &mut Option<File>) -> io::Result<Infallible> {
    match work {
        Work::StandIn(stand_in) => sandbox::stand_in(stand_in, tell),
        Work::Command { arguments, environment } => sandbox::execute(arguments, environment),
    }
}
