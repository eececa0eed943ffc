//! Bounded memory of what was seen: two generations, the older of which is forgotten when the younger is full or old.

use crate::rng::{Rng, SeededState};
use crate::time::{Duration, Instant};
use std::collections::HashSet;
use std::hash::BuildHasher;

/// Remembers the last `capacity` to `2 * capacity` entries, or those of `period` to `2 * period`.
pub(super) struct Seen {
    state: SeededState,
    fresh: HashSet<u64, SeededState>,
    old: HashSet<u64, SeededState>,
    capacity: usize,
    period: Duration,
    since: Instant,
}

impl Seen {
    pub(super) fn new(capacity: usize, period: Duration, now: Instant, rng: &mut Rng) -> Self {
        let state = SeededState::new(rng);
        let empty = || HashSet::with_hasher(state.clone());
        Self { fresh: empty(), old: empty(), state, capacity, period, since: now }
    }

    /// Notes the entry; false when it is remembered from before.
    pub(super) fn insert(&mut self, now: Instant, entry: &[u8]) -> bool {
        if self.fresh.len() >= self.capacity || now.since(self.since) >= self.period {
            self.old = std::mem::replace(&mut self.fresh, HashSet::with_hasher(self.state.clone()));
            self.since = now;
        }
        // 64 keyed bits stand for the entry: nobody outside can make two meet.
        let key = self.state.hash_one(entry);
        !self.old.contains(&key) && self.fresh.insert(key)
    }
}

/// A rate with a burst, in whole events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    per_second: u64,
    /// In millionths of an event.
    full: u64,
    level: u64,
    at: Instant,
}

const EVENT: u64 = 1_000_000;

impl Bucket {
    pub(super) fn new((per_second, burst): (u32, u32), now: Instant) -> Self {
        let full = u64::from(burst) * EVENT;
        Self { per_second: u64::from(per_second), full, level: full, at: now }
    }

    /// Takes one event of the allowance; false when there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let allowed = self.level >= EVENT;
        if allowed {
            self.level -= EVENT;
        }
        allowed
    }

    /// Whether the whole burst is available, so that nothing is lost by forgetting the bucket.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.level == self.full
    }

    fn refill(&mut self, now: Instant) {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        self.level = self.level.saturating_add(micros.saturating_mul(self.per_second)).min(self.full);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seen_forgets_in_generations() {
        let at = |secs| Instant::ZERO + Duration::from_secs(secs);
        let mut seen = Seen::new(3, Duration::from_secs(10), at(0), &mut Rng::from_seed([1; 32]));
        assert!(seen.insert(at(0), b"a") && !seen.insert(at(0), b"a"));
        assert!(!seen.insert(at(12), b"a"), "the older generation still knows");
        assert!(seen.insert(at(40), b"b") && seen.insert(at(55), b"a"));
        for i in 0..100u8 {
            assert!(seen.insert(at(56), &[i, i]));
            assert!(seen.fresh.len() <= 3 && seen.old.len() <= 3);
        }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut bucket = Bucket::new((10, 5), at(0));
        assert_eq!((0..20).filter(|_| bucket.take(at(0))).count(), 5);
        assert!(!bucket.take(at(99)) && bucket.take(at(100)) && !bucket.take(at(100)));
        assert_eq!((0..1000).filter(|ms| bucket.take(at(1000 + ms))).count(), 14);
        assert!(!bucket.is_full(at(2000)) && bucket.is_full(at(9000)));
    }
}
