//! By which tunnel a build reaches its hops, or its reply us.

use super::builds::DIRECTIONS;
use super::{Tunnels, Way};
use crate::limits::tunnel as limits;
use crate::time::{Duration, Now};
use crate::tunnel::own::Own;
use crate::tunnel::{Direction, PoolId, TunnelId};
use std::collections::{BTreeMap, BTreeSet};

/// Failures in a row after which builds of an exploratory direction that has no tunnel begin as the first ones do; and
/// where no tunnel of either direction is known to work: then a build counts as failed after this time.
const FAILURES_BEFORE_DIRECT: u32 = 6;
const FAILURES_WHEN_LOST: u32 = 3;
const LOST_PATIENCE: Duration = Duration::from_secs(3);
/// Builds by one tunnel without an answer, after which others are tried.
const MUTE: usize = 2;

impl Tunnels {
    /// How a build reaches its hops, or its reply us: by a tunnel of the same pool, else by an exploratory one; only
    /// the exploratory pool's own first builds have neither.
    ///
    /// A pool without tunnels of one direction may not be able to test those of the other, and its builds would fail by a
    /// dead one until it ends: after failures, every other one takes another way, and those by which nothing was answered come last.
    /// While tunnels of either direction pass their tests, no failure makes an exploratory build show a hop who builds.
    pub(super) fn way(&mut self, now: Now, pool: PoolId, direction: Direction) -> Option<Way> {
        let other = direction.other();
        let mute = self.mute(now);
        let good = |(id, own): (&TunnelId, &Own)| own.health.is_sound() && !mute.contains(id);
        let has_good = |pool, direction| self.usable(pool, direction).any(good);
        let is_lost = !DIRECTIONS.into_iter().any(|direction| has_good(pool, direction));
        let patience = if is_lost { LOST_PATIENCE } else { limits::BUILD_PATIENCE };
        let builds = self.builds.values().filter(|b| b.pool == pool && b.direction == direction);
        let late = builds.filter(|build| now.mono.since(build.started.mono) >= patience).count();
        let failures = self.pools.get(&pool).map_or(0, |pool| pool.failures(direction));
        let failures = failures.saturating_add(u32::try_from(late).unwrap_or(u32::MAX));
        let is_bare = self.usable(pool, direction).next().is_none();
        let known = match pool {
            PoolId::EXPLORATORY if is_bare && failures >= FAILURES_BEFORE_DIRECT => None,
            PoolId::EXPLORATORY if is_lost && failures >= FAILURES_WHEN_LOST => None,
            PoolId::EXPLORATORY => self.choose_way(pool, other, &mute),
            _ => {
                let mut pools = [pool, PoolId::EXPLORATORY].map(|pool| (!has_good(pool, other), pool));
                if failures > 0 && self.rng.below(2) == 0 {
                    pools.reverse();
                }
                pools.sort_by_key(|(has_none, _)| *has_none);
                let [(_, first), (_, second)] = pools;
                self.choose_way(first, other, &mute).or_else(|| self.choose_way(second, other, &mute))
            }
        };
        match (known, pool, direction) {
            (Some(tunnel), ..) => Some(Way::Tunnel(tunnel)),
            (None, PoolId::EXPLORATORY, Direction::Inbound) => Some(Way::Direct),
            (None, PoolId::EXPLORATORY, Direction::Outbound) => Some(Way::Tunnel(self.reply_door(now))),
            _ => None,
        }
    }

    /// Tunnels that may be dead, whatever their tests have said before: builds went by them that are not answered, and
    /// nothing is known to have passed since.
    pub(super) fn mute(&self, now: Now) -> BTreeSet<TunnelId> {
        let mut unanswered: BTreeMap<TunnelId, usize> = BTreeMap::new();
        for build in self.builds.values() {
            let Way::Tunnel(id) = build.way else { continue };
            let is_late = now.mono.since(build.started.mono) >= limits::BARE_PATIENCE;
            let works = self.tunnels.get(&id).is_some_and(|own| own.health.works_since(build.started.mono));
            if is_late && !works {
                *unanswered.entry(id).or_default() += 1;
            }
        }
        unanswered.into_iter().filter(|(_, builds)| *builds >= MUTE).map(|(id, _)| id).collect()
    }

    /// A usable tunnel, by chance among the best: those that are not mute, those that passed their last test.
    fn choose_way(&mut self, pool: PoolId, direction: Direction, mute: &BTreeSet<TunnelId>) -> Option<TunnelId> {
        let rank = |id: TunnelId, own: &Own| (mute.contains(&id), !own.health.is_sound(), own.health.rtt.is_none());
        let good = self.best(pool, direction, rank);
        self.rng.pick(&good).copied()
    }
}
