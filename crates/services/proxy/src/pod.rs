//! A pod as its worker has it.

use crate::netns::Namespace;
use lictor_model::{Name, SpiffeId};
use std::cell::RefCell;
use std::net::IpAddr;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// A pod whose traffic the proxy is to carry.
#[derive(Debug)]
pub struct PodSockets {
    /// The pod.
    pub name: Name,
    /// Whom its connections prove; the keyring has, or will have, its SVID.
    pub identity: SpiffeId,
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace, in which listeners and connections are made.
    pub namespace: OwnedFd,
}

/// The same, as all workers know it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: Name,
    pub(crate) identity: SpiffeId,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) namespace: Namespace,
    open: AtomicUsize,
}

/// The same, with what belongs to it on one worker.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Tells apart two pods of one name, one after the other.
    pub(crate) number: u64,
    pub(crate) known: Arc<Known>,
    tasks: RefCell<JoinSet<()>>,
}

/// A place among a pod's open connections, free again when dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Known>);

impl Known {
    pub(crate) fn new(sockets: PodSockets) -> Arc<Self> {
        let PodSockets { name, identity, addresses, namespace } = sockets;
        Arc::new(Self { name, identity, addresses, namespace: Namespace::new(namespace), open: AtomicUsize::new(0) })
    }

    /// Whether an address is one of its own.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address.to_canonical())
    }

    /// Its address in the family of another one.
    pub(crate) fn address_like(&self, other: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == other.is_ipv4())
    }
}

impl Pod {
    pub(crate) fn new(number: u64, known: Arc<Known>) -> Self {
        Self { number, known, tasks: RefCell::default() }
    }

    /// A place for one more connection, if fewer than `limit` are taken on all workers.
    pub(crate) fn seat(&self, limit: usize) -> Option<Seat> {
        let one_more = |open: usize| (open < limit).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Seat(Arc::clone(&self.known)))
    }

    /// Runs a task that ends with the pod.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(task);
    }

    /// Ends all of its tasks, and with them its listeners and connections; they are gone when this returns.
    pub(crate) async fn end(&self) {
        loop {
            let mut tasks = self.tasks.take();
            if tasks.is_empty() {
                return;
            }
            tasks.shutdown().await;
        }
    }
}

impl Deref for Pod {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
