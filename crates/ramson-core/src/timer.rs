//! Deadlines by key: set, move, cancel, and take what is due. One table per machine keeps draining free of scans.

use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// A set of keys with one deadline each. Keys with the same deadline come out in the order of the keys.
#[derive(Debug)]
pub struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Sets the deadline unless an earlier one is set.
    pub fn set_sooner(&mut self, key: K, at: Instant) {
        if self.by_key.get(&key).is_none_or(|old| at < *old) {
            self.set(key, at);
        }
    }

    pub fn cancel(&mut self, key: &K) {
        if let Some(old) = self.by_key.remove(key) {
            self.by_time.remove(&(old, key.clone()));
        }
    }

    /// The deadline of `key`.
    pub fn get(&self, key: &K) -> Option<Instant> {
        self.by_key.get(key).copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Removes and returns the first key that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.by_time.pop_first()?;
            self.by_key.remove(&key);
            return Some(key);
        }
        None
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_keys_come_in_order_and_once() {
        let at = Instant::from_micros;
        let mut timers = Timers::default();
        timers.set("b", at(20));
        timers.set("a", at(10));
        timers.set("c", at(30));
        timers.set("a", at(25));
        timers.cancel(&"c");
        timers.set_sooner("b", at(40));
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.pop_due(at(19)), None);
        assert_eq!(timers.pop_due(at(26)), Some("b"));
        assert_eq!(timers.pop_due(at(26)), Some("a"));
        assert_eq!(timers.pop_due(at(99)), None);
        assert!(timers.is_empty());
    }
}
