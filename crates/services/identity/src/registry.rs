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
mod tests {
    use super::{Conflict, Registration, Registry};
    use crate::cgroup::{Cgroup, CgroupPath};
    use crate::needs::Identity;
    use lictor_model::{Name, SpiffeId};
    use lictor_pki::Subject;
    use std::collections::BTreeSet;
    use time::Duration;

    fn pod(name: &str, account: &str, cgroups: &[(&str, u64)]) -> Registration {
        let cgroup = |&(path, id): &(&str, u64)| Cgroup { path: path.parse().expect("a path"), id }.into();
        Registration {
            pod: Name::parse(name, "shop"),
            uid: None,
            ids: vec![id(account).into()],
            federates_with: BTreeSet::new(),
            cgroups: cgroups.iter().map(cgroup).collect(),
        }
    }

    fn id(account: &str) -> SpiffeId {
        format!("spiffe://td/ns/shop/sa/{account}").parse().expect("an identity")
    }

    fn path(text: &str) -> CgroupPath {
        text.parse().expect("a path")
    }

    #[test]
    fn the_shallowest_registered_cgroup_counts() {
        let registry = Registry::new();
        registry.add(pod("a", "a", &[("/lab/a", 1)])).expect("a place");
        registry.add(pod("b", "b", &[("/lab/b", 2), ("/other/b", 3)])).expect("a place");
        let of = |text: &str| {
            registry.pod_of_path(&path(text)).map(|(pod, place)| (pod.name().to_string(), place.cgroup.id))
        };
        let (a, b) = ("shop/a".to_owned(), "shop/b".to_owned());
        assert_eq!(of("/lab/a"), Some((a.clone(), 1)));
        assert_eq!(of("/lab/a/x/y"), Some((a.clone(), 1)));
        assert_eq!(of("/lab/a/lab/b"), Some((a, 1)), "named like another pod's");
        assert_eq!(of("/other/b/x"), Some((b, 3)));
        for nobody in ["/", "/lab", "/lab/ab", "/lab/a.b", "/x/lab/a"] {
            assert_eq!(of(nobody), None, "{nobody}");
        }
        assert_eq!(registry.pod_of_cgroup(3).map(|pod| pod.name().to_string()).as_deref(), Some("shop/b"));
    }

    #[test]
    fn no_process_can_belong_to_two_pods() {
        let registry = Registry::new();
        registry.add(pod("a", "a", &[("/lab/a", 1)])).expect("a place");
        let refused = |cgroup: &str| registry.add(pod("b", "b", &[("/fine", 8), (cgroup, 9)])).err();
        assert!(matches!(refused("/"), Some(Conflict::Root { .. })));
        for cgroup in ["/lab", "/lab/a", "/lab/a/b"] {
            let Some(Conflict::Overlap { other, .. }) = refused(cgroup) else { panic!("{cgroup} was accepted") };
            assert_eq!(other.to_string(), "shop/a");
        }
        assert_eq!((registry.len(), registry.pod_of_cgroup(8).is_none()), (1, true), "nothing of it was kept");
        assert!(registry.add(pod("b", "b", &[("/lab/ab", 9), ("/lab/a-b", 10)])).is_ok());
    }

    #[test]
    fn a_pod_that_is_removed_or_replaced_knows_it() {
        let registry = Registry::new();
        let mut changes = registry.changes();
        let first = registry.add(pod("a", "a", &[("/lab/a", 1)])).expect("a place");
        assert!(first.is_registered() && changes.has_changed().expect("a registry"));
        let second = registry.add(pod("a", "a", &[("/lab/a", 2)])).expect("its own place again");
        assert!(!first.is_registered() && second.is_registered());
        assert!(registry.pod_of_cgroup(1).is_none());
        changes.mark_unchanged();
        assert!(!registry.remove(&Name::new("shop", "x")) && !changes.has_changed().expect("a registry"));
        assert!(registry.remove(second.name()) && changes.has_changed().expect("a registry"));
        assert!(!second.is_registered() && registry.is_empty());
        assert!(registry.pod_of_path(&path("/lab/a")).is_none());
    }

    #[test]
    fn a_uid_finds_the_one_pod_that_has_it() {
        let registry = Registry::new();
        let with = |name: &str, uid: &str| {
            let plain = pod(name, name, &[(&format!("/lab/{name}"), 0)]);
            registry.add(Registration { uid: Some(uid.into()), ..plain }).expect("a place");
        };
        let of = |uid: &str| registry.pod_of_uid(uid).map(|pod| pod.name().name.to_string());
        with("a", "1");
        with("b", "2");
        assert_eq!((of("1").as_deref(), of("2").as_deref(), of("3")), (Some("a"), Some("b"), None));
        with("c", "2");
        assert_eq!(of("2"), None, "two have it");
        registry.remove(&Name::new("shop", "b"));
        assert_eq!(of("2").as_deref(), Some("c"));
        with("a", "4");
        assert_eq!((of("1"), of("4").as_deref()), (None, Some("a")), "the pod that had it is another one now");
        registry.remove(&Name::new("shop", "a"));
        assert_eq!(of("4"), None);
    }

