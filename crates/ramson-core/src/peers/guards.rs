//! The first hops of one destination: the few routers that are next to us in all its tunnels, for weeks.
//!
//! Whoever is next to us and at the far end of one of a destination's tunnels can find out whose it is. With hops by
//! chance every hostile router gets there in time; with three that stay, one in many destinations ever meets one
//! (threats 4.2). Each destination chooses its own, knowing nothing of those of others.
//!
//! Three are in use while they work. Where none does, others stand in, in the order in which they were chosen, so that
//! a failure shows us to no more routers than it must. A router counts as chosen when a tunnel through it was built;
//! before, it knows of nothing, and makes room at once when it cannot be reached. One that was chosen goes when its
//! time is over, when it could not be reached for two hours, or when far fewer builds succeed through it than through
//! the others (threats P-20): a hostile one may let only those live whose far end is hostile, too.

mod choice;
mod file;

pub use choice::select_behind;

use crate::limits::peers as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use std::collections::VecDeque;

/// How many are in use.
pub const IN_USE: usize = 3;
/// How long one is kept: the longer of two draws for each, since each that is replaced is one more router that we meet.
pub const LIFE: (Duration, Duration) = (Duration::from_hours(20 * 24), Duration::from_hours(40 * 24));
/// One that could not be reached for this time is replaced.
pub const DOWN: Duration = Duration::from_hours(2);
/// Failures in a row after which others stand in.
const FAILURES: u8 = 4;
/// For how long.
const FAILURES_TIME: Duration = Duration::from_secs(60);
/// Builds before a first hop is compared with others; beyond twice as many, old ones count half.
const JUDGED: u32 = 48;

/// The first hops of a destination.
#[derive(Debug)]
pub struct Guards {
    /// In the order in which they were chosen: the first few are in use.
    all: Vec<Guard>,
    /// Through which too few builds succeeded.
    dropped: VecDeque<Hash>,
    rng: Rng,
    is_changed: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guard {
    hash: Hash,
    until_ms: u64,
    /// A tunnel through it was built.
    is_chosen: bool,
    down_since: Option<Instant>,
    /// Builds that failed in a row, and when the last one did.
    failures: u8,
    failed_at: Instant,
    builds: u32,
    built: u32,
}

/// What is known of a router at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is a session with it.
    Connected,
    /// Nothing speaks against it.
    Fine,
    /// It takes part in no tunnels just now, or cannot be next to us in one of this direction.
    Unfit,
    /// It could not be reached, or is not known.
    Down,
}

impl Guards {
    pub fn new(rng: Rng) -> Self {
        Self { all: Vec::new(), dropped: VecDeque::new(), rng, is_changed: false }
    }

    /// Those to try now, the best first. Those that do not work come not at all, or last where they may work again.
    pub fn to_try(&mut self, now: Now, state: impl Fn(&Hash) -> State) -> Vec<Hash> {
        let mut ranked: Vec<(usize, bool, u64, Hash)> = Vec::new();
        for (place, guard) in self.all.iter().enumerate() {
            let up = match state(&guard.hash) {
                State::Connected => true,
                // Only a session proves that one is back that was gone: a build would wait for it.
                State::Fine => guard.down_since.is_none(),
                State::Unfit | State::Down => false,
            };
            if up {
                let failed = now.mono.since(guard.failed_at) < FAILURES_TIME;
                let rank = match () {
                    () if failed && guard.failures >= FAILURES => limits::GUARDS,
                    () if place < IN_USE => 0,
                    () => place,
                };
                ranked.push((rank, failed && guard.failures > 0, self.rng.next_u64(), guard.hash));
            }
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(.., hash)| hash).collect()
    }

    /// Whether one is missing, or all that `works` fail; and there is room for another.
    pub fn wants_more(&self, now: Now, works: impl Fn(&Hash) -> bool) -> bool {
        let tired = |guard: &Guard| guard.failures >= FAILURES && now.mono.since(guard.failed_at) < FAILURES_TIME;
        let some = self.all.iter().any(|guard| works(&guard.hash) && !tired(guard));
        self.all.len() < IN_USE || (!some && self.all.len() < limits::GUARDS)
    }

