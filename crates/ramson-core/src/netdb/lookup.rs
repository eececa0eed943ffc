//! Iterative look-ups: the closest floodfills are asked, replies are only hints.
//! <https://geti2p.net/en/docs/how/network-database#lookup>

#[cfg(any(test, fuzzing, feature = "checks"))]
mod check;
mod newer;

use super::routing_key::Day;
use super::silence::Silence;
use super::store::{RouterStore, Source};
use crate::limits::netdb as limits;
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use crate::timer::Timers;
use ramson_wire::data::Hash;
use ramson_wire::i2np::database_search_reply::MAX_PEERS;
use std::collections::{BTreeMap, VecDeque};
use tracing::debug;

pub use ramson_wire::i2np::database_lookup::LookupKind as Kind;

/// Names one look-up of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LookupId(u64);

/// Why a look-up ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// No floodfill is known.
    #[error("no floodfill is known")]
    NoFloodfills,
    /// All floodfills that were asked say that they do not have it.
    #[error("not found")]
    NotFound,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// Too many look-ups run.
    #[error("too many look-ups")]
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Ask `floodfill` for `key`. The owner adds where the reply goes and its encryption, and reports a question that
    /// cannot be sent by [`Lookups::handle_query_failed`].
    Query { id: LookupId, floodfill: Hash, key: Hash, kind: Kind, excluded: Vec<Hash> },
    /// A reply named this router, which is not known, or known by what others must not learn of. `from` is the floodfill that is likely to have it.
    Need { hash: Hash, from: Hash },
    /// The look-up ended. `Ok` says that what was looked for is stored, or that an exploration was answered.
    Done { id: LookupId, key: Hash, kind: Kind, result: Result<(), Failure> },
}

/// The look-ups of one context.
///
/// After each `start` and `handle_`, drain [`Self::poll_event`].
#[derive(Debug)]
pub struct Lookups {
    rng: Rng,
    of_destination: bool,
    next_id: u64,
    running: BTreeMap<LookupId, Lookup>,
    timers: Timers<LookupId>,
    silence: Silence,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Lookup {
    key: Hash,
    kind: Kind,
    routing_key: Hash,
    /// Everybody who was asked, and what became of it.
    asked: Vec<(Hash, Try)>,
    /// Floodfills that must not be asked.
    barred: Vec<Hash>,
    /// Floodfills that stand closer to the key than chance puts them: every other question goes past them.
    crowd: Vec<Hash>,
    /// A LeaseSet that was not published after this (seconds since 1970) is no answer.
    newer_than: Option<u32>,
    /// By which tag the answer of a floodfill is known, where that matters.
    tags: Vec<([u8; 8], Hash)>,
    /// Nothing but a hint of another look-up wants it. It takes no hints itself, or floodfills that name strangers
    /// without end would keep all look-ups busy.
    is_hint: bool,
    /// A reply to the router's own questions has named it, so others may learn of it.
    told: bool,
    hints: usize,
    deadline: Instant,
    /// Rounds that are over.
    rounds: usize,
    /// Of the further ones, those in which somebody said no.
    denied: usize,
    /// Somebody was silent in some round.
    silence: bool,
    /// The next round starts then.
    resume: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    /// An answer is due until then.
    Until(Instant),
    /// It said no.
    Answered,
    /// No answer came in time; one may still come.
    Late,
    /// The question did not go out.
    Failed,
}

/// How hard a kind of look-up tries.
struct Effort {
    parallel: usize,
    tries: usize,
    per_try: (Duration, Duration),
    total: Duration,
    /// Pauses before further rounds, in which the closest are asked again: a message may have been lost, and what was
    /// not there may have been published since.
    pauses: &'static [Duration],
}

/// A LeaseSet that somebody waits for is often one that is being published just now.
const LEASE_SET_PAUSES: &[Duration] = &[Duration::from_secs(1), Duration::from_secs(2)];
/// Further rounds, after silence, in which somebody says no, and the pause between them. The last one is asked eight to
/// nine seconds after the start: a publication whose first stores were lost has had another try by then.
const DENIED_ROUNDS: usize = 3;
const DENIED_PAUSE: Duration = Duration::from_secs(3);

fn effort(kind: Kind) -> Effort {
    let ms = Duration::from_millis;
    match kind {
        Kind::LeaseSet | Kind::Any => Effort {
            parallel: 3,
            tries: limits::LOOKUP_TRIES,
            per_try: (ms(2_000), ms(3_000)),
            total: ms(15_000),
            pauses: LEASE_SET_PAUSES,
        },
        Kind::RouterInfo => Effort {
            parallel: 2,
            tries: limits::LOOKUP_TRIES,
            per_try: (ms(2_000), ms(3_000)),
            total: ms(20_000),
            pauses: &[],
        },
        Kind::Exploration => {
            Effort { parallel: 1, tries: 3, per_try: (ms(3_000), ms(4_000)), total: ms(12_000), pauses: &[] }
        }
    }
}

impl Lookups {
    pub fn new(rng: Rng) -> Self {
        let (running, timers, silence) = (BTreeMap::new(), Timers::default(), Silence::default());
        Self { rng, of_destination: false, next_id: 0, running, timers, silence, events: VecDeque::new() }
    }

