//! A process that cannot be confused with another one that later gets its number.

use crate::cgroup::{CgroupPath, InvalidCgroupPath};
use crate::credentials::Credentials;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::{PeerCredentials, PeerPidfd};
use nix::time::{ClockId, clock_gettime};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// A process, held by its pidfd.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    pid: u32,
}

/// Why nothing can be said about a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The socket has no peer process, or the kernel does not tell it.
    #[error("expected the kernel to name the peer of the socket: {0}")]
    Peer(Errno),
    /// The process runs in a pid namespace that is not below ours.
    #[error("expected a process of our own pid namespace or below, the kernel names it {seen}")]
    Foreign {
        /// What the kernel says in place of a number.
        seen: i64,
    },
    /// It has ended.
    #[error("expected a running process, {pid} has ended")]
    Ended {
        /// The number that it had.
        pid: u32,
    },
    /// The kernel hands out no pidfd of it.
    #[error("expected a pidfd of process {pid}: {errno}")]
    Open {
        /// Its number.
        pid: u32,
        /// What went wrong.
        errno: Errno,
    },
    /// It is in no cgroup of the unified hierarchy.
    #[error("expected process {pid} in a cgroup of the unified hierarchy, it is in none")]
    NoCgroup {
        /// Its number.
        pid: u32,
    },
    /// Its cgroup is outside our view.
    #[error(transparent)]
    Cgroup(#[from] InvalidCgroupPath),
    /// The kernel's files about it are not readable.
    #[error("expected to read {path}: {error}")]
    Read {
        /// Which file.
        path: String,
        /// What went wrong.
        error: io::Error,
    },
}

impl Process {
    /// The process that connected `socket`, a unix stream socket; not one that it passed the socket to. Call it when the
    /// connection is accepted.
    ///
    /// # Errors
    /// The kernel does not name it, or it has ended and is gone.
    pub fn of_peer(socket: &impl AsFd) -> Result<Self, ProcessError> {
        match getsockopt(socket, PeerPidfd) {
            Ok(pidfd) => Self::of_pidfd(pidfd),
            // Linux before 6.5 has no such option.
            Err(Errno::ENOPROTOOPT) => Self::of_peer_by_number(socket, since_boot()?),
            Err(errno) => Err(ProcessError::Peer(errno)),
        }
    }

    /// The same where the kernel only tells the number and the user that the peer had when it connected: the process of
    /// that number counts if it runs as that user and had started when the connection was accepted, at `accepted` since
    /// boot. One that took the number over afterwards started later.
    ///
    /// What is left is a peer that ends between its `connect` and our `accept`, and whose number goes to a process of the
    /// same user in that time.
    fn of_peer_by_number(socket: &impl AsFd, accepted: Duration) -> Result<Self, ProcessError> {
        let peer = getsockopt(socket, PeerCredentials).map_err(ProcessError::Peer)?;
        let pid = u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0);
        let pid = pid.ok_or(ProcessError::Foreign { seen: peer.pid().into() })?;
        let process = Self::of_number(pid, accepted)?;
        let own = Credentials::of(&process)?;
        if (own.uid, own.gid) != (peer.uid(), peer.gid()) {
            return Err(ProcessError::Ended { pid });
        }
        Ok(process)
    }

    /// The process that has this number in our pid namespace, if it runs and had started at `known` since boot: one that has
    /// taken the number over after that is another one than was meant.
    ///
    /// # Errors
    /// No process has the number, it is a thread's, its process has ended or is a later one, or the kernel hands out no pidfd.
    pub(crate) fn of_number(pid: u32, known: Duration) -> Result<Self, ProcessError> {
        let pidfd = pidfd_open(pid).map_err(|errno| match errno {
            // EINVAL and ENOENT: the number of a thread that does not lead its process.
            Errno::ESRCH | Errno::EINVAL | Errno::ENOENT => ProcessError::Ended { pid },
            errno => ProcessError::Open { pid, errno },
        })?;
        let process = match Self::of_pidfd(pidfd) {
            Err(ProcessError::Foreign { seen }) if seen < 0 => return Err(ProcessError::Ended { pid }),
            found => found?,
        };
        if process.started()? > known { Err(ProcessError::Ended { pid }) } else { Ok(process) }
    }

    fn of_pidfd(pidfd: OwnedFd) -> Result<Self, ProcessError> {
        let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let text = read(&path)?;
        match pid_of(&text) {
            Some(seen) if seen > 0 => match u32::try_from(seen) {
                Ok(pid) => Ok(Self { pidfd, pid }),
                Err(_) => Err(ProcessError::Foreign { seen }),
            },
            Some(seen) => Err(ProcessError::Foreign { seen }),
            None => Err(ProcessError::Read { path, error: io::ErrorKind::InvalidData.into() }),
        }
    }

    /// Its number in our pid namespace; another process may have it once this one has ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended. A zombie has.
    pub fn is_running(&self) -> bool {
        // A pidfd becomes readable when the process ends: pidfd_open(2).
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(0))
    }

    /// Its cgroup in the unified hierarchy, now.
    ///
    /// # Errors
    /// It has ended, or is in a cgroup that we cannot see.
    pub fn cgroup(&self) -> Result<CgroupPath, ProcessError> {
        let text = self.told(|folder| read(&format!("{folder}/cgroup")))?;
        match CgroupPath::from_proc(&text) {
            Some(path) => Ok(path?),
            None => Err(ProcessError::NoCgroup { pid: self.pid }),
        }
    }
}

