//! Remembers New Session messages for as long as their DateTime lets them pass.

use crate::limits::dest::REPLAY_ENTRIES;
use crate::time::{Duration, Instant};
use ramson_wire::crypto::x25519::PublicKey;
use std::collections::{BTreeSet, VecDeque};

/// A message may be dated two minutes ahead and is good for five minutes.
const KEPT: Duration = Duration::from_secs(8 * 60);

#[derive(Default)]
pub(super) struct ReplayFilter {
    seen: BTreeSet<PublicKey>,
    order: VecDeque<(Instant, PublicKey)>,
}

impl ReplayFilter {
    /// Whether the ephemeral key is new; it is remembered.
    pub(super) fn insert(&mut self, now: Instant, key: PublicKey) -> bool {
        while let Some((at, old)) = self.order.front().copied() {
            if self.order.len() < REPLAY_ENTRIES && now.since(at) < KEPT {
                break;
            }
            self.order.pop_front();
            self.seen.remove(&old);
        }
        if !self.seen.insert(key) {
            return false;
        }
        self.order.push_back((now, key));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t85_the_filter_forgets_by_age_and_stays_bounded() {
        let mut filter = ReplayFilter::default();
        let key = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            PublicKey(bytes)
        };
        let at = |secs: u64| Instant::from_micros(secs * 1_000_000);
        assert!(filter.insert(at(0), key(1)));
        assert!(!filter.insert(at(400), key(1)));
        assert!(filter.insert(at(481), key(1)));
        for n in 0..REPLAY_ENTRIES as u64 * 2 {
            filter.insert(at(482), key(n + 10));
            assert!(filter.seen.len() <= REPLAY_ENTRIES && filter.order.len() <= REPLAY_ENTRIES);
        }
    }
}
