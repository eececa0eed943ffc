//! Links: sessions with other routers over NTCP2 and SSU2.
//!
//! [`Links`] owns every connection and what waits for each peer. The router drives it: `send` and `dial` from above,
//! `handle_*` from below, then `poll_event` until it is empty; `next_timeout` says when `handle_timeout` is due.
//! Frames are sealed in `poll_event`, as late as the socket allows, with as many messages as fit.

pub mod address;
mod aged;
#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod connection;
mod dial;
mod establish;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod job;
pub mod ntcp2;
mod outbox;
pub mod ssu2;
mod throttle;
mod transfer;
mod udp;

pub use address::{AddressRules, Prefix};
pub use job::{LinkDone, LinkJob};
pub use outbox::Class;
pub use ssu2::relay::Introduced;
pub use ssu2::transfer::TransferStats;
/// SSU2 sessions over a line in virtual time.
#[cfg(any(test, fuzzing, feature = "checks"))]
pub use ssu2::transfer::line as ssu2_line;
pub use throttle::LinkLimits;
pub use udp::{Datagrams, UdpConfig, UdpId};

use crate::limits::link as limits;
use crate::meter::Meter;
use crate::netdb::store::Verified;
use crate::rng::{Rng, SeededMap, SeededState};
use crate::seen::Seen;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use address::Origin;
use aged::Aged;
use connection::Connection;
use dial::Families;
use ntcp2::padding::PaddingStrategy;
use outbox::Outbox;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Hash, RouterInfo};
use ramson_wire::i2np::Message;
use ramson_wire::ntcp2::TerminationReason;
pub use ssu2::peer_test::{
    Message as PeerTestMessage, Outside as PeerTestOutside, TestDone as PeerTestDone, TestJob as PeerTestJob,
    TestStats as PeerTestStats,
};
use ssu2::transfer::Totals;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use throttle::Throttle;
use udp::Udp;

/// A peer that hung up and cannot be dialled within this time is gone.
const GONE: Duration = Duration::from_secs(30);

/// A connection, as the core names it, and the shell if it is of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl ConnId {
    /// Inbound connections are numbered by the shell, with this bit set; outbound ones by the core, without it.
    pub const INBOUND: u64 = 1 << 63;
    /// Sessions over UDP have this bit set; the core numbers all of them.
    pub const UDP: u64 = 1 << 62;

    /// Whether the peer has connected to us.
    pub const fn is_inbound(self) -> bool {
        self.0 & Self::INBOUND != 0
    }

    /// Whether it is a session over UDP.
    pub const fn is_udp(self) -> bool {
        self.0 & Self::UDP != 0
    }
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseKind {
    /// After what was written is sent.
    Flush,
    /// At once, with a reset where the system allows it.
    Reset,
}

/// What the links are and may do.
pub struct LinkConfig {
    pub network_id: u8,
    pub static_key: SecretKey,
    /// Our identity hash, which obfuscates the ephemeral keys of those who dial us.
    pub router: Hash,
    /// The published IV ("i").
    pub iv: [u8; 16],
    pub padding: PaddingStrategy,
    pub addresses: AddressRules,
}

