//! Sessions that others begin ("Bob").

use super::super::confirmed::Fragments;
use super::super::handshake::{AwaitConfirmed, Create, HandshakeError, Ids, Request, Responder};
use super::super::job::{Initiated, Step};
use super::super::outside::{self, Retry};
use super::{
    ACCEPT_DEADLINE, Awaiting, ConnId, Endpoint, Event, FIRST_RESEND, Session, State, is_skewed, offset, rounded_secs,
};
use crate::limits::link as link_limits;
use crate::limits::ssu2 as limits;
use crate::link::address::Origin;
use crate::netdb::store::Verified;
use crate::time::{Duration, Now};
use ramson_wire::ssu2::{
    Blocks, LongHeader, MessageType, NewToken, SHORT_HEADER, TerminationReason, keyed, protection,
};
use std::net::SocketAddr;
use tracing::debug;

/// A RouterInfo in a SessionConfirmed is at most this old, and this far in the future.
const MAX_INFO_AGE: u64 = 90 * 60_000;
const MAX_INFO_FUTURE: u64 = 120_000;

impl Endpoint {
    /// A TokenRequest: answered with a Retry, if it authenticates. That costs no memory and little work, and the answer is
    /// about as long as the question.
    pub(super) fn token_request(&mut self, now: Now, from: SocketAddr, packet: &mut [u8]) {
        let Ok((header, blocks)) = self.intro.open(packet, MessageType::TokenRequest) else {
            self.stats.dropped += 1;
            return;
        };
        let Ok(Some(timestamp)) = outside::timestamp(blocks) else { return };
        if header.source == header.destination {
            return;
        }
        let answer = if is_skewed(offset(timestamp, now)) {
            // So that it learns the time; a few times, since an old request may be a probe (threats T40, P-30).
            if !self.may_answer_skewed(now, from) {
                return;
            }
            Some(Retry::Refused(Some(TerminationReason::CLOCK_SKEW)))
        } else {
            self.refusal(from).map(|reason| Retry::Refused(Some(reason)))
        };
        self.retry(now, from, &header, answer);
    }

    /// A SessionRequest: opened if its token is good, else answered with a Retry. Only then is there any public-key work, and
    /// anything to remember (threats T51).
    pub(super) fn session_request(&mut self, now: Now, from: SocketAddr, packet: &mut [u8]) {
        let intro = self.intro.bytes;
        let parts = protection::turn_short(packet, &intro, &intro)
            .and_then(|()| protection::turn_rest(packet, MessageType::SessionRequest, &intro))
            .and_then(|()| keyed(packet));
        let Some(parts) = parts else { return };
        let Ok(header) = LongHeader::from_bytes(parts.header) else { return };
        let ephemeral = *parts.ephemeral;
        if header.source == header.destination || self.replays.contains(&ephemeral) {
            self.stats.dropped += 1;
            return;
        }
        if !self.tokens.take(now.mono, &from, header.token) {
            let refusal = self.refusal(from).map(|reason| Retry::Refused(Some(reason)));
            return self.retry(now, from, &header, refusal);
        }
        self.replays.insert(now.mono, &ephemeral);
        if let Some(reason) = self.refusal(from) {
            return self.retry(now, from, &header, Some(Retry::Refused(Some(reason))));
        }
        if self.accepting.len() >= limits::HANDSHAKES
            && let Some(oldest) = self.accepting.first().copied()
        {
            self.remove(oldest, None);
        }
        let id = ConnId(ConnId::INBOUND | ConnId::UDP | self.next_inbound);
        self.next_inbound += 1;
        let ids = Ids { initiator: header.source, responder: header.destination };
        let session = Session {
            addr: from,
            inbound: true,
            peer: None,
            ids,
            state: State::Opening(header),
            resend: None,
            responder: None,
            retries: 0,
            failures: 0,
            sent_at: now.mono,
            trip: None,
            offset_ms: None,
            relay_tag: false,
        };
        self.sessions.insert(id, session);
        self.ids.insert(ids.responder, id);
        self.accepting.insert(id);
        *self.inbound_of.entry(Origin::from(from.ip())).or_default() += 1;
        self.set_deadline(now, id, ACCEPT_DEADLINE);
        let responder = Responder {
            static_key: self.config.static_key.clone(),
            intro_key: intro,
            network_id: self.config.network_id,
        };
        let create = Create {
            timestamp: rounded_secs(now),
            address: from,
            new_token: Some(self.tokens.next(now, &from)),
            relay_tag: None,
            padding: 1 + self.rng.below(24),
        };
        let max_skew = link_limits::MAX_SKEW_SECS;
        let (responder, packet) = (Box::new(responder), packet.to_vec());
        self.events.push_back(Event::Job(id, Step::Request1 { responder, packet, create, max_skew }));
    }

