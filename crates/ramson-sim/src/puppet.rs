//! A peer that says what a test wants it to say: an adversary for the simulated network.
//!
//! It is made of the core's links and tunnels, so that it speaks NTCP2 and serves as a hop as a router does, and of a
//! netDb that keeps the protocol of floodfills and nothing of their care: it bounds nothing, trusts its clock, gives
//! away what it is told to hold, and writes down what comes. [`crate::Net::ask`] and [`crate::Net::tell`] let it send
//! anything at all.
//!
//! It has the door of [`ramson_core::router::Router`]: inputs in, then `poll_output` down to the time-out.

use crate::role::{Role, build_request};
use ramson_core::job::{Job, JobDone};
use ramson_core::keys::RouterKeys;
use ramson_core::link::ntcp2::padding::PaddingStrategy;
use ramson_core::link::{self, AddressRules, Class, LinkConfig, Links};
use ramson_core::netdb::routing_key::Day;
use ramson_core::own_info::API_VERSION;
use ramson_core::rng::Rng;
use ramson_core::router::{Input, Output};
use ramson_core::time::{Duration, Instant, Now};
use ramson_core::tunnel::{self, StaticKey, TransitRules, TunnelConfig, Tunnels};
use ramson_wire::codec::{Decode, DecodeError, Encode};
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{AnyLeaseSet, Hash, Mapping, RouterAddress, RouterInfo, base64};
use ramson_wire::garlic::block::{Block, Clove, Delivery};
use ramson_wire::garlic::one_time;
use ramson_wire::i2np::database_lookup::{DatabaseLookup, LookupKind};
use ramson_wire::i2np::database_search_reply::DatabaseSearchReply;
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::delivery_status::DeliveryStatus;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, Message};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Routers that an answer names.
const NAMED: usize = 3;
/// Life of what it sends.
const LIFETIME_MS: u64 = 30_000;
/// Answers that are kept.
const MAX_ANSWERS: usize = 1_000;
/// How often it signs its RouterInfo.
const RESIGN: Duration = Duration::from_secs(30 * 60);

pub(crate) struct PuppetConfig {
    pub(crate) network_id: u8,
    pub(crate) addr: SocketAddr,
    pub(crate) seed: [u8; 32],
    pub(crate) role: Role,
}

/// What a puppet has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PuppetStats {
    /// Stores that asked for a confirmation, and got it.
    pub confirmed: u64,
    /// Stores without one, as other floodfills send them.
    pub flooded: u64,
    /// Stores whose signature is bad, or which are older than what is known.
    pub refused: u64,
    /// Look-ups answered with what was looked for.
    pub found: u64,
    /// Look-ups answered with the names of others.
    pub not_found: u64,
    /// Messages of which the sender or the receiver is not known.
    pub undeliverable: u64,
}

/// A peer on strings.
pub struct Puppet {
    network_id: u8,
    addr: SocketAddr,
    hash: Hash,
    keys: RouterKeys,
    rng: Rng,
    now: Now,
    links: Links,
    tunnels: Tunnels,
    resign: Instant,
    infos: BTreeMap<Hash, Arc<RouterInfo>>,
    sets: BTreeMap<Hash, Arc<AnyLeaseSet>>,
    stores: BTreeMap<Hash, u64>,
    questions: BTreeMap<Hash, u64>,
    /// An answer has what was looked for so many times.
    copies: usize,
    /// It keeps the LeaseSets that it has and takes no newer ones, but says that it did.
    stale: bool,
    role: Role,
    /// When a flooding one sends its next request.
    flood_at: Instant,
    /// Whom an observing one has seen beside it in a tunnel.
    seen: BTreeSet<Hash>,
    answers: Vec<(Option<Hash>, Message)>,
    /// From whom requests to build tunnels came, and their message ids.
    builds: Vec<(Hash, u32)>,
    outputs: VecDeque<Output>,
    stats: PuppetStats,
}