    #[test]
    fn an_identity_stays_until_its_last_pod_goes() {
        let registry = Registry::new();
        for (name, account) in [("a-0", "a"), ("a-1", "a"), ("b", "b")] {
            registry.add(pod(name, account, &[(&format!("/lab/{name}"), 0)])).expect("a place");
        }
        let accounts = || registry.subjects().iter().map(|subject| subject.id.path().to_owned()).collect::<Vec<_>>();
        assert_eq!(accounts(), ["/ns/shop/sa/a", "/ns/shop/sa/b"]);
        registry.remove(&Name::new("shop", "a-0"));
        assert_eq!(accounts().len(), 2);
        registry.remove(&Name::new("shop", "a-1"));
        assert_eq!(accounts(), ["/ns/shop/sa/b"]);
    }

    #[test]
    fn a_pod_has_several_identities_and_the_strictest_limit_counts() {
        let registry = Registry::new();
        let limited = |account: &str, minutes: i64| Identity {
            x509_lifetime: Some(Duration::minutes(minutes)),
            ..Identity::from(id(account))
        };
        let with = |name: &str, ids: Vec<Identity>| {
            let plain = pod(name, "a", &[(&format!("/lab/{name}"), 0)]);
            registry.add(Registration { ids, ..plain }).expect("a place");
        };
        with("a", vec![id("a").into(), limited("b", 30)]);
        with("b", vec![limited("b", 10)]);
        with("c", vec![limited("b", 10)]);
        with("none", vec![]);
        let limit = |account: &str| registry.lifetime_limit(&id(account).into());
        assert_eq!(registry.subjects(), [id("a").into(), id("b").into()]);
        assert_eq!((limit("a"), limit("b"), limit("x")), (None, Some(Duration::minutes(10)), None));
        registry.remove(&Name::new("shop", "b"));
        assert_eq!(limit("b"), Some(Duration::minutes(10)), "another pod sets it as well");
        registry.remove(&Name::new("shop", "c"));
        assert_eq!(limit("b"), Some(Duration::minutes(30)));
        with("a", vec![id("c").into()]);
        assert_eq!(registry.subjects(), [id("c").into()], "those that it had are gone");
    }

    #[test]
    fn an_identity_with_names_is_needed_by_itself_and_with_them_until_it_has_others() {
        let registry = Registry::new();
        let subject = |name: &str| Subject { id: id("a"), dns_names: [name.parse().expect("a name")].into() };
        let named = |name: &str, minutes: i64| Identity {
            dns_names: subject(name).dns_names,
            x509_lifetime: Some(Duration::minutes(minutes)),
            ..Identity::from(id("a"))
        };
        let with = |name: &str, ids: Vec<Identity>| {
            let plain = pod(name, "a", &[(&format!("/lab/{name}"), 0)]);
            registry.add(Registration { ids, ..plain }).expect("a place");
        };
        let plain = || Subject::from(id("a"));
        with("plain", vec![id("a").into()]);
        assert_eq!(registry.subjects(), [plain()], "no second one where there are no names");
        with("a", vec![named("a.test", 30)]);
        with("b", vec![named("b.test", 10)]);
        assert_eq!(registry.subjects(), [plain(), subject("a.test"), subject("b.test")]);
        let limit = |subject: Subject| registry.lifetime_limit(&subject).map(Duration::whole_minutes);
        assert_eq!(
            [limit(plain()), limit(subject("a.test")), limit(subject("b.test"))],
            [Some(10), Some(30), Some(10)]
        );

        let mut changes = registry.changes();
        let a = Name::new("shop", "a");
        registry.set_identities(&a, vec![named("a.test", 30)]);
        registry.set_identities(&Name::new("shop", "x"), vec![named("x.test", 30)]);
        assert!(!changes.has_changed().expect("a registry"), "nothing is new");
        registry.set_identities(&a, vec![named("b.test", 5)]);
        assert!(changes.has_changed().expect("a registry"));
        assert_eq!(registry.subjects(), [plain(), subject("b.test")]);
        assert_eq!([limit(plain()), limit(subject("b.test"))], [Some(5), Some(5)]);
        changes.mark_unchanged();
        registry.remove(&a);
        registry.remove(&Name::new("shop", "b"));
        assert_eq!((registry.subjects(), limit(plain())), (vec![plain()], None));
    }
}
