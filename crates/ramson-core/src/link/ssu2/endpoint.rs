//! All SSU2 sessions of a router: datagrams in, datagrams out, from the first token to the last Termination.
//!
//! What is here: which datagram belongs to whom, handshakes with their retransmissions and deadlines, tokens, the keys of
//! sessions, where their peers are and move to, and how they end. What is not: what a session carries. Its packets are
//! handed up opened ([`Endpoint::handle_datagram`], [`Event::Packet`]) and come down to be sealed ([`Endpoint::seal`]).
//!
//! The router drives it: `dial` and `seal` from above, `handle_*` from below, then `poll_event` until it is empty;
//! `next_timeout` says when `handle_timeout` is due.

mod ended;
mod incoming;
mod initiate;
mod path;
mod respond;
#[cfg(test)]
mod tests;

use super::confirmed::Fragments;
use super::handshake::{AwaitConfirmed, AwaitCreated, Established, Ids, ResponderKeys};
use super::job::{Outcome, Step};
use super::limits;
use super::outside::IntroKey;
use super::packet::{Opener, Sealer};
use super::peer_test::Outside;
use super::tokens::{NextTokens, Tokens};
use crate::bucket::Bucket;
use crate::link::ConnId;
use crate::link::address::{AddressRules, Origin};
use crate::netdb::store::Verified;
use crate::rng::{Rng, SeededMap, SeededState};
use crate::seen::Seen;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use ended::EndedSessions;
pub(crate) use initiate::Dial;
use path::Path;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::Hash;
use ramson_wire::ssu2::{ConnectionId, LongHeader, MessageType, TerminationReason};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A handshake that we began is done by then, and one that others began; the specification's figures.
const DIAL_DEADLINE: Duration = Duration::from_secs(15);
const ACCEPT_DEADLINE: Duration = Duration::from_secs(12);
/// The first retransmission of a handshake packet, while nothing is known of the way; then after twice as long each time,
/// up to the longest. The specification recommends 1.25, 2.5 and 5 s: on lines that lose a packet in five, one handshake
/// in ten does not come through with those.
const FIRST_RESEND: Duration = Duration::from_millis(1_000);
const LONGEST_RESEND: Duration = Duration::from_millis(2_000);
/// It is never sooner than that, whatever the way has shown.
const SOONEST_RESEND: Duration = Duration::from_millis(250);
/// How long a session may be idle, drawn for each so that it is no constant.
const IDLE: (Duration, Duration) = (Duration::from_secs(150), Duration::from_secs(200));

/// What the endpoint is and may do.
pub(crate) struct EndpointConfig {
    pub(crate) network_id: u8,
    pub(crate) static_key: SecretKey,
    pub(crate) intro_key: [u8; 32],
    /// Our identity hash.
    pub(crate) router: Hash,
    pub(crate) addresses: AddressRules,
}

/// What the endpoint tells the links.
pub(crate) enum Event {
    Datagram {
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    Job(ConnId, Step),
    /// A session stands. Its first packet number to send is 1 when we dialled, else 0; then packet 0 of the peer has come
    /// and wants its ACK at once.
    Up {
        id: ConnId,
        /// The RouterInfo of one who has dialled us.
        info: Option<Verified>,
    },
    /// A packet that was opened before, or while, its session came to stand. `payload` are its blocks.
    Packet {
        id: ConnId,
        number: u32,
        immediate_ack: bool,
        payload: Vec<u8>,
    },
    /// These blocks go out soon in a packet of their own: to this address, else to the session's.
    Control {
        id: ConnId,
        to: Option<SocketAddr>,
        blocks: Vec<u8>,
    },
    /// The session's peer is now proven to be elsewhere; with another address the way is another.
    Moved {
        id: ConnId,
        ip_changed: bool,
    },
    /// An authenticated peer's clock less ours, milliseconds.
    Clock {
        peer: IpAddr,
        offset_ms: i64,
    },
    /// The peer that we dial sees us here.
    SeenAt {
        id: ConnId,
        seen: SocketAddr,
    },
    /// A message of a peer test.
    Outside {
        from: SocketAddr,
        outside: Outside,
    },
    /// The peer introduces us under this tag; without one it asks for one.
    Tag {
        id: ConnId,
        tag: Option<u32>,
    },
    /// A HolePunch, it seems: to be opened with [`Endpoint::open_punch`] if one for this nonce is expected.
    HolePunch {
        from: SocketAddr,
        nonce: u32,
        packet: Vec<u8>,
    },
    /// The session, or the handshake, is over; the reason if the peer has told one.
    Down {
        id: ConnId,
        reason: Option<TerminationReason>,
    },
}

/// Counters for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointStats {
    /// Retries that were sent.
    pub(crate) retries: u64,
    /// Datagrams that belong to nothing, or do not authenticate.
    pub(crate) dropped: u64,
}

