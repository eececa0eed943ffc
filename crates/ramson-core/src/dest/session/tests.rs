//! Two sets of sessions and one clock.

use super::flow::NEW_SESSION_INTERVAL;
use super::*;
use ramson_wire::garlic::block::Delivery;
use ramson_wire::garlic::frame;
use ramson_wire::i2np::{Kind, Message};

pub(super) struct Side {
    pub(super) sessions: Sessions,
    key: PublicKey,
    hash: Hash,
    rng: Rng,
    /// Bodies of data cloves that came.
    got: Vec<Vec<u8>>,
    lease_sets: usize,
    dropped: Vec<u64>,
    errors: Vec<SessionError>,
    jobs: Vec<SessionJob>,
}

impl Side {
    fn new(seed: u8) -> Self {
        let mut rng = Rng::from_seed([seed; 32]);
        let secret = SecretKey::random(&mut rng);
        let key = secret.public_key();
        let mut sessions = Sessions::new(secret, rng.child("sessions"));
        sessions.set_lease_set(vec![seed; 500]);
        Self {
            sessions,
            key,
            hash: Hash([seed; 32]),
            rng,
            got: vec![],
            lease_sets: 0,
            dropped: vec![],
            errors: vec![],
            jobs: vec![],
        }
    }

    /// Takes all events; what was sealed is returned.
    fn drain(&mut self, now: Now) -> Vec<Vec<u8>> {
        let mut sealed = vec![];
        loop {
            while let Some(event) = self.sessions.poll_event() {
                match event {
                    SessionEvent::Job(job) => self.jobs.push(job),
                    SessionEvent::Sealed { body, .. } => sealed.push(body),
                    SessionEvent::Dropped { token, .. } => self.dropped.push(token),
                    SessionEvent::Clove { from, clove } => match clove.message.kind {
                        Kind::DATA => self.got.push(clove.message.body),
                        _ => {
                            self.lease_sets += 1;
                            if let Sender::Static(key) = from {
                                self.sessions.learn_hash(&key, Hash([clove.message.body[0]; 32]));
                            }
                        }
                    },
                }
            }
            if self.jobs.is_empty() {
                return sealed;
            }
            let job = self.jobs.remove(0);
            let done = job.run(&mut self.rng);
            self.errors.extend(self.sessions.handle_job(now, done).err());
        }
    }
}

pub(super) struct Pair {
    now: Now,
    pub(super) a: Side,
    pub(super) b: Side,
    rng: Rng,
    /// Of a hundred messages, so many are lost.
    pub(super) loss: usize,
    /// All that one side sends is lost: that of `a`, where it is true.
    lost_from: Option<bool>,
    reorder: bool,
    wire: Vec<(bool, Vec<u8>)>,
    next: u32,
}

impl Pair {
    fn new() -> Self {
        Self::seeded(1, 2)
    }

    pub(super) fn seeded(a: u8, b: u8) -> Self {
        let now = Now::new(Instant::from_micros(1_000_000), 1_780_000_000_000);
        let (a, b) = (Side::new(a), Side::new(b));
        Self {
            now,
            a,
            b,
            rng: Rng::from_seed([9; 32]),
            loss: 0,
            lost_from: None,
            reorder: false,
            wire: vec![],
            next: 0,
        }
    }

    pub(super) fn send(&mut self, from_a: bool) {
        self.next += 1;
        let body = self.next.to_be_bytes().to_vec();
        let message = Message { kind: Kind::DATA, id: self.next, expiration: self.now.unix_ms + 60_000, body };
        let clove = Clove { delivery: Delivery::Local, message };
        let (from, to) = if from_a { (&mut self.a, &self.b) } else { (&mut self.b, &self.a) };
        from.sessions.send(self.now, to.hash, to.key, &[clove], u64::from(self.next));
    }

    /// Carries what is under way until nothing is.
    pub(super) fn drive(&mut self) {
        loop {
            for from_a in [true, false] {
                let side = if from_a { &mut self.a } else { &mut self.b };
                self.wire.extend(side.drain(self.now).into_iter().map(|body| (from_a, body)));
            }
            if self.wire.is_empty() {
                return;
            }
            let at = if self.reorder { self.rng.below(self.wire.len().min(20)) } else { 0 };
            let (from_a, body) = self.wire.remove(at);
            if self.lost_from != Some(from_a) && self.rng.below(100) >= self.loss {
                let to = if from_a { &mut self.b } else { &mut self.a };
                to.errors.extend(to.sessions.handle_garlic(self.now, &body).err());
            }
        }
    }

