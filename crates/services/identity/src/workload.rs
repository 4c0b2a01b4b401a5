//! A process that asks, and what it is entitled to.

use crate::attestation::Caller;
use crate::credentials::Credentials;
use crate::needs::{Identity, Processes};
use crate::process::{Process, ProcessError};
use crate::program::{self, Digests};
use crate::registry::{Place, Pod};
use lictor_model::ProcessSelector;
use nix::unistd::{Gid, Group, Uid, User};
use std::cell::OnceCell;
use std::sync::Arc;
use tokio::sync::watch;

/// A process at one moment: its pod, its container, and what it may prove; or a pod as a whole.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// Its container, if it is of one in particular.
    pub container: Option<Arc<str>>,
    /// The identities that it gets, its default one first. None is there twice, and no hint but the empty one.
    pub identities: Arc<[Identity]>,
    /// Those of its pod, of which it gets some; tells of every change since it was looked at.
    pub(crate) offered: watch::Receiver<Arc<[Identity]>>,
}

impl Workload {
    /// What `caller`, who is at `place` of `pod`, is entitled to now.
    pub(crate) async fn of(pod: Arc<Pod>, place: Place, caller: &Arc<Caller>, digests: &Arc<Digests>) -> Self {
        let (container, mut offered) = (place.container, pod.identities());
        let may_get = |identity: &&Identity| identity.processes.may_be_in(container.as_ref());
        let candidates: Vec<Identity> = offered.borrow_and_update().iter().filter(may_get).cloned().collect();
        let judged = candidates.iter().any(|identity| !identity.processes.selectors.is_empty());
        let entitled = if judged {
            let (caller, digests) = (Arc::clone(caller), Arc::clone(digests));
            let judge = move || {
                let facts = Facts::of(caller.process(), &digests);
                candidates.into_iter().filter(|identity| facts.meet(identity)).collect()
            };
            // Files are read, users looked up: not on a thread that others wait for. If it fails, nothing holds.
            tokio::task::spawn_blocking(judge).await.unwrap_or_default()
        } else {
            candidates
        };
        Self { pod, container, identities: distinct(entitled), offered }
    }

    /// Whether another look at the process found the same pod, and that it is entitled to the same. DNS names may be others:
    /// they are no right of a process, and follow by themselves.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let same = |(one, other): (&Identity, &Identity)| one.is_like(other);
        Arc::ptr_eq(&self.pod, &other.pod)
            && self.identities.len() == other.identities.len()
            && self.identities.iter().zip(&*other.identities).all(same)
    }

    /// A pod as a whole: what every process of it is entitled to, and nothing that depends on the process.
    pub(crate) fn of_pod(pod: Arc<Pod>) -> Self {
        let whole = |identity: &&Identity| identity.processes == Processes::default();
        let mut offered = pod.identities();
        let entitled = offered.borrow_and_update().iter().filter(whole).cloned().collect();
        Self { pod, container: None, identities: distinct(entitled), offered }
    }

    /// Whether it is what a workload that was of the same pod has become: entitled to something, perhaps to something else.
    pub(crate) fn follows(&self, earlier: &Self) -> bool {
        Arc::ptr_eq(&self.pod, &earlier.pod) && !self.identities.is_empty()
    }
}

/// What is entitled to by entries that the whole pod has comes first; of two with one identity or hint the first is given.
///
/// Source: SPIFFE Workload API, section 5.2.1: hints tell the SVIDs of a workload apart.
fn distinct(entitled: Vec<Identity>) -> Arc<[Identity]> {
    let mut given: Vec<Identity> = Vec::with_capacity(entitled.len());
    for identity in entitled {
        let like =
            |other: &Identity| other.id == identity.id || (!identity.hint.is_empty() && other.hint == identity.hint);
        if !given.iter().any(like) {
            given.push(identity);
        }
    }
    given.into()
}

/// What is known of a process, each fact found out when it is first asked for.
struct Facts<'p> {
    process: &'p Process,
    digests: &'p Digests,
    credentials: OnceCell<Option<Credentials>>,
    path: OnceCell<Option<String>>,
    digest: OnceCell<Option<[u8; 32]>>,
}