/// All sessions over UDP, standing and to be.
pub(crate) struct Endpoint {
    config: EndpointConfig,
    intro: IntroKey,
    /// Our RouterInfo, as SessionConfirmed carries it.
    router_info: Arc<Vec<u8>>,
    rng: Rng,
    tokens: Tokens,
    next_tokens: NextTokens,
    /// Ephemeral keys of SessionRequests that were opened: one that comes again is dropped.
    replays: Seen,
    sessions: BTreeMap<ConnId, Session>,
    ended: EndedSessions,
    /// Connection IDs in packets to us.
    ids: SeededMap<ConnectionId, ConnId>,
    /// Whose packets may still come under the peer's introduction key, by the peer's address.
    dialling: BTreeMap<SocketAddr, BTreeSet<ConnId>>,
    inbound_of: BTreeMap<Origin, usize>,
    /// Handshakes that others began, by age.
    accepting: BTreeSet<ConnId>,
    retries: Bucket,
    skew_answers: BTreeMap<Origin, (Instant, u32)>,
    timers: Timers<(ConnId, Timer)>,
    events: VecDeque<Event>,
    next_inbound: u64,
    stats: EndpointStats,
}

/// Why a session is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The handshake, the idle session or the ended one is over.
    Deadline,
    /// A packet of the handshake goes out again.
    Resend,
    /// A new path has not answered.
    Path,
}

struct Session {
    addr: SocketAddr,
    inbound: bool,
    /// The router that we dial, or that has identified itself.
    peer: Option<Hash>,
    ids: Ids,
    state: State,
    /// What of the handshake may be lost.
    resend: Option<Resend>,
    /// What the peer published, when we dial it.
    responder: Option<(ResponderKeys, IntroKey)>,
    /// Retries that were followed.
    retries: u8,
    /// Packets that claimed to be the next of the handshake and were not.
    failures: u8,
    /// Outbound: when our request went out first that is to be answered.
    sent_at: Instant,
    /// How long a TokenRequest took there and back.
    trip: Option<Duration>,
    /// The peer's clock less ours, milliseconds.
    offset_ms: Option<i64>,
    /// A tag is asked for in the SessionRequest, by whoever has dialled.
    relay_tag: bool,
}

/// Packets that go out again, and when next after that.
struct Resend {
    packets: Vec<Vec<u8>>,
    pause: Duration,
}

/// Where a session stands.
enum State {
    /// Initiator: a TokenRequest is out.
    AwaitRetry,
    /// A job of ours is out: the SessionRequest is made, or a SessionCreated opened.
    Working,
    AwaitCreated(Box<AwaitCreated>),
    /// Responder: a SessionRequest with this header is being opened.
    Opening(LongHeader),
    AwaitConfirmed(Box<Awaiting>),
    /// Responder: a SessionConfirmed is being opened. What comes meanwhile waits.
    Confirming(Early),
    Up(Box<Up>),
}

struct Awaiting {
    state: Box<AwaitConfirmed>,
    fragments: Fragments,
    early: Early,
}

/// Packets of the data phase that came before its keys were known.
type Early = Vec<Vec<u8>>;

/// An established session.
struct Up {
    sealer: Sealer,
    opener: Opener,
    path: Path,
    last_received: Instant,
    idle: Duration,
}

/// An opened packet of a session; its payload lies in the datagram.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    pub(crate) id: ConnId,
    pub(crate) number: u32,
    pub(crate) immediate_ack: bool,
    /// Where it came from, which need not be the session's address.
    pub(crate) from: SocketAddr,
    pub(crate) payload: &'a [u8],
}

impl Endpoint {
    pub(crate) fn new(config: EndpointConfig, mut rng: Rng) -> Self {
        let state = SeededState::new(&mut rng);
        let replays = Seen::new(crate::limits::link::REPLAY_KEYS, crate::limits::link::REPLAY_GENERATION, &mut rng);
        Self {
            intro: IntroKey::new(config.intro_key),
            config,
            router_info: Arc::new(Vec::new()),
            tokens: Tokens::new(rng.child("tokens")),
            next_tokens: NextTokens::new(),
            rng,
            replays,
            sessions: BTreeMap::new(),
            ended: EndedSessions::default(),
            ids: SeededMap::with_hasher(state),
            dialling: BTreeMap::new(),
            inbound_of: BTreeMap::new(),
            accepting: BTreeSet::new(),
            retries: Bucket::new(limits::RETRIES, Instant::ZERO),
            skew_answers: BTreeMap::new(),
            timers: Timers::default(),
            events: VecDeque::new(),
            next_inbound: 0,
            stats: EndpointStats::default(),
        }
    }

