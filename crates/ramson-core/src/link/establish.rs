//! The handshake of a connection, from its first byte to its session.
//!
//! An inbound connection that fails in any way a probe could cause goes on reading in silence until a deadline drawn
//! when it was accepted, and is then reset: neither what was sent nor how much of it changes what a prober sees
//! (threats P-30).

use super::address::Origin;
use super::connection::{Connection, Session, State};
use super::dial::rounded_secs;
use super::job::{LinkDone, LinkJob, Outcome, Step};
use super::ntcp2::handshake::{AwaitCreated, Established, Responder, ResponderKeys, request_key};
use super::ntcp2::session::{Opener, Sealer};
use super::{CloseKind, ConnId, Event, Links};
use crate::limits::link as limits;
use crate::netdb::store::Verified;
use crate::time::{Duration, Now};
use ramson_wire::data::Hash;
use ramson_wire::ntcp2::{CONFIRMED_PART1, CreatedOptions, HANDSHAKE_FIXED, RequestOptions, TerminationReason};
use std::net::SocketAddr;
use tracing::debug;

/// An inbound handshake must be done by a moment drawn from this range.
const ACCEPT_DEADLINE: (Duration, Duration) = (Duration::from_secs(7), Duration::from_secs(10));
/// A RouterInfo in message 3 is at most this old.
const MAX_INFO_AGE: u64 = 90 * 60_000;
/// A RouterInfo in message 3 is at most this far in the future.
const MAX_INFO_FUTURE: u64 = 120_000;

impl Links {
    /// The shell has accepted a connection and numbered it, and takes `room` bytes for it.
    pub fn handle_accepted(&mut self, now: Now, id: ConnId, addr: SocketAddr, room: usize) {
        let origin = Origin::from(addr.ip());
        let of_origin = self.inbound_of.get(&origin).copied().unwrap_or(0);
        if self.conns.len() >= limits::CONNECTIONS
            || of_origin >= limits::INBOUND_PER_ADDRESS
            || self.inbound_handshakes >= limits::INBOUND_HANDSHAKES && !self.make_room(now)
        {
            self.events.push_back(Event::Close { conn: id, how: CloseKind::Reset });
            return;
        }
        self.inbound_of.insert(origin, of_origin + 1);
        self.inbound_handshakes += 1;
        let mut conn = Connection::new(now.mono, addr, true, None, State::AwaitRequest);
        conn.room = room;
        self.conns.insert(id, conn);
        let deadline = self.rng.between(ACCEPT_DEADLINE.0, ACCEPT_DEADLINE.1);
        self.timers.set(id, now.mono + deadline);
    }

    /// Resets the oldest inbound connection that has sent nothing of use: who has but opens connections, however many,
    /// keeps nobody else out. False when there is none.
    fn make_room(&mut self, now: Now) -> bool {
        // The shell numbers them in the order in which they come.
        let mut inbound = self.conns.range(ConnId(ConnId::INBOUND)..);
        let idle = inbound.find(|(_, conn)| matches!(conn.state, State::AwaitRequest | State::Silent));
        let Some(id) = idle.map(|(id, _)| *id) else { return false };
        self.events.push_back(Event::Close { conn: id, how: CloseKind::Reset });
        self.remove(now, id);
        true
    }

