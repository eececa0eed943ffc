//! A peer that keeps NTCP2 and breaks what comes after, at a router that is no floodfill.

use crate::world::{World, local};
use ramson_core::rng::Rng;
use ramson_core::router::{Command, Event};
use ramson_core::time::Duration;
use ramson_sim::{End, NodeId, Transfer};
use ramson_wire::codec::{Decode, Encode, Write};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::lease_set2::{
    EncryptedLeaseSet, EncryptionKey, Flags, MetaLeaseSet, TYPE_ENCRYPTED, TYPE_META, Times, Unsigned,
};
use ramson_wire::data::{AnyLeaseSet, Destination, Hash, Lease2, LeaseSet2, Mapping};
use ramson_wire::garlic::one_time;
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind, ReplyEncryption};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::{Kind, Message};

/// A world in which all floodfills have a session with the first router.
struct Siege {
    world: World,
    router: NodeId,
    hostile: NodeId,
    next: u32,
}

impl Siege {
    fn new(seed: u64) -> Self {
        let mut world = World::with_puppets(seed);
        let router = world.routers[0];
        world.net.run_for(Duration::from_secs(60));
        let hostile = world.floodfills[0];
        let mut siege = Self { world, router, hostile, next: 0 };
        for floodfill in siege.world.floodfills.clone() {
            siege.greet(floodfill);
        }
        siege
    }

    /// Makes a session between a floodfill and the router, if there is none.
    fn greet(&mut self, floodfill: NodeId) {
        let about = question(self.world.net.hash(floodfill), Hash([1; 32]), LookupKind::RouterInfo);
        self.world.net.ask(floodfill, self.router, &about);
        self.world.net.run_for(Duration::from_secs(12));
    }

    fn message(&mut self, kind: Kind, body: Vec<u8>) -> Message {
        self.next += 1;
        Message { kind, id: self.next, expiration: self.world.net.unix_ms() + 30_000, body }
    }

    /// What the router sends to the hostile floodfill within two seconds of these messages.
    fn answers(&mut self, messages: Vec<Message>) -> Vec<Message> {
        self.world.net.puppet_mut(self.hostile).take_answers();
        for message in messages {
            self.world.net.tell(self.hostile, self.router, message);
        }
        self.world.net.run_for(Duration::from_secs(2));
        self.world.net.puppet_mut(self.hostile).take_answers()
    }

    /// The answers that a question gets, or would get: those to the floodfill are of this kind alone.
    fn replies(&mut self, body: Vec<u8>) -> Vec<Message> {
        let message = self.message(Kind::DATABASE_LOOKUP, body);
        let mut answers = self.answers(vec![message]);
        answers.retain(|answer| self.is_reply(answer));
        answers
    }

    /// Whether this is an answer to a question of these tests: other traffic goes on meanwhile.
    fn is_reply(&self, message: &Message) -> bool {
        match message.kind {
            Kind::DATABASE_STORE => DatabaseStore::from_bytes(&message.body)
                .is_ok_and(|store| store.reply.is_none() && store.key == self.world.net.hash(self.router)),
            Kind::DATABASE_SEARCH_REPLY | Kind::DELIVERY_STATUS => true,
            Kind::GARLIC => one_time::open(&KEY, &message.body).is_ok(),
            _ => false,
        }
    }

    /// Looks a destination up; whether it was found, if the look-up ends within a minute.
    fn look_up(&mut self, client: End, token: u64, hash: Hash) -> Option<bool> {
        self.world.net.take_events(self.router);
        let command = Command::Lookup { destination: client.destination, token, hash };
        self.world.net.command(self.router, command);
        let mut found = None;
        self.world.net.run_until(Duration::from_secs(60), |net| {
            let mut told = net.take_events(self.router).into_iter().filter_map(|(_, event)| match event {
                Event::LookedUp { token: of, destination, .. } if of == token => Some(destination.is_some()),
                _ => None,
            });
            found = found.or_else(|| told.next());
            found.is_some()
        });
        found
    }

    /// How often floodfills were asked for this key.
    fn asked(&self, key: Hash) -> u64 {
        self.world.floodfills.iter().map(|f| self.world.net.puppet(*f).questions_of(&key)).sum()
    }

    /// What is known to the router, as far as strangers could change it.
    fn state(&self) -> String {
        let snapshot = self.world.net.snapshot(self.router);
        let pools: Vec<_> = snapshot.locals.iter().map(|local| (local.id, local.published, local.streams)).collect();
        format!("{} {} {} {pools:?}", snapshot.routers, snapshot.floodfills, snapshot.faults)
    }
}

