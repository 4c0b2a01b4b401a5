//! The pods of this node, by name and by cgroup.

use crate::cgroup::{Cgroup, CgroupPath};
use crate::needs::{Identity, Needs};
use lictor_model::{Name, TrustDomain};
use lictor_pki::Subject;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use time::Duration;
use tokio::sync::watch;

/// A pod as the runtime started it.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The pod.
    pub pod: Name,
    /// The uid that Kubernetes gave it; nothing for what is no object of Kubernetes.
    pub uid: Option<Arc<str>>,
    /// The identities that its processes get, the default one first; without one they get nothing. An identity may be for
    /// some of the processes only.
    pub ids: Vec<Identity>,
    /// The foreign trust domains whose bundles its processes get, where they are known.
    pub federates_with: BTreeSet<TrustDomain>,
    /// The cgroups that hold all of its processes, and nobody else's.
    pub cgroups: Vec<Place>,
}

/// A cgroup of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The cgroup.
    pub cgroup: Cgroup,
    /// The container whose processes are in it; nothing if they are of no container in particular.
    pub container: Option<Arc<str>>,
}

impl From<Cgroup> for Place {
    fn from(cgroup: Cgroup) -> Self {
        Self { cgroup, container: None }
    }
}

/// A pod that is, or was, registered.
pub struct Pod {
    name: Name,
    uid: Option<Arc<str>>,
    ids: watch::Sender<Arc<[Identity]>>,
    federates_with: watch::Sender<BTreeSet<TrustDomain>>,
    cgroups: Vec<Place>,
    /// Closed when the pod is removed.
    presence: watch::Receiver<()>,
}

/// Why a pod was not registered: its cgroups would make one process belong to two pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The root of the hierarchy holds everybody.
    #[error("expected a cgroup of pod {pod}'s own, saw the root")]
    Root {
        /// The pod.
        pod: Name,
    },
    /// Another pod has this cgroup, one above it, or one below it.
    #[error("expected a cgroup that no other pod has part in, {path} of {pod} and {other_path} of {other} overlap")]
    Overlap {
        /// The pod.
        pod: Name,
        /// Its cgroup.
        path: CgroupPath,
        /// The pod that was there before.
        other: Name,
        /// That one's cgroup.
        other_path: String,
    },
}

/// What runs on this node. Cheap to clone; clones share the content.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    index: RwLock<Index>,
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Index {
    pods: HashMap<Name, Entry>,
    paths: BTreeMap<String, Arc<Pod>>,
    ids: HashMap<u64, Arc<Pod>>,
    /// Those that have a uid; several only where manifests give it to several.
    uids: HashMap<Arc<str>, BTreeSet<Name>>,
    needs: Needs,
}

struct Entry {
    pod: Arc<Pod>,
    /// Dropped with the entry, which is how everyone who holds the pod learns of its end.
    _presence: watch::Sender<()>,
}

impl Registry {
    /// Without pods.
    pub fn new() -> Self {
        Self(Arc::new(Shared { index: RwLock::default(), changes: watch::Sender::new(()) }))
    }

    /// Registers a pod. One that was registered under the same name ends: what it was entitled to, it loses.
    ///
    /// # Errors
    /// A cgroup overlaps with another pod's; then nothing has changed.
    pub fn add(&self, registration: Registration) -> Result<Arc<Pod>, Conflict> {
        let (sender, presence) = watch::channel(());
        let Registration { pod: name, uid, ids, federates_with, cgroups } = registration;
        let (ids, federates_with) = (watch::Sender::new(ids.into()), watch::Sender::new(federates_with));
        let pod = Arc::new(Pod { name, uid, ids, federates_with, cgroups, presence });
        {
            let mut index = self.0.index.write().unwrap_or_else(PoisonError::into_inner);
            for place in &pod.cgroups {
                index.check(&pod.name, &place.cgroup.path)?;
            }
            index.remove(&pod.name);
            index.insert(Arc::clone(&pod), sender);
        }
        self.0.changes.send_replace(());
        Ok(pod)
    }

    /// Forgets a pod; returns whether there was one. Its open streams end.
    pub fn remove(&self, pod: &Name) -> bool {
        let removed = self.0.index.write().unwrap_or_else(PoisonError::into_inner).remove(pod);
        if removed {
            self.0.changes.send_replace(());
        }
        removed
    }

    /// Has a pod federate with these trust domains from now on, and no others; its open streams are told. Nothing happens
    /// if there is no such pod.
    pub fn set_federates_with(&self, pod: &Name, federates_with: &BTreeSet<TrustDomain>) {
        let Some(pod) = self.pod(pod) else { return };
        pod.federates_with.send_if_modified(|known| {
            let differs = known != federates_with;
            if differs {
                known.clone_from(federates_with);
            }
            differs
        });
    }

    /// Gives a pod's processes these identities from now on; its open streams follow. Nothing happens if there is no such pod.
    pub fn set_identities(&self, pod: &Name, ids: Vec<Identity>) {
        {
            let mut index = self.0.index.write().unwrap_or_else(PoisonError::into_inner);
            let Some(Entry { pod, .. }) = index.pods.get(pod) else { return };
            if **pod.ids.borrow() == *ids {
                return;
            }
            let pod = Arc::clone(pod);
            ids.iter().for_each(|identity| index.needs.add(identity));
            let before = pod.ids.send_replace(ids.into());
            before.iter().for_each(|identity| index.needs.remove(identity));
        }
        self.0.changes.send_replace(());
    }

    /// A pod by its name.
    pub fn pod(&self, name: &Name) -> Option<Arc<Pod>> {
        self.read().pods.get(name).map(|entry| Arc::clone(&entry.pod))
    }

