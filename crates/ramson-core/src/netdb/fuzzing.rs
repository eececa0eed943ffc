//! The known routers, look-ups and publications of one router, whose floodfills are a fuzzer: it offers RouterInfos good
//! and bad, answers what was asked and what was not, names strangers, confirms, or is silent.
//!
//! As a floodfill it takes what the fuzzer stores, and is asked (`floodfill`).
//!
//! Whatever comes: the tables agree and keep their bounds, a RouterInfo that is refused changes nothing, nobody is asked
//! who must not be, nothing is confirmed by a number that was not given away, and each look-up ends in one event.

mod floodfill;

use super::flood;
use super::lookup::{self, Kind, LookupId};
use super::publish;
use super::store::{self, RouterStore, Source, VerifyJob};
use super::{Explorer, Floodfill, LeaseSetPublisher, Lookups, RouterInfoPublisher};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::codec::Decode;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Hash, Mapping, RouterAddress, RouterIdentity, RouterInfo};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

const START: Now = Now::new(Instant::from_micros(1_000_000), 1_790_000_000_000);
const OWN: Hash = Hash([9; 32]);
const DESTINATION: Hash = Hash([8; 32]);
/// Routers that are known at the most: few enough to be reached.
const CAP: usize = 24;
const EVENTS: usize = 20_000;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub stored: usize,
    pub refused: usize,
    pub queries: usize,
    pub found: usize,
    pub failed: usize,
    pub needs: usize,
    pub stores: usize,
    pub confirmed: usize,
    pub verifies: usize,
    /// As a floodfill: stores confirmed, entries passed on, questions answered with what was asked for.
    pub store_confirmed: usize,
    pub flooded: usize,
    pub served: usize,
}

struct Net {
    now: Now,
    store: RouterStore,
    lookups: Lookups,
    publisher: RouterInfoPublisher,
    lease_sets: LeaseSetPublisher,
    explorer: Explorer,
    jobs: VecDeque<VerifyJob>,
    /// Questions that are out.
    asked: Vec<(LookupId, Hash, Hash)>,
    /// Who must not be asked in a look-up.
    barred: BTreeMap<LookupId, Vec<Hash>>,
    /// Look-ups that were started here and are not over, and all that are.
    open: BTreeSet<LookupId>,
    over: BTreeSet<LookupId>,
    /// Numbers under which something is stored: of our RouterInfo, and of the LeaseSet.
    tokens: [Vec<u32>; 2],
    floodfill: Floodfill,
    store_jobs: VecDeque<flood::VerifyJob>,
    /// Confirmations that were asked for, by their token.
    awaited: BTreeMap<u32, usize>,
    rng: Rng,
    outcome: Outcome,
}

/// Runs a program.
pub fn netdb(bytes: &[u8]) -> Outcome {
    let mut rng = Rng::from_seed([5; 32]);
    let mut net = Net {
        now: START,
        store: RouterStore::new(OWN, 2, CAP, rng.child("store"), START),
        lookups: Lookups::new(rng.child("lookups")),
        publisher: RouterInfoPublisher::new(START, OWN, rng.child("publisher")),
        lease_sets: LeaseSetPublisher::new(DESTINATION, rng.child("lease sets")),
        explorer: Explorer::new(START, rng.child("explorer")),
        jobs: VecDeque::new(),
        asked: Vec::new(),
        barred: BTreeMap::new(),
        open: BTreeSet::new(),
        over: BTreeSet::new(),
        tokens: [Vec::new(), Vec::new()],
        floodfill: Floodfill::new(OWN, START),
        store_jobs: VecDeque::new(),
        awaited: BTreeMap::new(),
        rng: rng.child("answers"),
        outcome: Outcome::default(),
    };
    let mut program = Program::new(bytes);
    while let Some(step) = program.step() {
        net.step(step, &mut program);
        net.drain();
        net.check();
    }
    net.settle();
    net.outcome
}