    pub(super) fn wait(&mut self, by: Duration) {
        let until = self.now.later(by);
        loop {
            let next = [&self.a, &self.b].iter().filter_map(|side| side.sessions.next_timeout()).min();
            match next.filter(|at| *at <= until.mono) {
                Some(at) => self.now = self.now.later(at.since(self.now.mono)),
                None => break,
            }
            self.a.sessions.handle_timeout(self.now);
            self.b.sessions.handle_timeout(self.now);
            self.drive();
        }
        self.now = until;
    }

    fn establish(&mut self) {
        self.send(true);
        self.drive();
        self.send(false);
        self.drive();
        self.wait(Duration::from_secs(3));
        assert!(self.established(true) && self.established(false));
    }

    pub(super) fn established(&self, a: bool) -> bool {
        let (side, peer) = if a { (&self.a, &self.b) } else { (&self.b, &self.a) };
        let current = side.sessions.remotes.get(&peer.key).and_then(|remote| remote.current);
        current.is_some_and(|id| matches!(side.sessions.sessions[&id].state, State::Established(_)))
    }
}

#[test]
fn new_session_reply_and_existing_session() {
    let mut pair = Pair::new();
    pair.send(true);
    pair.send(true);
    pair.drive();
    assert_eq!(pair.b.got, [1u32].map(|n| n.to_be_bytes().to_vec()), "the second waits for an answer");
    pair.wait(NEW_SESSION_INTERVAL);
    assert_eq!(pair.b.got, [1u32, 2].map(|n| n.to_be_bytes().to_vec()));
    assert_eq!(pair.b.lease_sets, 2, "each New Session carries the LeaseSet");
    pair.send(false);
    pair.drive();
    assert_eq!(pair.a.got.len(), 1);
    assert!(pair.established(true) && !pair.established(false));
    pair.wait(Duration::from_secs(3));
    assert!(pair.established(false), "an empty message completes the session");
    pair.send(false);
    pair.send(true);
    pair.drive();
    assert_eq!((pair.a.got.len(), pair.b.got.len()), (2, 3));
    assert!(pair.a.errors.is_empty() && pair.b.errors.is_empty());
}

#[test]
fn thousands_of_messages_through_many_generations() {
    for (loss, reorder) in [(0, false), (10, false), (0, true), (10, true)] {
        let mut pair = Pair::new();
        pair.a.sessions.ratchet_after = 60;
        pair.b.sessions.ratchet_after = 90;
        pair.establish();
        (pair.loss, pair.reorder) = (loss, reorder);
        let (before, start) = (pair.a.got.len() + pair.b.got.len(), pair.next);
        for burst in 0..250 {
            (0..10).for_each(|i| pair.send((i + burst) % 3 != 0));
            pair.drive();
            pair.wait(Duration::from_millis(700));
        }
        let sent = (pair.next - start) as usize;
        let got = pair.a.got.len() + pair.b.got.len() - before;
        assert!(pair.a.dropped.is_empty() && pair.b.dropped.is_empty());
        assert!(got * 100 >= sent * (100 - loss - 4) && got <= sent, "{got} of {sent}, loss {loss}");
        if loss == 0 {
            assert_eq!(got, sent, "reordered: {reorder}");
            assert!(pair.a.errors.is_empty() && pair.b.errors.is_empty(), "{:?}", pair.a.errors);
        }
        for side in [&pair.a, &pair.b] {
            let generations = side.sessions.sessions.values().filter_map(|s| match &s.state {
                State::Established(ratchet) => Some(ratchet.send.id()),
                _ => None,
            });
            assert!(generations.max().unwrap() > 5, "several tag sets were used");
            let [_, _, sets, tags, ..] = side.sessions.sizes();
            assert!(sets < 40 && tags < 40 * 320, "{sets} {tags}");
        }
        // All ends when both fall silent.
        pair.loss = 0;
        pair.wait(Duration::from_secs(1300));
        assert_eq!(pair.a.sessions.sizes(), [0; 6]);
        assert_eq!(pair.b.sessions.sizes(), [0; 6]);
    }
}

