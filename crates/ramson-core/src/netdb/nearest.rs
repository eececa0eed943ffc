//! What is kept for others, by its distance from us: where there is no room for all, the farthest go.
//!
//! Others look for a key at the floodfills that are closest to where it is kept on that day, so what is far from us is
//! asked of others. Nobody fills such a store but with keys that are closer to us than those of everybody else, and
//! these are as hard to find as the store is large.

use super::routing_key::Day;
use crate::time::Now;
use ramson_wire::data::Hash;
use std::collections::BTreeMap;

/// Keys in the order of their distance from us today.
#[derive(Debug)]
pub(super) struct Nearest {
    own: Hash,
    day: Day,
    by_distance: BTreeMap<[u8; 32], Hash>,
}

impl Nearest {
    pub(super) fn new(own: Hash, now: Now) -> Self {
        Self { own, day: Day::of(now.unix_ms), by_distance: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_distance.len()
    }

    pub(super) fn insert(&mut self, key: Hash) {
        self.by_distance.insert(self.distance(&key), key);
    }

    pub(super) fn remove(&mut self, key: &Hash) {
        self.by_distance.remove(&self.distance(key));
    }

    /// Whether the key is there.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn contains(&self, key: &Hash) -> bool {
        self.by_distance.get(&self.distance(key)) == Some(key)
    }

    /// The farthest key, if it is farther than `key`.
    pub(super) fn farther_than(&self, key: &Hash) -> Option<Hash> {
        let (distance, farthest) = self.by_distance.last_key_value()?;
        (*distance > self.distance(key)).then_some(*farthest)
    }

    /// Follows the day: at midnight all keys move.
    pub(super) fn turn_to(&mut self, now: Now) {
        let day = Day::of(now.unix_ms);
        if day != self.day {
            self.day = day;
            for key in std::mem::take(&mut self.by_distance).into_values() {
                self.insert(key);
            }
        }
    }

    fn distance(&self, key: &Hash) -> [u8; 32] {
        self.day.routing_key(key).distance(&self.own)
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::testing::NOW;
    use super::*;
    use crate::time::Duration;

    #[test]
    fn the_farthest_is_found_on_each_day() {
        let own = Hash([9; 32]);
        let keys: Vec<Hash> = (0..50u8).map(|n| Hash::of(&[n])).collect();
        let mut nearest = Nearest::new(own, NOW);
        keys[1..].iter().for_each(|key| nearest.insert(*key));
        for now in [NOW, NOW.later(Duration::from_hours(24)), NOW.later(Duration::from_hours(48))] {
            nearest.turn_to(now);
            let far = |key: &Hash| Day::of(now.unix_ms).routing_key(key).distance(&own);
            let farthest = *keys[1..].iter().max_by_key(|key| far(key)).unwrap();
            let expected = (far(&farthest) > far(&keys[0])).then_some(farthest);
            assert_eq!((nearest.farther_than(&keys[0]), nearest.len()), (expected, 49));
            assert_eq!(nearest.farther_than(&farthest), None, "nothing is farther than itself");
            assert!(nearest.contains(&farthest) && !nearest.contains(&keys[0]));
        }
        keys.iter().for_each(|key| nearest.remove(key));
        assert_eq!((nearest.len(), nearest.farther_than(&keys[0])), (0, None));
    }
}
