//! What must hold of the plane of tunnels between any two calls.

use super::{Tunnels, limits};
use std::collections::BTreeSet;

impl Tunnels {
    pub(crate) fn check(&self) {
        self.transit.check_books();
        assert!(self.pools.len() <= limits::POOLS + 1);
        // A build lasts three windows; one more may have begun in the last one.
        assert!(self.builds.len() <= 5 * limits::BUILDS_MOST, "{} builds", self.builds.len());
        for build in self.builds.values() {
            assert!(self.pools.contains_key(&build.pool), "a build is of a pool");
            assert!(build.pending.is_none() || build.plan.is_some());
        }
        for (id, own) in &self.tunnels {
            let wanted = self.pools.get(&own.pool).map(|pool| pool.lengths(own.direction));
            let fits = |(least, extra): (usize, usize)| (least..=least + extra).contains(&own.hops.len());
            assert!(wanted.is_some_and(|wanted| fits(wanted) || own.hidden), "as long as was asked for");
            let hops: BTreeSet<_> = own.hops.iter().collect();
            assert!(hops.len() == own.hops.len() && !hops.contains(&self.own), "no router twice");
            assert!(!self.transit.contains(*id), "one id is one tunnel");
        }
        assert!(self.dirty.iter().collect::<BTreeSet<_>>().len() == self.dirty.len());
    }

    /// Own tunnels, their builds, and foreign tunnels.
    #[cfg(any(test, fuzzing))]
    pub(in super::super) fn sizes(&self) -> [usize; 3] {
        [self.tunnels.len(), self.builds.len(), self.transit.len()]
    }

    /// The ids under which own tunnels are known here.
    #[cfg(any(test, fuzzing))]
    pub(in super::super) fn ids(&self) -> Vec<super::TunnelId> {
        self.tunnels.keys().copied().collect()
    }
}
