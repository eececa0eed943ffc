//! What we do when our own address has changed: behind a translator nothing tells us. Peers go on sending to where we
//! were until a packet of ours comes from where we are, and prove that path then.
//! <https://geti2p.net/spec/ssu2#connection-migration>
//!
//! Two signs make us send one that wants an answer. A flow of packets that stops: its session asks. And a challenge with
//! an address, which a peer sends when our packets have come to it from elsewhere: all other sessions ask.

use super::super::connection::State;
use super::super::{ConnId, Links};
use crate::time::{Duration, Instant, Now};
use ramson_wire::ssu2::Block;

/// So many packets, one soon after the other, are a flow.
const FLOW: u32 = 16;
/// A flow that is silent for so long has stopped.
const SILENCE: Duration = Duration::from_secs(1);
/// From one time that a peer's word makes all sessions ask to the next: it costs a packet to each.
const BETWEEN: Duration = Duration::from_secs(10);

/// What comes over a session, as far as it tells of the way here.
#[derive(Default)]
pub(super) struct Flow {
    packets: u32,
    last: Instant,
    /// When to look whether it has stopped.
    pub(super) look: Option<Instant>,
}

impl Flow {
    pub(super) fn heard(&mut self, now: Instant) {
        self.packets = if now.since(self.last) < SILENCE { self.packets.saturating_add(1) } else { 1 };
        self.last = now;
        if self.packets >= FLOW && self.look.is_none() {
            self.look = Some(now + SILENCE);
        }
    }

    /// Whether it has just stopped.
    pub(super) fn has_stopped(&mut self, now: Instant) -> bool {
        if self.look.is_none_or(|at| now < at) {
            return false;
        }
        let end = self.last + SILENCE;
        self.look = (now < end).then_some(end);
        if self.look.is_none() {
            self.packets = 0;
        }
        self.look.is_none()
    }
}

impl Links {
    /// A peer has seen our packets come from another address, and asks whether we are there. The other peers of this
    /// family do not know yet.
    pub(in super::super) fn we_have_moved(&mut self, now: Now, told_by: ConnId) {
        let Some(v4) = self.conns.get(&told_by).map(|conn| conn.addr.is_ipv4()) else { return };
        let Some(udp) = &mut self.udp else { return };
        if udp.asked_all.is_some_and(|at| now.mono.since(at) < BETWEEN) {
            return;
        }
        udp.asked_all = Some(now.mono);
        let others = |id: &ConnId| *id != told_by && id.is_udp();
        let ids: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(id, conn)| others(id) && conn.addr.is_ipv4() == v4 && matches!(conn.state, State::UdpUp(_)))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.ask(now, id);
        }
    }

    /// Sends the peer something that it answers; it goes again until it does.
    pub(super) fn ask(&mut self, now: Now, id: ConnId) {
        let Some(udp) = &mut self.udp else { return };
        let bytes: [u8; 8] = udp.rng.bytes();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let State::UdpUp(session) = &mut conn.state else { return };
        let mut block = Vec::with_capacity(16);
        Block::encode_path_challenge(&mut block, &bytes);
        // When too many blocks wait, something goes there anyhow.
        session.transfer.send_block(now, block);
        self.dirty.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(100_000 + millis)
    }

    #[test]
    fn a_flow_that_stops_is_noticed_once() {
        let mut flow = Flow::default();
        (0..40).for_each(|n| flow.heard(at(n * 10)));
        assert!(!flow.has_stopped(at(500)) && !flow.has_stopped(at(1_200)), "the last one came 0.8 s ago");
        assert!(flow.has_stopped(at(1_390)));
        assert!(!flow.has_stopped(at(1_400)) && !flow.has_stopped(at(9_000)), "and never again");
        (0..FLOW).for_each(|_| flow.heard(at(10_000)));
        assert!(flow.has_stopped(at(11_000)), "until there was another one");
    }

    #[test]
    fn single_packets_are_no_flow() {
        let mut flow = Flow::default();
        for n in 0..100 {
            flow.heard(at(n * 1_000));
            assert!(!flow.has_stopped(at(n * 1_000 + 999)));
        }
    }
}
