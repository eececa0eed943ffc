//! Bounded memory of what was seen, against replays and duplicates: ephemeral keys of NTCP2, of build requests and of
//! New Session messages, and the IVs of tunnel messages.

use crate::rng::{Rng, SeededState};
use crate::time::{Duration, Instant};
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

/// Of keys, whose number is small and whose loss would be a refused session.
pub(crate) type Seen = Memory<u64>;

/// Of tunnel messages, whose number is large: six bytes each. One in 20,000 of a full memory is taken for another that
/// was seen, and lost; the bloom filters that the specification proposes lose as many.
pub(crate) type SeenIvs = Memory<u32>;

/// Two generations of entries. The older is forgotten when the younger is full or old: an entry is remembered for at
/// least one `period`, or until `capacity` others have followed; and never are there more than twice `capacity`.
///
/// Keyed bits stand for an entry, 64 or 32: nobody outside can make two meet, or aim at buckets.
pub(crate) struct Memory<K> {
    state: SeededState,
    young: HashSet<K, BuildHasherDefault<Spread>>,
    old: HashSet<K, BuildHasherDefault<Spread>>,
    capacity: usize,
    period: Duration,
    since: Instant,
}

/// What stands for an entry.
pub(crate) trait Mark: Copy + Eq + Hash {
    fn of(hash: u64) -> Self;
}

impl Mark for u64 {
    fn of(hash: u64) -> Self {
        hash
    }
}

impl Mark for u32 {
    fn of(hash: u64) -> Self {
        (hash >> 32) as Self
    }
}

/// Marks are the outcome of a keyed hash: no other is needed, only all bits filled.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u32(&mut self, mark: u32) {
        self.write_u64(mark.into());
    }

    fn write_u64(&mut self, mark: u64) {
        self.0 = mark.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<K: Mark> Memory<K> {
    pub(crate) fn new(capacity: usize, period: Duration, rng: &mut Rng) -> Self {
        let (young, old) = (HashSet::default(), HashSet::default());
        Self { state: SeededState::new(rng), young, old, capacity, period, since: Instant::ZERO }
    }

    /// Notes the entry; false when it is remembered from before.
    pub(crate) fn insert(&mut self, now: Instant, entry: &[u8]) -> bool {
        if self.young.len() >= self.capacity || now.since(self.since) >= self.period {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        let mark = K::of(self.state.hash_one(entry));
        !self.old.contains(&mark) && self.young.insert(mark)
    }

    /// Whether the entry is remembered.
    pub(crate) fn contains(&self, entry: &[u8]) -> bool {
        let mark = K::of(self.state.hash_one(entry));
        self.old.contains(&mark) || self.young.contains(&mark)
    }

    /// Forgets what is two periods old, though nothing new has come.
    pub(crate) fn age(&mut self, now: Instant) {
        let age = now.since(self.since);
        if age >= self.period {
            let young = std::mem::take(&mut self.young);
            self.old = if age >= self.period * 2 { HashSet::default() } else { young };
            self.since = now;
        }
    }

    /// From now on a generation has this capacity.
    pub(crate) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Entries of both generations.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn forgets_in_generations_and_stays_bounded() {
        let mut seen = Seen::new(3, Duration::from_secs(10), &mut Rng::from_seed([1; 32]));
        assert!(seen.insert(at(0), b"a") && !seen.insert(at(0), b"a"));
        assert!(!seen.insert(at(12), b"a"), "the older generation still knows");
        assert!(seen.insert(at(40), b"b") && seen.insert(at(55), b"a"));
        for i in 0..100u8 {
            assert!(seen.insert(at(56), &[i, i]));
            assert!(seen.young.len() <= 3 && seen.old.len() <= 3);
        }
    }

    /// No more is lost to marks that meet than is said, and buckets fill evenly.
    #[test]
    fn few_entries_are_taken_for_others() {
        let mut seen = SeenIvs::new(100_000, Duration::from_secs(10), &mut Rng::from_seed([4; 32]));
        let taken = (0..200_000u32).filter(|n| !seen.insert(at(0), &n.to_be_bytes())).count();
        assert!(taken < 15, "{taken} of 200,000"); // 4.6 are to be expected
        assert!((100_000..200_000u32).all(|n| !seen.insert(at(0), &n.to_be_bytes())));
    }

    #[test]
    fn remembers_at_least_a_period_or_its_capacity() {
        for first in 0..40 {
            let mut seen = Seen::new(100, Duration::from_secs(10), &mut Rng::from_seed([2; 32]));
            for secs in 0..=first {
                assert!(seen.insert(at(secs), &secs.to_be_bytes()));
            }
            assert!(!seen.insert(at(first + 10), &first.to_be_bytes()), "{first}");
        }
        let mut seen = Seen::new(8, Duration::from_secs(10), &mut Rng::from_seed([3; 32]));
        for n in 0..200u64 {
            assert!(seen.insert(at(0), &n.to_be_bytes()));
            assert!((n.saturating_sub(7)..=n).all(|before| !seen.insert(at(0), &before.to_be_bytes())), "{n}");
        }
    }
}
