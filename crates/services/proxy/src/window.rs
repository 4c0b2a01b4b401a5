//! How much a sender may have on the way: the window of a tunnel's streams follows the bandwidth-delay product.
//!
//! A window that is too small stops the sender once per round trip; one that is too large is memory that a slow
//! application fills. So it begins small, and doubles when a round trip's worth of data nearly filled it.

use h2::{Ping, PingPong};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The window that each stream begins with.
pub(crate) const FIRST: u32 = 256 << 10;
/// The largest that it becomes.
pub(crate) const LAST: u32 = 4 << 20;
/// The window of all streams of a tunnel together: a few that stand still do not stop the others.
pub(crate) const CONNECTION: u32 = 16 << 20;

/// A round trip is measured no more often than this, and less and less often while the window stays.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Bytes that have arrived and were taken by the application, shared with the streams of a tunnel.
pub(crate) type Taken = Arc<AtomicU64>;

/// Measures round trips, and the bytes taken in each.
#[derive(Debug)]
pub(crate) struct Window {
    ping: PingPong,
    taken: Taken,
    estimate: Estimate,
    under_way: Option<u64>,
}

impl Window {
    /// Over the pings of a connection that begins with [`FIRST`].
    pub(crate) fn new(ping: PingPong) -> Self {
        Self { ping, taken: Taken::default(), estimate: Estimate::new(Instant::now()), under_way: None }
    }

    /// Where streams count what was taken.
    pub(crate) fn taken(&self) -> Taken {
        Arc::clone(&self.taken)
    }

    /// To be polled with the connection; tells a larger window when it is time for one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Option<u32> {
        if let Some(before) = self.under_way {
            return match self.ping.poll_pong(cx) {
                Poll::Pending => None,
                Poll::Ready(Err(_)) => None,
                Poll::Ready(Ok(_)) => {
                    self.under_way = None;
                    self.estimate.round_trip(self.taken.load(Ordering::Relaxed).wrapping_sub(before), Instant::now())
                }
            };
        }
        let taken = self.taken.load(Ordering::Relaxed);
        if self.estimate.is_due(taken, Instant::now()) && self.ping.send_ping(Ping::opaque()).is_ok() {
            self.under_way = Some(taken);
            // The waker is to be known before the answer comes.
            let _ = self.ping.poll_pong(cx);
        }
        None
    }
}

/// The window that the round trips so far speak for.
#[derive(Debug)]
struct Estimate {
    window: u32,
    pause: Duration,
    next: Instant,
    seen: u64,
}

impl Estimate {
    fn new(now: Instant) -> Self {
        Self { window: FIRST, pause: SHORTEST_PAUSE, next: now, seen: 0 }
    }

    /// Whether to measure: something was taken since the last time, and the pause is over.
    fn is_due(&self, taken: u64, now: Instant) -> bool {
        self.window < LAST && taken > self.seen && now >= self.next
    }

    /// A round trip in which this much was taken.
    fn round_trip(&mut self, taken: u64, now: Instant) -> Option<u32> {
        self.seen += taken;
        let nearly_full = taken >= u64::from(self.window) * 2 / 3;
        self.pause = if nearly_full { SHORTEST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.next = now + self.pause;
        if !nearly_full {
            return None;
        }
        self.window = self.window.saturating_mul(2).min(LAST);
        Some(self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::{Estimate, FIRST, LAST, SHORTEST_PAUSE};
    use std::time::{Duration, Instant};

    #[test]
    fn the_window_doubles_while_it_is_the_limit_and_no_further_than_the_last() {
        let mut now = Instant::now();
        let mut estimate = Estimate::new(now);
        assert!(!estimate.is_due(0, now), "nothing was taken");
        let mut window = FIRST;
        while window < LAST {
            now += Duration::from_secs(1);
            window *= 2;
            assert_eq!(estimate.round_trip(u64::from(window / 2), now), Some(window));
        }
        assert!(!estimate.is_due(u64::MAX, now + Duration::from_secs(60)), "it is at its largest");
    }

    #[test]
    fn a_slow_stream_is_measured_less_and_less_often() {
        let now = Instant::now();
        let mut estimate = Estimate::new(now);
        assert!(estimate.is_due(1000, now));
        assert_eq!(estimate.round_trip(1000, now), None);
        assert!(!estimate.is_due(2000, now + SHORTEST_PAUSE));
        assert!(estimate.is_due(2000, now + SHORTEST_PAUSE * 2));
    }
}
