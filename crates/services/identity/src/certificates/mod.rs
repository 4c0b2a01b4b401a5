//! The Secrets of Certificates: made, kept fresh, and taken away.
//!
//! [`Certificates`] is told of snapshots, decides with `lictor-certificates`, makes keys, has them certified by the [`Ca`], and
//! keeps the Secrets, in memory and, where there is a store, sealed in a file.
//!
//! **Invariants.**
//! - A certificate that is shown has been written to the store before.
//! - A Secret goes when no Certificate names it any more, or when its namespace may not have its identity any more. A Certificate
//!   that is refused leaves it as it is.
//! - Nothing is signed that a decision of the snapshot in force does not grant.

mod issue;
mod saved;
mod secret;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub use secret::{CA_CERTIFICATE, Secret, TLS_CERTIFICATE, TLS_KEY};
pub use status::{CertificateStatus, Condition};

use crate::ca::{Ca, CaError, Store, StoreError, StoreOptions};
use lictor_certificates::{Held, Rules, renewal_time};
use lictor_cluster::Snapshot;
use lictor_model::Name;
use state::{Kept, State, Wanted};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

/// How long at most it sleeps: a clock that was set forward is noticed by then.
const NAP: Duration = Duration::seconds(10);
/// How long at least: what was just issued is not looked at again at once.
const SHORTEST_NAP: Duration = Duration::SECOND;

/// How Certificates are served.
#[derive(Debug, Clone)]
pub struct CertificatesOptions {
    /// Which of them are, and what their namespaces may name.
    pub rules: Rules,
    /// The store of the authorities; the Secrets are kept beside it. They end with the process without.
    pub store: Option<StoreOptions>,
}

/// The Secrets of Certificates. Cheap to clone; clones share the content.
#[derive(Clone)]
pub struct Certificates(Arc<Shared>);

struct Shared {
    ca: Ca,
    rules: Rules,
    store: Option<Store>,
    state: Mutex<State>,
    wake: watch::Sender<()>,
}

