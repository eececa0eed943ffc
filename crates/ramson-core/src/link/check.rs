//! What must hold of the links between any two calls.

use super::address::Origin;
use super::connection::State;
use super::{Links, limits};
use ramson_wire::ntcp2::FRAME_MAX;
use std::collections::BTreeMap;

impl Links {
    pub(crate) fn check(&self) {
        assert!(self.conns.len() <= limits::CONNECTIONS && self.inbound_handshakes <= limits::INBOUND_HANDSHAKES);
        assert_eq!(self.timers.len(), self.conns.len(), "every connection has a deadline");
        let mut origins = BTreeMap::<Origin, usize>::new();
        let mut handshakes = 0;
        for (id, conn) in &self.conns {
            assert!(self.timers.get(id).is_some() && conn.inbound == id.is_inbound());
            if conn.inbound && !id.is_udp() {
                *origins.entry(Origin::from(conn.addr.ip())).or_default() += 1;
                handshakes += usize::from(!conn.is_up());
            }
            self.check_connection(*id);
        }
        assert_eq!((&origins, handshakes), (&self.inbound_of, self.inbound_handshakes), "the books are right");
        assert!(origins.values().all(|count| *count <= limits::INBOUND_PER_ADDRESS));
        assert!(self.skew_answers.len() <= 1_000);
        if let Some(udp) = &self.udp {
            udp.relay_check();
        }
        let stalled: Vec<_> = self.conns.iter().filter(|(_, conn)| conn.stalled).map(|(id, _)| *id).collect();
        let mut waiting: Vec<_> = self.stalled.iter().copied().collect();
        waiting.sort_unstable();
        assert_eq!(stalled, waiting, "who waits for bandwidth waits once");
        let mut of: Vec<_> = self.conns.values().filter_map(|conn| conn.peer).collect();
        of.sort_unstable();
        of.dedup();
        assert!(self.peers.len() <= of.len(), "nothing is kept for a peer without a connection");
    }

    fn check_connection(&self, id: super::ConnId) {
        let Some(conn) = self.conns.get(&id) else { return };
        assert!(conn.received.len() <= limits::HANDSHAKE_BUFFER, "what is not used yet is bounded");
        assert!(conn.ahead <= conn.room + limits::WRITE_AHEAD + FRAME_MAX, "{} of {} ahead", conn.ahead, conn.room);
        match &conn.state {
            State::Silent => assert!(conn.received.is_empty() && conn.inbound),
            State::Up(session) => {
                assert!(conn.received.is_empty(), "what came early is the session's");
                assert!(session.opener.held() <= FRAME_MAX, "one unfinished frame is kept");
            }
            _ => assert!(conn.inbound || conn.peer.is_some(), "who is dialled is known"),
        }
        let Some(peer) = conn.peer.filter(|_| !conn.inbound || conn.is_up()) else { return };
        let peer = self.peers.get(&peer);
        assert!(peer.is_some(), "a peer with a connection is known");
        let Some(peer) = peer else { return };
        assert!(peer.outbox.bytes() <= limits::OUTBOX_BYTES);
        if let Some(current) = peer.current {
            let up = self.conns.get(&current).is_some_and(|current| current.is_up() && current.peer == conn.peer);
            assert!(up, "messages go by a session with their peer");
        }
        if let Some(dialling) = peer.dialling {
            assert!(self.conns.get(&dialling).is_some_and(|dialled| !dialled.is_up() && !dialled.inbound));
        }
        assert!(conn.is_up() <= peer.current.is_some() && (conn.is_up() || peer.dialling == Some(id)));
    }
}