/// The RouterInfo of a puppet at this address: caps XfR, or XR of one that is no floodfill.
pub(crate) fn sign_info(
    keys: &RouterKeys,
    network_id: u8,
    addr: SocketAddr,
    unix_ms: u64,
    floodfill: bool,
) -> Result<RouterInfo, DecodeError> {
    let caps = if floodfill { "XfR" } else { "XR" };
    let (s, i) = (base64::encode(&keys.ntcp2_key.public_key().0), base64::encode(&keys.ntcp2_iv));
    let (host, port, id) = (addr.ip().to_string(), addr.port().to_string(), network_id.to_string());
    let options = Mapping::from_pairs([("host", &*host), ("i", &*i), ("port", &*port), ("s", &*s), ("v", "2")])?;
    let unsigned = Unsigned {
        identity: keys.identity.clone(),
        published: unix_ms,
        addresses: vec![RouterAddress::new(3, "NTCP2", options)?],
        options: Mapping::from_pairs([("caps", caps), ("netId", &*id), ("router.version", API_VERSION)])?,
    };
    unsigned.sign(&keys.signing)
}

impl Puppet {
    pub(crate) fn new(config: PuppetConfig, keys: RouterKeys, now: Now) -> Self {
        let mut rng = Rng::from_seed(config.seed);
        let hash = keys.identity.hash();
        let link_config = LinkConfig {
            network_id: config.network_id,
            static_key: keys.ntcp2_key.clone(),
            router: hash,
            iv: keys.ntcp2_iv,
            padding: PaddingStrategy::Random,
            addresses: AddressRules { allow_reserved: true, ipv4: true, ipv6: false },
        };
        let transit = TransitRules {
            accept: true,
            draining: false,
            max_tunnels: 1_000,
            bytes_per_second: u64::MAX,
            private_network: true,
        };
        let key = StaticKey { secret: keys.static_key.clone(), public: keys.static_key.public_key() };
        let links = Links::new(link_config, rng.child("links"));
        let mut puppet = Self {
            network_id: config.network_id,
            addr: config.addr,
            hash,
            links,
            tunnels: Tunnels::new(now, TunnelConfig { own: hash, key, transit }, &mut rng),
            infos: BTreeMap::new(),
            resign: now.mono,
            sets: BTreeMap::new(),
            stores: BTreeMap::new(),
            questions: BTreeMap::new(),
            copies: 1,
            stale: false,
            flood_at: if matches!(config.role, Role::Flooding(_)) { now.mono } else { Instant::FAR },
            role: config.role,
            seen: BTreeSet::new(),
            answers: Vec::new(),
            builds: Vec::new(),
            outputs: VecDeque::new(),
            stats: PuppetStats::default(),
            keys,
            rng,
            now,
        };
        puppet.sign();
        puppet
    }

    /// Signs its RouterInfo anew: peers take none in a handshake that is older than 90 minutes.
    fn sign(&mut self) {
        self.resign = self.now.mono + RESIGN;
        let floodfill = self.role.is_floodfill();
        if let Ok(info) = sign_info(&self.keys, self.network_id, self.addr, self.now.unix_ms, floodfill) {
            self.links.set_router_info(info.as_bytes().to_vec());
            let info = Arc::new(info);
            self.infos.insert(self.hash, Arc::clone(&info));
            self.flood(&Entry::RouterInfo(info));
        }
    }

    /// Knows this router from now on.
    pub(crate) fn learn(&mut self, info: &Arc<RouterInfo>) {
        self.keep(info);
    }

    /// Signs and floods its RouterInfo now.
    pub(crate) fn publish(&mut self, now: Now) {
        self.now = now;
        self.sign();
    }

    /// How many routers an observing one has had beside it in tunnels.
    pub fn seen(&self) -> usize {
        self.seen.len()
    }

    pub const fn stats(&self) -> PuppetStats {
        self.stats
    }

    /// The RouterInfo that it holds of a router.
    pub fn router_info(&self, hash: &Hash) -> Option<&Arc<RouterInfo>> {
        self.infos.get(hash)
    }