    /// Those of a destination: it asks our own router too, where that is a floodfill.
    pub fn of_destination(rng: Rng) -> Self {
        Self { of_destination: true, ..Self::new(rng) }
    }

    /// Looks for `key`. A look-up of the same key and kind that runs already is joined.
    pub fn start(&mut self, now: Now, key: Hash, kind: Kind, routers: &RouterStore) -> LookupId {
        let same = |l: &Lookup| l.key == key && l.kind == kind && l.barred.is_empty() && l.newer_than.is_none();
        if let Some((id, lookup)) = self.running.iter_mut().find(|(_, lookup)| same(lookup)) {
            lookup.is_hint = false;
            return *id;
        }
        self.start_without(now, key, kind, Vec::new(), routers)
    }

    /// Looks for a router that a reply has named ([`Event::Need`]), unless it is looked for already, or too many such
    /// look-ups run: others keep their room. With `told`, others may learn what comes of it.
    pub fn start_hint(&mut self, now: Now, router: Hash, told: bool, routers: &RouterStore) {
        for lookup in self.running.values_mut().filter(|lookup| lookup.key == router) {
            lookup.told |= told;
        }
        let hints = self.running.values().filter(|lookup| lookup.is_hint).count();
        if hints >= limits::HINT_LOOKUPS || self.running.len() >= limits::LOOKUPS || self.wants(&router) {
            return;
        }
        let id = self.start_without(now, router, Kind::RouterInfo, Vec::new(), routers);
        if let Some(lookup) = self.running.get_mut(&id) {
            (lookup.is_hint, lookup.told) = (true, told);
        }
    }

    /// Looks for `key` anew, without asking the `barred` floodfills.
    pub fn start_without(
        &mut self,
        now: Now,
        key: Hash,
        kind: Kind,
        barred: Vec<Hash>,
        routers: &RouterStore,
    ) -> LookupId {
        self.begin(now, (key, kind), barred, None, routers)
    }

    fn begin(
        &mut self,
        now: Now,
        (key, kind): (Hash, Kind),
        barred: Vec<Hash>,
        newer_than: Option<u32>,
        routers: &RouterStore,
    ) -> LookupId {
        let id = LookupId(self.next_id);
        self.next_id += 1;
        if self.running.len() >= limits::LOOKUPS {
            self.events.push_back(Event::Done { id, key, kind, result: Err(Failure::Busy) });
            return id;
        }
        let routing_key = Day::of(now.unix_ms).routing_key(&key);
        let deadline = now.mono + effort(kind).total;
        let lookup = Lookup {
            key,
            kind,
            routing_key,
            asked: Vec::new(),
            barred,
            crowd: routers.crowd(&routing_key),
            newer_than,
            tags: Vec::new(),
            is_hint: false,
            told: false,
            hints: 0,
            deadline,
            rounds: 0,
            denied: 0,
            silence: false,
            resume: None,
        };
        self.running.insert(id, lookup);
        self.proceed(now, id, routers);
        id
    }

