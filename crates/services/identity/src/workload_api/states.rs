//! A stream of complete states of one workload.

use super::feed::Updates;
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
pub(crate) const FIRST: Duration = Duration::from_secs(5);

/// Everything that may be known of a workload at one moment.
#[derive(Clone)]
pub(crate) struct State {
    /// One for each identity of the workload, in their order, with its hint; missing until all of them are issued.
    pub(crate) svids: Option<Vec<(Arc<Svid>, Arc<str>)>>,
    /// The own trust domain's, and those of the foreign ones that the workload's pod federates with.
    pub(crate) bundles: BundleSet,
}

impl State {
    /// Every bundle under its name; the own one as well.
    pub(crate) fn bundles(&self) -> impl Iterator<Item = (String, &Bundle)> {
        std::iter::once(self.bundles.own()).chain(self.bundles.foreign()).map(named)
    }

    /// The foreign bundles under their names.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = (String, &Bundle)> {
        self.bundles.foreign().map(named)
    }
}

/// A bundle with the SPIFFE ID of its trust domain, which is its name in all messages.
fn named(bundle: &Bundle) -> (String, &Bundle) {
    (format!("spiffe://{}", bundle.trust_domain()), bundle)
}

/// What the right to a workload's states stands on.
pub(crate) trait Right: Send + Sync + 'static {
    /// Whether it stands, as far as that is known without a look at a process.
    ///
    /// # Errors
    /// How it has ended.
    fn stands(&self, workload: &Workload) -> Result<(), Status>;

    /// Looks at the workload anew: it may have become another user or program, or have been moved out of its pod. What it is
    /// entitled to now, which is something.
    ///
    /// # Errors
    /// How the right has ended.
    fn look(&self, workload: &Workload) -> impl Future<Output = Result<Workload, Status>> + Send;

    /// The answer where the workload is there and what it was entitled to is not.
    fn lost(&self) -> Status;

    /// Waits for its end, and says how it came.
    fn end(&self, workload: &Workload) -> impl Future<Output = Status> + Send;
}

/// Whose states these are, and what ends them.
pub(crate) struct Recipient<R> {
    pub(crate) workload: Workload,
    pub(crate) right: R,
    pub(crate) keyring: Keyring,
    /// Told when an SVID of the workload or a bundle changes.
    pub(crate) updates: Updates,
    /// The foreign trust domains that the pod federates with.
    pub(crate) federates_with: watch::Receiver<BTreeSet<TrustDomain>>,
    /// Closed when the server stops.
    pub(crate) stopped: watch::Receiver<()>,
}

/// What a stream goes through.
struct Sending<R, M> {
    to: Recipient<R>,
    /// What is told in a state; nothing while what is asked for is missing.
    message: fn(&State) -> Option<M>,
    /// The last one that was sent. A message is built again to compare it, so that no key is kept twice.
    last: Option<State>,
    since: Instant,
    /// Whether the right has been judged since the last wait.
    judged: bool,
    over: bool,
}

/// The states as messages: the first as soon as there is one, then each that differs from the one before.
pub(crate) fn states<R: Right, M: PartialEq + Send + 'static>(
    to: Recipient<R>,
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

/// The answer while the server goes away.
pub(crate) fn stopping() -> Status {
    Status::unavailable("the server is stopping")
}

impl<R: Right, M: PartialEq> Sending<R, M> {
    async fn next(&mut self) -> Result<M, Status> {
        loop {
            self.to.updates.mark_unchanged();
            self.to.stands()?;
            let state = self.to.state();
            if let Some(message) = (self.message)(&state)
                && self.last.as_ref().and_then(self.message).as_ref() != Some(&message)
            {
                if !self.judged {
                    self.to.judge().await?;
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

impl<R: Right> Recipient<R> {
    /// See [`Right::stands`].
    pub(crate) fn stands(&self) -> Result<(), Status> {
        self.right.stands(&self.workload)
    }

    /// Whether the workload is still what it was, and entitled to the same.
    ///
    /// # Errors
    /// How the right to it has ended.
    pub(crate) async fn judge(&self) -> Result<(), Status> {
        let now = self.right.look(&self.workload).await?;
        if now.is_like(&self.workload) { Ok(()) } else { Err(self.right.lost()) }
    }

    /// Takes up the identities that the workload is entitled to now that its pod has others.
    async fn follow(&mut self) -> Result<(), Status> {
        let now = self.right.look(&self.workload).await?;
        self.updates.follow(&now.identities);
        self.workload = now;
        Ok(())
    }

    /// Everything that may be known of the workload now.
    pub(crate) fn state(&mut self) -> State {
        let issued =
            |identity: &Identity| Some((self.keyring.svid_of(&identity.subject())?.0, Arc::clone(&identity.hint)));
        State {
            svids: self.workload.identities.iter().map(issued).collect(),
            bundles: self.keyring.bundles(&self.federates_with.borrow_and_update()),
        }
    }

    /// Returns when there may be something new, or why there will never be: at `limit` at the latest, if there is one.
    pub(crate) async fn wait(&mut self, limit: Option<Instant>) -> Result<(), Status> {
        // What has been seen of it stays so.
        let mut offered = self.workload.offered.clone();
        tokio::select! {
            biased;
            // Never an error, neither of them: the pod has the senders.
            Ok(()) = self.federates_with.changed() => Ok(()),
            Ok(()) = offered.changed() => self.follow().await,
            end = self.right.end(&self.workload) => Err(end),
            _ = self.stopped.changed() => Err(stopping()),
            changed = self.updates.changed() => changed.map_err(|_| stopping()),
            () = tokio::time::sleep_until(limit.unwrap_or_else(Instant::now)), if limit.is_some() => {
                Err(Status::unavailable("no SVID has been issued yet"))
            }
        }
    }
}
