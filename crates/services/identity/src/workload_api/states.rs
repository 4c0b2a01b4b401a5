//! A stream of complete states for one caller.

use super::connection::Peer;
use super::feed::Updates;
use crate::attestation::Attestor;
use crate::needs::Identity;
use crate::workload::Workload;
use futures::Stream;
use lictor_model::TrustDomain;
use lictor_pki::{Bundle, BundleSet, Keyring, Svid};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

/// How long a caller waits for its pod to be registered, and then for the first SVID.
pub(super) const FIRST: Duration = Duration::from_secs(5);

/// Everything that a caller may know at one moment.
#[derive(Clone)]
pub(super) struct State {
    /// One for each identity of the caller, in their order, with its hint; missing until all of them are issued.
    pub(super) svids: Option<Vec<(Arc<Svid>, Arc<str>)>>,
    /// The own trust domain's, and those of the foreign ones that the caller's pod federates with.
    pub(super) bundles: BundleSet,
}

impl State {
    /// Every bundle under its name; the own one as well.
    pub(super) fn bundles(&self) -> impl Iterator<Item = (String, &Bundle)> {
        std::iter::once(self.bundles.own()).chain(self.bundles.foreign()).map(named)
    }

    /// The foreign bundles under their names.
    pub(super) fn foreign(&self) -> impl Iterator<Item = (String, &Bundle)> {
        self.bundles.foreign().map(named)
    }
}

/// A bundle with the SPIFFE ID of its trust domain, which is its name in all messages.
fn named(bundle: &Bundle) -> (String, &Bundle) {
    (format!("spiffe://{}", bundle.trust_domain()), bundle)
}

/// Who gets the states, and what ends them.
pub(super) struct Recipient {
    pub(super) workload: Workload,
    pub(super) peer: Peer,
    pub(super) attestor: Arc<Attestor>,
    pub(super) keyring: Keyring,
    /// Told when an SVID of the caller or a bundle changes.
    pub(super) updates: Updates,
    /// The foreign trust domains that the pod federates with.
    pub(super) federates_with: watch::Receiver<BTreeSet<TrustDomain>>,
    /// Closed when the server stops.
    pub(super) stopped: watch::Receiver<()>,
}

/// What a stream goes through.
struct Sending<M> {
    to: Recipient,
    /// What the caller is told in a state; nothing while what it asks for is missing.
    message: fn(&State) -> Option<M>,
    /// The last one that was sent. A message is built again to compare it, so that no key is kept twice.
    last: Option<State>,
    since: Instant,
    /// Whether the caller has been judged since the last wait.
    judged: bool,
    over: bool,
}

/// The caller's states as messages: the first as soon as there is one, then each that differs from the one before.
pub(super) fn states<M: PartialEq + Send + 'static>(
    to: Recipient,
    message: fn(&State) -> Option<M>,
) -> impl Stream<Item = Result<M, Status>> + Send + 'static {
    let sending = Sending { to, message, last: None, since: Instant::now(), judged: true, over: false };
    futures::stream::unfold(sending, |mut sending| async move {
        if sending.over {
            return None;
        }
        let item = sending.next().await;
        sending.over = item.is_err();
        Some((item, sending))
    })
}

/// The one answer to whoever has no right to an identity, whatever the reason; the log has the reason.
pub(super) fn denied() -> Status {
    Status::permission_denied("no identity issued")
}

/// The answer while the server goes away.
pub(super) fn stopping() -> Status {
    Status::unavailable("the Workload API is stopping")
}

impl<M: PartialEq> Sending<M> {
    async fn next(&mut self) -> Result<M, Status> {
        loop {
            self.to.updates.mark_unchanged();
            if !self.to.workload.pod.is_registered() {
                return Err(denied());
            }
            let state = self.to.state();
            if let Some(message) = (self.message)(&state)
                && self.last.as_ref().and_then(self.message).as_ref() != Some(&message)
            {
                if !self.judged && !self.to.is_entitled().await {
                    return Err(denied());
                }
                self.last = Some(state);
                return Ok(message);
            }
            self.judged = false;
            self.wait().await?;
        }
    }

    /// Returns when there may be something new, or why there will never be.
    async fn wait(&mut self) -> Result<(), Status> {
        let limit = self.last.is_none().then_some(self.since + FIRST);
        self.to.wait(limit).await
    }
}

impl Recipient {
    /// Whether the process is still what it was when it asked, and entitled to the same: it may have become another user or
    /// program, or have been moved out of its pod.
    pub(super) async fn is_entitled(&self) -> bool {
        let Some(caller) = self.peer.caller() else { return false };
        match self.attestor.workload(caller, Duration::ZERO).await {
            Ok(now) => Arc::ptr_eq(&now.pod, &self.workload.pod) && now.identities == self.workload.identities,
            Err(error) => {
                tracing::info!(%error, "a caller of the Workload API has lost its right");
                false
            }
        }
    }

    /// Everything that the caller may know now.
    pub(super) fn state(&mut self) -> State {
        let issued = |identity: &Identity| Some((self.keyring.svid(&identity.id)?.0, Arc::clone(&identity.hint)));
        State {
            svids: self.workload.identities.iter().map(issued).collect(),
            bundles: self.keyring.bundles(&self.federates_with.borrow_and_update()),
        }
    }

    /// Returns when there may be something new, or why there will never be: at `limit` at the latest, if there is one.
    pub(super) async fn wait(&mut self, limit: Option<Instant>) -> Result<(), Status> {
        tokio::select! {
            biased;
            // Never an error: the pod has the sender.
            Ok(()) = self.federates_with.changed() => Ok(()),
            () = self.workload.pod.removed() => Err(denied()),
            () = self.peer.ended() => Err(denied()),
            _ = self.stopped.changed() => Err(Status::unavailable("the Workload API is stopping")),
            changed = self.updates.changed() => {
                changed.map_err(|_| Status::unavailable("the Workload API is stopping"))
            }
            () = tokio::time::sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => {
                Err(Status::unavailable("no SVID has been issued yet"))
            }
        }
    }
}