const KEY: [u8; 32] = [3; 32];

fn question(from: Hash, key: Hash, kind: LookupKind) -> DatabaseLookup {
    DatabaseLookup { key, from, kind, reply_tunnel: None, excluded: Vec::new(), encryption: None }
}

/// A valid LeaseSet of a destination with this number.
fn lease_set(siege: &Siege, number: u64) -> LeaseSet2 {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let key = SigningKey::from_seed(seed);
    signed(siege, &key, Destination::new(key.verifying_key(), &mut Rng::from_seed(seed)), 0)
}

fn signed(siege: &Siege, key: &SigningKey, destination: Destination, ahead: u32) -> LeaseSet2 {
    let now = u32::try_from(siege.world.net.unix_ms() / 1000).unwrap();
    let unsigned = Unsigned {
        destination,
        times: Times { published: now + ahead, expires: 600, flags: Flags::default(), offline: None },
        options: Mapping::new(),
        keys: vec![EncryptionKey::x25519(PublicKey([3; 32]))],
        leases: vec![Lease2 { gateway: siege.world.net.hash(siege.hostile), tunnel_id: 1, end: now + 600 }],
    };
    unsigned.sign(key).unwrap()
}

fn store_of(set: LeaseSet2, reply: Option<StoreReply>) -> Vec<u8> {
    DatabaseStore::new(Entry::LeaseSet(AnyLeaseSet::V2(set).into()), reply).to_bytes()
}

/// A meta LeaseSet of `key` that names these others.
fn meta(siege: &Siege, key: &SigningKey, others: &[Hash]) -> MetaLeaseSet {
    let now = u32::try_from(siege.world.net.unix_ms() / 1000).unwrap();
    let mut raw = vec![TYPE_META];
    Destination::new(key.verifying_key(), &mut Rng::from_seed([9; 32])).encode(&mut raw);
    raw.put_u32(now);
    raw.put_u16(600);
    raw.put_u16(0);
    Mapping::new().encode(&mut raw);
    raw.put_u8(u8::try_from(others.len()).unwrap());
    for other in others {
        raw.put(&other.0);
        raw.put(&[0, 0, TYPE_META, 1]);
        raw.put_u32(now + 600);
    }
    raw.put_u8(0);
    let signature = key.sign(&raw);
    raw.put(&signature);
    let set = MetaLeaseSet::from_bytes(&raw[1..]).unwrap();
    set.verify().unwrap();
    set
}

/// A meta LeaseSet that names itself, and three that name each other: a look-up takes none and follows none.
#[test]
fn t24_meta_lease_sets_lead_nowhere() {
    let mut siege = Siege::new(24);
    let (client, _) = siege.world.destination(siege.router);
    siege.world.wait_for(&[client]);
    let keys: Vec<_> = (1..4).map(|n| SigningKey::from_seed([n; 32])).collect();
    let hash = |key: &SigningKey| Destination::new(key.verifying_key(), &mut Rng::from_seed([9; 32])).hash();
    let itself = SigningKey::from_seed([8; 32]);
    let mut sets = vec![meta(&siege, &itself, &[hash(&itself)])];
    for (n, key) in keys.iter().enumerate() {
        sets.push(meta(&siege, key, &[hash(&keys[(n + 1) % 3])]));
    }
    for floodfill in siege.world.floodfills.clone() {
        for set in &sets {
            siege.world.net.puppet_mut(floodfill).hold(AnyLeaseSet::Meta(set.clone()));
        }
    }
    for (token, set) in (100..).zip([&sets[0], &sets[1]]) {
        assert_eq!(siege.look_up(client, token, set.key()), Some(false), "it ends, without a destination");
        // Each of three floodfills, and in further rounds again; and nobody for what the set names.
        assert!((1..=21).contains(&siege.asked(set.key())), "{} questions", siege.asked(set.key()));
        assert_eq!(siege.asked(sets[2].key()) + siege.asked(sets[3].key()), 0);
    }
}

