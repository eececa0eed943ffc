//! One stream: what its two halves receive and send, and its timers.

mod choke;

use super::congestion::Ceiling;
use super::jobs::{Jobs, Ports, Purpose, Signer};
use super::path::Path;
use super::receive::{Offered, Receiver, Spare};
use super::send::{Kind, Sender};
use super::streams::Local;
use super::tally::Tally;
use super::{Config, Error, Event, StreamId};
use crate::limits::stream as limits;
use crate::time::{Duration, Instant, Now};
use choke::Choke;
use ramson_wire::data::Hash;
use ramson_wire::streaming::sign::Unsigned;
use ramson_wire::streaming::{DEFAULT_MTU, Flags, Outgoing, Packet};
use std::collections::VecDeque;

/// How long we hold an acknowledgement back, at least, for each of a few streams that share the path.
const MIN_ACK_DELAY: Duration = Duration::from_micros(600);
/// How long we hold an acknowledgement back, at most.
const ACK_DELAY: Duration = Duration::from_millis(20);
/// A peer that repeats itself for so long does not get our acknowledgements.
const ACKS_LOST: Duration = Duration::from_millis(200);
/// How long a packet that is not full waits for more, while others are under way.
const FLUSH_DELAY: Duration = Duration::from_millis(4);
/// Paths that a SYN tries before its pauses grow.
const OPENING_PATHS: u32 = 3;
/// How long the answer to a SYN waits for data to carry.
const SYN_ACK_DELAY: Duration = Duration::from_millis(10);
/// The longest pause between repetitions while the path is tried: a probe is one packet.
const MAX_PROBE_PAUSE: Duration = Duration::from_secs(6);
/// Packets under way while nothing is acknowledged.
const PROBES: u32 = 2;
/// How long a closed stream still answers repeated packets.
const LINGER: Duration = Duration::from_secs(60);
/// The first pause until a peer is told again where we are; each is twice as long as the one before.
const TELL_AGAIN: Duration = Duration::from_millis(700);
const TELLINGS: u32 = 6;
/// A peer that was silent for longer had nothing to send: its silence says nothing.
const BUSY: Duration = Duration::from_secs(3);
/// How long a stream tries without any progress before it may fail.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Silence, in keep-alive periods, after which a stream fails.
const SILENT_PERIODS: u32 = 4;

/// What a connection acts with.
pub(super) struct Context<'a> {
    pub(super) now: Now,
    pub(super) config: &'a Config,
    pub(super) local: &'a Local,
    pub(super) events: &'a mut VecDeque<Event>,
    pub(super) jobs: &'a mut Jobs,
    pub(super) spare: Spare,
    /// The way to the peer, which its other streams share.
    pub(super) path: &'a mut Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Our SYN is not answered.
    Opening {
        deadline: Instant,
    },
    Open,
    /// Both directions are closed and acknowledged; repeated packets are still answered.
    Lingering {
        until: Instant,
    },
    /// To be removed.
    Dead,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Connection {
    id: StreamId,
    pub(super) peer: Hash,
    pub(super) ports: Ports,
    /// Our stream id on the wire.
    pub(super) local_id: u32,
    /// The peer's; 0 until its SYN came.
    pub(super) remote_id: u32,
    pub(super) outbound: bool,
    /// The peer's destination, and the key that signs for it.
    pub(super) signer: Option<Signer>,
    /// Packets that came before the SYN was verified.
    pub(super) held: Vec<(Option<Hash>, Vec<u8>)>,
    /// A job for this stream's SYN, CLOSE or RESET is out.
    pub(super) verifying: bool,
    phase: Phase,
    tx: Sender,
    rx: Receiver,
    /// What the peer's buffer bears.
    ceiling: Ceiling,
    /// Packets under way as the path has counted them.
    counted: u32,
    mtu: u16,
    choke: Option<Choke>,
    close_wanted: bool,
    close_opened: bool,
    finish_told: bool,
    discard: bool,
    good_told: bool,
    /// Timeouts in a row.
    timeouts: u32,
    /// Those of them that lengthen the pause to the next.
    backoff: u32,
    /// Our first packet was made.
    started: bool,
    progress_at: Instant,
    heard_at: Instant,
    /// When the peer is told again where we are unless it is heard of, and how often it was.
    telling: Option<(Instant, u32)>,
    kept_alive_at: Instant,
    flush_at: Instant,
    lost_at: Option<Instant>,
    unchoke_at: Option<Instant>,
    /// Packets that came again since the last new one, and when the first of them did.
    repeats: Option<(u32, Instant)>,
    tally: Tally,
}

