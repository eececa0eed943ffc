//! A router that serves as a floodfill, asked and stored at by a peer that keeps NTCP2 and nothing else.

use crate::world::{World, local};
use ramson_core::router::{Command, Event};
use ramson_core::time::Duration;
use ramson_sim::{Net, NodeId, Settings};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{AnyLeaseSet, Destination, Hash, Lease2, LeaseSet2, Mapping, PrivateKeys};
use ramson_wire::garlic::block::Block;
use ramson_wire::garlic::one_time;
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind, ReplyEncryption};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::{Kind, Message};
use std::sync::Arc;

const SEAL: [u8; 32] = [3; 32];
const TAG: [u8; 8] = [4; 8];

/// Eight routers, two floodfills, and three puppets that pass for floodfills too.
struct Siege {
    world: World,
    /// The floodfill that is asked.
    floodfill: NodeId,
    hostile: NodeId,
    victim: NodeId,
    next: u32,
}

impl Siege {
    fn new(seed: u64) -> Self {
        let mut world = World::with(Settings { seed, ..Settings::default() });
        let floodfill = world.floodfills[0];
        let puppets: Vec<NodeId> = (0..3).map(|_| world.net.add_puppet()).collect();
        world.net.reseed();
        world.net.run_for(Duration::from_secs(60));
        Self { world, floodfill, hostile: puppets[0], victim: puppets[1], next: 0 }
    }

    fn hash(&self, node: NodeId) -> Hash {
        self.world.net.hash(node)
    }

    fn message(&mut self, kind: Kind, body: Vec<u8>) -> Message {
        self.next += 1;
        Message { kind, id: self.next, expiration: self.world.net.unix_ms() + 30_000, body }
    }

    /// What came to a puppet within two seconds after the hostile one has sent these to the floodfill.
    fn after(&mut self, messages: Vec<Message>, whom: NodeId) -> Vec<Message> {
        self.world.net.puppet_mut(whom).take_answers();
        for message in messages {
            self.world.net.tell(self.hostile, self.floodfill, message);
        }
        self.world.net.run_for(Duration::from_secs(2));
        self.world.net.puppet_mut(whom).take_answers()
    }

    /// What the floodfill says to a question, opened if it is sealed: the entry's bytes, or who is named.
    fn ask(&mut self, question: &DatabaseLookup) -> Option<Told> {
        let message = self.message(Kind::DATABASE_LOOKUP, question.to_bytes());
        let mut answers = self.after(vec![message], self.hostile);
        if question.encryption.is_some() {
            answers = answers.iter().filter_map(opened).collect();
        }
        answers.iter().find_map(|answer| told(answer, &question.key))
    }

    fn question(&self, key: Hash, kind: LookupKind) -> DatabaseLookup {
        let from = self.hash(self.hostile);
        DatabaseLookup { key, from, kind, reply_tunnel: None, excluded: Vec::new(), encryption: None }
    }

    fn store(&mut self, set: LeaseSet2, reply: Option<StoreReply>) -> Message {
        let entry = Entry::LeaseSet(Arc::new(AnyLeaseSet::V2(set)));
        let body = DatabaseStore::new(entry, reply).to_bytes();
        self.message(Kind::DATABASE_STORE, body)
    }

    /// A LeaseSet of a destination with this number, by a key of its own.
    fn lease_set(&self, number: u64) -> LeaseSet2 {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let key = SigningKey::from_seed(seed);
        let destination = Destination::new(key.verifying_key(), &mut ramson_core::rng::Rng::from_seed(seed));
        self.signed(&key, destination, 0)
    }

