//! Packets of sessions over UDP that go.

use super::super::connection::State;
use super::super::outbox::Outbox;
use super::super::ssu2::endpoint::Endpoint;
use super::super::{ConnId, Event, Links};
use super::{Datagrams, UdpId};
use crate::time::Now;
use ramson_wire::ssu2::RouterInfoBlock;
use std::net::SocketAddr;

/// Datagrams that go to the shell in one piece.
const BATCH: usize = 32;

impl Links {
    /// Seals what waits for the peer of this session, as far as its window, its socket and the bandwidth allow.
    pub(in super::super) fn flush_udp(&mut self, now: Now, id: ConnId, most: usize) {
        let Some(udp) = &mut self.udp else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let State::UdpUp(session) = &mut conn.state else { return };
        if udp.is_blocked(conn.addr.is_ipv4()) {
            return;
        }
        if std::mem::take(&mut session.router_info_due) {
            let mut block = Vec::with_capacity(self.router_info.len() + 8);
            RouterInfoBlock { flood: false, gzip: false, data: &self.router_info }.encode(&mut block);
            // One that is too long goes with the next handshake; others have it from the floodfills.
            session.transfer.send_block(now, block);
        }
        let mut nothing = Outbox::default();
        let peer = conn.peer.and_then(|hash| self.peers.get_mut(&hash)).filter(|peer| peer.current == Some(id));
        let outbox = peer.map_or(&mut nothing, |peer| &mut peer.outbox);
        let mut packet = std::mem::take(&mut udp.packet);
        let mut batches: Vec<(SocketAddr, usize, Vec<u8>)> = Vec::new();
        let mut sent = 0;
        while sent < most {
            Endpoint::begin(&mut packet);
            let transmit = session.transfer.poll_transmit(now, outbox, &mut self.totals, &mut packet);
            let Some(transmit) = transmit else { break };
            let to = udp.endpoint.seal(id, transmit.number, transmit.immediate_ack, &mut packet);
            let Some(to) = to else { break };
            sent += packet.len();
            match batches.last_mut() {
                Some((_, segment, bytes))
                    if bytes.len() % *segment == 0 && packet.len() <= *segment && bytes.len() < *segment * BATCH =>
                {
                    bytes.extend_from_slice(&packet);
                }
                _ => batches.push((to, packet.len(), packet.clone())),
            }
        }
        udp.packet = packet;
        if sent > 0 {
            conn.last_activity = now.mono;
        }
        for (to, segment, bytes) in batches {
            self.send_datagrams(to, segment, bytes);
        }
        self.set_udp_timer(now, id);
    }

    pub(super) fn send_datagrams(&mut self, to: SocketAddr, segment: usize, bytes: Vec<u8>) {
        let Some(at) = self.udp.as_ref().and_then(|udp| udp.socket_of(to.is_ipv4())) else { return };
        let Ok(socket) = u8::try_from(at) else { return };
        self.stats.sent_bytes += bytes.len() as u64;
        if let Some(throttle) = &mut self.outgoing {
            throttle.spend(throttle.at(), bytes.len());
        }
        self.events.push_back(Event::Udp(Datagrams { socket: UdpId(socket), to, from: None, segment, bytes }));
    }

    /// Blocks of the endpoint: to the session's address with what goes there, to another one in a packet of their own.
    pub(super) fn control(&mut self, now: Now, id: ConnId, to: Option<SocketAddr>, blocks: Vec<u8>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let State::UdpUp(session) = &mut conn.state else { return };
        let Some(to) = to else {
            // When too many wait, it is left out: who asked asks again.
            session.transfer.send_block(now, blocks);
            self.dirty.insert(id);
            return;
        };
        let Some(udp) = &mut self.udp else { return };
        let mut packet = Vec::new();
        Endpoint::begin(&mut packet);
        packet.extend_from_slice(&blocks);
        let number = session.transfer.reserve_number();
        if udp.endpoint.seal(id, number, false, &mut packet).is_some() {
            self.send_datagrams(to, packet.len(), packet);
        }
    }
}