impl<'p> Facts<'p> {
    fn of(process: &'p Process, digests: &'p Digests) -> Self {
        Self { process, digests, credentials: OnceCell::new(), path: OnceCell::new(), digest: OnceCell::new() }
    }

    /// Whether everything holds that an identity asks for. What cannot be found out does not hold.
    fn meet(&self, identity: &Identity) -> bool {
        identity.processes.selectors.iter().all(|selector| self.hold(selector))
    }

    fn hold(&self, selector: &ProcessSelector) -> bool {
        let credentials = |holds: &dyn Fn(&Credentials) -> bool| self.credentials().is_some_and(holds);
        match selector {
            ProcessSelector::Uid(uid) => credentials(&|own| own.uid == *uid),
            ProcessSelector::User(name) => credentials(&|own| is_user(own.uid, name)),
            ProcessSelector::Gid(gid) => credentials(&|own| own.gid == *gid),
            ProcessSelector::Group(name) => credentials(&|own| is_group(own.gid, name)),
            ProcessSelector::SupplementaryGid(gid) => credentials(&|own| own.groups.contains(gid)),
            ProcessSelector::SupplementaryGroup(name) => {
                credentials(&|own| own.groups.iter().any(|gid| is_group(*gid, name)))
            }
            ProcessSelector::Path(path) => self.path().is_some_and(|own| *own == **path),
            ProcessSelector::Sha256(digest) => self.digest() == Some(digest),
        }
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.credentials.get_or_init(|| self.known(Credentials::of(self.process))).as_ref()
    }

    fn path(&self) -> Option<&String> {
        self.path.get_or_init(|| self.known(program::path(self.process))).as_ref()
    }

    fn digest(&self) -> Option<&[u8; 32]> {
        self.digest.get_or_init(|| self.known(self.digests.of(self.process))).as_ref()
    }

    fn known<T>(&self, found: Result<T, ProcessError>) -> Option<T> {
        found
            .inspect_err(|error| tracing::warn!(pid = self.process.pid(), %error, "a fact about a caller is not known"))
            .ok()
    }
}

/// Whether a user of this node has this number and this name.
fn is_user(uid: u32, name: &str) -> bool {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().is_some_and(|user| user.name == name)
}

fn is_group(gid: u32, name: &str) -> bool {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().is_some_and(|group| group.name == name)
}

#[cfg(test)]
mod tests {
    use super::distinct;
    use crate::needs::{Identity, Processes};
    use lictor_model::SpiffeId;

    #[test]
    fn no_identity_and_no_hint_is_given_twice() {
        let identity = |path: &str, hint: &str| {
            let id: SpiffeId = format!("spiffe://td/{path}").parse().expect("an identity");
            Identity { hint: hint.into(), ..id.into() }
        };
        let given = distinct(vec![
            identity("a", ""),
            identity("b", "x"),
            identity("b", "y"),
            identity("c", "x"),
            identity("d", ""),
        ]);
        let paths: Vec<_> = given.iter().map(|identity| identity.id.path()).collect();
        assert_eq!(paths, ["/a", "/b", "/d"]);
    }

    /// A stream that has to judge its process again while its pod is given other names goes on.
    #[test]
    fn dns_names_are_no_right_of_a_process_and_everything_else_is() {
        let id: SpiffeId = "spiffe://td/a".parse().expect("an identity");
        let one = Identity { hint: "x".into(), ..id.clone().into() };
        let named = Identity { dns_names: ["a.test".parse().expect("a name")].into(), ..one.clone() };
        assert!(one.is_like(&named) && one != named);
        let second = Some(time::Duration::SECOND);
        let processes = Processes { containers: Some(["c".into()].into()), ..Processes::default() };
        for other in [
            Identity { id: "spiffe://td/b".parse().expect("an identity"), ..one.clone() },
            Identity { hint: "y".into(), ..one.clone() },
            Identity { x509_lifetime: second, ..one.clone() },
            Identity { jwt_lifetime: second, ..one.clone() },
            Identity { processes, ..one.clone() },
        ] {
            assert!(!one.is_like(&other), "{other:?}");
        }
    }
}
