//! A token bucket over the machine's clock: what strangers may make us do.

use crate::time::{Duration, Instant};
use ramson_wire::data::Hash;
use std::collections::BTreeMap;

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
        self.take_many(now, 1)
    }

    /// Takes so many events, or none of them; false when there are not so many.
    pub(crate) fn take_many(&mut self, now: Instant, events: usize) -> bool {
        self.refill(now);
        let wanted = u64::try_from(events).unwrap_or(u64::MAX).saturating_mul(EVENT);
        let Some(level) = self.level.checked_sub(wanted) else { return false };
        self.level = level;
        true
    }

    /// The share of the burst that is left; nothing of a bucket without any.
    pub(crate) fn left(&mut self, now: Instant) -> f64 {
        self.refill(now);
        if self.full == 0 { 0.0 } else { self.level as f64 / self.full as f64 }
    }

    /// When there is an event to take; `now` where there is one already, and never where none ever comes.
    pub(crate) fn ready_at(mut self, now: Instant) -> Instant {
        self.refill(now);
        let lacks = EVENT.saturating_sub(self.level);
        if lacks == 0 {
            return now;
        }
        if self.per_second == 0 || self.full < EVENT {
            return Instant::FAR;
        }
        now + Duration::from_micros(lacks.div_ceil(self.per_second))
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

/// A bucket for each of many peers.
pub(crate) type PeerBuckets = Buckets<Hash>;

/// A bucket for each of many, in a bounded table. Those whose bucket is full make room; where none is, one that is not in
/// the table has no allowance.
pub(crate) struct Buckets<K> {
    rate: (u32, u32),
    most: usize,
    buckets: BTreeMap<K, Bucket>,
}

impl<K: Ord> Buckets<K> {
    /// At most `most` peers, each with events per second and how many may come at once.
    pub(crate) const fn new(rate: (u32, u32), most: usize) -> Self {
        Self { rate, most, buckets: BTreeMap::new() }
    }

    /// Takes one event of the peer's allowance; false when there is none.
    pub(crate) fn take(&mut self, now: Instant, peer: K) -> bool {
        self.take_many(now, peer, 1)
    }

    /// Takes so many events of the peer's allowance, or none of them; false when there are not so many.
    pub(crate) fn take_many(&mut self, now: Instant, peer: K, events: usize) -> bool {
        if !self.buckets.contains_key(&peer) && self.buckets.len() >= self.most {
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
            if self.buckets.len() >= self.most {
                return false;
            }
        }
        self.buckets.entry(peer).or_insert_with(|| Bucket::new(self.rate, now)).take_many(now, events)
    }

    /// Peers that are counted.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
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

    #[test]
    fn takes_all_of_many_or_none() {
        let at = Instant::from_micros;
        let mut bucket = Bucket::new((1_000, 400), at(0));
        assert!(!bucket.take_many(at(0), 401) && !bucket.take_many(at(0), usize::MAX));
        assert!(bucket.take_many(at(0), 300) && bucket.left(at(0)) == 0.25);
        assert!(bucket.take(at(0)) && bucket.left(at(0)) < 0.25 && bucket.left(at(1_000)) == 0.25);
        assert!(!bucket.take_many(at(1_000), 101) && bucket.take_many(at(1_000), 100));
    }

    #[test]
    fn tells_when_the_next_event_comes() {
        let at = Instant::from_micros;
        let mut bucket = Bucket::new((3, 1), at(0));
        assert_eq!(bucket.ready_at(at(5)), at(5));
        assert!(bucket.take(at(5)));
        let ready = bucket.ready_at(at(100));
        assert_eq!(ready, at(5 + 333_334));
        assert!(!bucket.take(at(5 + 333_333)) && bucket.take(ready));
        assert_eq!(Bucket::new((0, 0), at(0)).ready_at(at(1)), Instant::FAR);
        assert_eq!(Bucket::new((5, 0), at(0)).ready_at(at(1)), Instant::FAR);
    }

    #[test]
    fn peers_have_an_allowance_each_in_a_bounded_table() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let peer = |n: u32| Hash::of(&n.to_be_bytes());
        let mut peers = PeerBuckets::new((1, 2), 3);
        for n in 0..3 {
            assert!(peers.take(at(0), peer(n)) && peers.take(at(0), peer(n)) && !peers.take(at(0), peer(n)));
        }
        assert!(!peers.take(at(0), peer(3)), "no place");
        assert!(peers.take(at(1_000), peer(0)) && !peers.take(at(1_000), peer(3)));
        assert!(peers.take(at(2_000), peer(3)), "two have made room");
        assert_eq!(peers.len(), 2);
    }
}