/// What a new connection starts with.
pub(super) struct Start {
    pub(super) id: StreamId,
    pub(super) peer: Hash,
    pub(super) ports: Ports,
    pub(super) local_id: u32,
    pub(super) signer: Option<Signer>,
    pub(super) wait_for_data: Duration,
}

impl Connection {
    /// A stream that we open.
    pub(super) fn outbound(now: Instant, start: Start, config: &Config) -> Self {
        let deadline = now + config.connect_timeout;
        Self::new(now, start, config, Phase::Opening { deadline })
    }

    /// A stream whose SYN was verified; the SYN itself is handled next.
    pub(super) fn inbound(now: Instant, start: Start, remote_id: u32, config: &Config) -> Self {
        let start = Start { wait_for_data: SYN_ACK_DELAY, ..start };
        Self { remote_id, outbound: false, ..Self::new(now, start, config, Phase::Open) }
    }

    fn new(now: Instant, start: Start, config: &Config, phase: Phase) -> Self {
        Self {
            id: start.id,
            peer: start.peer,
            ports: start.ports,
            local_id: start.local_id,
            remote_id: 0,
            outbound: true,
            signer: start.signer,
            held: Vec::new(),
            verifying: false,
            phase,
            tx: Sender::new(config.send_buffer),
            rx: Receiver::new(config.receive_buffer),
            ceiling: Ceiling::new(config.max_window),
            counted: 0,
            mtu: config.mtu.min(DEFAULT_MTU),
            choke: None,
            close_wanted: false,
            close_opened: false,
            finish_told: false,
            discard: false,
            good_told: false,
            timeouts: 0,
            backoff: 0,
            started: false,
            progress_at: now,
            heard_at: now,
            telling: None,
            kept_alive_at: now,
            flush_at: now + start.wait_for_data,
            lost_at: None,
            unchoke_at: None,
            repeats: None,
            tally: Tally::default(),
        }
    }

    // What the program does.

    /// Takes data to send; gives back what there is no room for.
    pub(super) fn send(&mut self, data: Vec<u8>, ctx: &Context<'_>) -> Vec<u8> {
        let now = ctx.now;
        if self.close_wanted || matches!(self.phase, Phase::Lingering { .. } | Phase::Dead) {
            return data;
        }
        if self.tx.unsent() == 0 && self.tx.span() > 0 {
            self.flush_at = now.mono + FLUSH_DELAY;
        }
        self.tx.set_capacity(self.send_capacity(ctx));
        self.tx.push(data)
    }

    /// Bytes that the program wrote and the peer does not have yet.
    pub(super) const fn unsent_bytes(&self) -> usize {
        self.tx.held()
    }

    pub(super) fn credit(&mut self, n: usize, ctx: &mut Context<'_>) {
        if self.rx.credit(n) {
            self.say_unchoked(ctx);
        }
    }

    pub(super) const fn close(&mut self) {
        self.close_wanted = true;
    }

    pub(super) fn discard(&mut self, ctx: &mut Context<'_>) {
        self.discard = true;
        if self.rx.discard() {
            self.say_unchoked(ctx);
        }
    }

    /// The path to the peer is another one now. Where nothing came back of late, what is under way is lost with the old
    /// one.
    pub(super) fn path_changed(&mut self, ctx: &mut Context<'_>) {
        self.backoff = self.backoff.min(1);
        if self.timeouts > 0 {
            self.tx.lose_all();
            self.count(ctx.path);
        }
    }

