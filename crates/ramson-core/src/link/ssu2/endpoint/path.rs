//! Where the peer of a session is, and how it moves. <https://geti2p.net/spec/ssu2#connection-migration>
//!
//! Packets go on to the address that is proven until a new one is: who only sends us a session's packets from elsewhere
//! gets a small challenge there, and nothing more.

use super::{ConnId, Endpoint, Event, State, Timer};
use crate::limits::ssu2 as limits;
use crate::time::{Duration, Instant, Now};
use ramson_wire::ssu2::{Block, Termination, TerminationReason};
use std::net::SocketAddr;

/// A new path is given up after this time.
const VALIDATION: Duration = Duration::from_secs(5);
/// The first challenge is sent again after this time, then after twice as much each.
const FIRST_CHALLENGE: Duration = Duration::from_millis(500);
/// From one look at another path to the next.
const BETWEEN: Duration = Duration::from_secs(2);

/// A path that is not proven, and when the last was looked at.
#[derive(Default)]
pub(super) struct Path {
    probe: Option<Probe>,
    looked_at: Option<Instant>,
    /// Answers to challenges in the second that began then.
    answers: (Instant, u32),
}

struct Probe {
    addr: SocketAddr,
    data: [u8; 8],
    until: Instant,
    pause: Duration,
}

impl Endpoint {
    /// A packet of the session that authenticates, and was not seen before, has come from this address.
    pub(super) fn heard_from(&mut self, now: Now, id: ConnId, from: SocketAddr, known: bool) {
        let allowed = self.config.addresses.allows(&from);
        let data = if known { [0; 8] } else { self.rng.bytes() };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Up(up) = &mut session.state else { return };
        let path = &mut up.path;
        if known {
            // The peer is where it was: the other packet was sent by somebody else, or by an old way.
            if path.probe.take().is_some() {
                self.timers.cancel(&(id, Timer::Path));
            }
            return;
        }
        let soon = path.looked_at.is_some_and(|at| now.mono.since(at) < BETWEEN);
        if path.probe.is_some() || soon || !allowed || from.is_ipv4() != session.addr.is_ipv4() {
            return;
        }
        path.looked_at = Some(now.mono);
        path.probe = Some(Probe { addr: from, data, until: now.mono + VALIDATION, pause: FIRST_CHALLENGE });
        self.challenge(now, id);
    }

    fn challenge(&mut self, now: Now, id: ConnId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Up(up) = &mut session.state else { return };
        let Some(probe) = &mut up.path.probe else { return };
        let mut blocks = Vec::with_capacity(48);
        Block::encode_path_challenge(&mut blocks, &probe.data);
        Block::encode_address(&mut blocks, &probe.addr);
        let to = Some(probe.addr);
        let next = now.mono + probe.pause;
        probe.pause *= 2;
        self.timers.set((id, Timer::Path), next.min(probe.until));
        self.events.push_back(Event::Control { id, to, blocks });
    }

    pub(super) fn path_timeout(&mut self, now: Now, id: ConnId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Up(up) = &mut session.state else { return };
        match &up.path.probe {
            Some(probe) if now.mono < probe.until => self.challenge(now, id),
            // It was not the peer, or no way back leads there: nothing has changed.
            _ => up.path.probe = None,
        }
    }

    /// A peer asks for its bytes back, from this address.
    pub(crate) fn path_challenge(&mut self, now: Now, id: ConnId, from: SocketAddr, data: &[u8]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Up(up) = &mut session.state else { return };
        let to = (from != session.addr).then_some(from);
        if data.len() > limits::CHALLENGE || to.is_some() && !self.config.addresses.allows(&from) {
            return;
        }
        let (since, answers) = &mut up.path.answers;
        if now.mono.since(*since) >= Duration::from_secs(1) {
            (*since, *answers) = (now.mono, 0);
        }
        *answers += 1;
        if *answers > limits::CHALLENGES_PER_SECOND {
            return;
        }
        let mut blocks = Vec::with_capacity(data.len() + 32);
        Block::encode_path_response(&mut blocks, data);
        Block::encode_address(&mut blocks, &from);
        self.events.push_back(Event::Control { id, to, blocks });
    }

    /// A peer gives bytes back. If they are those that went to a new address, it is there.
    pub(crate) fn path_response(&mut self, now: Now, id: ConnId, data: &[u8]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Up(up) = &mut session.state else { return };
        let Some(probe) = up.path.probe.take_if(|probe| probe.data == data) else { return };
        let ip_changed = probe.addr.ip() != session.addr.ip();
        if session.inbound {
            let (old, new) = (session.addr.ip().into(), probe.addr.ip().into());
            if let Some(count) = self.inbound_of.get_mut(&old) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.inbound_of.remove(&old);
                }
            }
            *self.inbound_of.entry(new).or_default() += 1;
        }
        session.addr = probe.addr;
        let addr = probe.addr;
        self.timers.cancel(&(id, Timer::Path));
        self.events.push_back(Event::Moved { id, ip_changed });
        // The token for its next session was for where it was.
        let mut blocks = Vec::new();
        self.tokens.next(now, &addr).encode(&mut blocks);
        self.events.push_back(Event::Control { id, to: None, blocks });
    }

    /// The peer ends the session.
    pub(crate) fn terminated(&mut self, now: Now, id: ConnId, termination: &Termination) {
        self.end(now, id, TerminationReason::TERMINATION_RECEIVED, Some(termination.reason));
    }
}
