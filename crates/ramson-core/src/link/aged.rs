//! What is remembered of a bounded number of peers, the oldest of which makes room.

use ramson_wire::data::Hash;
use std::collections::BTreeMap;

/// Notes on peers. One that is renewed is young again.
pub(super) struct Aged<V> {
    capacity: usize,
    next: u64,
    notes: BTreeMap<Hash, (u64, V)>,
    /// The peers by the time of their notes.
    ages: BTreeMap<u64, Hash>,
}

impl<V> Aged<V> {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { capacity, next: 0, notes: BTreeMap::new(), ages: BTreeMap::new() }
    }

    pub(super) fn get(&self, peer: &Hash) -> Option<&V> {
        self.notes.get(peer).map(|(_, note)| note)
    }

    pub(super) fn insert(&mut self, peer: Hash, note: V) {
        self.remove(&peer);
        if self.notes.len() >= self.capacity
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.notes.remove(&oldest);
        }
        self.ages.insert(self.next, peer);
        self.notes.insert(peer, (self.next, note));
        self.next += 1;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.notes.len()
    }

    pub(super) fn remove(&mut self, peer: &Hash) {
        if let Some((age, _)) = self.notes.remove(peer) {
            self.ages.remove(&age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_a_renewed_one_is_young() {
        let mut aged = Aged::new(3);
        // The smallest hash is the youngest.
        for n in [9, 8, 7] {
            aged.insert(Hash([n; 32]), n);
        }
        aged.insert(Hash([9; 32]), 90);
        aged.insert(Hash([1; 32]), 1);
        let known = |aged: &Aged<u8>| [9, 8, 7, 1].map(|n| aged.get(&Hash([n; 32])).copied());
        assert_eq!(known(&aged), [Some(90), None, Some(7), Some(1)]);
        aged.remove(&Hash([7; 32]));
        aged.insert(Hash([8; 32]), 8);
        assert_eq!(known(&aged), [Some(90), Some(8), None, Some(1)]);
        assert_eq!((aged.notes.len(), aged.ages.len()), (3, 3));
    }
}