/// Encrypted LeaseSets, which we do not open, with content that would lie: no key of theirs is used, and nothing in
/// them is looked at.
#[test]
fn t22_encrypted_lease_sets_are_not_opened() {
    let mut siege = Siege::new(22);
    let (client, _) = siege.world.destination(siege.router);
    siege.world.wait_for(&[client]);
    let now = u32::try_from(siege.world.net.unix_ms() / 1000).unwrap();
    let inner_type_5 = [5; 200].to_vec();
    let many_clients = [&[1][..], &[0; 32], &u16::MAX.to_be_bytes(), &[7; 40]].concat();
    for (token, content) in (1u64..).zip([inner_type_5, many_clients, Vec::new(), vec![0xff; 4_000]]) {
        let key = SigningKey::from_seed([u8::try_from(token).unwrap(); 32]);
        let mut raw = vec![TYPE_ENCRYPTED];
        raw.put_u16(7);
        raw.put(key.public());
        raw.put_u32(now);
        raw.put_u16(600);
        raw.put_u16(0);
        raw.put_u16(u16::try_from(content.len()).unwrap());
        raw.put(&content);
        let signature = key.sign(&raw);
        raw.put(&signature);
        let set = EncryptedLeaseSet::from_bytes(&raw[1..]).unwrap();
        set.verify().unwrap();
        for floodfill in siege.world.floodfills.clone() {
            siege.world.net.puppet_mut(floodfill).hold(AnyLeaseSet::Encrypted(set.clone()));
        }
        assert_eq!(siege.look_up(client, token, set.key()), Some(false));
        assert!((1..=21).contains(&siege.asked(set.key())), "{} questions", siege.asked(set.key()));
    }
    assert_eq!(siege.world.net.snapshot(siege.router).faults, 0);
}

/// Valid LeaseSets of many destinations: a router that is no floodfill keeps, floods and confirms none.
#[test]
fn t25_lease_sets_of_strangers_are_not_stored() {
    let mut siege = Siege::new(25);
    let (state, flooded) = (siege.state(), stored(&siege));
    for round in 0..100 {
        let mut messages = Vec::new();
        for n in 0..100 {
            let body = store_of(lease_set(&siege, round * 100 + n), None);
            messages.push(siege.message(Kind::DATABASE_STORE, body));
        }
        let answers = siege.answers(messages);
        assert!(!answers.iter().any(|answer| siege.is_reply(answer)));
    }
    let key = lease_set(&siege, 7).key();
    for kind in [LookupKind::LeaseSet, LookupKind::Any, LookupKind::RouterInfo] {
        let body = question(siege.world.net.hash(siege.hostile), key, kind).to_bytes();
        let told = siege.replies(body);
        assert!(told.iter().all(|answer| answer.kind == Kind::DATABASE_SEARCH_REPLY), "{told:?}");
    }
    assert_eq!(siege.state(), state);
    assert_eq!(stored(&siege), flooded, "none comes to a floodfill");
}

/// The LeaseSets of strangers that floodfills hold.
fn stored(siege: &Siege) -> usize {
    let floodfills = siege.world.floodfills.iter().map(|floodfill| siege.world.net.puppet(*floodfill));
    floodfills
        .filter(|floodfill| (0..200).any(|n| floodfill.lease_set(&lease_set(siege, 50 * n).key()).is_some()))
        .count()
}

/// What a destination of ours has learnt is not told to others: a router that knows a LeaseSet answers as one that
/// does not.
#[test]
fn t26_what_a_destination_has_learnt_is_not_told_by_its_router() {
    let mut siege = Siege::new(26);
    let (client, _) = siege.world.destination(siege.router);
    let other = siege.world.routers[2];
    let (server, hash) = siege.world.destination(siege.world.routers[1]);
    siege.world.wait_for(&[client, server]);
    let mut transfer = Transfer::open(&mut siege.world.net, client, server, hash, 1_000, 1_000);
    assert!(siege.world.net.run_until(Duration::from_mins(2), |net| transfer.pump(net)), "the client knows the server");
    let knows = siege.router;
    let ask = |siege: &mut Siege, router, kind, encryption: Option<ReplyEncryption>| {
        siege.router = router;
        let from = siege.world.net.hash(siege.hostile);
        let question = DatabaseLookup { encryption, ..question(from, hash, kind) };
        let told = siege.replies(question.to_bytes());
        told.into_iter().map(|answer| (answer.kind, answer.body.len())).collect::<Vec<_>>()
    };
    siege.router = other;
    siege.greet(siege.hostile);
    for kind in [LookupKind::LeaseSet, LookupKind::Any, LookupKind::RouterInfo, LookupKind::Exploration] {
        for sealed in [false, true] {
            let encryption = sealed.then(|| ReplyEncryption { key: KEY.into(), tag: [4; 8] });
            let told = ask(&mut siege, knows, kind, encryption.clone());
            assert_eq!(told, ask(&mut siege, other, kind, encryption), "{kind:?}, sealed: {sealed}");
            assert!(told.len() == usize::from(kind == LookupKind::RouterInfo), "{kind:?}: {told:?}");
        }
    }
}

