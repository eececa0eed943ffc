//! What comes in: one wave of each kind is some thousands of messages.

use super::{KIB, Siege, limits};
use ramson_core::router::{Command, DestinationId, Event, StreamKey};
use ramson_core::time::Duration;
use ramson_sim::{NodeId, Role};
use ramson_wire::codec::Encode;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{AnyLeaseSet, Destination, Hash, Lease2, LeaseSet2, Mapping};
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind, ReplyEncryption};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message};
use std::sync::Arc;

/// One kind of flood.
pub(crate) struct Flood {
    pub(crate) name: &'static str,
    pub(crate) wave: fn(&mut Siege),
    /// Messages of a wave.
    pub(crate) messages: usize,
    /// What one of them may leave behind, in bytes.
    pub(crate) each: usize,
    /// What the limits let all of them make a router hold.
    pub(crate) budget: usize,
}

const WAVE: usize = 1_000;
/// A place in a filter of replays, with what the table has in reserve.
const PLACE: usize = 24;
/// What a table has for a peer, or a tunnel.
const ENTRY: usize = 512;
/// Messages that came by links, and the peers that are counted.
const SEEN: usize = 2 * limits::router::MESSAGES * PLACE;
const COUNTED: usize = limits::router::GARLIC_PEERS * ENTRY;
/// What the tunnels of a destination keep of what comes down: duplicates and fragments, of each that stands.
const DOWN: usize = 8 * (limits::tunnel::PARTIAL_BYTES + 2 * limits::tunnel::SEEN_IVS * PLACE / 8);

const fn flood(name: &'static str, wave: fn(&mut Siege), messages: usize, each: usize, budget: usize) -> Flood {
    Flood { name, wave, messages, each, budget }
}

pub(crate) const OF_STRANGERS: &[Flood] = &[
    flood("garlic to the router", garlic, WAVE, PLACE, SEEN + COUNTED),
    flood("garlic to the destination", garlic_by_tunnel, WAVE, PLACE, 2 * limits::dest::REPLAY_KEYS * PLACE + DOWN),
    flood("tunnel messages", tunnel_messages, WAVE, 8, 64 * KIB),
    flood("tunnel builds", builds, WAVE, 2 * ENTRY, 1_000 * 2 * ENTRY + limits::tunnel::REQUEST_QUEUE_BYTES + COUNTED),
    flood("LeaseSets", lease_sets, WAVE, 2 * KIB, limits::netdb::LEASE_SET_BYTES),
    flood("RouterInfos", router_infos, WAVE / 2, 2 * KIB, limits::netdb::GUESTS * 2 * KIB),
    flood("questions", questions, WAVE, PLACE, SEEN + COUNTED),
    flood("answers", answers, WAVE, PLACE, SEEN),
    flood("streams", streams, STREAMS, 2 * KIB, limits::stream::MAX_STREAMS * KIB + DOWN),
];

pub(crate) const OF_PROGRAMS: &[Flood] = &[
    flood("look-ups", look_ups, 10_000, 1, limits::dest::QUESTIONS * 64 + limits::netdb::LOOKUPS * 4 * KIB),
    flood("connects and writes", writes, WAVE, KIB, limits::stream::MAX_STREAMS * 2 * KIB),
];

const STREAMS: usize = 60;

impl Siege {
    /// One of those who besiege sends this to the router.
    fn tell(&mut self, kind: Kind, body: Vec<u8>) {
        self.next += 1;
        let message = Message { kind, id: self.next, expiration: self.world.net.unix_ms() + 30_000, body };
        let from = self.hostile[self.next as usize % self.hostile.len()];
        self.world.net.tell(from, self.router, message);
        if self.next.is_multiple_of(100) {
            self.world.net.run_for(Duration::from_millis(250));
        }
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.rng.bytes::<32>()).flatten().take(len).collect()
    }

    fn hash(&mut self) -> Hash {
        Hash(self.rng.bytes())
    }

    /// A valid LeaseSet of a new destination.
    fn lease_set(&mut self) -> LeaseSet2 {
        let now = u32::try_from(self.world.net.unix_ms() / 1000).unwrap();
        let key = SigningKey::from_seed(self.rng.bytes());
        let lease = Lease2 { gateway: self.hash(), tunnel_id: 1, end: now + 590 };
        let unsigned = Unsigned {
            destination: Destination::new(key.verifying_key(), &mut self.rng),
            times: Times { published: now, expires: 590, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(PublicKey([4; 32]))],
            leases: vec![lease; 16],
        };
        unsigned.sign(&key).unwrap()
    }
}

fn garlic(siege: &mut Siege) {
    for n in 0..WAVE {
        let body = siege.noise(if n % 100 == 0 { 60_000 } else { 1_000 });
        siege.tell(Kind::GARLIC, body);
    }
}

/// What looks like New Sessions, to the gateway of a lease.
fn garlic_by_tunnel(siege: &mut Siege) {
    for n in 0..WAVE {
        let mut sets =
            siege.hostile.iter().filter_map(|node| siege.world.net.puppet(*node).lease_set(&siege.server_hash));
        let lease = sets.next().unwrap().leases()[0];
        let gateway = siege.world.net.node_of(&lease.gateway).unwrap();
        siege.next += 1;
        let body = siege.noise(if n % 50 == 0 { 30_000 } else { 900 });
        let mut message =
            Message { kind: Kind::GARLIC, id: siege.next, expiration: siege.world.net.unix_ms() + 30_000, body };
        let inner = TunnelGateway { tunnel: lease.tunnel_id, message: message.clone() };
        message = Message { kind: Kind::TUNNEL_GATEWAY, body: inner.to_bytes(), ..message };
        let from = siege.hostile[n % siege.hostile.len()];
        siege.world.net.tell(from, gateway, message);
        if n % 100 == 0 {
            siege.world.net.run_for(Duration::from_millis(500));
        }
    }
}

