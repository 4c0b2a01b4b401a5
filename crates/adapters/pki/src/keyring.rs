//! The SVIDs and bundles of this process, shared by everything that speaks TLS, and news of their changes.

mod foreign;

pub use foreign::{BundleSet, ForeignBundles, OwnTrustDomain};

use crate::bundle::Bundle;
use crate::subject::Subject;
use crate::svid::Svid;
use crate::tokens::TokenAuthority;
use lictor_model::{DnsName, SpiffeId, TrustDomain};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// Every identity that this process can prove, and whom it believes. Cheap to clone; clones share the content.
#[derive(Clone)]
pub struct Keyring(Arc<Shared>);

/// What has changed. It is a wake-up, not the news itself: two changes may be told in another order than they
/// happened, so read the keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A subject has another SVID.
    Inserted(Subject),
    /// A subject has no SVID any more.
    Removed(Subject),
    /// Other authorities are believed about the own trust domain.
    Bundle,
    /// Other authorities are believed about this foreign trust domain, or none any more.
    Foreign(TrustDomain),
}

/// Keeps a listener informed; dropping it ends that.
#[must_use = "dropping it ends the subscription at once"]
pub struct Subscription {
    key: u64,
    keyring: Weak<Shared>,
}

type Listener = Arc<dyn Fn(&Change) + Send + Sync>;

struct Shared {
    state: RwLock<State>,
    listeners: RwLock<HashMap<u64, Listener>>,
    generation: AtomicU64,
    next_listener: AtomicU64,
}

struct State {
    /// The SVIDs of subjects without DNS names, which is what peers are shown on every connection.
    svids: HashMap<SpiffeId, (Arc<Svid>, u64)>,
    /// Those of subjects with such names.
    named: HashMap<Subject, (Arc<Svid>, u64)>,
    bundle: Arc<Bundle>,
    /// Replaced as a whole, so that whoever reads it has one state.
    foreign: Arc<ForeignBundles>,
    tokens: Option<Arc<TokenAuthority>>,
    token_issuer: Option<Arc<str>>,
}

impl Keyring {
    /// A keyring without identities that believes `bundle`.
    pub fn new(bundle: Bundle) -> Self {
        Self(Arc::new(Shared {
            state: RwLock::new(State {
                svids: HashMap::new(),
                named: HashMap::new(),
                bundle: Arc::new(bundle),
                foreign: Arc::default(),
                tokens: None,
                token_issuer: None,
            }),
            listeners: RwLock::default(),
            generation: AtomicU64::new(0),
            next_listener: AtomicU64::new(0),
        }))
    }

    /// The SVID of an identity that has no DNS names, and the generation in which it came; a generation is never used twice.
    pub fn svid(&self, id: &SpiffeId) -> Option<(Arc<Svid>, u64)> {
        self.read().svids.get(id).cloned()
    }

    /// The SVID of an identity with exactly these DNS names, and its generation.
    pub fn svid_of(&self, subject: &Subject) -> Option<(Arc<Svid>, u64)> {
        let state = self.read();
        match subject.dns_names.is_empty() {
            true => state.svids.get(&subject.id).cloned(),
            false => state.named.get(subject).cloned(),
        }
    }