    /// A packet with nothing new: what it travels in tells the peer where we are. It is sent again, each time by another
    /// path, until something of the peer arrives: who only reads has no other sign that his packets get lost.
    pub(super) fn say_where(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        self.telling = (now.since(self.heard_at) < BUSY).then(|| (now + TELL_AGAIN, 0));
        self.send_ack(None, ctx);
    }

    fn say_where_again(&mut self, times: u32, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        // What was under way when the peer was told still arrives.
        let heard = now.since(self.heard_at) < TELL_AGAIN * (1 << times) / 2;
        self.telling = (times < TELLINGS && !heard).then(|| (now + TELL_AGAIN * (2 << times), times + 1));
        if !heard {
            ctx.path.suspect(now);
            ctx.events.push_back(Event::PathSuspect { to: self.peer, stream: self.id, timeouts: times });
            self.send_ack(None, ctx);
        }
    }

    /// Tells the path how many packets are under way. A SYN does not count, nor does what a peer that has fallen silent
    /// does not answer: many such streams would leave no room to those that get on.
    fn count(&mut self, path: &mut Path) {
        let flying = self.tx.in_flight() - u32::from(self.tx.is_syn_in_flight());
        let now = if self.timeouts > 0 { 0 } else { flying };
        path.count(self.counted, now);
        self.counted = now;
    }

    /// The stream is removed: nothing of it is under way any more.
    pub(super) fn leave(&mut self, path: &mut Path) {
        path.count(self.counted, 0);
        self.counted = 0;
        path.hold_back(self.id, false);
    }

    // What the peer does.

    /// A packet of this stream: ids and origin are checked, a SYN, CLOSE and RESET verified.
    pub(super) fn handle(&mut self, packet: &Packet<'_>, ctx: &mut Context<'_>) {
        self.heard_at = ctx.now.mono;
        self.kept_alive_at = ctx.now.mono;
        if self.phase == Phase::Dead {
            return;
        }
        if let Some(mtu) = packet.mtu() {
            self.mtu = mtu.min(ctx.config.mtu);
        }
        self.handle_choke(packet, ctx);
        self.handle_ack(packet, ctx);
        if packet.is_plain_ack() {
            // i2pd and we ask for a sign of life so; an answer carries no such request.
            if packet.delay == Some(0) && !self.rx.owes_unchoke() {
                self.rx.want_ack(ctx.now.mono, Duration::ZERO, true);
            }
            return;
        }
        self.handle_data(packet, ctx);
    }

