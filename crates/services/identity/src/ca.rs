//! The authorities of this trust domain at work: on schedule, by hand, and under an upstream whose files change.

mod certificates;
mod journal;
mod keys;
mod nodes;
mod store;
#[cfg(test)]
mod tests;
mod upstream;

use certificates::Held;
pub use journal::Issued;
pub(crate) use store::Store;
pub use store::{StoreError, StoreOptions};
pub use upstream::{UpstreamError, UpstreamFiles};

use crate::issuer::Clock;
use journal::Journal;
use lictor_model::{SpiffeId, TrustDomain};
use lictor_pki::{
    Authorities, AuthorityStatus, Event, InvalidAuthority, IssueError, Keyring, Keys, Kind, LifecycleError, State,
    Subject, Svid, authority_key_id, serial_number,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;
use upstream::Watched;

/// Identities that a refusal names.
const NAMED: usize = 3;

/// How a trust domain's authorities are to be.
#[derive(Debug, Clone)]
pub struct CaOptions {
    /// Whose they are.
    pub trust_domain: TrustDomain,
    /// How long each lives.
    pub life: Duration,
    /// Who signs them; they are roots without.
    pub upstream: Option<UpstreamFiles>,
    /// Where they are kept; they end with the process without.
    pub store: Option<StoreOptions>,
}

/// The authorities, and the keyring that has their bundle and their tokens. Cheap to clone; clones share the content.
#[derive(Clone)]
pub struct Ca(Arc<Shared>);

struct Shared {
    authorities: RwLock<Authorities>,
    upstream: Mutex<Option<Watched>>,
    store: Option<Store>,
    keyring: Keyring,
    journal: Mutex<Journal>,
    /// The certificates that Secrets and nodes hold.
    held: Mutex<Held>,
    clock: Clock,
    changes: watch::Sender<()>,
    faults: Mutex<Faults>,
}

/// What cannot be followed now, and why.
#[derive(Default)]
struct Faults {
    schedule: Option<String>,
    upstream: Option<String>,
}

/// Why something was not done to the authorities.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// It is not their turn.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The bundle would not be one.
    #[error(transparent)]
    Bundle(#[from] InvalidAuthority),
    /// The upstream's files are not there, or not right.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The store is not there, does not open, or takes nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// SVIDs that it signed are still in use here.
    #[error("{id} cannot be revoked yet: {holders} still stand by it; they are given new SVIDs, try again in a moment")]
    InUse {
        /// The authority.
        id: Arc<str>,
        /// Whose SVIDs.
        holders: String,
    },
}

/// The authorities, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaStatus {
    /// Whose they are.
    pub trust_domain: TrustDomain,
    /// The number of the bundle.
    pub sequence: u64,
    /// Those for certificates first.
    pub authorities: Vec<AuthorityStatus>,
    /// For each of them, how many identities of this process have an SVID of it.
    pub holders: Vec<usize>,
    /// When the schedule has something to do next.
    pub next_event: OffsetDateTime,
    /// What keeps it from being done, or the upstream's files from being used.
    pub faults: Vec<String>,
}

impl Ca {
    /// The authorities of the store, or new ones, active at once.
    ///
    /// # Errors
    /// They cannot be made; the upstream is not there or not right; the store does not open, or takes nothing.
    pub fn start(options: CaOptions, clock: Clock) -> Result<Self, CaError> {
        Self::start_with_keys(options, &Keys::default(), clock)
    }

    /// As [`start`](Self::start), with keys that are made, and looked for, where `keys` says.
    ///
    /// # Errors
    /// As [`start`](Self::start), and a key that is not there.
    pub fn start_with_keys(options: CaOptions, keys: &Keys, clock: Clock) -> Result<Self, CaError> {
        let CaOptions { trust_domain, life, upstream, store } = options;
        let now = clock();
        let mut watched = upstream.map(Watched::new);
        let upstream = match &mut watched {
            Some(watched) => watched.look(&trust_domain)?.map(Arc::new),
            None => None,
        };
        let (store, document) = store.as_ref().map(Store::open).transpose()?.unzip();
        let authorities = match (&store, document.flatten()) {
            (Some(store), Some(document)) => {
                let read = Authorities::from_document_with_keys(keys, &document, &trust_domain, None, life);
                let mut authorities = read.map_err(|error| store.blame(error))?;
                if let Some(upstream) = upstream {
                    authorities.set_upstream(upstream, now)?;
                }
                authorities
            }
            _ => Authorities::with_keys(keys.clone(), trust_domain, upstream, life, now)?,
        };
        if let Some(store) = &store {
            store.save_authorities(&authorities)?;
        }
        let keyring = Keyring::new(authorities.bundle()?);
        keyring.set_tokens(Arc::clone(authorities.tokens()));
        Ok(Self(Arc::new(Shared {
            authorities: RwLock::new(authorities),
            upstream: Mutex::new(watched),
            store,
            keyring,
            journal: Mutex::default(),
            held: Mutex::default(),
            clock,
            changes: watch::Sender::new(()),
            faults: Mutex::default(),
        })))
    }

