//! The data phase of the connections: bytes in, frames out, deadlines and endings.

use super::connection::{Connection, State};
use super::dial::rounded_secs;
use super::ntcp2::session::Sealer;
use super::{CloseKind, ConnId, Event, Links};
use crate::limits::link as limits;
use crate::time::{Duration, Now};
use ramson_wire::crypto::aead::TAG_LEN;
use ramson_wire::data::Hash;
use ramson_wire::i2np::{MAX_BODY, Message, SHORT_HEADER};
use ramson_wire::ntcp2::{Block, Blocks, FRAME_MAX, RouterInfoBlock, Termination, TerminationReason};

/// An older session of a peer is closed this long after a newer one stands.
pub(super) const RETIRE_AFTER: Duration = Duration::from_secs(5);
/// A frame that has begun must go on within this time.
pub(super) const FRAME_STALL: Duration = Duration::from_secs(30);
/// Bytes that a connection sends in its turn while there is a limit to all.
const TURN: usize = limits::FRAME_PAYLOAD;
/// How long a session at most reads on behind a frame that does not open.
const READ_ON: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));

impl Links {
    /// Bytes from a connection.
    pub fn handle_data(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.last_activity = now.mono;
        self.stats.received_bytes += bytes.len() as u64;
        if let Some(throttle) = &mut self.incoming {
            throttle.spend(now.mono, bytes.len());
        }
        match &mut conn.state {
            State::Silent => {}
            State::Up(session) if session.failing.is_some() => {
                session.failing = session.failing.and_then(|left| left.checked_sub(bytes.len()));
                if session.failing.is_none() {
                    self.terminate(now, id, TerminationReason::DATA_PHASE_AEAD_FAILURE);
                }
            }
            State::Up(session) => {
                session.opener.push(bytes);
                self.open_frames(now, id);
            }
            _ if conn.received.len() + bytes.len() > limits::HANDSHAKE_BUFFER => self.fail(now, id),
            _ => {
                conn.received.extend_from_slice(bytes);
                self.advance(now, id);
            }
        }
    }

