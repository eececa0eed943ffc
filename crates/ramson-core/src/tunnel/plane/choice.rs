//! Which of the own tunnels of a pool carries what leaves: one by chance, among those that do well.

use super::super::own::Own;
use super::super::{Direction, PoolId, TunnelId};
use super::Tunnels;
use crate::time::Duration;
use ramson_wire::data::Hash;

/// A tunnel is slow when its test takes so many times as long as that of the one in the middle.
const SLOW: u32 = 2;
/// What a test may take longer without a meaning: on short ways it is the machine's own delay.
const SLACK: Duration = Duration::from_millis(30);

impl Tunnels {
    /// An outbound tunnel, of those whose last hop can reach what it shall deliver to if there are any, and not `not`
    /// while another one is as good.
    pub fn choose_outbound(
        &mut self,
        pool: PoolId,
        not: Option<TunnelId>,
        reaches: impl Fn(&Hash) -> bool,
    ) -> Option<TunnelId> {
        let own_hash = self.own;
        self.choose_where(pool, Direction::Outbound, not, |own| reaches(own.hops.last().unwrap_or(&own_hash)))
    }

    pub(super) fn usable(&self, pool: PoolId, direction: Direction) -> impl Iterator<Item = (&TunnelId, &Own)> {
        let now = self.now.mono;
        let fits = move |own: &Own| own.pool == pool && own.direction == direction && !own.hidden;
        self.tunnels.iter().filter(move |(_, own)| fits(own) && own.health.is_usable(now))
    }

    /// A usable tunnel, by chance among those that passed their last test, else among those that did not just fail one.
    pub(super) fn choose(&mut self, pool: PoolId, direction: Direction) -> Option<TunnelId> {
        self.choose_where(pool, direction, None, |_| true)
    }

    /// The same, among those that `fits` if there are any, without those that are slow beside the others.
    fn choose_where(
        &mut self,
        pool: PoolId,
        direction: Direction,
        not: Option<TunnelId>,
        fits: impl Fn(&Own) -> bool,
    ) -> Option<TunnelId> {
        let rank =
            |id: TunnelId, own: &Own| (!fits(own), own.health.failures > 0, not == Some(id), own.health.rtt.is_none());
        let good = self.best(pool, direction, rank);
        let most = slow_from(self.usable(pool, direction).filter_map(|(_, own)| own.health.rtt).collect());
        let is_quick =
            |id: &&TunnelId| self.tunnels.get(*id).and_then(|own| own.health.rtt).is_none_or(|rtt| rtt <= most);
        let quick: Vec<TunnelId> = good.iter().filter(is_quick).copied().collect();
        self.rng.pick(if quick.is_empty() { &good } else { &quick }).copied()
    }

    /// The usable tunnels that have the lowest rank.
    pub(super) fn best<R: Ord>(
        &self,
        pool: PoolId,
        direction: Direction,
        rank: impl Fn(TunnelId, &Own) -> R,
    ) -> Vec<TunnelId> {
        let all: Vec<_> = self.usable(pool, direction).map(|(id, own)| (rank(*id, own), *id)).collect();
        let best = all.iter().map(|(rank, _)| rank).min();
        all.iter().filter(|(rank, _)| Some(rank) == best).map(|(_, id)| *id).collect()
    }

    /// Says how long the tests of an own tunnel take.
    #[cfg(test)]
    pub(in super::super) fn set_test_time(&mut self, tunnel: TunnelId, time: Duration) {
        self.tunnels.get_mut(&tunnel).unwrap().health.rtt = Some(time);
    }
}

/// Tests that take longer than this are slow beside the others. The measure is the one in the middle, the slower one of
/// two: hops that are quicker than all others draw no more than their part.
fn slow_from(mut tests: Vec<Duration>) -> Duration {
    tests.sort_unstable();
    tests.get(tests.len() / 2).map_or(Duration::MAX, |middle| *middle * SLOW + SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_what_takes_long_beside_the_one_in_the_middle() {
        let slow = |tests: &[u64]| {
            let most = slow_from(tests.iter().map(|ms| Duration::from_millis(*ms)).collect());
            tests.iter().filter(|ms| Duration::from_millis(**ms) > most).count()
        };
        assert_eq!(slow_from(vec![]), Duration::MAX);
        assert_eq!(slow(&[5_000]), 0, "the only one");
        assert_eq!(slow(&[100, 5_000]), 0, "of two none: a quick hop would draw everything");
        assert_eq!(slow(&[100, 120, 400]), 1);
        assert_eq!(slow(&[10, 300, 400]), 0, "those are usual, and one is quick");
        assert_eq!(slow(&[1, 2, 31]), 0, "nothing is slow within the slack");
        assert_eq!(slow(&[100, 100, 100, 900, 900]), 2);
    }
}
