//! What goes over UDP beside sessions, and blocks in sessions that are not the links' own: for peer tests.

use super::super::connection::State;
use super::super::ssu2::outside::{self, IntroKey};
use super::super::{ConnId, Event, Links};
use crate::limits::link as limits;
use crate::link::address::Origin;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use ramson_wire::ssu2::{ConnectionId, MessageType};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A translator that knows a host may let it in for so long after the last datagram to it. They differ widely.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);

/// Hosts that we had sessions with, or dialled, and when last.
#[derive(Default)]
pub(in super::super) struct Spoken(BTreeMap<Origin, Instant>);

impl Spoken {
    fn note(&mut self, now: Now, ip: IpAddr) {
        if self.0.len() >= limits::SPOKEN_TO {
            self.0.retain(|_, at| now.mono.since(*at) < REMEMBERED);
        }
        if self.0.len() >= limits::SPOKEN_TO
            && let Some(oldest) = self.0.iter().min_by_key(|(_, at)| **at).map(|(origin, _)| *origin)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(ip.into(), now.mono);
    }

    fn knows(&self, now: Now, ip: IpAddr) -> bool {
        self.0.get(&ip.into()).is_some_and(|at| now.mono.since(*at) < REMEMBERED)
    }
}

/// A session over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UdpPeer {
    pub(crate) hash: Hash,
    pub(crate) addr: SocketAddr,
}

impl Links {
    /// Sends blocks to a peer in its session over UDP, each once there is room for it. False when there is no such session,
    /// and when one is too long or too many wait; those before it go.
    pub(crate) fn send_blocks(&mut self, now: Now, to: &Hash, blocks: Vec<Vec<u8>>) -> bool {
        let Some(id) = self.peers.get(to).and_then(|peer| peer.current) else { return false };
        let Some(State::UdpUp(session)) = self.conns.get_mut(&id).map(|conn| &mut conn.state) else { return false };
        self.dirty.insert(id);
        blocks.into_iter().all(|block| session.transfer.send_block(now, block))
    }

    /// The longest block that [`Links::send_blocks`] takes.
    pub(crate) const BLOCK_ROOM: usize = super::super::ssu2::transfer::Transfer::BLOCK_ROOM;

    /// Sends blocks outside of all sessions, under this introduction key.
    pub(crate) fn send_outside(
        &mut self,
        now: Now,
        to: SocketAddr,
        key: [u8; 32],
        kind: MessageType,
        ids: (ConnectionId, ConnectionId),
        blocks: &[u8],
    ) {
        let network = self.config.network_id;
        let Some(udp) = self.udp.as_mut().filter(|_| self.config.addresses.allows(&to)) else { return };
        udp.spoken.note(now, to.ip());
        if let Some(packet) = outside::message(&IntroKey::new(key), kind, ids, network, blocks, &mut udp.rng) {
            self.send_datagrams(to, packet.len(), packet);
        }
    }

    /// Where the session over UDP that messages to this peer go by has its other end.
    pub(crate) fn udp_address(&self, peer: &Hash) -> Option<SocketAddr> {
        let id = self.peers.get(peer)?.current.filter(|id| id.is_udp())?;
        self.conns.get(&id).map(|conn| conn.addr)
    }

    /// The peers with a session over UDP, in the order of their sessions.
    pub(crate) fn udp_peers(&self) -> impl Iterator<Item = UdpPeer> {
        let sessions = self.conns.range(ConnId(ConnId::UDP)..).filter(|(id, conn)| id.is_udp() && conn.is_up());
        sessions.filter_map(|(id, conn)| {
            let hash = conn.peer?;
            let current = self.peers.get(&hash)?.current == Some(*id);
            current.then_some(UdpPeer { hash, addr: conn.addr })
        })
    }

    /// Whether a translator in front of us may know this router or host, since we have sent something there of late.
    pub(crate) fn has_spoken_to(&self, now: Now, peer: &Hash, ip: Option<IpAddr>) -> bool {
        let session = self.udp_address(peer).is_some();
        let host = |ip: IpAddr| {
            let origin = Origin::from(ip);
            let stands = self.conns.range(ConnId(ConnId::UDP)..);
            stands.filter(|(id, _)| id.is_udp()).any(|(_, conn)| Origin::from(conn.addr.ip()) == origin)
                || self.udp.as_ref().is_some_and(|udp| udp.spoken.knows(now, ip))
        };
        session || ip.is_some_and(host)
    }

    pub(super) fn note_spoken_to(&mut self, now: Now, ip: IpAddr) {
        if let Some(udp) = &mut self.udp {
            udp.spoken.note(now, ip);
        }
    }

    /// A peer says, in its session or its handshake, where it sees us.
    pub(super) fn seen_at(&mut self, id: ConnId, seen: SocketAddr) {
        let Some(conn) = self.conns.get(&id) else { return };
        // Who dials us may choose what to tell us; whom we dial, we have chosen (threats T66).
        if !conn.inbound && seen.is_ipv4() == conn.addr.is_ipv4() {
            self.events.push_back(Event::SeenAt { by: conn.addr.ip(), seen });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_remembered_for_a_while_and_bounded() {
        let mut spoken = Spoken::default();
        let at = |ms| Now::new(Instant::ZERO + Duration::from_millis(ms), 0);
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        spoken.note(at(0), ip(1));
        assert!(spoken.knows(at(1), ip(1)) && !spoken.knows(at(1), ip(2)));
        assert!(!spoken.knows(at(600_000), ip(1)));
        for n in 0..10_000 {
            spoken.note(at(u64::from(n)), ip(n));
        }
        assert_eq!(spoken.0.len(), limits::SPOKEN_TO);
        assert!(spoken.knows(at(10_000), ip(9_999)) && !spoken.knows(at(10_000), ip(1)));
        let host: IpAddr = "2a00:1:2:3::4".parse().unwrap();
        spoken.note(at(10_000), host);
        assert!(spoken.knows(at(10_001), "2a00:1:2:3::ffff".parse().unwrap()), "one /64 is one host");
    }
}
