//! Wakes the streams that a change of the keyring concerns, and no others.

use lictor_model::SpiffeId;
use lictor_pki::{Change, Keyring, Subscription};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

pub(super) struct Feed {
    streams: Streams,
    _subscription: Subscription,
}

#[derive(Clone, Default)]
struct Streams(Arc<Mutex<HashMap<SpiffeId, watch::Sender<()>>>>);

impl Feed {
    pub(super) fn of(keyring: &Keyring) -> Self {
        let streams = Streams::default();
        let subscription = keyring.subscribe({
            let streams = streams.clone();
            move |change| streams.wake(change)
        });
        Self { streams, _subscription: subscription }
    }

    /// Told of every later change that concerns `id`; the bundle concerns everyone.
    pub(super) fn subscribe(&self, id: &SpiffeId) -> watch::Receiver<()> {
        let mut streams = self.streams.lock();
        streams.entry(id.clone()).or_insert_with(|| watch::Sender::new(())).subscribe()
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
            Change::Bundle => streams.values().for_each(|sender| sender.send_modify(|()| ())),
        }
    }

    // Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
