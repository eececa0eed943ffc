//! Threats P-10: what reaches a destination by its tunnels shows nowhere at its router. P-11, that it shows at no other
//! destination there, is in `neighbours`.
//!
//! Two worlds of one seed: in the one the client lives at the router that is asked, and a stranger at another one; in the
//! other they have changed places. Everything that is sent to the client by its tunnels is followed by every probe of
//! the router, and the answers must be the same in both worlds.

use crate::world::World;
use ramson_core::rng::Rng;
use ramson_core::router::Command;
use ramson_core::time::Duration;
use ramson_sim::{End, NodeId, Progress, Settings, Transfer};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{AnyLeaseSet, Destination, Hash, Lease2, LeaseSet2, Mapping};
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::garlic::{one_time, router};
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind, ReplyEncryption};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message};
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use ramson_wire::tunnel::build_record::{self, Request};
use std::sync::Arc;

const SEAL: [u8; 32] = [3; 32];
const TAG: [u8; 8] = [4; 8];
const TOKEN: u32 = 0x7100_0000;

/// What goes to the client by its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Nothing,
    StoreLeaseSet,
    StoreLeaseSetConfirmed,
    StoreLeaseSetConfirmedByTunnel,
    StoreRouterInfo,
    LookUp,
    LookUpSealed,
    SearchReply,
    DeliveryStatus,
    Noise,
    GarlicToTheRouter,
    GarlicInGarlic,
    Build,
    TunnelData,
    Data,
    UnknownKind,
    Expired,
    OfTheFuture,
    /// A stream of a destination whose LeaseSet nobody can look up: it comes with the stream.
    Stream,
    /// The client looks for it.
    LookedUp,
    /// More of everything than one peer may ask of a router.
    Flood,
}

pub(crate) const SENT: [Sent; 21] = [
    Sent::Nothing,
    Sent::StoreLeaseSet,
    Sent::StoreLeaseSetConfirmed,
    Sent::StoreLeaseSetConfirmedByTunnel,
    Sent::StoreRouterInfo,
    Sent::LookUp,
    Sent::LookUpSealed,
    Sent::SearchReply,
    Sent::DeliveryStatus,
    Sent::Noise,
    Sent::GarlicToTheRouter,
    Sent::GarlicInGarlic,
    Sent::Build,
    Sent::TunnelData,
    Sent::Data,
    Sent::UnknownKind,
    Sent::Expired,
    Sent::OfTheFuture,
    Sent::Stream,
    Sent::LookedUp,
    Sent::Flood,
];

/// What the router is asked then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    LookUp(LookupKind, bool),
    /// The same message, with its id and time.
    Same,
    /// The same body in a new message.
    SameBody,
    /// The same as a clove, sealed to the router.
    SameAsClove,
    /// What it was about, stored at the router with a wish for confirmation.
    Store,
    /// Of the client, of the stranger, of the one who opened a stream.
    LookUpOf(usize),
    /// The router's own RouterInfo: it still answers.
    Control,
    /// A request to build a tunnel, which goes on to the prober.
    Build,
    /// What the router knows and counts itself.
    State,
}

const PROBES: [Probe; 17] = [
    Probe::LookUp(LookupKind::LeaseSet, false),
    Probe::LookUp(LookupKind::LeaseSet, true),
    Probe::LookUp(LookupKind::Any, false),
    Probe::LookUp(LookupKind::Any, true),
    Probe::LookUp(LookupKind::RouterInfo, false),
    Probe::LookUp(LookupKind::RouterInfo, true),
    Probe::LookUp(LookupKind::Exploration, false),
    Probe::Same,
    Probe::SameBody,
    Probe::SameAsClove,
    Probe::LookUpOf(0),
    Probe::LookUpOf(1),
    Probe::LookUpOf(2),
    Probe::Build,
    Probe::Control,
    Probe::State,
    // Last, for it changes what the router has.
    Probe::Store,
];