    fn handle_data(&mut self, packet: &Packet<'_>, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        if let Phase::Lingering { until } = &mut self.phase {
            *until = now + LINGER; // the peer still waits for an acknowledgement
        }
        let offered = self.rx.offer(packet.sequence, packet.payload, packet.is_close(), ctx.spare);
        self.tally.duplicates += u64::from(offered == Offered::Duplicate);
        self.tally.dropped += u64::from(offered == Offered::Dropped);
        let at_once = match offered {
            Offered::InOrder { filled } => filled || packet.delay == Some(0) || packet.is_close(),
            Offered::Early { hole } => hole || packet.delay == Some(0),
            Offered::Duplicate | Offered::Dropped => true,
        };
        self.note_repeat(offered, packet, ctx);
        // i2pd paces by the round trip, and a delay of ours would slow it; of many streams each acknowledges less often.
        let least = MIN_ACK_DELAY * ctx.path.streams.clamp(1, 8);
        let delay = (ctx.path.rtt.smoothed() / 8).clamp(least, ACK_DELAY);
        self.rx.want_ack(now, delay, at_once);
        match offered {
            Offered::InOrder { .. } => {
                self.rx.unchoke_heard();
                self.unchoke_at = None;
            }
            Offered::Duplicate if packet.is_syn() && !self.outbound => self.repeat_syn_ack(ctx),
            Offered::Duplicate | Offered::Early { .. } | Offered::Dropped => {}
        }
        for bytes in self.rx.ready() {
            ctx.events.push_back(Event::Data { stream: self.id, bytes });
        }
        if self.rx.is_closed() && !self.finish_told {
            self.finish_told = true;
            ctx.events.push_back(Event::Finished { stream: self.id });
        }
    }

    /// A peer that sends again what it has sent, and nothing new, does not get our acknowledgements: then it is our way
    /// to it that fails, of which no timeout of ours can tell.
    fn note_repeat(&mut self, offered: Offered, packet: &Packet<'_>, ctx: &mut Context<'_>) {
        if offered != Offered::Duplicate || packet.is_syn() {
            self.repeats = None;
            return;
        }
        let now = ctx.now.mono;
        let (count, since) = self.repeats.map_or((1, now), |(count, since)| (count + 1, since));
        self.repeats = Some((count, since));
        let patience = ctx.path.rtt.smoothed().max(ACKS_LOST);
        if count >= 3 && now.since(since) >= patience && !ctx.path.moved_since(now - patience) {
            self.repeats = None;
            ctx.path.suspect(now);
            ctx.events.push_back(Event::PathSuspect { to: self.peer, stream: self.id, timeouts: 0 });
        }
    }

    /// The peer repeats its SYN, so our answer was lost.
    fn repeat_syn_ack(&mut self, ctx: &mut Context<'_>) {
        let is_syn = self.tx.first_unacked() == Some(0);
        let old = self.tx.last_sent().is_some_and(|sent| ctx.now.mono.since(sent) > self.rto(ctx.path) / 2);
        if is_syn && old {
            self.transmit(0, ctx);
        }
    }

    fn handle_ack(&mut self, packet: &Packet<'_>, ctx: &mut Context<'_>) {
        let Some(through) = packet.acked() else { return };
        let now = ctx.now.mono;
        let nacks: Vec<u32> = packet.nacks().collect();
        let Some(acked) = self.tx.acked(now, through, &nacks, ctx.path.rtt.min()) else { return };
        if acked.packets == 0 && nacks.is_empty() {
            return;
        }
        if acked.packets > 0 {
            self.count(ctx.path);
            self.tally.acks_received += 1;
            self.tally.spurious += u64::from(acked.spurious);
            self.ceiling.acked(acked.packets - acked.far, acked.far);
            ctx.path.acked(now, &acked);
            if self.timeouts > 1 || !self.good_told {
                self.good_told = true;
                ctx.events.push_back(Event::PathGood { to: self.peer, stream: self.id });
            }
            (self.timeouts, self.backoff) = (0, 0);
            self.count(ctx.path);
            self.progress_at = now;
            // i2pd never says that a choke is over; newer packets arriving says it.
            let newer = |choke: &Choke| through >= choke.next || self.tx.in_flight() == 0;
            if packet.delay.is_none() && self.choke.as_ref().is_some_and(newer) {
                self.choke = None;
            }
        }
        self.detect_losses(ctx);
        if ctx.path.is_lossy(now) {
            ctx.events.push_back(Event::PathSuspect { to: self.peer, stream: self.id, timeouts: 0 });
        }
        self.tx.set_capacity(self.send_capacity(ctx));
        if self.tx.became_writable() {
            ctx.events.push_back(Event::Writable { stream: self.id });
        }
    }

    /// Two windows of the stream's share, so that the program keeps up with it; few bytes where the window is small.
    fn send_capacity(&self, ctx: &Context<'_>) -> usize {
        let packets = ctx.path.window().min(ctx.path.share(self.id)).min(self.ceiling.packets());
        let window = (packets as usize).saturating_mul(usize::from(self.mtu) * 2);
        let wanted = window.max(limits::SEND_BUFFER).min(ctx.config.send_buffer);
        // What all streams together may hold is used: each still gets a little.
        wanted.min((self.tx.held() + ctx.spare.send).max(limits::SEND_LEAST))
    }

    fn detect_losses(&mut self, ctx: &mut Context<'_>) {
        let (path, ceiling, tally) = (&mut *ctx.path, &mut self.ceiling, &mut self.tally);
        self.lost_at = self.tx.detect_losses(ctx.now.mono, path.rtt.loss_base(), |packet| {
            tally.lost += 1;
            path.lost(packet.path_tx);
            ceiling.lost(packet.ahead);
        });
        self.count(ctx.path);
    }

    /// The peer's SYN in answer to ours, verified: `packet` is handled next.
    pub(super) fn answered(&mut self, packet: &Packet<'_>, signer: Signer, ctx: &mut Context<'_>) {
        if !self.is_opening() {
            return;
        }
        self.phase = Phase::Open;
        self.remote_id = packet.recv_id;
        self.mtu = packet.mtu().unwrap_or(DEFAULT_MTU).min(ctx.config.mtu);
        let peer = signer.destination.clone();
        self.signer = Some(signer);
        ctx.events.push_back(Event::Opened { stream: self.id, peer });
        self.handle(packet, ctx);
    }

    // What the clock does.

    /// The earliest deadline.
    pub(super) fn next_timeout(&self, config: &Config, path: &Path) -> Instant {
        let mut next = match self.phase {
            Phase::Dead => return Instant::FAR,
            Phase::Lingering { until } => return until.min(self.ack_due()),
            Phase::Opening { deadline } => deadline,
            Phase::Open => self.kept_alive_at + config.inactivity,
        };
        next = next.min(self.ack_due()).min(self.telling.map_or(Instant::FAR, |(at, _)| at));
        if self.choke.is_none() {
            for at in [self.lost_at, self.timeout_at(path)] {
                next = next.min(at.unwrap_or(Instant::FAR));
            }
            if self.may_fly(path) && (self.tx.first_waiting().is_some() || self.opens_next(Instant::FAR, path)) {
                let at = if self.tx.first_waiting().is_none() && !self.opens_next(Instant::ZERO, path) {
                    self.flush_at.max(path.pace_at())
                } else {
                    path.pace_at()
                };
                next = next.min(at);
            }
        } else if let Some(choke) = self.choke {
            next = next.min(choke.probe_at);
        }
        next.min(self.unchoke_at.unwrap_or(Instant::FAR))
    }

    fn ack_due(&self) -> Instant {
        let due = self.rx.ack_at().unwrap_or(Instant::FAR);
        if self.remote_id != 0 && self.started && self.rx.has_any() { due } else { Instant::FAR }
    }

    pub(super) fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        match self.phase {
            Phase::Opening { deadline } if deadline <= now => return self.fail(Error::TimedOut, ctx),
            Phase::Lingering { until } if until <= now => self.phase = Phase::Dead,
            Phase::Open if self.kept_alive_at + ctx.config.inactivity <= now => {
                if now.since(self.heard_at) >= ctx.config.inactivity * SILENT_PERIODS {
                    return self.fail(Error::TimedOut, ctx);
                }
                self.kept_alive_at = now;
                self.send_ack(Some(0), ctx);
            }
            _ => {}
        }
        if let Some((_, times)) = self.telling.filter(|(at, _)| *at <= now && self.phase == Phase::Open) {
            self.say_where_again(times, ctx);
        }
        if let Some(choke) = self.choke {
            if choke.probe_at <= now {
                self.probe_choke(choke, ctx);
            }
        } else {
            if self.lost_at.is_some_and(|at| at <= now) {
                self.detect_losses(ctx);
            }
            if self.timeout_at(ctx.path).is_some_and(|at| at <= now) {
                self.handle_loss_of_all(ctx);
            }
        }
        if self.unchoke_at.is_some_and(|at| at <= now) {
            self.say_unchoked(ctx);
        }
    }

    fn rto(&self, path: &Path) -> Duration {
        if self.is_opening() {
            return (path.rtt.smoothed() * 3).max(Duration::from_secs(1));
        }
        path.rtt.rto(ACK_DELAY)
    }

    /// When nothing was acknowledged for too long.
    fn timeout_at(&self, path: &Path) -> Option<Instant> {
        let sent = self.tx.last_sent()?;
        let rto = self.rto(path);
        // A SYN goes by another path each time: as many as a LeaseSet commonly has are tried without a longer pause.
        let doublings = if self.is_opening() { self.backoff.saturating_sub(OPENING_PATHS - 1) } else { self.backoff };
        let pause = (rto * (1 << doublings.min(6))).min(MAX_PROBE_PAUSE.max(rto));
        Some(sent + pause)
    }

    /// A timeout: the first probes with one packet. From the second on everything under way counts as lost, and where
    /// nothing of any stream arrives by this path, another one is asked for. A SYN asks at once, unless others get on.
    fn handle_loss_of_all(&mut self, ctx: &mut Context<'_>) {
        self.timeouts += 1;
        self.tally.timeouts += 1;
        self.backoff += 1;
        let now = ctx.now.mono;
        let given_up = self.timeouts >= ctx.config.max_resends && now.since(self.progress_at) >= GIVE_UP;
        if self.tx.only(Kind::Close) && self.timeouts > 9 && (self.rx.is_closed() || self.discard) {
            // A peer that had everything and has forgotten us, as i2pd does, does not answer a CLOSE. Where a program
            // still reads, it must hear that the rest does not come.
            return self.end(ctx);
        }
        if given_up && !self.is_opening() {
            return self.fail(Error::TimedOut, ctx);
        }
        let alone = self.is_opening() && self.tx.oldest_sent_at().is_none_or(|sent| !ctx.path.moved_since(sent));
        if alone {
            ctx.path.suspect(now);
        }
        if alone || (self.timeouts > 1 && ctx.path.is_suspect(now)) {
            let (to, stream, timeouts) = (self.peer, self.id, ctx.path.suspicions());
            ctx.events.push_back(Event::PathSuspect { to, stream, timeouts });
        }
        if self.timeouts > 1 {
            self.tx.lose_all();
        }
        self.count(ctx.path);
        if let Some(first) = self.tx.first_unacked() {
            self.transmit(first, ctx);
        }
    }

    // What goes out.

    /// Sends what may be sent now. To be called after everything else.
    pub(super) fn pump(&mut self, ctx: &mut Context<'_>) {
        if self.phase == Phase::Dead {
            return;
        }
        self.pump_packets(ctx);
        if self.ack_due() <= ctx.now.mono {
            self.send_ack(None, ctx);
        }
        self.finish_if_done(ctx);
    }

    fn pump_packets(&mut self, ctx: &mut Context<'_>) {
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
    fn may_fly(&self, path: &Path) -> bool {
        let begins = self.tx.first_waiting().map_or(self.tx.next_sequence() == 0, |first| first == 0);
        if self.timeouts > 0 {
            // A path is found out with few packets.
            return begins || self.tx.in_flight() < PROBES;
        }
        begins || (self.tx.in_flight() < self.ceiling.packets().min(path.share(self.id)) && path.has_room())
    }

    /// Whether a new packet should be opened at `now`.
    fn opens_next(&self, now: Instant, path: &Path) -> bool {
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
    fn open_next(&mut self, ctx: &mut Context<'_>) -> u32 {
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

    fn sign_syn(&mut self, ctx: &mut Context<'_>) {
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

    fn sign(&self, sequence: u32, out: &Outgoing<'_>, payload: &[u8], ctx: &mut Context<'_>) {
        let unsigned = Unsigned::new(out, &[payload]);
        let job = ctx.jobs.sign(&ctx.local.key, unsigned, Purpose::Sign { stream: self.id, sequence });
        ctx.events.push_back(Event::Job(job));
    }

    /// The signature of a packet is made.
    pub(super) fn signed(&mut self, sequence: u32, packet: Vec<u8>) {
        self.tx.signed(sequence, packet);
    }

    fn header(&self, path: &Path) -> Outgoing<'static> {
        let resend_delay = u8::try_from(self.rto(path).as_secs()).unwrap_or(u8::MAX);
        Outgoing { send_id: self.remote_id, recv_id: self.local_id, resend_delay, ..Outgoing::default() }
    }

    /// Sends the packet with `sequence`, for the first time or again.
    fn transmit(&mut self, sequence: u32, ctx: &mut Context<'_>) {
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
        let path_tx = ctx.path.sent(ctx.now.mono, ctx.config);
        let before = self.tx.sent(sequence, ctx.now.mono, path_tx);
        self.count(ctx.path);
        self.tally.sent += 1;
        self.tally.repeated += u64::from(before > 0);
        if fresh {
            self.rx.ack_sent();
        }
        self.emit(packet, kind == Kind::Syn, ctx);
    }

    /// The delay option of a data packet: chokes, or asks for an acknowledgement at once where waiting for one would
    /// stop us.
    fn delay_for(&mut self, sequence: u32, path: &Path) -> Option<u16> {
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
    fn send_ack(&mut self, delay: Option<u16>, ctx: &mut Context<'_>) {
        let Some((through, nacks)) = self.rx.acks() else { return };
        let delay = self.rx.delay_option().or(delay);
        let out = Outgoing { ack_through: Some(through), nacks: &nacks, delay, ..self.header(ctx.path) };
        let packet = Outgoing { resend_delay: 0, ..out }.encode(&[]);
        self.rx.ack_sent();
        self.tally.acks_sent += 1;
        self.emit(packet, false, ctx);
    }

    fn emit(&self, packet: Vec<u8>, first: bool, ctx: &mut Context<'_>) {
        let (from_port, to_port) = self.ports;
        ctx.events.push_back(Event::Send { to: self.peer, from_port, to_port, packet, stream: Some(self.id), first });
    }

    // How it ends.

    fn finish_if_done(&mut self, ctx: &mut Context<'_>) {
        let done = self.close_opened && self.tx.is_idle() && (self.rx.is_closed() || self.discard);
        if done && self.phase == Phase::Open {
            self.end(ctx);
        }
    }

    fn end(&mut self, ctx: &mut Context<'_>) {
        self.tally.log(self.id, "closed", ctx.path);
        ctx.events.push_back(Event::Closed { stream: self.id });
        if self.ack_due() <= ctx.now.mono {
            self.send_ack(None, ctx);
        }
        self.tx = Sender::new(0);
        self.leave(ctx.path);
        self.choke = None;
        self.phase = Phase::Lingering { until: ctx.now.mono + LINGER };
    }

    pub(super) fn fail(&mut self, why: Error, ctx: &mut Context<'_>) {
        if matches!(self.phase, Phase::Open | Phase::Opening { .. }) {
            ctx.events.push_back(Event::Failed { stream: self.id, why });
        }
        if why != Error::Reset {
            self.reset(ctx);
        }
        self.phase = Phase::Dead;
    }

    /// Sends a RESET, if the peer can know the stream, and is dead.
    pub(super) fn reset(&mut self, ctx: &mut Context<'_>) {
        self.tally.log(self.id, "reset", ctx.path);
        if self.remote_id != 0 && self.phase == Phase::Open {
            let out = Outgoing { flags: Flags::RESET, ..self.header(ctx.path) };
            let purpose = Purpose::SignLoose { to: self.peer, ports: self.ports };
            let job = ctx.jobs.sign(&ctx.local.key, Unsigned::new(&out, &[]), purpose);
            ctx.events.push_back(Event::Job(job));
        }
        self.phase = Phase::Dead;
    }

    // What the parent asks.

    /// What a packet can change.
    #[cfg(any(test, fuzzing))]
    pub(super) fn digest(&self) -> impl PartialEq + use<> {
        let sending = (self.tx.next_sequence(), self.tx.in_flight(), self.tx.unsent(), self.mtu, self.counted);
        let receiving = (self.rx.held(), self.rx.acks(), self.rx.is_closed(), self.rx.ack_at(), self.held.len());
        let house = (self.phase, self.remote_id, self.verifying, self.timeouts, self.heard_at, self.choke.is_some());
        (sending, receiving, house, self.close_wanted, self.finish_told)
    }

    pub(super) const fn id(&self) -> StreamId {
        self.id
    }

    pub(super) const fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening { .. })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.phase == Phase::Dead
    }

    pub(super) const fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. })
    }

    /// Whether the peer has not acknowledged all that was written, or the program has not read all that came.
    pub(super) fn is_pending(&self) -> bool {
        let sent = self.tx.unsent() == 0 && (self.tx.is_idle() || self.tx.only(Kind::Close));
        !sent || self.rx.held() > 0
    }

    /// Received bytes that are held: all, and those behind holes.
    pub(super) const fn held_bytes(&self) -> (usize, usize) {
        (self.rx.held(), self.rx.early())
    }
}
