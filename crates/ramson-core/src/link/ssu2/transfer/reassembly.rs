//! I2NP messages of the peer: whole ones, and those that come in fragments (specification, "I2NP Message Fragmentation").
//!
//! What a peer does not finish is bounded per session, and for all sessions together; the oldest goes first.

use crate::limits::transfer as limits;
use crate::rng::Rng;
use crate::seen::Memory;
use crate::time::Instant;
use ramson_wire::i2np::{Kind, MAX_BODY, Message};
use ramson_wire::ssu2::{FirstFragment, FollowOnFragment};
use std::collections::BTreeMap;

/// What a fragment costs beside its bytes.
const OVERHEAD: usize = 64;

/// Messages that are not whole yet, and those that were.
pub(super) struct Reassembly {
    partial: BTreeMap<u32, Partial>,
    bytes: usize,
    /// Nothing is too old before.
    check_at: Option<Instant>,
    /// Messages that are whole. One whose acknowledgement is lost is sent again, in another packet.
    done: Memory<u32>,
    duplicates: u64,
    given_up: u64,
}

#[derive(Debug)]
struct Partial {
    since: Instant,
    head: Option<(Kind, u32)>,
    parts: BTreeMap<u8, Vec<u8>>,
    /// The number of the last fragment, once it is there.
    last: Option<u8>,
    bytes: usize,
    cost: usize,
}

impl Partial {
    fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| self.parts.len() == usize::from(last) + 1)
    }
}

impl Reassembly {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let done = Memory::new(limits::MESSAGE_IDS, limits::MESSAGE_IDS_GENERATION, rng);
        Self { partial: BTreeMap::new(), bytes: 0, check_at: None, done, duplicates: 0, given_up: 0 }
    }

    /// Whether a message that has come whole is new.
    pub(super) fn whole(&mut self, now: Instant, id: u32) -> bool {
        let new = self.done.insert(now, &id.to_be_bytes());
        if !new {
            self.duplicates += 1;
        }
        new
    }

    pub(super) fn first(&mut self, now: Instant, fragment: &FirstFragment<'_>, total: &mut usize) -> Option<Message> {
        let head = (fragment.kind, fragment.expiration);
        self.add(now, fragment.id, Some(head), (0, false), fragment.data, total)
    }

    pub(super) fn follow_on(
        &mut self,
        now: Instant,
        fragment: &FollowOnFragment<'_>,
        total: &mut usize,
    ) -> Option<Message> {
        self.add(now, fragment.id, None, (fragment.number, fragment.last), fragment.data, total)
    }

    fn add(
        &mut self,
        now: Instant,
        id: u32,
        head: Option<(Kind, u32)>,
        (number, last): (u8, bool),
        data: &[u8],
        total: &mut usize,
    ) -> Option<Message> {
        if self.done.contains(&id.to_be_bytes()) {
            self.duplicates += 1;
            return None;
        }
        if !self.partial.contains_key(&id) && self.partial.len() >= limits::REASSEMBLIES {
            self.drop_oldest(total);
        }
        self.check_at.get_or_insert(now + limits::REASSEMBLY_AGE);
        let partial = self.partial.entry(id).or_insert_with(|| Partial {
            since: now,
            head: None,
            parts: BTreeMap::new(),
            last: None,
            bytes: 0,
            cost: 0,
        });
        if partial.parts.contains_key(&number) {
            self.duplicates += 1;
            return None;
        }
        // Two ends, a fragment behind the end, or more than a message holds: nobody means that.
        let ends = if last { Some(number) } else { partial.last };
        let highest = partial.parts.keys().next_back().copied().max(Some(number));
        let conflict = last && partial.last.is_some() || ends.is_some_and(|end| highest > Some(end));
        if conflict || partial.bytes + data.len() > MAX_BODY {
            self.drop_one(id, total);
            return None;
        }
        partial.last = ends;
        partial.head = partial.head.or(head);
        partial.parts.insert(number, data.to_vec());
        partial.bytes += data.len();
        let cost = data.len() + OVERHEAD;
        partial.cost += cost;
        self.bytes += cost;
        *total += cost;
        if partial.is_whole() {
            return self.finish(now, id, total);
        }
        while self.bytes > limits::REASSEMBLY_BYTES || *total > limits::REASSEMBLY_BYTES_TOTAL && self.bytes > 0 {
            self.drop_oldest(total);
        }
        None
    }

    fn finish(&mut self, now: Instant, id: u32, total: &mut usize) -> Option<Message> {
        let partial = self.take(id, total)?;
        let (kind, expiration) = partial.head?;
        let mut body = Vec::with_capacity(partial.bytes);
        partial.parts.values().for_each(|part| body.extend_from_slice(part));
        self.done.insert(now, &id.to_be_bytes());
        Some(Message { kind, id, expiration: u64::from(expiration) * 1000, body })
    }

    fn take(&mut self, id: u32, total: &mut usize) -> Option<Partial> {
        let partial = self.partial.remove(&id)?;
        self.bytes = self.bytes.saturating_sub(partial.cost);
        *total = total.saturating_sub(partial.cost);
        Some(partial)
    }

    fn drop_one(&mut self, id: u32, total: &mut usize) {
        self.given_up += 1;
        self.take(id, total);
    }

    fn drop_oldest(&mut self, total: &mut usize) {
        let oldest = self.partial.iter().min_by_key(|(_, partial)| partial.since).map(|(id, _)| *id);
        match oldest {
            Some(id) => self.drop_one(id, total),
            None => self.bytes = 0,
        }
    }

    /// When something may be given up that has not become whole.
    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        self.check_at
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, total: &mut usize) {
        while self.check_at.is_some_and(|at| at <= now) {
            let oldest = self.partial.values().map(|partial| partial.since + limits::REASSEMBLY_AGE).min();
            self.check_at = oldest;
            if oldest.is_some_and(|at| at <= now) {
                self.drop_oldest(total);
            }
        }
    }

    /// Gives back what it holds, at the end of the session.
    pub(super) fn clear(&mut self, total: &mut usize) {
        while !self.partial.is_empty() {
            self.drop_oldest(total);
        }
    }

    /// Forgets which messages were whole long ago; false when none is left.
    pub(super) fn age(&mut self, now: Instant) -> bool {
        self.done.age(now);
        self.done.len() > 0
    }

    /// Messages and fragments that came again.
    pub(super) const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Messages that did not become whole.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }
}

#[cfg(test)]
mod tests;
