//! What an authority has signed, in two numbers.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use time::OffsetDateTime;

/// How much an authority has signed, and until when the last of it is valid. Exact, however much it was: an authority is
/// kept in bundles until then, and no list of what was issued has to be kept for it.
#[derive(Debug)]
pub struct Tally {
    count: AtomicU64,
    /// Unix seconds; `i64::MIN` while nothing was signed.
    last: AtomicI64,
}

impl Tally {
    /// How many certificates or tokens were signed.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// The last second of what is valid longest; `None` if nothing was signed.
    pub fn last_expiry(&self) -> Option<OffsetDateTime> {
        match self.last.load(Ordering::Acquire) {
            i64::MIN => None,
            seconds => OffsetDateTime::from_unix_timestamp(seconds).ok(),
        }
    }

    /// Counts one more, whose last second is `not_after` (Unix time).
    pub(crate) fn note(&self, not_after: i64) {
        self.last.fetch_max(not_after, Ordering::AcqRel);
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// What an earlier process had signed with the same key.
    pub(crate) fn resume(&self, count: u64, last: Option<OffsetDateTime>) {
        self.count.fetch_add(count, Ordering::AcqRel);
        if let Some(last) = last {
            self.last.fetch_max(last.unix_timestamp(), Ordering::AcqRel);
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: AtomicU64::new(0), last: AtomicI64::new(i64::MIN) }
    }
}
