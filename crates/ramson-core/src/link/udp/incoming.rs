//! Packets of sessions over UDP that come.

use super::super::connection::State;
use super::super::ssu2::transfer::Received;
use super::super::{ConnId, Event, Links, PeerTestMessage};
use crate::time::Now;
use ramson_wire::i2np::Message;
use ramson_wire::ntcp2::TerminationReason;
use ramson_wire::ssu2::{Block, Blocks};
use std::net::SocketAddr;

impl Links {
    /// Datagrams of one sender, opened in place: each has `segment` bytes, the last one perhaps less. `congested` when they
    /// were marked on their way (ECN-CE).
    pub fn handle_udp(&mut self, now: Now, from: SocketAddr, segment: usize, bytes: &mut [u8], congested: bool) {
        self.stats.received_bytes += bytes.len() as u64;
        if let Some(throttle) = &mut self.incoming {
            throttle.spend(now.mono, bytes.len());
        }
        for packet in bytes.chunks_mut(segment.max(1)) {
            let Some(udp) = &mut self.udp else { return };
            if let Some(opened) = udp.endpoint.handle_datagram(now, from, packet) {
                self.working = Some(opened.id);
                let head = Received { number: opened.number, immediate_ack: opened.immediate_ack, congested };
                self.take_packet(now, opened.id, opened.from, head, opened.payload);
                self.working = None;
            }
            self.drain_udp(now);
        }
    }

    fn take_packet(&mut self, now: Now, id: ConnId, from: SocketAddr, head: Received, payload: &[u8]) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (State::UdpUp(session), Some(peer)) = (&mut conn.state, conn.peer) else { return };
        if !session.transfer.accepts(head.number) {
            return;
        }
        conn.last_activity = now.mono;
        session.flow.heard(now.mono);
        // It is not the peer that has moved.
        let stays = conn.addr == from;
        let mut others = Vec::new();
        let result = session.transfer.handle_packet(now, head, payload, &mut self.totals, &mut others);
        while let Some(message) = session.transfer.poll_message() {
            self.events.push_back(Event::Received { from: peer, message });
        }
        self.dirty.insert(id);
        let has = |what: fn(&Block<'_>) -> bool| others.iter().any(what);
        if stays
            && has(|block| matches!(block, Block::PathChallenge(_)))
            && has(|block| matches!(block, Block::Address(_)))
        {
            self.we_have_moved(now, id);
        }
        for block in others {
            self.take_block(now, id, from, &block);
        }
        if result.is_err() {
            self.terminate(now, id, TerminationReason::PAYLOAD_FORMAT_ERROR);
        }
    }

    /// A block that is not the data phase's own.
    fn take_block(&mut self, now: Now, id: ConnId, from: SocketAddr, block: &Block<'_>) {
        let Some(peer) = self.conns.get(&id).and_then(|conn| conn.peer) else { return };
        let Some(udp) = &mut self.udp else { return };
        match block {
            Block::PathChallenge(data) => udp.endpoint.path_challenge(now, id, from, data),
            Block::PathResponse(data) => udp.endpoint.path_response(now, id, data),
            Block::NewToken(token) => udp.endpoint.new_token(now, id, *token),
            Block::Termination(termination) => udp.endpoint.terminated(now, id, termination),
            Block::RouterInfo(info) => {
                if let Ok(bytes) = info.router_info() {
                    let (bytes, flood) = (bytes.into_owned(), info.flood);
                    // It may be of another router, for an introduction or a peer test.
                    self.info_for_relay(now, id, &peer, &bytes);
                    self.events.push_back(Event::RouterInfo { from: peer, bytes, flood });
                }
            }
            Block::PeerTest(test) => {
                let message = Box::new(PeerTestMessage::from(test));
                self.events.push_back(Event::PeerTest { from: peer, addr: from, message });
            }
            Block::Address(seen) => self.seen_at(id, *seen),
            // The clock is learnt from handshakes alone (threats T45).
            other => self.relay_block(now, id, other),
        }
    }

    /// A packet that was opened with the end of its handshake.
    pub(super) fn early_packet(&mut self, now: Now, id: ConnId, number: u32, immediate_ack: bool, payload: &[u8]) {
        let Some(udp) = &self.udp else { return };
        let Some(from) = udp.endpoint.address(id) else { return };
        if number > 0 {
            let head = Received { number, immediate_ack, congested: false };
            return self.take_packet(now, id, from, head, payload);
        }
        // The SessionConfirmed: what stands behind its RouterInfo, and its acknowledgement, which the initiator waits for.
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (State::UdpUp(session), Some(peer)) = (&mut conn.state, conn.peer) else { return };
        session.transfer.handle_confirmed(now);
        self.dirty.insert(id);
        for block in Blocks::new(payload).map_while(Result::ok) {
            match block {
                Block::I2np(bytes) => {
                    if let Ok(message) = Message::decode_short(bytes) {
                        self.events.push_back(Event::Received { from: peer, message });
                    }
                }
                other => self.take_block(now, id, from, &other),
            }
        }
    }
}