    /// Why nobody at this address gets a session now.
    fn refusal(&self, from: SocketAddr) -> Option<TerminationReason> {
        let of_origin = self.inbound_of.get(&Origin::from(from.ip())).copied().unwrap_or(0);
        let full = self.len() >= limits::SESSIONS || of_origin >= link_limits::INBOUND_PER_ADDRESS;
        full.then_some(TerminationReason::CONNECTION_LIMITS)
    }

    /// Answers a request with a token, or as told.
    fn retry(&mut self, now: Now, from: SocketAddr, request: &LongHeader, answer: Option<Retry>) {
        // Nobody aims us at a host that has nothing to do with the network (threats P-41, P-42).
        if !self.config.addresses.allows(&from) || !self.retries.take(now.mono) {
            self.stats.dropped += 1;
            return;
        }
        let answer = answer.unwrap_or_else(|| Retry::Token(self.tokens.retry(now.mono, &from)));
        let packet = outside::retry(&self.intro, request, &from, rounded_secs(now), answer, &mut self.rng);
        if let Some(bytes) = packet {
            self.stats.retries += 1;
            self.events.push_back(Event::Datagram { to: from, bytes });
        }
    }

    fn may_answer_skewed(&mut self, now: Now, from: SocketAddr) -> bool {
        let window = Duration::from_secs(600);
        if self.skew_answers.len() >= link_limits::SKEW_ADDRESSES {
            self.skew_answers.retain(|_, (since, _)| now.mono.since(*since) < window);
            if self.skew_answers.len() >= link_limits::SKEW_ADDRESSES {
                return false;
            }
        }
        let entry = self.skew_answers.entry(Origin::from(from.ip())).or_insert((now.mono, 0));
        if now.mono.since(entry.0) >= window {
            *entry = (now.mono, 0);
        }
        entry.1 += 1;
        entry.1 <= link_limits::SKEW_ANSWERS
    }

    /// The SessionRequest is opened; the SessionCreated is there unless its clock is too far from ours.
    pub(super) fn request_opened(
        &mut self,
        now: Now,
        id: ConnId,
        request: Request,
        made: Option<(Vec<u8>, Box<AwaitConfirmed>)>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Opening(header) = session.state else { return };
        let Some((packet, state)) = made else {
            let from = session.addr;
            self.remove(id, None);
            if self.may_answer_skewed(now, from) {
                self.retry(now, from, &header, Some(Retry::Refused(Some(TerminationReason::CLOCK_SKEW))));
            }
            return;
        };
        session.offset_ms = Some(offset(request.timestamp, now));
        session.relay_tag = request.relay_tag;
        let (fragments, early) = (Fragments::default(), Vec::new());
        session.state = State::AwaitConfirmed(Box::new(Awaiting { state, fragments, early }));
        self.send_until_answered(now, id, vec![packet], FIRST_RESEND);
    }

    /// A SessionConfirmed is whole.
    pub(super) fn open_confirmed(&mut self, id: ConnId, header: [u8; SHORT_HEADER], body: Vec<u8>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::AwaitConfirmed(awaiting) = std::mem::replace(&mut session.state, State::Confirming(Vec::new()))
        else {
            return;
        };
        let Awaiting { state, early, .. } = *awaiting;
        session.state = State::Confirming(early);
        self.events.push_back(Event::Job(id, Step::Confirmed { state, header, body }));
    }