    /// The one pod that has this uid; nothing where two have it, since neither is meant then.
    pub fn pod_of_uid(&self, uid: &str) -> Option<Arc<Pod>> {
        let index = self.read();
        let named = index.uids.get(uid).filter(|named| named.len() == 1)?;
        index.pods.get(named.first()?).map(|entry| Arc::clone(&entry.pod))
    }

    /// The pod that has the cgroup of this number itself, not one below it.
    pub fn pod_of_cgroup(&self, id: u64) -> Option<Arc<Pod>> {
        self.read().ids.get(&id).cloned()
    }

    /// The pod that a process in this cgroup belongs to, and the pod's own cgroup above it: the shallowest that is
    /// registered, since a workload may make what it likes below its own, and names it as it likes.
    pub fn pod_of_path(&self, path: &CgroupPath) -> Option<(Arc<Pod>, Place)> {
        let index = self.read();
        path.lineage().find_map(|above| {
            let pod = index.paths.get(above)?;
            let place = pod.cgroups.iter().find(|place| place.cgroup.path.as_str() == above)?;
            Some((Arc::clone(pod), place.clone()))
        })
    }

    /// Whom the SVIDs name that the pods need, each once, in order: every identity by itself, and with the DNS names that it has
    /// in a pod.
    pub fn subjects(&self) -> Vec<Subject> {
        self.read().needs.iter().cloned().collect()
    }

    /// Whether something holds for one of the pods' subjects; nothing if no pod has any.
    pub fn any_subject(&self, holds: impl FnMut(&Subject) -> bool) -> Option<bool> {
        let index = self.read();
        let mut subjects = index.needs.iter().peekable();
        subjects.peek().is_some().then(|| subjects.any(holds))
    }

    /// The most that an X509-SVID of a subject lives, if a pod sets a limit: the strictest of them.
    pub fn lifetime_limit(&self, subject: &Subject) -> Option<Duration> {
        self.read().needs.lifetime_limit(subject)
    }

    /// The pods that have an identity, in order.
    pub fn pods_with(&self, subject: &Subject) -> Vec<Name> {
        let index = self.read();
        let needs = |identity: &Identity| {
            identity.id == subject.id && (subject.dns_names.is_empty() || identity.dns_names == subject.dns_names)
        };
        let has = |pod: &Pod| pod.ids.borrow().iter().any(needs);
        let mut names: Vec<Name> =
            index.pods.values().filter(|entry| has(&entry.pod)).map(|entry| entry.pod.name.clone()).collect();
        names.sort();
        names
    }

    /// How many pods there are.
    pub fn len(&self) -> usize {
        self.read().pods.len()
    }

    /// Whether there is no pod.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tells of every change after this call.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    // Nothing panics while it holds the lock, so a poisoned one has whole content.
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    fn check(&self, pod: &Name, path: &CgroupPath) -> Result<(), Conflict> {
        if path.is_root() {
            return Err(Conflict::Root { pod: pod.clone() });
        }
        let below = format!("{path}/");
        let at_or_above = path.lineage().filter_map(|above| self.paths.get_key_value(above));
        let inside = self.paths.range(below.clone()..).take_while(|(other, _)| other.starts_with(&below));
        match at_or_above.chain(inside).find(|(_, other)| other.name != *pod) {
            Some((other_path, other)) => Err(Conflict::Overlap {
                pod: pod.clone(),
                path: path.clone(),
                other: other.name.clone(),
                other_path: other_path.clone(),
            }),
            None => Ok(()),
        }
    }

    fn insert(&mut self, pod: Arc<Pod>, presence: watch::Sender<()>) {
        for Place { cgroup, .. } in &pod.cgroups {
            self.paths.insert(cgroup.path.as_str().to_owned(), Arc::clone(&pod));
            self.ids.insert(cgroup.id, Arc::clone(&pod));
        }
        if let Some(uid) = &pod.uid {
            self.uids.entry(Arc::clone(uid)).or_default().insert(pod.name.clone());
        }
        pod.ids.borrow().iter().for_each(|identity| self.needs.add(identity));
        self.pods.insert(pod.name.clone(), Entry { pod, _presence: presence });
    }

    fn remove(&mut self, name: &Name) -> bool {
        let Some(Entry { pod, .. }) = self.pods.remove(name) else { return false };
        for Place { cgroup, .. } in &pod.cgroups {
            self.paths.remove(cgroup.path.as_str());
            self.ids.remove(&cgroup.id);
        }
        if let Some(uid) = &pod.uid
            && let Some(named) = self.uids.get_mut(uid)
        {
            named.remove(name);
            if named.is_empty() {
                self.uids.remove(uid);
            }
        }
        pod.ids.borrow().iter().for_each(|identity| self.needs.remove(identity));
        true
    }
}

impl Pod {
    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The uid that Kubernetes gave it, if it is an object of Kubernetes.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    /// The identities that its processes get, the default one first; tells of every change after this call. Which of them a
    /// process gets, its [`Workload`](crate::Workload) says.
    pub(crate) fn identities(&self) -> watch::Receiver<Arc<[Identity]>> {
        self.ids.subscribe()
    }

    /// The foreign trust domains whose bundles its processes get; tells of every change after this call.
    pub fn federates_with(&self) -> watch::Receiver<BTreeSet<TrustDomain>> {
        self.federates_with.subscribe()
    }

    /// Its cgroups.
    pub fn cgroups(&self) -> &[Place] {
        &self.cgroups
    }

    /// Whether it has not been removed.
    pub fn is_registered(&self) -> bool {
        self.presence.has_changed().is_ok()
    }

    /// Waits until it is removed.
    pub async fn removed(&self) {
        let mut presence = self.presence.clone();
        while presence.changed().await.is_ok() {}
    }
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pod").field("name", &self.name).field("ids", &self.ids.borrow()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("pods", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
