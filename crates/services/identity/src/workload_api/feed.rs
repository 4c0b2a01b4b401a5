//! Wakes the streams that a change of the keyring concerns, and no others.

use crate::needs::Identity;
use lictor_pki::{Change, Keyring, Subject, Subscription};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

pub(crate) struct Feed {
    streams: Streams,
    _subscription: Subscription,
}

/// What tells a stream that one of its SVIDs, or a bundle, has changed.
pub(crate) struct Updates {
    of: Vec<watch::Receiver<()>>,
    streams: Streams,
}

impl Updates {
    /// Everything so far is known.
    pub(crate) fn mark_unchanged(&mut self) {
        self.of.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }

    /// Told of every later change that concerns one of these identities, and no others.
    pub(crate) fn follow(&mut self, identities: &[Identity]) {
        self.of = self.streams.subscribe(identities);
    }

    /// Waits for the next change; never returns without an identity.
    ///
    /// # Errors
    /// Nobody will tell of any more.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        let changes: Vec<_> = self.of.iter_mut().map(|one| Box::pin(one.changed())).collect();
        match changes.is_empty() {
            true => std::future::pending().await,
            false => futures::future::select_all(changes).await.0,
        }
    }
}

#[derive(Clone, Default)]
struct Streams(Arc<Mutex<HashMap<Subject, watch::Sender<()>>>>);

impl Feed {
    pub(crate) fn of(keyring: &Keyring) -> Self {
        let streams = Streams::default();
        let subscription = keyring.subscribe({
            let streams = streams.clone();
            move |change| streams.wake(change)
        });
        Self { streams, _subscription: subscription }
    }

    /// Told of every later change that concerns one of these identities; bundles concern everyone.
    pub(crate) fn subscribe(&self, identities: &[Identity]) -> Updates {
        Updates { of: self.streams.subscribe(identities), streams: self.streams.clone() }
    }
}

impl Streams {
    fn subscribe(&self, identities: &[Identity]) -> Vec<watch::Receiver<()>> {
        let mut streams = self.lock();
        let mut one = |subject: Subject| streams.entry(subject).or_insert_with(|| watch::Sender::new(())).subscribe();
        identities.iter().map(|identity| one(identity.subject())).collect()
    }

    fn wake(&self, change: &Change) {
        let mut streams = self.lock();
        match change {
            Change::Inserted(subject) | Change::Removed(subject) => {
                let deserted = streams.get(subject).is_some_and(|sender| {
                    sender.send_replace(());
                    sender.receiver_count() == 0
                });
                if deserted {
                    streams.remove(subject);
                }
            }
            Change::Bundle | Change::Foreign(_) => streams.values().for_each(|sender| sender.send_modify(|()| ())),
        }
    }

    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
