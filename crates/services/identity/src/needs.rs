//! The identities that pods need, and how what is issued for them is made.

use lictor_model::{DnsName, ProcessSelector, SpiffeId};
use lictor_pki::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use time::Duration;

/// An identity of a pod, and how what is issued for it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The identity.
    pub id: SpiffeId,
    /// The DNS names that its X509-SVIDs have beside it, in their order; none for most.
    pub dns_names: Arc<[DnsName]>,
    /// What tells it from the pod's others; empty when nothing does.
    pub hint: Arc<str>,
    /// The most that an X509-SVID lives; the issuer's own limit when nothing is said.
    pub x509_lifetime: Option<Duration>,
    /// How long a JWT-SVID lives; the default when nothing is said.
    pub jwt_lifetime: Option<Duration>,
    /// Which processes of the pod get it.
    pub processes: Processes,
}

/// Some processes of a pod; all of them where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processes {
    /// Those of these containers alone.
    pub containers: Option<BTreeSet<Arc<str>>>,
    /// Those alone for which all of these hold.
    pub selectors: BTreeSet<ProcessSelector>,
}

impl Processes {
    /// Whether those of a container may be among them.
    pub(crate) fn may_be_in(&self, container: Option<&Arc<str>>) -> bool {
        let named = |containers: &BTreeSet<Arc<str>>| container.is_some_and(|container| containers.contains(container));
        self.containers.as_ref().is_none_or(named)
    }
}

impl From<SpiffeId> for Identity {
    /// An identity of which nothing else is said.
    fn from(id: SpiffeId) -> Self {
        Self {
            id,
            dns_names: Arc::default(),
            hint: Arc::from(""),
            x509_lifetime: None,
            jwt_lifetime: None,
            processes: Processes::default(),
        }
    }
}

impl Identity {
    /// Whom the SVID names that its processes are given.
    pub(crate) fn subject(&self) -> Subject {
        Subject { id: self.id.clone(), dns_names: Arc::clone(&self.dns_names) }
    }

    /// Whom the SVIDs name that it needs: what the mesh shows has no DNS names.
    fn subjects(&self) -> impl Iterator<Item = Subject> {
        let named = (!self.dns_names.is_empty()).then(|| self.subject());
        [self.id.clone().into()].into_iter().chain(named)
    }

    /// Whether another one differs in its DNS names at most.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let Self { id, dns_names: _, hint, x509_lifetime, jwt_lifetime, processes } = self;
        (id, hint, x509_lifetime, jwt_lifetime, processes)
            == (&other.id, &other.hint, &other.x509_lifetime, &other.jwt_lifetime, &other.processes)
    }
}

/// What pods need: each subject with how many have it, and for how long its X509-SVIDs may live at most.
#[derive(Default)]
pub(crate) struct Needs(BTreeMap<Subject, Needed>);

#[derive(Default)]
struct Needed {
    pods: usize,
    /// The limits that pods set, each with how many do.
    limits: BTreeMap<Duration, usize>,
}

impl Needs {
    pub(crate) fn add(&mut self, identity: &Identity) {
        for subject in identity.subjects() {
            let needed = self.0.entry(subject).or_default();
            needed.pods += 1;
            if let Some(limit) = identity.x509_lifetime {
                *needed.limits.entry(limit).or_default() += 1;
            }
        }
    }

    pub(crate) fn remove(&mut self, identity: &Identity) {
        for subject in identity.subjects() {
            let Some(needed) = self.0.get_mut(&subject) else { continue };
            needed.pods -= 1;
            if let Some(count) = identity.x509_lifetime.and_then(|limit| needed.limits.get_mut(&limit)) {
                *count -= 1;
                needed.limits.retain(|_, count| *count > 0);
            }
            if needed.pods == 0 {
                self.0.remove(&subject);
            }
        }
    }

    /// Each once, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subject> {
        self.0.keys()
    }

    /// The strictest of the limits that pods set.
    pub(crate) fn lifetime_limit(&self, subject: &Subject) -> Option<Duration> {
        self.0.get(subject)?.limits.keys().next().copied()
    }
}