#[test]
fn both_may_begin_at_once() {
    let mut pair = Pair::new();
    pair.send(true);
    pair.send(false);
    pair.drive();
    for _ in 0..20 {
        pair.send(true);
        pair.send(false);
        pair.drive();
        pair.wait(Duration::from_secs(1));
    }
    assert_eq!((pair.a.got.len(), pair.b.got.len()), (21, 21));
    assert!(pair.established(true) && pair.established(false));
}

#[test]
fn a_changed_lease_set_travels_until_it_is_acknowledged() {
    let mut pair = Pair::new();
    pair.establish();
    pair.wait(Duration::from_secs(20));
    let before = pair.b.lease_sets;
    pair.a.sessions.set_lease_set(vec![1; 480]);
    pair.loss = 100;
    pair.send(true);
    pair.drive();
    pair.loss = 0;
    pair.wait(Duration::from_secs(11));
    for _ in 0..5 {
        pair.send(true);
        pair.drive();
    }
    assert_eq!(pair.b.lease_sets, before + 1, "sent again once, and not while an ack may come");
    pair.wait(Duration::from_secs(15));
    pair.send(true);
    pair.drive();
    assert_eq!(pair.b.lease_sets, before + 1, "acknowledged");
}

/// Of a sender that has thousands of messages under way, a burst may be lost just when it begins its next tag set.
#[test]
fn a_later_tag_set_reaches_as_far_as_the_one_before() {
    let mut pair = Pair::new();
    pair.establish();
    pair.a.sessions.ratchet_after = 2_000;
    // As streams have it: acks come back all the time.
    let send = |pair: &mut Pair| {
        pair.send(true);
        pair.drive();
        pair.send(false);
        pair.drive();
    };
    let generation = |pair: &Pair| {
        pair.a
            .sessions
            .sessions
            .values()
            .filter_map(|s| match &s.state {
                State::Established(ratchet) => Some(ratchet.send.id()),
                _ => None,
            })
            .max()
    };
    let begun = generation(&pair);
    for _ in 0..10_000 {
        if generation(&pair) != begun {
            break;
        }
        send(&mut pair);
    }
    assert!(generation(&pair) > begun);
    pair.loss = 100;
    (0..1_500).for_each(|_| pair.send(true));
    pair.drive();
    pair.loss = 0;
    let before = pair.b.got.len();
    (0..10).for_each(|_| send(&mut pair));
    assert_eq!(pair.b.got.len(), before + 10);
    assert_eq!(pair.a.sessions.sizes()[1], 1, "no other session was needed");
}

/// However fast sets follow each other, the tags of old ones take no room from the newest.
#[test]
fn old_tag_sets_make_room() {
    let mut pair = Pair::new();
    pair.establish();
    pair.a.sessions.ratchet_after = 300;
    for _ in 0..6_000 {
        pair.send(true);
        pair.drive();
        pair.send(false);
        pair.drive();
    }
    let [_, _, sets, tags, ..] = pair.b.sessions.sizes();
    assert!(sets <= 4 && tags < 4 * 1_000, "{sets} sets, {tags} tags");
    assert!(pair.a.errors.is_empty() && pair.b.errors.is_empty());
}

/// More is lost in a row than tags reach over, while the other side goes on sending.
#[test]
fn a_session_that_the_other_side_cannot_read_any_more_is_replaced() {
    let mut pair = Pair::new();
    pair.establish();
    pair.loss = 100;
    (0..u32::from(state::MAX_WINDOW) + 100).for_each(|_| {
        pair.send(true);
        pair.drive();
    });
    pair.loss = 0;
    let before = pair.b.got.len();
    let key = pair.b.key;
    for second in 0..20 {
        pair.send(true);
        pair.send(false);
        pair.drive();
        // Streams see that nothing of theirs comes.
        if pair.b.got.len() == before {
            pair.a.sessions.path_changed(&key);
        }
        pair.wait(Duration::from_secs(1));
        assert!(second < 14 || pair.b.got.len() > before, "nothing came in {second} s");
    }
    assert!(pair.b.got.len() >= before + 5, "{}", pair.b.got.len() - before);
    assert!(pair.established(true) && pair.established(false));
}

