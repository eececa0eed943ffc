//! Whether this router serves as a floodfill.
//! <https://geti2p.net/en/docs/how/network-database#floodfill-router-opt-in>
//!
//! By itself a router becomes one when, for two hours without a break, it was reachable at a published address that the
//! network has confirmed, offered 128 KB/s or more (letters O, P, X), took part in tunnels without being full, and knew
//! [`ALIVE`] routers or more; and when it knows fewer than [`MISSING`] floodfills. It then joins at a moment drawn from
//! the next four hours, so that not all do at once. It leaves when it cannot be reached or offers less, at once; when
//! it was full for ten minutes; and when it knows more than [`PLENTY`] floodfills. Six hours lie between a leave and
//! the next join, and between a join and a leave for the last reason.

use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};

const PROBATION: Duration = Duration::from_hours(2);
const JOIN_WITHIN: Duration = Duration::from_hours(4);
const REST: Duration = Duration::from_hours(6);
const FULL_FOR: Duration = Duration::from_mins(10);
/// Routers that are known where the network is the public one, or another one of its kind.
pub const ALIVE: usize = 150;
/// With fewer floodfills known, more are missing: about 1,700 serve, and most routers know most of them.
pub const MISSING: usize = 1_500;
pub const PLENTY: usize = 2_500;

/// What the operator says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FloodfillMode {
    No,
    /// While our addresses are published: others find a floodfill by nothing else.
    Yes,
    /// By itself, where the machine is fit and floodfills are missing.
    #[default]
    Auto,
}

/// What the router is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signs {
    /// Our addresses are published with cap R.
    pub reachable: bool,
    /// A floodfill has confirmed our RouterInfo.
    pub published: bool,
    /// The letter of the bandwidth that we offer.
    pub bandwidth: char,
    /// Transit is off, full or near that.
    pub full: bool,
    pub routers: usize,
    pub floodfills: usize,
}

/// Decides, and remembers since when things are as they are.
#[derive(Debug)]
pub struct Fitness {
    mode: FloodfillMode,
    rng: Rng,
    serves: bool,
    /// When the router became fit, and when it joins then.
    fit: Option<(Instant, Instant)>,
    /// Since when it is full.
    full: Option<Instant>,
    /// When it last joined or left by itself.
    changed: Option<Instant>,
}

impl Fitness {
    pub const fn new(mode: FloodfillMode, rng: Rng) -> Self {
        Self { mode, rng, serves: false, fit: None, full: None, changed: None }
    }

    /// Whether the router serves from now on. Call it every few seconds.
    pub fn update(&mut self, now: Now, signs: &Signs) -> bool {
        let serves = match self.mode {
            FloodfillMode::No => false,
            FloodfillMode::Yes => signs.reachable,
            FloodfillMode::Auto => self.by_itself(now.mono, signs),
        };
        if serves != self.serves {
            (self.serves, self.changed) = (serves, Some(now.mono));
        }
        serves
    }

    fn by_itself(&mut self, now: Instant, signs: &Signs) -> bool {
        let rested = self.changed.is_none_or(|at| now.since(at) >= REST);
        let able = signs.reachable && matches!(signs.bandwidth, 'O' | 'P' | 'X');
        self.full = if signs.full { self.full.or(Some(now)) } else { None };
        if self.serves {
            let full = self.full.is_some_and(|since| now.since(since) >= FULL_FOR);
            let plenty = signs.floodfills > PLENTY && rested;
            self.fit = None;
            return able && !full && !plenty;
        }
        if !(able && signs.published && !signs.full && signs.routers >= ALIVE) {
            self.fit = None;
            return false;
        }
        let rng = &mut self.rng;
        let (_, joins) = *self.fit.get_or_insert_with(|| {
            let proven = now + PROBATION;
            (now, proven + rng.between(Duration::ZERO, JOIN_WITHIN))
        });
        rested && now >= joins && signs.floodfills < MISSING
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::testing::NOW;
    use super::*;

    const FIT: Signs =
        Signs { reachable: true, published: true, bandwidth: 'P', full: false, routers: 1_000, floodfills: 900 };

    fn fitness(mode: FloodfillMode, seed: u8) -> Fitness {
        Fitness::new(mode, Rng::from_seed([seed; 32]))
    }

    /// Lets time pass by minutes, and says after how many the router serves, or no longer does.
    fn until(fitness: &mut Fitness, now: &mut Now, signs: &Signs, serves: bool) -> Option<u64> {
        (1..=24 * 60).find(|_| {
            *now = now.later(Duration::from_mins(1));
            fitness.update(*now, signs) == serves
        })
    }

    #[test]
    fn a_fit_router_joins_after_two_to_six_hours_and_not_with_others() {
        let joined: Vec<u64> = (0..40)
            .map(|seed| until(&mut fitness(FloodfillMode::Auto, seed), &mut NOW.clone(), &FIT, true).unwrap())
            .collect();
        assert!(joined.iter().all(|minutes| (120..=361).contains(minutes)), "{joined:?}");
        let halves = joined.iter().filter(|minutes| **minutes < 241).count();
        assert!((8..=32).contains(&halves), "{joined:?}");
    }

    #[test]
    fn what_is_not_fit_stays_out() {
        for unfit in [
            Signs { reachable: false, ..FIT },
            Signs { published: false, ..FIT },
            Signs { bandwidth: 'N', ..FIT },
            Signs { bandwidth: 'L', ..FIT },
            Signs { full: true, ..FIT },
            Signs { routers: ALIVE - 1, ..FIT },
            Signs { floodfills: MISSING, ..FIT },
        ] {
            assert_eq!(until(&mut fitness(FloodfillMode::Auto, 1), &mut NOW.clone(), &unfit, true), None, "{unfit:?}");
        }
        // A break makes it begin anew.
        let (mut fitness, mut now) = (fitness(FloodfillMode::Auto, 1), NOW);
        for _ in 0..20 {
            now = now.later(Duration::from_mins(100));
            assert!(!fitness.update(now, &FIT));
            now = now.later(Duration::from_mins(1));
            assert!(!fitness.update(now, &Signs { full: true, ..FIT }));
        }
    }

    #[test]
    fn it_leaves_when_it_is_fit_no_longer() {
        for (signs, after) in [
            (Signs { reachable: false, ..FIT }, Some(1)),
            (Signs { bandwidth: 'N', ..FIT }, Some(1)),
            (Signs { full: true, ..FIT }, Some(11)),
            (Signs { floodfills: PLENTY + 1, ..FIT }, Some(6 * 60)),
            (Signs { floodfills: PLENTY, published: false, routers: 10, ..FIT }, None),
        ] {
            let (mut fitness, mut now) = (fitness(FloodfillMode::Auto, 2), NOW);
            until(&mut fitness, &mut now, &FIT, true).unwrap();
            assert_eq!(until(&mut fitness, &mut now, &signs, false), after, "{signs:?}");
            if after.is_some() {
                let again = until(&mut fitness, &mut now, &FIT, true).unwrap();
                assert!(again >= 6 * 60, "it rests: {again}");
            }
        }
    }

    #[test]
    fn the_operator_decides() {
        let hidden = Signs { reachable: false, ..FIT };
        let poor = Signs { bandwidth: 'K', routers: 0, floodfills: 0, full: true, published: false, ..FIT };
        assert!(!fitness(FloodfillMode::Yes, 1).update(NOW, &hidden));
        assert!(fitness(FloodfillMode::Yes, 1).update(NOW, &poor));
        assert_eq!(until(&mut fitness(FloodfillMode::No, 1), &mut NOW.clone(), &FIT, true), None);
    }
}