    /// Whether something of this key is being looked for. What arrives unasked is dropped.
    pub fn wants(&self, key: &Hash) -> bool {
        self.running.values().any(|lookup| lookup.key == *key)
    }

    /// As what a RouterInfo of this key is taken that comes now: as one that is looked for, or `None`.
    pub fn source_of(&self, key: &Hash) -> Option<Source> {
        let told = self.running.values().filter(|lookup| lookup.key == *key).map(|lookup| lookup.told).max()?;
        Some(if told { Source::Wanted } else { Source::Private })
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Something was stored under `key`: it verified and keeps the rules.
    pub fn handle_store(&mut self, key: &Hash) {
        while let Some(id) = self.running.iter().find(|(_, lookup)| lookup.key == *key).map(|(id, _)| *id) {
            self.silence.note_answer();
            self.finish(id, Ok(()));
        }
    }

    /// `from` says that it does not have `key`, and names others. Returns whether anybody asked it; else the reply is
    /// dropped.
    pub fn handle_search_reply(
        &mut self,
        now: Now,
        from: &Hash,
        key: &Hash,
        peers: &[Hash],
        routers: &RouterStore,
    ) -> bool {
        let asked: Vec<LookupId> = self
            .running
            .iter()
            .filter(|(_, l)| l.key == *key && l.asked.iter().any(|(f, t)| f == from && *t != Try::Answered))
            .map(|(id, _)| *id)
            .collect();
        if !asked.is_empty() {
            self.silence.forget(from);
        }
        for id in &asked {
            let Some(lookup) = self.running.get_mut(id) else { continue };
            set(lookup, from, Try::Answered);
            debug!(?key, ?from, peers = peers.len(), "does not have it");
            let mut unknown: Vec<Hash> = Vec::new();
            for peer in peers.iter().take(MAX_PEERS) {
                if !routers.is_told(peer) && !unknown.contains(peer) && peer != key {
                    unknown.push(*peer);
                }
            }
            // The closest are the most useful; of an exploration, all are.
            if lookup.kind != Kind::Exploration {
                unknown.sort_by_key(|peer| peer.distance(&lookup.routing_key));
                unknown.truncate(3);
            }
            unknown.truncate(if lookup.is_hint { 0 } else { limits::LOOKUP_HINTS.saturating_sub(lookup.hints) });
            lookup.hints += unknown.len();
            self.events.extend(unknown.into_iter().map(|hash| Event::Need { hash, from: *from }));
            if lookup.kind == Kind::Exploration {
                self.finish(*id, Ok(()));
            } else {
                self.proceed(now, *id, routers);
            }
        }
        !asked.is_empty()
    }

    /// The question to `floodfill` did not go out.
    pub fn handle_query_failed(&mut self, now: Now, id: LookupId, floodfill: &Hash, routers: &RouterStore) {
        if let Some(lookup) = self.running.get_mut(&id) {
            set(lookup, floodfill, Try::Failed);
            self.proceed(now, id, routers);
        }
    }

    /// Gives a look-up up, without an event.
    pub fn cancel(&mut self, id: LookupId) {
        self.running.remove(&id);
        self.timers.cancel(&id);
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub fn handle_timeout(&mut self, now: Now, routers: &RouterStore) {
        while let Some(id) = self.timers.pop_due(now.mono) {
            self.proceed(now, id, routers);
        }
    }

    /// Asks as many as may be asked, ends what is over, and sets the next timer.
    fn proceed(&mut self, now: Now, id: LookupId, routers: &RouterStore) {
        let Some(lookup) = self.running.get_mut(&id) else { return };
        let effort = effort(lookup.kind);
        match lookup.resume {
            Some(at) if now.mono < at => return self.timers.set(id, at),
            Some(_) => {
                lookup.denied += usize::from(lookup.rounds > 0 && lookup.is_denied());
                (lookup.resume, lookup.rounds) = (None, lookup.rounds + 1);
                lookup.asked.clear();
            }
            None => {}
        }
        // Further rounds ask only those that are the likeliest to have it.
        let tries = if lookup.rounds > 0 { effort.parallel } else { effort.tries };
        for (floodfill, try_) in &mut lookup.asked {
            if matches!(*try_, Try::Until(at) if at <= now.mono) {
                *try_ = Try::Late;
                lookup.silence = true;
                self.silence.note(now, floodfill);
            }
        }
        let waiting = lookup.asked.iter().filter(|(_, t)| matches!(t, Try::Until(_))).count();
        // A question that did not go out costs no try, but is not repeated; it is bounded all the same.
        let sent = lookup.asked.iter().filter(|(_, t)| *t != Try::Failed).count();
        let bound = (2 * tries).saturating_sub(lookup.asked.len());
        let more = effort.parallel.saturating_sub(waiting).min(tries.saturating_sub(sent)).min(bound);
        if now.mono < lookup.deadline && !lookup.is_old_enough() {
            let silent = |hash: &Hash| self.silence.is_silent(now, hash);
            for floodfill in lookup.next(more, routers, self.of_destination, silent) {
                let until = now.mono + self.rng.between(effort.per_try.0, effort.per_try.1);
                let excluded = lookup.asked.iter().map(|(hash, _)| *hash).collect();
                lookup.asked.push((floodfill, Try::Until(until)));
                let (key, kind) = (lookup.key, lookup.kind);
                debug!(?key, ?kind, ?floodfill, "asked");
                self.events.push_back(Event::Query { id, floodfill, key, kind, excluded });
            }
        }
        let waits = lookup.asked.iter().filter_map(|(_, t)| if let Try::Until(at) = t { Some(*at) } else { None });
        let late = lookup.asked.iter().any(|(_, t)| *t == Try::Late);
        match waits.min() {
            Some(at) if now.mono < lookup.deadline => self.timers.set(id, at.min(lookup.deadline)),
            None if lookup.may_resume(&effort, now) => {
                let pause = match late {
                    // It has been waited for already.
                    true => Duration::ZERO,
                    false if lookup.silence => DENIED_PAUSE,
                    false => effort.pauses.get(lookup.rounds).copied().unwrap_or_default(),
                };
                lookup.resume = Some(now.mono + pause);
                self.timers.set(id, now.mono + pause);
            }
            // Nobody is left to ask, but a late answer may come.
            None if late && now.mono < lookup.deadline && !lookup.is_denied_enough() && !lookup.ends_early() => {
                self.timers.set(id, lookup.deadline);
            }
            _ if lookup.asked.is_empty() => self.finish(id, Err(Failure::NoFloodfills)),
            _ if lookup.is_denied() => self.finish(id, Err(Failure::NotFound)),
            _ => self.finish(id, Err(Failure::TimedOut)),
        }
    }

    fn finish(&mut self, id: LookupId, result: Result<(), Failure>) {
        self.timers.cancel(&id);
        if let Some(Lookup { key, kind, .. }) = self.running.remove(&id) {
            debug!(?key, ?kind, ?result, "look-up over");
            self.events.push_back(Event::Done { id, key, kind, result });
        }
    }
}

impl Lookup {
    /// The next to ask: the closest, those that were silent last; where some of these are a crowd, every other one is the closest behind it, and of
    /// another subnet than those before it. So there are two ways, of which one does not lead through the crowd.
    fn next(&self, more: usize, routers: &RouterStore, own: bool, silent: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        let (asked, barred, crowd) = (&self.asked, &self.barred, &self.crowd);
        let closest = |n, usable: &dyn Fn(&Hash) -> bool| match own {
            true => routers.closest_to_destination(&self.routing_key, n, usable),
            false => routers.closest_floodfills_where(&self.routing_key, n, usable),
        };
        let fresh = |hash: &Hash| !barred.contains(hash) && !asked.iter().any(|(a, _)| a == hash);
        if crowd.is_empty() {
            let mut next = closest(more, &|hash| fresh(hash) && !silent(hash));
            let rest = more - next.len();
            next.extend(closest(rest, &|hash| fresh(hash) && silent(hash)));
            return next;
        }
        let (mut within, mut behind): (Vec<Hash>, Vec<Hash>) =
            asked.iter().map(|(hash, _)| *hash).partition(|hash| crowd.contains(hash));
        let mut next = Vec::new();
        for _ in 0..more {
            let unused = |hash: &Hash| fresh(hash) && !next.contains(hash);
            let past = |hash: &Hash| unused(hash) && !crowd.contains(hash);
            let apart = || routers.closest_apart(&self.routing_key, 1, &behind, past);
            let through = || closest(1, &unused);
            let found = if behind.len() <= within.len() { apart() } else { through() };
            let found = found.first().copied().or_else(|| through().first().copied());
            let Some(found) = found else { break };
            if crowd.contains(&found) { &mut within } else { &mut behind }.push(found);
            next.push(found);
        }
        next
    }

    /// Whether another round follows: a few times after a clear no, a few more where somebody is silent besides, and
    /// until the deadline where all are. A look-up that verifies a publication takes the first answers.
    fn may_resume(&self, effort: &Effort, now: Now) -> bool {
        let asked = self.asked.iter().any(|(_, t)| *t != Try::Failed);
        let after_silence = self.silence && !effort.pauses.is_empty() && !self.is_denied_enough();
        let again = self.rounds < effort.pauses.len() || after_silence;
        asked && again && self.barred.is_empty() && self.newer_than.is_none() && now.mono < self.deadline
    }

    /// Whether somebody has said no in this round.
    fn is_denied(&self) -> bool {
        self.asked.iter().any(|(_, t)| *t == Try::Answered)
    }

    /// Whether as many further rounds have brought a clear no as are waited for, this one included.
    fn is_denied_enough(&self) -> bool {
        self.denied + usize::from(self.rounds > 0 && self.is_denied()) >= DENIED_ROUNDS
    }
}

fn set(lookup: &mut Lookup, floodfill: &Hash, state: Try) {
    for (_, try_) in lookup.asked.iter_mut().filter(|(hash, _)| hash == floodfill) {
        *try_ = state;
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::testing::{NOW, floodfills, store};
    use super::*;

    fn lookups() -> Lookups {
        Lookups::new(Rng::from_seed([5; 32]))
    }

    fn drain(lookups: &mut Lookups) -> Vec<Event> {
        std::iter::from_fn(|| lookups.poll_event()).collect()
    }

    fn asked(events: &[Event]) -> Vec<Hash> {
        let hash = |event: &Event| if let Event::Query { floodfill, .. } = event { Some(*floodfill) } else { None };
        events.iter().filter_map(hash).collect()
    }

    fn results(events: &[Event]) -> Vec<Result<(), Failure>> {
        let result = |event: &Event| if let Event::Done { result, .. } = event { Some(*result) } else { None };
        events.iter().filter_map(result).collect()
    }

    const KEY: Hash = Hash([77; 32]);

    #[test]
    fn the_closest_are_asked_three_at_once_and_seven_in_all() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        let id = lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        assert_eq!(lookups.start(NOW, KEY, Kind::LeaseSet, &routers), id, "joined");
        let mut now = NOW;
        let mut events = drain(&mut lookups);
        assert_eq!(events.len(), 3);
        while let Some(at) = lookups.next_timeout() {
            now = now.later(at.since(now.mono));
            lookups.handle_timeout(now, &routers);
            events.extend(drain(&mut lookups));
        }
        let closest = routers.closest_today(NOW, &KEY, 7, &[]);
        let all = asked(&events);
        assert_eq!(all[..7], closest);
        assert!(all[7..].chunks(3).all(|round| round == &closest[..round.len()]), "silence is asked again");
        assert!((10..=19).contains(&all.len()), "{}", all.len());
        assert_eq!(results(&events), [Err(Failure::TimedOut)]);
        assert_eq!(now.mono, NOW.mono + effort(Kind::LeaseSet).total, "late answers are waited for");
        let Some(Event::Query { excluded, .. }) = events.iter().filter(|e| matches!(e, Event::Query { .. })).nth(6)
        else {
            panic!()
        };
        assert_eq!(excluded.len(), 6);
    }

    #[test]
    fn a_store_ends_it_once_and_even_late() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        let now = NOW.later(Duration::from_secs(14));
        lookups.handle_timeout(now, &routers);
        assert!(lookups.wants(&KEY));
        lookups.handle_store(&KEY);
        lookups.handle_store(&KEY);
        assert_eq!(results(&drain(&mut lookups)), [Ok(())]);
        assert!(!lookups.wants(&KEY) && lookups.next_timeout().is_none());
    }

    #[test]
    fn all_saying_no_is_not_found_after_the_closest_were_asked_again() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        let (mut now, mut events) = (NOW, Vec::new());
        loop {
            let new = drain(&mut lookups);
            let floodfills = asked(&new);
            events.extend(new);
            for floodfill in &floodfills {
                assert!(lookups.handle_search_reply(now, floodfill, &KEY, &[], &routers));
            }
            if floodfills.is_empty() {
                let Some(at) = lookups.next_timeout() else { break };
                now = now.later(at.since(now.mono));
                lookups.handle_timeout(now, &routers);
            }
        }
        assert_eq!((asked(&events).len(), results(&events)), (7 + 3 + 3, vec![Err(Failure::NotFound)]));
        assert_eq!(now.mono.since(NOW.mono), Duration::from_secs(3));
    }

