//! What was sent and has not arrived yet, and how it is found out that it will not (RFC 9002, sections 5 and 6).
//!
//! Packets are remembered by number with what they held, never as bytes. An acknowledged packet is forgotten at once, so
//! what an ACK block costs is its ranges and what it names for the first time. A lost one is remembered a while longer:
//! when it arrives after all, the packet threshold was too small for how this path reorders.
//!
//! No packet numbers are left out to catch a peer that acknowledges what it has not received (RFC 9000, section 21.4):
//! i2pd fills gaps that stay, and says that it has received them. Such a peer gains no more than [`limits::WINDOW`].

use super::rtt::{GRANULARITY, Rtt};
use crate::limits::transfer as limits;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A packet is lost when one with so much higher a number has arrived; paths that reorder more make it larger.
const PACKET_THRESHOLD: u32 = 3;
const MAX_PACKET_THRESHOLD: u32 = 64;
/// Nine eighths of a round trip after a packet was sent, later ones having arrived, it is lost.
const TIME_NUMERATOR: u32 = 9;
const TIME_DENOMINATOR: u32 = 8;
/// The longest time between two probes.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(3);
/// Packets that one probe timeout lets go beyond the window.
const PROBES: u8 = 2;

/// A packet that elicits an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<C> {
    pub(super) at: Instant,
    /// Of the datagram.
    pub(super) bytes: u16,
    /// It does not fill the window: there was nothing else to send.
    pub(super) limited: bool,
    /// It finds out the path's MTU: its loss says nothing about congestion.
    pub(super) mtu_probe: bool,
    pub(super) content: C,
}

/// A packet whose fate is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed<C> {
    pub(super) number: u32,
    pub(super) sent: Sent<C>,
}

/// What an ACK block or a timeout has shown.
#[derive(Debug)]
pub(super) struct Outcome<C> {
    pub(super) acked: Vec<Closed<C>>,
    pub(super) lost: Vec<Closed<C>>,
    /// Taken for lost before, arrived after all.
    pub(super) late: Vec<Closed<C>>,
    /// Round trip of the highest packet that is named, where it is named for the first time.
    pub(super) sample: Option<(u32, Duration)>,
    /// Nothing has arrived for so long that the path must be taken for another.
    pub(super) persistent: bool,
}

impl<C> Default for Outcome<C> {
    fn default() -> Self {
        Self { acked: Vec::new(), lost: Vec::new(), late: Vec::new(), sample: None, persistent: false }
    }
}

impl<C> Outcome<C> {
    pub(super) fn clear(&mut self) {
        self.acked.clear();
        self.lost.clear();
        self.late.clear();
        self.sample = None;
        self.persistent = false;
    }
}

/// Loss detection of a session.
#[derive(Debug)]
pub(super) struct Recovery<C> {
    flying: BTreeMap<u32, Sent<C>>,
    /// Lost, and when that was found out.
    lost: BTreeMap<u32, (Instant, Sent<C>)>,
    /// The number of the next packet.
    next: u32,
    in_flight: u64,
    largest_acked: Option<u32>,
    last_sent: Instant,
    /// Since when nothing that elicits an answer has been answered.
    silent_since: Option<Instant>,
    /// When the oldest packet is lost that newer ones have overtaken.
    loss_time: Option<Instant>,
    probe_count: u32,
    probes_due: u8,
    packet_threshold: u32,
}

impl<C: Copy> Recovery<C> {
    /// Numbering starts with `next`.
    pub(super) const fn new(now: Instant, next: u32) -> Self {
        Self {
            flying: BTreeMap::new(),
            lost: BTreeMap::new(),
            next,
            in_flight: 0,
            largest_acked: None,
            last_sent: now,
            silent_since: None,
            loss_time: None,
            probe_count: 0,
            probes_due: 0,
            packet_threshold: PACKET_THRESHOLD,
        }
    }

    pub(super) const fn next_number(&self) -> u32 {
        self.next
    }