/// The same where the first messages of a new session are lost, of which the other side has acknowledged none: few tags stand
/// ready for them. What comes the other way must not hide it.
#[test]
fn a_session_whose_first_messages_are_all_lost_is_replaced() {
    for lost_from_a in [true, false] {
        let mut pair = Pair::new();
        pair.send(true);
        pair.drive();
        pair.send(false);
        if lost_from_a {
            // The reply comes, and nothing that follows it.
            let reply = pair.b.drain(pair.now);
            reply.iter().for_each(|body| pair.a.sessions.handle_garlic(pair.now, body).unwrap());
            pair.lost_from = Some(true);
        } else {
            pair.drive();
            pair.lost_from = Some(false);
            pair.send(true);
        }
        pair.drive();
        (0..100).for_each(|_| {
            pair.send(lost_from_a);
            pair.drive();
        });
        pair.lost_from = None;
        let got = |pair: &Pair| if lost_from_a { pair.b.got.len() } else { pair.a.got.len() };
        let (before, key) = (got(&pair), if lost_from_a { pair.b.key } else { pair.a.key });
        for second in 0..40 {
            pair.send(true);
            pair.send(false);
            pair.drive();
            if got(&pair) == before {
                let side = if lost_from_a { &mut pair.a } else { &mut pair.b };
                side.sessions.path_changed(&key);
            }
            pair.wait(Duration::from_secs(1));
            assert!(second < 20 || got(&pair) > before, "nothing came in {second} s, from a: {lost_from_a}");
        }
        assert!(got(&pair) >= before + 15, "from a {lost_from_a}: {} of 40", got(&pair) - before);
        assert!(pair.established(true) && pair.established(false));
    }
}

/// Where only a path is lost, the same session goes on when it is back.
#[test]
fn a_session_that_is_read_stays_whatever_paths_do() {
    let mut pair = Pair::new();
    pair.establish();
    let (a, b) = (pair.a.key, pair.b.key);
    for _ in 0..60 {
        pair.a.sessions.path_changed(&b);
        pair.b.sessions.path_changed(&a);
        pair.send(true);
        pair.send(false);
        pair.drive();
        pair.wait(Duration::from_secs(3));
    }
    assert_eq!((pair.a.sessions.sizes()[1], pair.b.sessions.sizes()[1]), (1, 1));
}

#[test]
fn a_side_that_lost_its_sessions_gets_a_new_one() {
    let mut pair = Pair::new();
    pair.establish();
    let key = pair.b.sessions.own.clone();
    pair.b.sessions = Sessions::new(key, Rng::from_seed([77; 32]));
    let before = pair.b.got.len();
    for _ in 0..30 {
        pair.wait(Duration::from_secs(10));
        pair.send(true);
        pair.drive();
    }
    assert!(pair.b.got.len() > before + 10, "{}", pair.b.got.len());
}

#[test]
fn unanswered_new_sessions_are_bounded_and_the_rest_waits_and_fails() {
    let mut pair = Pair::new();
    pair.loss = 100;
    (0..200).for_each(|_| pair.send(true));
    pair.drive();
    assert_eq!(pair.a.sessions.sizes()[1], 1, "one at a time");
    pair.wait(NEW_SESSION_INTERVAL * 10);
    let [_, sessions, _, tags, ..] = pair.a.sessions.sizes();
    assert_eq!((sessions, tags), (limits::PENDING_NEW_SESSIONS, limits::PENDING_NEW_SESSIONS * 12));
    assert_eq!(pair.a.dropped.len(), 200 - 1 - limits::QUEUED_PER_REMOTE);
    pair.wait(Duration::from_secs(31));
    assert_eq!(pair.a.dropped.len(), 200 - limits::PENDING_NEW_SESSIONS);
    pair.wait(Duration::from_secs(100));
    assert_eq!(pair.a.sessions.sizes(), [0; 6]);
}

