//! Sessions that we begin ("Alice").

use super::super::handshake::{AwaitCreated, Created, Established, HandshakeError, Ids, Initiator, ResponderKeys};
use super::super::job::Step;
use super::super::outside::{self, IntroKey, Retry};
use super::{
    ConnId, DIAL_DEADLINE, Endpoint, Event, FIRST_RESEND, SOONEST_RESEND, Session, State, Timer, is_skewed, offset,
    rounded_secs,
};
use crate::limits::ssu2 as limits;
use crate::time::{Duration, Now};
use ramson_wire::data::Hash;
use ramson_wire::ssu2::{Block, LongHeader, MTU_MIN, RouterInfoBlock};
use std::net::SocketAddr;
use tracing::debug;

/// How long after a SessionRequest with a token of a Retry another Retry says nothing of that token.
const STALE_RETRY: Duration = Duration::from_secs(2);

/// How a router is dialled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dial {
    /// A token that somebody else has brought from there.
    pub(crate) token: Option<u64>,
    /// It is asked to introduce us.
    pub(crate) relay_tag: bool,
}

impl Endpoint {
    /// Begins a session with a router at this address. False when there is no room, or nothing to introduce us by.
    pub(crate) fn dial(
        &mut self,
        now: Now,
        id: ConnId,
        peer: Hash,
        responder: ResponderKeys,
        addr: SocketAddr,
        how: Dial,
    ) -> bool {
        if self.router_info.is_empty() || self.sessions.contains_key(&id) || self.len() >= limits::SESSIONS {
            return false;
        }
        let ids = self.fresh_ids();
        let session = Session {
            addr,
            inbound: false,
            peer: Some(peer),
            ids,
            state: State::AwaitRetry,
            resend: None,
            responder: Some((responder, IntroKey::new(responder.intro_key))),
            retries: 0,
            failures: 0,
            sent_at: now.mono,
            trip: None,
            offset_ms: None,
            relay_tag: how.relay_tag,
        };
        self.sessions.insert(id, session);
        self.ids.insert(ids.initiator, id);
        self.dialling.entry(addr).or_default().insert(id);
        self.set_deadline(now, id, DIAL_DEADLINE);
        match how.token.or_else(|| self.next_tokens.take(now, &peer, &addr)) {
            Some(token) => self.make_request(now, id, token),
            None => self.request_token(now, id),
        }
        true
    }

    fn fresh_ids(&mut self) -> Ids {
        loop {
            let ids = Ids::random(&mut self.rng);
            if !self.ids.contains_key(&ids.initiator) {
                return ids;
            }
        }
    }

    fn request_token(&mut self, now: Now, id: ConnId) {
        let padding = 1 + self.rng.below(16);
        let Some(session) = self.sessions.get(&id) else { return };
        let Some((_, intro)) = &session.responder else { return };
        let (ids, network) = (session.ids, self.config.network_id);
        let packet = outside::token_request(intro, ids, network, rounded_secs(now), padding, &mut self.rng);
        self.send_until_answered(now, id, packet.into_iter().collect(), FIRST_RESEND);
    }

    fn make_request(&mut self, now: Now, id: ConnId, token: u64) {
        let padding = 1 + self.rng.below(24);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some((responder, _)) = &session.responder else { return };
        let initiator = Initiator {
            static_key: self.config.static_key.clone(),
            responder: *responder,
            network_id: self.config.network_id,
            ids: session.ids,
            token,
            timestamp: rounded_secs(now),
            relay_tag: session.relay_tag,
            padding,
        };
        session.state = State::Working;
        session.resend = None;
        self.timers.cancel(&(id, Timer::Resend));
        self.events.push_back(Event::Job(id, Step::Request(Box::new(initiator))));
    }

