//! A pod's network namespace, entered for the moment in which a socket is made.

use nix::sched::{CloneFlags, setns};
use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// An open network namespace.
///
/// A socket belongs for its whole life to the namespace that its thread was in when it was made, so the proxy
/// enters a pod's namespace only to make a socket and leaves it again before anything else runs.
#[derive(Debug)]
pub(crate) struct Namespace(OwnedFd);

thread_local! {
    /// The namespace that this thread is in whenever it is in none of the pods'.
    static HOME: OnceCell<OwnedFd> = const { OnceCell::new() };
}

/// Returns the thread to its own namespace when dropped.
struct Return<'a>(&'a OwnedFd);

impl Namespace {
    /// The namespace that a file descriptor refers to (`/proc/<pid>/ns/net`, or a bind mount of one).
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Another descriptor of the same namespace.
    #[cfg(test)]
    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Runs `make` inside the namespace.
    ///
    /// It is synchronous on purpose: no other task of the thread can run while the thread is away.
    ///
    /// # Errors
    /// When the namespace cannot be entered (`CAP_SYS_ADMIN` is needed), and what `make` returns.
    ///
    /// # Aborts
    /// When the way back fails: a thread in a foreign namespace would make every later socket in the wrong pod.
    pub(crate) fn within<T>(&self, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        HOME.with(|home| {
            let home = match home.get() {
                Some(home) => home,
                None => {
                    let opened = File::open("/proc/thread-self/ns/net")?.into();
                    home.get_or_init(|| opened)
                }
            };
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            let _return = Return(home);
            make()
        })
    }
}

impl Drop for Return<'_> {
    fn drop(&mut self) {
        if let Err(error) = setns(self.0, CloneFlags::CLONE_NEWNET) {
            tracing::error!(%error, "cannot return from a pod's network namespace");
            std::process::abort();
        }
    }
}
