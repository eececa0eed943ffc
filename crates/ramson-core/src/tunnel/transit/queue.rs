//! Requests that wait to be opened: those of one previous hop in their order, and previous hops in turns, so that who asks
//! much delays itself alone.

use super::request::Waiting;
use crate::limits::tunnel as limits;
use ramson_wire::data::Hash;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A fair queue, bounded in bytes.
#[derive(Debug, Default)]
pub(super) struct FairQueue {
    hops: BTreeMap<Hash, VecDeque<Waiting>>,
    /// Previous hops with something in the queue, in the order of their turns.
    turns: VecDeque<Hash>,
    /// The same by how much waits.
    by_length: BTreeSet<(usize, Hash)>,
    bytes: usize,
}

impl FairQueue {
    /// Adds a request. What there is no room for is dropped, of the previous hop that has most in the queue; returns how
    /// many were.
    pub(super) fn push(&mut self, request: Waiting) -> usize {
        let (from, bytes) = (request.from, request.bytes());
        let queue = self.hops.entry(from).or_default();
        if queue.len() >= limits::REQUESTS_WAITING_PER_PEER {
            return 1;
        }
        if queue.is_empty() {
            self.turns.push_back(from);
        } else {
            self.by_length.remove(&(queue.len(), from));
        }
        queue.push_back(request);
        self.by_length.insert((queue.len(), from));
        self.bytes += bytes;
        let mut dropped = 0;
        while self.bytes > limits::REQUEST_QUEUE_BYTES {
            let Some((_, longest)) = self.by_length.last().copied() else { break };
            // The latest of it: the others have waited longer.
            self.take_of(longest, false);
            dropped += 1;
        }
        dropped
    }

    /// The next request.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let from = self.turns.pop_front()?;
        // Behind those who wait for their turn; where nothing is left, it goes again.
        self.turns.push_back(from);
        self.take_of(from, true)
    }

    fn take_of(&mut self, from: Hash, first: bool) -> Option<Waiting> {
        let queue = self.hops.get_mut(&from)?;
        self.by_length.remove(&(queue.len(), from));
        let taken = if first { queue.pop_front() } else { queue.pop_back() };
        if queue.is_empty() {
            self.hops.remove(&from);
            if self.turns.back() == Some(&from) {
                self.turns.pop_back();
            } else {
                self.turns.retain(|hop| *hop != from);
            }
        } else {
            self.by_length.insert((queue.len(), from));
        }
        self.bytes = self.bytes.saturating_sub(taken.as_ref().map_or(0, Waiting::bytes));
        taken
    }

    /// Whether something of this previous hop waits.
    pub(super) fn has(&self, from: &Hash) -> bool {
        self.hops.contains_key(from)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// The share of its room that is taken.
    pub(super) fn fullness(&self) -> f64 {
        self.bytes as f64 / limits::REQUEST_QUEUE_BYTES as f64
    }

    /// Bytes that wait.
    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn check(&self) {
        let all = || self.hops.values().flatten();
        assert!(self.bytes <= limits::REQUEST_QUEUE_BYTES);
        assert_eq!(self.bytes, all().map(Waiting::bytes).sum::<usize>());
        assert!(self.hops.values().all(|q| (1..=limits::REQUESTS_WAITING_PER_PEER).contains(&q.len())));
        let turns: BTreeSet<_> = self.turns.iter().copied().collect();
        assert!(turns.len() == self.turns.len() && turns.iter().eq(self.hops.keys()));
        let lengths: BTreeSet<_> = self.hops.iter().map(|(hop, queue)| (queue.len(), *hop)).collect();
        assert_eq!(lengths, self.by_length);
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Records;
    use super::*;
    use crate::time::Instant;
    use ramson_wire::i2np::tunnel_build::BuildRecords;

    fn request(from: usize, n: u8) -> Waiting {
        let records = Records::Short(BuildRecords::new(vec![[0; 218]; 8]).unwrap());
        let from = Hash::of(&from.to_be_bytes());
        Waiting { from, index: n, ephemeral: [n; 32], records, since: Instant::ZERO }
    }

    #[test]
    fn previous_hops_take_turns() {
        let mut queue = FairQueue::default();
        for n in 0..limits::REQUESTS_WAITING_PER_PEER {
            assert_eq!(queue.push(request(0, u8::try_from(n).unwrap())), 0);
        }
        assert_eq!(queue.push(request(0, 99)), 1, "one previous hop has its share");
        assert_eq!((queue.push(request(1, 50)), queue.push(request(1, 51)), queue.push(request(2, 60))), (0, 0, 0));
        queue.check();
        let order: Vec<u8> = std::iter::from_fn(|| queue.pop()).take(8).map(|waiting| waiting.index).collect();
        assert_eq!(order, [0, 50, 60, 1, 51, 2, 3, 4]);
        while queue.pop().is_some() {
            queue.check();
        }
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.by_length.is_empty() && queue.hops.is_empty());
    }

    /// Whatever comes, the memory is bounded, and who asks little is not pushed out by those who ask much.
    #[test]
    fn the_queue_is_bounded_in_bytes_and_drops_of_the_longest() {
        let mut queue = FairQueue::default();
        let most = limits::REQUEST_QUEUE_BYTES / request(0, 0).bytes();
        queue.push(request(1_000_000, 7));
        let mut dropped = 0;
        for n in 0..3 * most {
            dropped += queue.push(request(n % (most / 8), 0));
            assert!(queue.bytes() <= limits::REQUEST_QUEUE_BYTES);
        }
        queue.check();
        assert!(dropped > most, "{dropped} of {}", 3 * most);
        let left: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(left.len() <= most && left.len() > most - 2 && left.iter().any(|waiting| waiting.index == 7));
    }
}
