//! The zygote itself: one thread that forks what it is asked for and says what became of it.

use super::protocol::{LONGEST, Launch, Reply, Request, Work, receive, send};
use crate::process::sandbox;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::pipe2;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// The exit status of a child that failed before its work began: a shell's for a command that it cannot run.
const NOT_STARTED: i32 = 127;

/// linux/sched.h; wider than the constant of the libc crate.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

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

/// A child that works.
struct Started {
    pid: u32,
    pidfd: OwnedFd,
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

/// Forks a child into a cgroup and waits until its work has begun.
///
/// The child runs `child` with the end of a pipe that is closed when that is so; what `child` returns is an
/// error, and is returned here.
fn start(
    new: libc::c_int,
    cgroup: BorrowedFd<'_>,
    child: impl FnOnce(&mut Option<File>) -> io::Result<Infallible>,
) -> io::Result<Started> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let Some(process) = fork_into(new, cgroup)? else {
        // The child. It must not go back to where it was forked from, whatever happens.
        let mut tell = Some(File::from(write));
        let ended = catch_unwind(AssertUnwindSafe(|| child(&mut tell)));
        let problem = match ended {
            Ok(Ok(never)) => match never {},
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the process panicked before its work began".to_owned(),
        };
        match tell {
            Some(mut tell) => drop(tell.write_all(problem.as_bytes())),
            None => eprintln!("{problem}"),
        }
        // SAFETY: ends the process at once, without what its parent registered to run at exit.
        #[allow(unsafe_code)]
        unsafe {
            libc::_exit(NOT_STARTED)
        }
    };
    drop(write);
    let mut problem = String::new();
    File::from(read).read_to_string(&mut problem)?;
    if problem.is_empty() { Ok(process) } else { Err(io::Error::other(problem)) }
}

/// A fork of this process with new namespaces, in a cgroup from its first instruction on; nothing in the child.
#[allow(unsafe_code)]
fn fork_into(new: libc::c_int, cgroup: BorrowedFd<'_>) -> io::Result<Option<Started>> {
    let mut pidfd = -1_i32;
    // SAFETY: all-zero bytes are valid clone3(2) arguments: no flag, no pointer.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from((new | libc::CLONE_PIDFD).cast_unsigned()) | CLONE_INTO_CGROUP;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    // SAFETY: without CLONE_VM and without a stack this is fork(2). The process has one thread, so no lock is
    // held by another and the child may run any code; the arguments are whole and outlive the call.
    let pid =
        Errno::result(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has just made this descriptor for the parent, and nothing else knows of it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Some(Started { pid: u32::try_from(pid).map_err(io::Error::other)?, pidfd }))
}