/// A world with a client and a stranger, one of them at the router that is asked.
pub(crate) struct Lab {
    pub(crate) world: World,
    router: NodeId,
    /// Where the other one of the two lives.
    elsewhere: NodeId,
    pub(crate) client: End,
    pub(crate) stranger: End,
    pub(crate) opener: End,
    pub(crate) keys: [Hash; 3],
    pub(crate) prober: NodeId,
    /// What was sent last, what it was about, and the LeaseSet or RouterInfo of that.
    pub(crate) sent: Option<Message>,
    pub(crate) subject: Hash,
    entry: Option<Entry>,
    /// The id that the last request to build a tunnel goes on with.
    asked_for: u32,
    next: u32,
    rng: Rng,
}

impl Lab {
    fn new(seed: u64, floodfill: bool, client_here: bool) -> Self {
        let world = World::with(Settings { seed, ..Settings::default() });
        let at = if floodfill { world.floodfills.clone() } else { world.routers.clone() };
        let places = if client_here { [at[0], at[1]] } else { [at[1], at[0]] };
        Self::with(world, [at[0], at[1]], places)
    }

    /// The first router is asked; the client and the stranger are at these places.
    pub(crate) fn with(mut world: World, [router, elsewhere]: [NodeId; 2], places: [NodeId; 2]) -> Self {
        let puppets: Vec<NodeId> = (0..2).map(|_| world.net.add_puppet()).collect();
        world.net.reseed();
        let (client, client_hash) = world.destination(places[0]);
        let (stranger, stranger_hash) = world.destination(places[1]);
        let (opener, opener_hash) = world.destination(world.routers[2]);
        world.wait_for(&[client, stranger, opener]);
        world.net.run_for(Duration::from_secs(30));
        Self {
            world,
            router,
            elsewhere,
            client,
            stranger,
            opener,
            keys: [client_hash, stranger_hash, opener_hash],
            prober: puppets[0],
            sent: None,
            subject: Hash([0; 32]),
            entry: None,
            asked_for: 0,
            next: 0,
            rng: Rng::from_seed([10; 32]),
        }
    }

    fn message(&mut self, kind: Kind, body: Vec<u8>) -> Message {
        self.next += 1;
        Message { kind, id: 0x5100_0000 + self.next, expiration: self.world.net.unix_ms() + 30_000, body }
    }

    /// A LeaseSet of a new destination that nobody knows.
    fn lease_set(&mut self) -> LeaseSet2 {
        let now = u32::try_from(self.world.net.unix_ms() / 1000).unwrap();
        let key = SigningKey::from_seed(self.rng.bytes());
        let unsigned = Unsigned {
            destination: Destination::new(key.verifying_key(), &mut self.rng),
            times: Times { published: now, expires: 590, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(PublicKey([4; 32]))],
            leases: vec![Lease2 { gateway: self.world.net.hash(self.prober), tunnel_id: 1, end: now + 590 }],
        };
        unsigned.sign(&key).unwrap()
    }

    fn request(&mut self) -> Message {
        let (info, to) = (self.world.net.info(self.router), self.world.net.hash(self.router));
        let request = Request {
            receive_tunnel: self.rng.nonzero_u32(),
            next_tunnel: self.rng.nonzero_u32(),
            next_hop: self.world.net.hash(self.prober),
            role: build_record::Role::Participant,
            minutes: u32::try_from(self.world.net.unix_ms() / 60_000).unwrap(),
            send_message_id: self.rng.nonzero_u32(),
            bandwidth: BandwidthRequest::NONE,
        };
        self.asked_for = request.send_message_id;
        let (rng, key) = (&mut self.rng, info.identity().static_key());
        let (record, _) = build_record::seal_request(&request, &to, &key, rng).unwrap();
        let body = BuildRecords::new(vec![record, [1; 218], [2; 218], [3; 218]]).unwrap().to_bytes();
        self.message(Kind::SHORT_TUNNEL_BUILD, body)
    }

