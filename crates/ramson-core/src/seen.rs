//! Bounded memory of what was seen, against replays and duplicates: ephemeral keys of NTCP2, of build requests and of
//! New Session messages, and the IVs of tunnel messages.

use crate::rng::{Rng, SeededState};
use crate::time::{Duration, Instant};
use std::collections::HashSet;
use std::hash::BuildHasher;

/// Two generations of entries. The older is forgotten when the younger is full or old: an entry is remembered for at
/// least one `period`, or until `capacity` others have followed; and never are there more than twice `capacity`.
pub(crate) struct Seen {
    state: SeededState,
    young: HashSet<u64, SeededState>,
    old: HashSet<u64, SeededState>,
    capacity: usize,
    period: Duration,
    since: Instant,
}

impl Seen {
    pub(crate) fn new(capacity: usize, period: Duration, rng: &mut Rng) -> Self {
        let state = SeededState::new(rng);
        let empty = || HashSet::with_hasher(state.clone());
        Self { young: empty(), old: empty(), state, capacity, period, since: Instant::ZERO }
    }

    /// Notes the entry; false when it is remembered from before.
    pub(crate) fn insert(&mut self, now: Instant, entry: &[u8]) -> bool {
        if self.young.len() >= self.capacity || now.since(self.since) >= self.period {
            self.old = std::mem::replace(&mut self.young, HashSet::with_hasher(self.state.clone()));
            self.since = now;
        }
        // 64 keyed bits stand for the entry: nobody outside can make two meet.
        let key = self.state.hash_one(entry);
        !self.old.contains(&key) && self.young.insert(key)
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
