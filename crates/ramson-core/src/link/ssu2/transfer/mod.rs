//! The data phase of an SSU2 session: which blocks go into which packet, and when.
//!
//! [`Transfer`] is one session without its cryptography and its socket. Opened packets go in by
//! [`Transfer::handle_packet`]; messages come out by [`Transfer::poll_message`], blocks that are no business of a session's
//! data (tokens, relays, peer tests, path challenges and more) are handed back at once. After each `handle_*`, and after
//! something was put into the outbox, [`Transfer::poll_transmit`] is called until `None`: it writes payloads to be sealed.
//! [`Transfer::next_timeout`] says when [`Transfer::handle_timeout`] is due.

mod acks;
mod congestion;
#[cfg(any(test, fuzzing))]
#[allow(clippy::indexing_slicing, reason = "it is a test's")]
pub(crate) mod fuzzing;
mod hystart;
#[cfg(any(test, fuzzing, feature = "checks"))]
#[allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "it is a test's")]
pub mod line;
mod mtu;
mod outgoing;
mod pacer;
mod reassembly;
mod receive;
mod recovery;
mod rtt;
mod transmit;

use crate::limits::transfer as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use acks::Acks;
use congestion::{Acked, Window};
use mtu::Mtu;
use outgoing::{Outgoing, Pieces};
use pacer::Pacer;
use ramson_wire::i2np::Message;
use ramson_wire::ssu2::{SHORT_HEADER, TAG};
use reassembly::Reassembly;
use recovery::{Outcome, Recovery};
use rtt::Rtt;
use std::collections::VecDeque;

/// Bytes of a packet around its payload.
const AROUND: usize = SHORT_HEADER + TAG;
/// A peer that has answered nothing for this long, though probed, is not there any more.
const DEAD_AFTER: Duration = Duration::from_secs(15);
/// And has been probed so often.
const DEAD_PROBES: u32 = 5;
/// From so many probes on packets have the least size: the path may have become narrower.
const NARROW_PROBES: u32 = 3;
/// What was needed for traffic is given back when there was none for so long.
const UPKEEP: Duration = Duration::from_secs(30);

/// What the handshake has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransferConfig {
    /// The number of our first packet: 1 for Alice, whose SessionConfirmed is packet 0, and 0 for Bob.
    pub(crate) first_number: u32,
    /// The round trip of the handshake.
    pub(crate) rtt: Option<Duration>,
    pub ipv6: bool,
    /// The smaller of what both routers publish.
    pub(crate) mtu: u16,
}

/// What all sessions share, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Waiting in outboxes.
    pub(crate) waiting: usize,
    /// Of messages that are not whole.
    pub(crate) reassembling: usize,
}

/// What the header of a packet says, and the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) number: u32,
    /// Flag bit 0: an ACK is wanted at once.
    pub(crate) immediate_ack: bool,
    /// It was marked on its way (ECN-CE).
    pub(crate) congested: bool,
}

/// A payload to be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) number: u32,
    /// For flag bit 0 of the header.
    pub(crate) immediate_ack: bool,
}

/// How the path changes that packets take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathChange {
    /// The peer's port alone, as after a NAT has forgotten it: what was learnt still holds.
    Port,
    /// Another address: everything is learnt anew.
    Address { ipv6: bool, mtu: u16 },
    /// It was not moved after all: what went the other way goes again.
    #[cfg_attr(not(any(test, fuzzing)), allow(dead_code, reason = "data goes only to addresses that are proven"))]
    Back,
}

/// Counters of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferStats {
    pub packets_sent: u64,
    pub packets_received: u64,
    pub packets_lost: u64,
    /// Taken for lost, arrived after all.
    pub packets_late: u64,
    /// Fragments and messages that were sent again.
    pub resent: u64,
    /// Messages that were not sent again, being too old.
    pub given_up: u64,
    /// Messages and fragments that came twice.
    pub duplicates: u64,
    /// Messages of the peer that did not become whole.
    pub incomplete: u64,
    /// ACK blocks that name what was never sent.
    pub false_acks: u64,
    pub rtt: Duration,
    pub window: u64,
    pub in_flight: u64,
    /// The largest payload.
    pub payload: usize,
}