fn tunnel_messages(siege: &mut Siege) {
    for n in 0..WAVE {
        let (kind, len) = if n % 2 == 0 { (Kind::TUNNEL_DATA, 1028) } else { (Kind::TUNNEL_GATEWAY, 500) };
        let body = siege.noise(len);
        siege.tell(kind, body);
    }
}

/// Valid requests for tunnels that nobody uses, as many as a previous hop may send.
fn builds(siege: &mut Siege) {
    let all: Vec<NodeId> = (0..siege.world.net.nodes()).map(NodeId).collect();
    for _ in 0..4 {
        let flooding = siege.world.net.add_adversary(Role::Flooding(u32::try_from(WAVE / 40).unwrap()));
        siege.world.net.join(flooding, &all);
    }
    siege.world.net.run_for(Duration::from_secs(10));
}

fn lease_sets(siege: &mut Siege) {
    for n in 0..WAVE {
        let set = siege.lease_set();
        let gateway = siege.hash();
        let reply = (n % 2 == 0).then_some(StoreReply { token: 7, tunnel: 0, gateway });
        let body = DatabaseStore::new(Entry::LeaseSet(Arc::new(AnyLeaseSet::V2(set))), reply).to_bytes();
        siege.tell(Kind::DATABASE_STORE, body);
    }
}

fn router_infos(siege: &mut Siege) {
    for n in 0..WAVE / 2 {
        let keys = ramson_core::keys::RouterKeys::generate(&mut siege.rng);
        let info = siege.world.net.info_of_nobody(&keys, n);
        let body = DatabaseStore::new(Entry::RouterInfo(info), None).to_bytes();
        siege.tell(Kind::DATABASE_STORE, body);
    }
}

fn questions(siege: &mut Siege) {
    for n in 0..WAVE {
        let (key, from) = (siege.hash(), siege.hash());
        let kind = [LookupKind::Any, LookupKind::LeaseSet, LookupKind::RouterInfo, LookupKind::Exploration][n % 4];
        let encryption = (n % 3 == 0).then(|| ReplyEncryption { key: [3; 32].into(), tag: [4; 8] });
        let excluded = vec![key; n % 200];
        let reply_tunnel = (n % 2 == 0).then_some(5);
        let question = DatabaseLookup { key, from, kind, reply_tunnel, excluded, encryption };
        siege.tell(Kind::DATABASE_LOOKUP, question.to_bytes());
    }
}

fn answers(siege: &mut Siege) {
    for n in 0..WAVE {
        if n % 2 == 0 {
            let (key, from) = (siege.hash(), siege.hash());
            let peers = (0..200).map(|_| siege.hash()).collect();
            siege.tell(Kind::DATABASE_SEARCH_REPLY, DatabaseSearchReply { key, peers, from }.to_bytes());
        } else {
            let status = DeliveryStatus { message_id: siege.next, timestamp: siege.world.net.unix_ms() };
            siege.tell(Kind::DELIVERY_STATUS, status.to_bytes());
        }
    }
}

/// Streams to a program that never reads.
fn streams(siege: &mut Siege) {
    let mut open: Vec<StreamKey> = Vec::new();
    for n in 0..STREAMS as u64 {
        let (destination, to) = (siege.client.destination, siege.server_hash);
        siege.world.net.command(siege.client.node, Command::Connect { destination, token: n, to, ports: (0, 80) });
        siege.world.net.run_for(Duration::from_millis(100));
        for (_, event) in siege.world.net.take_events(siege.client.node) {
            if let Event::StreamOpened { stream, .. } = event {
                siege.world.net.command(siege.client.node, Command::StreamSend { stream, data: vec![7; 8 * KIB] });
                open.push(stream);
            }
        }
    }
    siege.world.net.run_for(Duration::from_secs(10));
    for stream in open {
        siege.world.net.command(siege.client.node, Command::StreamReset(stream));
    }
    siege.world.net.run_for(Duration::from_secs(10));
}

fn look_ups(siege: &mut Siege) {
    let destination = siege.server.destination;
    for n in 0..10_000 {
        let hash = if n % 2 == 0 { Hash([9; 32]) } else { siege.hash() };
        siege.world.net.command(siege.router, Command::Lookup { destination, token: n, hash });
        if n % 1_000 == 0 {
            siege.world.net.take_events(siege.router);
        }
    }
}

/// A program that connects to somebody who does not answer, and writes to nobody.
fn writes(siege: &mut Siege) {
    let destination = siege.server.destination;
    for n in 0..WAVE as u64 {
        let to = if n % 2 == 0 { Hash([8; 32]) } else { siege.hash() };
        siege.world.net.command(siege.router, Command::Connect { destination, token: n, to, ports: (0, 80) });
        let stream = StreamKey { destination: DestinationId(n), stream: ramson_core::stream::StreamId(n) };
        siege.world.net.command(siege.router, Command::StreamSend { stream, data: vec![7; 16 * KIB] });
        siege.world.net.command(siege.router, Command::Listen { destination, port: u16::try_from(n).ok() });
    }
    siege.world.net.run_for(Duration::from_secs(1));
}
