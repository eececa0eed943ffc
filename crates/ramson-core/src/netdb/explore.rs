//! Exploration: look-ups of random keys, by which we learn of routers that nobody told us about.
//! <https://geti2p.net/en/docs/how/network-database#exploration>

use super::store::RouterStore;
use crate::limits::netdb as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;

/// With fewer routers, exploration is frequent.
const FEW: usize = 300;
/// With fewer, it goes on at leisure; with more, only to stay up to date.
const ENOUGH: usize = 2_000;

/// Says when to explore, and where.
#[derive(Debug)]
pub struct Explorer {
    rng: Rng,
    due: Instant,
}

impl Explorer {
    pub fn new(now: Now, mut rng: Rng) -> Self {
        let due = now.mono + rng.between(Duration::from_secs(20), Duration::from_secs(40));
        Self { rng, due }
    }

    pub const fn next_timeout(&self) -> Instant {
        self.due
    }

    /// The random key to look up by an exploratory look-up now, if it is time.
    pub fn handle_timeout(&mut self, now: Now, routers: &RouterStore) -> Option<Hash> {
        if now.mono < self.due {
            return None;
        }
        let (from, to) = match routers.len() {
            0..FEW => (10, 20),
            FEW..ENOUGH => (55, 110),
            _ => (240, 480),
        };
        self.due = now.mono + self.rng.between(Duration::from_secs(from), Duration::from_secs(to));
        // A full store learns nothing, and nobody can be asked without floodfills.
        let room = routers.len() < limits::ROUTERS && routers.floodfills() > 0;
        room.then(|| Hash(self.rng.bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::testing::{NOW, floodfills, store};
    use super::*;

    #[test]
    fn few_routers_explore_often_and_for_random_keys() {
        let mut explorer = Explorer::new(NOW, Rng::from_seed([1; 32]));
        let routers = floodfills(5);
        assert_eq!(explorer.handle_timeout(NOW, &routers), None);
        let (mut now, mut keys) = (NOW, std::collections::BTreeSet::new());
        while now.mono < NOW.mono + Duration::from_mins(10) {
            now = now.later(explorer.next_timeout().since(now.mono));
            keys.insert(explorer.handle_timeout(now, &routers).unwrap());
        }
        assert!((30..60).contains(&keys.len()), "{}", keys.len());
    }

    #[test]
    fn nobody_is_asked_without_floodfills() {
        let mut explorer = Explorer::new(NOW, Rng::from_seed([1; 32]));
        let later = NOW.later(Duration::from_mins(1));
        assert_eq!(explorer.handle_timeout(later, &store(10)), None);
        assert!(explorer.next_timeout() > later.mono);
    }
}
