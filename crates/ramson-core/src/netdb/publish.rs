//! Publication of our RouterInfo and of our destinations' LeaseSets at the closest floodfills.
//! <https://geti2p.net/en/docs/how/network-database#publish>
//!
//! A RouterInfo goes to its floodfill directly. A LeaseSet goes out of one of the destination's outbound tunnels,
//! in garlic for the floodfill, and its confirmation comes back through one of the destination's inbound tunnels.
//! Carrying them is the owner's part.

#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;

use super::routing_key::{Day, until_midnight};
use super::silence::Silence;
use super::store::RouterStore;
use crate::limits::netdb as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::data::Hash;
use std::collections::VecDeque;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The first publication after a start, where the router has not begun with the network before: then it publishes at once.
const RI_FIRST: (Duration, Duration) = (secs(3), secs(8));
const RI_INTERVAL: (Duration, Duration) = (secs(35 * 60), secs(45 * 60));
/// Never more often than this.
const RI_MIN_INTERVAL: Duration = secs(9 * 60);
/// Time for a confirmation, with a dial before it.
const RI_CONFIRMATION: (Duration, Duration) = (secs(5), secs(7));
/// After midnight all keys have moved; everybody publishes anew, not all at once.
const RI_AFTER_MIDNIGHT: Duration = secs(10 * 60);

const LS_MIN_INTERVAL: Duration = secs(20);
/// While the first tunnels come up the LeaseSet changes often; the first few versions follow each other sooner.
const LS_FIRST_INTERVAL: Duration = secs(4);
const LS_FIRST: u32 = 3;
/// Time for a confirmation through two tunnels.
const LS_CONFIRMATION: (Duration, Duration) = (secs(3), secs(5));
const LS_VERIFY: (Duration, Duration) = (secs(5), secs(8));
/// A verification without a result is over then.
const LS_VERIFY_TIMEOUT: Duration = secs(30);
const LS_AFTER_MIDNIGHT: Duration = secs(2 * 60);
/// Floodfills that a LeaseSet is stored at at once, so that one that lies is not enough to hide it.
const LS_STORES: usize = 2;

/// Where the closest floodfills stand closer than chance puts them, stores besides at so many behind them.
const BEHIND_CROWD: usize = 3;

/// Pause after a round in which nobody confirmed. Our RouterInfo's doubles with each, up to [`RI_MIN_INTERVAL`].
const RETRY: (Duration, Duration) = (secs(20), secs(40));

/// What a publisher wants of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Store at `floodfill`, with this reply token. A store that cannot be sent is reported by `handle_store_failed`.
    Store { floodfill: Hash, token: u32 },
    /// Look the LeaseSet up at others than these, and report by [`LeaseSetPublisher::handle_verified`].
    Verify { exclude: Vec<Hash> },
}

/// Stores of one thing that wait for their confirmations.
#[derive(Debug, Default)]
struct Round {
    /// Tokens that are out, with their floodfills and deadlines.
    out: Vec<(u32, Hash, Instant)>,
    /// Floodfills that were tried, whatever came of it.
    tried: Vec<Hash>,
    /// Floodfills behind a crowd, once it was looked for. Whoever verifies asks them, since those before them may lie.
    behind: Option<Vec<Hash>>,
    /// Those whose time is over. A late confirmation is one all the same.
    late: Vec<(u32, Hash)>,
    /// It is for a destination, to which our own router is a floodfill as any other.
    of_destination: bool,
}

impl Round {
    /// Stores at the closest floodfills that were not tried, until `width` are out. Returns whether any is out.
    fn fill(
        &mut self,
        now: Now,
        key: &Hash,
        (width, wait): (usize, (Duration, Duration)),
        routers: &RouterStore,
        silence: &Silence,
        rng: &mut Rng,
        events: &mut VecDeque<Event>,
    ) -> bool {
        let left = limits::PUBLISH_TRIES.saturating_sub(self.tried.len());
        let more = width.saturating_sub(self.out.len()).min(left);
        let today = Day::of(now.unix_ms).routing_key(key);
        let fresh = |hash: &Hash| !self.tried.contains(hash);
        let silent = |hash: &Hash| silence.is_silent(now, hash);
        let closest = |n, usable: &dyn Fn(&Hash) -> bool| match self.of_destination {
            true => routers.closest_to_destination(&today, n, usable),
            false => routers.closest_floodfills_where(&today, n, usable),
        };
        let mut chosen = closest(more, &|hash| fresh(hash) && !silent(hash));
        let rest = more - chosen.len();
        chosen.extend(closest(rest, &|hash| fresh(hash) && silent(hash)));
        let mut behind = if self.behind.is_none() { self.pass_crowd(now, key, routers) } else { Vec::new() };
        behind.retain(|hash| !chosen.contains(hash) && !self.tried.contains(hash));
        behind.truncate(left.saturating_sub(more));
        for floodfill in chosen.into_iter().chain(behind) {
            let token = rng.nonzero_u32();
            self.tried.push(floodfill);
            self.out.push((token, floodfill, now.mono + rng.between(wait.0, wait.1)));
            events.push_back(Event::Store { floodfill, token });
        }
        !self.out.is_empty()
    }

