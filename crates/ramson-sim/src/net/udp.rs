//! Datagrams between nodes: they are lost, late, doubled and out of order, they have an MTU, and they go through the
//! translators in front of nodes.

use super::links::ordered;
use super::{Due, Net, UdpStats};
use crate::link::{HEADERS_UDP, Link, NodeId, time_of};
use crate::nat::{Nat, NatKind};
use crate::trace::What;
use ramson_core::router::{Datagrams, Input, UdpId};
use ramson_core::time::{Duration, Instant};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What waits for a line at most: a datagram beyond is lost, as in the queue of a home's router.
const QUEUE: Duration = Duration::from_millis(200);

/// The way of datagrams from one node to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lane {
    /// When it has carried what was given to it.
    free: Instant,
    /// When the latest one arrives.
    last: Instant,
}

/// A datagram on its way.
pub(crate) struct Flying {
    from: SocketAddr,
    to: SocketAddr,
    sender: NodeId,
    bytes: Vec<u8>,
}

impl Net {
    /// Puts a node behind a translator of its own, or takes it away. The node's sockets keep their addresses inside.
    pub fn set_nat(&mut self, id: NodeId, kind: Option<NatKind>) {
        if let Some(nat) = self.nodes[id.0].nat.take() {
            self.by_outer.remove(&nat.outer());
        }
        if let Some(kind) = kind {
            let outer = outer_address(id, 0);
            self.by_outer.insert(outer, id);
            self.nodes[id.0].nat = Some(Nat::new(kind, outer));
        }
    }

    /// The translator in front of a node.
    pub fn nat(&self, id: NodeId) -> Option<&Nat> {
        self.nodes[id.0].nat.as_ref()
    }

    /// The translator in front of a node restarts: it forgets all mappings.
    pub fn rebind_nat(&mut self, id: NodeId) {
        if let Some(nat) = &mut self.nodes[id.0].nat {
            nat.rebind();
        }
    }

    /// The translator in front of a node gets another address outside.
    pub fn move_nat(&mut self, id: NodeId, times: u8) {
        let outer = outer_address(id, times);
        let Some(nat) = &mut self.nodes[id.0].nat else { return };
        self.by_outer.remove(&nat.outer());
        nat.move_to(outer);
        self.by_outer.insert(outer, id);
    }

    /// What became of a node's datagrams so far.
    pub fn udp(&self, id: NodeId) -> UdpStats {
        self.nodes[id.0].udp
    }

    /// A node sends.
    pub(super) fn send_udp(&mut self, id: NodeId, datagrams: &Datagrams) {
        let Datagrams { socket, to, segment, bytes, .. } = datagrams;
        self.note(What::UdpSent, id, [u64::from(to.port()), *segment as u64], bytes);
        let Some(inside) = self.socket_of(id, *socket) else {
            return assert!(bytes.is_empty(), "{id:?} sends by {socket:?}, which it has not");
        };
        for datagram in bytes.chunks((*segment).max(1)) {
            let now = self.now;
            let node = &mut self.nodes[id.0];
            node.udp.sent += 1;
            let from = node.nat.as_mut().map_or(inside, |nat| nat.outbound(now, inside, *to));
            self.launch(id, from, *to, datagram);
        }
    }

    /// Where a node's socket is bound, inside.
    fn socket_of(&self, id: NodeId, socket: UdpId) -> Option<SocketAddr> {
        self.nodes[id.0].config.as_ref()?.udp.get(usize::from(socket.0)).copied()
    }

    /// The node that an address leads to, and whether it is that of a translator.
    fn whose(&self, addr: SocketAddr) -> Option<NodeId> {
        let behind = self.by_outer.get(&addr.ip()).copied();
        behind.or_else(|| self.by_udp.get(&addr).copied().filter(|id| self.nodes[id.0].nat.is_none()))
    }