#[test]
fn bytes_that_wait_for_a_session_are_bounded() {
    let mut pair = Pair::new();
    let body = vec![7; 60_000];
    for token in 0..30 {
        let message = Message { kind: Kind::DATA, id: 1, expiration: pair.now.unix_ms + 60_000, body: body.clone() };
        let clove = Clove { delivery: Delivery::Local, message };
        pair.a.sessions.send(pair.now, pair.b.hash, pair.b.key, &[clove], token);
    }
    pair.a.drain(pair.now);
    let waiting: usize =
        pair.a.sessions.remotes.values().flat_map(|r| r.queue.iter()).map(|message| message.cloves.len()).sum();
    assert!(waiting <= limits::QUEUED_BYTES_PER_REMOTE && waiting > limits::QUEUED_BYTES_PER_REMOTE - 61_000);
    // One has left at once.
    assert_eq!(pair.a.dropped.len(), 29 - limits::QUEUED_BYTES_PER_REMOTE / 60_020);
}

/// One remote that begins anew all the time, as after many restarts with one key.
#[test]
fn t85_sessions_with_one_remote_are_bounded() {
    let mut pair = Pair::new();
    for seed in 0..3 * limits::SESSIONS_PER_REMOTE as u8 {
        let secret = SecretKey::from_bytes([77; 32]);
        pair.a.key = secret.public_key();
        pair.a.sessions = Sessions::new(secret, Rng::from_seed([seed; 32]));
        pair.a.sessions.set_lease_set(vec![1; 500]);
        pair.send(true);
        let bodies = pair.a.drain(pair.now);
        for body in bodies {
            pair.b.errors.extend(pair.b.sessions.handle_garlic(pair.now, &body).err());
            pair.b.drain(pair.now);
        }
        assert!(pair.b.sessions.sizes()[1] <= limits::SESSIONS_PER_REMOTE);
    }
    assert_eq!((pair.b.sessions.sizes()[0], pair.b.got.len()), (1, 3 * limits::SESSIONS_PER_REMOTE));
    assert_eq!(pair.b.sessions.sizes()[1], limits::SESSIONS_PER_REMOTE);
}

#[test]
fn replies_to_a_new_session_that_is_not_confirmed_are_bounded() {
    let mut pair = Pair::new();
    pair.send(true);
    pair.drive();
    let mut replies = 0;
    for _ in 0..60 {
        pair.send(false);
        replies += pair.b.drain(pair.now).len();
        pair.now = pair.now.later(Duration::from_millis(400));
        pair.b.sessions.handle_timeout(pair.now);
        replies += pair.b.drain(pair.now).len();
    }
    assert_eq!(replies, usize::from(limits::REPLIES_PER_NEW_SESSION));
}

/// A tunnel that fails takes a whole window of several streams with it; another one delivers late.
#[test]
fn a_session_outlives_the_loss_of_as_much_as_came_before() {
    let mut pair = Pair::new();
    pair.establish();
    for burst in [40, 80, 400, 1500] {
        (0..burst).for_each(|_| {
            pair.send(true);
            pair.drive();
        });
        let late: Vec<Vec<u8>> = (0..burst)
            .map(|_| {
                pair.send(true);
                pair.a.drain(pair.now).remove(0)
            })
            .collect();
        let before = pair.b.got.len();
        pair.send(true);
        pair.drive();
        assert_eq!(pair.b.got.len(), before + 1, "after {burst} lost");
        for body in late {
            let _ = pair.b.sessions.handle_garlic(pair.now, &body);
            pair.b.drain(pair.now);
        }
        assert_eq!(pair.b.got.len(), before + 1 + burst, "{burst} late ones");
    }
}

#[test]
fn new_sessions_go_on_while_none_is_answered_and_the_first_can_still_be() {
    let mut pair = Pair::new();
    pair.send(true);
    let first = pair.a.drain(pair.now).remove(0);
    let mut bodies = 0;
    for _ in 0..20 {
        pair.wait(Duration::from_secs(3));
        pair.send(true);
        bodies += pair.a.drain(pair.now).len();
        let [_, sessions, ..] = pair.a.sessions.sizes();
        assert!(sessions <= limits::PENDING_NEW_SESSIONS);
    }
    assert!(bodies >= 12, "{bodies}");
    pair.b.sessions.handle_garlic(pair.now, &first).unwrap();
    pair.b.drain(pair.now);
    pair.send(false);
    pair.drive();
    assert!(!pair.a.got.is_empty(), "the reply to the first one is read");
}