    /// Floodfills behind a crowd, if there is one: of different subnets, so that few of them are one person's.
    fn pass_crowd(&mut self, now: Now, key: &Hash, routers: &RouterStore) -> Vec<Hash> {
        let key = Day::of(now.unix_ms).routing_key(key);
        let crowd = routers.crowd(&key);
        let behind = match crowd.is_empty() {
            true => Vec::new(),
            false => routers.closest_apart(&key, BEHIND_CROWD, &[], |hash| !crowd.contains(hash)),
        };
        self.behind = Some(behind.clone());
        behind
    }

    /// Returns who has confirmed, if anybody was asked with this token.
    fn confirm(&mut self, token: u32) -> Option<Hash> {
        let out = self.out.iter().map(|(token, floodfill, _)| (*token, *floodfill));
        let by = out.chain(self.late.iter().copied()).find(|(other, _)| *other == token).map(|(_, by)| by);
        self.out.retain(|(other, ..)| *other != token);
        self.late.retain(|(other, _)| *other != token);
        by
    }

    fn fail(&mut self, token: u32) {
        self.out.retain(|(other, ..)| *other != token);
    }

    fn expire(&mut self, now: Now, silence: &mut Silence) {
        for (token, floodfill, _) in self.out.extract_if(.., |(.., at)| *at <= now.mono) {
            silence.note(now, &floodfill);
            self.late.push((token, floodfill));
        }
    }

    /// All that can still be confirmed.
    fn unconfirmed(self) -> Vec<(u32, Hash)> {
        self.out.into_iter().map(|(token, floodfill, _)| (token, floodfill)).chain(self.late).collect()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.out.iter().map(|(.., at)| *at).min()
    }
}

/// Publishes our RouterInfo: every 35 to 45 minutes, after midnight, and when it changed; never within nine minutes.
///
/// After each `handle_`, drain [`Self::poll_event`].
#[derive(Debug)]
pub struct RouterInfoPublisher {
    own: Hash,
    rng: Rng,
    due: Instant,
    last: Option<Instant>,
    round: Option<Round>,
    /// Rounds in a row in which floodfills were asked and none confirmed.
    failures: u32,
    published: bool,
    silence: Silence,
    events: VecDeque<Event>,
}

impl RouterInfoPublisher {
    pub fn new(now: Now, own: Hash, mut rng: Rng) -> Self {
        let due = now.mono + rng.between(RI_FIRST.0, RI_FIRST.1);
        let (silence, events) = (Silence::default(), VecDeque::new());
        Self { own, rng, due, last: None, round: None, failures: 0, published: false, silence, events }
    }

    /// The RouterInfo says something new: it is published as soon as the interval allows.
    pub fn handle_changed(&mut self, now: Now) {
        let earliest = self.last.map_or(now.mono, |last| last + RI_MIN_INTERVAL);
        self.due = self.due.min(earliest.max(now.mono));
    }

    /// Whether a floodfill has confirmed that it has our RouterInfo, in whatever version.
    pub const fn is_published(&self) -> bool {
        self.published
    }

    /// A DeliveryStatus with this id came. Returns whether it confirms a store of ours.
    pub fn handle_confirmation(&mut self, token: u32) -> bool {
        let Some(by) = self.round.as_mut().and_then(|round| round.confirm(token)) else { return false };
        self.silence.forget(&by);
        self.published = true;
        self.round = None;
        self.failures = 0;
        true
    }

