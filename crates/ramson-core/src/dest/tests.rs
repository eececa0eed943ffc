//! Two destinations and one clock; a directory answers look-ups, a wire carries Garlic bodies to the lease's owner.

mod bounds;
mod datagram;
mod hybrid;
mod keyless;
mod restart;

use super::*;
use ramson_wire::datagram::payload::protocol;

struct Side {
    destination: Destination,
    rng: Rng,
    published: Option<LeaseSet2>,
    got: Vec<(Option<Hash>, ClientPayload)>,
    datagrams: Vec<super::datagram::Incoming>,
    failed: Vec<SendError>,
    lookups: usize,
    control: usize,
    moved: usize,
    paths: Vec<(Lease2, u64)>,
    /// Of a side whose keys a program holds: what it is to sign, what came of that, what came, and what left.
    offers: Vec<Vec<Lease2>>,
    taken: Vec<Result<(), LeaseSetError>>,
    messages: Vec<Vec<u8>>,
    sent: Vec<(u32, Result<(), SendError>)>,
}

struct Pair {
    now: Now,
    sides: [Side; 2],
    rng: Rng,
    loss: usize,
    reorder: bool,
    /// Whether look-ups are answered.
    directory: bool,
    wire: Vec<(usize, Vec<u8>)>,
    delivered: Vec<(usize, Vec<u8>)>,
}

fn secret(side: usize) -> SecretKey {
    SecretKey::from_bytes([40 + side as u8; 32])
}

impl Pair {
    fn new() -> Self {
        Self::with_keys(|_, keys| keys)
    }

    /// With keys that are made of new ones, by side.
    fn with_keys(keys_of: impl Fn(usize, PrivateKeys) -> PrivateKeys) -> Self {
        let mut rng = Rng::from_seed([5; 32]);
        let sides = [0, 1].map(|side| {
            let keys = keys_of(side, PrivateKeys::random(&mut rng));
            let config = DestinationConfig { publish: side == 1, compress: true };
            Side {
                destination: Destination::new(keys, secret(side), config, rng.child("destination")),
                rng: rng.child("jobs"),
                published: None,
                got: vec![],
                datagrams: vec![],
                failed: vec![],
                lookups: 0,
                control: 0,
                moved: 0,
                paths: vec![],
                offers: vec![],
                taken: vec![],
                messages: vec![],
                sent: vec![],
            }
        });
        let now = Now::new(Instant::from_micros(9_000_000), 1_780_000_000_000);
        let mut pair =
            Self { now, sides, rng, loss: 0, reorder: false, directory: true, wire: vec![], delivered: vec![] };
        pair.renew_leases();
        pair
    }

    fn renew_leases(&mut self) {
        for side in 0..2 {
            let leases = (0..3).map(|_| Lease2 {
                gateway: Hash(self.rng.bytes()),
                tunnel_id: self.rng.nonzero_u32(),
                end: self.now.unix_secs() + 600,
            });
            let leases: Vec<_> = leases.collect();
            self.sides[side].destination.handle_leases(self.now, leases);
        }
        self.drive();
    }

    fn send(&mut self, from: usize, text: &str) {
        let payload =
            ClientPayload { protocol: protocol::RAW, from_port: 1, to_port: 2, data: text.as_bytes().to_vec() };
        let to = self.sides[1 - from].destination.hash();
        self.sides[from].destination.send(self.now, to, payload);
    }

    fn drive(&mut self) {
        loop {
            for side in 0..2 {
                self.drain(side);
            }
            if self.wire.is_empty() {
                return;
            }
            let at = if self.reorder { self.rng.below(self.wire.len().min(20)) } else { 0 };
            let (to, body) = self.wire.remove(at);
            if self.rng.below(100) >= self.loss {
                let _ = self.sides[to].destination.handle_garlic(self.now, &body);
                self.delivered.push((to, body));
            }
        }
    }

