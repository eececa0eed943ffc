//! What a stream sends: which packet is next, its header, and whether it may leave.

use super::{Connection, Context, FIRST_AGAIN_BEHIND, PROBES, Phase, SYN_ACK_AGAIN, SYN_ACK_AGAIN_BEHIND};
use crate::limits::stream as limits;
use crate::stream::Event;
use crate::stream::jobs::Purpose;
use crate::stream::path::Path;
use crate::stream::send::Kind;
use crate::time::Instant;
use ramson_wire::streaming::sign::Unsigned;
use ramson_wire::streaming::{Flags, Outgoing};

impl Connection {
    /// Sends what may be sent now. To be called after everything else.
    pub(in crate::stream) fn pump(&mut self, ctx: &mut Context<'_>) {
        if self.phase == Phase::Dead {
            return;
        }
        self.pump_packets(ctx);
        if self.ack_due() <= ctx.now.mono {
            self.send_ack(None, ctx);
        }
        self.finish_if_done(ctx);
    }

    pub(super) fn pump_packets(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        if self.choke.is_some() || matches!(self.phase, Phase::Lingering { .. }) {
            return;
        }
        loop {
            let waiting = self.tx.first_waiting();
            if waiting.is_none() && !self.opens_next(now, ctx.path) {
                return ctx.path.hold_back(self.id, false);
            }
            if !self.may_fly(ctx.path) || ctx.path.pace_at() > now {
                // What only the peer's buffer holds back has no part in what the path gives.
                let held = self.tx.in_flight() < self.ceiling.packets();
                return ctx.path.hold_back(self.id, held);
            }
            let sequence = waiting.unwrap_or_else(|| self.open_next(ctx));
            if self.tx.first_waiting().is_none() {
                continue; // it is being signed
            }
            self.transmit(sequence, ctx);
        }
    }

    /// Whether the path, the stream's share of it and the peer have room.
    pub(super) fn may_fly(&self, path: &Path) -> bool {
        let begins = self.tx.first_waiting().map_or(self.tx.next_sequence() == 0, |first| first == 0);
        if self.timeouts > 0 {
            // A path is found out with few packets.
            return begins || self.tx.in_flight() < PROBES;
        }
        begins || (self.tx.in_flight() < self.ceiling.packets().min(path.share(self.id)) && path.has_room())
    }

    /// Whether a new packet should be opened at `now`.
    pub(super) fn opens_next(&self, now: Instant, path: &Path) -> bool {
        let sequence = self.tx.next_sequence();
        let flush = self.close_wanted || self.flush_at <= now;
        if sequence == 0 {
            return self.tx.unsent() > 0 || flush;
        }
        let syn_left = self.tx.slot(0).is_none_or(|syn| syn.signed.is_some());
        let span = if self.is_opening() {
            limits::MAX_OPENING
        } else {
            limits::MAX_SPAN.max(path.window().min(self.ceiling.packets()) * 2)
        };
        if self.close_opened || !syn_left || self.tx.span() >= span {
            return false;
        }
        let unsent = self.tx.unsent();
        if unsent == 0 {
            // A CLOSE needs the peer's id.
            return self.close_wanted && self.remote_id != 0;
        }
        unsent >= usize::from(self.mtu) || self.tx.span() == 0 || flush
    }

    /// Opens the next sequence: SYN, data or CLOSE.
    pub(super) fn open_next(&mut self, ctx: &mut Context<'_>) -> u32 {
        let mtu = usize::from(self.mtu);
        if self.tx.next_sequence() == 0 {
            let sequence = self.tx.open(Kind::Syn, mtu, true);
            self.started = true;
            self.sign_syn(ctx);
            return sequence;
        }
        if self.tx.unsent() > 0 {
            return self.tx.open(Kind::Data, mtu, false);
        }
        self.close_opened = true;
        let sequence = self.tx.open(Kind::Close, 0, true);
        let flags = Flags::CLOSE;
        let (through, nacks) = self.rx.acks().map_or((None, Vec::new()), |(through, nacks)| (Some(through), nacks));
        let out = Outgoing { sequence, ack_through: through, nacks: &nacks, flags, ..self.header(ctx.path) };
        self.sign(sequence, &out, &[], ctx);
        sequence
    }

    pub(super) fn sign_syn(&mut self, ctx: &mut Context<'_>) {
        let payload = self.tx.slot(0).map(|slot| slot.payload.clone()).unwrap_or_default();
        // A SYN names no holes, so it acknowledges only what is below the first.
        let ack_through = self.rx.contiguous();
        let out = Outgoing {
            ack_through,
            meant_for: self.outbound.then_some(self.peer),
            flags: Flags::SYNCHRONIZE,
            from: Some(&ctx.local.destination),
            max_size: Some(ctx.config.mtu),
            offline: ctx.local.offline.as_deref(),
            ..self.header(ctx.path)
        };
        self.sign(0, &out, &payload, ctx);
        if ack_through.is_some() {
            self.rx.ack_sent();
        }
    }