    /// It was none: who can forge that much is on the way, and may do so a few times.
    pub(super) fn not_confirmed(&mut self, now: Now, id: ConnId, state: Box<AwaitConfirmed>, error: HandshakeError) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.failures += 1;
        debug!(conn = id.0, ?error, "a SessionConfirmed is none");
        if session.failures >= limits::HANDSHAKE_FAILURES {
            return self.remove(id, None);
        }
        let State::Confirming(early) = std::mem::replace(&mut session.state, State::AwaitRetry) else { return };
        session.state = State::AwaitConfirmed(Box::new(Awaiting { state, fragments: Fragments::default(), early }));
        self.resend_soon(now, id);
    }

    /// Who dialled us is known. On any error the specification has silence.
    pub(super) fn confirmed(&mut self, now: Now, id: ConnId, initiated: Initiated) {
        let Initiated { established, peer, payload } = initiated;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Confirming(early) = &mut session.state else { return };
        let early = std::mem::take(early);
        let addr = session.addr;
        let checked = peer.and_then(|peer| match self.accepts(now, addr, &peer.info) {
            Ok(()) => Ok(peer),
            Err(reason) => Err(reason),
        });
        let peer = match checked {
            Ok(peer) => peer,
            Err(reason) => {
                debug!(conn = id.0, ?reason, "who dials us is not taken");
                return self.remove(id, None);
            }
        };
        let hash = peer.info.info().hash();
        let clock = self.sessions.get_mut(&id).and_then(|session| {
            session.peer = Some(hash);
            session.offset_ms
        });
        self.settle(id);
        self.establish(now, id, established, peer.intro_key);
        if let Some(offset_ms) = clock {
            self.events.push_back(Event::Clock { peer: addr.ip(), offset_ms });
        }
        self.events.push_back(Event::Up { id, info: Some(peer.info) });
        // What stands behind the RouterInfo is as good as in a packet of its own: it is packet 0, and wants an ACK.
        self.events.push_back(Event::Packet { id, number: 0, immediate_ack: true, payload: behind_info(&payload) });
        // Only now it is known who asks.
        if self.sessions.get(&id).is_some_and(|session| session.relay_tag) {
            self.events.push_back(Event::Tag { id, tag: None });
        }
        self.open_early(id, early);
    }

    /// The rules for the RouterInfo of one who dials us (threats T41).
    fn accepts(&self, now: Now, source: SocketAddr, verified: &Verified) -> Result<(), TerminationReason> {
        let info = verified.info();
        let published = info.published();
        if info.hash() == self.config.router || info.net_id() != Some(self.config.network_id) {
            return Err(TerminationReason::SESSION_CONFIRMED_ERROR);
        }
        if published > now.unix_ms + MAX_INFO_FUTURE || published + MAX_INFO_AGE < now.unix_ms {
            return Err(TerminationReason::SESSION_CONFIRMED_ERROR);
        }
        // A host behind IPv6 may dial by a temporary address of its network.
        let origin = Origin::from(source.ip());
        let hosts = info.ssu2_addresses().iter().filter_map(|address| address.host);
        let mut hosts = hosts.filter(|host| host.is_ipv4() == source.is_ipv4()).peekable();
        if hosts.peek().is_some() && !hosts.any(|host| Origin::from(host) == origin) {
            return Err(TerminationReason::BANNED);
        }
        Ok(())
    }

    /// A token that a peer in a session gives us for the next one.
    pub(crate) fn new_token(&mut self, now: Now, id: ConnId, token: NewToken) {
        let Some(session) = self.sessions.get(&id) else { return };
        if let Some(peer) = session.peer {
            self.next_tokens.insert(now, peer, session.addr, token);
        }
    }
}

/// The blocks behind the first one.
fn behind_info(payload: &[u8]) -> Vec<u8> {
    let mut blocks = Blocks::of_confirmed(payload);
    blocks.next();
    blocks.rest().to_vec()
}