    /// The store with this token did not go out.
    pub fn handle_store_failed(&mut self, now: Now, token: u32, routers: &RouterStore) {
        if let Some(round) = &mut self.round {
            round.fail(token);
            self.proceed(now, routers);
        }
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        let waiting = self.round.as_ref().and_then(Round::next_timeout);
        Some(waiting.unwrap_or(self.due))
    }

    pub fn handle_timeout(&mut self, now: Now, routers: &RouterStore) {
        if let Some(round) = &mut self.round {
            round.expire(now, &mut self.silence);
            self.proceed(now, routers);
        } else if now.mono >= self.due {
            self.last = Some(now.mono);
            self.round = Some(Round::default());
            let regular = now.mono + self.rng.between(RI_INTERVAL.0, RI_INTERVAL.1);
            let midnight = now.mono + Duration::from_millis(until_midnight(now.unix_ms));
            let midnight = midnight + self.rng.between(Duration::ZERO, RI_AFTER_MIDNIGHT);
            self.due = regular.min(midnight.max(now.mono + RI_MIN_INTERVAL));
            self.proceed(now, routers);
        }
    }

    fn proceed(&mut self, now: Now, routers: &RouterStore) {
        let Some(round) = &mut self.round else { return };
        if !round.fill(now, &self.own, (1, RI_CONFIRMATION), routers, &self.silence, &mut self.rng, &mut self.events) {
            // Nobody confirmed, or nobody is known. This publication did not count.
            let tried = !round.tried.is_empty();
            self.round = None;
            self.last = None;
            let pause = self.rng.between(RETRY.0, RETRY.1) * 2u32.saturating_pow(self.failures.min(8));
            self.due = self.due.min(now.mono + pause.min(RI_MIN_INTERVAL));
            self.failures = if tried { self.failures.saturating_add(1) } else { 0 };
        }
    }
}

/// Publishes the LeaseSet of one destination: when it changed, after midnight, and again when a look-up at another
/// floodfill does not find it.
///
/// After each `handle_`, drain [`Self::poll_event`].
#[derive(Debug)]
pub struct LeaseSetPublisher {
    destination: Hash,
    rng: Rng,
    /// When the next round starts, if one is wanted.
    due: Option<Instant>,
    last: Option<Instant>,
    /// When the LeaseSet ends.
    end: Instant,
    /// Rounds so far.
    rounds: u32,
    /// Stores of the version before that nobody has confirmed; what they store is ours all the same.
    before: Vec<(u32, Hash)>,
    /// Whether a store of any version was confirmed.
    confirmed: bool,
    state: State,
    silence: Silence,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Stores are out.
    Storing(Round),
    /// A store was confirmed; the look-up starts then.
    Confirmed {
        tried: Vec<Hash>,
        verify: Instant,
    },
    /// The look-up is out.
    Verifying {
        tried: Vec<Hash>,
        until: Instant,
    },
}

impl LeaseSetPublisher {
    pub fn new(destination: Hash, rng: Rng) -> Self {
        let (due, last, end) = (None, None, Instant::ZERO);
        let (state, silence, events) = (State::Idle, Silence::default(), VecDeque::new());
        let (rounds, before, confirmed) = (0, Vec::new(), false);
        Self { destination, rng, due, last, end, rounds, before, confirmed, state, silence, events }
    }

    /// There is a new LeaseSet, which ends at `end`. It is published as soon as the interval allows, which is shorter
    /// where it is `urgent`: by the last one nobody gets to us any more; and where nobody has confirmed that in time. What is
    /// under way is not repeated for the old one, but still counts.
    pub fn handle_changed(&mut self, now: Now, end: Instant, urgent: bool) {
        self.end = end;
        let mut soon = urgent || self.rounds < LS_FIRST;
        if let State::Storing(round) = std::mem::replace(&mut self.state, State::Idle) {
            soon |= !round.late.is_empty();
            self.before = round.unconfirmed();
        }
        let interval = if soon { LS_FIRST_INTERVAL } else { LS_MIN_INTERVAL };
        let earliest = self.last.map_or(now.mono, |last| last + interval);
        self.due = Some(earliest.max(now.mono));
    }

    /// No LeaseSet is to be published any more.
    pub fn stop(&mut self) {
        (self.due, self.end, self.confirmed, self.state) = (None, Instant::ZERO, false, State::Idle);
    }

    /// Whether a floodfill has confirmed a LeaseSet of ours. A change does not undo that: the older one is found until
    /// the newer one is there.
    pub const fn is_published(&self) -> bool {
        self.confirmed
    }