    /// New handshakes carry this RouterInfo.
    pub(crate) fn set_router_info(&mut self, bytes: Vec<u8>) {
        self.router_info = Arc::new(bytes);
    }

    pub(crate) const fn stats(&self) -> EndpointStats {
        self.stats
    }

    /// Sessions that stand, and handshakes.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    #[cfg(test)]
    fn is_up(&self, id: ConnId) -> bool {
        self.sessions.get(&id).is_some_and(|session| matches!(session.state, State::Up(_)))
    }

    /// Where packets of this session go to.
    pub(crate) fn address(&self, id: ConnId) -> Option<SocketAddr> {
        self.sessions.get(&id).map(|session| session.addr)
    }

    /// The blocks of a HolePunch to us.
    pub(crate) fn open_punch<'a>(&self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let (header, blocks) = self.intro.open(packet, MessageType::HolePunch).ok()?;
        (header.source == header.destination.inverse()).then_some(blocks)
    }

    /// A session that is being dialled is seen to be elsewhere.
    pub(crate) fn redirect(&mut self, now: Now, id: ConnId, addr: SocketAddr) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.inbound || matches!(session.state, State::Up(_)) {
            return;
        }
        let old = std::mem::replace(&mut session.addr, addr);
        if let Some(ids) = self.dialling.get_mut(&old) {
            ids.remove(&id);
            if ids.is_empty() {
                self.dialling.remove(&old);
            }
        }
        self.dialling.entry(addr).or_default().insert(id);
        if self.sessions.get(&id).is_some_and(|session| session.resend.is_some()) {
            self.timers.set_sooner((id, Timer::Resend), now.mono);
        }
    }

    /// A token for a session that comes from this address at once.
    pub(crate) fn token_for(&mut self, now: Now, to: &SocketAddr) -> u64 {
        self.tokens.retry(now.mono, to)
    }

    /// How long the handshake took there and back, if it has shown that.
    pub(crate) fn trip(&self, id: ConnId) -> Option<Duration> {
        self.sessions.get(&id)?.trip
    }

    /// Whether whom we dial has answered anything, or has not been asked yet: our own work on the request is not done.
    pub(crate) fn is_answered(&self, id: ConnId) -> bool {
        let answered = |session: &Session| session.trip.is_some() || matches!(session.state, State::Working);
        self.sessions.get(&id).is_some_and(answered)
    }

    /// Room for the header of a packet; its blocks are appended.
    pub(crate) fn begin(out: &mut Vec<u8>) {
        Sealer::begin(out);
    }

    /// Makes a packet of `out`, which [`Endpoint::begin`] began and blocks were appended to; where it goes to. `None`, and
    /// nothing that may be sent, without a session, and when the number is not above all that were used.
    pub(crate) fn seal(
        &mut self,
        id: ConnId,
        number: u32,
        immediate_ack: bool,
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let session = self.sessions.get_mut(&id)?;
        let State::Up(up) = &mut session.state else { return None };
        up.sealer.finish(out, number, immediate_ack).then_some(session.addr)
    }

    /// The next event. Call until `None` after every other call.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some((id, timer)) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Resend => self.resend(now, id),
                Timer::Path => self.path_timeout(now, id),
                Timer::Deadline => self.deadline(now, id),
            }
        }
    }

    /// A step of a handshake is done.
    pub(crate) fn handle_job(&mut self, now: Now, id: ConnId, outcome: Outcome) {
        match outcome {
            Outcome::Requested(packet, next) => self.requested(now, id, packet, next),
            Outcome::Created(created, packets, keys) => self.created(now, id, &created, packets, keys),
            Outcome::NotCreated(state, error) => self.not_created(now, id, state, error),
            Outcome::Opened(request, made) => self.request_opened(now, id, request, made),
            Outcome::Confirmed(initiated) => self.confirmed(now, id, *initiated),
            Outcome::NotConfirmed(state, error) => self.not_confirmed(now, id, state, error),
            // Those are the links' own.
            Outcome::Relay(_) => {}
            Outcome::Failed(error) => {
                tracing::debug!(conn = id.0, ?error, "handshake failed");
                self.remove(id, None);
            }
        }
    }

    /// A job of this session has panicked, or its machine: it is gone, without a word to the peer.
    pub(crate) fn end_broken(&mut self, id: ConnId) {
        self.remove(id, None);
    }

    /// Ends a session, telling the peer why; one that does not stand yet ends in silence.
    pub(crate) fn terminate(&mut self, now: Now, id: ConnId, reason: TerminationReason) {
        self.end(now, id, reason, None);
    }

    /// Forgets a session or a handshake, and says so.
    fn remove(&mut self, id: ConnId, reason: Option<TerminationReason>) {
        let Some(session) = self.take(id) else { return };
        let own = if session.inbound { session.ids.responder } else { session.ids.initiator };
        self.ids.remove(&own);
        self.events.push_back(Event::Down { id, reason });
    }

    /// Takes a session out of the table and of all that is kept beside it, but for its connection ID.
    fn take(&mut self, id: ConnId) -> Option<Session> {
        self.settle(id);
        let session = self.sessions.remove(&id)?;
        for timer in [Timer::Deadline, Timer::Path] {
            self.timers.cancel(&(id, timer));
        }
        if session.inbound {
            let origin = Origin::from(session.addr.ip());
            if let Some(count) = self.inbound_of.get_mut(&origin) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.inbound_of.remove(&origin);
                }
            }
        }
        Some(session)
    }

    /// Nothing of the handshake is to be sent or expected any more.
    fn settle(&mut self, id: ConnId) {
        self.accepting.remove(&id);
        self.timers.cancel(&(id, Timer::Resend));
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.resend = None;
        let addr = session.addr;
        if let Some(ids) = self.dialling.get_mut(&addr) {
            ids.remove(&id);
            if ids.is_empty() {
                self.dialling.remove(&addr);
            }
        }
    }

    /// Sends packets of a handshake, and has them sent again until something answers.
    fn send_until_answered(&mut self, now: Now, id: ConnId, packets: Vec<Vec<u8>>, pause: Duration) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let to = session.addr;
        for bytes in &packets {
            self.events.push_back(Event::Datagram { to, bytes: bytes.clone() });
        }
        session.resend = Some(Resend { packets, pause: (pause * 2).min(LONGEST_RESEND) });
        self.timers.set((id, Timer::Resend), now.mono + pause);
    }

    fn resend(&mut self, now: Now, id: ConnId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let to = session.addr;
        let Some(resend) = &mut session.resend else { return };
        for bytes in &resend.packets {
            self.events.push_back(Event::Datagram { to, bytes: bytes.clone() });
        }
        self.timers.set((id, Timer::Resend), now.mono + resend.pause);
        resend.pause = (resend.pause * 2).min(LONGEST_RESEND);
    }

    /// The peer has repeated itself, so what we said last was lost: it goes out again, soon if not at once.
    fn resend_soon(&mut self, now: Now, id: ConnId) {
        if self.sessions.get(&id).is_some_and(|session| session.resend.is_some()) {
            self.timers.set_sooner((id, Timer::Resend), now.mono + SOONEST_RESEND);
        }
    }

    fn deadline(&mut self, now: Now, id: ConnId) {
        let Some(session) = self.sessions.get(&id) else { return self.forget_ended(id) };
        let State::Up(up) = &session.state else { return self.remove(id, None) };
        let end = up.last_received + up.idle;
        if now.mono >= end {
            return self.end(now, id, TerminationReason::IDLE_TIMEOUT, None);
        }
        self.timers.set((id, Timer::Deadline), end);
    }

    /// The keys are there: the session stands.
    fn establish(&mut self, now: Now, id: ConnId, established: Established, peer_intro: [u8; 32]) {
        let idle = self.rng.between(IDLE.0, IDLE.1);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let (theirs, own) = (session.ids, self.config.intro_key);
        let destination = if session.inbound { theirs.initiator } else { theirs.responder };
        let keys = established.keys;
        session.state = State::Up(Box::new(Up {
            sealer: Sealer::new(keys.send, peer_intro, destination, u32::from(!session.inbound)),
            opener: Opener::new(keys.receive, own),
            path: Path::default(),
            last_received: now.mono,
            idle,
        }));
        self.timers.set((id, Timer::Deadline), now.mono + idle);
    }
}

/// Seconds since 1970, rounded as the specification asks.
fn rounded_secs(now: Now) -> u32 {
    u32::try_from((now.unix_ms + 500) / 1000).unwrap_or(u32::MAX)
}

/// The peer's clock less ours in milliseconds.
fn offset(timestamp: u32, now: Now) -> i64 {
    let ours = i64::try_from(now.unix_ms).unwrap_or(i64::MAX);
    (i64::from(timestamp) * 1000).saturating_sub(ours)
}

fn is_skewed(offset_ms: i64) -> bool {
    offset_ms.unsigned_abs() > u64::from(crate::limits::link::MAX_SKEW_SECS) * 1000
}
