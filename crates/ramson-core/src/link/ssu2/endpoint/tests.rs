//! Endpoints on one clock, with a network between them that loses, reorders and doubles.

mod handshake;
mod hostile;
mod session;

use super::super::job::Step;
use super::*;
use crate::keys::RouterKeys;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Mapping, RouterAddress, RouterInfo, base64};
use ramson_wire::ssu2::{Block, Termination};
use std::collections::BTreeMap;

const START_MS: u64 = 1_700_000_000_000;
const NETWORK: u8 = 99;

/// An endpoint, and what came out of it.
struct Node {
    endpoint: Endpoint,
    addr: SocketAddr,
    hash: Hash,
    keys: ResponderKeys,
    rng: Rng,
    up: Vec<(ConnId, Option<Hash>)>,
    down: Vec<(ConnId, Option<TerminationReason>)>,
    packets: Vec<(ConnId, u32, Vec<u8>)>,
    moved: Vec<ConnId>,
    jobs: usize,
    next_number: BTreeMap<ConnId, u32>,
    next_conn: u64,
    /// Its clock less the world's.
    clock_ms: i64,
}

fn info(keys: &RouterKeys, static_key: &SecretKey, intro: &[u8; 32], addr: Option<SocketAddr>, at: u64) -> RouterInfo {
    let (s, i) = (base64::encode(&static_key.public_key().0), base64::encode(intro));
    let (host, port) = addr.map(|addr| (addr.ip().to_string(), addr.port().to_string())).unwrap_or_default();
    let mut pairs = vec![("i", &*i), ("s", &*s), ("v", "2")];
    if addr.is_some() {
        pairs.extend([("host", &*host), ("port", &*port)]);
    }
    pairs.sort_unstable();
    let address = RouterAddress::new(8, "SSU2", Mapping::from_pairs(pairs).unwrap()).unwrap();
    let options = Mapping::from_pairs([("caps", "LR"), ("netId", "99"), ("router.version", "0.9.68")]).unwrap();
    let (identity, addresses) = (keys.identity.clone(), vec![address]);
    Unsigned { identity, published: at, addresses, options }.sign(&keys.signing).unwrap()
}

impl Node {
    fn new(n: u8) -> Self {
        let mut rng = Rng::from_seed([n; 32]);
        let keys = RouterKeys::generate(&mut rng);
        let (static_key, intro_key) = (SecretKey::random(&mut rng), rng.bytes());
        let addr: SocketAddr = ([10, 0, 0, n], 9000 + u16::from(n)).into();
        let info = info(&keys, &static_key, &intro_key, Some(addr), START_MS);
        let hash = info.hash();
        let responder = ResponderKeys { router: hash, static_key: static_key.public_key(), intro_key };
        let addresses = AddressRules { allow_reserved: true, ipv4: true, ipv6: true };
        let config = EndpointConfig { network_id: NETWORK, static_key, intro_key, router: hash, addresses };
        let mut endpoint = Endpoint::new(config, rng.child("endpoint"));
        endpoint.set_router_info(info.as_bytes().to_vec());
        Self {
            endpoint,
            addr,
            hash,
            keys: responder,
            rng,
            up: vec![],
            down: vec![],
            packets: vec![],
            moved: vec![],
            jobs: 0,
            next_number: BTreeMap::new(),
            next_conn: 0,
            clock_ms: 0,
        }
    }

    fn now(&self, now: Now) -> Now {
        Now::new(now.mono, now.unix_ms.saturating_add_signed(self.clock_ms))
    }

    /// Seals blocks into a packet with the next number.
    fn packet(&mut self, id: ConnId, blocks: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let number = self.next_number.entry(id).or_default();
        let mut out = Vec::new();
        Endpoint::begin(&mut out);
        out.extend_from_slice(blocks);
        let to = self.endpoint.seal(id, *number, false, &mut out)?;
        *number += 1;
        Some((to, out))
    }