    /// Runs a look-up of a LeaseSet whose floodfills say no, but for those that `silent` names. The result is what came
    /// of it, when, and who was asked when.
    fn with_silence(n: u64, silent: impl Fn(&[Hash], &Hash) -> bool) -> (Result<(), Failure>, u64, Vec<(Hash, u64)>) {
        let (routers, mut lookups) = (floodfills(n), lookups());
        let closest = routers.closest_today(NOW, &KEY, 7, &[]);
        lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        let (mut now, mut all) = (NOW, Vec::new());
        loop {
            let events = drain(&mut lookups);
            let ms = now.unix_ms - NOW.unix_ms;
            if let Some(result) = results(&events).first() {
                return (*result, ms, all);
            }
            for floodfill in asked(&events) {
                all.push((floodfill, ms));
                if !silent(&closest, &floodfill) {
                    assert!(lookups.handle_search_reply(now, &floodfill, &KEY, &[], &routers));
                }
            }
            if let Some(at) = lookups.next_timeout().filter(|_| lookups.events.is_empty()) {
                now = now.later(at.since(now.mono));
                lookups.handle_timeout(now, &routers);
            }
        }
    }

    #[test]
    fn one_silent_floodfill_does_not_hold_a_clear_no_until_the_deadline() {
        let (result, ms, all) = with_silence(50, |closest, floodfill| *floodfill == closest[0]);
        assert_eq!(result, Err(Failure::NotFound));
        assert!((8_000..=12_000).contains(&ms), "{ms}");
        // What is published a little later is still found.
        let closest = all[1].0;
        let rounds: Vec<u64> = all.iter().filter(|(floodfill, _)| *floodfill == closest).map(|(_, at)| *at).collect();
        assert_eq!(rounds.len(), 1 + DENIED_ROUNDS);
        assert!(rounds.last().is_some_and(|at| *at >= 6_000), "{rounds:?}");
        let (result, ms, _) = with_silence(50, |_, _| true);
        assert_eq!(result, Err(Failure::TimedOut), "of nothing but silence nothing follows");
        // Rounded down at each step.
        assert!((14_900..=15_000).contains(&ms), "{ms}");
    }