/// Types that are none, messages of another time, and one message many times.
#[test]
fn t27_messages_of_no_type_of_another_time_or_again_are_dropped() {
    let mut siege = Siege::new(27);
    let own = siege.world.net.hash(siege.router);
    let about = question(siege.world.net.hash(siege.hostile), own, LookupKind::RouterInfo).to_bytes();
    assert_eq!(siege.replies(about.clone()).len(), 1, "the question as it should be");
    let state = siege.state();
    let now = siege.world.net.unix_ms();
    let years = 10 * 365 * 86_400_000;
    for expiration in [0, 1_000, now - 120_000, now + 300_000, now + years, u64::from(u32::MAX) * 1000] {
        let message = Message { expiration, ..siege.message(Kind::DATABASE_LOOKUP, about.clone()) };
        let answers = siege.answers(vec![message]);
        assert!(!answers.iter().any(|answer| siege.is_reply(answer)), "{expiration}");
    }
    for kind in (0..=255).map(Kind) {
        if kind != Kind::DATABASE_LOOKUP {
            let body = if kind.0 % 2 == 0 { about.clone() } else { vec![kind.0; 1028] };
            let message = siege.message(kind, body);
            siege.world.net.tell(siege.hostile, siege.router, message);
        }
    }
    let answers = siege.answers(Vec::new());
    assert!(!answers.iter().any(|answer| siege.is_reply(answer)));
    let message = siege.message(Kind::DATABASE_LOOKUP, about);
    let answers = siege.answers(vec![message; 5]);
    assert_eq!(answers.iter().filter(|answer| siege.is_reply(answer)).count(), 1, "the same message counts once");
    assert_eq!(siege.state(), state);
}

/// Stores that ask for a confirmation: a router that is no floodfill sends none, to nobody.
#[test]
fn t28_no_store_is_confirmed() {
    let mut siege = Siege::new(28);
    let victim = siege.world.floodfills[1];
    let (own, theirs) = (siege.world.net.hash(siege.hostile), siege.world.net.hash(victim));
    let info = siege.world.net.puppet(siege.hostile).router_info(&own).unwrap().clone();
    siege.world.net.puppet_mut(victim).take_answers();
    for gateway in [own, theirs, siege.world.net.hash(siege.router)] {
        for tunnel in [0, 1, u32::MAX] {
            let reply = Some(StoreReply { token: 77, tunnel, gateway });
            let stored = DatabaseStore::new(Entry::RouterInfo(info.clone()), reply).to_bytes();
            let bodies = [stored, store_of(lease_set(&siege, 1), reply)];
            let messages = bodies.map(|body| siege.message(Kind::DATABASE_STORE, body));
            let answers = siege.answers(messages.into());
            assert!(!answers.iter().any(|answer| siege.is_reply(answer)), "to {gateway:?}, tunnel {tunnel}");
        }
    }
    let others = siege.world.net.puppet_mut(victim).take_answers();
    let confirms = |m: &Message| DeliveryStatus::from_bytes(&m.body).is_ok_and(|status| status.message_id == 77);
    assert!(!others.iter().any(confirms), "{others:?}");
}

/// A LeaseSet of our own destination, newer and with another's lease, sent to the router: it is not believed.
#[test]
fn t29_a_lease_set_of_our_own_destination_is_ignored() {
    let mut siege = Siege::new(29);
    let (server, hash) = siege.world.destination(siege.router);
    let (client, _) = siege.world.destination(siege.world.routers[3]);
    siege.world.wait_for(&[client, server]);
    let before = local(&siege.world.net, server);
    // The keys of a destination of these worlds follow from its number.
    let keys = ramson_wire::data::PrivateKeys::random(&mut Rng::from_seed([1; 32]));
    assert_eq!(keys.destination().hash(), hash);
    let forged = signed(&siege, keys.signing_key(), keys.destination().clone(), 100);
    for _ in 0..5 {
        let body = store_of(forged.clone(), None);
        let message = siege.message(Kind::DATABASE_STORE, body);
        assert!(!siege.answers(vec![message]).iter().any(|answer| siege.is_reply(answer)));
    }
    let after = local(&siege.world.net, server);
    assert_eq!((after.published, after.streams, after.bytes_in), (before.published, 0, before.bytes_in));
    let mut transfer = Transfer::open(&mut siege.world.net, client, server, hash, 5_000, 5_000);
    assert!(siege.world.net.run_until(Duration::from_mins(2), |net| transfer.pump(net)), "its own tunnels are used");
    // What it publishes next is its own.
    siege.world.net.run_for(Duration::from_mins(12));
    let published = siege.world.floodfills.iter().filter_map(|f| siege.world.net.puppet(*f).lease_set(&hash));
    assert!(
        published
            .flat_map(|set| set.leases())
            .all(|lease| lease.gateway != forged.leases()[0].gateway || lease.tunnel_id != 1)
    );
}