    /// Jobs run at once; what goes out is given back.
    fn drain(&mut self, now: Now) -> Vec<(SocketAddr, Vec<u8>)> {
        let now = self.now(now);
        let mut out = vec![];
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Datagram { to, bytes } => out.push((to, bytes)),
                Event::Job(id, step) => {
                    self.jobs += 1;
                    let outcome = step.run(&mut self.rng, &|_| None);
                    self.endpoint.handle_job(now, id, outcome);
                }
                Event::Up { id, info } => {
                    self.next_number.insert(id, u32::from(!id.is_inbound()));
                    self.up.push((id, info.map(|info| info.info().hash())));
                }
                Event::Packet { id, number, payload, .. } => self.packets.push((id, number, payload)),
                Event::Control { id, to, blocks } => {
                    if let Some((usual, packet)) = self.packet(id, &blocks) {
                        out.push((to.unwrap_or(usual), packet));
                    }
                }
                Event::Moved { id, .. } => self.moved.push(id),
                Event::Down { id, reason } => self.down.push((id, reason)),
                Event::Clock { .. } | Event::SeenAt { .. } | Event::Outside { .. } => {}
                Event::Tag { .. } | Event::HolePunch { .. } => {}
            }
        }
        out
    }

    fn receive(&mut self, now: Now, from: SocketAddr, bytes: &mut [u8]) {
        use ramson_wire::ssu2::Blocks;
        let now = self.now(now);
        let Some(got) = self.endpoint.handle_datagram(now, from, bytes) else { return };
        let (id, from, payload) = (got.id, got.from, got.payload.to_vec());
        self.packets.push((id, got.number, payload.clone()));
        for block in Blocks::new(&payload) {
            match block.unwrap() {
                Block::PathChallenge(data) => self.endpoint.path_challenge(now, id, from, data),
                Block::PathResponse(data) => self.endpoint.path_response(now, id, data),
                Block::NewToken(token) => self.endpoint.new_token(now, id, token),
                Block::Termination(termination) => self.endpoint.terminated(now, id, &termination),
                _ => {}
            }
        }
    }
}

/// What the network does to datagrams.
#[derive(Clone, Copy)]
struct Weather {
    loss: f64,
    doubled: f64,
    delay: (u64, u64),
}

const FAIR: Weather = Weather { loss: 0.0, doubled: 0.0, delay: (20, 20) };

struct World {
    now: Now,
    nodes: Vec<Node>,
    weather: Weather,
    rng: Rng,
    /// By arrival: who has sent it, to whom, and what.
    under_way: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    /// Sizes of all that was sent.
    sizes: Vec<usize>,
    /// Datagrams to addresses where nobody is.
    astray: Vec<(SocketAddr, Vec<u8>)>,
    /// Where a node is seen to be, other than at its address.
    seen_at: BTreeMap<SocketAddr, SocketAddr>,
}

impl World {
    fn new(seed: u8, count: u8, weather: Weather) -> Self {
        Self {
            now: Now::new(Instant::ZERO + Duration::from_secs(100), START_MS),
            nodes: (1..=count).map(Node::new).collect(),
            weather,
            rng: Rng::from_seed([seed; 32]),
            under_way: BTreeMap::new(),
            sent: 0,
            sizes: vec![],
            astray: vec![],
            seen_at: BTreeMap::new(),
        }
    }

    fn dial(&mut self, from: usize, to: usize) -> ConnId {
        let (hash, keys, addr) = (self.nodes[to].hash, self.nodes[to].keys, self.nodes[to].addr);
        let node = &mut self.nodes[from];
        let id = ConnId(ConnId::UDP | node.next_conn);
        node.next_conn += 1;
        let now = node.now(self.now);
        assert!(node.endpoint.dial(now, id, hash, keys, addr, Dial::default()));
        self.drain(from);
        id
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        let from = self.nodes[from].addr;
        let from = self.seen_at.get(&from).copied().unwrap_or(from);
        self.sizes.push(bytes.len());
        let copies = 1 + u32::from(self.rng.unit() < self.weather.doubled);
        for _ in 0..copies {
            if self.rng.unit() < self.weather.loss {
                continue;
            }
            let (least, most) = self.weather.delay;
            let delay = self.rng.between(Duration::from_millis(least), Duration::from_millis(most));
            self.under_way.insert((self.now.mono + delay, self.sent), (from, to, bytes.clone()));
            self.sent += 1;
        }
    }