    /// The LeaseSet that it holds of a destination.
    pub fn lease_set(&self, hash: &Hash) -> Option<&Arc<AnyLeaseSet>> {
        self.sets.get(hash)
    }

    /// From now on it keeps the LeaseSets that it has, and still confirms newer ones.
    pub fn become_stale(&mut self) {
        self.stale = true;
    }

    /// Asks a router, directly.
    pub(crate) fn ask(&mut self, now: Now, to: Hash, question: &DatabaseLookup) {
        self.now = now;
        let message = self.message(Kind::DATABASE_LOOKUP, question.to_bytes());
        self.send(to, message);
    }

    /// Sends a router whatever it is, directly.
    pub(crate) fn tell(&mut self, now: Now, to: Hash, message: Message) {
        self.now = now;
        self.send(to, message);
    }

    /// From now on it has this LeaseSet, whatever is in it.
    pub fn hold(&mut self, set: AnyLeaseSet) {
        self.sets.insert(set.key(), Arc::new(set));
    }

    /// From now on each answer that is sealed has what was looked for so many times.
    pub const fn repeat_answers(&mut self, copies: usize) {
        self.copies = copies;
    }

    /// What came in answer to questions, or looks like it: what is stored without a wish for confirmation, search
    /// replies, confirmations, and garlic and messages for tunnels whether they are for it or not.
    pub fn take_answers(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.answers).into_iter().map(|(_, message)| message).collect()
    }

    /// The same, of a router alone and sent directly; what others have sent is forgotten.
    pub fn take_answers_of(&mut self, router: &Hash) -> Vec<Message> {
        let answers = std::mem::take(&mut self.answers).into_iter();
        answers.filter(|(from, _)| *from == Some(*router)).map(|(_, message)| message).collect()
    }

    /// From whom requests to build tunnels came since the last call, and their message ids.
    pub fn take_builds(&mut self) -> Vec<(Hash, u32)> {
        std::mem::take(&mut self.builds)
    }

    /// How often a store of this key came that asked for a confirmation.
    pub fn stores_of(&self, key: &Hash) -> u64 {
        self.stores.get(key).copied().unwrap_or(0)
    }

    /// How often it was asked for this key.
    pub fn questions_of(&self, key: &Hash) -> u64 {
        self.questions.get(key).copied().unwrap_or(0)
    }

    /// Tunnels of others that go through it.
    pub fn transit_tunnels(&self) -> usize {
        self.tunnels.stats().transit_tunnels
    }

    pub(crate) fn handle_input(&mut self, now: Now, input: Input<'_>) {
        self.now = now;
        match input {
            Input::TcpOpened { conn, room } => self.links.handle_opened(now, conn, room),
            Input::TcpAccepted { conn, addr, room } => self.links.handle_accepted(now, conn, addr, room),
            Input::TcpData { conn, bytes, .. } => self.links.handle_data(now, conn, bytes),
            Input::TcpWritable { conn, bytes } => self.links.handle_writable(conn, bytes),
            Input::TcpClosed { conn } => self.links.handle_closed(now, conn),
            Input::JobDone(JobDone::Link(done)) => self.links.handle_job(now, done),
            Input::JobDone(JobDone::Tunnel(done)) => self.tunnels.handle_job(now, done),
            Input::JobDone(JobDone::OpenAtRouter { payload, .. }) => self.opened(payload),
            Input::RouterInfo(info) => {
                self.store(&Entry::RouterInfo(Arc::from(info)));
            }
            _ => {}
        }
        if self.resign <= now.mono {
            self.sign();
        }
        self.send_requests();
        if self.links.next_timeout().is_some_and(|at| at <= now.mono) {
            self.links.handle_timeout(now);
        }
        if self.tunnels.next_timeout().is_some_and(|at| at <= now.mono) {
            self.tunnels.handle_timeout(now);
        }
    }

    pub(crate) fn poll_output(&mut self) -> Output {
        while self.outputs.is_empty() {
            if let Some(event) = self.links.poll_event(self.now) {
                self.handle_link(event);
            } else if let Some(event) = self.tunnels.poll_event() {
                self.handle_tunnels(event);
            } else {
                let timeouts =
                    [self.links.next_timeout(), self.tunnels.next_timeout(), Some(self.resign), Some(self.flood_at)];
                return Output::Timeout(timeouts.into_iter().flatten().min().unwrap_or(Instant::FAR));
            }
        }
        self.outputs.pop_front().unwrap_or(Output::Timeout(Instant::FAR))
    }

    fn handle_link(&mut self, event: link::Event) {
        match event {
            link::Event::Open { conn, addr } => self.outputs.push_back(Output::TcpOpen { conn, addr }),
            link::Event::Write { conn, bytes } => self.outputs.push_back(Output::TcpWrite { conn, bytes }),
            link::Event::Close { conn, how } => self.outputs.push_back(Output::TcpClose { conn, how }),
            link::Event::Job(job) => self.outputs.push_back(Output::Job(Job::Link(job))),
            link::Event::Received { from, message } => self.handle_message(Some(from), message),
            link::Event::Up { router_info: Some(verified), .. } => self.keep(verified.info()),
            link::Event::Unreachable { peer, .. } => self.tunnels.handle_unreachable(self.now, peer),
            link::Event::RouterInfo { bytes, .. } => {
                if let Ok(info) = RouterInfo::from_bytes(&bytes) {
                    self.store(&Entry::RouterInfo(Arc::new(info)));
                }
            }
            _ => {}
        }
    }

    fn handle_tunnels(&mut self, event: tunnel::Event) {
        match event {
            tunnel::Event::Send { to, message, .. } => self.send(to, message),
            tunnel::Event::Job(job) => self.outputs.push_back(Output::Job(Job::Tunnel(job))),
            tunnel::Event::Local { message, .. } => self.handle_message(None, message),
            // It has no pools.
            _ => {}
        }
    }

    /// The next requests of a flooding one, to routers by chance.
    fn send_requests(&mut self) {
        let Role::Flooding(per_second) = self.role else { return };
        let pause = Duration::from_secs(1) / per_second.max(1);
        let mut left = per_second;
        while self.flood_at <= self.now.mono && left > 0 {
            left -= 1;
            self.flood_at = self.flood_at + pause;
            let victims: Vec<Hash> = self.infos.keys().filter(|hash| **hash != self.hash).copied().collect();
            let (Some(to), Some(next)) = (self.rng.pick(&victims).copied(), self.rng.pick(&victims).copied()) else {
                return;
            };
            let Some(info) = self.infos.get(&to) else { return };
            if let Some(request) = build_request(info, next, self.now.unix_ms, &mut self.rng) {
                self.send(to, request);
            }
        }
        self.flood_at = self.flood_at.max(self.now.mono);
    }

    fn handle_message(&mut self, from: Option<Hash>, message: Message) {
        if self.role.drops(from, message.kind, &mut self.rng) {
            return;
        }
        if let (Role::Observing, Kind::TUNNEL_DATA, Some(from)) = (&self.role, message.kind, from) {
            self.seen.insert(from);
        }
        let answer = [
            Kind::DATABASE_STORE,
            Kind::DATABASE_SEARCH_REPLY,
            Kind::DELIVERY_STATUS,
            Kind::GARLIC,
            Kind::TUNNEL_GATEWAY,
        ];
        if answer.contains(&message.kind) {
            self.note_answer(from, &message);
        }
        if let (true, Some(from)) = (message.kind.is_build_request() && self.builds.len() < MAX_ANSWERS, from) {
            self.builds.push((from, message.id));
        }
        match message.kind {
            kind if kind.is_build_request() || matches!(kind, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY) => {
                let _ = self.tunnels.handle_message(self.now, from.unwrap_or(self.hash), message);
            }
            Kind::GARLIC => {
                let key = self.keys.static_key.clone();
                self.outputs.push_back(Output::Job(Job::OpenAtRouter { from, key, body: message.body }));
            }
            Kind::DATABASE_STORE => {
                if let Ok(store) = DatabaseStore::from_bytes(&message.body) {
                    self.handle_store(&store);
                }
            }
            Kind::DATABASE_LOOKUP => {
                if let Ok(lookup) = DatabaseLookup::from_bytes(&message.body) {
                    self.handle_lookup(&lookup);
                }
            }
            _ => {}
        }
    }

    fn note_answer(&mut self, from: Option<Hash>, message: &Message) {
        let store = message.kind == Kind::DATABASE_STORE;
        let flooded = store && DatabaseStore::from_bytes(&message.body).is_ok_and(|store| store.reply.is_some());
        if !flooded && self.answers.len() < MAX_ANSWERS {
            self.answers.push((from, message.clone()));
        }
    }

    /// Cloves that were sealed to its static key.
    fn opened(&mut self, payload: Result<Vec<u8>, DecodeError>) {
        let Ok(blocks) = payload.and_then(|payload| Block::decode_all(&payload)) else { return };
        for block in blocks {
            if let Block::Clove(Clove { delivery: Delivery::Local, message }) = block {
                self.handle_message(None, message);
            }
        }
    }

    // ---- stores ----

    fn handle_store(&mut self, store: &DatabaseStore) {
        let new = self.store(&store.entry);
        let Some(reply) = store.reply else {
            self.stats.flooded += 1;
            return;
        };
        *self.stores.entry(store.key).or_default() += 1;
        // What is known already is confirmed too; what is bad is not.
        let Some(new) = new else { return };
        self.stats.confirmed += 1;
        self.confirm(reply);
        if new {
            self.flood(&store.entry);
        }
    }

    /// Keeps what verifies and is of use. `Some(true)` when it is new, `None` when it is bad.
    fn store(&mut self, entry: &Entry) -> Option<bool> {
        let now = self.now.unix_ms;
        let fit = match entry {
            Entry::RouterInfo(info) => info.net_id() == Some(self.network_id) && info.hash() != self.hash,
            Entry::LeaseSet(set) => set.end() > now && !set.is_unpublished(),
        };
        if !fit || entry.verify().is_err() {
            self.stats.refused += 1;
            return None;
        }
        match entry {
            Entry::RouterInfo(info) => {
                let old = self.infos.get(&info.hash()).is_some_and(|old| old.published() >= info.published());
                self.keep(info);
                Some(!old)
            }
            Entry::LeaseSet(set) => {
                let old = self.sets.get(&set.key()).is_some_and(|old| old.version() >= set.version());
                if !old && !self.stale && !matches!(self.role, Role::Lying(_)) {
                    self.sets.insert(set.key(), Arc::clone(set));
                }
                Some(!old)
            }
        }
    }

    fn keep(&mut self, info: &Arc<RouterInfo>) {
        let old = self.infos.get(&info.hash());
        if old.is_none_or(|old| old.published() < info.published()) {
            self.infos.insert(info.hash(), Arc::clone(info));
        }
    }

    fn confirm(&mut self, reply: StoreReply) {
        let status = DeliveryStatus { message_id: reply.token, timestamp: self.now.unix_ms };
        let message = self.message(Kind::DELIVERY_STATUS, status.to_bytes());
        self.send_back(reply.gateway, Some(reply.tunnel).filter(|tunnel| *tunnel != 0), message);
    }

    fn flood(&mut self, entry: &Entry) {
        let others: Vec<_> =
            self.infos.values().filter(|i| i.is_floodfill()).map(|i| i.hash()).filter(|h| *h != self.hash).collect();
        let body = DatabaseStore::new(entry.clone(), None).to_bytes();
        for other in others.into_iter().filter(|other| *other != entry.key()) {
            let message = self.message(Kind::DATABASE_STORE, body.clone());
            self.send(other, message);
        }
    }

    // ---- look-ups ----

    fn handle_lookup(&mut self, lookup: &DatabaseLookup) {
        let key = &lookup.key;
        *self.questions.entry(*key).or_default() += 1;
        let now = self.now.unix_ms;
        let info = || self.infos.get(key).cloned().map(Entry::RouterInfo);
        let set = || self.sets.get(key).filter(|set| set.end() > now).cloned().map(Entry::LeaseSet);
        let found = match lookup.kind {
            LookupKind::RouterInfo => info(),
            LookupKind::LeaseSet => set(),
            LookupKind::Any => info().or_else(set),
            LookupKind::Exploration => None,
        };
        // A liar tells what its own people say of themselves, and for all else names them.
        let (found, named) = match (self.role.own(key), self.role.names(&mut self.rng)) {
            (Some(info), _) => (Some(Entry::RouterInfo(Arc::clone(info))), None),
            (None, Some(named)) => (None, Some(named)),
            (None, None) => (found, None),
        };
        let (kind, body) = match found {
            Some(entry) => {
                self.stats.found += 1;
                (Kind::DATABASE_STORE, DatabaseStore::new(entry, None).to_bytes())
            }
            None => {
                self.stats.not_found += 1;
                let named = named.map(|infos| infos.iter().map(|info| info.hash()).collect());
                let peers = named.unwrap_or_else(|| self.closest(lookup));
                let reply = DatabaseSearchReply { key: *key, peers, from: self.hash };
                (Kind::DATABASE_SEARCH_REPLY, reply.to_bytes())
            }
        };
        let mut message = self.message(kind, body);
        if let Some(encryption) = &lookup.encryption {
            let copies = if kind == Kind::DATABASE_STORE { self.copies } else { 1 };
            let clove = |message| Block::Clove(Clove { delivery: Delivery::Local, message });
            let payload = Block::encode_all(&vec![clove(message); copies]);
            message = self.message(Kind::GARLIC, one_time::seal(&encryption.key, &encryption.tag, &payload));
        }
        self.send_back(lookup.from, lookup.reply_tunnel, message);
    }

    /// The routers closest to the key that the question does not exclude: floodfills, or for an exploration the
    /// others.
    fn closest(&self, lookup: &DatabaseLookup) -> Vec<Hash> {
        let floodfills = lookup.kind != LookupKind::Exploration;
        let target = Day::of(self.now.unix_ms).routing_key(&lookup.key);
        let usable = |info: &&Arc<RouterInfo>| {
            let hash = info.hash();
            info.is_floodfill() == floodfills && hash != self.hash && !lookup.excluded.contains(&hash)
        };
        let mut peers: Vec<Hash> = self.infos.values().filter(usable).map(|info| info.hash()).collect();
        peers.sort_by_key(|hash| hash.distance(&target));
        peers.truncate(NAMED);
        peers
    }

    // ---- sending ----

    fn message(&mut self, kind: Kind, body: Vec<u8>) -> Message {
        Message { kind, id: self.rng.nonzero_u32(), expiration: self.now.unix_ms + LIFETIME_MS, body }
    }

    /// Sends an answer to a router, or down a tunnel whose gateway the router is.
    fn send_back(&mut self, to: Hash, tunnel: Option<u32>, message: Message) {
        let message = match tunnel {
            None => message,
            Some(tunnel) => {
                let body = TunnelGateway { tunnel, message }.to_bytes();
                self.message(Kind::TUNNEL_GATEWAY, body)
            }
        };
        self.send(to, message);
    }

    fn send(&mut self, to: Hash, message: Message) {
        if to == self.hash {
            return self.handle_message(None, message);
        }
        let info = self.infos.get(&to);
        if !self.links.send(self.now, &to, message, Class::Own, info) {
            self.stats.undeliverable += 1;
            if !self.links.is_connected(&to) {
                self.tunnels.handle_unreachable(self.now, to);
            }
        }
    }
}

impl std::fmt::Debug for Puppet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Puppet at {} with {} routers, {} LeaseSets", self.addr, self.infos.len(), self.sets.len())
    }
}