    /// The keyring that always has the bundle of now, and whoever signs tokens.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// The time of day here.
    pub fn now(&self) -> OffsetDateTime {
        (self.0.clock)()
    }

    /// Puts a new SVID of `subject` into the keyring; returns its last second and the name of the authority that signed it.
    ///
    /// # Errors
    /// The identity is none that the authority may name, or the authority has expired.
    pub(crate) fn renew(
        &self,
        subject: &Subject,
        lifetime: Duration,
    ) -> Result<(OffsetDateTime, Arc<str>), IssueError> {
        let now = self.now();
        // Held until it is in the keyring: who is to be revoked is looked for there, after it signs no more.
        let authorities = self.read();
        let (signer, authority) = authorities.signer();
        let svid = signer.issue_to(subject, now, lifetime)?;
        let serial = svid.chain.first().and_then(serial_number).unwrap_or_default();
        let (not_after, authority) = (svid.not_after, Arc::clone(authority));
        self.0.keyring.insert_named(svid, Arc::clone(&subject.dns_names));
        drop(authorities);
        let issued = Issued { at: now, id: subject.id.clone(), serial, authority: Arc::clone(&authority), not_after };
        lock(&self.0.journal).push(issued);
        Ok((not_after, authority))
    }

    /// Makes an authority that waits for its turn.
    ///
    /// # Errors
    /// As [`Authorities::prepare`].
    pub fn prepare(&self, kind: Kind) -> Result<Arc<str>, CaError> {
        self.change(|authorities, now| authorities.prepare(kind, now))
    }

    /// Has the prepared authority sign from now on.
    ///
    /// # Errors
    /// As [`Authorities::activate`].
    pub fn activate(&self, kind: Kind, id: Option<&str>) -> Result<Arc<str>, CaError> {
        self.change(|authorities, now| authorities.activate(kind, id, now))
    }

    /// Marks an old authority as not to be trusted: every SVID of it is replaced at once.
    ///
    /// # Errors
    /// As [`Authorities::taint`].
    pub fn taint(&self, kind: Kind, id: Option<&str>) -> Result<Arc<str>, CaError> {
        self.change(|authorities, _| authorities.taint(kind, id))
    }

    /// Believes a tainted authority no more.
    ///
    /// # Errors
    /// As [`Authorities::revoke`], and while an identity of this process still has an SVID of it.
    pub fn revoke(&self, kind: Kind, id: Option<&str>) -> Result<Arc<str>, CaError> {
        let at = self.read().revocable(kind, id)?;
        // It signs no more, so nobody comes to stand by it after this look.
        if kind == Kind::X509 {
            let holders: Vec<SpiffeId> =
                self.holders().into_iter().filter(|(_, by)| **by == *at).map(|(id, _)| id).collect();
            if !holders.is_empty() {
                return Err(CaError::InUse { id: at, holders: named(&holders) });
            }
        }
        self.change(|authorities, _| authorities.revoke(kind, Some(&at)))
    }

    /// The authorities as they are now.
    pub fn status(&self) -> CaStatus {
        let authorities = self.read();
        let list = authorities.list();
        let by: Vec<String> = self.holders().into_iter().map(|(_, by)| by).collect();
        CaStatus {
            trust_domain: authorities.trust_domain().clone(),
            sequence: self.0.keyring.bundle().sequence(),
            holders: list.iter().map(|one| by.iter().filter(|by| ***by == *one.id).count()).collect(),
            authorities: list,
            next_event: authorities.next_event(),
            faults: self.faults(),
        }
    }

    /// The last certificates that were issued, the oldest first.
    pub fn issued(&self, count: usize) -> Vec<Issued> {
        lock(&self.0.journal).last(count)
    }