    /// Goes as far in the handshake as the bytes received allow.
    pub(super) fn advance(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let state = std::mem::replace(&mut conn.state, State::Working);
        let step = match state {
            State::AwaitRequest => match conn.take_received(HANDSHAKE_FIXED) {
                None => return conn.state = State::AwaitRequest,
                Some(message) => return self.open_request(now, id, &message),
            },
            State::AwaitRequestPadding(state, padding) => match conn.take_received(padding) {
                None => return conn.state = State::AwaitRequestPadding(state, padding),
                // Bytes behind the padding of message 1 are not part of the protocol (threats T37).
                Some(_) if !conn.received.is_empty() => return self.fail(now, id),
                Some(request_padding) => {
                    let padding = self.config.padding.draw(&mut self.rng);
                    Step::Create { state, request_padding, timestamp: rounded_secs(now), padding }
                }
            },
            State::AwaitConfirmed(state, len) => match conn.take_received(len) {
                None => return conn.state = State::AwaitConfirmed(state, len),
                Some(message) => Step::OpenConfirmed(state, message),
            },
            State::AwaitCreated(state) => match conn.take_received(HANDSHAKE_FIXED) {
                None => return conn.state = State::AwaitCreated(state),
                Some(message) => match message.first_chunk() {
                    Some(message) => Step::Created(state, *message),
                    None => return self.fail(now, id),
                },
            },
            State::AwaitCreatedPadding(state, padding) => match conn.take_received(padding) {
                None => return conn.state = State::AwaitCreatedPadding(state, padding),
                Some(_) if !conn.received.is_empty() => return self.fail(now, id),
                Some(padding) => Step::Confirm(state, padding),
            },
            other => return conn.state = other,
        };
        self.events.push_back(Event::Job(LinkJob { conn: id, step }));
    }

    fn open_request(&mut self, now: Now, id: ConnId, message: &[u8]) {
        let Some(message) = message.first_chunk() else { return };
        let keys = ResponderKeys {
            router: self.config.router,
            static_key: self.config.static_key.public_key(),
            iv: self.config.iv,
        };
        let peer = request_key(&keys, message);
        if !self.replays.insert(now.mono, &peer.0) {
            return self.fail(now, id);
        }
        let responder = Responder {
            static_key: self.config.static_key.clone(),
            keys,
            network_id: self.config.network_id,
            peer,
            message: *message,
        };
        self.events.push_back(Event::Job(LinkJob { conn: id, step: Step::OpenRequest(Box::new(responder)) }));
    }

    /// A step of a handshake is done.
    pub fn handle_job(&mut self, now: Now, done: LinkDone) {
        let LinkDone { conn: id, outcome } = done;
        let outcome = match outcome {
            Ok(Outcome::Ssu2(outcome)) => return self.udp_job(now, id, *outcome),
            other => other,
        };
        if !self.conns.get(&id).is_some_and(|c| matches!(c.state, State::Working)) {
            return;
        }
        match outcome {
            Err(error) => {
                debug!(conn = id.0, ?error, "handshake failed");
                self.fail(now, id);
            }
            Ok(Outcome::Requested(message, next)) => self.request_made(now, id, message, next),
            Ok(Outcome::Created(options, next)) => self.created_opened(now, id, options, next),
            Ok(Outcome::Confirmed(message, established)) => {
                self.write(id, message);
                self.establish(now, id, established, None);
            }
            Ok(Outcome::RequestOpened(options, next)) => self.request_opened(now, id, options, next),
            Ok(Outcome::CreatedMade(message, next)) => self.created_made(now, id, message, next),
            Ok(Outcome::ConfirmedOpened { established, peer }) => self.confirmed_opened(now, id, established, peer),
            Ok(Outcome::Ssu2(_)) => {}
        }
        self.advance(now, id);
        self.open_early(now, id);
    }

    /// What the peer has sent behind message 3 while its job was out belongs to the session.
    fn open_early(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let early = std::mem::take(&mut conn.received);
        match &mut conn.state {
            State::Up(session) if !early.is_empty() => {
                session.opener.push(&early);
                self.open_frames(now, id);
            }
            _ => conn.received = early,
        }
    }

