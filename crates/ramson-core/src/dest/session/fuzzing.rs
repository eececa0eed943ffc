//! Two destinations' sessions, and tunnels that a fuzzer holds: messages are lost, repeated, late and changed, jobs run
//! when it likes or fail, and it writes New Sessions, replies and tagged messages with any blocks.
//!
//! Whatever comes: the tables agree and keep their bounds, each message that is sent ends in one event, and all is
//! forgotten when both fall silent. As long as nobody has written anything, a clove arrives once and as it was sent,
//! and after any losses both reach each other again.

use super::{Sender, SessionEvent, SessionJob, Sessions};
use crate::fuzzing::program::{Program, Script, Seeds};
use crate::rng::Rng;
use crate::time::{Duration, Instant, Now};
use ramson_wire::codec::Encode;
use ramson_wire::crypto::x25519::{PublicKey, SecretKey};
use ramson_wire::data::Hash;
use ramson_wire::garlic::block::{Block, Clove, Delivery, NextKey};
use ramson_wire::garlic::{frame, one_time};
use ramson_wire::i2np::{Kind, Message};
use std::collections::{BTreeSet, VecDeque};

const START: Now = Now::new(Instant::from_micros(1_000_000), 1_790_000_000_000);
const WIRE: usize = 256;
const EVENTS: usize = 20_000;

/// What came of a program, for tests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub cloves: usize,
    pub sealed: usize,
    pub dropped: usize,
    pub errors: usize,
    /// The highest tag set by which anything was sent.
    pub generation: u16,
    pub recovered: usize,
}

struct Side {
    sessions: Sessions,
    key: PublicKey,
    hash: Hash,
    rng: Rng,
    /// Messages that are being sent, by token.
    open: BTreeSet<u64>,
}

struct Pair {
    now: Now,
    sides: [Side; 2],
    wire: VecDeque<(usize, Vec<u8>)>,
    jobs: VecDeque<(usize, SessionJob)>,
    /// Cloves that were sent to each side and did not come yet.
    sent: [BTreeSet<u32>; 2],
    next: u32,
    honest: bool,
    outcome: Outcome,
}

/// Runs a program. The first byte chooses how soon tag sets end, and whether it is looked for recovery.
pub fn ratchet(bytes: &[u8]) -> Outcome {
    let mut program = Program::new(bytes);
    let form = program.byte();
    let mut pair = Pair::new(form);
    while let Some(step) = program.step() {
        pair.step(step, &mut program);
        pair.drain();
        pair.check();
    }
    if form & 4 != 0 && pair.honest {
        pair.recover();
    }
    pair.settle();
    pair.outcome
}

impl Pair {
    fn new(form: u8) -> Self {
        let side = |seed: u8| {
            let mut rng = Rng::from_seed([seed; 32]);
            let secret = SecretKey::random(&mut rng);
            let key = secret.public_key();
            let mut sessions = Sessions::new(secret, rng.child("sessions"));
            sessions.ratchet_after = [2, 9, 60, 4096][usize::from(form & 3)];
            sessions.set_lease_set(vec![seed; 50]);
            Side { sessions, key, hash: Hash([seed; 32]), rng, open: BTreeSet::new() }
        };
        Self {
            now: START,
            sides: [side(1), side(2)],
            wire: VecDeque::new(),
            jobs: VecDeque::new(),
            sent: [BTreeSet::new(), BTreeSet::new()],
            next: 0,
            honest: true,
            outcome: Outcome::default(),
        }
    }

