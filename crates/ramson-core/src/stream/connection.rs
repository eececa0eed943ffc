//! One stream: what its two halves receive and send, and its timers.

mod choke;
mod clock;
mod outgoing;

use super::Local;
use super::congestion::Ceiling;
use super::jobs::{Jobs, Ports, Purpose, Signer};
use super::path::Path;
use super::receive::{Offered, Receiver, Spare};
use super::send::Sender;
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
/// So long after the first packet behind it our answer to a SYN goes again, unless it was acknowledged: i2pd ends a stream
/// whose SYN is not there 200 ms after a packet that follows it, and each is lost or late by itself where hops speak SSU2.
const SYN_ACK_AGAIN: Duration = Duration::from_millis(80);
/// It also goes again right behind these packets where more follow: the second one that comes before the SYN makes i2pd end
/// the stream at once, since the timer that it cancels counts as one that has run out.
const SYN_ACK_AGAIN_BEHIND: [u32; 2] = [1, 3];
/// Answers to our SYN, each with another id, that count besides the first one.
const MAX_ANSWERS: u8 = 3;
/// Behind these packets the first one behind our SYN goes again, unless it was acknowledged: i2pd ends a stream, without a word
/// and within a fraction of a round trip, where a few packets have come and that one has not.
const FIRST_AGAIN_BEHIND: [u32; 2] = [2, 5];
/// The longest pause between repetitions while the path is tried: a probe is one packet. That of a SYN.
const MAX_PROBE_PAUSE: Duration = Duration::from_secs(2);
const MAX_SYN_PAUSE: Duration = Duration::from_secs(6);
/// Packets under way while nothing is acknowledged.
const PROBES: u32 = 2;
/// How long a closed stream still answers repeated packets.
const LINGER: Duration = Duration::from_secs(60);
/// The pause until a peer is told again where we are doubles between these. Each try goes by another path: where many hops
/// have died, few of the paths work, and who tries them slowly stands still for long.
const TELL_AGAIN: (Duration, Duration) = (Duration::from_millis(700), Duration::from_secs(2));
const TELLINGS: u32 = 24;
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
    /// Answers to our SYN that have counted besides the first one.
    answers: u8,
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
    /// Since when the peer may not reach us.
    unreached: Option<Instant>,
    kept_alive_at: Instant,
    flush_at: Instant,
    lost_at: Option<Instant>,
    unchoke_at: Option<Instant>,
    syn_ack_again_at: Option<Instant>,
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
    /// Most packets under way.
    pub(super) max_window: u32,
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
            answers: 0,
            outbound: true,
            signer: start.signer,
            held: Vec::new(),
            verifying: false,
            phase,
            tx: Sender::new(config.send_buffer),
            rx: Receiver::new(config.receive_buffer),
            ceiling: Ceiling::new(start.max_window),
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
            unreached: None,
            kept_alive_at: now,
            flush_at: now + start.wait_for_data,
            lost_at: None,
            unchoke_at: None,
            syn_ack_again_at: None,
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
        // It may have taken long until there was anything to tell: what counts is how the peer was before.
        let silent = self.unreached.take().unwrap_or(now).since(self.heard_at);
        self.telling = (silent < BUSY).then(|| (now + TELL_AGAIN.0, 0));
        self.send_ack(None, ctx);
    }

    /// When something of the peer arrived last.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// Tunnels by which the peer reaches us are lost.
    pub(super) fn note_unreached(&mut self, now: Now) {
        self.unreached.get_or_insert(now.mono);
    }

    fn say_where_again(&mut self, times: u32, ctx: &mut Context<'_>) {
        let now = ctx.now.mono;
        // What was under way when the peer was told still arrives.
        let pause = |times: u32| (TELL_AGAIN.0 * (1 << times.min(8))).min(TELL_AGAIN.1);
        let heard = now.since(self.heard_at) < pause(times) / 2;
        self.telling = (times < TELLINGS && !heard).then(|| (now + pause(times + 1), times + 1));
        if !heard {
            ctx.path.suspect(now);
            self.say_suspect(times, ctx);
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

    /// Asks for another way to the peer.
    fn say_suspect(&self, timeouts: u32, ctx: &mut Context<'_>) {
        let (to, stream, opened) = (self.peer, self.id, self.outbound);
        ctx.events.push_back(Event::PathSuspect { to, stream, timeouts, opened });
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
            self.say_suspect(0, ctx);
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
            self.say_suspect(0, ctx);
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
        if ceiling.drops_far() {
            path.note_drops_far();
        }
        self.count(ctx.path);
    }

    /// The peer's SYN in answer to ours, verified: `packet` is handled next.
    pub(super) fn answered(&mut self, packet: &Packet<'_>, signer: Signer, ctx: &mut Context<'_>) {
        if self.may_be_answered_again() && packet.recv_id != self.remote_id {
            self.answers += 1;
            self.remote_id = packet.recv_id;
            return self.handle(packet, ctx);
        }
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

    /// Whether an answer to our SYN with another id counts: i2pd gives up after 18 s what nobody has acknowledged, and takes
    /// our SYN for a new one when it comes again. Where the first answer was that late, only the second one leads to a
    /// stream. Nothing else may have been acknowledged, or have come, by then.
    pub(super) fn may_be_answered_again(&self) -> bool {
        let acknowledged = self.tx.first_unacked().unwrap_or(self.tx.next_sequence());
        let heard = self.rx.acks().is_some_and(|(through, nacks)| through > 0 || !nacks.is_empty());
        self.outbound && self.phase == Phase::Open && acknowledged <= 1 && !heard && self.answers < MAX_ANSWERS
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

    /// Whether the program has ended its direction, and has read all that came.
    pub(super) fn is_ending(&self) -> bool {
        self.close_wanted && !self.is_opening() && self.rx.held() == 0
    }

    /// Received bytes that are held: all, and those behind holes.
    pub(super) const fn held_bytes(&self) -> (usize, usize) {
        (self.rx.held(), self.rx.early())
    }
}