    /// The socket has taken `n` more bytes of what was written.
    pub fn handle_writable(&mut self, id: ConnId, n: usize) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.ahead = conn.ahead.saturating_sub(n);
            self.dirty.insert(id);
        }
    }

    pub(super) fn open_frames(&mut self, now: Now, id: ConnId) {
        loop {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            let State::Up(session) = &mut conn.state else { return };
            let Some(hash) = conn.peer else { return };
            let frame = match session.opener.next_frame() {
                None => return,
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return self.read_on(now, id),
            };
            match read_blocks(frame, hash, &mut self.events) {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    tracing::debug!(conn = id.0, peer = ?hash, ?reason, "the peer ends its session");
                    self.events.push_back(Event::Terminated { peer: hash, reason });
                    self.events.push_back(Event::Close { conn: id, how: CloseKind::Flush });
                    return self.remove(now, id);
                }
                Err(()) => return self.terminate(now, id, TerminationReason::PAYLOAD_FORMAT_ERROR),
            }
        }
    }

    /// A frame does not open. When the session ends shall not say which bytes of it were looked at, of its length above
    /// all (threats T42): a random number of bytes is thrown away first, or a random time goes by.
    fn read_on(&mut self, now: Now, id: ConnId) {
        let (left, wait) = (self.rng.below(limits::FRAME_PAYLOAD), self.rng.between(READ_ON.0, READ_ON.1));
        if let Some(session) = self.conns.get_mut(&id).and_then(Connection::session) {
            session.failing = Some(left);
            session.opener.clear();
            self.timers.set(id, now.mono + wait);
        }
    }

    /// Lets connections have their turns that waited for bandwidth.
    pub(super) fn go_on(&mut self, now: Now) {
        while self.outgoing.as_mut().is_some_and(|throttle| throttle.allows(now.mono) > 0) {
            let Some(id) = self.stalled.pop_front() else { return };
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.stalled = false;
            }
            self.working = Some(id);
            self.flush_within(now, id, TURN);
        }
        self.working = None;
    }

    /// Seals what waits for the connection's peer, as far as the socket and the bandwidth allow.
    pub(super) fn flush(&mut self, now: Now, id: ConnId) {
        let Some(throttle) = &mut self.outgoing else { return self.flush_within(now, id, usize::MAX) };
        // Others wait already, or nothing may go: it is not its turn.
        if !self.stalled.is_empty() || throttle.allows(now.mono) == 0 {
            self.stall(id);
        } else {
            self.flush_within(now, id, TURN);
        }
    }

    /// Has a connection wait for bandwidth that has something to send.
    fn stall(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let waits = conn.peer.and_then(|hash| self.peers.get(&hash)).is_some_and(|peer| !peer.outbox.is_empty());
        if (waits || id.is_udp()) && conn.is_up() && conn.ahead < conn.room && !conn.stalled {
            conn.stalled = true;
            self.stalled.push_back(id);
        }
    }

    /// Seals frames until there are about so many bytes of them.
    fn flush_within(&mut self, now: Now, id: ConnId, most: usize) {
        if id.is_udp() {
            return self.flush_udp(now, id, most);
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(peer) = conn.peer.and_then(|hash| self.peers.get_mut(&hash)) else { return };
        if peer.current != Some(id) || !conn.is_up() {
            return;
        }
        let mut out = Vec::with_capacity(peer.outbox.bytes().min(conn.room.saturating_sub(conn.ahead)));
        while conn.ahead + out.len() < conn.room && out.len() < most {
            let State::Up(session) = &mut conn.state else { return };
            if peer.outbox.is_empty() && !session.date_time_due {
                break;
            }
            let start = Sealer::begin(&mut out);
            if std::mem::take(&mut session.date_time_due) {
                Block::encode_date_time(&mut out, rounded_secs(now));
            }
            if std::mem::take(&mut session.router_info_due) {
                RouterInfoBlock { flood: false, router_info: &self.router_info }.encode(&mut out);
            }
            while let Some(message) = peer.outbox.pop(now.mono, frame_room(out.len() - start), &mut self.totals.waiting)
            {
                Block::encode_i2np_header(&mut out, SHORT_HEADER + message.body.len());
                message.encode_short(&mut out);
            }
            if out.len() == start {
                out.truncate(start - 2);
                break;
            }
            if out.len() - start < limits::FRAME_PAYLOAD / 2 {
                Block::encode_padding(&mut out, self.rng.below(16));
            }
            session.sealer.finish(&mut out, start);
        }
        if out.is_empty() {
            return;
        }
        conn.last_activity = now.mono;
        let exhausted = conn.session().is_some_and(|s| s.sealer.exhausted());
        self.write(id, out);
        if self.outgoing.is_some() {
            self.stall(id);
        }
        if exhausted {
            self.terminate(now, id, TerminationReason::NORMAL);
        }
    }

    pub(super) fn write(&mut self, id: ConnId, bytes: Vec<u8>) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.ahead += bytes.len();
            self.stats.sent_bytes += bytes.len() as u64;
            if let Some(throttle) = &mut self.outgoing {
                throttle.spend(throttle.at(), bytes.len());
            }
            self.events.push_back(Event::Write { conn: id, bytes });
        }
    }

    /// Ends a connection: with a Termination block where there is a session.
    pub(super) fn terminate(&mut self, now: Now, id: ConnId, reason: TerminationReason) {
        if id.is_udp() {
            return self.terminate_udp(now, id, reason);
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let how = match &mut conn.state {
            State::Up(session) => {
                let mut out = Vec::new();
                let start = Sealer::begin(&mut out);
                Termination { frames_received: session.opener.frames(), reason }.encode(&mut out);
                Block::encode_padding(&mut out, self.rng.below(32));
                session.sealer.finish(&mut out, start);
                self.write(id, out);
                CloseKind::Flush
            }
            _ => CloseKind::Reset,
        };
        self.events.push_back(Event::Close { conn: id, how });
        self.remove(now, id);
    }

    /// How long a session may be idle, drawn per session so that it is no constant.
    pub(super) fn idle_limit(&mut self) -> Duration {
        self.rng.between(Duration::from_secs(150), Duration::from_secs(200))
    }

    /// The timer of a connection has run out.
    pub(super) fn check_deadline(&mut self, now: Now, id: ConnId) {
        if id.is_udp() {
            return self.udp_deadline(now, id);
        }
        if self.dial_past_silence(now, id) {
            return;
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let idle = now.mono.since(conn.last_activity);
        match &conn.state {
            State::Up(session) if session.failing.is_some() => {
                self.terminate(now, id, TerminationReason::DATA_PHASE_AEAD_FAILURE);
            }
            State::Up(session) if session.retiring => self.terminate(now, id, TerminationReason::NORMAL),
            State::Up(session) if session.opener.in_frame() && idle >= FRAME_STALL => {
                self.terminate(now, id, TerminationReason::INTRA_FRAME_READ_TIMEOUT);
            }
            State::Up(_) => {
                let limit = self.idle_limit();
                if idle >= limit {
                    return self.terminate(now, id, TerminationReason::IDLE_TIMEOUT);
                }
                if let Some(session) = self.conns.get_mut(&id).and_then(Connection::session) {
                    session.opener.shrink();
                }
                self.timers.set(id, now.mono + (limit - idle).min(FRAME_STALL));
            }
            _ => {
                self.events.push_back(Event::Close { conn: id, how: CloseKind::Reset });
                self.remove(now, id);
            }
        }
    }
}

/// Bytes that one more message, header of its block included, may take in a frame that holds `used`.
fn frame_room(used: usize) -> usize {
    const BLOCK_HEADER: usize = 3;
    const _: () = assert!(MAX_BODY + SHORT_HEADER + BLOCK_HEADER + TAG_LEN + 4_000 < FRAME_MAX + 2_000);
    match used {
        // A message longer than a usual frame gets one of its own.
        0 => FRAME_MAX - TAG_LEN - BLOCK_HEADER - 32,
        used => limits::FRAME_PAYLOAD.saturating_sub(used + BLOCK_HEADER),
    }
}

/// Hands the blocks of a frame on. `Ok(Some)` when the peer has terminated the session.
fn read_blocks(
    frame: &[u8],
    from: Hash,
    events: &mut std::collections::VecDeque<Event>,
) -> Result<Option<TerminationReason>, ()> {
    let mut ended = None;
    for block in Blocks::new(frame) {
        match block.map_err(|_| ())? {
            Block::I2np(bytes) => {
                let message = Message::decode_short(bytes).map_err(|_| ())?;
                events.push_back(Event::Received { from, message });
            }
            Block::RouterInfo(block) => {
                events.push_back(Event::RouterInfo { from, bytes: block.router_info.to_vec(), flood: block.flood });
            }
            Block::Termination(termination) => ended = Some(termination.reason),
            // The clock is learnt from handshakes alone: one peer's word in a session moves nothing (threats T45).
            // Padding limits of the Options block are not deployed anywhere (threats T44).
            Block::DateTime(_) | Block::Options(_) | Block::Padding(_) | Block::Unknown(_) => {}
        }
    }
    Ok(ended)
}
