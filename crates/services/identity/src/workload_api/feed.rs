//! Wakes the streams that a change of the keyring concerns, and no others.

use lictor_model::SpiffeId;
use lictor_pki::{Change, Keyring, Subscription};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

pub(crate) struct Feed {
    streams: Streams,
    _subscription: Subscription,
}

/// What tells a stream that one of its identities, or a bundle, has changed.
pub(crate) struct Updates(Vec<watch::Receiver<()>>);

impl Updates {
    /// Everything so far is known.
    pub(crate) fn mark_unchanged(&mut self) {
        self.0.iter_mut().for_each(watch::Receiver::mark_unchanged);
    }

    /// Waits for the next change; never returns without an identity.
    ///
    /// # Errors
    /// Nobody will tell of any more.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        let changes: Vec<_> = self.0.iter_mut().map(|one| Box::pin(one.changed())).collect();
        match changes.is_empty() {
            true => std::future::pending().await,
            false => futures::future::select_all(changes).await.0,
        }
    }
}

#[derive(Clone, Default)]
struct Streams(Arc<Mutex<HashMap<SpiffeId, watch::Sender<()>>>>);

impl Feed {
    pub(crate) fn of(keyring: &Keyring) -> Self {
        let streams = Streams::default();
        let subscription = keyring.subscribe({
            let streams = streams.clone();
            move |change| streams.wake(change)
        });
        Self { streams, _subscription: subscription }
    }

    /// Told of every later change that concerns one of `ids`; bundles concern everyone.
    pub(crate) fn subscribe<'i>(&self, ids: impl Iterator<Item = &'i SpiffeId>) -> Updates {
        let mut streams = self.streams.lock();
        let mut one = |id: &SpiffeId| streams.entry(id.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        Updates(ids.map(&mut one).collect())
    }
}

impl Streams {
    fn wake(&self, change: &Change) {
        let mut streams = self.lock();
        match change {
            Change::Inserted(id) | Change::Removed(id) => {
                let deserted = streams.get(id).is_some_and(|sender| {
                    sender.send_replace(());
                    sender.receiver_count() == 0
                });
                if deserted {
                    streams.remove(id);
                }
            }
            Change::Bundle | Change::Foreign(_) => streams.values().for_each(|sender| sender.send_modify(|()| ())),
        }
    }

    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