    /// Whom to believe about the own trust domain now.
    pub fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.read().bundle)
    }

    /// The subjects that have an SVID, in no order.
    pub fn subjects(&self) -> Vec<Subject> {
        let state = self.read();
        state.svids.keys().cloned().map(Subject::from).chain(state.named.keys().cloned()).collect()
    }

    /// Every SVID, in no order.
    pub fn svids(&self) -> Vec<Arc<Svid>> {
        let state = self.read();
        state.svids.values().chain(state.named.values()).map(|(svid, _)| Arc::clone(svid)).collect()
    }

    /// Grows with every change of the keyring.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Puts an SVID in the place of the one that its identity had without DNS names; returns its generation.
    pub fn insert(&self, svid: Svid) -> u64 {
        self.insert_named(svid, Arc::default())
    }

    /// Puts an SVID in the place of the one that its identity had with these DNS names; returns its generation.
    pub fn insert_named(&self, svid: Svid, dns_names: Arc<[DnsName]>) -> u64 {
        let subject = Subject { id: svid.id.clone(), dns_names };
        let generation = {
            let mut state = self.write();
            let generation = self.step();
            let held = (Arc::new(svid), generation);
            match subject.dns_names.is_empty() {
                true => state.svids.insert(subject.id.clone(), held),
                false => state.named.insert(subject.clone(), held),
            };
            generation
        };
        self.tell(&Change::Inserted(subject));
        generation
    }

    /// Drops the SVID of an identity that has no DNS names; returns whether there was one.
    pub fn remove(&self, id: &SpiffeId) -> bool {
        self.remove_of(&id.clone().into())
    }

    /// Drops the SVID of an identity with exactly these DNS names; returns whether there was one.
    pub fn remove_of(&self, subject: &Subject) -> bool {
        let removed = {
            let mut state = self.write();
            let removed = match subject.dns_names.is_empty() {
                true => state.svids.remove(&subject.id).is_some(),
                false => state.named.remove(subject).is_some(),
            };
            if removed {
                self.step();
            }
            removed
        };
        if removed {
            self.tell(&Change::Removed(subject.clone()));
        }
        removed
    }

    /// Believes other authorities from now on; an equal bundle changes nothing.
    pub fn set_bundle(&self, bundle: Bundle) {
        {
            let mut state = self.write();
            if *state.bundle == bundle {
                return;
            }
            state.bundle = Arc::new(bundle);
            self.step();
        }
        self.tell(&Change::Bundle);
    }

    /// Who signs tokens for the identities of this process, if this process may have any.
    pub fn tokens(&self) -> Option<Arc<TokenAuthority>> {
        self.read().tokens.clone()
    }

    /// Has tokens signed by this authority from now on. Verifiers need its key in their bundle beforehand.
    pub fn set_tokens(&self, tokens: Arc<TokenAuthority>) {
        self.write().tokens = Some(tokens);
    }

    /// The `iss` claim of the tokens that are made here, if they are to have one (RFC 7519, section 4.1.1).
    pub fn token_issuer(&self) -> Option<Arc<str>> {
        self.read().token_issuer.clone()
    }

    /// Names the issuer in tokens from now on: the URL below which an OpenID Connect discovery document says where
    /// the keys are.
    pub fn set_token_issuer(&self, issuer: Option<Arc<str>>) {
        self.write().token_issuer = issuer;
    }

    /// Calls `listener` after every change, on the thread that made it; it must not block.
    pub fn subscribe(&self, listener: impl Fn(&Change) + Send + Sync + 'static) -> Subscription {
        let key = self.0.next_listener.fetch_add(1, Ordering::Relaxed);
        let mut listeners = self.0.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.insert(key, Arc::new(listener));
        Subscription { key, keyring: Arc::downgrade(&self.0) }
    }

    fn tell(&self, change: &Change) {
        // Copied out, so that a listener may read the keyring, subscribe, or drop its subscription.
        let listeners: Vec<Listener> = {
            let listeners = self.0.listeners.read().unwrap_or_else(PoisonError::into_inner);
            listeners.values().map(Arc::clone).collect()
        };
        for listener in listeners {
            listener(change);
        }
    }

    /// The next generation; called with the write lock held, so that generations follow the content's order.
    fn step(&self) -> u64 {
        self.0.generation.fetch_add(1, Ordering::Release) + 1
    }

    // Nothing panics while it holds the lock, so a poisoned one has whole content.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(shared) = self.keyring.upgrade() {
            shared.listeners.write().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        f.debug_struct("Keyring")
            .field("trust_domain", &state.bundle.trust_domain().as_str())
            .field("foreign", &state.foreign.len())
            .field("identities", &state.svids.len())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Keyring};
    use crate::{CertificateAuthority, Subject};
    use lictor_model::SpiffeId;
    use std::collections::HashSet;
    use std::sync::{Arc, Mutex};
    use time::{Duration, OffsetDateTime};

    #[test]
    fn changes_are_counted_and_told_until_the_subscription_ends() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let authority =
            CertificateAuthority::new("td".parse().expect("a trust domain"), now, Duration::DAY).expect("a root");
        let keyring = Keyring::new(authority.bundle(1));
        let id: SpiffeId = "spiffe://td/a".parse().expect("an identity");
        let svid = || authority.issue(&id, now, Duration::HOUR).expect("an SVID");

        let told = Arc::new(Mutex::new(Vec::new()));
        let subscription = keyring.subscribe({
            let (told, keyring) = (Arc::clone(&told), keyring.clone());
            move |change| told.lock().expect("the list").push((change.clone(), keyring.generation()))
        });
        let first = keyring.insert(svid());
        let second = keyring.clone().insert(svid());
        assert!(first < second && keyring.svid(&id).map(|(_, generation)| generation) == Some(second));
        keyring.set_bundle(authority.bundle(1));
        keyring.set_bundle(authority.bundle(2));
        assert!(keyring.remove(&id) && !keyring.remove(&id) && keyring.svid(&id).is_none());
        drop(subscription);
        keyring.insert(svid());
        let told: Vec<_> = told.lock().expect("the list").clone();
        let expected = [
            (Change::Inserted(id.clone().into()), 1),
            (Change::Inserted(id.clone().into()), 2),
            (Change::Bundle, 3),
            (Change::Removed(id.clone().into()), 4),
        ];
        assert_eq!(told, expected);
    }
    #[test]
    fn svids_of_one_identity_are_told_apart_by_their_names_and_their_order() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let authority =
            CertificateAuthority::new("td".parse().expect("a trust domain"), now, Duration::DAY).expect("a root");
        let keyring = Keyring::new(authority.bundle(1));
        let id: SpiffeId = "spiffe://td/a".parse().expect("an identity");
        let subject = |names: &[&str]| {
            let dns_names = names.iter().map(|name| name.parse().expect("a name")).collect();
            Subject { id: id.clone(), dns_names }
        };
        let subjects = [subject(&[]), subject(&["a.test", "b.test"]), subject(&["b.test", "a.test"])];
        let generation = |subject: &Subject| keyring.svid_of(subject).map(|(_, generation)| generation);
        for (before, named) in subjects.iter().enumerate() {
            assert_eq!((generation(named), keyring.svids().len()), (None, before));
            let svid = authority.issue_to(named, now, Duration::HOUR).expect("an SVID");
            let made = keyring.insert_named(svid, Arc::clone(&named.dns_names));
            assert_eq!(generation(named), Some(made));
        }
        assert_eq!(keyring.svid(&id).map(|(_, generation)| generation), generation(&subjects[0]));
        assert_eq!(keyring.subjects().into_iter().collect::<HashSet<_>>(), subjects.iter().cloned().collect());
        assert!(keyring.remove_of(&subjects[1]) && !keyring.remove_of(&subjects[1]));
        assert!(generation(&subjects[1]).is_none() && generation(&subjects[2]).is_some());
        assert!(keyring.remove(&id) && keyring.svid(&id).is_none() && generation(&subjects[2]).is_some());
    }
}