#[test]
fn t85_replayed_skewed_and_undated_new_sessions_are_refused() {
    let mut pair = Pair::new();
    pair.send(true);
    let body = pair.a.drain(pair.now).remove(0);
    let read = |pair: &mut Pair, body: &[u8]| {
        pair.b.errors.clear();
        pair.b.errors.extend(pair.b.sessions.handle_garlic(pair.now, body).err());
        pair.b.drain(pair.now);
        pair.b.errors.first().copied()
    };
    assert_eq!(read(&mut pair, &body), None);
    assert_eq!(read(&mut pair, &body), Some(SessionError::Replayed));
    let mut other_top = body.clone();
    other_top[4 + 31] ^= 0xc0;
    assert_eq!(read(&mut pair, &other_top), Some(SessionError::Replayed));
    assert_eq!(pair.b.got.len(), 1);
    for later in [-400i64, 200] {
        pair.wait(NEW_SESSION_INTERVAL);
        pair.send(true);
        let body = pair.a.drain(pair.now).remove(0);
        pair.now.unix_ms = pair.now.unix_ms.saturating_add_signed(-later * 1000);
        assert_eq!(read(&mut pair, &body), Some(SessionError::Skewed));
        pair.now.unix_ms = pair.now.unix_ms.saturating_add_signed(later * 1000);
    }
    // T89: a payload without DateTime.
    use crate::dest::ratchet::handshake::CreateNewSession;
    let work = CreateNewSession { own: None, peer: pair.b.key, payload: Block::AckRequest.to_vec() };
    let job = SessionJob { id: 0, work: Work::CreateNewSession(work) };
    let Ok(Done::NewSessionCreated(created)) = job.run(&mut pair.rng).result else { panic!() };
    assert!(matches!(read(&mut pair, &frame(&created.encrypted)), Some(SessionError::Malformed(_))));
}

/// After a fault all sessions are dropped, and new ones follow. No tag or timer of the old ones is left.
#[test]
fn sessions_that_are_dropped_begin_anew() {
    let mut pair = Pair::new();
    for from_a in [true, false, true] {
        pair.send(from_a);
        pair.drive();
    }
    let got = pair.a.got.len();
    // A younger session would not be replaced at the other side.
    pair.wait(RESTART_AFTER);
    pair.b.sessions.forget_all();
    assert_eq!(pair.b.sessions.sizes(), [0; 6]);
    pair.send(false);
    pair.drive();
    assert_eq!(pair.a.got.len(), got + 1);
    pair.send(true);
    pair.drive();
    assert_eq!(pair.b.got.len(), 3);
}

/// A New Session message that comes again is refused, until as many others have come as are remembered.
#[test]
fn t85_replays_of_new_sessions_are_known_up_to_the_limit() {
    let mut pair = Pair::new();
    let now = pair.now;
    let payload = Block::DateTime(now.unix_secs()).to_vec();
    let mut read = |n: usize| {
        let mut ephemeral = [0; 32];
        ephemeral[..8].copy_from_slice(&n.to_le_bytes());
        let read = NewSessionRead { ephemeral: PublicKey(ephemeral), payload: payload.clone(), received: None };
        let result = pair.b.sessions.new_session_read(now, read);
        (result, pair.b.sessions.replays.len())
    };
    let count = limits::REPLAY_KEYS;
    for n in 0..2 * count {
        assert_eq!(read(n), (Ok(()), n + 1));
        if n % 4_096 == 4_095 {
            assert_eq!(read((n + 1).saturating_sub(count)).0, Err(SessionError::Replayed));
        }
    }
    assert_eq!(read(2 * count), (Ok(()), count + 1), "the older generation went");
    assert_eq!(read(count).0, Err(SessionError::Replayed));
    assert_eq!(read(0).0, Ok(()), "forgotten");
}

trait ToVec {
    fn to_vec(&self) -> Vec<u8>;
}
impl ToVec for Block {
    fn to_vec(&self) -> Vec<u8> {
        Block::encode_all(&[self.clone(), Block::Padding(9)])
    }
}

