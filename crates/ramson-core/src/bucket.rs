//! A token bucket over the machine's clock: what strangers may make us do.

use crate::time::Instant;

/// Millionths of an event, so that a rate per second is a rate per microsecond.
const EVENT: u64 = 1_000_000;

/// A rate with a burst, in whole events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    per_second: u64,
    /// In millionths of an event.
    full: u64,
    level: u64,
    at: Instant,
}

impl Bucket {
    /// A full bucket of events per second, and how many may come at once.
    pub(crate) fn new((per_second, burst): (u32, u32), now: Instant) -> Self {
        let full = u64::from(burst) * EVENT;
        Self { per_second: u64::from(per_second), full, level: full, at: now }
    }

    /// Takes one event of the allowance; false when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let Some(level) = self.level.checked_sub(EVENT) else { return false };
        self.level = level;
        true
    }

    /// Whether the whole burst is available, so that nothing is lost by forgetting the bucket.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.level == self.full
    }

    /// When it was last used.
    pub(crate) const fn used(&self) -> Instant {
        self.at
    }

    fn refill(&mut self, now: Instant) {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        self.level = self.level.saturating_add(micros.saturating_mul(self.per_second)).min(self.full);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn gives_its_burst_and_then_its_rate() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut bucket = Bucket::new((10, 5), at(0));
        assert_eq!((0..20).filter(|_| bucket.take(at(0))).count(), 5);
        assert!(!bucket.take(at(99)) && bucket.take(at(100)) && !bucket.take(at(100)));
        assert_eq!((0..1000).filter(|ms| bucket.take(at(1000 + ms))).count(), 14);
        assert!(!bucket.is_full(at(2000)) && bucket.is_full(at(9000)));
    }

    #[test]
    fn fractions_are_kept_and_the_burst_is_the_most() {
        let at = Instant::from_micros;
        let mut bucket = Bucket::new((2, 3), at(0));
        assert_eq!((0..5).filter(|_| bucket.take(at(0))).count(), 3);
        assert!(!bucket.take(at(499_999)) && bucket.take(at(500_000)));
        assert_eq!((0..5).filter(|_| bucket.take(at(100_000_000))).count(), 3);
        assert!(!bucket.take(at(1)), "a clock that goes back gives nothing");
        assert_eq!(bucket.used(), at(100_000_000));
    }
}
