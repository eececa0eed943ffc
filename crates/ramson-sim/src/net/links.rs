//! What lies between nodes, and how it is cut and healed.

use super::{Due, Net};
use crate::geo;
use crate::link::{Link, NodeId, Wire};

impl Net {
    /// Sets what lies between two nodes. What is under way is not changed.
    pub fn set_link(&mut self, a: NodeId, b: NodeId, link: Link) {
        self.links.insert(ordered(a, b), link);
    }

    /// Cuts two nodes off from each other: dials hang, and what is sent arrives when [`Net::heal`] is called.
    pub fn partition(&mut self, a: NodeId, b: NodeId) {
        self.cut.insert(ordered(a, b));
    }

    /// Cuts a node off from all others.
    pub fn isolate(&mut self, id: NodeId) {
        for other in (0..self.nodes.len()).map(NodeId).filter(|other| *other != id) {
            self.partition(id, other);
        }
    }

    /// Ends the partition between two nodes.
    pub fn heal(&mut self, a: NodeId, b: NodeId) {
        if !self.cut.remove(&ordered(a, b)) {
            return;
        }
        let mut arrivals = Vec::new();
        for (id, wire) in self.wires.iter_mut().filter(|(_, wire)| wire.joins(a, b)) {
            for (at, side) in wire.sides.iter_mut().enumerate() {
                arrivals.extend(std::iter::repeat_n((*id, at), std::mem::take(&mut side.stalled)));
            }
        }
        for (wire, side) in arrivals {
            self.schedule(self.now, Due::Arrival(wire, side));
        }
    }

    pub(super) fn link(&self, a: NodeId, b: NodeId) -> Link {
        if let Some(link) = self.links.get(&ordered(a, b)) {
            return *link;
        }
        match (self.nodes[a.0].place.region, self.nodes[b.0].place.region) {
            (Some(x), Some(y)) => geo::link(x, y, self.settings.link),
            _ => self.settings.link,
        }
    }

    pub(super) fn is_cut(&self, wire: &Wire) -> bool {
        self.cut.contains(&ordered(wire.sides[0].node, wire.sides[1].node))
    }
}

pub(super) fn ordered(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}