    fn step(&mut self, step: u8, program: &mut Program<'_>) {
        let side = usize::from(step >> 7);
        match step & 0x1f {
            0 => self.send(side),
            1 => (0..program.byte() % 48).for_each(|_| self.send(side)),
            2 => self.deliver(program.byte().into(), false),
            3 => self.deliver(program.byte().into(), true),
            4 => drop(self.take(program.byte().into())),
            5 => {
                if let Some((to, mut body)) = self.take(program.byte().into()) {
                    program.tamper(&mut body);
                    self.inject(to, &body);
                }
            }
            6 => {
                let blob = program.blob();
                let body = if program.flag() { frame(blob) } else { blob.to_vec() };
                self.inject(side, &body);
            }
            7 | 8 => self.existing(side, program),
            9 => self.new_session(side, program),
            10 => self.reply(side, program),
            11 => self.run_job(program.flag()),
            12 => self.jobs.rotate_left(usize::from(self.jobs.len() > 1)),
            13 => self.pass(Duration::from_millis(u64::from(program.byte()) * 10)),
            14 => self.pass(Duration::from_secs(program.byte().into())),
            15 => {
                self.go_on();
            }
            16 => self.sides[side].sessions.set_lease_set(program.blob().to_vec()),
            17 => self.one_time(side, program),
            18 => {
                let (key, hash) = (self.sides[1 - side].key, Hash([program.byte(); 32]));
                self.sides[side].sessions.learn_hash(&key, hash);
            }
            19 => {
                self.sides[side].sessions.forget_all();
                self.sides[side].open.clear();
                self.jobs.retain(|(of, _)| *of != side);
            }
            _ => self.calm(program.below(60)),
        }
    }

    fn send(&mut self, side: usize) {
        self.next += 1;
        let message = Message {
            kind: Kind::DATA,
            id: self.next,
            expiration: self.now.unix_ms / 1000 * 1000 + 60_000,
            body: self.next.to_be_bytes().to_vec(),
        };
        let clove = Clove { delivery: Delivery::Local, message };
        let (to, key) = (self.sides[1 - side].hash, self.sides[1 - side].key);
        self.sides[side].open.insert(self.next.into());
        self.sent[1 - side].insert(self.next);
        self.sides[side].sessions.send(self.now, to, key, &[clove], self.next.into());
    }

    // ---- tunnels ----

    fn take(&mut self, at: usize) -> Option<(usize, Vec<u8>)> {
        self.wire.remove(at.checked_rem(self.wire.len())?)
    }

    fn deliver(&mut self, at: usize, again: bool) {
        let Some((to, body)) = self.take(at) else { return };
        if again {
            self.wire.push_back((to, body.clone()));
        }
        self.hand(to, &body);
    }

    fn hand(&mut self, to: usize, body: &[u8]) {
        let result = self.sides[to].sessions.handle_garlic(self.now, body);
        self.outcome.errors += usize::from(result.is_err());
    }

    fn inject(&mut self, to: usize, body: &[u8]) {
        self.honest = false;
        self.hand(to, body);
    }

    /// A tag that a side waits for.
    fn tag(&self, side: usize, replies: bool, program: &mut Program<'_>) -> [u8; 8] {
        let sets: Vec<_> = self.sides[side].sessions.sets.values().filter(|set| set.replies == replies).collect();
        let live: Vec<_> = program.pick(&sets).into_iter().flat_map(|set| &set.live).collect();
        program.pick(&live).map_or([program.byte(); 8], |(_, tag)| *tag)
    }

    /// A tagged message with blocks that the program writes, among them keys of the next step that fit.
    fn existing(&mut self, side: usize, program: &mut Program<'_>) {
        let form = program.byte();
        let mut body = self.tag(side, false, program).to_vec();
        if form & 1 != 0 {
            let next = NextKey {
                reverse: form & 2 != 0,
                request_reverse: form & 4 != 0,
                id: program.byte().into(),
                key: (form & 8 != 0).then_some(PublicKey([form; 32])),
            };
            Block::NextKey(next).encode(&mut body);
        }
        body.extend_from_slice(&program.blocks());
        body.extend_from_slice(&[program.byte(); 16]);
        self.inject(side, &frame(&body));
    }

    fn new_session(&mut self, side: usize, program: &mut Program<'_>) {
        let [form, ephemeral] = [program.byte(), program.byte()];
        let mut body = vec![ephemeral; 32];
        body.extend_from_slice(&match form & 3 {
            0 => [0; 32],
            1 => [ephemeral ^ form; 32],
            _ => self.sides[1 - side].key.0,
        });
        body.extend_from_slice(&[0; 16]);
        if form & 4 == 0 {
            Block::DateTime(self.now.unix_secs().wrapping_add(u32::from(form >> 4) * 30)).encode(&mut body);
        }
        body.extend_from_slice(&program.blocks());
        body.extend_from_slice(&[program.byte(); 16]);
        self.inject(side, &frame(&body));
    }

