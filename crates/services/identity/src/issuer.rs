//! Keeps a fresh SVID in the keyring for every subject that runs here.

use crate::ca::Ca;
use crate::registry::Registry;
use lictor_pki::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Draws a number from 0 to 1.
pub type Fraction = Box<dyn FnMut() -> f64 + Send>;

/// SVIDs made in one go; in between, other tasks of the runtime get their turn.
const BATCH: usize = 32;

/// How long at most the issuer sleeps: a clock that was set forward is noticed by then.
const NAP: Duration = Duration::seconds(10);

/// How long after a failure it tries again.
pub(crate) const RETRY: Duration = Duration::seconds(1);

/// Issues, renews at about half of the life or as soon as its signer is tainted, and drops what nobody needs. It keeps the
/// authorities' schedule as well.
pub struct Issuer {
    ca: Ca,
    registry: Registry,
    lifetime: Duration,
    fraction: Fraction,
    /// Tells of pods that came and went; nothing before the first look at them.
    changes: Option<watch::Receiver<()>>,
    /// The tainted authorities whose SVIDs are due already.
    tainted: Vec<Arc<str>>,
    /// Each subject's next SVID.
    due: BTreeMap<Subject, Due>,
    /// The same by time.
    queue: BTreeSet<(OffsetDateTime, Subject)>,
}

struct Due {
    /// When it is due.
    at: OffsetDateTime,
    /// Who signed the one that it replaces; `None` if that one could not be replaced the last time.
    signer: Option<Arc<str>>,
}

impl Issuer {
    /// An issuer of SVIDs that live for `lifetime`, for the identities of `registry`, into the keyring of `ca`.
    ///
    /// The keyring's other identities are left alone.
    pub fn new(ca: Ca, registry: Registry, lifetime: Duration, fraction: Fraction) -> Self {
        let (due, queue) = (BTreeMap::new(), BTreeSet::new());
        Self { ca, registry, lifetime, fraction, changes: None, tainted: Vec::new(), due, queue }
    }

    /// Does what is due now, at most a batch of it, and returns how long there is nothing more to do, at most ten seconds.
    ///
    /// Call it once before the first pod starts and it has its SVID from the beginning; [`run`](Self::run) does the rest.
    pub fn step(&mut self) -> Duration {
        let next_event = self.ca.step();
        let now = self.ca.now();
        self.follow_registry(now);
        self.follow_taint(now);
        for _ in 0..BATCH {
            let Some((_, subject)) = self.queue.first().filter(|(at, _)| *at <= now).cloned() else { break };
            let next = self.renew(&subject, now);
            self.put(subject, next);
        }
        let next = self.queue.first().map_or(next_event, |(at, _)| next_event.min(*at));
        (next - now).clamp(Duration::ZERO, NAP)
    }

    /// Has the SVIDs of new subjects be due, and drops those that no pod needs any more.
    fn follow_registry(&mut self, now: OffsetDateTime) {
        match &mut self.changes {
            Some(changes) if !changes.has_changed().unwrap_or(true) => return,
            Some(changes) => changes.mark_unchanged(),
            None => self.changes = Some(self.registry.changes()),
        }
        // Looked at after the change was noted: what comes meanwhile is noted again.
        let wanted = self.registry.subjects();
        let (keyring, queue) = (self.ca.keyring(), &mut self.queue);
        self.due.retain(|subject, due| {
            let needed = wanted.binary_search(subject).is_ok();
            if !needed {
                keyring.remove_of(subject);
                queue.remove(&(due.at, subject.clone()));
            }
            needed
        });
        for subject in wanted {
            if !self.due.contains_key(&subject) {
                self.put(subject, Due { at: now, signer: None });
            }
        }
    }

    /// Has everything that a tainted authority signed be due at once.
    fn follow_taint(&mut self, now: OffsetDateTime) {
        let tainted = self.ca.tainted();
        if tainted == self.tainted {
            return;
        }
        let is_tainted = |due: &Due| due.signer.as_ref().is_some_and(|signer| tainted.contains(signer));
        let again: Vec<Subject> = (self.due.iter())
            .filter(|(_, due)| due.at > now && is_tainted(due))
            .map(|(subject, _)| subject.clone())
            .collect();
        again.into_iter().for_each(|subject| self.put(subject, Due { at: now, signer: None }));
        self.tainted = tainted;
    }

    /// Says when the next SVID of a subject is due.
    fn put(&mut self, subject: Subject, next: Due) {
        let at = next.at;
        if let Some(before) = self.due.insert(subject.clone(), next) {
            self.queue.remove(&(before.at, subject.clone()));
        }
        self.queue.insert((at, subject));
    }

    /// Keeps the keyring fresh until `shutdown`; a pod that is added gets its SVID at once.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let (mut changes, mut steps) = (self.registry.changes(), self.ca.changes());
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let nap = self.step().unsigned_abs();
            if nap.is_zero() {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = &mut shutdown => return,
                _ = changes.changed() => {}
                _ = steps.changed() => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// Makes the next SVID of `subject` and returns when the one after it is due.
    fn renew(&mut self, subject: &Subject, now: OffsetDateTime) -> Due {
        let (id, names) = (&subject.id, subject.dns_names.len());
        let lifetime = self.registry.lifetime_limit(subject).map_or(self.lifetime, |limit| limit.min(self.lifetime));
        match self.ca.renew(subject, lifetime) {
            Ok((not_after, signer)) => {
                tracing::debug!(%id, names, %not_after, %signer, "issued an SVID");
                let life = not_after - now;
                let at = now + life * (0.45 + 0.1 * (self.fraction)().clamp(0.0, 1.0));
                Due { at, signer: Some(signer) }
            }
            Err(error) => {
                // What was issued before stays and goes on until it expires.
                tracing::error!(%id, names, %error, "no SVID was issued");
                Due { at: now + RETRY, signer: None }
            }
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("lifetime", &self.lifetime)
            .field("subjects", &self.due.len())
            .finish_non_exhaustive()
    }
}

/// The machine's clock.
pub fn system_clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}

/// Numbers that spread the renewals of a node's identities; not for secrets.
pub fn random_fraction() -> Fraction {
    let state = RandomState::new();
    let mut count = 0_u64;
    Box::new(move || {
        count += 1;
        let mut hasher = state.build_hasher();
        hasher.write_u64(count);
        (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
    })
}

#[cfg(test)]
mod tests;
