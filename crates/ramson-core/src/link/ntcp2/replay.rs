//! The cache of ephemeral keys seen in message 1, so that a replayed one is treated like a random probe.

use crate::rng::{Rng, SeededState};
use crate::time::{Duration, Instant};
use std::collections::HashMap;

/// Two generations of keys; a key is remembered for at least one generation. A generation that is full ends early,
/// so that memory is bounded; the clock-skew check of the handshake bounds what an attacker gains by filling it.
pub struct ReplayCache {
    young: HashMap<[u8; 32], (), SeededState>,
    old: HashMap<[u8; 32], (), SeededState>,
    started: Instant,
    generation: Duration,
    capacity: usize,
}

impl ReplayCache {
    pub fn new(rng: &mut Rng, generation: Duration, capacity: usize) -> Self {
        let state = SeededState::new(rng);
        Self {
            young: HashMap::with_hasher(state.clone()),
            old: HashMap::with_hasher(state),
            started: Instant::ZERO,
            generation,
            capacity,
        }
    }

    /// Remembers the key; false when it was seen before.
    pub fn insert(&mut self, now: Instant, key: [u8; 32]) -> bool {
        if now.since(self.started) >= self.generation || self.young.len() >= self.capacity {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.started = now;
        }
        !self.old.contains_key(&key) && self.young.insert(key, ()).is_none()
    }

    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_a_generation_and_stays_bounded() {
        let minutes = |n: u64| Instant::ZERO + Duration::from_secs(60 * n);
        let mut cache = ReplayCache::new(&mut Rng::from_seed([1; 32]), Duration::from_secs(600), 100);
        assert!(cache.insert(minutes(0), [1; 32]));
        assert!(!cache.insert(minutes(5), [1; 32]));
        assert!(!cache.insert(minutes(15), [1; 32]), "still in the old generation");
        for i in 0..10_000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&i.to_be_bytes());
            cache.insert(minutes(16), key);
        }
        assert!(cache.len() <= 200);
        assert!(cache.insert(minutes(40), [1; 32]), "forgotten after two generations");
    }
}
