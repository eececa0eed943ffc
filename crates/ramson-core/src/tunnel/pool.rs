//! What a pool wants, and how many builds it may start.

use super::build::Direction;
use crate::limits::tunnel as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// The name of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

impl PoolId {
    /// The router's own pool: for the network database, tests and the first builds of others.
    pub const EXPLORATORY: Self = Self(0);
}

/// Wanted tunnels of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Hops; 0 to 7. Tunnels are never shorter than this.
    pub length: usize,
    /// Tunnels at once; 0 to 16.
    pub quantity: usize,
}

/// Wanted tunnels of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    pub inbound: Wanted,
    pub outbound: Wanted,
}

/// Why a pool cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// Length or quantity beyond the limits.
    #[error("tunnels have at most 7 hops, and a pool at most 16 in each direction")]
    TooLarge,
    /// A pool of this name exists.
    #[error("the pool exists")]
    Exists,
    /// There is no pool of this name.
    #[error("there is no such pool")]
    Missing,
    /// There are as many pools as the router serves.
    #[error("too many pools")]
    TooMany,
}

/// A pool of own tunnels.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) config: PoolConfig,
    /// Hops that a tunnel may have beyond those, inbound and outbound; how many it has is drawn for each.
    pub(super) extra: (usize, usize),
    /// The most hops of a tunnel that were ever wanted, inbound and outbound: those of before live on.
    pub(super) longest: (usize, usize),
    /// Orders the hops of its tunnels; never leaves the router.
    pub(super) order: (u64, u64),
    inbound: Side,
    outbound: Side,
    /// Far ends that were wanted besides, inbound and outbound.
    widened: [Widened; 2],
}

/// When another far end was wanted last, and how often of late.
#[derive(Clone, Copy, Debug, Default)]
struct Widened {
    last: Option<Instant>,
    times: u32,
}

/// How the builds of one direction went.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Failures in a row.
    failures: u32,
    /// No build before this.
    retry_at: Option<Instant>,
}

impl Pool {
    pub(super) fn new(config: PoolConfig, rng: &mut Rng) -> Result<Self, PoolError> {
        check(config, (0, 0))?;
        Ok(Self {
            config,
            extra: (0, 0),
            longest: (0, 0),
            order: (rng.next_u64(), rng.next_u64()),
            inbound: Side::default(),
            outbound: Side::default(),
            widened: [Widened::default(); 2],
        })
    }

    /// Other tunnels from now on. What failed of the old kind says nothing of the new one.
    pub(super) fn configure(&mut self, config: PoolConfig, extra: (usize, usize)) -> Result<(), PoolError> {
        check(config, extra)?;
        let [inbound, outbound] = [Direction::Inbound, Direction::Outbound].map(|way| self.lengths(way));
        self.longest.0 = self.longest.0.max(inbound.0 + inbound.1);
        self.longest.1 = self.longest.1.max(outbound.0 + outbound.1);
        (self.config, self.extra) = (config, extra);
        (self.inbound, self.outbound) = (Side::default(), Side::default());
        Ok(())
    }

    pub(super) const fn wanted(&self, direction: Direction) -> Wanted {
        match direction {
            Direction::Inbound => self.config.inbound,
            Direction::Outbound => self.config.outbound,
        }
    }

    /// The length of the next tunnel.
    pub(super) fn draw_length(&self, direction: Direction, rng: &mut Rng) -> usize {
        let (least, extra) = self.lengths(direction);
        if extra == 0 { least } else { least + rng.below(extra + 1) }
    }

    /// The least length of a tunnel, and what it may have beyond.
    pub(super) const fn lengths(&self, direction: Direction) -> (usize, usize) {
        match direction {
            Direction::Inbound => (self.config.inbound.length, self.extra.0),
            Direction::Outbound => (self.config.outbound.length, self.extra.1),
        }
    }

    pub(super) const fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }

    /// Builds of this direction that failed since the last success.
    pub(super) const fn failures(&self, direction: Direction) -> u32 {
        match direction {
            Direction::Inbound => self.inbound.failures,
            Direction::Outbound => self.outbound.failures,
        }
    }

    /// Whether a direction may get another far end now: each pause is twice as long as the one before, until tunnels of that
    /// time are over.
    pub(super) fn may_widen(&mut self, direction: Direction, now: Instant) -> bool {
        let [inbound, outbound] = &mut self.widened;
        let widened = if direction == Direction::Inbound { inbound } else { outbound };
        if widened.last.is_some_and(|last| now.since(last) >= limits::LIFETIME) {
            *widened = Widened::default();
        }
        let pause = limits::WIDEN_PAUSE * (1 << widened.times.saturating_sub(1).min(8));
        if widened.last.is_some_and(|last| now.since(last) < pause) {
            return false;
        }
        *widened = Widened { last: Some(now), times: widened.times + 1 };
        true
    }

    /// How many builds to start, with `lasting` tunnels that need no replacement yet, and `awaited` of `in_flight`
    /// builds likely to make one.
    pub(super) fn builds_to_start(
        &mut self,
        direction: Direction,
        now: Instant,
        lasting: usize,
        awaited: usize,
        in_flight: usize,
    ) -> usize {
        let quantity = self.wanted(direction).quantity;
        let side = self.side_mut(direction);
        if lasting >= quantity || side.retry_at.is_some_and(|at| now < at) {
            return 0;
        }
        // Where builds keep failing, a few more are tried at once.
        let spare = if side.failures >= 2 { limits::SPARE_BUILDS } else { 0 };
        let room = (quantity + limits::SPARE_BUILDS).saturating_sub(in_flight);
        (quantity - lasting + spare).saturating_sub(awaited).min(room)
    }
}

