//! A process that cannot be confused with another one that later gets its number.

use crate::cgroup::{CgroupPath, InvalidCgroupPath};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A process, held by its pidfd.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
    pid: u32,
}

/// Why nothing can be said about a process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The socket has no peer process, or the kernel (before 6.5) does not tell it.
    #[error("expected the kernel to name the peer of the socket (SO_PEERPIDFD, Linux 6.5): {0}")]
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
    /// The process that connected `socket`, a unix stream socket; not one that it passed the socket to.
    ///
    /// # Errors
    /// The kernel does not name it, or it has ended and is gone.
    pub fn of_peer(socket: &impl AsFd) -> Result<Self, ProcessError> {
        let pidfd = getsockopt(socket, PeerPidfd).map_err(ProcessError::Peer)?;
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
    /// The number is looked up first and the pidfd asked afterwards: if the process still runs then, the number was
    /// its own all the time, and so what was read is about it.
    ///
    /// # Errors
    /// It has ended, or is in a cgroup that we cannot see.
    pub fn cgroup(&self) -> Result<CgroupPath, ProcessError> {
        let text = read(&format!("/proc/{}/cgroup", self.pid));
        if !self.is_running() {
            return Err(ProcessError::Ended { pid: self.pid });
        }
        match CgroupPath::from_proc(&text?) {
            Some(path) => Ok(path?),
            None => Err(ProcessError::NoCgroup { pid: self.pid }),
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn read(path: &str) -> Result<String, ProcessError> {
    fs::read_to_string(path).map_err(|error| ProcessError::Read { path: path.to_owned(), error })
}

/// The `Pid:` line of a pidfd's fdinfo: -1 for a process that is gone, 0 for one outside our pid namespace.
fn pid_of(fdinfo: &str) -> Option<i64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Process, pid_of};
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn the_number_is_read_from_its_own_line() {
        assert_eq!(pid_of("pos:\t0\nflags:\t02000002\nPid:\t4711\nNSpid:\t4711\t1\n"), Some(4711));
        assert_eq!(pid_of("NSpid:\t5\nPid:\t-1\n"), Some(-1));
        assert_eq!(pid_of("NSpid:\t5\n"), None);
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