    fn reply(&mut self, side: usize, program: &mut Program<'_>) {
        let mut body = self.tag(side, true, program).to_vec();
        body.extend_from_slice(&[program.byte(); 32]);
        body.extend_from_slice(&[0; 16]);
        body.extend_from_slice(&program.blocks());
        body.extend_from_slice(&[program.byte(); 16]);
        self.inject(side, &frame(&body));
    }

    /// A message under a key that was given away.
    fn one_time(&mut self, side: usize, program: &mut Program<'_>) {
        let tag = [program.byte(); 8];
        let lifetime = Duration::from_secs(program.byte().into());
        self.sides[side].sessions.expect_one_time(self.now, tag, [3; 32].into(), lifetime);
        if program.flag() {
            let blocks = program.blocks();
            self.inject(side, &one_time::seal(&[3; 32], &tag, &blocks));
        }
    }

    // ---- time, jobs and events ----

    fn run_job(&mut self, fails: bool) {
        let Some((side, job)) = self.jobs.pop_front() else { return };
        let this = &mut self.sides[side];
        let done = if fails { job.failed() } else { job.run(&mut this.rng) };
        self.outcome.errors += usize::from(this.sessions.handle_job(self.now, done).is_err());
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        for side in &mut self.sides {
            if side.sessions.next_timeout().is_some_and(|at| at <= self.now.mono) {
                side.sessions.handle_timeout(self.now);
            }
        }
    }

    fn go_on(&mut self) -> bool {
        let next = self.sides.iter().filter_map(|side| side.sessions.next_timeout()).min();
        let Some(next) = next else { return false };
        self.pass(next.since(self.now.mono));
        true
    }

    fn calm(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.jobs.is_empty() {
                self.run_job(false);
            } else if !self.wire.is_empty() {
                self.deliver(0, false);
            } else {
                self.pass(Duration::from_millis(200));
            }
            self.drain();
        }
    }

    fn drain(&mut self) {
        for side in 0..2 {
            for count in 0.. {
                assert!(count < EVENTS, "events without end");
                let Some(event) = self.sides[side].sessions.poll_event() else { break };
                self.handle(side, event);
            }
        }
    }

    fn handle(&mut self, side: usize, event: SessionEvent) {
        match event {
            SessionEvent::Job(job) => self.jobs.push_back((side, job)),
            SessionEvent::Sealed { token, body, .. } => {
                self.outcome.sealed += 1;
                if let Some(token) = token {
                    assert!(self.sides[side].open.remove(&token), "a message is sent once");
                }
                if self.wire.len() < WIRE {
                    self.wire.push_back((1 - side, body));
                }
            }
            SessionEvent::Dropped { token, .. } => {
                self.outcome.dropped += 1;
                assert!(self.sides[side].open.remove(&token), "a message is sent or dropped, and once");
            }
            SessionEvent::Clove { from, clove } => self.clove(side, from, &clove),
        }
    }

    fn clove(&mut self, side: usize, from: Sender, clove: &Clove) {
        self.outcome.cloves += 1;
        if clove.message.kind != Kind::DATA || !self.honest {
            return;
        }
        assert_eq!(from, Sender::Static(self.sides[1 - side].key), "who sent it");
        assert!(self.sent[side].remove(&clove.message.id), "what was sent, and once");
        assert_eq!(clove.message.body, clove.message.id.to_be_bytes(), "as it was sent");
    }

    // ---- what holds ----

    fn check(&mut self) {
        for (at, side) in self.sides.iter().enumerate() {
            side.sessions.check();
            let jobs = self.jobs.iter().filter(|(of, _)| *of == at).count();
            assert_eq!(side.sessions.jobs.len(), jobs, "every job is awaited");
        }
        let sets = self.sides.iter().flat_map(|side| side.sessions.sets.values());
        let generation = sets.map(|set| set.chain.id()).max().unwrap_or(0);
        self.outcome.generation = self.outcome.generation.max(generation);
    }

    /// Whatever was lost, messages arrive again within some minutes.
    fn recover(&mut self) {
        let before = self.outcome.cloves;
        for round in 0..60 {
            if round == 40 {
                self.sent.iter_mut().for_each(BTreeSet::clear);
                self.outcome.recovered = 0;
            }
            (0..2).for_each(|side| self.send(side));
            self.calm(30);
            self.pass(Duration::from_secs(5));
            self.drain();
        }
        self.calm(200);
        self.check();
        assert!(self.outcome.cloves > before, "something arrives");
        let lost = self.sent.iter().map(BTreeSet::len).max().unwrap_or(0);
        assert!(lost < 20, "in the end both reach each other");
        self.outcome.recovered = 20 - lost;
    }

    /// Both are silent: all is forgotten.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.drain();
            if !self.jobs.is_empty() {
                self.run_job(false);
            } else if !self.go_on() {
                break;
            }
        }
        self.drain();
        for side in &self.sides {
            side.sessions.check();
            assert_eq!(side.sessions.sizes(), [0; 6], "nothing stays");
            assert!(side.open.is_empty(), "messages that neither leave nor fail: {:?}", side.open);
        }
    }
}