    /// A datagram leaves for the other side.
    fn launch(&mut self, sender: NodeId, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let Some(receiver) = self.whose(to) else {
            self.nodes[sender.0].udp.refused += 1;
            return;
        };
        let link = self.link(sender, receiver);
        if datagram.len() + HEADERS_UDP > usize::from(link.mtu) {
            self.nodes[sender.0].udp.too_long += 1;
            return;
        }
        let length = datagram.len() + HEADERS_UDP;
        let Some(left) = self.leave(sender, receiver, &link, length) else {
            self.nodes[sender.0].udp.lost += 1;
            return;
        };
        let copies = 1 + usize::from(self.rng.unit() < link.duplicated);
        for _ in 0..copies {
            if self.rng.unit() < link.loss {
                self.nodes[sender.0].udp.lost += 1;
                continue;
            }
            let at = left + link.delay + self.rng.between(Duration::ZERO, link.jitter);
            let down = time_of(length, self.nodes[receiver.0].place.access.down);
            let node = &mut self.nodes[receiver.0];
            let at = at.max(if down > Duration::ZERO { node.down_free } else { Instant::ZERO }) + down;
            if at.since(left + link.delay + link.jitter) > QUEUE + down {
                self.nodes[sender.0].udp.lost += 1;
                continue;
            }
            if down > Duration::ZERO {
                node.down_free = at;
            }
            // In its order with the others of this pair, but for those that take another way.
            let overtakes = self.rng.unit() < link.reordered;
            let lane = self.lanes.entry((sender, receiver)).or_default();
            let at = if overtakes { at } else { at.max(lane.last) };
            lane.last = at.max(lane.last);
            let flying = Flying { from, to, sender, bytes: datagram.to_vec() };
            self.schedule(at, Due::Datagram(Box::new(flying)));
        }
    }

    /// When a datagram has left the sender's line, and the way between the two, unless the queue of either is full.
    fn leave(&mut self, sender: NodeId, receiver: NodeId, link: &Link, length: usize) -> Option<Instant> {
        let now = self.now;
        let (up, own) = (time_of(length, self.nodes[sender.0].place.access.up), time_of(length, link.rate));
        let node = &mut self.nodes[sender.0];
        let lane = self.lanes.entry((sender, receiver)).or_default();
        if up > Duration::ZERO && node.up_free.since(now) > QUEUE || lane.free.since(now) > QUEUE {
            return None;
        }
        node.sent_bytes += length as u64;
        let mut left = now;
        if up > Duration::ZERO {
            node.up_free = node.up_free.max(now) + up;
            left = node.up_free;
        }
        lane.free = lane.free.max(now) + own;
        Some(left.max(lane.free))
    }

    /// A datagram has come to the other side.
    pub(super) fn datagram(&mut self, flying: Flying) {
        let Flying { from, to, sender, mut bytes } = flying;
        let now = self.now;
        let refused = |net: &mut Self| net.nodes[sender.0].udp.refused += 1;
        let Some(id) = self.whose(to) else { return refused(self) };
        if self.cut.contains(&ordered(sender, id)) {
            self.nodes[sender.0].udp.lost += 1;
            return;
        }
        let node = &mut self.nodes[id.0];
        let inside = match &mut node.nat {
            Some(nat) => nat.inbound(now, from, to.port()),
            None => Some(to),
        };
        let sockets = node.config.as_ref().map(|config| config.udp.as_slice()).unwrap_or_default();
        let socket = inside.and_then(|inside| sockets.iter().position(|socket| *socket == inside));
        let Some(socket) = socket.and_then(|at| u8::try_from(at).ok()).filter(|_| node.is_up()) else {
            return refused(self);
        };
        node.udp.received += 1;
        self.note(What::Udp, id, [u64::from(from.port()), 0], &bytes);
        #[cfg(test)]
        self.nodes[id.0].datagrams.push((now, from, bytes.clone()));
        let (segment, more) = (bytes.len(), self.settings.gather);
        let input = Input::Udp {
            socket: UdpId(socket),
            from,
            to: inside.map(|inside| inside.ip()),
            segment,
            bytes: &mut bytes,
            congested: false,
            more,
        };
        self.feed(id, input);
        if more {
            self.feed(id, Input::Timeout);
        }
    }
}

/// 172.x.y.z, each translator an address of its own.
fn outer_address(id: NodeId, times: u8) -> IpAddr {
    let byte = |n: usize| u8::try_from(n % 256).unwrap_or(0);
    Ipv4Addr::new(172, byte(id.0 / 250), byte(id.0 % 250 + 1), times).into()
}

#[cfg(test)]
mod tests;
