//! The destinations of peers: I2CP sends to whole ones, while streams and datagrams know hashes. Those that are met are
//! kept, and others are asked for.

use crate::limits::dest as limits;
use ramson_wire::data::{Destination, Hash};
use std::collections::{BTreeMap, VecDeque};

/// What waits for the destination of a hash.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The number of the question that is out, once it is.
    pub(super) request: Option<u32>,
    /// The options of its LeaseSet are wanted, as far as the router can tell them.
    pub(super) with_options: bool,
    /// Payloads as they are sent.
    pub(super) payloads: Vec<Vec<u8>>,
    /// Programs that asked for it.
    pub(super) tokens: Vec<u64>,
    /// Connects: token, and the two ports.
    pub(super) connects: Vec<(u64, (u16, u16))>,
}

/// The destinations that are known, and those that are asked for.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<Hash, Destination>,
    /// The known ones, the first learned first.
    order: VecDeque<Hash>,
    pub(super) waiting: BTreeMap<Hash, Waiting>,
    by_request: BTreeMap<u32, Hash>,
    /// Bytes of payloads that wait.
    bytes: usize,
    last: u32,
}

impl Peers {
    pub(super) fn known(&self, hash: &Hash) -> Option<&Destination> {
        self.known.get(hash)
    }

    /// Keeps a destination; the one that was learned first makes room.
    pub(super) fn learn(&mut self, destination: Destination) {
        let hash = destination.hash();
        if self.known.insert(hash, destination).is_some() {
            return;
        }
        self.order.push_back(hash);
        if self.order.len() > limits::REMOTE_LEASE_SETS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The place of what waits for a hash; `None` where too many are waited for. True if nothing waited for it before.
    pub(super) fn wait(&mut self, hash: Hash) -> Option<(&mut Waiting, bool)> {
        if !self.waiting.contains_key(&hash) && self.waiting.len() >= limits::LOOKUPS {
            return None;
        }
        let is_new = !self.waiting.contains_key(&hash);
        Some((self.waiting.entry(hash).or_default(), is_new))
    }

    /// Keeps a payload until the destination is known, if there is room.
    pub(super) fn keep(&mut self, hash: Hash, payload: Vec<u8>) -> Option<bool> {
        if self.bytes.saturating_add(payload.len()) > limits::WAITING_BYTES {
            return None;
        }
        let len = payload.len();
        let (waiting, is_new) = self.wait(hash)?;
        if waiting.payloads.len() >= limits::WAITING_FOR_LEASE_SET {
            return None;
        }
        waiting.payloads.push(payload);
        self.bytes += len;
        Some(is_new)
    }

    /// The number of a new question about a hash that is waited for.
    pub(super) fn ask(&mut self, hash: Hash) -> u32 {
        self.last = self.last.wrapping_add(1);
        if let Some(waiting) = self.waiting.get_mut(&hash) {
            if let Some(old) = waiting.request.replace(self.last) {
                self.by_request.remove(&old);
            }
            self.by_request.insert(self.last, hash);
        }
        self.last
    }

    /// Whom a question was about; it is answered by that.
    pub(super) fn answered(&mut self, request: u32) -> Option<Hash> {
        let hash = self.by_request.remove(&request)?;
        if let Some(waiting) = self.waiting.get_mut(&hash) {
            waiting.request = None;
        }
        Some(hash)
    }

    /// Takes what waits for a hash.
    pub(super) fn take(&mut self, hash: &Hash) -> Option<Waiting> {
        let waiting = self.waiting.remove(hash)?;
        waiting.request.and_then(|request| self.by_request.remove(&request));
        let bytes: usize = waiting.payloads.iter().map(Vec::len).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(waiting)
    }

    /// Nothing is asked any more: who was asked is gone.
    pub(super) fn lose_questions(&mut self) {
        self.by_request.clear();
        self.waiting.values_mut().for_each(|waiting| waiting.request = None);
    }

    /// Programs that wait for anything.
    pub(super) fn asked(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.tokens.len() + waiting.connects.len()).sum()
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn check(&self) {
        assert!(self.known.len() == self.order.len() && self.known.len() <= limits::REMOTE_LEASE_SETS);
        assert!(self.waiting.len() <= limits::LOOKUPS && self.by_request.len() <= self.waiting.len());
        assert!(self.waiting.values().all(|waiting| waiting.payloads.len() <= limits::WAITING_FOR_LEASE_SET));
        let bytes: usize = self.waiting.values().flat_map(|waiting| &waiting.payloads).map(Vec::len).sum();
        assert!(bytes == self.bytes && bytes <= limits::WAITING_BYTES && self.asked() <= limits::QUESTIONS);
    }
}