/// What the links tell the router.
pub enum Event {
    /// Open a TCP connection; answer with `handle_opened` or `handle_closed`.
    Open {
        conn: ConnId,
        addr: SocketAddr,
    },
    Write {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    Close {
        conn: ConnId,
        how: CloseKind,
    },
    Job(LinkJob),
    /// Datagrams to be sent; they may be lost.
    Udp(Datagrams),
    /// A message from an authenticated peer.
    Received {
        from: Hash,
        message: Message,
    },
    /// A session stands. The RouterInfo of an inbound peer is verified and new to us, perhaps.
    Up {
        peer: Hash,
        inbound: bool,
        addr: IpAddr,
        router_info: Option<Verified>,
        dialled_before: bool,
    },
    /// The last session with the peer is gone.
    Down {
        peer: Hash,
        /// The peer has ended TCP and has not said why, as a router that dies.
        hung_up: bool,
    },
    /// The peer could not be reached; `lost` messages were waiting.
    Unreachable {
        peer: Hash,
        lost: usize,
        /// It has hung up just before this: it is not there any more.
        gone: bool,
    },
    /// A RouterInfo block of the data phase, not verified.
    RouterInfo {
        from: Hash,
        bytes: Vec<u8>,
        flood: bool,
    },
    /// An authenticated peer's clock less ours, milliseconds.
    Clock {
        peer: IpAddr,
        offset_ms: i64,
    },
    /// A peer that we have dialled over UDP sees us here.
    SeenAt {
        by: IpAddr,
        seen: SocketAddr,
    },
    /// A block of a peer test in a session over UDP, whose peer is at this address.
    PeerTest {
        from: Hash,
        addr: SocketAddr,
        message: Box<PeerTestMessage>,
    },
    /// A message of a peer test outside of all sessions.
    Outside {
        from: SocketAddr,
        outside: PeerTestOutside,
    },
    /// The RouterInfo of a router that is needed for an introduction: to be answered with [`Links::handle_info`] at
    /// once, and again when a look-up brings it.
    Info {
        router: Hash,
        /// It is worth a look-up.
        look_up: bool,
    },
    /// Nobody can dial us by this family, and too few introduce us: routers that might are to be dialled or asked.
    WantIntroducers {
        v4: bool,
    },
    /// [`Links::introducers`] says something else than before.
    Introducers,
    /// The peer ended the session for this reason.
    Terminated {
        peer: Hash,
        reason: TerminationReason,
    },
}

/// Counters for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    pub sessions: usize,
    /// Of these, the ones that others began.
    pub inbound: usize,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub handshakes_failed: u64,
    pub messages_dropped: u64,
    /// Of SSU2: Retries that were sent, and datagrams that belong to nothing or do not authenticate.
    pub retries: u64,
    pub datagrams_dropped: u64,
}

/// All sessions with other routers.
pub struct Links {
    config: LinkConfig,
    /// Our current RouterInfo, as message 3 carries it.
    router_info: Arc<Vec<u8>>,
    rng: Rng,
    conns: BTreeMap<ConnId, Connection>,
    peers: SeededMap<Hash, Peer>,
    /// Bytes that wait in all outboxes, and of messages of UDP that are not whole.
    totals: Totals,
    /// Sessions over UDP, where there are any.
    udp: Option<Box<Udp>>,
    inbound_of: BTreeMap<Origin, usize>,
    skew_answers: BTreeMap<Origin, (Instant, u32)>,
    inbound_handshakes: usize,
    /// Ephemeral keys of message 1: a replayed one is treated like a random probe.
    replays: Seen,
    timers: Timers<ConnId>,
    /// Connections whose peers may have something to send.
    dirty: BTreeSet<ConnId>,
    /// The connection that is being flushed, or whose time has come.
    working: Option<ConnId>,
    failed: Aged<Failed>,
    /// Peers that have hung up, and when.
    hung_up: Aged<Instant>,
    families: Families,
    /// Peers that we have dialled, to tell an unprompted inbound session (reachability, specification part A6).
    dialled: Aged<()>,
    events: VecDeque<Event>,
    next_conn: u64,
    stats: LinkStats,
    /// The limits of bandwidth, where there are any.
    incoming: Option<Throttle>,
    outgoing: Option<Throttle>,
    /// Connections that wait for bandwidth, in the order of their turns. Each is there once.
    stalled: VecDeque<ConnId>,
    meters: (Meter, Meter),
}

/// What belongs to a peer and outlives its connections.
#[derive(Default)]
struct Peer {
    outbox: Outbox,
    current: Option<ConnId>,
    dialling: Option<ConnId>,
}