    /// A DeliveryStatus with this id came through one of the destination's tunnels. Returns whether it confirms a
    /// store of ours.
    pub fn handle_confirmation(&mut self, now: Now, token: u32) -> bool {
        if let Some(at) = self.before.iter().position(|(other, _)| *other == token) {
            let (_, by) = self.before.swap_remove(at);
            self.silence.forget(&by);
            self.confirmed = true;
            return true;
        }
        let State::Storing(round) = &mut self.state else { return false };
        let Some(by) = round.confirm(token) else { return false };
        self.silence.forget(&by);
        self.confirmed = true;
        let verify = now.mono + self.rng.between(LS_VERIFY.0, LS_VERIFY.1);
        let behind = round.behind.take().unwrap_or_default();
        let mut tried = std::mem::take(&mut round.tried);
        tried.retain(|hash| !behind.contains(hash));
        self.state = State::Confirmed { tried, verify };
        true
    }

    /// The store with this token did not go out.
    pub fn handle_store_failed(&mut self, now: Now, token: u32, routers: &RouterStore) {
        if let State::Storing(round) = &mut self.state {
            round.fail(token);
            self.proceed(now, routers);
        }
    }

    /// The look-up found this LeaseSet, or not: an older one is not this one.
    pub fn handle_verified(&mut self, now: Now, found: bool, routers: &RouterStore) {
        let State::Verifying { tried, .. } = &mut self.state else { return };
        if found {
            self.rest(now);
        } else {
            // Those who said that they had it are not believed again.
            let tried = std::mem::take(tried);
            self.store(now, tried, routers);
        }
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => self.due,
            State::Storing(round) => round.next_timeout(),
            State::Confirmed { verify, .. } => Some(*verify),
            State::Verifying { until, .. } => Some(*until),
        }
    }

    pub fn handle_timeout(&mut self, now: Now, routers: &RouterStore) {
        match &mut self.state {
            State::Idle => {
                if self.due.is_some_and(|due| due <= now.mono) {
                    self.due = None;
                    // An ended LeaseSet is of no use to anybody.
                    if self.end > now.mono {
                        self.store(now, Vec::new(), routers);
                    }
                }
            }
            State::Storing(round) => {
                round.expire(now, &mut self.silence);
                self.proceed(now, routers);
            }
            State::Confirmed { tried, verify } if *verify <= now.mono => {
                let tried = std::mem::take(tried);
                let key = Day::of(now.unix_ms).routing_key(&self.destination);
                if routers.closest_to_destination(&key, 1, |hash| !tried.contains(hash)).is_empty() {
                    // Nobody else is there to be asked.
                    return self.rest(now);
                }
                self.events.push_back(Event::Verify { exclude: tried.clone() });
                self.state = State::Verifying { tried, until: now.mono + LS_VERIFY_TIMEOUT };
            }
            State::Verifying { until, .. } if *until <= now.mono => self.handle_verified(now, false, routers),
            State::Confirmed { .. } | State::Verifying { .. } => {}
        }
    }

    fn store(&mut self, now: Now, tried: Vec<Hash>, routers: &RouterStore) {
        self.last = Some(now.mono);
        self.rounds = self.rounds.saturating_add(1);
        // They have had as long as two stores lie apart.
        self.before.iter().for_each(|(_, floodfill)| self.silence.note(now, floodfill));
        self.state = State::Storing(Round { tried, of_destination: true, ..Round::default() });
        self.proceed(now, routers);
    }

    fn proceed(&mut self, now: Now, routers: &RouterStore) {
        let State::Storing(round) = &mut self.state else { return };
        let key = &self.destination;
        if !round.fill(now, key, (LS_STORES, LS_CONFIRMATION), routers, &self.silence, &mut self.rng, &mut self.events)
        {
            self.state = State::Idle;
            self.due = Some(now.mono + self.rng.between(RETRY.0, RETRY.1));
        }
    }

    /// All is well until midnight moves the key, or the LeaseSet changes.
    fn rest(&mut self, now: Now) {
        self.state = State::Idle;
        let midnight = now.mono + Duration::from_millis(until_midnight(now.unix_ms));
        // The next change comes sooner, unless midnight is near.
        self.due = (midnight < self.end).then(|| midnight + self.rng.between(Duration::ZERO, LS_AFTER_MIDNIGHT));
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