/// One session's data phase.
pub(crate) struct Transfer {
    recovery: Recovery<Pieces>,
    outcome: Outcome<Pieces>,
    rtt: Rtt,
    window: Window,
    pacer: Pacer,
    mtu: Mtu,
    acks: Acks,
    outgoing: Outgoing,
    reassembly: Reassembly,
    messages: VecDeque<Message>,
    rng: Rng,
    /// Something waits, and the pacer lets it go then.
    paced_until: Option<Instant>,
    /// A path is being validated: the window and packets have the least size.
    restricted: bool,
    /// The peer is told that a packet was marked.
    echo_congestion: bool,
    /// What our latest probe asks the peer to send back.
    challenge: [u8; 8],
    /// When and how long the latest packet was, so that the next one of a burst has the same size.
    latest: (Instant, usize),
    date_time_due: Instant,
    upkeep: Option<Instant>,
    stats: TransferStats,
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transfer").field(&self.stats()).finish()
    }
}

impl Transfer {
    pub(crate) fn new(now: Now, config: TransferConfig, mut rng: Rng) -> Self {
        let mtu = Mtu::new(config.ipv6, config.mtu);
        Self {
            recovery: Recovery::new(now.mono, config.first_number),
            outcome: Outcome::default(),
            rtt: Rtt::new(now.mono, config.rtt),
            window: Window::new(now.mono, mtu.datagram()),
            pacer: Pacer::new(now.mono),
            mtu,
            acks: Acks::default(),
            outgoing: Outgoing::default(),
            reassembly: Reassembly::new(&mut rng),
            messages: VecDeque::new(),
            rng,
            paced_until: None,
            restricted: false,
            echo_congestion: false,
            challenge: [0; 8],
            latest: (Instant::ZERO, 0),
            date_time_due: now.mono + transmit::DATE_TIME_EVERY,
            upkeep: None,
            stats: TransferStats::default(),
        }
    }

    /// The longest block that [`Transfer::send_block`] takes: it fits into every packet, beside an ACK block.
    pub(crate) const BLOCK_ROOM: usize = mtu::LEAST_PAYLOAD - transmit::RESERVE;

    /// Has an encoded block (type and size included) sent, and sent again until it arrives. False when it is too long, or
    /// too many wait.
    pub(crate) fn send_block(&mut self, now: Now, block: Vec<u8>) -> bool {
        block.len() <= Self::BLOCK_ROOM && self.outgoing.add_block(now.mono, block)
    }

    /// The path is being validated, or is no longer: until then little goes (specification, "Initiating Path Validation").
    #[cfg_attr(not(any(test, fuzzing)), allow(dead_code, reason = "data goes only to addresses that are proven"))]
    pub(crate) fn set_restricted(&mut self, restricted: bool) {
        self.restricted = restricted;
    }

    /// Packets take another path from now on. What is under way goes again there.
    pub(crate) fn path_changed(&mut self, now: Now, change: PathChange) {
        if let PathChange::Address { ipv6, mtu } = change {
            self.rtt = Rtt::new(now.mono, None);
            self.mtu.path_changed(ipv6, mtu);
            self.window = Window::new(now.mono, self.mtu.datagram());
            self.pacer = Pacer::new(now.mono);
        }
        self.outcome.clear();
        self.recovery.abandon(now.mono, &mut self.outcome);
        let payload = self.mtu.payload();
        for closed in &self.outcome.lost {
            self.outgoing.lost(&closed.sent.content, payload);
        }
        self.outgoing.shrink(payload);
        self.outcome.clear();
        self.restricted = false;
    }