    fn signed(&self, key: &SigningKey, destination: Destination, ahead: u32) -> LeaseSet2 {
        let now = u32::try_from(self.world.net.unix_ms() / 1000).unwrap();
        let unsigned = Unsigned {
            destination,
            times: Times { published: now + ahead, expires: 590, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(PublicKey([4; 32]))],
            leases: vec![Lease2 { gateway: self.hash(self.hostile), tunnel_id: 1, end: now + 590 }],
        };
        unsigned.sign(key).unwrap()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Found(Vec<u8>),
    Named(Vec<Hash>),
}

fn told(answer: &Message, key: &Hash) -> Option<Told> {
    match answer.kind {
        Kind::DATABASE_STORE => {
            let store = DatabaseStore::from_bytes(&answer.body).ok().filter(|store| store.key == *key)?;
            Some(Told::Found(match store.entry {
                Entry::RouterInfo(info) => info.as_bytes().to_vec(),
                Entry::LeaseSet(set) => set.as_bytes().to_vec(),
            }))
        }
        Kind::DATABASE_SEARCH_REPLY => {
            let reply = DatabaseSearchReply::from_bytes(&answer.body).ok().filter(|reply| reply.key == *key)?;
            Some(Told::Named(reply.peers))
        }
        _ => None,
    }
}

fn opened(answer: &Message) -> Option<Message> {
    let payload = one_time::open(&SEAL, &answer.body).ok()?;
    // i2pd takes an answer whose first block is the clove, and no other.
    match Block::decode_all(&payload).ok()?.into_iter().next() {
        Some(Block::Clove(clove)) => Some(clove.message),
        _ => None,
    }
}

fn confirms(message: &Message, token: u32) -> bool {
    message.kind == Kind::DELIVERY_STATUS
        && DeliveryStatus::from_bytes(&message.body).is_ok_and(|status| status.message_id == token)
}

/// What is stored is confirmed, passed on to the other floodfill, and told to whoever asks, sealed where that is wanted.
#[test]
fn what_is_stored_is_confirmed_passed_on_and_told() {
    let mut siege = Siege::new(41);
    let set = siege.lease_set(1);
    let (key, bytes) = (set.key(), set.as_bytes().to_vec());
    let reply = StoreReply { token: 77, tunnel: 0, gateway: siege.hash(siege.hostile) };
    let store = siege.store(set, Some(reply));
    let came = siege.after(vec![store], siege.hostile);
    assert_eq!(came.iter().filter(|message| confirms(message, 77)).count(), 1, "{came:?}");
    // Of four other floodfills, the three that are closest to its key on that day have it.
    let day = ramson_core::netdb::routing_key::Day::of(siege.world.net.unix_ms()).routing_key(&key);
    let mut others: Vec<NodeId> = (0..siege.world.net.nodes())
        .map(NodeId)
        .filter(|node| *node != siege.floodfill && (siege.world.floodfills.contains(node) || node.0 >= siege.hostile.0))
        .collect();
    others.sort_by_key(|node| siege.hash(*node).distance(&day));
    let has = |net: &Net, node: NodeId| match node.0 >= siege.hostile.0 {
        true => net.puppet(node).lease_set(&key).is_some(),
        false => net.router(node).lease_set_of_others(&key).is_some(),
    };
    let holders: Vec<bool> = others.iter().map(|node| has(&siege.world.net, *node)).collect();
    assert_eq!(holders, [true, true, true, false, false], "the three closest");

    let encryption = Some(ReplyEncryption { key: SEAL.into(), tag: TAG });
    for question in [
        siege.question(key, LookupKind::LeaseSet),
        siege.question(key, LookupKind::Any),
        DatabaseLookup { encryption, ..siege.question(key, LookupKind::LeaseSet) },
    ] {
        assert_eq!(siege.ask(&question), Some(Told::Found(bytes.clone())), "{:?}", question.kind);
    }
    let Some(Told::Named(names)) = siege.ask(&siege.question(key, LookupKind::RouterInfo)) else { panic!("no names") };
    assert_eq!(names.len(), 3);
    let Some(Told::Named(names)) = siege.ask(&siege.question(key, LookupKind::Exploration)) else { panic!("no names") };
    let routers: Vec<Hash> = siege.world.routers.iter().map(|node| siege.hash(*node)).collect();
    assert!(names.len() == 8 && names.iter().all(|name| routers.contains(name)), "{names:?}");
    let about_itself = siege.hash(siege.floodfill);
    assert!(matches!(siege.ask(&siege.question(about_itself, LookupKind::RouterInfo)), Some(Told::Found(_))));
}

/// Threats T28, T30, P-4: stores and questions in a victim's name. It gets one small confirmation for each store that is
/// good and no more bytes than its budget, and afterwards is served as before.
#[test]
fn t28_t30_a_victim_is_sent_little_and_loses_nothing() {
    let mut siege = Siege::new(42);
    let victim = siege.hash(siege.victim);
    let set = siege.lease_set(1);
    let key = set.key();
    let to_victim = |tunnel| Some(StoreReply { token: 78, tunnel, gateway: victim });
    let good = siege.store(set, to_victim(0));
    let came = siege.after(vec![good], siege.victim);
    assert_eq!(came.iter().filter(|message| confirms(message, 78)).count(), 1);
    // What is not new, is bad, or has ended.
    let mut forged = siege.store(siege.lease_set(2), to_victim(0));
    *forged.body.last_mut().unwrap() ^= 1;
    let came = siege.after(vec![forged], siege.victim);
    assert!(!came.iter().any(|message| confirms(message, 78)), "nothing bad is confirmed");
    let mut questions = Vec::new();
    for _ in 0..2_000 {
        let question = DatabaseLookup { from: victim, ..siege.question(key, LookupKind::LeaseSet) };
        questions.push(siege.message(Kind::DATABASE_LOOKUP, question.to_bytes()));
    }
    let came = siege.after(questions, siege.victim);
    let answers = came.iter().filter(|message| told(message, &key).is_some()).count();
    let most = ramson_core::limits::netdb::QUESTIONS_PER_PEER;
    assert!(answers as u32 <= most.1 + 3 * most.0, "{answers} answers to 2000 questions of one peer");
    assert!(answers > 0, "the puppet knows what came");
    // The victim itself asks: the questions of the other do not count for it.
    let ask = siege.question(key, LookupKind::LeaseSet);
    let ask = DatabaseLookup { from: victim, ..ask };
    siege.world.net.puppet_mut(siege.victim).take_answers();
    siege.world.net.ask(siege.victim, siege.floodfill, &ask);
    siege.world.net.run_for(Duration::from_secs(2));
    let came = siege.world.net.puppet_mut(siege.victim).take_answers();
    assert!(came.iter().any(|message| told(message, &key).is_some()), "the victim is answered");
    assert_eq!(siege.world.net.snapshot(siege.floodfill).faults, 0);
}

/// Threats T30: every combination of flags, for itself, down tunnels that are not there.
#[test]
fn t30_questions_of_every_form_do_a_floodfill_no_harm() {
    let mut siege = Siege::new(43);
    let keys = [siege.hash(siege.floodfill), siege.hash(siege.world.routers[0]), Hash([0; 32]), Hash([255; 32])];
    let froms = [siege.hash(siege.hostile), siege.hash(siege.floodfill), Hash([9; 32]), Hash([0; 32])];
    let mut messages = Vec::new();
    for (n, from) in froms.iter().enumerate() {
        for key in keys {
            for flags in 0..32u8 {
                let mut body = [key.0, from.0].concat();
                body.push(flags);
                body.extend((flags & 1 != 0).then_some([0, 0, 0, 9]).into_iter().flatten());
                body.extend([0, u8::from(n == 3)]);
                body.extend([7; 32].iter().take(if n == 3 { 32 } else { 0 }));
                body.extend([[5u8; 32].as_slice(), &[1], &[6; 8]].concat());
                messages.push(siege.message(Kind::DATABASE_LOOKUP, body));
            }
        }
    }
    siege.after(messages, siege.hostile);
    siege.world.net.run_for(Duration::from_secs(30));
    let snapshot = siege.world.net.snapshot(siege.floodfill);
    assert!(snapshot.faults == 0 && snapshot.serves, "{snapshot:?}");
    let key = siege.hash(siege.floodfill);
    assert!(matches!(siege.ask(&siege.question(key, LookupKind::RouterInfo)), Some(Told::Found(_))));
}

/// Threats T29: a LeaseSet of a destination of the floodfill itself, newer than its own and with another's lease. It is
/// kept and told like any other's, for it is signed; the destination does not hear of it.
#[test]
fn t29_a_floodfill_treats_its_own_destinations_like_others() {
    let mut siege = Siege::new(44);
    let (server, hash) = siege.world.destination(siege.floodfill);
    let (client, _) = siege.world.destination(siege.world.routers[3]);
    siege.world.wait_for(&[client, server]);
    let before = local(&siege.world.net, server);
    let keys = PrivateKeys::random(&mut ramson_core::rng::Rng::from_seed([1; 32]));
    assert_eq!(keys.destination().hash(), hash);
    let forged = siege.signed(keys.signing_key(), keys.destination().clone(), 100);
    let (bytes, reply) =
        (forged.as_bytes().to_vec(), StoreReply { token: 79, tunnel: 0, gateway: siege.hash(siege.hostile) });
    let store = siege.store(forged, Some(reply));
    let came = siege.after(vec![store], siege.hostile);
    assert!(came.iter().any(|message| confirms(message, 79)), "as for any other destination");
    assert_eq!(siege.ask(&siege.question(hash, LookupKind::LeaseSet)), Some(Told::Found(bytes)));
    let after = local(&siege.world.net, server);
    assert_eq!((after.pool, after.streams), (before.pool, 0));
}

/// Threats T26, P-10: what a destination on the floodfill has learnt is not told by the floodfill. The answers to a
/// catalogue of probes are those of a floodfill on which nobody has learnt anything.
#[test]
fn p10_t26_what_a_destination_on_a_floodfill_has_learnt_is_not_told() {
    let answers = [true, false].map(|learns| {
        let mut siege = Siege::new(45);
        let place = if learns { siege.floodfill } else { siege.world.routers[0] };
        let (client, own) = siege.world.destination(place);
        siege.world.wait_for(&[client]);
        siege.world.net.run_for(Duration::from_secs(30));
        // Puppets hold the LeaseSets, but pass none on, so that a floodfill cannot have them by a store.
        let sets: Vec<LeaseSet2> = (0..4).map(|n| siege.lease_set(100 + n)).collect();
        for node in (siege.hostile.0..siege.hostile.0 + 3).map(NodeId) {
            for set in &sets {
                siege.world.net.puppet_mut(node).hold(AnyLeaseSet::V2(set.clone()));
            }
        }
        let mut found = 0;
        for (token, set) in sets.iter().enumerate() {
            siege.world.net.take_events(place);
            let command = Command::Lookup { destination: client.destination, token: token as u64, hash: set.key() };
            siege.world.net.command(place, command);
            siege.world.net.run_until(Duration::from_secs(60), |net| {
                let events = net.take_events(place);
                let ended = events.into_iter().find_map(|(_, event)| match event {
                    Event::LookedUp { destination, .. } => Some(destination.is_some()),
                    _ => None,
                });
                found += usize::from(ended == Some(true));
                ended.is_some()
            });
        }
        assert_eq!(found, sets.len(), "the destination knows them all");
        let mut said = Vec::new();
        for key in sets.iter().map(LeaseSet2::key).chain([own, Hash([1; 32]), siege.hash(siege.floodfill)]) {
            for kind in [LookupKind::LeaseSet, LookupKind::Any, LookupKind::RouterInfo] {
                for sealed in [false, true] {
                    let encryption = sealed.then(|| ReplyEncryption { key: SEAL.into(), tag: TAG });
                    let answer = siege.ask(&DatabaseLookup { encryption, ..siege.question(key, kind) });
                    // When a RouterInfo or a LeaseSet was signed differs between the worlds.
                    said.push(answer.map(|told| match told {
                        Told::Found(_) => Told::Found(Vec::new()),
                        named => named,
                    }));
                }
            }
        }
        assert!(said.iter().all(Option::is_some), "each probe is answered");
        assert!(said[..4 * 6].iter().all(|told| matches!(told, Some(Told::Named(_)))), "nothing learnt is told");
        said
    });
    assert_eq!(answers[0].len(), 42);
    assert_eq!(answers[0], answers[1]);
}
