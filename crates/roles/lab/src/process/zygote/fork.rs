//! A fork into a cgroup, and the word of the child that its work has begun.

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// linux/sched.h; wider than the constant of the libc crate.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// The exit status of a child that failed before its work began: a shell's for a command that it cannot run.
const NOT_STARTED: i32 = 127;
/// What a child says first; a problem may follow.
const ALIVE: u8 = b'+';

/// A child that works.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
}

/// How a child comes to be in its cgroup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// The kernel makes it there.
    Born,
    /// It moves there before it does anything else.
    Moved,
}

/// Forks a child into a cgroup, with `new` namespaces, and waits until its work has begun.
///
/// The child runs `child` with the end of a pipe that is closed when that is so; what `child` returns is an
/// error, and is returned here.
pub(super) fn start(
    new: libc::c_int,
    cgroup: BorrowedFd<'_>,
    child: impl Fn(&mut Option<File>) -> io::Result<Infallible>,
) -> io::Result<Started> {
    match attempt(new, cgroup, Entry::Born, &child)? {
        Some(started) => Ok(started),
        // Linux kills a child at birth when its cgroup has been killed (`cgroup.kill`) another number of times than
        // its parent's. Moving is slower: the kernel waits for every processor first.
        None => attempt(new, cgroup, Entry::Moved, &child)?
            .ok_or_else(|| io::Error::other("the process was killed before it could do anything")),
    }
}

/// One fork; nothing if the child never came to say that it is alive.
fn attempt(
    new: libc::c_int,
    cgroup: BorrowedFd<'_>,
    entry: Entry,
    child: &impl Fn(&mut Option<File>) -> io::Result<Infallible>,
) -> io::Result<Option<Started>> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let Some(process) = fork(new, cgroup, entry)? else {
        // The child. It must not go back to where it was forked from, whatever happens.
        let mut tell = Some(File::from(write));
        let ended = catch_unwind(AssertUnwindSafe(|| {
            if entry == Entry::Moved {
                move_into(cgroup)?;
            }
            tell.as_mut().map_or(Ok(()), |tell| tell.write_all(&[ALIVE]))?;
            child(&mut tell)
        }));
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
    let mut said = Vec::new();
    File::from(read).read_to_end(&mut said)?;
    match said.split_first() {
        None => Ok(None),
        Some((&ALIVE, [])) => Ok(Some(process)),
        Some((&ALIVE, problem)) => Err(io::Error::other(String::from_utf8_lossy(problem).into_owned())),
        Some(_) => Err(io::Error::other(String::from_utf8_lossy(&said).into_owned())),
    }
}

/// Moves the calling process into a cgroup (Documentation/admin-guide/cgroup-v2.rst, `cgroup.procs`).
fn move_into(cgroup: BorrowedFd<'_>) -> io::Result<()> {
    let list = openat(cgroup, "cgroup.procs", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(list).write_all(b"0")
}

/// A fork of this process; nothing in the child.
#[allow(unsafe_code)]
fn fork(new: libc::c_int, cgroup: BorrowedFd<'_>, entry: Entry) -> io::Result<Option<Started>> {
    let mut pidfd = -1_i32;
    // SAFETY: all-zero bytes are valid clone3(2) arguments: no flag, no pointer.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from((new | libc::CLONE_PIDFD).cast_unsigned());
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if entry == Entry::Born {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
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
