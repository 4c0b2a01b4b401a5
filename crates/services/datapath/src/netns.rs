//! Network namespaces held by file descriptor.

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

/// An open network namespace; it lives as long as this handle (or a process in it) does.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// Makes a namespace without a name: nothing to clean up in the file system, whatever happens to us.
    pub fn anonymous() -> io::Result<Self> {
        in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::current()
        })
    }

    /// Opens a namespace by path, such as `/proc/<pid>/ns/net`.
    pub fn open(path: &Path) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// Another handle on the same namespace.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// A descriptor of its own for this namespace.
    pub fn to_fd(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(Into::into)
    }

    /// Runs `work` on a fresh thread inside this namespace; sockets made there belong to it for ever.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }

    /// Moves the calling thread into this namespace until the guard is dropped.
    ///
    /// Cheaper than [`Netns::run`]. For synchronous work only: a guard held over an `await` would leave
    /// whatever else runs on the thread in the wrong network.
    pub fn enter_now(&self) -> io::Result<Entered> {
        let home = Self::current()?;
        setns(&self.0, CloneFlags::CLONE_NEWNET)?;
        Ok(Entered { home, _on_this_thread: PhantomData })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The calling thread is in another namespace; dropping this takes it back.
#[derive(Debug)]
#[must_use = "the thread returns at once when this is dropped"]
pub struct Entered {
    home: Netns,
    _on_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    /// A thread that cannot return would open its next socket in a pod's network, so the process ends.
    fn drop(&mut self) {
        if let Err(error) = setns(&self.home, CloneFlags::CLONE_NEWNET) {
            tracing::error!(%error, "cannot return to the thread's own network namespace");
            std::process::abort();
        }
    }
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(io::Error::other("the namespace thread panicked")))
}