    /// When [`Transfer::handle_timeout`] is due. Later than the latest call of that.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let timers = [
            self.recovery.next_timeout(&self.rtt),
            self.acks.next_timeout(),
            self.paced_until,
            self.reassembly.next_timeout(),
            self.upkeep,
        ];
        timers.into_iter().flatten().min()
    }

    /// Something may be lost, or due. [`Transfer::poll_transmit`] says what is to be sent.
    pub(crate) fn handle_timeout(&mut self, now: Now, totals: &mut Totals) {
        let probes = self.recovery.probe_count();
        self.outcome.clear();
        self.recovery.handle_timeout(now.mono, &self.rtt, &mut self.outcome);
        self.settle(now.mono);
        if probes < NARROW_PROBES && self.recovery.probe_count() >= NARROW_PROBES {
            self.narrow(now.mono);
        }
        self.acks.handle_timeout(now.mono);
        self.paced_until = self.paced_until.filter(|at| *at > now.mono);
        self.reassembly.handle_timeout(now.mono, &mut totals.reassembling);
        if self.upkeep.is_some_and(|at| at <= now.mono) {
            self.upkeep = None;
            self.give_back(now.mono);
        }
    }

    /// Gives back what was needed for traffic that is over.
    fn give_back(&mut self, now: Instant) {
        if self.reassembly.age(now) {
            self.upkeep = Some(now + UPKEEP);
        }
        self.messages.shrink_to_fit();
        if self.outgoing.is_empty() && self.recovery.is_idle() {
            self.outcome = Outcome::default();
            self.outgoing.shrink_to_fit();
        }
    }

    /// Takes in what was found out about packets.
    fn settle(&mut self, now: Instant) {
        if let Some((number, sample)) = self.outcome.sample {
            self.window.sampled(number, self.recovery.next_number(), sample);
        }
        for closed in &self.outcome.acked {
            let sent = &closed.sent;
            self.outgoing.arrived(&sent.content);
            if sent.mtu_probe {
                if self.mtu.probe_ended(now, true) {
                    self.window.set_datagram(self.mtu.datagram());
                }
                continue;
            }
            self.mtu.arrived(sent.bytes);
            let acked = Acked { sent: sent.at, bytes: sent.bytes.into(), limited: sent.limited };
            self.window.acked(now, acked, &self.rtt);
        }
        for closed in &self.outcome.late {
            self.outgoing.arrived(&closed.sent.content);
            self.stats.packets_late += 1;
            if !closed.sent.mtu_probe {
                self.window.not_lost(closed.sent.at);
            }
        }
        let (mut lost, mut latest, mut narrow) = (0, Instant::ZERO, false);
        for closed in &self.outcome.lost {
            let sent = &closed.sent;
            if sent.mtu_probe {
                self.mtu.probe_ended(now, false);
                continue;
            }
            (lost, latest) = (lost + 1, latest.max(sent.at));
            self.outgoing.lost(&sent.content, self.mtu.payload());
            narrow |= self.mtu.lost(now, sent.bytes);
        }
        if lost > 0 {
            self.stats.packets_lost += u64::from(lost);
            self.window.lost(now, lost, latest, &self.rtt);
        }
        if self.outcome.persistent {
            self.window.persistent_congestion();
        }
        if narrow {
            self.narrow(now);
        }
    }

    /// Packets get the least size.
    fn narrow(&mut self, now: Instant) {
        self.mtu.fall_back(now);
        self.window.set_datagram(self.mtu.datagram());
        self.outgoing.shrink(self.mtu.payload());
    }

    /// Whether the peer has answered nothing for so long that the session should end.
    pub(crate) fn is_dead(&self, now: Now) -> bool {
        self.recovery.silence(now.mono) >= DEAD_AFTER && self.recovery.probe_count() >= DEAD_PROBES
    }

    /// Whether the numbers of packets come to an end: the session must.
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.recovery.next_number() >= limits::PACKET_NUMBERS
    }

    /// Whether all that was sent has arrived.
    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(crate) fn is_idle(&self) -> bool {
        self.outgoing.is_empty() && self.recovery.is_idle()
    }

    /// Ends: gives back what the session takes of the totals.
    pub(crate) fn close(&mut self, totals: &mut Totals) {
        self.reassembly.clear(&mut totals.reassembling);
    }

    pub(crate) fn stats(&self) -> TransferStats {
        let (resent, given_up) = self.outgoing.counts();
        TransferStats {
            packets_received: self.acks.received(),
            resent,
            given_up,
            duplicates: self.reassembly.duplicates(),
            incomplete: self.reassembly.given_up(),
            rtt: self.rtt.smoothed(),
            window: self.window.bytes(),
            in_flight: self.recovery.in_flight(),
            payload: self.mtu.payload(),
            ..self.stats
        }
    }
}

#[cfg(test)]
mod tests;
