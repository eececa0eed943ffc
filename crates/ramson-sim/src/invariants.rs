//! What must hold in every world at every time (threats S5). What breaks is written down once, with the seed's time.

use crate::link::NodeId;
use crate::net::Net;
use ramson_wire::data::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Kinds of violations that are told in words; beyond that they only count.
const TOLD: usize = 20;

/// What was seen to break.
#[derive(Default)]
pub(crate) struct Invariants {
    broken: BTreeSet<String>,
}

impl Invariants {
    /// A tunnel of a router: as long as was asked for, no router twice, not the router itself, and outside of small
    /// networks no two of one /16.
    pub(crate) fn path(
        &mut self,
        net: &Net,
        by_hash: &BTreeMap<Hash, NodeId>,
        owner: NodeId,
        hops: &[Hash],
        length: usize,
    ) {
        if hops.len() < length {
            self.broken(net, owner, &format!("a tunnel has {} hops, and {length} are asked for", hops.len()));
        }
        let distinct: BTreeSet<&Hash> = hops.iter().collect();
        if distinct.len() != hops.len() {
            self.broken(net, owner, "a tunnel holds one router twice");
        }
        if hops.contains(&net.hash(owner)) {
            self.broken(net, owner, "a tunnel holds its owner");
        }
        if net.is_small(owner) {
            return;
        }
        let nodes = hops.iter().filter_map(|hash| by_hash.get(hash));
        let subnets: Vec<[u8; 2]> = nodes.filter_map(|node| subnet(net.address_of(*node).ip())).collect();
        if subnets.iter().collect::<BTreeSet<_>>().len() != subnets.len() {
            self.broken(net, owner, "two hops of a tunnel are of one /16");
        }
    }

    /// The machines of a router: it has had no fault, and (what panics where it does not hold) its books are right.
    pub(crate) fn router(&mut self, net: &Net, id: NodeId) {
        let faults = net.snapshot(id).faults;
        if faults > 0 {
            self.broken(net, id, &format!("{faults} faults"));
        }
        net.router(id).check();
    }

    fn broken(&mut self, net: &Net, id: NodeId, what: &str) {
        if self.broken.len() < TOLD {
            let minute = net.now().as_micros() / 60_000_000;
            self.broken.insert(format!("node {} in minute {minute}: {what}", id.0));
        }
    }

    pub(crate) fn take(self) -> Vec<String> {
        self.broken.into_iter().collect()
    }
}

fn subnet(ip: IpAddr) -> Option<[u8; 2]> {
    let IpAddr::V4(ip) = ip else { return None };
    ip.octets().first_chunk::<2>().copied()
}
