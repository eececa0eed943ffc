//! Who has the last room in the table of foreign tunnels.
//!
//! A flood of requests fills it with tunnels that nobody uses, and a full router is asked by nobody any more: the honest
//! ones would be left with those who drop everything (threats P-1, P-3). So the oldest tunnel makes room that nothing has
//! ever come by: who builds tunnels to use them tests them soon. Where requests come so fast that there is none of some
//! age, the last part is kept for previous hops with few tunnels, and for those who carried tunnels of ours.

use super::{Transit, limits};
use crate::time::{Duration, Instant};
use ramson_wire::data::Hash;
use ramson_wire::tunnel::TunnelId;
use std::collections::{BTreeSet, VecDeque};

/// Who builds a tunnel to use it has tested it by then.
const UNTESTED: Duration = Duration::from_secs(45);

/// Routers through which tunnels of ours carried: it takes more than asking to be one of them. The oldest makes room.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    all: BTreeSet<Hash>,
    order: VecDeque<Hash>,
}

impl Carriers {
    fn note(&mut self, hop: Hash) {
        if self.all.insert(hop) {
            self.order.push_back(hop);
            if self.order.len() > limits::CARRIERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.all.remove(&oldest);
            }
        }
    }

    #[cfg(any(test, fuzzing, feature = "checks"))]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

impl Transit {
    /// Whether what is left is kept for previous hops with few tunnels: there is little, and nobody uses half of them all.
    pub(super) fn is_flooded(&self) -> bool {
        let len = self.table.len();
        // So few are no matter of shares.
        let small = self.most() < limits::TRANSIT_PER_PEER_LEAST;
        !small && len * 100 >= self.most() * limits::TRANSIT_CROWDED && self.idle * 2 >= len
    }

    /// A tunnel of ours through these hops has passed a test.
    pub(in crate::tunnel) fn note_carried(&mut self, hops: &[Hash]) {
        hops.iter().for_each(|hop| self.carriers.note(*hop));
    }

    /// Whether one more tunnel by this previous hop, which has so many, leaves room for others.
    pub(super) fn leaves_room(&mut self, now: Instant, from: &Hash, own: usize) -> bool {
        if !self.is_flooded() || own < self.fair_share() || self.carriers.all.contains(from) {
            return true;
        }
        let oldest = self.oldest_unused().and_then(|tunnel| self.table.get(&tunnel));
        oldest.is_some_and(|entry| entry.expires + UNTESTED < now + limits::LIFETIME + limits::GRACE)
    }

    /// The oldest tunnel that nobody has used. Each one that is used is looked at once.
    fn oldest_unused(&mut self) -> Option<TunnelId> {
        while let Some(oldest) = self.unused.front().copied() {
            if self.table.get(&oldest).is_some_and(|entry| !entry.is_used) {
                return Some(oldest);
            }
            self.unused.pop_front();
        }
        None
    }

    /// From so many tunnels on a previous hop has not few: half of what each had if all had the same.
    fn fair_share(&self) -> usize {
        self.most().div_ceil(2 * self.per_peer.len().max(1))
    }

    /// In a flood, before the table is full, the oldest unused tunnel goes for each that comes.
    pub(super) fn make_room(&mut self) {
        if !self.is_flooded() || self.table.len() * 100 < self.most() * limits::TRANSIT_SCARCE {
            return;
        }
        if let Some(oldest) = self.oldest_unused() {
            self.unused.pop_front();
            self.remove(oldest);
        }
    }
}
