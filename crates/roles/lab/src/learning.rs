//! Names: what a pod learns from DNS is in force before it gets the answer, and no longer than it holds.

use crate::dns::{History, Learnt, Lookup};
use crate::lab::Lab;
use anyhow::Result;
use lictor_cluster::Names;
use lictor_model::Name;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Addresses whose time is over are looked for no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

impl Lab {
    /// Puts the addresses of names in force before pods get to know them, and out of force when their time is over.
    pub(crate) async fn learn_names(self: Arc<Self>, mut learnt: mpsc::Receiver<Learnt>) {
        let mut looked = Instant::now();
        loop {
            let next = self.history().next().map(|next| next.max(looked + PAUSE));
            tokio::select! {
                learnt = learnt.recv() => {
                    let Some(Learnt { client, lookup, in_force }) = learnt else { return };
                    match self.learn(client, &lookup).await {
                        // Whoever asked may have gone.
                        Ok(()) => drop(in_force.send(())),
                        Err(error) => {
                            tracing::error!(%error, name = lookup.name, "the addresses of a name are not in force");
                        }
                    }
                }
                () = at(next) => {
                    looked = Instant::now();
                    if let Err(error) = self.forget_names(looked).await {
                        tracing::error!(%error, "addresses of names whose time is over are still in force");
                    }
                }
            }
        }
    }

    /// Takes in an answer to the pod at an address. An answer to no pod opens nothing.
    async fn learn(&self, client: IpAddr, lookup: &Lookup) -> Result<()> {
        // No other snapshot comes meanwhile.
        let _pods = self.pods.lock().await;
        let snapshot = self.snapshot();
        let Some(pod) = snapshot.pod_at(client) else { return Ok(()) };
        let mut history = self.history().clone();
        history.learn(&pod.name, lookup, Instant::now())?;
        self.put_names(history, [&pod.name])
    }

    /// Forgets the addresses whose time is over and that no connection uses.
    async fn forget_names(&self, now: Instant) -> Result<()> {
        let _pods = self.pods.lock().await;
        let mut history = self.history().clone();
        let due = history.due(now);
        history.expire(now, &self.node.peers_in_use(&due)?);
        self.put_names(history, &due)
    }

    /// Puts in force what some pods have learnt; nothing changes when the kernel does not take it.
    fn put_names<'a>(&self, history: History, of: impl IntoIterator<Item = &'a Name>) -> Result<()> {
        let old = self.snapshot();
        let mut names: Names = old.names.clone();
        of.into_iter().for_each(|pod| names.set(pod, history.answers(pod)));
        if names != old.names {
            let mut new = (*old).clone();
            (new.names, new.revision) = (names, old.revision.next());
            let new = Arc::new(new);
            self.node.apply_names(Arc::clone(&new))?;
            self.snapshots.send_replace(new);
        }
        *self.history() = history;
        Ok(())
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