    /// Does what is due now: the upstream's files, the schedule. Returns when there is more to do.
    pub(crate) fn step(&self) -> OffsetDateTime {
        self.look_upstream();
        let now = self.now();
        if self.read().next_event() <= now {
            match self.change(Authorities::step) {
                Ok(events) => {
                    lock(&self.0.faults).schedule = None;
                    events.iter().for_each(tell);
                }
                Err(error) => {
                    tracing::error!(%error, "the authorities were not rotated");
                    lock(&self.0.faults).schedule = Some(format!("not rotated: {error}"));
                    return now + crate::issuer::RETRY;
                }
            }
        }
        self.read().next_event()
    }

    /// The tainted authorities for certificates.
    pub(crate) fn tainted(&self) -> Vec<Arc<str>> {
        let list = self.read().list();
        list.into_iter().filter(|one| (one.kind, one.state) == (Kind::X509, State::Tainted)).map(|one| one.id).collect()
    }

    /// Tells of every step after this call.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    fn look_upstream(&self) {
        let mut watched = lock(&self.0.upstream);
        let Some(watched) = watched.as_mut() else { return };
        let trust_domain = self.read().trust_domain().clone();
        match watched.look(&trust_domain) {
            Ok(None) => {}
            Ok(Some(upstream)) => {
                let not_after = upstream.not_after();
                match self.change(|authorities, now| authorities.set_upstream(Arc::new(upstream), now)) {
                    Ok(()) => {
                        lock(&self.0.faults).upstream = None;
                        tracing::info!(%not_after, "the upstream authority was read again");
                    }
                    Err(error) => {
                        tracing::error!(%error, "the upstream authority cannot be used");
                        watched.forget();
                        lock(&self.0.faults).upstream = Some(format!("upstream not used: {error}"));
                    }
                }
            }
            // What was read before goes on.
            Err(error) => {
                tracing::warn!(%error, "the upstream authority cannot be read again");
                lock(&self.0.faults).upstream = Some(format!("upstream not read again: {error}"));
            }
        }
    }

    fn faults(&self) -> Vec<String> {
        let Faults { schedule, upstream } = &*lock(&self.0.faults);
        [schedule, upstream].into_iter().flatten().cloned().collect()
    }

    /// Makes a change to a copy, and puts the copy in force: first whom to believe, then who signs.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Authorities, OffsetDateTime) -> Result<T, LifecycleError>,
    ) -> Result<T, CaError> {
        let done = {
            let mut authorities = self.write();
            let mut changed = authorities.clone();
            let kept = self.keep(change, &mut changed);
            keys::forget_unused(&authorities, &changed, kept.is_ok());
            let (done, bundle) = kept?;
            self.0.keyring.set_bundle(bundle);
            self.0.keyring.set_tokens(Arc::clone(changed.tokens()));
            *authorities = changed;
            done
        };
        self.0.changes.send_replace(());
        Ok(done)
    }

    /// The identities of the keyring, of Secrets and of nodes, in order, and who signed their certificates.
    fn holders(&self) -> Vec<(SpiffeId, String)> {
        let now = self.now();
        let holder = |svid: Arc<Svid>| {
            let by = svid.chain.first().filter(|_| now <= svid.not_after).and_then(authority_key_id)?;
            Some((svid.id.clone(), by))
        };
        // One of an identity with DNS names stands by it no more than its other SVIDs do.
        let svids: BTreeSet<_> = self.0.keyring.svids().into_iter().filter_map(holder).collect();
        let mut holders: Vec<(SpiffeId, String)> = svids.into_iter().collect();
        holders.extend(self.certified(now));
        holders.sort();
        holders
    }

    // Nothing panics while it holds the lock, so a poisoned one has whole content.
    fn read(&self) -> RwLockReadGuard<'_, Authorities> {
        self.0.authorities.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Authorities> {
        self.0.authorities.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(event: &Event) {
    let Event { kind, id, became } = event;
    match became {
        Some(state) => tracing::info!(%kind, %id, %state, "an authority took its next step"),
        None => tracing::info!(%kind, %id, "an authority is needed no more"),
    }
}

fn named(identities: &[SpiffeId]) -> String {
    let shown: Vec<&str> = identities.iter().take(NAMED).map(SpiffeId::as_str).collect();
    match identities.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ca").field(&*self.read()).finish()
    }
}