#[test]
fn t85_a_flood_of_new_sessions_is_capped() {
    let mut pair = Pair::new();
    let mut outcomes = [0; 2];
    for n in 0..1000u32 {
        let body = frame(&[&n.to_be_bytes()[..], &[7; 300]].concat());
        match pair.b.sessions.handle_garlic(pair.now, &body) {
            Ok(()) => outcomes[0] += 1,
            Err(error) => {
                assert_eq!(error, SessionError::Busy);
                outcomes[1] += 1;
            }
        }
    }
    assert_eq!(outcomes, [limits::NEW_SESSION_JOBS, 1000 - limits::NEW_SESSION_JOBS]);
    pair.b.drain(pair.now);
    assert_eq!(pair.b.sessions.sizes(), [0; 6], "garbage leaves nothing behind");
}

#[test]
fn t85_new_sessions_of_many_senders_stay_bounded() {
    let mut pair = Pair::new();
    let mut count = 0;
    for n in 0..limits::REMOTES + 50 {
        let work = crate::dest::ratchet::handshake::CreateNewSession {
            own: Some(SecretKey::random(&mut pair.rng)),
            peer: pair.b.key,
            payload: Block::DateTime(pair.now.unix_secs()).to_vec(),
        };
        let job = SessionJob { id: 0, work: Work::CreateNewSession(work) };
        let Ok(Done::NewSessionCreated(created)) = job.run(&mut pair.rng).result else { panic!() };
        pair.now = pair.now.later(Duration::from_millis(20));
        assert_eq!(pair.b.sessions.handle_garlic(pair.now, &frame(&created.encrypted)), Ok(()), "{n}");
        pair.b.drain(pair.now);
        count = pair.b.sessions.sizes()[0];
    }
    assert_eq!(count, limits::REMOTES);
    pair.wait(Duration::from_secs(200));
    assert_eq!(pair.b.sessions.sizes(), [0; 6]);
}

#[test]
fn t86_a_used_tag_opens_nothing_and_a_damaged_message_costs_no_tag() {
    let mut pair = Pair::new();
    pair.establish();
    pair.send(true);
    let body = pair.a.drain(pair.now).remove(0);
    for i in 12..body.len() {
        let mut bad = body.clone();
        bad[i] ^= 1;
        assert_eq!(pair.b.sessions.handle_garlic(pair.now, &bad), Err(SessionError::Undecryptable), "byte {i}");
    }
    assert_eq!(pair.b.sessions.handle_garlic(pair.now, &body), Ok(()));
    let _ = pair.b.sessions.handle_garlic(pair.now, &body); // it may look like a New Session message
    pair.drive();
    let last = pair.b.got.last().unwrap().clone();
    assert_eq!(pair.b.got.iter().filter(|body| **body == last).count(), 1);
}

#[test]
fn t86_next_keys_out_of_turn_change_nothing() {
    let mut pair = Pair::new();
    pair.establish();
    let id = pair.b.sessions.remotes[&pair.a.key].current.unwrap();
    let State::Established(ratchet) = &pair.b.sessions.sessions[&id].state else { panic!() };
    let set = ratchet.receive;
    let key = Some(PublicKey([9; 32]));
    let before = pair.b.sessions.sizes();
    for next in [
        NextKey { reverse: true, request_reverse: false, id: 0, key },
        NextKey { reverse: false, request_reverse: true, id: 1, key },
        NextKey { reverse: false, request_reverse: true, id: 0, key: None },
        NextKey { reverse: false, request_reverse: false, id: 0, key },
        NextKey { reverse: false, request_reverse: true, id: 32_767, key },
    ] {
        for _ in 0..100 {
            pair.b.sessions.handle_blocks(pair.now, id, (set, 0, 5), vec![Block::NextKey(next)]);
        }
        assert_eq!(pair.b.sessions.sizes(), before, "{next:?}");
    }
    let good = NextKey { reverse: false, request_reverse: true, id: 0, key };
    for _ in 0..100 {
        pair.b.sessions.handle_blocks(pair.now, id, (set, 0, 5), vec![Block::NextKey(good)]);
    }
    assert_eq!(pair.b.sessions.sizes()[4], before[4] + 1, "one job, however often it is asked for");
    pair.b.drain(pair.now);
    assert_eq!(pair.b.sessions.sizes()[2], before[2] + 1);
}