/// Programs to start from.
pub(crate) fn seeds() -> Seeds {
    let mut talk = Script(vec![4]);
    talk.put(&[0, 31, 30, 0x80, 31, 30]);
    for _ in 0..20 {
        talk.put(&[1, 9, 31, 40, 0x81, 7, 31, 40]);
    }
    let mut lossy = Script(vec![5]);
    lossy.put(&[0, 11, 0, 4, 0, 14, 1, 0, 31, 20, 0x80, 31, 20]);
    for n in 0..20 {
        lossy.put(&[1, 20, 4, n, 3, n, 3, 2, 12, 11, 1, 2, 9, 0x81, 5, 4, 3, 31, 30, 14, 3]);
    }
    let mut keys = Script(vec![3]);
    keys.put(&[0, 31, 30, 0x80, 31, 30, 0, 31, 9]);
    // Steps that the other side did not take, in each form.
    for form in [0x0d, 0x0f, 0x05, 0x01, 0x0b, 0x09] {
        keys.put(&[7, form, 0, 3, 0, 0, 0, 31, 5, 0x87, form, 0, 9, 1, 0, 0, 31, 5]);
    }
    keys.put(&[7, 0, 0, 4, 2, 5]).blob(&[0, 0, 0, 1]).put(&[6]).blob(&[0]).put(&[0, 31, 9]);
    let mut strangers = Script(vec![0]);
    // New Sessions: anonymous, by a stranger, as the peer, without a date, too late, twice; then replies to ours.
    for (form, ephemeral) in [(0, 9), (1, 7), (2, 8), (4, 6), (0xf1, 5), (2, 8)] {
        strangers.put(&[9, form, ephemeral, 1, 11]).blob(&clove()).put(&[0, 11, 0, 31, 2]);
    }
    strangers.put(&[0, 11, 0, 10, 0, 1, 8, 1, 11]).blob(&clove()).put(&[0, 11, 0, 31, 8, 0x80, 0, 31, 9]);
    let mut given = Script(vec![0]);
    given.put(&[17, 4, 60, 1, 1, 11]).blob(&clove()).put(&[17, 5, 1, 0, 14, 3, 16]).blob(&[7; 90]);
    given.put(&[0, 31, 20, 19, 0x80, 31, 20, 0x93, 0, 31, 30]);
    vec![("talk", talk.0), ("lossy", lossy.0), ("keys", keys.0), ("strangers", strangers.0), ("given", given.0)]
}

/// A clove block's content: Data for the destination itself.
fn clove() -> Vec<u8> {
    let message = Message { kind: Kind::DATA, id: 1, expiration: START.unix_ms, body: vec![0, 0, 0, 2, 7, 7] };
    let mut block = Vec::new();
    Block::Clove(Clove { delivery: Delivery::Local, message }).encode(&mut block);
    block.split_off(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seed(name: &str) -> Outcome {
        ratchet(&crate::fuzzing::program::named(seeds(), name))
    }

    #[test]
    fn honest_programs_come_through() {
        let talk = seed("talk");
        assert!(talk.cloves > 250 && talk.generation > 5 && talk.dropped == 0 && talk.errors == 0, "{talk:?}");
        let lossy = seed("lossy");
        assert!(lossy.generation > 2 && lossy.recovered == 20, "{lossy:?}");
    }

    #[test]
    fn what_is_written_by_hand_opens_under_stubs_only() {
        let stubbed = cfg!(ramson_fuzz_crypto);
        assert_eq!(seed("strangers").cloves > 0, stubbed, "{:?}", seed("strangers"));
        assert!(seed("given").cloves > 0, "a key that was given away is everybody's");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_program_keeps_the_rules(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            ratchet(&bytes);
        }
    }
}