/// The RouterInfo of the router `n` as the program wants it.
fn info(n: u8, program: &mut Program<'_>) -> Option<RouterInfo> {
    let [age, form, other] = [program.byte(), program.byte(), program.byte()];
    let pick = |bits: u8, from: [&'static str; 4]| from[usize::from(bits & 3)];
    let options = [
        ("caps", pick(form, ["XfR", "LR", "fU", ""])),
        ("netId", pick(other >> 4, ["2", "2", "99", ""])),
        ("router.version", pick(form >> 2, ["0.9.68", "0.9.68", "0.9.58", ""])),
    ];
    let host = [("host", pick(form >> 4, ["192.0.2.1", "", "2a00::1", "::"]))];
    let seed = [n; 32];
    let key = SigningKey::from_seed(seed);
    let address = Mapping::from_pairs(host.into_iter().filter(|(_, host)| !host.is_empty())).ok()?;
    let unsigned = Unsigned {
        identity: RouterIdentity::new(PublicKey([2; 32]), *key.public(), &mut Rng::from_seed(seed)),
        published: START.unix_ms.saturating_add_signed(i64::from(age.cast_signed()) * 30 * 60_000),
        addresses: vec![RouterAddress::new(3, "NTCP2", address).ok()?; usize::from(form >> 6 != 3)],
        options: Mapping::from_pairs(options.into_iter().filter(|(_, value)| !value.is_empty())).ok()?,
    };
    unsigned.sign(&key).ok()
}

/// Under which tag the answer to a question comes.
const fn tag(question: usize) -> [u8; 8] {
    (question as u64).to_be_bytes()
}

fn hash_of(n: u8) -> Hash {
    let seed = [n; 32];
    let key = SigningKey::from_seed(seed);
    RouterIdentity::new(PublicKey([2; 32]), *key.public(), &mut Rng::from_seed(seed)).hash()
}

impl Net {
    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        if step & 0x20 != 0 {
            return self.serve_step(step, program);
        }
        match step & 0x1f {
            0 | 1 => {
                let info = info(program.byte(), program);
                self.offer(info, program.byte());
            }
            2 => {
                let mut bytes = info(program.byte(), program).map(|info| info.as_bytes().to_vec()).unwrap_or_default();
                program.tamper(&mut bytes);
                self.offer(RouterInfo::from_bytes(&bytes).ok(), program.byte());
            }
            3 => self.run_job(),
            4 => {
                let hash = self.jobs.pop_front().map(|job| job.hash());
                hash.into_iter().for_each(|hash| self.store.handle_job_failed(&hash));
            }
            5 => self.store.remove(&hash_of(program.byte())),
            6 => self.store.expire(self.now),
            7 => drop(self.store.take_dirty()),
            8..=11 => self.look_up(step & 0x1f, program),
            12 | 13 => self.answer(program),
            14 => {
                if let Some((id, floodfill, _)) = program.pick(&self.asked).copied() {
                    self.lookups.handle_query_failed(self.now, id, &floodfill, &self.store);
                }
            }
            15 => self.found(program),
            16 => self.pass(Duration::from_millis(u64::from(program.byte()) * 20)),
            17 => self.pass(Duration::from_secs(u64::from(program.u16()))),
            18 | 19 => {
                self.go_on();
            }
            _ => self.publish(step & 0x1f, program),
        }
    }

    fn offer(&mut self, info: Option<RouterInfo>, source: u8) {
        let Some(info) = info else { return };
        let source = [Source::Wanted, Source::Unasked, Source::Local, Source::Published, Source::Private, Source::Disk]
            [usize::from(source % 6)];
        let before = self.store.digest();
        if self.store.offer(self.now, Arc::new(info), source).is_err() {
            self.outcome.refused += 1;
            assert_eq!(before, self.store.digest(), "what is refused changes nothing");
        }
    }

    fn run_job(&mut self) {
        if let Some(job) = self.jobs.pop_front() {
            self.store.handle_job(self.now, job.run());
        }
    }

    fn look_up(&mut self, what: u8, program: &mut Program<'_>) {
        let key = hash_of(program.byte());
        let kinds = [Kind::LeaseSet, Kind::RouterInfo, Kind::Exploration, Kind::Any];
        let kind = program.pick(&kinds).copied().unwrap_or(Kind::Any);
        let id = match what {
            8 => self.lookups.start(self.now, key, kind, &self.store),
            9 => {
                let barred: Vec<Hash> = (0..program.below(5)).map(|_| hash_of(program.byte())).collect();
                let id = match program.byte() {
                    than @ 0..=99 => self.lookups.start_newer(self.now, key, than.into(), barred.clone(), &self.store),
                    _ => self.lookups.start_without(self.now, key, kind, barred.clone(), &self.store),
                };
                self.barred.insert(id, barred);
                id
            }
            10 => return self.lookups.start_hint(self.now, key, key.0[0] & 1 == 0, &self.store),
            _ => {
                let ids: Vec<LookupId> = self.open.iter().copied().collect();
                let Some(id) = program.pick(&ids).copied() else { return };
                self.open.remove(&id);
                self.over.insert(id);
                return self.lookups.cancel(id);
            }
        };
        if !self.over.contains(&id) {
            self.open.insert(id);
        }
    }

    /// Something was found: a RouterInfo, a LeaseSet of some time, or an older one than was wanted, under the tag of a
    /// question or another.
    fn found(&mut self, program: &mut Program<'_>) {
        let (form, key) = (program.byte(), hash_of(program.byte()));
        match form % 4 {
            0 => self.lookups.handle_store(&key),
            1 => self.lookups.handle_lease_set(&key, form.into()),
            _ => {
                let n = program.below(self.asked.len() + 1);
                let key = self.asked.get(n).map_or(key, |(_, _, key)| *key);
                self.lookups.handle_older(self.now, tag(n), &key, &self.store);
            }
        }
    }

    /// A reply to what was asked, or to something else, naming anybody.
    fn answer(&mut self, program: &mut Program<'_>) {
        let form = program.byte();
        let asked = program.pick(&self.asked).copied();
        let (from, key) = match asked {
            Some((_, from, key)) if form & 1 == 0 => (from, key),
            Some((_, from, _)) if form & 2 == 0 => (from, hash_of(program.byte())),
            _ => (hash_of(program.byte()), hash_of(program.byte())),
        };
        let peers: Vec<Hash> = (0..program.byte() % 32).map(|_| hash_of(program.byte())).collect();
        let known = self.asked.iter().any(|(_, floodfill, of)| *floodfill == from && *of == key);
        let taken = self.lookups.handle_search_reply(self.now, &from, &key, &peers, &self.store);
        assert!(known || !taken, "only who was asked can answer");
    }

    fn publish(&mut self, what: u8, program: &mut Program<'_>) {
        let (now, store) = (self.now, &self.store);
        let of = usize::from(what >= 24);
        let given = program.pick(&self.tokens[of]).copied();
        match what {
            20 | 21 => self.publisher.handle_changed(now),
            22 => {
                let token = given.unwrap_or_else(|| program.u32());
                let taken = self.publisher.handle_confirmation(token);
                assert!(given.is_some() || !taken, "a number that was not given away confirms nothing");
                self.outcome.confirmed += usize::from(taken);
            }
            23 => given.into_iter().for_each(|token| self.publisher.handle_store_failed(now, token, store)),
            24 | 25 => {
                let end = now.mono + Duration::from_secs(program.u16().into());
                self.lease_sets.handle_changed(now, end, what == 25);
            }
            26 | 27 => {
                let token = given.unwrap_or_else(|| program.u32());
                let taken = self.lease_sets.handle_confirmation(now, token);
                assert!(given.is_some() || !taken, "a number that was not given away confirms nothing");
                self.outcome.confirmed += usize::from(taken);
            }
            28 => given.into_iter().for_each(|token| self.lease_sets.handle_store_failed(now, token, store)),
            29 | 30 => self.lease_sets.handle_verified(now, program.flag(), store),
            _ => self.lease_sets.stop(),
        }
    }

    // ---- time and events ----

    fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        let (now, store) = (self.now, &self.store);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        if due(self.lookups.next_timeout()) {
            self.lookups.handle_timeout(now, store);
        }
        if due(self.publisher.next_timeout()) {
            self.publisher.handle_timeout(now, store);
        }
        if due(self.lease_sets.next_timeout()) {
            self.lease_sets.handle_timeout(now, store);
        }
        if let Some(key) = self.explorer.handle_timeout(now, store) {
            let id = self.lookups.start(now, key, Kind::Exploration, store);
            self.open.insert(id);
        }
    }

    fn go_on(&mut self) {
        let all = [self.lookups.next_timeout(), self.publisher.next_timeout(), self.lease_sets.next_timeout()];
        if let Some(next) = all.into_iter().flatten().chain([self.explorer.next_timeout()]).min() {
            self.pass(next.since(self.now.mono));
        }
    }

    fn drain(&mut self) {
        for count in 0.. {
            assert!(count < EVENTS, "events without end");
            if let Some(event) = self.store.poll_event() {
                match event {
                    store::Event::Job(job) => self.jobs.push_back(job),
                    store::Event::Stored(hash) => {
                        self.outcome.stored += 1;
                        self.lookups.handle_store(&hash);
                        self.floodfill.handle_stored(self.now, &hash, &self.store);
                    }
                    store::Event::Refused(hash, _) => {
                        self.outcome.refused += 1;
                        self.floodfill.handle_refused(&hash);
                    }
                }
            } else if let Some(event) = self.floodfill.poll_event() {
                self.flooded(event);
            } else if let Some(event) = self.lookups.poll_event() {
                self.looked_up(event);
            } else if let Some(event) = self.publisher.poll_event() {
                self.published(0, event);
            } else if let Some(event) = self.lease_sets.poll_event() {
                self.published(1, event);
            } else {
                return;
            }
        }
    }

    fn looked_up(&mut self, event: lookup::Event) {
        match event {
            lookup::Event::Query { id, floodfill, key, excluded, .. } => {
                self.outcome.queries += 1;
                assert!(floodfill != OWN && excluded.len() <= 32, "a question has room for who is excluded");
                assert!(!self.barred.get(&id).is_some_and(|barred| barred.contains(&floodfill)));
                assert!(!self.over.contains(&id), "a look-up that is over asks nobody");
                self.lookups.note_tag(id, floodfill, tag(self.asked.len()));
                self.asked.push((id, floodfill, key));
            }
            lookup::Event::Need { hash, .. } => {
                self.outcome.needs += 1;
                self.lookups.start_hint(self.now, hash, true, &self.store);
            }
            lookup::Event::Done { id, result, .. } => {
                assert!(self.over.insert(id), "a look-up ends once");
                self.open.remove(&id);
                self.asked.retain(|(of, ..)| *of != id);
                self.outcome.found += usize::from(result.is_ok());
                self.outcome.failed += usize::from(result.is_err());
            }
        }
    }

    fn published(&mut self, of: usize, event: publish::Event) {
        match event {
            publish::Event::Store { floodfill, token } => {
                self.outcome.stores += 1;
                assert!(self.store.is_floodfill(&floodfill), "floodfills are stored to");
                self.tokens[of].push(token);
            }
            publish::Event::Verify { .. } => self.outcome.verifies += 1,
        }
    }

    // ---- what holds ----

    fn check(&self) {
        self.store.check_books();
        self.floodfill.check_books();
        self.lookups.check();
        self.publisher.check();
        self.lease_sets.check();
        assert!(self.open.len() <= self.lookups.len(), "a look-up that runs is there");
        assert!(self.publisher.next_timeout().is_some(), "our RouterInfo is published again");
    }

    /// Nobody answers: each look-up ends.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.drain();
            let Some(next) = self.lookups.next_timeout() else { break };
            self.now = self.now.later(next.since(self.now.mono));
            self.lookups.handle_timeout(self.now, &self.store);
        }
        self.drain();
        self.check();
        assert!(self.open.is_empty() && self.lookups.is_empty(), "look-ups that never end: {:?}", self.open);
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let floodfills = |script: &mut Script, n: u8| {
        for seed in 1..=n {
            script.put(&[0, seed, 0, 0, 0, 0, 3]);
        }
    };
    let mut look_up = Script::default();
    floodfills(&mut look_up, 9);
    look_up.put(&[8, 40, 0, 8, 41, 1, 8, 42, 2, 10, 43, 0]);
    look_up.put(&[12, 0, 0, 5, 60, 61, 62, 1, 40, 12, 0, 1, 2, 63, 64, 12, 1, 0, 70, 1, 66, 12, 3, 7, 8, 0]);
    look_up
        .put(&[0, 41, 0, 1, 0, 0, 3, 14, 0, 16, 200, 18, 18, 18, 18, 9, 44, 0, 2, 1, 2, 200, 18, 18, 15, 0, 40, 11, 0]);
    // One that wants something newer than 50: an older one, and one that is new enough.
    look_up.put(&[9, 45, 0, 0, 50, 18, 15, 2, 45, 0, 15, 49, 45, 15, 61, 45]);
    let mut publish = Script::default();
    floodfills(&mut publish, 9);
    publish.put(&[20, 0, 18, 18, 18, 22, 1, 23, 0, 17, 10, 0, 18, 22, 0]);
    // Changed, stored, confirmed, looked for and not found; then again, and found.
    publish.put(&[24, 0, 2, 0, 18, 26, 0, 17, 0, 10, 29, 0, 0, 18, 18]);
    publish.put(&[24, 0, 2, 0, 17, 0, 30, 28, 0, 26, 2, 17, 0, 10, 29, 0, 1, 17, 0x20, 0, 18, 31, 0]);
    let mut offers = Script::default();
    for seed in 0..30 {
        // Of every age and form, from every source.
        offers.put(&[0, seed, seed.wrapping_mul(3).wrapping_sub(40), seed, seed << 2, seed, 3, 7]);
    }
    offers.put(&[2, 5, 1, 0, 0, 1, 0]).blob(&[1; 4]).put(&[0, 3, 2, 9, 1, 0, 0, 0, 3]).blob(&[5; 30]).put(&[1, 3]);
    offers.put(&[4, 5, 3, 17, 0xff, 0xff, 6, 0, 1, 0, 0, 0, 0, 4]);
    vec![("look_up", look_up.0), ("publish", publish.0), ("offers", offers.0), ("floodfill", floodfill::script().0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed(name: &str) -> Outcome {
        netdb(&crate::fuzzing::program::named(seeds(), name))
    }

    #[test]
    fn the_programs_reach_the_machines() {
        let look_up = seed("look_up");
        assert!(look_up.queries > 9 && look_up.found > 0 && look_up.failed > 1 && look_up.needs > 2, "{look_up:?}");
        let publish = seed("publish");
        assert!(publish.stores > 5 && publish.confirmed > 1 && publish.verifies > 0, "{publish:?}");
        let offers = seed("offers");
        assert!(offers.stored > 3 && offers.refused > 9, "{offers:?}");
        let floodfill = seed("floodfill");
        assert!(floodfill.store_confirmed > 6 && floodfill.flooded > 3 && floodfill.served > 4, "{floodfill:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_program_keeps_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            netdb(&bytes);
        }
    }
}