    fn request_made(&mut self, now: Now, id: ConnId, message: Vec<u8>, next: Box<AwaitCreated>) {
        self.write(id, message);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.sent_at = now.mono;
            conn.state = State::AwaitCreated(next);
        }
    }

    /// Initiator: the responder is authenticated by its static key, so its clock counts.
    fn created_opened(
        &mut self,
        now: Now,
        id: ConnId,
        options: CreatedOptions,
        next: Box<super::ntcp2::handshake::AwaitCreatedPadding>,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let half_trip = now.mono.since(conn.sent_at) / 2;
        let offset_ms = offset(options.timestamp, now) + i64::try_from(half_trip.as_millis()).unwrap_or(0);
        let peer = conn.addr.ip();
        conn.offset_ms = Some(offset_ms);
        conn.state = State::AwaitCreatedPadding(next, usize::from(options.padding));
        self.events.push_back(Event::Clock { peer, offset_ms });
        if skewed(offset_ms) {
            self.fail(now, id);
        }
    }

    fn request_opened(
        &mut self,
        now: Now,
        id: ConnId,
        options: RequestOptions,
        next: Box<super::ntcp2::handshake::AwaitRequestPadding>,
    ) {
        let offset_ms = offset(options.timestamp, now);
        let skewed = skewed(offset_ms);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let origin = Origin::from(conn.addr.ip());
        conn.offset_ms = Some(offset_ms);
        conn.confirmed_len = CONFIRMED_PART1 + usize::from(options.confirmed_part2);
        conn.state = State::AwaitRequestPadding(next, usize::from(options.padding));
        if skewed && !self.may_answer_skewed(now, origin) {
            self.fail(now, id);
        }
    }

    /// A peer with a wrong clock is answered, so that it learns the time, but only a few times (threats T40, P-30).
    fn may_answer_skewed(&mut self, now: Now, origin: Origin) -> bool {
        let window = Duration::from_secs(600);
        if self.skew_answers.len() >= limits::SKEW_ADDRESSES {
            self.skew_answers.retain(|_, (since, _)| now.mono.since(*since) < window);
            if self.skew_answers.len() >= limits::SKEW_ADDRESSES {
                return false;
            }
        }
        let entry = self.skew_answers.entry(origin).or_insert((now.mono, 0));
        if now.mono.since(entry.0) >= window {
            *entry = (now.mono, 0);
        }
        entry.1 += 1;
        entry.1 <= limits::SKEW_ANSWERS
    }

    fn created_made(
        &mut self,
        now: Now,
        id: ConnId,
        message: Vec<u8>,
        next: Box<super::ntcp2::handshake::AwaitConfirmed>,
    ) {
        self.write(id, message);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.sent_at = now.mono;
        if conn.offset_ms.is_some_and(skewed) {
            // The peer has learnt our time; there is no session between two clocks so far apart.
            conn.state = State::Silent;
            return;
        }
        conn.state = State::AwaitConfirmed(next, conn.confirmed_len);
    }

    fn confirmed_opened(
        &mut self,
        now: Now,
        id: ConnId,
        established: Established,
        peer: Result<Verified, TerminationReason>,
    ) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let checked = peer.and_then(|info| accept_peer(&self.config, now, conn, info));
        match checked {
            Ok(info) => {
                conn.peer = Some(info.info().hash());
                self.establish(now, id, established, Some(info));
            }
            Err(reason) => {
                conn.state = State::Up(Box::new(new_session(&established)));
                self.inbound_handshakes = self.inbound_handshakes.saturating_sub(1);
                self.terminate(now, id, reason);
            }
        }
    }

    /// The session stands. It becomes its peer's current one; an older one only receives for a while, so that what is
    /// under way arrives, and is closed then.
    fn establish(&mut self, now: Now, id: ConnId, established: Established, info: Option<Verified>) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.peer.is_some()) else { return };
        let inbound = conn.inbound;
        conn.state = State::Up(Box::new(new_session(&established)));
        self.timers.set(id, now.mono + super::transfer::FRAME_STALL);
        if inbound {
            self.inbound_handshakes = self.inbound_handshakes.saturating_sub(1);
        }
        self.stands(now, id, info);
    }

    /// The session of this connection stands, with whatever transport.
    pub(super) fn stands(&mut self, now: Now, id: ConnId, info: Option<Verified>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(hash) = conn.peer else { return };
        let (inbound, addr) = (conn.inbound, conn.addr.ip());
        conn.last_activity = now.mono;
        let clock = conn.offset_ms.filter(|_| inbound);
        let peer = self.peers.entry(hash).or_default();
        if peer.dialling == Some(id) {
            peer.dialling = None;
        }
        if let Some(old) = peer.current.replace(id) {
            let retired = self.choose_retired(now, hash, old, id);
            debug!(peer = ?hash, old = old.0, new = id.0, retired = retired.0, "two sessions");
            if let Some(peer) = self.peers.get_mut(&hash)
                && retired == id
            {
                peer.current = Some(old);
            }
            let at = now.mono + super::transfer::RETIRE_AFTER;
            if let Some(conn) = self.conns.get_mut(&retired) {
                conn.set_retiring(Some(at));
            }
            self.timers.set(retired, at);
        }
        self.failed.remove(&hash);
        self.hung_up.remove(&hash);
        self.dirty.insert(id);
        if let Some(offset_ms) = clock {
            self.events.push_back(Event::Clock { peer: addr, offset_ms });
        }
        let dialled_before = self.dialled.get(&hash).is_some();
        debug!(conn = id.0, peer = ?hash, inbound, "session");
        self.events.push_back(Event::Up { peer: hash, inbound, addr, router_info: info, dialled_before });
        self.session_for_relay(now, id, &hash);
    }

    /// Which of two sessions with one peer goes. Where both sides have dialled at about the same time, both must keep
    /// the same one: that of the router with the smaller hash. Else the older one goes: the peer may have lost it.
    fn choose_retired(&self, now: Now, peer: Hash, old: ConnId, new: ConnId) -> ConnId {
        const SIMULTANEOUS: Duration = Duration::from_secs(10);
        let (Some(older), Some(newer)) = (self.conns.get(&old), self.conns.get(&new)) else { return old };
        let ours_is_kept = self.config.router < peer;
        let kept_is_old = older.inbound != ours_is_kept;
        if older.inbound != newer.inbound && now.mono.since(older.opened) < SIMULTANEOUS && kept_is_old {
            return new;
        }
        old
    }

    /// A handshake has failed. Outbound ones are closed; inbound ones fall silent.
    pub(super) fn fail(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.inbound {
            conn.state = State::Silent;
            conn.received = Vec::new();
            return;
        }
        self.events.push_back(Event::Close { conn: id, how: CloseKind::Reset });
        self.remove(now, id);
    }
}

