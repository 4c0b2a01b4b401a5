//! Keeps a fresh SVID in the keyring for every identity that runs here.

use crate::ca::Ca;
use crate::registry::Registry;
use lictor_model::SpiffeId;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

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
    /// Each identity's next SVID.
    due: BTreeMap<SpiffeId, Due>,
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
        Self { ca, registry, lifetime, fraction, due: BTreeMap::new() }
    }

    /// Does what is due now and returns how long there is nothing more to do, at most ten seconds.
    ///
    /// Call it once before the first pod starts and it has its SVID from the beginning; [`run`](Self::run) does the rest.
    pub fn step(&mut self) -> Duration {
        let next_event = self.ca.step();
        let now = self.ca.now();
        let tainted = self.ca.tainted();
        let wanted = self.registry.identities();
        let (keyring, due) = (self.ca.keyring(), &mut self.due);
        due.retain(|id, _| {
            let needed = wanted.binary_search(id).is_ok();
            if !needed {
                keyring.remove(id);
            }
            needed
        });
        let mut made = 0;
        for id in wanted {
            if self.due.get(&id).is_some_and(|due| due.is_later(now, &tainted)) {
                continue;
            }
            if made == BATCH {
                return Duration::ZERO;
            }
            made += 1;
            let next = self.renew(&id, now);
            self.due.insert(id, next);
        }
        let next = self.due.values().map(|due| due.at).fold(next_event, OffsetDateTime::min);
        (next - now).clamp(Duration::ZERO, NAP)
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

    /// Makes the next SVID of `id` and returns when the one after it is due.
    fn renew(&mut self, id: &SpiffeId, now: OffsetDateTime) -> Due {
        let lifetime = self.registry.lifetime_limit(id).map_or(self.lifetime, |limit| limit.min(self.lifetime));
        match self.ca.renew(id, lifetime) {
            Ok((not_after, signer)) => {
                tracing::debug!(%id, %not_after, %signer, "issued an SVID");
                let life = not_after - now;
                let at = now + life * (0.45 + 0.1 * (self.fraction)().clamp(0.0, 1.0));
                Due { at, signer: Some(signer) }
            }
            Err(error) => {
                // What was issued before stays and goes on until it expires.
                tracing::error!(%id, %error, "no SVID was issued");
                Due { at: now + RETRY, signer: None }
            }
        }
    }
}

impl Due {
    fn is_later(&self, now: OffsetDateTime, tainted: &[Arc<str>]) -> bool {
        now < self.at && !self.signer.as_ref().is_some_and(|signer| tainted.contains(signer))
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("lifetime", &self.lifetime)
            .field("identities", &self.due.len())
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