impl Process {
    /// What `read` finds in the process' folder of `/proc`, if that is about this process.
    ///
    /// The number is looked up first and the pidfd asked afterwards: if the process still runs then, the number was its own
    /// all the time, and so what was read is about it.
    ///
    /// # Errors
    /// It has ended, or `read` fails.
    pub(crate) fn told<T>(&self, read: impl FnOnce(&str) -> Result<T, ProcessError>) -> Result<T, ProcessError> {
        let found = read(&format!("/proc/{}", self.pid));
        if self.is_running() { found } else { Err(ProcessError::Ended { pid: self.pid }) }
    }
}

impl Process {
    /// When it started, since boot, in the kernel's steps of 10 ms.
    fn started(&self) -> Result<Duration, ProcessError> {
        self.told(|folder| {
            let path = format!("{folder}/stat");
            let text = read(&path)?;
            started_at(&text).ok_or_else(|| ProcessError::Read { path, error: io::ErrorKind::InvalidData.into() })
        })
    }
}

impl Process {
    /// Whether it numbers processes as we do: whether its pid namespace, which it never leaves, is our own.
    ///
    /// # Errors
    /// It has ended, or the kernel does not tell.
    pub(crate) fn numbers_as_we_do(&self) -> Result<bool, ProcessError> {
        let own = namespace("/proc/self/ns/pid")?;
        Ok(self.told(|folder| namespace(&format!("{folder}/ns/pid")))? == own)
    }
}

/// A namespace, by the name that no other has at the same time (namespaces(7)).
fn namespace(path: &str) -> Result<PathBuf, ProcessError> {
    fs::read_link(path).map_err(|error| ProcessError::Read { path: path.to_owned(), error })
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

pub(crate) fn read(path: &str) -> Result<String, ProcessError> {
    fs::read_to_string(path).map_err(|error| ProcessError::Read { path: path.to_owned(), error })
}

/// Field 22 of `/proc/<pid>/stat`, in clock ticks, 100 a second in every user interface of Linux. The second field is the
/// program's name in parentheses and may hold anything, parentheses and blanks too: what follows its last one counts.
///
/// Source: proc_pid_stat(5).
fn started_at(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: u64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks.checked_mul(10)?))
}

pub(crate) fn since_boot() -> Result<Duration, ProcessError> {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).map_err(ProcessError::Peer)
}

#[allow(unsafe_code)]
fn pidfd_open(pid: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: numbers only; the call makes a new descriptor.
    let descriptor = Errno::result(unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) })?;
    let descriptor = i32::try_from(descriptor).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made this descriptor, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The `Pid:` line of a pidfd's fdinfo: -1 for a process that is gone, 0 for one outside our pid namespace.
fn pid_of(fdinfo: &str) -> Option<i64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Process, ProcessError, pid_of, since_boot, started_at};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    #[test]
    fn the_number_is_read_from_its_own_line() {
        assert_eq!(pid_of("pos:\t0\nflags:\t02000002\nPid:\t4711\nNSpid:\t4711\t1\n"), Some(4711));
        assert_eq!(pid_of("NSpid:\t5\nPid:\t-1\n"), Some(-1));
        assert_eq!(pid_of("NSpid:\t5\n"), None);
    }

    #[test]
    fn the_start_is_behind_whatever_name_the_program_has() {
        let stat = |name: &str| format!("12 ({name}) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20\n");
        for name in ["a", "a) S 1 (b", ") ) )", "0 0 0 0"] {
            assert_eq!(started_at(&stat(name)), Some(Duration::from_millis(47_110)), "{name}");
        }
        for text in ["", "12 (a) S 1", "12 a S", &stat("a").replace("4711", "x")] {
            assert_eq!(started_at(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_pidfd_of_the_kernels_the_peer_must_have_started_before_the_connection() {
        let (server, client) = UnixStream::pair().expect("a connection");
        let now = since_boot().expect("a clock");
        let process = Process::of_peer_by_number(&server, now).expect("the peer");
        assert_eq!(process.pid(), std::process::id());
        // Had the connection been accepted before this process began, another one had the number then.
        let before = process.started().expect("a start") - Duration::from_millis(10);
        let refused = Process::of_peer_by_number(&server, before);
        assert!(matches!(refused, Err(ProcessError::Ended { .. })), "{refused:?}");
        drop(client);
    }

    #[test]
    fn a_number_stands_for_the_process_that_had_it_when_it_was_named() {
        let now = since_boot().expect("a clock");
        let own = Process::of_number(std::process::id(), now).expect("this process");
        assert_eq!((own.pid(), own.numbers_as_we_do().expect("a namespace")), (std::process::id(), true));
        let before = own.started().expect("a start") - Duration::from_millis(10);
        let ended = |pid: u32, known| matches!(Process::of_number(pid, known), Err(ProcessError::Ended { .. }));
        assert!(ended(std::process::id(), before), "it was another one's when it was named");
        let thread = std::thread::spawn(|| nix::unistd::gettid().as_raw().cast_unsigned()).join().expect("a thread");
        assert!(ended(thread, now), "a thread is no process");
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = child.id();
        while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::yield_now();
        }
        let later = since_boot().expect("a clock");
        assert!(ended(pid, later), "a zombie has ended");
        child.wait().expect("its end");
        assert!(ended(pid, later) && ended(u32::MAX, later));
    }

    #[test]
    fn the_peer_of_our_own_connection_is_this_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("s")).expect("a listener");
        let client = UnixStream::connect(folder.path().join("s")).expect("a connection");
        let (server, _) = listener.accept().expect("a connection");
        let process = Process::of_peer(&server).expect("the peer");
        assert_eq!(process.pid(), std::process::id());
        assert!(process.is_running());
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("our own cgroups");
        let cgroup = process.cgroup().expect("our own cgroup");
        assert!(own.lines().any(|line| line == format!("0::{cgroup}")), "{cgroup} of {own}");
        drop(client);
    }
}
