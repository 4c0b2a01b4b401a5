//! Asks each foreign trust domain's endpoint again and again, and keeps what it says in the keyring.

use super::fetch::{FetchError, fetch};
use super::relation::Relation;
use lictor_model::TrustDomain;
use lictor_pki::{Bundle, Keyring, OwnTrustDomain};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// How often endpoints are asked.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Where a bundle has no hint (SPIFFE Federation, section 4.1).
    pub interval: Duration,
    /// Whatever the hint, not more often.
    pub shortest: Duration,
    /// Whatever the hint, not more seldom: what was taken back is missed by then.
    pub longest: Duration,
    /// After the first failure, as long as there was no answer at all; twice as long after each further one, up to
    /// the interval. Later failures wait for the next turn (section 6.2).
    pub first_retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5 * 60),
            shortest: Duration::from_secs(10),
            longest: Duration::from_secs(24 * 60 * 60),
            first_retry: Duration::from_secs(1),
        }
    }
}

/// How a relation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationStatus {
    /// What is configured.
    pub relation: Relation,
    /// When the endpoint last gave a bundle that was taken.
    pub fetched: Option<OffsetDateTime>,
    /// Why the last attempt gave none; nothing if it did.
    pub error: Option<String>,
    /// Why some of the last bundle's keys are of no use, if any are.
    pub ignored: Vec<String>,
}

/// Every relation of this trust domain to others. Dropping it ends the polling; the bundles stay in the keyring.
#[derive(Debug)]
pub struct Federation {
    keyring: Keyring,
    settings: Settings,
    relations: Mutex<BTreeMap<TrustDomain, Running>>,
}

#[derive(Debug)]
struct Running {
    state: Arc<Mutex<State>>,
    /// Asks at once.
    hurry: Arc<Notify>,
    task: AbortHandle,
}

#[derive(Debug)]
struct State {
    status: RelationStatus,
    /// Nothing that a relation that has ended still hears goes into the keyring.
    over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.state).over = true;
        self.task.abort();
    }
}

impl Federation {
    /// No relation yet; bundles go to `keyring`.
    pub fn new(keyring: Keyring, settings: Settings) -> Self {
        Self { keyring, settings, relations: Mutex::default() }
    }

    /// Federates with a trust domain, from now on by this relation; an equal one goes on. Call it within a runtime.
    ///
    /// # Errors
    /// It is the own trust domain.
    pub fn add(&self, relation: Relation) -> Result<(), OwnTrustDomain> {
        let trust_domain = relation.trust_domain.clone();
        if trust_domain == *self.keyring.bundle().trust_domain() {
            return Err(OwnTrustDomain { trust_domain });
        }
        let mut relations = lock(&self.relations);
        let before = relations.get(&trust_domain).map(|running| lock(&running.state).status.relation.clone());
        if before.as_ref() == Some(&relation) {
            return Ok(());
        }
        relations.remove(&trust_domain);
        // What was fetched since is newer than a first bundle that has not changed.
        let known = self.keyring.bundle_of(&trust_domain).is_some();
        if let Some(first) = &relation.first
            && !(known && before.is_some_and(|before| before.first == relation.first))
        {
            self.keyring.set_foreign(first.clone())?;
        }
        let status = RelationStatus { relation, fetched: None, error: None, ignored: Vec::new() };
        let state = Arc::new(Mutex::new(State { status, over: false }));
        let hurry = Arc::new(Notify::new());
        let (keyring, settings) = (self.keyring.clone(), self.settings);
        let poller = Poller { keyring, settings, state: Arc::clone(&state), hurry: Arc::clone(&hurry) };
        let task = tokio::spawn(poller.run()).abort_handle();
        relations.insert(trust_domain, Running { state, hurry, task });
        Ok(())
    }

    /// Ends the relation to a trust domain, if there is one, and the trust in it; tells whether there was any of both.
    ///
    /// Source: section 6.3.
    pub fn remove(&self, trust_domain: &TrustDomain) -> bool {
        let ended = lock(&self.relations).remove(trust_domain).is_some();
        self.keyring.remove_foreign(trust_domain) || ended
    }