    /// Where several have died together, later look-ups begin with those that live.
    #[test]
    fn who_was_silent_is_asked_last_for_a_while() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        let closest = routers.closest_today(NOW, &KEY, 6, &[]);
        lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        assert_eq!(asked(&drain(&mut lookups)), closest[..3]);
        let now = NOW.later(Duration::from_secs(3));
        lookups.handle_timeout(now, &routers);
        assert_eq!(asked(&drain(&mut lookups)), closest[3..]);
        lookups.handle_store(&KEY);
        let again = |lookups: &mut Lookups, now| {
            drain(lookups);
            lookups.start(now, KEY, Kind::LeaseSet, &routers);
            let asked = asked(&drain(lookups));
            lookups.handle_store(&KEY);
            asked
        };
        assert_eq!(again(&mut lookups, now), closest[3..]);
        assert_eq!(again(&mut lookups, now.later(Duration::from_secs(30))), closest[..3]);
        // Where nobody else is known, they are asked all the same.
        let few = floodfills(3);
        let mut lookups = Lookups::new(Rng::from_seed([5; 32]));
        for at in [NOW, now] {
            lookups.start(at, KEY, Kind::LeaseSet, &few);
            assert_eq!(asked(&drain(&mut lookups)).len(), 3);
            lookups.handle_timeout(at.later(Duration::from_secs(3)), &few);
            lookups.handle_store(&KEY);
            drain(&mut lookups);
        }
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_where_nobody_else_is_left() {
        let (routers, mut lookups) = (floodfills(2), lookups());
        lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        let first = asked(&drain(&mut lookups));
        assert!(lookups.handle_search_reply(NOW, &first[0], &KEY, &[], &routers));
        let now = NOW.later(Duration::from_secs(3));
        lookups.handle_timeout(now, &routers);
        lookups.handle_timeout(now, &routers);
        assert_eq!(asked(&drain(&mut lookups)), first);
    }