fn new_session(established: &Established) -> Session {
    Session {
        sealer: Sealer::new(&established.keys),
        opener: Opener::new(&established.keys),
        router_info_due: false,
        date_time_due: true,
        failing: None,
        retiring: false,
    }
}

/// The rules for the RouterInfo of one who dials us (threats T41).
fn accept_peer(
    config: &super::LinkConfig,
    now: Now,
    conn: &Connection,
    verified: Verified,
) -> Result<Verified, TerminationReason> {
    let info = verified.info();
    let published = info.published();
    if info.hash() == config.router || info.net_id() != Some(config.network_id) {
        return Err(TerminationReason::MESSAGE_3_ERROR);
    }
    if published > now.unix_ms + MAX_INFO_FUTURE || published + MAX_INFO_AGE < now.unix_ms {
        return Err(TerminationReason::MESSAGE_3_ERROR);
    }
    let source = conn.addr.ip().to_canonical();
    let mut hosts =
        info.ntcp2_addresses().iter().filter_map(|a| a.host).filter(|h| h.is_ipv4() == source.is_ipv4()).peekable();
    if hosts.peek().is_some() && !hosts.any(|host| host == source) {
        return Err(TerminationReason::BANNED);
    }
    Ok(verified)
}

/// The peer's clock less ours in milliseconds.
fn offset(timestamp: u32, now: Now) -> i64 {
    let ours = i64::try_from(now.unix_ms).unwrap_or(i64::MAX);
    (i64::from(timestamp) * 1000).saturating_sub(ours)
}

fn skewed(offset_ms: i64) -> bool {
    offset_ms.unsigned_abs() > u64::from(limits::MAX_SKEW_SECS) * 1000
}
