//! Dials, writes and arrivals: what the nodes' connections do to each other.

use super::{DIAL_HANGS, Due, Net, OVERDRAFT, ROOM};
use crate::link::NodeId;
use crate::link::{Parcel, Wire, WireId, time_of};
use crate::trace::What;
use ramson_core::link::ConnId;
use ramson_core::router::Input;
use ramson_core::time::{Duration, Instant};
use std::net::SocketAddr;

impl Net {
    pub(super) fn open(&mut self, id: NodeId, conn: ConnId, addr: SocketAddr) {
        self.note(What::Open, id, [conn.0, u64::from(addr.port())], addr.ip().to_string().as_bytes());
        assert!(!conn.is_inbound(), "{id:?} dials by a name of accepted connections");
        let to = self.by_addr.get(&addr).copied();
        // Nobody has that address: the network says so after the usual delay.
        let other = to.unwrap_or(id);
        let link = self.link(id, other);
        let wire = self.next_wire;
        self.next_wire += 1;
        let known = self.nodes[id.0].conns.insert(conn, (wire, 0));
        assert!(known.is_none(), "{id:?} opens {conn:?} twice");
        self.wires.insert(wire, Wire::new(id, conn, other));
        let refused = to.is_none() || self.rng.unit() < link.refused;
        let (at, due) = match refused {
            true => (self.now + link.delay * 2, Due::Refused(wire)),
            false => (self.now + link.delay + link.repetitions(1, &mut self.rng), Due::Dialled(wire)),
        };
        self.schedule(at, due);
    }

    /// A dial arrives.
    pub(super) fn dialled(&mut self, id: WireId) {
        let Some(wire) = self.wires.get(&id) else { return };
        let (from, to) = (wire.sides[0].node, wire.sides[1].node);
        let link = self.link(from, to);
        // A firewall says nothing, like a network that is cut.
        if self.is_cut(wire) || self.nodes[to.0].place.firewalled {
            self.schedule(self.now + DIAL_HANGS, Due::Refused(id));
            return;
        }
        if !self.nodes[to.0].is_up() {
            self.schedule(self.now + link.delay, Due::Refused(id));
            return;
        }
        let node = &mut self.nodes[to.0];
        let conn = ConnId(ConnId::INBOUND | node.next_inbound);
        node.next_inbound += 1;
        node.conns.insert(conn, (id, 1));
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.sides[1].conn = Some(conn);
        }
        self.send_parcel(id, 0, self.now, Parcel::Opened);
        let port = 20_000 + u16::try_from(id % 40_000).unwrap_or(0);
        let addr = SocketAddr::new(self.nodes[from.0].addr.ip(), port);
        self.note(What::Accepted, to, [conn.0, u64::from(port)], &[]);
        self.feed(to, Input::TcpAccepted { conn, addr, room: ROOM });
    }

    pub(super) fn write(&mut self, id: NodeId, conn: ConnId, bytes: Vec<u8>) {
        self.note(What::Write, id, [conn.0, 0], &bytes);
        let place = self.nodes[id.0].conns.get(&conn).copied();
        assert!(place.is_some(), "{id:?} writes to {conn:?}, which is closed");
        let Some((wire_id, at)) = place else { return };
        let Some(wire) = self.wires.get(&wire_id) else { return };
        let link = self.link(wire.sides[0].node, wire.sides[1].node);
        let Some(side) = self.wires.get_mut(&wire_id).map(|wire| &mut wire.sides[at]) else { return };
        side.unsent += bytes.len();
        assert!(side.unsent <= ROOM + OVERDRAFT, "{id:?} writes {} bytes ahead of {conn:?}", side.unsent);
        // The line takes what all connections write in turn; a connection has its own rate beside.
        let node = &mut self.nodes[id.0];
        node.sent_bytes += bytes.len() as u64;
        node.up_free = node.up_free.max(self.now) + time_of(bytes.len(), node.place.access.up);
        side.free = (side.free.max(self.now) + link.duration_of(bytes.len())).max(node.up_free);
        let left = side.free;
        self.schedule(left, Due::Left(wire_id, at, bytes.len()));
        self.send_parcel(wire_id, 1 - at, left, Parcel::Bytes(bytes));
    }

    /// Sends something towards a side; it leaves at `left`.
    fn send_parcel(&mut self, id: WireId, to: usize, left: Instant, parcel: Parcel) {
        let Some(wire) = self.wires.get(&id) else { return };
        let link = self.link(wire.sides[0].node, wire.sides[1].node);
        let jitter = self.rng.between(Duration::ZERO, link.jitter);
        let length = if let Parcel::Bytes(bytes) = &parcel { bytes.len() } else { 0 };
        let lost = link.repetitions(link.packets(length), &mut self.rng);
        let Some(side) = self.wires.get_mut(&id).map(|wire| &mut wire.sides[to]) else { return };
        let node = &mut self.nodes[side.node.0];
        let down = time_of(length, node.place.access.down);
        let at = (left + link.delay + jitter + lost).max(node.down_free) + down;
        if down > Duration::ZERO {
            // What is repeated does not hold up the line for others.
            node.down_free = node.down_free.max(left + link.delay) + down;
        }
        side.last_arrival = side.last_arrival.max(at);
        side.incoming.push_back(parcel);
        let at = side.last_arrival;
        self.schedule(at, Due::Arrival(id, to));
    }

    /// A node closes its side: what it wrote arrives, and then the end.
    pub(super) fn close(&mut self, id: NodeId, conn: ConnId) {
        let Some((wire_id, at)) = self.nodes[id.0].conns.remove(&conn) else { return };
        let Some(side) = self.wires.get_mut(&wire_id).map(|wire| &mut wire.sides[at]) else { return };
        side.conn = None;
        let left = side.free.max(self.now);
        self.send_parcel(wire_id, 1 - at, left, Parcel::Closed);
    }

    /// Something arrives at a side.
    pub(super) fn arrival(&mut self, id: WireId, at: usize) {
        let Some(wire) = self.wires.get(&id) else { return };
        let cut = self.is_cut(wire);
        let Some(wire) = self.wires.get_mut(&id) else { return };
        let side = &mut wire.sides[at];
        if cut {
            side.stalled += 1;
            return;
        }
        let Some(parcel) = side.incoming.pop_front() else { return };
        let (node, conn) = (side.node, side.conn);
        match (parcel, conn) {
            (Parcel::Closed, _) => {
                if let Some(wire) = self.wires.remove(&id) {
                    self.closed(&wire, at);
                }
            }
            (Parcel::Opened, Some(conn)) => {
                self.note(What::Opened, node, [conn.0, 0], &[]);
                self.feed(node, Input::TcpOpened { conn, room: ROOM });
            }
            (Parcel::Bytes(bytes), Some(conn)) => {
                self.note(What::Data, node, [conn.0, 0], &bytes);
                let more = self.settings.gather;
                self.feed(node, Input::TcpData { conn, bytes: &bytes, more });
                if more {
                    self.feed(node, Input::Timeout);
                }
            }
            (_, None) => {}
        }
    }

    /// The connection has ended: the side is told unless it ended it itself.
    pub(super) fn closed(&mut self, wire: &Wire, at: usize) {
        let (id, Some(conn)) = (wire.sides[at].node, wire.sides[at].conn) else { return };
        self.nodes[id.0].conns.remove(&conn);
        self.note(What::Closed, id, [conn.0, 0], &[]);
        self.feed(id, Input::TcpClosed { conn });
    }
}