/// Questions with every combination of flags, with counts that lie, on behalf of others, and for ourselves.
#[test]
fn t30_questions_are_bounded_and_amplify_nothing() {
    let mut siege = Siege::new(30);
    let (own, hostile) = (siege.world.net.hash(siege.router), siege.world.net.hash(siege.hostile));
    let state = siege.state();
    for flags in 0..=255u8 {
        let tail = [&[0; 2][..], &KEY, &[1], &[4; 8], &[0; 40]].concat();
        let body = [&own.0[..], &hostile.0, &[flags], &tail].concat();
        let answers = siege.replies(body);
        assert!(answers.len() <= 1, "flags {flags:x}: {answers:?}");
    }
    for count in [513u16, u16::MAX] {
        let body = [&own.0[..], &hostile.0, &[0x08], &count.to_be_bytes(), &[0; 600 * 32]].concat();
        assert!(siege.replies(body).is_empty(), "{count} are excluded");
    }
    for tags in [0, 33, 255] {
        let body = [&own.0[..], &hostile.0, &[0x18, 0, 0], &KEY, &[tags], &vec![4; usize::from(tags) * 8]].concat();
        assert!(siege.replies(body).is_empty(), "{tags} tags");
    }
    let to_itself = DatabaseLookup { reply_tunnel: Some(5), ..question(own, own, LookupKind::RouterInfo) };
    assert!(siege.replies(to_itself.to_bytes()).is_empty(), "a reply tunnel of the router itself");
    assert_eq!(siege.state(), state);
    // On behalf of somebody who has a session too, and of nobody.
    let victim = siege.world.floodfills[1];
    let on_behalf = question(siege.world.net.hash(victim), own, LookupKind::RouterInfo).to_bytes();
    siege.world.net.puppet_mut(victim).take_answers();
    for _ in 0..20 {
        assert!(siege.replies(on_behalf.clone()).is_empty());
    }
    let came = siege.world.net.puppet_mut(victim).take_answers();
    let came: usize = came.iter().filter(|m| siege.is_reply(m)).map(|m| m.body.len()).sum();
    assert!(came <= 3 * 20 * on_behalf.len(), "{came} bytes for {}", 20 * on_behalf.len());
    let other_key = question(siege.world.net.hash(victim), Hash([5; 32]), LookupKind::RouterInfo).to_bytes();
    siege.world.net.run_for(Duration::from_secs(20));
    siege.replies(other_key);
    let came = siege.world.net.puppet_mut(victim).take_answers();
    assert!(came.iter().any(|m| m.kind == Kind::DATABASE_SEARCH_REPLY), "a short answer goes to it, over its session");
    let stranger = question(Hash([9; 32]), own, LookupKind::RouterInfo).to_bytes();
    assert!(siege.replies(stranger).is_empty(), "nobody is dialled for it");
}

/// A thousand questions of one peer within a second: few are answered, and another peer's is.
#[test]
fn t31_many_questions_of_one_peer_leave_room_for_another() {
    let mut siege = Siege::new(31);
    let other = siege.world.floodfills[1];
    siege.world.net.run_for(Duration::from_secs(30));
    let about = |siege: &Siege, from: NodeId| {
        question(siege.world.net.hash(from), siege.world.net.hash(siege.router), LookupKind::RouterInfo).to_bytes()
    };
    let body = about(&siege, siege.hostile);
    let messages = (0..1_000).map(|_| siege.message(Kind::DATABASE_LOOKUP, body.clone())).collect();
    let answers = siege.answers(messages);
    let answered = answers.iter().filter(|answer| siege.is_reply(answer)).count();
    assert!((10..15).contains(&answered), "{answered}");
    siege.hostile = other;
    let body = about(&siege, other);
    assert_eq!(siege.replies(body).len(), 1);
    siege.hostile = siege.world.floodfills[0];
    siege.world.net.run_for(Duration::from_secs(30));
    let body = about(&siege, siege.hostile);
    assert_eq!(siege.replies(body).len(), 1, "and the first is banned for nothing");
}