fn check(config: PoolConfig, extra: (usize, usize)) -> Result<(), PoolError> {
    for (wanted, extra) in [(config.inbound, extra.0), (config.outbound, extra.1)] {
        if wanted.length.saturating_add(extra) > limits::HOPS || wanted.quantity > limits::QUANTITY {
            return Err(PoolError::TooLarge);
        }
    }
    Ok(())
}

impl Side {
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Something changed: what was not found may be now.
    pub(super) fn wake(&mut self) {
        self.retry_at = None;
    }

    /// A build failed: others follow soon.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// No hops were found: nothing new comes within a moment.
    pub(super) fn starved(&mut self, now: Instant, rng: &mut Rng) {
        self.failed();
        let pause = Duration::from_secs(u64::from(self.failures.min(8)));
        self.retry_at = Some(now + pause + rng.between(Duration::ZERO, Duration::from_secs(1)));
    }
}

/// The builds of the whole router: at most so many in any window, by how many destinations there are.
#[derive(Debug, Default)]
pub(super) struct BuildBudget {
    started: VecDeque<Instant>,
}

impl BuildBudget {
    /// Builds that a router with so many destinations starts in any window.
    pub(super) fn of(destinations: usize) -> usize {
        let more = limits::BUILDS_MORE.saturating_mul(destinations.saturating_sub(1));
        limits::BUILDS.saturating_add(more).min(limits::BUILDS_MOST)
    }

    /// Builds that may start now.
    pub(super) fn left(&mut self, now: Instant, destinations: usize) -> usize {
        while self.started.front().is_some_and(|at| now.since(*at) >= limits::BUILDS_WINDOW) {
            self.started.pop_front();
        }
        Self::of(destinations).saturating_sub(self.started.len())
    }

    /// A build that was started then had no chance: another may start in its place.
    pub(super) fn give_back(&mut self, started: Instant) {
        if let Some(at) = self.started.iter().position(|at| *at == started) {
            self.started.remove(at);
        }
    }

    pub(super) fn take(&mut self, now: Instant, destinations: usize) -> bool {
        let allowed = self.left(now, destinations) > 0;
        if allowed {
            self.started.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_in_every_window() {
        let of = [0, 1, 2, 10, 1_000].map(BuildBudget::of);
        assert_eq!(of, [limits::BUILDS, limits::BUILDS, limits::BUILDS + limits::BUILDS_MORE, 66, limits::BUILDS_MOST]);
        for destinations in [1, 3, 500] {
            let (mut budget, most) = (BuildBudget::default(), BuildBudget::of(destinations));
            let mut taken = Vec::new();
            for ms in (0..60_000).step_by(37) {
                let now = Instant::ZERO + Duration::from_millis(ms);
                if budget.take(now, destinations) {
                    taken.push(now);
                }
            }
            assert!(taken.windows(most + 1).all(|w| w[most].since(w[0]) >= limits::BUILDS_WINDOW));
            assert!(taken.len() >= 5 * most);
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_once_more() {
        let (mut budget, now) = (BuildBudget::default(), Instant::ZERO);
        while budget.take(now, 1) {}
        budget.give_back(now);
        budget.give_back(now + Duration::from_secs(1)); // of no build
        assert_eq!([budget.take(now, 1), budget.take(now, 1)], [true, false]);
    }

    #[test]
    fn a_pool_starts_what_it_lacks_and_no_more() {
        let mut rng = Rng::from_seed([1; 32]);
        let wanted = Wanted { length: 3, quantity: 2 };
        let mut pool = Pool::new(PoolConfig { inbound: wanted, outbound: wanted }, &mut rng).unwrap();
        let (now, side) = (Instant::ZERO, Direction::Inbound);
        assert_eq!(pool.builds_to_start(side, now, 0, 0, 0), 2);
        assert_eq!(pool.builds_to_start(side, now, 1, 1, 1), 0);
        (0..9).for_each(|_| pool.side_mut(side).failed());
        assert_eq!(pool.builds_to_start(side, now, 0, 0, 0), 4, "quantity + 2 at most");
        assert_eq!(pool.builds_to_start(side, now, 2, 0, 0), 0);
        pool.side_mut(side).starved(now, &mut rng);
        assert_eq!(pool.builds_to_start(side, now, 0, 0, 0), 0);
        assert_eq!(pool.builds_to_start(side, now + Duration::from_secs(10), 0, 0, 0), 4);
        assert_eq!(pool.builds_to_start(Direction::Outbound, now, 0, 0, 0), 2, "the other direction is on its own");
        let long = Wanted { length: 8, quantity: 1 };
        assert_eq!(
            Pool::new(PoolConfig { inbound: long, outbound: wanted }, &mut rng).err(),
            Some(PoolError::TooLarge)
        );
    }
}