    /// Makes what is sent, and notes what it is about.
    fn prepare(&mut self, sent: Sent) -> Option<Message> {
        let set = self.lease_set();
        self.subject = set.key();
        let prober = self.world.net.hash(self.prober);
        let lease_set = Entry::LeaseSet(Arc::new(AnyLeaseSet::V2(set)));
        self.entry = Some(lease_set.clone());
        let question = DatabaseLookup {
            key: self.subject,
            from: prober,
            kind: LookupKind::LeaseSet,
            reply_tunnel: None,
            excluded: Vec::new(),
            encryption: None,
        };
        let store = |entry, reply| DatabaseStore::new(entry, reply).to_bytes();
        let reply = |tunnel| Some(StoreReply { token: TOKEN, tunnel, gateway: prober });
        let (kind, body) = match sent {
            Sent::Nothing | Sent::Stream | Sent::LookedUp | Sent::Flood => return None,
            Sent::StoreLeaseSet => (Kind::DATABASE_STORE, store(lease_set, None)),
            Sent::StoreLeaseSetConfirmed => (Kind::DATABASE_STORE, store(lease_set, reply(0))),
            Sent::StoreLeaseSetConfirmedByTunnel => (Kind::DATABASE_STORE, store(lease_set, reply(7))),
            Sent::StoreRouterInfo => {
                let keys = ramson_core::keys::RouterKeys::generate(&mut self.rng);
                let info = self.world.net.info_of_nobody(&keys, self.next as usize % 200);
                self.subject = info.hash();
                self.entry = Some(Entry::RouterInfo(info));
                (Kind::DATABASE_STORE, store(self.entry.clone().unwrap(), None))
            }
            Sent::LookUp => (Kind::DATABASE_LOOKUP, question.to_bytes()),
            Sent::LookUpSealed => {
                let encryption = Some(ReplyEncryption { key: SEAL.into(), tag: TAG });
                (Kind::DATABASE_LOOKUP, DatabaseLookup { encryption, ..question }.to_bytes())
            }
            Sent::SearchReply => {
                let reply = DatabaseSearchReply { key: self.subject, peers: vec![self.subject], from: prober };
                (Kind::DATABASE_SEARCH_REPLY, reply.to_bytes())
            }
            Sent::DeliveryStatus => {
                let status = DeliveryStatus { message_id: TOKEN, timestamp: self.world.net.unix_ms() };
                (Kind::DELIVERY_STATUS, status.to_bytes())
            }
            Sent::Noise => {
                (Kind::GARLIC, std::iter::repeat_with(|| self.rng.bytes::<32>()).flatten().take(640).collect())
            }
            Sent::GarlicToTheRouter | Sent::GarlicInGarlic => {
                let message = self.message(Kind::DATABASE_STORE, store(lease_set, reply(0)));
                let body = self.sealed_to_router(message);
                if sent == Sent::GarlicInGarlic {
                    let inner = self.message(Kind::GARLIC, body);
                    (Kind::GARLIC, self.sealed_to_router(inner))
                } else {
                    (Kind::GARLIC, body)
                }
            }
            Sent::Build => return Some(self.request()),
            Sent::TunnelData => (Kind::TUNNEL_DATA, [[9; 4].as_slice(), &self.rng.bytes::<1024>()].concat()),
            Sent::Data => (Kind::DATA, vec![5; 300]),
            Sent::UnknownKind => (Kind(77), vec![5; 300]),
            Sent::Expired | Sent::OfTheFuture => {
                let body = store(lease_set, None);
                let message = self.message(Kind::DATABASE_STORE, body);
                let now = self.world.net.unix_ms();
                let expiration = if sent == Sent::Expired { now - 200_000 } else { now + 900_000 };
                return Some(Message { expiration, ..message });
            }
        };
        Some(self.message(kind, body))
    }

    fn sealed_to_router(&mut self, message: Message) -> Vec<u8> {
        let key = self.world.net.info(self.router).identity().static_key();
        let date_time = Block::DateTime(u32::try_from(self.world.net.unix_ms() / 1000).unwrap());
        let clove = Block::Clove(Clove { delivery: Delivery::Local, message });
        router::seal(&mut self.rng, &key, &Block::encode_all(&[date_time, clove])).unwrap()
    }