    /// The SessionRequest is made.
    pub(super) fn requested(&mut self, now: Now, id: ConnId, packet: Vec<u8>, next: Box<AwaitCreated>) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| matches!(session.state, State::Working)) else {
            return;
        };
        session.sent_at = now.mono;
        session.state = State::AwaitCreated(next);
        let pause = session.pause();
        self.send_until_answered(now, id, vec![packet], pause);
    }

    /// A Retry, under the responder's introduction key and about our connection IDs.
    pub(super) fn retried(&mut self, now: Now, id: ConnId, header: &LongHeader, blocks: &[u8]) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        // One that comes late, or again, means nothing (threats T58).
        if !matches!(session.state, State::AwaitRetry | State::AwaitCreated(_)) {
            return;
        }
        match outside::read_retry(header, blocks) {
            Err(_) => {}
            Ok(Retry::Refused(reason)) => {
                debug!(conn = id.0, ?reason, "a session is refused");
                self.remove(id, reason);
            }
            // The answer to a TokenRequest that went out twice, or one that was doubled on the way.
            Ok(Retry::Token(_))
                if matches!(session.state, State::AwaitCreated(_))
                    && session.retries > 0
                    && now.mono.since(session.sent_at) < STALE_RETRY => {}
            // Nobody sends us in circles (threats T59).
            Ok(Retry::Token(_)) if session.retries >= limits::RETRIES_FOLLOWED => self.remove(id, None),
            Ok(Retry::Token(token)) => {
                session.retries += 1;
                session.trip = Some(now.mono.since(session.sent_at));
                self.make_request(now, id, token);
            }
        }
    }

    /// A packet has the header of our SessionCreated.
    pub(super) fn open_created(&mut self, id: ConnId, packet: Vec<u8>) {
        let mut payload = Vec::with_capacity(self.router_info.len() + 64);
        RouterInfoBlock { flood: false, gzip: false, data: &self.router_info }.encode(&mut payload);
        let padding = self.rng.below(16);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::AwaitCreated(state) = std::mem::replace(&mut session.state, State::Working) else { return };
        Block::encode_padding(&mut payload, padding);
        // Nothing is known yet of how large packets may be on this way.
        let headers = if session.addr.is_ipv4() { 28 } else { 48 };
        let most = usize::from(MTU_MIN) - headers;
        self.events.push_back(Event::Job(id, Step::Created { state, packet, payload, most }));
    }

    /// It was none: who can forge that much is on the way, and may do so a few times.
    pub(super) fn not_created(&mut self, now: Now, id: ConnId, state: Box<AwaitCreated>, error: HandshakeError) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.failures += 1;
        debug!(conn = id.0, ?error, "a SessionCreated is none");
        if session.failures >= limits::HANDSHAKE_FAILURES {
            return self.remove(id, None);
        }
        session.state = State::AwaitCreated(state);
        self.resend_soon(now, id);
    }

    /// The responder is authenticated by its static key: its clock counts, and the session stands.
    pub(super) fn created(
        &mut self,
        now: Now,
        id: ConnId,
        created: &Created,
        packets: Vec<Vec<u8>>,
        established: Established,
    ) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| matches!(session.state, State::Working)) else {
            return;
        };
        let Some((responder, _)) = &session.responder else { return };
        let (peer, addr, intro_key) = (session.peer, session.addr, responder.intro_key);
        // A SessionCreated answers a SessionRequest at once, but for one that was lost before.
        let trip = session.trip.unwrap_or_else(|| now.mono.since(session.sent_at));
        let half_trip = i64::try_from((trip / 2).as_millis()).unwrap_or(0);
        let offset_ms = offset(created.timestamp, now) + half_trip;
        self.events.push_back(Event::Clock { peer: addr.ip(), offset_ms });
        if is_skewed(offset_ms) || created.termination.is_some() {
            return self.remove(id, created.termination);
        }
        let pause = session.pause();
        self.establish(now, id, established, intro_key);
        self.send_until_answered(now, id, packets, pause);
        self.events.push_back(Event::Up { id, info: None });
        if let Some(seen) = created.address {
            self.events.push_back(Event::SeenAt { id, seen });
        }
        if let Some(tag) = created.relay_tag {
            self.events.push_back(Event::Tag { id, tag: Some(tag) });
        }
        if let (Some(peer), Some(token)) = (peer, created.new_token) {
            self.next_tokens.insert(now, peer, addr, token);
        }
    }
}

impl Session {
    /// How long a handshake packet waits before it goes out again.
    fn pause(&self) -> Duration {
        self.trip.map_or(FIRST_RESEND, |trip| (trip * 3).clamp(SOONEST_RESEND, FIRST_RESEND))
    }
}