    fn drain(&mut self, side: usize) {
        while let Some(event) = self.sides[side].destination.poll_event() {
            let other = self.sides[1 - side].published.clone();
            let this = &mut self.sides[side];
            match event {
                DestinationEvent::Job(job) => {
                    let done = job.run(&mut this.rng);
                    let _ = this.destination.handle_job(self.now, done);
                }
                DestinationEvent::LeaseSetChanged(set) => this.published = Some(set),
                DestinationEvent::NeedLeaseSet { hash, .. } => {
                    this.lookups += 1;
                    match other.filter(|set| set.key() == hash && self.directory) {
                        Some(set) => this.destination.handle_lease_set(self.now, set),
                        None => this.destination.handle_lookup_failed(self.now, hash),
                    }
                }
                DestinationEvent::Garlic { to, lease, path, body } => {
                    let set = other.unwrap();
                    assert_eq!(to, set.key());
                    this.paths.push((lease, path));
                    self.wire.push((1 - side, body));
                }
                DestinationEvent::Received { from, payload } => this.got.push((from, payload)),
                DestinationEvent::Datagram(datagram) => this.datagrams.push(datagram),
                DestinationEvent::Failed { reason, .. } => this.failed.push(reason),
                DestinationEvent::Control { .. } => this.control += 1,
                DestinationEvent::PathMoved(_) => this.moved += 1,
                DestinationEvent::SignLeases(leases) => this.offers.push(leases),
                DestinationEvent::LeaseSetTaken { result, .. } => this.taken.push(result),
                DestinationEvent::Message(payload) => this.messages.push(payload),
                DestinationEvent::MessageBeside { .. } => panic!("nobody is beside it"),
                DestinationEvent::MessageSent { id, result } => this.sent.push((id, result)),
            }
        }
    }

    fn wait(&mut self, by: Duration) {
        let until = self.now.later(by);
        loop {
            let next = self.sides.iter().filter_map(|side| side.destination.next_timeout()).min();
            match next.filter(|at| *at <= until.mono) {
                Some(at) => self.now = self.now.later(at.since(self.now.mono)),
                None => break,
            }
            let now = self.now;
            self.sides.iter_mut().for_each(|side| side.destination.handle_timeout(now));
            self.drive();
        }
        self.now = until;
    }

    fn texts(&self, side: usize) -> Vec<&[u8]> {
        self.sides[side].got.iter().map(|(_, payload)| &payload.data[..]).collect()
    }
}

#[test]
fn a_question_is_answered_without_a_look_up() {
    let mut pair = Pair::new();
    pair.send(0, "question");
    pair.drive();
    assert_eq!(pair.texts(1), [b"question"]);
    let asker = pair.sides[0].destination.hash();
    assert_eq!(pair.sides[1].got[0].0, Some(asker), "the bundled LeaseSet tells who asks");
    pair.send(1, "answer");
    pair.drive();
    assert_eq!(pair.texts(0), [b"answer"]);
    assert_eq!((pair.sides[0].lookups, pair.sides[1].lookups), (1, 0));
    let sticky = &pair.sides[0].paths;
    assert!(sticky.iter().all(|path| path == &sticky[0]));
}

#[test]
fn an_hour_of_talk_over_changing_leases() {
    for (loss, reorder) in [(0, false), (8, true)] {
        let mut pair = Pair::new();
        pair.send(0, "first");
        pair.drive();
        (pair.loss, pair.reorder) = (loss, reorder);
        let mut sent = 1;
        for step in 0..720 {
            if step % 60 == 59 {
                pair.renew_leases();
            }
            for from in [0, 1, 0] {
                pair.send(from, &format!("{step} {from}"));
                sent += 1;
            }
            pair.drive();
            pair.wait(Duration::from_secs(5));
        }
        let got = pair.sides[0].got.len() + pair.sides[1].got.len();
        assert!(got * 100 >= sent * (96 - loss) && got <= sent, "{got} of {sent}");
        if loss == 0 {
            assert_eq!(got, sent);
            assert!(pair.sides.iter().all(|side| side.failed.is_empty()));
            assert!(pair.sides.iter().all(|side| side.lookups <= 1), "new LeaseSets travel in the session");
        }
    }
}