/// Why something was not done to a Certificate or its Secret.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// There is no such Certificate.
    #[error("there is no Certificate {name}")]
    NoCertificate {
        /// Its name.
        name: Name,
    },
    /// There is no such Secret of a Certificate.
    #[error("there is no Secret {name} of a Certificate")]
    NoSecret {
        /// Its name.
        name: Name,
    },
    /// It is not served.
    #[error("Certificate {name} is not served: {reason}: {message}")]
    Refused {
        /// Its name.
        name: Name,
        /// Why, in one word.
        reason: String,
        /// Why, and what to do.
        message: String,
    },
    /// Its Secret is another Certificate's.
    #[error("Certificate {name} shares its Secret with another one, which has it; give it another secretName")]
    NotOwner {
        /// Its name.
        name: Name,
    },
    /// The store takes nothing; nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Certificates {
    /// With the Secrets of the store; no Certificate is known yet.
    ///
    /// # Errors
    /// The store does not open, or holds something else.
    pub fn start(ca: Ca, options: CertificatesOptions) -> Result<Self, CaError> {
        let CertificatesOptions { rules, store } = options;
        let (store, document) = store.map(|store| Store::open(&store.of_secrets())).transpose()?.unzip();
        let state = match (&store, document.flatten()) {
            (Some(store), Some(document)) => {
                let (secrets, revisions) = saved::read(&document).map_err(|error| store.blame_secrets(error))?;
                State::restored(secrets, revisions)
            }
            _ => State::default(),
        };
        state.secrets.iter().for_each(|(name, kept)| count(&ca, name, kept));
        Ok(Self(Arc::new(Shared { ca, rules, store, state: Mutex::new(state), wake: watch::Sender::new(()) })))
    }

    /// Takes a snapshot's Certificates in. What is to be issued is issued by [`step`](Self::step).
    pub fn set(&self, snapshot: &Snapshot) {
        let mut state = self.lock();
        let gone = state.set(snapshot, &self.0.rules);
        for name in &gone {
            self.0.ca.release(name);
            tracing::info!(secret = %name, "the Secret of a Certificate was taken away");
        }
        if !gone.is_empty() {
            // They are gone in any case; a restart takes them away again.
            if let Err(error) = self.save(&state) {
                tracing::error!(%error, "the store still has Secrets that were taken away");
            }
        }
        drop(state);
        self.0.wake.send_replace(());
    }

    /// Issues what is due, one Certificate at most, and returns how long there is nothing more to do, at most ten seconds.
    ///
    /// It makes keys, which may take a second: call it where nothing waits.
    pub fn step(&self) -> Duration {
        let job = {
            let mut state = self.lock();
            self.refresh(&mut state);
            self.next_job(&mut state)
        };
        match job {
            Some(job) => {
                self.perform(job);
                Duration::ZERO
            }
            None => self.nap(),
        }
    }

    /// Keeps the Secrets fresh until `shutdown`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (mut wake, mut steps) = (self.0.wake.subscribe(), self.0.ca.changes());
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let own = self.clone();
            let nap = match tokio::task::spawn_blocking(move || own.step()).await {
                Ok(nap) => nap.unsigned_abs(),
                Err(error) => {
                    tracing::error!(%error, "a Certificate was not issued");
                    NAP.unsigned_abs()
                }
            };
            if nap.is_zero() {
                continue;
            }
            tokio::select! {
                () = &mut shutdown => return,
                _ = wake.changed() => {}
                _ = steps.changed() => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// The status of every Certificate, by name.
    pub fn list(&self) -> Vec<CertificateStatus> {
        let mut state = self.lock();
        self.note(&mut state);
        state.wanted.iter().map(|(name, wanted)| status(&state, name, wanted)).collect()
    }

    /// A Secret of a Certificate.
    pub fn secret(&self, name: &Name) -> Option<Secret> {
        self.lock().secrets.get(name).map(|kept| kept.secret.clone())
    }

    /// Takes a Secret away; if a Certificate names it, it is issued anew with a new key.
    ///
    /// # Errors
    /// There is none, or the store cannot be written.
    pub fn delete_secret(&self, name: &Name) -> Result<(), CertificateError> {
        let mut state = self.lock();
        let Some(kept) = state.secrets.remove(name) else {
            return Err(CertificateError::NoSecret { name: name.clone() });
        };
        if let Err(error) = self.save(&state) {
            state.secrets.insert(name.clone(), kept);
            return Err(error.into());
        }
        self.0.ca.release(name);
        drop(state);
        self.0.wake.send_replace(());
        Ok(())
    }

    /// Has a Certificate issued again now.
    ///
    /// # Errors
    /// There is none, it is not served, or its Secret is another one's.
    pub fn renew(&self, name: &Name) -> Result<(), CertificateError> {
        let mut state = self.lock();
        let name = name.clone();
        match state.wanted.get(&name).map(|wanted| &wanted.verdict) {
            None => return Err(CertificateError::NoCertificate { name }),
            Some(Err(refusal)) => {
                let (reason, message) = (refusal.reason.to_string(), refusal.message.clone());
                return Err(CertificateError::Refused { name, reason, message });
            }
            Some(Ok(_)) if !state.owns(&name) => return Err(CertificateError::NotOwner { name }),
            Some(Ok(_)) => {}
        }
        let progress = state.progress_mut(&name);
        (progress.asked, progress.retry) = (true, None);
        drop(state);
        self.0.wake.send_replace(());
        Ok(())
    }

    /// Brings everything up to date that needs no new certificate: labels, annotations, forms of the key, the roots.
    fn refresh(&self, state: &mut State) {
        self.note(state);
        let bundle = self.0.ca.keyring().bundle();
        let served: Vec<(Name, Wanted)> = (state.wanted.iter())
            .filter(|(name, wanted)| wanted.verdict.is_ok() && state.owns(name))
            .map(|(_, wanted)| (wanted.secret(), wanted.clone()))
            .collect();
        let mut changed = false;
        for (name, wanted) in served {
            let Some(kept) = state.secrets.get_mut(&name) else { continue };
            // Annotations say whose it is; what is another's until it is issued again stays so.
            let own = kept.secret.certificate_name() == Some(&*wanted.certificate.meta.name.name)
                && kept.held.issuer.as_ref() == Some(&wanted.certificate.issuer);
            match kept.secret.dressed(&wanted.certificate, &bundle) {
                Ok(secret) if own && secret != kept.secret => {
                    kept.secret = secret;
                    changed = true;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(secret = %name, %error, "a Secret cannot be brought up to date"),
            }
        }
        if changed && let Err(error) = self.save(state) {
            tracing::error!(%error, "the store does not follow the Secrets");
        }
    }

    /// Notes taints, and what is ready.
    fn note(&self, state: &mut State) {
        state.note_tainted(&self.0.ca.tainted());
        state.observe(self.0.ca.now());
    }

    fn nap(&self) -> Duration {
        let (state, now) = (self.lock(), self.0.ca.now());
        let times = state.wanted.iter().filter(|(_, wanted)| wanted.verdict.is_ok()).flat_map(|(name, wanted)| {
            let retry = state.progress(name).retry.filter(|retry| now < *retry);
            let facts = state.secrets.get(&wanted.secret()).and_then(|kept| facts(&kept.held));
            let renewal = facts.map(|(issued, not_after)| renewal_time(issued, not_after, wanted.certificate.renewal));
            [retry, renewal.filter(|at| now < *at)].into_iter().flatten()
        });
        let next = times.min().map_or(NAP, |next| next - now);
        next.clamp(SHORTEST_NAP, NAP)
    }

    fn save(&self, state: &State) -> Result<(), StoreError> {
        let Some(store) = &self.0.store else { return Ok(()) };
        let document = saved::document(state).map_err(|error| store.blame_secrets(error))?;
        store.save(&document)
    }

    // Nothing panics while it holds the lock, so a poisoned one has whole content.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a Secret stand by the authority that signed its certificate.
fn count(ca: &Ca, name: &Name, kept: &Kept) {
    if let (Some(authority), Some((_, not_after))) = (&kept.authority, facts(&kept.held)) {
        ca.stands(name, kept.record.request.id.clone(), Arc::clone(authority), not_after);
    }
}

/// When the certificate of a Secret was issued, and its end.
fn facts(held: &Held) -> Option<(OffsetDateTime, OffsetDateTime)> {
    match &held.certificate {
        Some(Ok(certificate)) => Some((certificate.issued, certificate.not_after)),
        _ => None,
    }
}

fn status(state: &State, name: &Name, wanted: &Wanted) -> CertificateStatus {
    let progress = state.progress(name);
    let secret = wanted.secret();
    let times = state.secrets.get(&secret).and_then(|kept| facts(&kept.held));
    let renewal = |(issued, not_after)| renewal_time(issued, not_after, wanted.certificate.renewal);
    CertificateStatus {
        name: name.clone(),
        secret,
        issuer: wanted.certificate.issuer.clone(),
        conditions: [progress.ready, progress.issuing].into_iter().flatten().collect(),
        not_before: times.map(|(issued, _)| issued - Duration::MINUTE),
        not_after: times.map(|(_, not_after)| not_after),
        renewal: times.filter(|_| wanted.verdict.is_ok()).map(renewal),
        revision: progress.revision,
        last_failure: progress.last_failure,
        failed_attempts: progress.failed_attempts,
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificates").field(&*self.lock()).finish()
    }
}