    /// Sends it to the client.
    pub(crate) fn taint(&mut self, sent: Sent) {
        self.sent = self.prepare(sent);
        if let Some(message) = self.sent.clone() {
            return self.send_down(self.client, vec![message]);
        }
        match sent {
            Sent::Stream => {
                let mut transfer =
                    Transfer::open(&mut self.world.net, self.opener, self.client, self.keys[0], 2_000, 0);
                self.world.net.run_until(Duration::from_secs(60), |net| transfer.pump(net));
                assert_eq!(transfer.progress(), Progress::Done);
                self.subject = self.keys[2];
                self.entry = None;
            }
            Sent::LookedUp => {
                let Some(Entry::LeaseSet(set)) = self.entry.clone() else { return };
                self.world.net.puppet_mut(self.prober).hold(set.as_ref().clone());
                let (destination, hash) = (self.client.destination, self.subject);
                self.world.net.command(self.client.node, Command::Lookup { destination, token: 1 << 40, hash });
                self.world.net.run_for(Duration::from_secs(25));
            }
            Sent::Flood => {
                let mut messages = Vec::new();
                for _ in 0..120 {
                    messages.extend(self.prepare(Sent::LookUp));
                    messages.extend(self.prepare(Sent::GarlicToTheRouter));
                    messages.extend(self.prepare(Sent::Build));
                    messages.extend(self.prepare(Sent::StoreLeaseSet));
                }
                self.send_down(self.client, messages);
            }
            _ => self.world.net.run_for(Duration::from_secs(2)),
        }
    }

    /// Sends messages down a tunnel of a destination that begins at neither of the two routers.
    pub(crate) fn send_down(&mut self, to: End, messages: Vec<Message>) {
        let avoid = [self.world.net.hash(self.router), self.world.net.hash(self.elsewhere)];
        let mut entry = None;
        for _ in 0..60 {
            let entries = self.world.net.router(to.node).entries(to.destination);
            entry = entries.into_iter().find(|entry| !avoid.contains(&entry.gateway));
            if entry.is_some() {
                break;
            }
            self.world.net.run_for(Duration::from_secs(10));
        }
        let entry = entry.unwrap();
        let gateway = self.world.net.node_of(&entry.gateway).unwrap();
        for message in messages {
            let body = TunnelGateway { tunnel: entry.tunnel, message }.to_bytes();
            let outer = self.message(Kind::TUNNEL_GATEWAY, body);
            self.world.net.tell(self.prober, gateway, outer);
        }
        self.world.net.run_for(Duration::from_secs(2));
    }

    /// What the prober sees, in words that are the same whenever they say the same.
    fn probe(&mut self, probe: Probe) -> String {
        let from = self.world.net.hash(self.prober);
        let own = self.world.net.hash(self.router);
        let mut key = self.subject;
        let message = match probe {
            Probe::State => {
                let snapshot = self.world.net.snapshot(self.router);
                let routers: Vec<Hash> =
                    self.world.net.router(self.router).known_routers().map(|info| info.hash()).collect();
                let subject = self.world.net.router(self.router).lease_set_of_others(&self.subject).is_some();
                let known = routers.contains(&self.subject);
                return format!(
                    "{known} {subject} {} {} {}",
                    snapshot.faults, snapshot.serves, snapshot.garlic_dropped
                );
            }
            Probe::LookUp(kind, sealed) => Some(self.question(key, kind, sealed)),
            Probe::LookUpOf(who) => {
                key = self.keys[who];
                Some(self.question(key, LookupKind::LeaseSet, false))
            }
            Probe::Control => {
                key = own;
                Some(self.question(key, LookupKind::RouterInfo, false))
            }
            Probe::Same => self.sent.clone(),
            Probe::SameBody => self.sent.clone().map(|message| self.message(message.kind, message.body)),
            Probe::SameAsClove => self.sent.clone().map(|inner| {
                let body = self.sealed_to_router(inner);
                self.message(Kind::GARLIC, body)
            }),
            Probe::Store => self.entry.clone().map(|entry| {
                let reply = StoreReply { token: TOKEN + 1, tunnel: 0, gateway: from };
                self.message(Kind::DATABASE_STORE, DatabaseStore::new(entry, Some(reply)).to_bytes())
            }),
            Probe::Build => Some(self.request()),
        };
        let Some(message) = message else { return "nothing to send".into() };
        self.world.net.puppet_mut(self.prober).take_answers();
        self.world.net.puppet_mut(self.prober).take_builds();
        self.world.net.tell(self.prober, self.router, message);
        self.world.net.run_for(Duration::from_millis(1_200));
        let builds = self.world.net.puppet_mut(self.prober).take_builds();
        let came = self.world.net.puppet_mut(self.prober).take_answers_of(&own);
        let exploration = matches!(probe, Probe::LookUp(LookupKind::Exploration, _));
        let mut seen: Vec<String> = came.iter().filter_map(|message| said(message, &key, exploration)).collect();
        // Build requests of others come by as well.
        seen.extend(builds.iter().filter(|build| **build == (own, self.asked_for)).map(|_| "built".to_owned()));
        seen.sort();
        format!("{seen:?}")
    }

