//! Who may ask, and for what: the one attestation that everything on the socket stands on.

use super::connection::Peer;
use super::feed::Feed;
use super::states::{self, FIRST, Right, stopping};
use crate::attestation::Attestor;
use crate::registry::Pod;
use crate::workload::Workload;
use lictor_pki::Keyring;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic::{Extensions, Status};

/// A caller who is told of every change.
pub(super) type Recipient = states::Recipient<Presence>;

/// The right of a caller: its process is there, in its pod.
pub(super) struct Presence {
    peer: Peer,
    attestor: Arc<Attestor>,
}

/// The one answer to whoever has no right to an identity, whatever the reason; the log has the reason.
pub(super) fn denied() -> Status {
    Status::permission_denied("no identity issued")
}

impl Right for Presence {
    fn stands(&self, workload: &Workload) -> Result<(), Status> {
        if workload.pod.is_registered() { Ok(()) } else { Err(denied()) }
    }

    async fn look(&self, workload: &Workload) -> Result<Workload, Status> {
        let caller = self.peer.caller().ok_or_else(denied)?;
        match self.attestor.workload(caller, Duration::ZERO).await {
            Ok(now) if now.follows(workload) => Ok(now),
            Ok(_) => Err(denied()),
            Err(error) => {
                tracing::info!(%error, "a caller of the Workload API has lost its right");
                Err(denied())
            }
        }
    }

    fn lost(&self) -> Status {
        denied()
    }

    async fn end(&self, workload: &Workload) -> Status {
        tokio::select! {
            () = workload.pod.removed() => {}
            () = self.peer.ended() => {}
        }
        denied()
    }
}

pub(super) struct Callers {
    attestor: Arc<Attestor>,
    keyring: Keyring,
    feed: Feed,
    stopped: watch::Receiver<()>,
}

impl Callers {
    pub(super) fn new(attestor: Arc<Attestor>, keyring: Keyring, stopped: watch::Receiver<()>) -> Self {
        let feed = Feed::of(&keyring);
        Self { attestor, keyring, feed, stopped }
    }

    pub(super) fn attestor(&self) -> &Attestor {
        &self.attestor
    }

    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Closed when the server stops.
    pub(super) fn stopped(&self) -> watch::Receiver<()> {
        self.stopped.clone()
    }

    /// Whoever asks, who is entitled to an identity, judged anew for each request; it waits for a pod that is just being
    /// registered.
    pub(super) async fn authorize(&self, request: &Extensions) -> Result<(Workload, Peer), Status> {
        let (workload, peer) = self.attested(request).await?;
        if workload.identities.is_empty() {
            tracing::info!(pod = %workload.pod.name(), "a caller of the Workload API is entitled to no identity");
            return Err(denied());
        }
        Ok((workload, peer))
    }

    async fn attested(&self, request: &Extensions) -> Result<(Workload, Peer), Status> {
        let peer = request.get::<Peer>().cloned().ok_or_else(denied)?;
        let caller = peer.caller().ok_or_else(denied)?;
        let mut stopped = self.stopped();
        let workload = tokio::select! {
            biased;
            workload = self.attestor.workload(caller, FIRST) => workload,
            () = peer.ended() => return Err(denied()),
            _ = stopped.changed() => return Err(stopping()),
        };
        match workload {
            Ok(workload) => Ok((workload, peer)),
            Err(error) => {
                tracing::info!(%error, "no identity issued to a caller of the Workload API");
                Err(denied())
            }
        }
    }

    /// The same caller as one who is told of every change.
    pub(super) fn recipient(&self, workload: Workload, peer: Peer) -> Recipient {
        Recipient {
            updates: self.feed.subscribe(&workload.identities),
            federates_with: workload.pod.federates_with(),
            keyring: self.keyring.clone(),
            stopped: self.stopped.clone(),
            right: Presence { peer, attestor: Arc::clone(&self.attestor) },
            workload,
        }
    }
}

/// The pod whose process made a request on this socket, by the facts of the kernel alone.
///
/// # Errors
/// `PermissionDenied` for whoever is in no pod; the log has the reason.
pub fn caller_of(request: &Extensions, attestor: &Attestor) -> Result<Arc<Pod>, Status> {
    let peer = request.get::<Peer>().cloned().ok_or_else(denied)?;
    let caller = peer.caller().ok_or_else(denied)?;
    attestor.pod_of(caller).map_err(|error| {
        tracing::info!(%error, "a caller on the agent's socket is in no pod");
        denied()
    })
}
