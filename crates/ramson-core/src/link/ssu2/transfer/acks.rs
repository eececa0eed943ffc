//! What was received, and when that is said (specification, "Congestion Control").
//!
//! Ranges of packet numbers are kept for as long as there is room for them: they tell duplicates from packets that are
//! late. In ACK blocks only those are named that the peer may not have heard of.

use crate::limits::transfer as limits;
use crate::time::{Duration, Instant};
use ramson_wire::ssu2::encode_ack;
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Packets that want an acknowledgement, after which one is due at once.
const EVERY: u32 = 2;
/// ACK blocks that were sent and may yet turn out to have arrived; the oldest is forgotten.
const BLOCKS: usize = 32;

/// The packets of the peer.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// Ascending, and with gaps between.
    ranges: VecDeque<(u32, u32)>,
    /// Below it nothing is taken any more.
    floor: u32,
    /// The peer knows what was received up to here.
    told: Option<u32>,
    /// Packets that want an acknowledgement, since the last one.
    wanting: u32,
    largest_wanting: Option<u32>,
    /// Something came that no ACK block has named.
    fresh: bool,
    at_once: bool,
    due: Option<Instant>,
    /// Our packets with an ACK block, and up to where it speaks.
    blocks: VecDeque<(u32, u32)>,
    received: u64,
}

impl Acks {
    /// Whether a packet of this number is new. Asked before it is opened, which costs more.
    pub(super) fn accepts(&self, number: u32) -> bool {
        if number < self.floor {
            return false;
        }
        // New ones are at the end.
        !self.ranges.iter().rev().take_while(|(_, end)| *end >= number).any(|(start, _)| *start <= number)
    }

    /// Notes a packet. It wants an acknowledgement when it holds blocks that do, and at once when its header says so.
    pub(super) fn note(&mut self, now: Instant, number: u32, wants: bool, at_once: bool, delay: Duration) {
        let largest = self.ranges.back().map(|(_, end)| *end);
        self.insert(number);
        self.received += 1;
        self.fresh = true;
        if wants {
            // Late itself, or the first behind a gap: what is missing should be known soon.
            let late = self.largest_wanting.is_some_and(|largest| number < largest);
            let gap = largest.is_some_and(|largest| number > largest.saturating_add(1));
            self.largest_wanting = self.largest_wanting.max(Some(number));
            self.wanting += 1;
            self.at_once |= late || gap || self.wanting >= EVERY;
            self.due.get_or_insert(now + delay);
        }
        self.at_once |= at_once;
    }

    fn insert(&mut self, number: u32) {
        let at = self.ranges.iter().rposition(|(start, _)| *start <= number).map_or(0, |at| at + 1);
        let touches_before = at > 0 && self.ranges.get(at - 1).is_some_and(|(_, end)| end.saturating_add(1) >= number);
        let touches_after = self.ranges.get(at).is_some_and(|(start, _)| number.saturating_add(1) >= *start);
        match (touches_before, touches_after) {
            (true, true) => {
                if let Some((_, end)) = self.ranges.remove(at)
                    && let Some(before) = self.ranges.get_mut(at - 1)
                {
                    before.1 = before.1.max(end);
                }
            }
            (true, false) => {
                if let Some(before) = self.ranges.get_mut(at - 1) {
                    before.1 = before.1.max(number);
                }
            }
            (false, true) => {
                if let Some(after) = self.ranges.get_mut(at) {
                    after.0 = after.0.min(number);
                }
            }
            (false, false) => self.ranges.insert(at, (number, number)),
        }
        if self.ranges.len() > limits::RECEIVED_RANGES
            && let Some((_, end)) = self.ranges.pop_front()
        {
            self.floor = end.saturating_add(1);
        }
    }

    /// Packets received.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// Whether an ACK block must go now, with or without anything else.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at_once || self.due.is_some_and(|due| due <= now)
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// An ACK block that is due stays so until it is sent, and needs no timer any more.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.at_once = true;
        }
    }

    /// Appends an ACK block of at most `room` bytes, if there is anything new to say. Returns up to where it speaks; it
    /// goes with the packet that is told to [`Acks::sent`].
    pub(super) fn encode(&self, out: &mut Vec<u8>, room: usize) -> Option<u32> {
        if !self.fresh {
            return None;
        }
        let (_, through) = *self.ranges.back()?;
        let unknown = |(at, range): &(usize, RangeInclusive<u32>)| *at == 0 || Some(*range.end()) > self.told;
        let ranges = self.ranges.iter().rev().map(|(start, end)| *start..=*end).take(limits::ACK_RANGES);
        let ranges = ranges.enumerate().take_while(unknown).map(|(_, range)| range);
        let room = room.min(8 + 2 * limits::ACK_RANGES);
        (encode_ack(out, ranges, room) > 0).then_some(through)
    }

    /// The packet with this number holds what [`Acks::encode`] has written.
    pub(super) fn sent(&mut self, number: u32, through: u32) {
        self.fresh = false;
        self.at_once = false;
        self.wanting = 0;
        self.due = None;
        if self.blocks.len() >= BLOCKS {
            self.blocks.pop_front();
        }
        self.blocks.push_back((number, through));
    }

    /// A packet of ours has arrived: if it held an ACK block, what that says need not be said again.
    pub(super) fn arrived(&mut self, range: &RangeInclusive<u32>) {
        while let Some((number, through)) = self.blocks.front().copied() {
            if number > *range.end() {
                return;
            }
            // Older ones say less.
            if range.contains(&number) {
                self.told = self.told.max(Some(through));
            } else if number >= *range.start() {
                return;
            }
            self.blocks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
