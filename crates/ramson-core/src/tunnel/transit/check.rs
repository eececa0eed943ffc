//! What must hold of foreign tunnels between any two calls.

use super::{Transit, Work, limits};
use std::collections::{BTreeMap, BTreeSet};

impl Transit {
    pub(in super::super) fn check_books(&self) {
        assert!(self.table.len() <= self.most());
        self.gate.check();
        let ids: BTreeSet<_> = self.expiry.iter().map(|(_, id)| *id).filter(|id| self.table.contains_key(id)).collect();
        assert_eq!(ids.len(), self.table.len(), "every tunnel has its end");
        let (mut peers, mut ivs, mut partial, mut granted, mut idle) = (BTreeMap::<_, usize>::new(), 0, 0, 0, 0);
        for entry in ids.iter().filter_map(|id| self.table.get(id)) {
            *peers.entry(entry.previous).or_default() += 1;
            ivs += entry.seen.len();
            idle += usize::from(!entry.is_used);
            granted += entry.granted.as_ref().map_or(0, |grant| grant.counted());
            if let Work::Endpoint { endpoint, .. } = &entry.work {
                assert!(endpoint.bytes() <= limits::PARTIAL_BYTES);
                partial += endpoint.bytes();
            }
        }
        assert!(peers.values().all(|count| *count <= self.most_per_peer()) && granted == self.grants.granted());
        assert_eq!((&peers, ivs, partial), (&self.per_peer, self.ivs, self.partial_bytes), "the books are right");
        assert!(self.carriers.len() <= limits::CARRIERS);
        assert!(idle == self.idle && self.unused.len() <= self.expiry.len(), "what nobody uses is counted");
        assert!(partial <= limits::PARTIAL_BYTES_TRANSIT);
        assert!(self.delivered.is_empty() && self.dirty.iter().collect::<BTreeSet<_>>().len() == self.dirty.len());
    }
}