    fn question(&mut self, key: Hash, kind: LookupKind, sealed: bool) -> Message {
        let encryption = sealed.then(|| ReplyEncryption { key: SEAL.into(), tag: TAG });
        let from = self.world.net.hash(self.prober);
        let question = DatabaseLookup { key, from, kind, reply_tunnel: None, excluded: Vec::new(), encryption };
        self.message(Kind::DATABASE_LOOKUP, question.to_bytes())
    }
}

/// What a message says in answer to a probe.
fn said(message: &Message, key: &Hash, exploration: bool) -> Option<String> {
    match message.kind {
        Kind::DATABASE_STORE => {
            let store = DatabaseStore::from_bytes(&message.body).ok().filter(|store| store.key == *key)?;
            Some(format!("{:?} found", store.entry.key()))
        }
        Kind::DATABASE_SEARCH_REPLY => {
            let reply = DatabaseSearchReply::from_bytes(&message.body).ok().filter(|reply| reply.key == *key)?;
            let mut peers = reply.peers;
            peers.sort_unstable();
            Some(if exploration { format!("{} named", peers.len()) } else { format!("{peers:?} named") })
        }
        Kind::DELIVERY_STATUS => {
            let status = DeliveryStatus::from_bytes(&message.body).ok()?;
            (TOKEN..=TOKEN + 1).contains(&status.message_id).then(|| format!("{} confirmed", status.message_id))
        }
        Kind::GARLIC => {
            let payload = one_time::open(&SEAL, &message.body).ok()?;
            let blocks = Block::decode_all(&payload).ok()?;
            let inner = blocks.into_iter().find_map(|block| match block {
                Block::Clove(clove) => Some(clove.message),
                _ => None,
            })?;
            said(&inner, key, exploration).map(|said| format!("sealed: {said}"))
        }
        _ => None,
    }
}

/// Both worlds of a seed; the kinds of probes that were answered by anything, and all.
fn compare(seed: u64, floodfill: bool) -> (usize, usize) {
    let mut worlds = [true, false].map(|here| Lab::new(seed, floodfill, here));
    let (mut kinds, mut answered) = (0, 0);
    for sent in SENT {
        worlds.iter_mut().for_each(|lab| lab.taint(sent));
        for probe in PROBES {
            let [mut here, mut away] = [0, 1].map(|n| worlds[n].probe(probe));
            if here != away && matches!(probe, Probe::LookUp(..) | Probe::LookUpOf(_)) {
                // A floodfill passes on what is published just now: that looks like an answer, and comes once.
                worlds.iter_mut().for_each(|lab| lab.world.net.run_for(Duration::from_secs(15)));
                [here, away] = [0, 1].map(|n| worlds[n].probe(probe));
            }
            assert_eq!(here, away, "seed {seed}, floodfill {floodfill}: {probe:?} after {sent:?}");
            kinds += usize::from(here != "nothing to send");
            answered += usize::from(here != "[]" && here != "nothing to send");
        }
    }
    for lab in &worlds {
        assert!(lab.world.net.is_up(lab.router));
    }
    (kinds, answered)
}

#[test]
fn p10_what_a_client_is_sent_shows_in_no_answer_of_a_floodfill() {
    let (kinds, answered) = compare(1, true);
    assert!(kinds >= 200 && answered >= 200, "{kinds} kinds, {answered} answered");
}

#[test]
fn p10_what_a_client_is_sent_shows_in_no_answer_of_a_router() {
    let (kinds, answered) = compare(2, false);
    assert!(kinds >= 200 && answered >= 40, "{kinds} kinds, {answered} answered");
}

/// The same in many worlds.
#[test]
#[ignore = "takes minutes; `cargo nextest run -p ramson-sim --run-ignored all p10_fifty_seeds` runs it"]
fn p10_fifty_seeds() {
    for seed in 100..150 {
        println!("seed {seed}: {:?}", [true, false].map(|floodfill| compare(seed, floodfill)));
    }
}