    fn drain(&mut self, n: usize) {
        let out = self.nodes[n].drain(self.now);
        out.into_iter().for_each(|(to, bytes)| self.send(n, to, bytes));
    }

    /// Seals blocks at a node and sends them.
    fn say(&mut self, n: usize, id: ConnId, blocks: &[u8]) -> bool {
        let Some((to, packet)) = self.nodes[n].packet(id, blocks) else { return false };
        self.send(n, to, packet);
        true
    }

    fn run(&mut self, secs: u64) {
        self.run_for(Duration::from_secs(secs));
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now.mono + time;
        for _ in 0..1_000_000 {
            let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
            let timers = self.nodes.iter().filter_map(|node| node.endpoint.next_timeout());
            let Some(next) = timers.chain(arrival).min().filter(|at| *at <= end) else { break };
            self.at(next);
            if arrival == Some(next)
                && let Some((_, (from, to, mut bytes))) = self.under_way.pop_first()
            {
                let at = self.seen_at.iter().find(|(_, seen)| **seen == to).map_or(to, |(real, _)| *real);
                match self.nodes.iter().position(|node| node.addr == at) {
                    Some(n) => {
                        self.nodes[n].receive(self.now, from, &mut bytes);
                        self.drain(n);
                    }
                    None => self.astray.push((to, bytes)),
                }
                continue;
            }
            for n in 0..self.nodes.len() {
                let now = self.nodes[n].now(self.now);
                self.nodes[n].endpoint.handle_timeout(now);
                self.drain(n);
            }
        }
        self.at(end);
    }

    fn at(&mut self, at: Instant) {
        let passed = at.since(self.now.mono);
        self.now = self.now.later(passed);
        self.now.mono = at;
        self.now.unix_ms = START_MS + (at.since(Instant::ZERO + Duration::from_secs(100))).as_millis() as u64;
    }

    /// A pair with a session: who has dialled, and both ends of it.
    fn pair(seed: u8) -> (Self, ConnId, ConnId) {
        let mut world = Self::new(seed, 2, FAIR);
        let a = world.dial(0, 1);
        world.run(1);
        let b = world.nodes[1].up[0].0;
        assert_eq!(world.nodes[0].up, [(a, None)]);
        // The responder's first word says that the SessionConfirmed has come.
        assert!(world.say(1, b, &[12, 0, 5, 0, 0, 0, 0, 0]));
        world.run(1);
        (world, a, b)
    }
}

fn token_of(packet: &mut [u8], keys: &ResponderKeys) -> u64 {
    let intro = IntroKey::new(keys.intro_key);
    intro.open(packet, ramson_wire::ssu2::MessageType::Retry).unwrap().0.token
}

/// A SessionRequest to these keys, made by nobody in particular.
fn session_request(keys: &ResponderKeys, token: u64, secs: u32, rng: &mut Rng) -> Vec<u8> {
    let (static_key, ids) = (SecretKey::random(rng), Ids::random(rng));
    let initiator = super::super::handshake::Initiator {
        static_key,
        responder: *keys,
        network_id: NETWORK,
        ids,
        token,
        timestamp: secs,
        relay_tag: false,
        padding: 9,
    };
    match Step::Request(Box::new(initiator)).run(rng, &|_| None) {
        Outcome::Requested(packet, _) => packet,
        _ => panic!("a SessionRequest"),
    }
}