    /// Bytes of the datagrams that are under way.
    pub(super) const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flying.is_empty()
    }

    /// Whether so many packets are under way that none may be added.
    pub(super) fn is_full(&self) -> bool {
        self.flying.len() >= limits::PACKETS_IN_FLIGHT
    }

    /// Packets that may be sent beyond the window, to find out what has become of the others.
    pub(super) const fn probes_due(&self) -> bool {
        self.probes_due > 0
    }

    /// Probe timeouts since something was acknowledged.
    pub(super) const fn probe_count(&self) -> u32 {
        self.probe_count
    }

    /// How long the peer has answered nothing, while it should have.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        self.silent_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Numbers a packet; with `sent` where it elicits an acknowledgement.
    pub(super) fn send(&mut self, sent: Option<Sent<C>>) -> u32 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        if let Some(sent) = sent {
            self.in_flight += u64::from(sent.bytes);
            self.last_sent = sent.at;
            self.silent_since.get_or_insert(sent.at);
            self.probes_due = self.probes_due.saturating_sub(1);
            self.flying.insert(number, sent);
        }
        number
    }

    /// The oldest packet under way.
    pub(super) fn oldest(&self) -> Option<&Sent<C>> {
        self.flying.values().next()
    }

    /// An ACK block. Numbers that were never sent void it as a whole: false then.
    pub(super) fn acked(
        &mut self,
        now: Instant,
        ranges: impl Iterator<Item = RangeInclusive<u32>>,
        rtt: &mut Rtt,
        outcome: &mut Outcome<C>,
    ) -> bool {
        let mut through = None;
        for range in ranges.take(limits::ACK_RANGES_READ) {
            if range.start() > range.end() {
                continue;
            }
            if *range.end() >= self.next {
                return false;
            }
            through.get_or_insert(*range.end());
            self.take(range, outcome);
        }
        let Some(through) = through else { return true };
        if outcome.acked.is_empty() && outcome.late.is_empty() {
            return true;
        }
        self.largest_acked = self.largest_acked.max(Some(through));
        if let Some(highest) = outcome.acked.iter().find(|closed| closed.number == through) {
            let sample = now.since(highest.sent.at);
            rtt.sample(now, sample);
            outcome.sample = Some((through, sample));
        }
        self.probe_count = 0;
        self.probes_due = 0;
        self.silent_since = (!self.flying.is_empty()).then_some(now);
        self.detect(now, rtt, outcome);
        true
    }

    /// Takes out what is named for the first time.
    fn take(&mut self, range: RangeInclusive<u32>, outcome: &mut Outcome<C>) {
        let first = outcome.acked.len();
        outcome
            .acked
            .extend(self.flying.range(range.clone()).map(|(number, sent)| Closed { number: *number, sent: *sent }));
        for closed in outcome.acked.iter().skip(first) {
            self.flying.remove(&closed.number);
            self.in_flight = self.in_flight.saturating_sub(u64::from(closed.sent.bytes));
        }
        let first = outcome.late.len();
        outcome.late.extend(self.lost.range(range).map(|(number, (_, sent))| Closed { number: *number, sent: *sent }));
        for closed in outcome.late.iter().skip(first) {
            self.lost.remove(&closed.number);
            let ahead = self.largest_acked.map_or(0, |largest| largest.saturating_sub(closed.number));
            if !closed.sent.mtu_probe && ahead >= self.packet_threshold {
                self.packet_threshold = (ahead + 1).min(MAX_PACKET_THRESHOLD);
            }
        }
    }

    /// Finds out what is lost (RFC 9002, section 6.1).
    fn detect(&mut self, now: Instant, rtt: &Rtt, outcome: &mut Outcome<C>) {
        self.loss_time = None;
        let Some(largest) = self.largest_acked else { return };
        let wait = (rtt.loss_base() * TIME_NUMERATOR / TIME_DENOMINATOR).max(GRANULARITY);
        let mut run: Option<(u32, Instant)> = None;
        while let Some((number, sent)) = self.flying.first_key_value() {
            let (number, sent) = (*number, *sent);
            if number > largest {
                break;
            }
            if largest - number < self.packet_threshold && now < sent.at + wait {
                self.loss_time = Some(sent.at + wait);
                break;
            }
            self.flying.pop_first();
            self.in_flight = self.in_flight.saturating_sub(u64::from(sent.bytes));
            // A run of packets in a row of which none has arrived.
            let begun = run.filter(|(last, _)| last + 1 == number).map_or(sent.at, |(_, begun)| begun);
            run = Some((number, begun));
            if rtt.is_sampled() && sent.at.since(begun) > rtt.persistent() {
                outcome.persistent = true;
            }
            self.note_lost(now, number, sent);
            outcome.lost.push(Closed { number, sent });
        }
        let memory = rtt.persistent();
        while self.lost.first_key_value().is_some_and(|(_, (at, _))| now.since(*at) > memory) {
            self.lost.pop_first();
        }
    }

    fn note_lost(&mut self, now: Instant, number: u32, sent: Sent<C>) {
        if self.lost.len() >= limits::LOST_PACKETS {
            self.lost.pop_first();
        }
        self.lost.insert(number, (now, sent));
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn next_timeout(&self, rtt: &Rtt) -> Option<Instant> {
        if self.loss_time.is_some() {
            return self.loss_time;
        }
        if self.flying.is_empty() || self.probes_due > 0 {
            return None;
        }
        let wait = rtt.probe_timeout() * (1 << self.probe_count.min(10));
        Some(self.last_sent + wait.min(MAX_PROBE_WAIT.max(rtt.probe_timeout())))
    }

    /// The time of [`Self::next_timeout`] has come: packets are lost, or probes are due.
    pub(super) fn handle_timeout(&mut self, now: Instant, rtt: &Rtt, outcome: &mut Outcome<C>) {
        if self.next_timeout(rtt).is_none_or(|at| now < at) {
            return;
        }
        if self.loss_time.is_some() {
            self.detect(now, rtt, outcome);
            if self.next_timeout(rtt).is_none_or(|at| now < at) {
                return;
            }
        }
        self.probe_count = self.probe_count.saturating_add(1);
        self.probes_due = PROBES;
    }

    /// Everything under way is to be sent again, on another path: what becomes of it says nothing about this one.
    pub(super) fn abandon(&mut self, now: Instant, outcome: &mut Outcome<C>) {
        while let Some((number, sent)) = self.flying.pop_first() {
            self.note_lost(now, number, sent);
            outcome.lost.push(Closed { number, sent });
        }
        self.in_flight = 0;
        self.loss_time = None;
        self.probe_count = 0;
        self.probes_due = 0;
        self.silent_since = None;
        self.packet_threshold = PACKET_THRESHOLD;
    }
}

#[cfg(test)]
mod tests;