    pub(super) fn sign(&self, sequence: u32, out: &Outgoing<'_>, payload: &[u8], ctx: &mut Context<'_>) {
        let unsigned = Unsigned::new(out, &[payload]);
        let job = ctx.jobs.sign(&ctx.local.key, unsigned, Purpose::Sign { stream: self.id, sequence });
        ctx.events.push_back(Event::Job(job));
    }

    /// The signature of a packet is made.
    pub(in crate::stream) fn signed(&mut self, sequence: u32, packet: Vec<u8>) {
        self.tx.signed(sequence, packet);
    }

    pub(super) fn header(&self, path: &Path) -> Outgoing<'static> {
        let resend_delay = u8::try_from(self.rto(path).as_secs()).unwrap_or(u8::MAX);
        Outgoing { send_id: self.remote_id, recv_id: self.local_id, resend_delay, ..Outgoing::default() }
    }

    /// Sends the packet with `sequence`, for the first time or again.
    pub(super) fn transmit(&mut self, sequence: u32, ctx: &mut Context<'_>) {
        let delay = self.delay_for(sequence, ctx.path);
        let header = self.header(ctx.path);
        let Some(slot) = self.tx.slot(sequence) else { return };
        let (packet, kind, fresh) = match &slot.signed {
            Some(packet) => (packet.clone(), slot.kind, false),
            None if slot.kind != Kind::Data => return, // its signature is still being made
            None => {
                let (through, nacks) = self.rx.acks().map_or((None, Vec::new()), |(t, nacks)| (Some(t), nacks));
                let out = Outgoing { sequence, ack_through: through, nacks: &nacks, delay, ..header };
                (out.encode(&[&slot.payload]), slot.kind, true)
            }
        };
        let path_tx = ctx.path.sent(ctx.now.mono, self.timeouts > 0, ctx.config);
        let before = self.tx.sent(sequence, ctx.now.mono, path_tx);
        let syn_ack_is_out = before == 0 && !self.outbound && self.tx.first_unacked() == Some(0);
        if sequence == 1 && syn_ack_is_out {
            self.syn_ack_again_at = Some(ctx.now.mono + SYN_ACK_AGAIN);
        }
        self.count(ctx.path);
        self.tally.sent += 1;
        self.tally.repeated += u64::from(before > 0);
        if fresh {
            self.rx.ack_sent();
        }
        self.emit(packet, kind == Kind::Syn, ctx);
        if syn_ack_is_out && SYN_ACK_AGAIN_BEHIND.contains(&sequence) && self.tx.unsent() > 0 {
            self.transmit(0, ctx);
        }
        let first_is_there = self.tx.first_unacked().is_none_or(|first| first > 1);
        if before == 0 && FIRST_AGAIN_BEHIND.contains(&sequence) && !first_is_there {
            self.transmit(1, ctx);
        }
    }

    /// The delay option of a data packet: chokes, or asks for an acknowledgement at once where waiting for one would
    /// stop us.
    pub(super) fn delay_for(&mut self, sequence: u32, path: &Path) -> Option<u16> {
        let ends = self.tx.unsent() == 0;
        // Of all streams' packets a few in a window ask, and of those of a small buffer, too.
        let few = |window: u32| u64::from((window / 8).clamp(1, 16));
        let of_path = if path.has_room() { 32 } else { few(path.window()) };
        let full = self.tx.in_flight() + 2 >= self.ceiling.packets();
        let of_peer = if full { few(self.ceiling.packets()) } else { 16 };
        let asks = ends || path.next_tx().is_multiple_of(of_path) || u64::from(sequence).is_multiple_of(of_peer);
        self.rx.delay_option().or_else(|| asks.then_some(0))
    }

    /// A packet that only acknowledges.
    pub(super) fn send_ack(&mut self, delay: Option<u16>, ctx: &mut Context<'_>) {
        let Some((through, nacks)) = self.rx.acks() else { return };
        let delay = self.rx.delay_option().or(delay);
        let out = Outgoing { ack_through: Some(through), nacks: &nacks, delay, ..self.header(ctx.path) };
        let packet = Outgoing { resend_delay: 0, ..out }.encode(&[]);
        self.rx.ack_sent();
        self.tally.acks_sent += 1;
        self.emit(packet, false, ctx);
    }

    pub(super) fn emit(&self, packet: Vec<u8>, first: bool, ctx: &mut Context<'_>) {
        let (from_port, to_port) = self.ports;
        ctx.events.push_back(Event::Send { to: self.peer, from_port, to_port, packet, stream: Some(self.id), first });
    }
}
