//! Which worker a pod is on, as the workers themselves ask it.

use crate::worker::Command;
use lictor_model::Name;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender};

/// The number of the worker that each pod is at home on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<HashMap<Name, usize>>>);

impl Places {
    /// The worker of a pod: the one that it is on, else the one with the fewest pods.
    pub(crate) fn settle(&self, pod: &Name, workers: usize) -> usize {
        let mut places = self.lock();
        let load = |number: usize| places.values().filter(|place| **place == number).count();
        let lightest = (0..workers).min_by_key(|number| load(*number)).unwrap_or_default();
        *places.entry(pod.clone()).or_insert(lightest)
    }

    /// The worker of a pod, if it is on this node.
    pub(crate) fn of(&self, pod: &Name) -> Option<usize> {
        self.lock().get(pod).copied()
    }

    /// Forgets a pod; tells where it was.
    pub(crate) fn forget(&self, pod: &Name) -> Option<usize> {
        self.lock().remove(pod)
    }

    /// How many pods there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    // Nothing panics while it holds the lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other workers of the proxy, for one of them.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    own: usize,
    places: Places,
    workers: Vec<WeakUnboundedSender<Command>>,
}

impl Neighbours {
    /// Of worker `own`. It does not keep the others going.
    pub(crate) fn new(own: usize, places: Places, workers: &[UnboundedSender<Command>]) -> Self {
        Self { own, places, workers: workers.iter().map(UnboundedSender::downgrade).collect() }
    }

    /// The worker that a pod is at home on, if that is another one.
    pub(crate) fn other_with(&self, pod: &Name) -> Option<UnboundedSender<Command>> {
        let place = self.places.of(pod).filter(|place| *place != self.own)?;
        self.workers.get(place)?.upgrade()
    }
}
