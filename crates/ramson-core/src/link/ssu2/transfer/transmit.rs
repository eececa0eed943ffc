//! Packets that go.

use super::mtu::LEAST_PAYLOAD;
use super::outgoing::Pieces;
use super::pacer::Pace;
use super::recovery::Sent;
use super::{AROUND, Totals, Transfer, Transmit};
use crate::limits::transfer as limits;
use crate::link::outbox::Outbox;
use crate::time::{Duration, Instant, Now};
use ramson_wire::i2np::SHORT_HEADER;
use ramson_wire::ssu2::{BLOCK_HEADER, Block, Congestion};

/// How often the peer is told our clock.
pub(super) const DATE_TIME_EVERY: Duration = Duration::from_secs(60);
/// Bytes of a DateTime block.
const DATE_TIME: usize = BLOCK_HEADER + 4;
/// What a packet may hold beside one block of ours: an ACK block, the clock, and an echo of congestion.
pub(super) const RESERVE: usize = 8 + 2 * limits::ACK_RANGES + DATE_TIME + Congestion::LEN;
/// The room in a packet for which another message is looked for.
const LEAST_MESSAGE: usize = BLOCK_HEADER + SHORT_HEADER;
/// Packets of a burst whose sizes differ by no more get the same, so that the system can cut them apart.
const SAME_SIZE: usize = 48;
/// Random padding of a packet that ends a burst (specification, "Recommended Constants").
const PADDING: usize = 16;

/// What a packet holds.
#[derive(Default)]
struct Content {
    pieces: Pieces,
    /// Something that was sent before, or that only asks for an answer.
    repeats: bool,
    elicits: bool,
    ack_through: Option<u32>,
}

impl Transfer {
    /// Appends the payload of the next packet to `out`, which may hold its header already. `None` when nothing may go now.
    /// What was returned must be sealed under its number, and sent once; where it cannot be sent it is lost.
    pub(in crate::link) fn poll_transmit(
        &mut self,
        now: Now,
        outbox: &mut Outbox,
        totals: &mut Totals,
        out: &mut Vec<u8>,
    ) -> Option<Transmit> {
        if self.is_exhausted() {
            return None;
        }
        let probe = self.recovery.probes_due();
        let waits = self.outgoing.has_more() || !outbox.is_empty();
        let open = waits && !probe && self.may_send(now.mono);
        let ack_due = self.acks.is_due(now.mono);
        if !(probe || open || ack_due) {
            return None;
        }
        if open
            && !self.restricted
            && let Some(payload) = self.mtu.probe_due(now.mono)
        {
            return Some(self.send_mtu_probe(now, payload, out));
        }
        let from = out.len();
        let payload = if self.restricted { self.mtu.least_payload() } else { self.mtu.payload() };
        let mut content = Content { ack_through: self.acks.encode(out, payload), ..Content::default() };
        if content.ack_through.is_some() && std::mem::take(&mut self.echo_congestion) {
            Congestion { immediate_ack: false, ecn: true }.encode(out);
        }
        if probe {
            self.fill_probe(now, from + payload, outbox, totals, out, &mut content);
        } else if open {
            self.fill(now, from + payload, outbox, totals, out, &mut content);
        }
        if !content.elicits && !ack_due || out.len() == from {
            // What waits is larger than what is left, or not worth sending any more; the ACK block can wait, too.
            out.truncate(from);
            return None;
        }
        if now.mono >= self.date_time_due && out.len() - from + DATE_TIME <= payload {
            self.date_time_due = now.mono + DATE_TIME_EVERY;
            Block::encode_date_time(out, rounded_secs(now));
        }
        let more = self.outgoing.has_more() || !outbox.is_empty();
        self.pad(now.mono, from, payload, more, out);
        Some(self.number(now.mono, out.len() - from, more, &content, probe))
    }

    /// The number of a packet that another writes, such as an answer to a path that is not the session's: it is neither
    /// sent again nor counted as under way (specification, "Congestion Control").
    pub(crate) fn reserve_number(&mut self) -> u32 {
        self.stats.packets_sent += 1;
        self.recovery.send(None)
    }

    /// Whether the window and the pacer let a packet go.
    fn may_send(&mut self, now: Instant) -> bool {
        self.paced_until = None;
        let window = self.window_bytes();
        if self.recovery.in_flight() + self.mtu.datagram() > window || self.recovery.is_full() {
            return false;
        }
        let pace =
            Pace { window, rtt: self.rtt.smoothed(), datagram: self.mtu.datagram(), doubles: self.window.doubles() };
        self.paced_until = self.pacer.wait(now, &pace);
        self.paced_until.is_none()
    }

    fn window_bytes(&self) -> u64 {
        let window = self.window.bytes();
        // Two datagrams, as after persistent congestion, while a path is validated.
        if self.restricted { window.min(2 * self.mtu.datagram()) } else { window }
    }