    /// Adds one behind the others. Nothing happens where it is there, was dropped, or there is no room.
    pub fn add(&mut self, now: Now, hash: Hash) {
        if self.all.len() >= limits::GUARDS || self.contains(&hash) || self.dropped.contains(&hash) {
            return;
        }
        let mut draw = || self.rng.between(LIFE.0, LIFE.1);
        let life = u64::try_from(draw().max(draw()).as_millis()).unwrap_or(u64::MAX);
        self.all.push(Guard::new(hash, now.unix_ms.saturating_add(life)));
    }

    pub fn contains(&self, hash: &Hash) -> bool {
        self.all.iter().any(|guard| guard.hash == *hash)
    }

    /// Whether too few builds through it succeeded.
    pub fn is_dropped(&self, hash: &Hash) -> bool {
        self.dropped.contains(hash)
    }

    /// All of them, those in use first.
    pub fn hashes(&self) -> Vec<Hash> {
        self.all.iter().map(|guard| guard.hash).collect()
    }

    /// Looks at what is known of them: to be called before a choice, and regularly. `online` says that we reach
    /// anybody at all; else nothing is said of them.
    pub fn update(&mut self, now: Now, online: bool, state: impl Fn(&Hash) -> State) {
        let before = self.chosen();
        for guard in &mut self.all {
            guard.down_since = match state(&guard.hash) {
                State::Connected => None,
                State::Down if online => Some(guard.down_since.unwrap_or(now.mono)),
                // The time counts anew where it was we who were cut off.
                State::Down => guard.down_since.map(|_| now.mono),
                State::Fine | State::Unfit => guard.down_since,
            };
        }
        self.all.retain(|guard| {
            let down = guard.down_since.map(|at| now.mono.since(at));
            let gone = if guard.is_chosen { down.is_some_and(|time| time >= DOWN) } else { down.is_some() };
            !gone && now.unix_ms < guard.until_ms
        });
        self.is_changed |= before != self.chosen();
    }

    /// How a build through it ended.
    pub fn handle_outcome(&mut self, now: Now, hash: &Hash, built: bool) {
        let Some(guard) = self.all.iter_mut().find(|guard| guard.hash == *hash) else { return };
        guard.builds += 1;
        if built {
            guard.built += 1;
            guard.failures = 0;
            guard.down_since = None;
            self.is_changed |= !std::mem::replace(&mut guard.is_chosen, true);
        } else {
            guard.failures = guard.failures.saturating_add(1);
            guard.failed_at = now.mono;
        }
        if guard.builds >= 2 * JUDGED {
            guard.builds /= 2;
            guard.built /= 2;
        }
        let guard = *guard;
        if !built && self.is_biased(&guard) {
            self.all.retain(|other| other.hash != guard.hash);
            if self.dropped.len() >= limits::DROPPED_GUARDS {
                self.dropped.pop_front();
            }
            self.dropped.push_back(guard.hash);
            self.is_changed = true;
        }
    }

    /// Whether fewer than four ninths as many builds succeed through it as through the best of the others. A hostile hop
    /// behind an honest one can fail builds, too; but while fewer than half of all builds meet one it is not enough.
    fn is_biased(&self, guard: &Guard) -> bool {
        let others = self.all.iter().filter(|other| other.hash != guard.hash);
        let worse = |other: &Guard| {
            let (own, others) = (u64::from(guard.built) * u64::from(other.builds), u64::from(other.built));
            own * 9 < others * u64::from(guard.builds) * 4
        };
        guard.builds >= JUDGED && others.into_iter().any(|other| other.builds >= JUDGED && worse(other))
    }

    /// Whether those that were chosen have changed since the last call: then they are to be saved.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    fn chosen(&self) -> Vec<Hash> {
        self.all.iter().filter(|guard| guard.is_chosen).map(|guard| guard.hash).collect()
    }
}

impl Guard {
    const fn new(hash: Hash, until_ms: u64) -> Self {
        Self {
            hash,
            until_ms,
            is_chosen: false,
            down_since: None,
            failures: 0,
            failed_at: Instant::ZERO,
            builds: 0,
            built: 0,
        }
    }
}

#[cfg(test)]
mod tests;
