//! To whom a datagram belongs. <https://geti2p.net/spec/ssu2#inbound-packet-handling>

use super::super::handshake::is_long;
use super::super::peer_test::Outside;
use super::{ConnId, Endpoint, Event, Received, State, Timer};
use crate::limits::ssu2 as limits;
use crate::time::Now;
use ramson_wire::ssu2::{ConnectionId, DATAGRAM_MAX, MessageType, Short, ShortHeader, VERSION, protection, short};
use std::net::SocketAddr;

impl Endpoint {
    /// A datagram from a socket. Gives the packet when it is one of a session that stands; all else is dealt with here.
    pub(crate) fn handle_datagram<'a>(
        &mut self,
        now: Now,
        from: SocketAddr,
        packet: &'a mut [u8],
    ) -> Option<Received<'a>> {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let first = protection::first(packet, &self.intro.bytes).filter(|_| packet.len() <= DATAGRAM_MAX);
        let Some(first) = first else {
            self.stats.dropped += 1;
            return None;
        };
        if let Some(id) = self.ids.get(&ConnectionId(u64::from_be_bytes(first))).copied() {
            return self.of_session(now, id, from, first, packet);
        }
        match self.kind_outside(packet) {
            Some(MessageType::SessionRequest) => self.session_request(now, from, packet),
            Some(MessageType::TokenRequest) => self.token_request(now, from, packet),
            Some(MessageType::PeerTest) => self.peer_test(from, packet),
            Some(MessageType::HolePunch) => self.hole_punch(from, first, packet),
            _ => self.of_dialled(now, from, packet),
        }
        None
    }

    /// A HolePunch has its nonce twice for a connection ID.
    fn hole_punch(&mut self, from: SocketAddr, [a, b, c, d, rest @ ..]: [u8; 8], packet: &[u8]) {
        if [a, b, c, d] != rest {
            self.stats.dropped += 1;
            return;
        }
        let nonce = u32::from_be_bytes(rest);
        self.events.push_back(Event::HolePunch { from, nonce, packet: packet.to_vec() });
    }

    /// What a packet is under our introduction key, if it is of our version and network.
    pub(super) fn kind_outside(&self, packet: &[u8]) -> Option<MessageType> {
        let [_, _, _, _, kind, version, network, _] = protection::second(packet, &self.intro.bytes)?;
        let ours = version == VERSION && network == self.config.network_id;
        MessageType::from_code(kind).filter(|kind| ours && kind.is_long())
    }

    /// A message of a test, if it opens: who it is for is looked up by its nonce.
    fn peer_test(&mut self, from: SocketAddr, packet: &mut [u8]) {
        let opened = self.intro.open(packet, MessageType::PeerTest);
        match opened.map(|(header, blocks)| Outside::read(&header, blocks)) {
            Ok(Ok(Some(outside))) => self.events.push_back(Event::Outside { from, outside }),
            _ => self.stats.dropped += 1,
        }
    }

    fn of_session<'a>(
        &mut self,
        now: Now,
        id: ConnId,
        from: SocketAddr,
        first: [u8; 8],
        packet: &'a mut [u8],
    ) -> Option<Received<'a>> {
        let Some(session) = self.sessions.get_mut(&id) else {
            self.of_ended(id, from);
            return None;
        };
        match &mut session.state {
            State::Up(up) => {
                let Ok(opened) = up.opener.open_for(first, packet) else {
                    self.stats.dropped += 1;
                    return None;
                };
                up.last_received = now.mono;
                let (number, immediate_ack) = (opened.number, opened.immediate_ack);
                let known = session.addr == from;
                let payload = opened.payload;
                if session.resend.is_some() {
                    // The responder speaks: it has our SessionConfirmed.
                    self.settle(id);
                }
                self.heard_from(now, id, from, known);
                return Some(Received { id, number, immediate_ack, from, payload });
            }
            // During the handshake nobody moves.
            _ if session.addr != from => self.stats.dropped += 1,
            State::AwaitConfirmed(_) => self.confirmed_or_early(now, id, packet),
            State::Confirming(early) => keep_early(early, packet),
            // Its SessionRequest again, while that is being opened; or what has nothing to say yet.
            _ => {}
        }
        None
    }

    fn confirmed_or_early(&mut self, now: Now, id: ConnId, packet: &[u8]) {
        let intro = self.intro.bytes;
        let again = self.kind_outside(packet) == Some(MessageType::SessionRequest);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::AwaitConfirmed(awaiting) = &mut session.state else { return };
        let mut copy = packet.to_vec();
        let fragment = protection::turn_short(&mut copy, &intro, awaiting.state.header_key())
            .and_then(|()| short(&mut copy))
            .and_then(|(header, part)| match ShortHeader::from_bytes(header) {
                Ok(ShortHeader { packet_number: 0, kind: Short::Confirmed(fragment), .. }) => {
                    Some((*header, fragment, part))
                }
                _ => None,
            });
        match fragment {
            Some((header, fragment, part)) => {
                if let Some((header, body)) = awaiting.fragments.insert(&header, fragment, part) {
                    self.open_confirmed(id, header, body);
                }
            }
            None if again => self.resend_soon(now, id),
            None => keep_early(&mut awaiting.early, packet),
        }
    }

    /// What comes under the introduction key of one whom we dial: a Retry or a SessionCreated.
    fn of_dialled(&mut self, now: Now, from: SocketAddr, packet: &mut [u8]) {
        let Some(ids) = self.dialling.get(&from) else {
            self.stats.dropped += 1;
            return;
        };
        // There is rarely more than one: two routers at one address and port.
        for id in ids.iter().copied().collect::<Vec<_>>() {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let Some((responder, intro)) = &session.responder else { continue };
            let key = &responder.intro_key;
            let Some(first) = protection::first(packet, key) else { return };
            if ConnectionId(u64::from_be_bytes(first)) != session.ids.initiator {
                continue;
            }
            if is_long(packet, key, key, MessageType::Retry, self.config.network_id).is_some() {
                let Ok((header, blocks)) = intro.open(packet, MessageType::Retry) else { return };
                if header.source == session.ids.responder && header.network_id == self.config.network_id {
                    let blocks = blocks.to_vec();
                    self.retried(now, id, &header, &blocks);
                }
                return;
            }
            match &session.state {
                State::AwaitCreated(state) if state.expects(packet) => self.open_created(id, packet.to_vec()),
                // It repeats its SessionCreated: our SessionConfirmed was lost.
                State::Up(_) => self.resend_soon(now, id),
                _ => {}
            }
            return;
        }
        self.stats.dropped += 1;
    }

    /// The first packets of a session that came before its keys.
    pub(super) fn open_early(&mut self, id: ConnId, early: Vec<Vec<u8>>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let State::Up(up) = &mut session.state else { return };
        for mut packet in early {
            if let Ok(opened) = up.opener.open(&mut packet) {
                let (number, immediate_ack, payload) = (opened.number, opened.immediate_ack, opened.payload.to_vec());
                self.events.push_back(Event::Packet { id, number, immediate_ack, payload });
            }
        }
    }

    /// Makes sure that a session has a deadline.
    pub(super) fn set_deadline(&mut self, now: Now, id: ConnId, after: crate::time::Duration) {
        self.timers.set((id, Timer::Deadline), now.mono + after);
    }
}

fn keep_early(early: &mut Vec<Vec<u8>>, packet: &[u8]) {
    if early.len() < limits::EARLY_PACKETS {
        early.push(packet.to_vec());
    }
}