/// A peer that could not be reached.
struct Failed {
    until: Instant,
    times: u32,
    /// The latest try was by IPv4, and over UDP.
    v4: bool,
    udp: bool,
}

impl Links {
    pub fn new(config: LinkConfig, mut rng: Rng) -> Self {
        let state = SeededState::new(&mut rng);
        let replays = Seen::new(limits::REPLAY_KEYS, limits::REPLAY_GENERATION, &mut rng);
        Self {
            config,
            router_info: Arc::new(Vec::new()),
            rng,
            conns: BTreeMap::new(),
            peers: SeededMap::with_hasher(state),
            totals: Totals::default(),
            udp: None,
            inbound_of: BTreeMap::new(),
            skew_answers: BTreeMap::new(),
            inbound_handshakes: 0,
            replays,
            timers: Timers::default(),
            dirty: BTreeSet::new(),
            working: None,
            failed: Aged::new(limits::FAILED_PEERS),
            hung_up: Aged::new(limits::FAILED_PEERS),
            families: Families::default(),
            dialled: Aged::new(limits::FAILED_PEERS),
            events: VecDeque::new(),
            next_conn: 0,
            stats: LinkStats::default(),
            incoming: None,
            outgoing: None,
            stalled: VecDeque::new(),
            meters: (Meter::new(Instant::ZERO), Meter::new(Instant::ZERO)),
        }
    }

    /// From now on all links together keep to these limits.
    pub fn set_limits(&mut self, now: Now, limits: LinkLimits) {
        self.incoming = limits.incoming.map(|rate| Throttle::new(rate, now.mono));
        self.outgoing = limits.outgoing.map(|rate| Throttle::new(rate, now.mono));
    }

    /// When reading may go on, while so much has come that it must pause. What is not read waits at its senders.
    pub fn reads_at(&mut self, now: Now) -> Option<Instant> {
        let throttle = self.incoming.as_mut()?;
        (throttle.allows(now.mono) == 0).then(|| throttle.opens_at(now.mono))
    }

    /// Our RouterInfo has changed: new handshakes carry it, and standing sessions send it with their next frame.
    pub fn set_router_info(&mut self, bytes: Vec<u8>) {
        self.router_info = Arc::new(bytes);
        self.conns.values_mut().for_each(Connection::set_router_info_due);
        if let Some(udp) = &mut self.udp {
            udp.set_router_info(&self.router_info);
        }
    }

    /// What [`Links::set_router_info`] has set.
    pub fn router_info(&self) -> &[u8] {
        &self.router_info
    }

    pub fn is_connected(&self, peer: &Hash) -> bool {
        self.peers.get(peer).is_some_and(|p| p.current.is_some())
    }

    /// Where a peer with a session is, by the address of its connection: nobody else can make it another.
    pub fn prefix(&self, peer: &Hash) -> Option<Prefix> {
        let conn = self.peers.get(peer)?.current?;
        self.conns.get(&conn).map(|conn| Prefix::from(conn.addr.ip()))
    }

    /// Whether a failed dial still keeps us from dialling the peer again.
    pub fn is_failed(&self, now: Now, peer: &Hash) -> bool {
        self.failed.get(peer).is_some_and(|f| now.mono < f.until)
    }

    /// Dials of the peer that failed, one after the other.
    pub fn failures(&self, peer: &Hash) -> u32 {
        self.failed.get(peer).map_or(0, |failed| failed.times)
    }

