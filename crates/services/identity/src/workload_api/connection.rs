//! A connection that knows who opened it.

use crate::attestation::{Attestor, Caller};
use crate::unix_server::Accepted;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

/// A process whose end is noticed: the caller of a connection, as every request of it sees it, or one that a request refers
/// to; `None` if nothing is known about it.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Option<Arc<AsyncFd<Watched>>>);

/// A caller whose end the runtime notices: its pidfd becomes readable then.
#[derive(Debug)]
pub(crate) struct Watched(Arc<Caller>);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.process().as_fd().as_raw_fd()
    }
}

/// An accepted connection with its caller.
pub(super) fn attested(stream: UnixStream, attestor: &Attestor) -> Accepted<UnixStream, Peer> {
    let peer = match attestor.caller(&stream) {
        Ok(caller) => Peer::watch(caller),
        Err(error) => {
            tracing::warn!(%error, "a caller of the Workload API is unknown");
            Peer(None)
        }
    };
    Accepted::new(stream, peer)
}

impl Peer {
    #[allow(unsafe_code)]
    pub(crate) fn watch(caller: Caller) -> Self {
        // SAFETY: the pidfd is an `OwnedFd` inside the caller, which the `AsyncFd` shares and nothing can change: it
        // stays open and the same at least until the `AsyncFd` is dropped. (It is unsafe for types that could close it before.)
        let watched = unsafe { AsyncFd::register_with_interest(Watched(Arc::new(caller)), Interest::READABLE) };
        match watched {
            Ok(watched) => Self(Some(Arc::new(watched))),
            Err(error) => {
                tracing::error!(%error, "a process cannot be watched");
                Self(None)
            }
        }
    }

    /// The process, if the kernel named it.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.0.as_ref().map(|watched| &watched.get_ref().0)
    }

    /// Waits until the process has ended; an unknown one has ended before.
    pub(crate) async fn ended(&self) {
        if let Some(watched) = &self.0 {
            // An error would mean that nobody watches any more, which ends the stream just as well.
            drop(watched.readable().await);
        }
    }
}