#[test]
fn messages_wait_for_lease_sets_and_fail_in_time() {
    let mut pair = Pair::new();
    pair.directory = false;
    pair.send(0, "to nobody");
    pair.drive();
    assert_eq!(pair.sides[0].failed, [SendError::LeaseSetNotFound]);
    // A look-up that nobody answers.
    let payload = ClientPayload { protocol: 18, from_port: 0, to_port: 0, data: vec![1] };
    let this = &mut pair.sides[0].destination;
    for n in 0..limits::WAITING_FOR_LEASE_SET + 5 {
        this.send(pair.now, Hash([n as u8 / 200; 32]), payload.clone());
    }
    for n in 0..limits::LOOKUPS as u32 + 5 {
        let mut hash = [9; 32];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        this.send(pair.now, Hash(hash), payload.clone());
    }
    let mut asked = 0;
    let mut full = 0;
    while let Some(event) = this.poll_event() {
        match event {
            DestinationEvent::NeedLeaseSet { .. } => asked += 1,
            DestinationEvent::Failed { reason: SendError::QueueFull, .. } => full += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((asked, full), (limits::LOOKUPS, 5 + 6));
    pair.wait(Duration::from_secs(31));
    assert!(pair.sides[0].destination.waiting.is_empty());
    assert_eq!(pair.sides[0].failed.len(), 1 + limits::WAITING_FOR_LEASE_SET + limits::LOOKUPS - 1);
}

#[test]
fn a_lease_set_from_the_future_counts_as_not_found() {
    let mut pair = Pair::new();
    pair.now.unix_ms -= 121_000;
    pair.send(0, "too early");
    pair.drive();
    assert_eq!(pair.sides[0].failed, [SendError::LeaseSetNotFound]);
    pair.now.unix_ms += 1_000;
    pair.send(0, "in time");
    pair.drive();
    assert_eq!(pair.texts(1), [b"in time"]);
}

#[test]
fn too_large_and_own_messages() {
    let mut pair = Pair::new();
    let own = pair.sides[0].destination.hash();
    let noise: Vec<u8> = (0..70_000).map(|_| pair.rng.below(256) as u8).collect();
    let payload = ClientPayload { protocol: 18, from_port: 0, to_port: 0, data: noise };
    let now = pair.now;
    pair.sides[0].destination.send(now, Hash([1; 32]), payload);
    let small = ClientPayload { protocol: 18, from_port: 0, to_port: 0, data: vec![1] };
    pair.sides[0].destination.send(now, own, small);
    pair.drive();
    assert_eq!(pair.sides[0].failed, [SendError::TooLarge]);
    assert_eq!(pair.sides[0].got.len(), 1, "to itself");
}

#[test]
fn a_failed_path_leads_to_another_lease() {
    let mut pair = Pair::new();
    let to = pair.sides[1].destination.hash();
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..3 {
        pair.send(0, "x");
        pair.drive();
        let (lease, path) = *pair.sides[0].paths.last().unwrap();
        used.insert((lease.gateway, path));
        let now = pair.now;
        assert!(pair.sides[0].destination.handle_path_failed(now, &to));
        assert!(!pair.sides[0].destination.handle_path_failed(now, &to), "nothing went by another path yet");
        pair.now = pair.now.later(Duration::from_secs(1));
    }
    assert_eq!(used.len(), 3, "each of the three leases once");
    let now = pair.now;
    assert!(!pair.sides[0].destination.handle_path_failed(now, &Hash([9; 32])), "no LeaseSet, no path");
}

#[test]
fn a_doubtful_lease_set_is_looked_up_soon_and_then_ever_less_often_until_a_newer_one_comes() {
    let mut pair = Pair::new();
    let to = pair.sides[1].destination.hash();
    pair.send(0, "x");
    pair.drive();
    let fail = |pair: &mut Pair| {
        pair.send(0, "x");
        pair.drive();
        let (before, now) = (pair.sides[0].lookups, pair.now);
        pair.sides[0].destination.handle_path_failed(now, &to);
        pair.drain(0);
        pair.now = pair.now.later(Duration::from_secs(1));
        pair.sides[0].lookups - before
    };
    // One failure may be the tunnel's; two speak against the LeaseSet. Every answer is the old one.
    let asked: Vec<usize> = (0..90).map(|_| fail(&mut pair)).collect();
    let at: Vec<usize> = asked.iter().enumerate().filter(|(_, asked)| **asked > 0).map(|(at, _)| at).collect();
    assert_eq!(at[0], 1);
    let pauses: Vec<usize> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (soon, later) = pauses.split_at(4);
    assert!(soon.iter().all(|pause| (4..=5).contains(pause)), "{at:?}");
    assert!(later.len() == 3 && later.windows(2).all(|two| two[1] > two[0]) && later[2] >= 32, "{at:?}");
    assert_eq!(pair.sides[0].moved, 0);
    pair.renew_leases();
    pair.drive();
    let now = pair.now;
    let set = pair.sides[1].published.clone().unwrap();
    pair.sides[0].destination.handle_lease_set(now, set.clone());
    pair.drain(0);
    assert_eq!(pair.sides[0].moved, 1, "the stream need not wait to hear of it");
    pair.sides[0].destination.handle_lease_set(now, set);
    pair.drain(0);
    assert_eq!(pair.sides[0].moved, 1, "it is known");
}

#[test]
fn t84_cloves_for_others_are_dropped_and_stores_must_match_the_session() {
    let mut pair = Pair::new();
    pair.send(0, "first");
    pair.drive();
    let payload = ClientPayload { protocol: 18, from_port: 0, to_port: 0, data: b"crossing".to_vec() };
    let data = |kind, body| Message { kind, id: 1, expiration: 0, body };
    let from = Sender::Static(secret(0).public_key());
    let before = pair.sides[1].got.len();
    let now = pair.now;
    let other = Hash([3; 32]);
    let this = &mut pair.sides[1].destination;
    let body = payload.to_data_message(true);
    for delivery in [Delivery::Destination(other), Delivery::Router(other), Delivery::Tunnel { gateway: other, id: 5 }]
    {
        this.handle_clove(now, from, Clove { delivery, message: data(Kind::DATA, body.clone()) });
    }
    // A LeaseSet whose key is not the session's, from a session and from nobody; and one that does not verify.
    let foreign = Pair::new();
    let stranger = foreign.sides[1].published.clone().unwrap();
    let mut store = stranger.key().0.to_vec();
    store.extend_from_slice(&[3, 0, 0, 0, 0]);
    store.extend_from_slice(stranger.as_bytes());
    for from in [from, Sender::Anonymous] {
        this.handle_clove(
            now,
            from,
            Clove { delivery: Delivery::Local, message: data(Kind::DATABASE_STORE, store.clone()) },
        );
    }
    assert!(this.poll_event().is_none(), "nothing comes of it");
    // One that publishes the session's key but is not signed by its destination.
    let mut forged = pair.sides[0].published.clone().unwrap().as_bytes().to_vec();
    forged[0] ^= 1;
    let destination: ramson_wire::data::Destination =
        ramson_wire::codec::Decode::decode(&mut ramson_wire::codec::Reader::new(&forged)).unwrap();
    let store = [&destination.hash().0[..], &[3, 0, 0, 0, 0], &forged].concat();
    this.handle_clove(now, from, Clove { delivery: Delivery::Local, message: data(Kind::DATABASE_STORE, store) });
    pair.drive();
    let known = pair.sides[1].destination.sessions.hash_of(&secret(0).public_key());
    assert_eq!(known, Some(pair.sides[0].destination.hash()));
    assert_eq!(pair.sides[1].destination.remotes.published(&destination.hash()), None);
    assert_eq!(pair.sides[1].got.len(), before);
}

#[test]
fn t84_a_session_of_one_destination_means_nothing_to_another() {
    let mut pair = Pair::new();
    for _ in 0..3 {
        pair.send(0, "hello");
        pair.send(1, "hello");
        pair.drive();
        pair.wait(Duration::from_secs(2));
    }
    let mut third = Pair::new();
    // The same bodies at a destination with another key.
    let keys = PrivateKeys::random(&mut third.rng);
    let mut bystander =
        Destination::new(keys, SecretKey::from_bytes([77; 32]), DestinationConfig::default(), Rng::from_seed([8; 32]));
    for (_, body) in &pair.delivered {
        let _ = bystander.handle_garlic(pair.now, body);
        while let Some(event) = bystander.poll_event() {
            let DestinationEvent::Job(job) = event else { panic!("{event:?}") };
            assert!(bystander.handle_job(pair.now, job.run(&mut third.rng)).is_err());
        }
    }
    // And again at their receivers.
    let got = pair.sides.iter().map(|side| side.got.len()).sum::<usize>();
    for (to, body) in std::mem::take(&mut pair.delivered) {
        let _ = pair.sides[to].destination.handle_garlic(pair.now, &body);
        pair.drive();
    }
    assert_eq!(pair.sides.iter().map(|side| side.got.len()).sum::<usize>(), got, "replays give nothing");
}

#[test]
fn the_same_seeds_give_the_same_bytes() {
    let run = || {
        let mut pair = Pair::new();
        (pair.loss, pair.reorder) = (20, true);
        for n in 0..50 {
            pair.send(n % 2, &format!("message {n}"));
            pair.drive();
            pair.wait(Duration::from_secs(3));
        }
        pair.delivered
    };
    assert_eq!(run(), run());
}

proptest::proptest! {
    #[test]
    fn random_bodies_do_not_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let mut pair = Pair::new();
        for body in [body.clone(), ramson_wire::garlic::frame(&body)] {
            let _ = pair.sides[0].destination.handle_garlic(pair.now, &body);
            pair.drive();
        }
        proptest::prop_assert!(pair.sides[0].got.is_empty());
    }
}