    /// Peers with a session, in the order of their connections.
    pub fn connected(&self) -> Vec<Hash> {
        let mut peers: Vec<Hash> = self.conns.values().filter(|c| c.is_up()).filter_map(|c| c.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Whether messages wait for room on their way out.
    pub const fn is_behind(&self) -> bool {
        self.totals.waiting > 0
    }

    pub fn stats(&self) -> LinkStats {
        let sessions = self.conns.values().filter(|c| c.is_up()).count();
        let inbound = self.conns.values().filter(|c| c.is_up() && c.inbound).count();
        let udp = self.udp.as_ref().map(|udp| udp.stats()).unwrap_or_default();
        let (retries, datagrams_dropped) = (udp.retries, udp.dropped);
        LinkStats { sessions, inbound, retries, datagrams_dropped, ..self.stats }
    }

    /// Measures how much of their limits all links together use, from 0 to 1. To be called every few seconds.
    pub fn measure_load(&mut self, now: Now) -> f64 {
        self.meters.0.update(now.mono, self.stats.received_bytes);
        self.meters.1.update(now.mono, self.stats.sent_bytes);
        let used = |throttle: &Option<Throttle>, meter: &Meter| {
            throttle.as_ref().map_or(0.0, |throttle| meter.per_second() / throttle.rate() as f64)
        };
        let waiting = self.totals.waiting as f64 / (limits::OUTBOX_BYTES_TOTAL / 4 * 3) as f64;
        waiting.max(used(&self.incoming, &self.meters.0)).max(used(&self.outgoing, &self.meters.1)).min(1.0)
    }

    /// Sends a message to a peer with a session, or to one that is being dialled or can be dialled by `info`.
    /// False when there is no way to it or its queue is full: the message is lost.
    pub fn send(
        &mut self,
        now: Now,
        to: &Hash,
        message: Message,
        class: Class,
        info: Option<&Arc<RouterInfo>>,
    ) -> bool {
        let standing = self.peers.get(to).is_some_and(|p| p.current.is_some() || p.dialling.is_some());
        if !standing && !info.is_some_and(|info| self.dial(now, info)) {
            return false;
        }
        let Some(peer) = self.peers.get_mut(to) else { return false };
        let accepted = peer.outbox.push(now.mono, message, class, &mut self.totals.waiting);
        if let Some(conn) = peer.current {
            self.dirty.insert(conn);
        }
        if !accepted {
            self.stats.messages_dropped += 1;
        }
        accepted
    }

    /// The next event of what has happened already; what waits for peers goes on waiting, so that what else is sent in this
    /// turn shares its frame.
    pub fn poll_happened(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next event. Call until `None` after every `handle_*`, `send`, `dial` and `shutdown`. When nothing else is left,
    /// what waits for peers is sealed.
    pub fn poll_event(&mut self, now: Now) -> Option<Event> {
        if self.events.is_empty() {
            while let Some(conn) = self.dirty.pop_first() {
                self.working = Some(conn);
                self.flush(now, conn);
            }
            self.go_on(now);
            self.working = None;
        }
        self.events.pop_front()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let stalled = self.outgoing.filter(|_| !self.stalled.is_empty());
        let opens = stalled.map(|mut throttle| throttle.opens_at(throttle.at()));
        let udp = self.udp.as_ref().and_then(|udp| udp.next_timeout());
        self.timers.next().into_iter().chain(opens).chain(udp).min()
    }

    pub fn handle_timeout(&mut self, now: Now) {
        self.go_on(now);
        self.handle_udp_timeout(now);
        while let Some(conn) = self.timers.pop_due(now.mono) {
            self.working = Some(conn);
            self.check_deadline(now, conn);
        }
        self.working = None;
    }

    /// Ends every session, telling the peers that the router shuts down.
    pub fn shutdown(&mut self, now: Now) {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.terminate(now, conn, TerminationReason::ROUTER_SHUTDOWN);
        }
    }

    /// The TCP connection is gone, or could not be made.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId) {
        if !self.dial_again(now, conn) {
            if let Some(conn) = self.conns.get_mut(&conn) {
                conn.hung_up = true;
            }
            self.remove(now, conn);
        }
    }

    /// A panic came while this connection, or the one that the links have noted, was worked on: it is reset. False when
    /// there is none.
    pub fn end_broken(&mut self, now: Now, conn: Option<ConnId>) -> bool {
        let noted = self.working.take();
        let Some(conn) = conn.or(noted) else { return false };
        if !conn.is_udp() {
            self.events.push_back(Event::Close { conn, how: CloseKind::Reset });
        }
        self.remove(now, conn);
        true
    }

    /// The job of this connection has panicked: it is reset, unless it has ended meanwhile.
    pub fn handle_job_failed(&mut self, now: Now, conn: ConnId) {
        if self.conns.contains_key(&conn) {
            self.end_broken(now, Some(conn));
        } else if conn.is_udp() {
            self.end_udp_handshake(now, conn);
        }
    }

    /// Resets all sessions with a peer.
    pub fn end_sessions(&mut self, now: Now, peer: &Hash) {
        let of_peer = self.conns.iter().filter(|(_, conn)| conn.peer.as_ref() == Some(peer));
        let conns: Vec<ConnId> = of_peer.map(|(id, _)| *id).collect();
        for conn in conns {
            self.end_broken(now, Some(conn));
        }
    }

    /// Forgets a connection, and tells what that means for its peer.
    fn remove(&mut self, now: Now, id: ConnId) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        self.timers.cancel(&id);
        if id.is_udp() {
            self.forget_udp(now, id, &mut conn);
            self.forget_relay(now, id, &conn);
        }
        self.dirty.remove(&id);
        if conn.stalled {
            self.stalled.retain(|stalled| *stalled != id);
        }
        if conn.inbound && !id.is_udp() {
            let origin = Origin::from(conn.addr.ip());
            if let Some(count) = self.inbound_of.get_mut(&origin) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.inbound_of.remove(&origin);
                }
            }
            if !conn.is_up() {
                self.inbound_handshakes = self.inbound_handshakes.saturating_sub(1);
            }
        }
        if !conn.is_up() {
            self.stats.handshakes_failed += 1;
        }
        if let Some(hash) = conn.peer {
            self.forget_connection(now, hash, id, &conn);
        }
    }

    fn forget_connection(&mut self, now: Now, hash: Hash, id: ConnId, conn: &Connection) {
        let was_up = conn.is_up();
        let Some(peer) = self.peers.get_mut(&hash) else { return };
        if peer.dialling == Some(id) {
            peer.dialling = None;
        }
        if peer.current == Some(id) {
            peer.current = None;
            // An older session of the same peer that still stands takes over.
            let other = self.conns.iter().find(|(_, c)| c.peer == Some(hash) && c.is_up()).map(|(id, _)| *id);
            if let Some(other) = other {
                peer.current = Some(other);
                if let Some(conn) = self.conns.get_mut(&other) {
                    conn.set_retiring(None);
                }
                self.dirty.insert(other);
            }
        }
        if peer.current.is_none() && peer.dialling.is_none() {
            let lost = peer.outbox.clear(&mut self.totals.waiting);
            tracing::debug!(conn = id.0, peer = ?hash, was_up, lost, "no session any more");
            self.stats.messages_dropped += lost as u64;
            self.peers.remove(&hash);
            if was_up {
                if conn.hung_up {
                    self.hung_up.insert(hash, now.mono);
                }
                self.events.push_back(Event::Down { peer: hash, hung_up: conn.hung_up });
            } else {
                self.note_failure(now, hash, conn.addr.is_ipv4(), id.is_udp());
                let gone = self.hung_up.get(&hash).is_some_and(|at| now.mono.since(*at) < GONE);
                self.events.push_back(Event::Unreachable { peer: hash, lost, gone });
                self.no_session_for_relay(now, &hash);
            }
        }
    }

    fn note_failure(&mut self, now: Now, peer: Hash, v4: bool, udp: bool) {
        let times = self.failed.get(&peer).map_or(0, |f| f.times).saturating_add(1);
        let pause = Duration::from_secs(15) * 2u32.saturating_pow(times.min(6).saturating_sub(1));
        self.failed.insert(peer, Failed { until: now.mono + pause, times, v4, udp });
    }
}

#[cfg(test)]
mod tests;