    /// Fills a packet up to `end`: blocks, what was lost, fragments, then new messages.
    fn fill(
        &mut self,
        now: Now,
        end: usize,
        outbox: &mut Outbox,
        totals: &mut Totals,
        out: &mut Vec<u8>,
        content: &mut Content,
    ) {
        let resent = self.outgoing.counts().0;
        while !content.pieces.is_full() && end - out.len() > LEAST_MESSAGE {
            let room = end - out.len();
            if let Some(piece) = self.outgoing.encode_next(now.mono, room, LEAST_PAYLOAD, out) {
                content.pieces.push(piece);
            } else if let Some(message) = outbox.pop(now.mono, room - BLOCK_HEADER, &mut totals.waiting) {
                content.pieces.push(self.outgoing.send_whole(now.mono, message, out));
            } else if content.pieces.is_empty()
                && let Some(message) = outbox.pop(now.mono, usize::MAX, &mut totals.waiting)
            {
                self.outgoing.cut(now.mono, message);
            } else {
                break;
            }
        }
        content.elicits |= !content.pieces.is_empty();
        content.repeats |= self.outgoing.counts().0 > resent;
    }

    /// Fills a packet that finds out what has become of the others: with what the oldest of them held, or with what waits.
    fn fill_probe(
        &mut self,
        now: Now,
        end: usize,
        outbox: &mut Outbox,
        totals: &mut Totals,
        out: &mut Vec<u8>,
        content: &mut Content,
    ) {
        if let Some(oldest) = self.recovery.oldest().map(|sent| sent.content) {
            let room = end - out.len();
            content.pieces = self.outgoing.repeat(&oldest, room, out);
        }
        if content.pieces.is_empty() {
            self.fill(now, end, outbox, totals, out, content);
        }
        if content.pieces.is_empty() && end - out.len() > BLOCK_HEADER + 8 {
            self.challenge = self.rng.bytes();
            Block::encode_path_challenge(out, &self.challenge);
        }
        content.elicits = true;
        content.repeats = true;
    }

    /// A packet of a size that may be too large for the path, with nothing in it that would have to be sent again.
    fn send_mtu_probe(&mut self, now: Now, payload: usize, out: &mut Vec<u8>) -> Transmit {
        let from = out.len();
        self.challenge = self.rng.bytes();
        Block::encode_path_challenge(out, &self.challenge);
        let used = out.len() - from + BLOCK_HEADER;
        Block::encode_padding(out, payload.saturating_sub(used));
        self.mtu.probe_sent(payload);
        let bytes = datagram(payload);
        self.pacer.spent(bytes.into());
        self.stats.packets_sent += 1;
        let sent = Sent { at: now.mono, bytes, limited: true, mtu_probe: true, content: Pieces::default() };
        Transmit { number: self.recovery.send(Some(sent)), immediate_ack: true }
    }

    /// Packets of a burst get one size where little is missing; the last one gets a random one.
    fn pad(&mut self, now: Instant, from: usize, payload: usize, more: bool, out: &mut Vec<u8>) {
        let len = out.len() - from;
        let missing = self.latest.1.saturating_sub(len);
        let room = payload.saturating_sub(len + BLOCK_HEADER);
        if self.latest.0 == now && (BLOCK_HEADER..=SAME_SIZE).contains(&missing) && missing - BLOCK_HEADER <= room {
            Block::encode_padding(out, missing - BLOCK_HEADER);
        } else if !more && payload > len + BLOCK_HEADER {
            let padding = self.rng.below(PADDING).min(room);
            Block::encode_padding(out, padding);
        }
        if out.len() - from < ramson_wire::ssu2::PAYLOAD_MIN {
            Block::pad_to_min(out, from);
        }
        self.latest = (now, out.len() - from);
    }

    fn number(&mut self, now: Instant, payload: usize, more: bool, content: &Content, probe: bool) -> Transmit {
        let bytes = datagram(payload);
        let window = self.window_bytes();
        let in_flight = self.recovery.in_flight() + u64::from(bytes);
        let limited = !more && in_flight + self.mtu.datagram() <= window;
        let sent = content.elicits.then(|| {
            self.pacer.spent(bytes.into());
            Sent { at: now, bytes, limited, mtu_probe: false, content: content.pieces }
        });
        // Where the peer may hold its answer back, and that would hold us up or leave us in doubt.
        let immediate_ack =
            content.elicits && (probe || content.repeats || in_flight + 2 * self.mtu.datagram() > window);
        let number = self.recovery.send(sent);
        if let Some(through) = content.ack_through {
            self.acks.sent(number, through);
        }
        self.stats.packets_sent += 1;
        Transmit { number, immediate_ack }
    }
}

fn datagram(payload: usize) -> u16 {
    u16::try_from(payload + AROUND).unwrap_or(u16::MAX)
}

/// Rounded, so that no clock is pushed (specification, "DateTime").
fn rounded_secs(now: Now) -> u32 {
    u32::try_from((now.unix_ms + 500) / 1000).unwrap_or(u32::MAX)
}
