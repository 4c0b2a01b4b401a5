//! Who may ask, and for what: the one attestation that everything on the socket stands on.

use super::connection::Peer;
use super::feed::Feed;
use super::states::{Recipient, denied};
use crate::attestation::Attestor;
use crate::registry::Pod;
use lictor_pki::Keyring;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Extensions, Status};

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

    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The pod of whoever asks, which has an identity, judged anew for each request.
    pub(super) fn authorize(&self, request: &Extensions) -> Result<(Arc<Pod>, Peer), Status> {
        let (pod, peer) = attested(request, &self.attestor)?;
        if pod.identities().is_empty() {
            tracing::info!(pod = %pod.name(), "a caller of the Workload API belongs to a pod without an identity");
            return Err(denied());
        }
        Ok((pod, peer))
    }

    /// The same caller as one who is told of every change.
    pub(super) fn recipient(&self, pod: Arc<Pod>, peer: Peer) -> Recipient {
        Recipient {
            updates: self.feed.subscribe(pod.identities().iter().map(|identity| &identity.id)),
            federates_with: pod.federates_with(),
            keyring: self.keyring.clone(),
            stopped: self.stopped.clone(),
            pod,
            peer,
        }
    }
}

/// The pod whose process made a request on this socket, by the facts of the kernel alone.
///
/// # Errors
/// `PermissionDenied` for whoever is in no pod; the log has the reason.
pub fn caller_of(request: &Extensions, attestor: &Attestor) -> Result<Arc<Pod>, Status> {
    attested(request, attestor).map(|(pod, _)| pod)
}

fn attested(request: &Extensions, attestor: &Attestor) -> Result<(Arc<Pod>, Peer), Status> {
    let peer = request.get::<Peer>().cloned().ok_or_else(denied)?;
    let caller = peer.caller().ok_or_else(denied)?;
    match attestor.pod_of(caller) {
        Ok(pod) => Ok((pod, peer)),
        Err(error) => {
            tracing::info!(%error, "no identity issued to a caller of the Workload API");
            Err(denied())
        }
    }
}