    /// Believes this bundle about its trust domain until the next answer of its endpoint, if it has one; tells whether
    /// anything changed.
    ///
    /// Source: section 4.2: an operator may update a foreign bundle at any time.
    ///
    /// # Errors
    /// It is the own trust domain's.
    pub fn set_bundle(&self, bundle: Bundle) -> Result<bool, OwnTrustDomain> {
        self.keyring.set_foreign(bundle)
    }

    /// Has the endpoint of a trust domain be asked at once; tells whether there is a relation to it.
    pub fn refresh(&self, trust_domain: &TrustDomain) -> bool {
        let relations = lock(&self.relations);
        let running = relations.get(trust_domain);
        running.inspect(|running| running.hurry.notify_one()).is_some()
    }

    /// How every relation stands, by trust domain.
    pub fn statuses(&self) -> Vec<RelationStatus> {
        lock(&self.relations).values().map(|running| lock(&running.state).status.clone()).collect()
    }
}

struct Poller {
    keyring: Keyring,
    settings: Settings,
    state: Arc<Mutex<State>>,
    hurry: Arc<Notify>,
}

impl Poller {
    async fn run(self) {
        let mut retry = self.settings.first_retry;
        loop {
            let hint = self.turn().await;
            let answered = lock(&self.state).status.fetched.is_some();
            let pause = if answered { self.bounded(hint) } else { retry.min(self.settings.interval) };
            retry = retry.saturating_mul(2);
            // Whether it passes or somebody is in a hurry, it is the next turn.
            let _ = tokio::time::timeout(pause, self.hurry.notified()).await;
        }
    }

    /// Asks once; returns the hint of the bundle that is known then.
    async fn turn(&self) -> Option<u64> {
        let relation = lock(&self.state).status.relation.clone();
        let outcome = self.ask(&relation).await;
        let mut state = lock(&self.state);
        if state.over {
            return None;
        }
        let (trust_domain, url) = (&relation.trust_domain, &relation.url);
        match outcome.and_then(|text| self.take(&relation, &text)) {
            Ok(ignored) => {
                if !ignored.is_empty() && ignored != state.status.ignored {
                    tracing::warn!(%trust_domain, %url, ?ignored, "some keys of a foreign bundle are of no use here");
                }
                state.status.fetched = Some(OffsetDateTime::now_utc());
                state.status.error = None;
                state.status.ignored = ignored;
            }
            Err(error) => {
                tracing::warn!(%trust_domain, %url, %error, "the last bundle of a foreign trust domain is kept");
                state.status.error = Some(error.to_string());
            }
        }
        self.keyring.bundle_of(trust_domain)?.refresh_hint()
    }

    async fn ask(&self, relation: &Relation) -> Result<bytes::Bytes, FetchError> {
        let tls = relation.profile.client_config(&self.keyring)?;
        // Section 7.6: who was asked belongs in the log.
        tracing::info!(trust_domain = %relation.trust_domain, url = %relation.url, "asks for a foreign bundle");
        fetch(&relation.url, &tls).await
    }

    /// Believes an answer, unless it is worse than what is known. Returns what of it is of no use.
    ///
    /// A bundle without a sequence number counts as the newest (section 4.2). One without keys is an answer like any
    /// other: it takes back every key (Trust Domain and Bundle, section 4.1.3).
    fn take(&self, relation: &Relation, text: &[u8]) -> Result<Vec<String>, FetchError> {
        let trust_domain = &relation.trust_domain;
        let read = Bundle::from_jwks(trust_domain.clone(), text)?;
        let known = self.keyring.bundle_of(trust_domain).map_or(0, |known| known.sequence());
        let seen = read.bundle.sequence();
        if seen != 0 && seen < known {
            return Err(FetchError::Older { known, seen });
        }
        // Adding a relation to the own trust domain is refused, so this is a foreign one.
        if let Ok(true) = self.keyring.set_foreign(read.bundle) {
            tracing::info!(%trust_domain, url = %relation.url, sequence = seen, "a foreign bundle has changed");
        }
        Ok(read.ignored.into_iter().map(|key| format!("keys[{}]: {}", key.at, key.reason)).collect())
    }

    fn bounded(&self, hint: Option<u64>) -> Duration {
        let Settings { interval, shortest, longest, .. } = self.settings;
        hint.map_or(interval, Duration::from_secs).max(shortest).min(longest)
    }
}

// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