    /// Threats T32, T33.
    #[test]
    fn t32_t33_unasked_replies_are_dropped_and_hints_are_bounded() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        let asked = asked(&drain(&mut lookups));
        let strangers: Vec<Hash> = (0..255u8).map(|i| Hash([i; 32])).collect();
        assert!(!lookups.handle_search_reply(NOW, &Hash([1; 32]), &KEY, &strangers, &routers), "not asked");
        assert!(!lookups.handle_search_reply(NOW, &asked[0], &Hash([1; 32]), &strangers, &routers), "another key");
        assert!(lookups.handle_search_reply(NOW, &asked[0], &KEY, &strangers, &routers));
        assert!(!lookups.handle_search_reply(NOW, &asked[0], &KEY, &strangers, &routers), "only once");
        let needs: Vec<Hash> = drain(&mut lookups)
            .into_iter()
            .filter_map(|event| if let Event::Need { hash, .. } = event { Some(hash) } else { None })
            .collect();
        assert_eq!(needs.len(), 3);
        assert!(needs.iter().all(|hash| strangers[..16].contains(hash)), "only the first 16 count");
    }

    #[test]
    fn hints_start_look_ups_that_take_none_and_leave_others_room() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        let stranger = |i: usize| Hash::of(&[i as u8, 1]);
        (0..limits::LOOKUPS).for_each(|i| lookups.start_hint(NOW, stranger(i), true, &routers));
        assert_eq!(lookups.len(), limits::HINT_LOOKUPS);
        let events = drain(&mut lookups);
        assert!(results(&events).is_empty(), "nobody waits for those that were not started");
        let reply = |lookups: &mut Lookups, i: usize| {
            let Some(from) = events.iter().find_map(|event| match event {
                Event::Query { floodfill, key, .. } if *key == stranger(i) => Some(*floodfill),
                _ => None,
            }) else {
                panic!("nobody asked for {i}");
            };
            assert!(lookups.handle_search_reply(NOW, &from, &stranger(i), &[Hash([3; 32])], &routers));
            drain(lookups).iter().filter(|event| matches!(event, Event::Need { .. })).count()
        };
        assert_eq!(reply(&mut lookups, 0), 0);
        for i in limits::HINT_LOOKUPS..limits::LOOKUPS {
            lookups.start(NOW, stranger(i), Kind::RouterInfo, &routers);
        }
        assert_eq!(lookups.len(), limits::LOOKUPS);
        lookups.start(NOW, stranger(1), Kind::RouterInfo, &routers);
        assert_eq!(reply(&mut lookups, 1), 1, "somebody else wants it, too");
        assert!(results(&drain(&mut lookups)).is_empty());
    }

    #[test]
    fn an_exploration_takes_one_reply_with_all_its_hints() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        lookups.start(NOW, KEY, Kind::Exploration, &routers);
        let floodfill = asked(&drain(&mut lookups))[0];
        let known = routers.iter().next().unwrap().hash();
        let peers: Vec<Hash> = (0..40u8).map(|i| Hash([i; 32])).chain([known]).collect();
        assert!(lookups.handle_search_reply(NOW, &floodfill, &KEY, &peers, &routers));
        let events = drain(&mut lookups);
        assert_eq!(events.iter().filter(|event| matches!(event, Event::Need { .. })).count(), 16);
        assert_eq!(results(&events), [Ok(())]);
    }

    #[test]
    fn questions_that_fail_go_elsewhere_without_end() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        let id = lookups.start(NOW, KEY, Kind::RouterInfo, &routers);
        let mut total = 0;
        loop {
            let events = drain(&mut lookups);
            let floodfills = asked(&events);
            total += floodfills.len();
            if floodfills.is_empty() {
                assert_eq!(results(&events), [Err(Failure::TimedOut)]);
                break;
            }
            floodfills.iter().for_each(|f| lookups.handle_query_failed(NOW, id, f, &routers));
        }
        assert_eq!(total, 14);
    }

    #[test]
    fn without_floodfills_and_beyond_the_bound_it_fails_at_once() {
        let mut lookups = lookups();
        lookups.start(NOW, KEY, Kind::LeaseSet, &store(10));
        assert_eq!(results(&drain(&mut lookups)), [Err(Failure::NoFloodfills)]);
        let routers = floodfills(5);
        for i in 0..limits::LOOKUPS {
            lookups.start(NOW, Hash::of(&[i as u8]), Kind::LeaseSet, &routers);
        }
        assert!(results(&drain(&mut lookups)).is_empty());
        lookups.start(NOW, KEY, Kind::LeaseSet, &routers);
        assert_eq!(results(&drain(&mut lookups)), [Err(Failure::Busy)]);
        assert_eq!(lookups.len(), limits::LOOKUPS);
    }

    #[test]
    fn barred_floodfills_are_not_asked() {
        let (routers, mut lookups) = (floodfills(50), lookups());
        let closest = routers.closest_today(NOW, &KEY, 5, &[]);
        lookups.start_without(NOW, KEY, Kind::LeaseSet, closest[..2].to_vec(), &routers);
        assert_eq!(asked(&drain(&mut lookups)), closest[2..5]);
    }
}