#[test]
fn t86_keys_of_low_order_stop_no_ratchet() {
    let mut pair = Pair::new();
    pair.establish();
    pair.a.sessions.ratchet_after = 0;
    pair.send(true);
    pair.drive();
    let id = pair.a.sessions.remotes[&pair.b.key].current.unwrap();
    let asking = |pair: &mut Pair| match &pair.a.sessions.ratchet_mut(id).unwrap().forward {
        Forward::Asking(block) => Some(*block),
        _ => None,
    };
    let block = asking(&mut pair).unwrap();
    let low = NextKey { reverse: true, request_reverse: false, id: 0, key: Some(PublicKey([0; 32])) };
    pair.a.sessions.handle_blocks(pair.now, id, (0, 0, 0), vec![Block::NextKey(low)]);
    assert_eq!(asking(&mut pair), None, "the job is out");
    pair.drive();
    assert_eq!(asking(&mut pair), Some(block), "the same key is offered again");
    pair.send(true);
    pair.drive();
    pair.wait(Duration::from_secs(3));
    assert_eq!(pair.a.sessions.ratchet_mut(id).unwrap().send.id(), 1);
}

#[test]
fn t87_ack_requests_get_one_ack_per_message() {
    let mut pair = Pair::new();
    pair.establish();
    let id = pair.b.sessions.remotes[&pair.a.key].current.unwrap();
    let acks = Block::Ack(vec![ramson_wire::garlic::block::Ack { tag_set: 7, index: 9 }; 1000]);
    let mut blocks = vec![Block::AckRequest; 100];
    blocks.extend(vec![acks; 100]);
    for index in 0..1000 {
        pair.b.sessions.handle_blocks(pair.now, id, (0, 0, index), blocks.clone());
    }
    assert_eq!(pair.b.sessions.sessions[&id].acks.len(), limits::PENDING_ACKS);
    pair.wait(Duration::from_secs(2));
    assert!(pair.b.sessions.sessions[&id].acks.is_empty());
}

#[test]
fn one_time_keys_open_one_message() {
    let mut pair = Pair::new();
    pair.a.sessions.expect_one_time(pair.now, [5; 8], [6; 32].into(), Duration::from_secs(30));
    let message = Message { kind: Kind::DATA, id: 1, expiration: 0, body: vec![1, 2] };
    let payload = Block::encode_all(&[Block::Clove(Clove { delivery: Delivery::Local, message })]);
    let body = one_time::seal(&[6; 32], &[5; 8], &payload);
    let mut bad = body.clone();
    bad[20] ^= 1;
    assert_eq!(pair.a.sessions.handle_garlic(pair.now, &bad), Err(SessionError::Undecryptable));
    assert_eq!(pair.a.sessions.handle_garlic(pair.now, &body), Ok(()));
    pair.a.drain(pair.now);
    assert_eq!(pair.a.got, [vec![1, 2]]);
    assert!(pair.a.sessions.handle_garlic(pair.now, &body).is_err());
    for n in 0..limits::ONE_TIME_KEYS as u64 * 2 {
        pair.a.sessions.expect_one_time(pair.now, n.to_be_bytes(), [6; 32].into(), Duration::from_secs(30));
    }
    assert!(pair.a.sessions.one_time.len() <= limits::ONE_TIME_KEYS);
    pair.wait(Duration::from_secs(31));
    assert!(pair.a.sessions.one_time.is_empty());
}

#[test]
fn a_used_up_tag_set_leads_to_a_new_session() {
    let mut pair = Pair::new();
    pair.a.sessions.ratchet_after = u16::MAX;
    pair.establish();
    let id = pair.a.sessions.remotes[&pair.b.key].current.unwrap();
    let State::Established(ratchet) = &mut pair.a.sessions.sessions.get_mut(&id).unwrap().state else { panic!() };
    while ratchet.send.next_entry().is_some() {}
    let before = pair.b.got.len();
    pair.send(true);
    pair.drive();
    assert_eq!(pair.b.got.len(), before + 1);
}
