//! How long to wait before somebody who did not answer is asked again.

use crate::issuer::Fraction;
use std::time::Duration;

/// After an answer: at once, as a person sees it, and yet no busy loop.
const FIRST: Duration = Duration::from_millis(100);

/// A server that comes back is noticed by then.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double from one failure to the next.
pub(crate) struct Backoff {
    next: Duration,
    fraction: Fraction,
}

impl Backoff {
    pub(crate) fn new(fraction: Fraction) -> Self {
        Self { next: FIRST, fraction }
    }

    /// There was an answer: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next wait: between half and all of what it has grown to, so that the nodes of a cluster do not come together.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait.mul_f64(0.5 + 0.5 * (self.fraction)().clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};
    use std::time::Duration;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(Box::new(|| 1.0));
        let waits: Vec<Duration> = (0..12).map(|_| backoff.wait()).collect();
        assert_eq!(waits[..3], [FIRST, FIRST * 2, FIRST * 4]);
        assert_eq!(waits[11], LONGEST);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        backoff.reset();
        assert_eq!(backoff.wait(), FIRST);
        let mut early = Backoff::new(Box::new(|| 0.0));
        assert_eq!(early.wait(), FIRST / 2);
    }
}
