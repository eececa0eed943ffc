//! Tunnels that stand and pass their tests, and yet lead nowhere: the router where one ends and the one where the next begins
//! may not reach each other. No test takes that way. Who has several tunnels with different ends leaves one for another; a
//! direction whose tunnels all have one far end needs another one.

use super::super::{Direction, PoolId};
use super::Tunnels;
use super::builds::DIRECTIONS;
use crate::limits::tunnel as limits;
use crate::time::Now;
use ramson_wire::data::Hash;
use std::collections::BTreeSet;
use tracing::debug;

impl Tunnels {
    /// What was sent to somebody has arrived nowhere by so many paths in a row, although the peer's tunnels are said to stand. A
    /// direction with few far ends gets a tunnel with another one, in the place of its oldest, which lives on to its end.
    ///
    /// A peer that never answers can bring this about: so each pause is longer than the one before, and few ends suffice.
    pub fn widen(&mut self, now: Now, id: PoolId, failures: u32) {
        self.now = now;
        let wanted = usize::try_from(failures / limits::BARREN_PATHS).unwrap_or(usize::MAX).saturating_add(1);
        let wanted = wanted.min(limits::FAR_ENDS);
        for direction in DIRECTIONS {
            let ends: BTreeSet<Hash> = self.usable(id, direction).filter_map(|(_, own)| own.far_end()).collect();
            if ends.is_empty() || ends.len() >= wanted {
                continue;
            }
            let kept = self.usable(id, direction).filter(|(_, own)| !own.health.is_aside);
            let oldest = kept.min_by_key(|(_, own)| own.health.expires).map(|(tunnel, _)| *tunnel);
            let Some(own) = oldest.and_then(|tunnel| self.tunnels.get_mut(&tunnel)) else { continue };
            if self.pools.get_mut(&id).is_some_and(|pool| pool.may_widen(direction, now.mono)) {
                debug!(pool = id.0, ?direction, failures, "another far end is wanted");
                own.health.is_aside = true;
                self.tick = self.tick.min(now.mono);
            }
        }
    }

    /// Far ends that the next tunnel should not have: those of a direction in which one was set aside.
    pub(super) fn barren_ends(&self, id: PoolId, direction: Direction) -> Vec<Hash> {
        let all: Vec<_> = self.usable(id, direction).collect();
        if !all.iter().any(|(_, own)| own.health.is_aside) {
            return Vec::new();
        }
        all.into_iter().filter_map(|(_, own)| own.far_end()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
