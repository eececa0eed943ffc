//! Whole routers' tunnel planes as values, with one clock and links that never lose anything unless told to.

use super::*;
use crate::limits::tunnel as limits;
use crate::time::{Duration, Instant, Now};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::garlic;
use ramson_wire::garlic::block::{Block, Delivery};
use ramson_wire::i2np::tunnel_build::BuildRecords;
use ramson_wire::i2np::tunnel_gateway::TunnelGateway;
use ramson_wire::i2np::{Kind, tunnel_data};
use ramson_wire::tunnel::build_record::{self, Request, Role};
use ramson_wire::tunnel::delivery::Instructions;
use std::collections::{BTreeMap, VecDeque};

const START_MS: u64 = 1_790_000_000_000;
const RULES: TransitRules =
    TransitRules { accept: true, max_tunnels: 1000, bytes_per_second: u64::MAX, private_network: false };

struct Node {
    hash: Hash,
    secret: SecretKey,
    tunnels: Tunnels,
    events: Vec<Event>,
}

/// What becomes of a message between two routers.
type Wire = Box<dyn FnMut(Hash, Hash, &mut Message) -> bool>;

struct Net {
    now: Now,
    rng: Rng,
    nodes: Vec<Node>,
    queue: VecDeque<(Hash, Hash, Message)>,
    wire: Wire,
    /// Every message by kind, from and to.
    log: Vec<(Kind, Hash, Hash)>,
    errors: Vec<TransitError>,
    /// Routers that are no candidates.
    busy: Vec<Hash>,
}

impl Net {
    fn new(count: u8, seed: u8) -> Self {
        let mut rng = Rng::from_seed([seed; 32]);
        let now = Now::new(Instant::ZERO + Duration::from_secs(5), START_MS);
        let nodes = (0..count).map(|i| Self::node(i, now, &mut rng)).collect();
        Self {
            now,
            rng,
            nodes,
            queue: VecDeque::new(),
            wire: Box::new(|_, _, _| true),
            log: Vec::new(),
            errors: Vec::new(),
            busy: Vec::new(),
        }
    }

    fn node(i: u8, now: Now, rng: &mut Rng) -> Node {
        let hash = Hash::of(&[i]);
        let secret = SecretKey::random(rng);
        let key = StaticKey { public: secret.public_key(), secret: secret.clone() };
        let tunnels = Tunnels::new(now, TunnelConfig { own: hash, key, transit: RULES }, rng);
        Node { hash, secret, tunnels, events: Vec::new() }
    }

    fn at(&self, hash: Hash) -> usize {
        self.nodes.iter().position(|node| node.hash == hash).unwrap()
    }

    fn hop(&self, i: usize) -> Hop {
        Hop { hash: self.nodes[i].hash, static_key: self.nodes[i].secret.public_key() }
    }

    fn pool(&mut self, node: usize, pool: PoolId, length: usize, quantity: usize) {
        let wanted = Wanted { length, quantity };
        let config = PoolConfig { inbound: wanted, outbound: wanted };
        self.nodes[node].tunnels.create_pool(self.now, pool, config).unwrap();
    }

    /// Lets everything that is under way arrive.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            for i in 0..self.nodes.len() {
                self.drain(i);
            }
            let Some((from, to, mut message)) = self.queue.pop_front() else { return };
            self.log.push((message.kind, from, to));
            if (self.wire)(from, to, &mut message) {
                self.receive(from, to, message);
            }
        }
        panic!("the network does not settle");
    }

    fn receive(&mut self, from: Hash, to: Hash, message: Message) {
        let i = self.at(to);
        let node = &mut self.nodes[i];
        match message.kind {
            Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY | Kind::SHORT_TUNNEL_BUILD => {
                self.errors.extend(node.tunnels.handle_message(self.now, from, message).err());
            }
            Kind::GARLIC => self.open_garlic(i, from, &message),
            _ => node.events.push(Event::Local { from, message }),
        }
    }

    /// What the router does with garlic for itself.
    fn open_garlic(&mut self, i: usize, from: Hash, message: &Message) {
        let node = &mut self.nodes[i];
        let payload = garlic::router::open(&node.secret, &message.body).unwrap();
        for block in Block::decode_all(&payload).unwrap() {
            if let Block::Clove(clove) = block {
                assert_eq!(clove.delivery, Delivery::Local);
                self.errors.extend(node.tunnels.handle_message(self.now, from, clove.message).err());
            }
        }
    }

    fn drain(&mut self, i: usize) {
        while let Some(event) = self.nodes[i].tunnels.poll_event() {
            match event {
                Event::Send { to, message } => self.queue.push_back((self.nodes[i].hash, to, message)),
                Event::Job(job) => {
                    let done = job.run(&mut self.rng);
                    self.nodes[i].tunnels.handle_job(self.now, done);
                }
                Event::NeedHops { build, length, .. } => {
                    let mut others: Vec<_> = (0..self.nodes.len())
                        .filter(|j| *j != i && !self.busy.contains(&self.nodes[*j].hash))
                        .collect();
                    self.rng.shuffle(&mut others);
                    let hops =
                        (others.len() >= length).then(|| others.iter().take(length).map(|j| self.hop(*j)).collect());
                    self.nodes[i].tunnels.handle_hops(self.now, build, hops);
                }
                Event::Local { from, message } if message.kind == Kind::GARLIC => self.open_garlic(i, from, &message),
                event => self.nodes[i].events.push(event),
            }
        }
    }

    fn advance(&mut self, by: Duration) {
        let end = self.now.mono + by;
        while self.now.mono < end {
            self.now = self.now.later(Duration::from_millis(500));
            for i in 0..self.nodes.len() {
                if self.nodes[i].tunnels.next_timeout().is_some_and(|at| at <= self.now.mono) {
                    self.nodes[i].tunnels.handle_timeout(self.now);
                }
            }
            self.settle();
        }
    }

    fn counts(&self, node: usize, pool: PoolId) -> (usize, usize) {
        let tunnels = &self.nodes[node].tunnels;
        (tunnels.inbound(pool).len(), tunnels.outbound(pool).len())
    }

    fn message(&mut self, len: usize) -> Message {
        let body = (0..len).map(|_| self.rng.bytes::<1>()[0]).collect();
        Message { kind: Kind::DATA, id: self.rng.nonzero_u32(), expiration: START_MS + 60_000, body }
    }

    fn take_inbound(&mut self, node: usize) -> Vec<(PoolId, Message)> {
        let events = std::mem::take(&mut self.nodes[node].events);
        let inbound = events.into_iter().filter_map(|event| match event {
            Event::Inbound { pool, message, .. } => Some((pool, message)),
            _ => None,
        });
        inbound.collect()
    }
}

const EXPLORATORY: PoolId = PoolId::EXPLORATORY;
const CLIENT: PoolId = PoolId(7);

/// A network in which node 0 has both pools.
fn ready(count: u8, seed: u8, length: usize) -> Net {
    let mut net = Net::new(count, seed);
    net.pool(0, EXPLORATORY, length, 2);
    net.pool(0, CLIENT, length, 2);
    net.advance(Duration::from_secs(25));
    assert_eq!(net.counts(0, EXPLORATORY), (2, 2));
    assert_eq!(net.counts(0, CLIENT), (2, 2));
    assert_eq!(net.errors, []);
    net
}

#[test]
fn pools_fill_with_tunnels_of_the_wanted_length() {
    for length in 1..=7 {
        let net = ready(9, 1, length);
        let paths = net.nodes[0].tunnels.paths(CLIENT);
        assert!(paths.iter().all(|(_, hops)| hops.len() == length && !hops.contains(&net.nodes[0].hash)));
        let stats = net.nodes[0].tunnels.stats();
        assert_eq!((stats.built, stats.declined, stats.timed_out, stats.tampered), (8, 0, 0, 0));
    }
}

#[test]
fn messages_of_every_size_go_out_by_one_tunnel_and_in_by_another() {
    let mut net = ready(9, 2, 3);
    let sizes = (0..120).chain((120..6_000).step_by(331)).chain([MAX_MESSAGE - 16]);
    for len in sizes {
        let to = net.nodes[0].tunnels.inbound(CLIENT)[len % 2];
        let message = net.message(len);
        let target = Target::Tunnel { gateway: to.gateway, tunnel: to.tunnel };
        let (now, sent) = (net.now, message.clone());
        net.nodes[0].tunnels.send(now, EXPLORATORY, None, target, sent).unwrap();
        net.settle();
        assert_eq!(net.take_inbound(0), [(CLIENT, message)], "{len}");
    }
    let message = net.message(2_000);
    let to = net.nodes[5].hash;
    net.nodes[0].tunnels.send(net.now, CLIENT, None, Target::Router(to), message.clone()).unwrap();
    net.settle();
    let got = net.nodes[5].events.iter().any(|e| matches!(e, Event::Local { message: m, .. } if *m == message));
    assert!(got, "delivered to a router");
    assert_eq!(net.errors, []);
}

#[test]
fn messages_of_one_turn_share_tunnel_messages() {
    let mut net = ready(9, 3, 2);
    let tunnel = net.nodes[0].tunnels.outbound(CLIENT)[0].tunnel;
    net.log.clear();
    for _ in 0..5 {
        let (message, to) = (net.message(60), net.nodes[5].hash);
        net.nodes[0].tunnels.send(net.now, CLIENT, Some(tunnel), Target::Router(to), message).unwrap();
    }
    net.settle();
    let (us, data) = (net.nodes[0].hash, Kind::TUNNEL_DATA);
    assert_eq!(net.log.iter().filter(|(kind, from, _)| *kind == data && *from == us).count(), 1);
}

/// Builds of a client never leave or return without a tunnel, and what passes others' hands is garlic.
#[test]
fn only_first_exploratory_builds_go_without_a_tunnel() {
    let mut net = Net::new(9, 4);
    net.pool(0, CLIENT, 3, 2);
    net.advance(Duration::from_secs(20));
    assert_eq!(net.counts(0, CLIENT), (0, 0), "nothing to build through");
    assert!(net.log.is_empty());
    net.pool(0, EXPLORATORY, 3, 2);
    net.advance(Duration::from_secs(30));
    assert_eq!(net.counts(0, CLIENT), (2, 2));
    // Take the exploratory tunnels into account as they stand: everything from here has a way.
    net.log.clear();
    net.advance(Duration::from_secs(600));
    let us = net.nodes[0].hash;
    let replies = net.log.iter().filter(|(kind, _, to)| *kind == Kind::TUNNEL_GATEWAY && *to == us);
    assert_eq!(replies.count(), 0, "no reply comes to us directly");
    let plain = net.log.iter().filter(|(kind, ..)| *kind == Kind::OUTBOUND_TUNNEL_BUILD_REPLY);
    assert_eq!(plain.count(), 0);
    assert!(net.log.iter().any(|(kind, ..)| *kind == Kind::GARLIC), "inbound builds travel as garlic");
    assert_eq!(net.errors, []);
}

/// However many exploratory builds fail, while tunnels stand nobody learns who builds.
#[test]
fn failed_builds_take_no_direct_way_while_tunnels_stand() {
    let mut net = ready(9, 10, 2);
    let us = net.nodes[0].hash;
    net.nodes[1..].iter_mut().for_each(|n| n.tunnels.set_transit_rules(TransitRules { accept: false, ..RULES }));
    net.log.clear();
    let direct = |net: &Net| net.log.iter().any(|(kind, _, to)| *kind == Kind::TUNNEL_GATEWAY && *to == us);
    for _ in 0..60 {
        net.advance(Duration::from_secs(10));
        let (inbound, outbound) = net.counts(0, EXPLORATORY);
        if inbound == 0 || outbound == 0 {
            break;
        }
        assert!(!direct(&net));
    }
    let declined = net.nodes[0].tunnels.stats().declined;
    assert!(declined > 20, "{declined}");
    net.advance(Duration::from_secs(120));
    assert!(direct(&net), "without tunnels builds begin as the first ones do");
    net.nodes[1..].iter_mut().for_each(|n| n.tunnels.set_transit_rules(RULES));
    net.advance(Duration::from_secs(60));
    assert_eq!(net.counts(0, EXPLORATORY), (2, 2));
}

#[test]
fn tunnels_are_replaced_before_they_end() {
    let mut net = ready(9, 5, 2);
    let mut changed = 0;
    for _ in 0..200 {
        net.advance(Duration::from_secs(10));
        for pool in [EXPLORATORY, CLIENT] {
            let (inbound, outbound) = net.counts(0, pool);
            assert!((2..=6).contains(&inbound) && (2..=6).contains(&outbound), "{inbound} {outbound}");
        }
        let changes = |e: &&Event| matches!(e, Event::PoolChanged { .. });
        changed += net.nodes[0].events.iter().filter(changes).count();
        net.nodes[0].events.clear();
    }
    assert!(changed > 8);
    let stats = net.nodes[0].tunnels.stats();
    assert!(stats.tests_passed > 100 && stats.tests_failed == 0, "{stats:?}");
    assert_eq!(stats.timed_out + stats.tampered + stats.declined, 0);
    assert!(net.nodes[0].tunnels.outbound(CLIENT).iter().any(|tunnel| tunnel.rtt.is_some()));
    assert!(net.nodes.iter().skip(1).all(|node| node.tunnels.stats().transit_tunnels < 60), "old ones are forgotten");
}

#[test]
fn every_side_has_a_tunnel_before_any_pool_is_full() {
    let mut net = Net::new(9, 6);
    for pool in 0..4 {
        net.pool(0, PoolId(pool), 2, 6);
    }
    net.advance(Duration::from_secs(1));
    for pool in 0..4 {
        let (inbound, outbound) = net.counts(0, PoolId(pool));
        assert!(inbound >= 1 && outbound >= 1, "pool {pool}: {inbound} {outbound}");
    }
    assert!(net.nodes[0].tunnels.stats().started <= limits::BUILDS as u64);
}

#[test]
fn an_outbound_tunnel_is_chosen_by_whom_it_reaches() {
    let mut net = ready(9, 5, 2);
    let tunnels = &mut net.nodes[0].tunnels;
    let all = tunnels.outbound(CLIENT);
    assert!(all.len() > 1);
    for wanted in &all {
        for _ in 0..20 {
            let chosen = tunnels.choose_outbound(CLIENT, |last| *last == wanted.last_hop).unwrap();
            let chosen = all.iter().find(|tunnel| tunnel.tunnel == chosen).unwrap();
            assert_eq!(chosen.last_hop, wanted.last_hop);
        }
    }
    assert!(tunnels.choose_outbound(CLIENT, |_| false).is_some(), "one that may not reach is better than none");
    assert!(tunnels.choose_outbound(PoolId(77), |_| true).is_none());
}

#[test]
fn builds_keep_to_their_budget() {
    let mut net = Net::new(9, 6);
    net.wire = Box::new(|_, _, _| false);
    for pool in 0..8 {
        net.pool(0, PoolId(pool), 2, 8);
    }
    let mut started = Vec::new();
    for _ in 0..120 {
        net.advance(Duration::from_millis(500));
        started.push(net.nodes[0].tunnels.stats().started);
    }
    let per_window = started.windows(20).map(|w| w[19] - w[0]).max().unwrap();
    assert!((6..=limits::BUILDS as u64).contains(&per_window), "{per_window}");
    assert_eq!(net.nodes[0].tunnels.stats().built, 0);
    assert!(net.nodes[0].tunnels.stats().timed_out > 0);
}

#[test]
fn a_router_that_declines_is_named_and_others_are_tried() {
    let mut net = Net::new(9, 7);
    let busy = TransitRules { accept: false, ..RULES };
    net.nodes[3].tunnels.set_transit_rules(busy);
    net.nodes[4].tunnels.set_transit_rules(busy);
    net.pool(0, EXPLORATORY, 3, 2);
    net.advance(Duration::from_secs(60));
    let (inbound, outbound) = net.counts(0, EXPLORATORY);
    assert!(inbound >= 2 && outbound >= 2);
    let mut declined = BTreeMap::new();
    for event in &net.nodes[0].events {
        if let Event::Outcome { hops } = event {
            for (hash, _) in hops.iter().filter(|(_, answer)| *answer == Answer::Declined) {
                *declined.entry(*hash).or_insert(0) += 1;
            }
        }
    }
    let named: Vec<_> = declined.keys().copied().collect();
    let mut both = vec![net.nodes[3].hash, net.nodes[4].hash];
    both.sort();
    assert_eq!(named, both);
    assert!(net.nodes[0].tunnels.paths(EXPLORATORY).iter().all(|(_, hops)| !hops.contains(&both[0])));
}

#[test]
fn dead_tunnels_fail_their_tests_and_are_replaced() {
    let mut net = ready(9, 8, 2);
    let dead: Vec<_> = net.nodes[0].tunnels.paths(CLIENT).iter().map(|(_, hops)| hops[1]).collect();
    let (a, b) = (dead[0], dead[2]);
    net.busy = vec![a, b];
    net.wire = Box::new(move |from, to, _| ![from, to].iter().any(|hash| *hash == a || *hash == b));
    net.advance(Duration::from_secs(240));
    let paths = net.nodes[0].tunnels.paths(CLIENT);
    assert!(paths.iter().all(|(_, hops)| !hops.contains(&a) && !hops.contains(&b)), "{paths:?}");
    let (inbound, outbound) = net.counts(0, CLIENT);
    assert!(inbound >= 2 && outbound >= 2);
    assert!(net.nodes[0].events.iter().any(|e| matches!(e, Event::TunnelLost { .. })));
}

#[test]
fn an_unreachable_first_hop_ends_builds_and_tunnels_at_once() {
    let mut net = ready(9, 9, 2);
    let paths = net.nodes[0].tunnels.paths(CLIENT);
    let first = paths.iter().find(|(direction, _)| *direction == Direction::Outbound).unwrap().1[0];
    let (now, before) = (net.now, net.counts(0, CLIENT));
    net.busy = vec![first];
    net.nodes[0].tunnels.handle_unreachable(now, first);
    assert!(net.counts(0, CLIENT).1 < before.1);
    net.advance(Duration::from_secs(5));
    assert!(net.counts(0, CLIENT).1 >= 2);
}

#[test]
fn pools_without_hops_deliver_too() {
    let mut net = Net::new(4, 10);
    net.pool(0, CLIENT, 0, 1);
    net.pool(1, CLIENT, 0, 1);
    net.advance(Duration::from_secs(2));
    let to = net.nodes[1].tunnels.inbound(CLIENT)[0];
    assert_eq!(to.gateway, net.nodes[1].hash);
    let message = net.message(3_000);
    let target = Target::Tunnel { gateway: to.gateway, tunnel: to.tunnel };
    net.nodes[0].tunnels.send(net.now, CLIENT, None, target, message.clone()).unwrap();
    net.settle();
    assert_eq!(net.take_inbound(1), [(CLIENT, message.clone())]);
    let to = net.nodes[0].tunnels.inbound(CLIENT)[0];
    let target = Target::Tunnel { gateway: to.gateway, tunnel: to.tunnel };
    net.nodes[0].tunnels.send(net.now, CLIENT, None, target, message.clone()).unwrap();
    net.settle();
    assert_eq!(net.take_inbound(0), [(CLIENT, message)], "to ourselves");
}

#[test]
fn a_removed_pool_leaves_nothing() {
    let mut net = ready(9, 11, 2);
    let to = net.nodes[0].tunnels.inbound(CLIENT)[0];
    net.nodes[0].tunnels.remove_pool(CLIENT);
    assert_eq!(net.counts(0, CLIENT), (0, 0));
    let message = net.message(50);
    let target = Target::Tunnel { gateway: to.gateway, tunnel: to.tunnel };
    let nothing = net.nodes[0].tunnels.send(net.now, CLIENT, None, target, message.clone());
    assert_eq!(nothing, Err(SendError::NoTunnel));
    net.nodes[0].tunnels.send(net.now, EXPLORATORY, None, target, message).unwrap();
    net.settle();
    assert_eq!(net.take_inbound(0), []);
}

/// Threats T74: a hop changes another's record, the fake of an inbound build, or the count.
#[test]
fn t74_changed_builds_are_noticed() {
    for seed in 20..32 {
        let mut net = Net::new(9, seed);
        let mut count = 0;
        net.wire = Box::new(move |_, _, message| {
            if message.kind == Kind::SHORT_TUNNEL_BUILD {
                count += 1;
                if count % 3 == 0 {
                    // Somewhere behind the prefix of one of the records.
                    let at = 1 + usize::from(seed % 4) * 218 + 100;
                    message.body[at] ^= 1;
                }
            }
            true
        });
        net.pool(0, EXPLORATORY, 3, 1);
        net.advance(Duration::from_secs(40));
        let stats = net.nodes[0].tunnels.stats();
        assert!(stats.tampered + stats.timed_out > 0, "{stats:?}");
    }
}

/// One router that serves, and requests to it made by hand.
struct Served {
    net: Net,
}

impl Served {
    fn new() -> Self {
        Self { net: Net::new(4, 40) }
    }

    fn request(&self) -> Request {
        Request {
            receive_tunnel: 100,
            next_tunnel: 200,
            next_hop: self.net.nodes[2].hash,
            role: Role::Participant,
            minutes: u32::try_from(self.net.now.unix_ms / 60_000).unwrap(),
            send_message_id: 5,
        }
    }

    fn body(&mut self, requests: &[Request]) -> Vec<u8> {
        let hop = self.net.hop(1);
        let rng = &mut self.net.rng;
        let mut records = vec![[9; 218]; 4];
        for (record, request) in records.iter_mut().zip(requests) {
            *record = build_record::seal_request(request, &hop.hash, &hop.static_key, rng).unwrap().0;
        }
        BuildRecords::new(records).unwrap().to_bytes()
    }

    /// The messages that come of a build message from node 0, and the number of tunnels behind it.
    fn offer(&mut self, body: Vec<u8>) -> (Vec<Message>, usize) {
        let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body };
        let from = self.net.nodes[0].hash;
        self.net.receive(from, self.net.nodes[1].hash, message);
        self.net.drain(1);
        let sent = self.net.queue.drain(..).map(|(_, _, message)| message).collect();
        (sent, self.net.nodes[1].tunnels.stats().transit_tunnels)
    }

    fn offer_one(&mut self, request: &Request) -> (usize, usize) {
        let body = self.body(std::slice::from_ref(request));
        let (sent, tunnels) = self.offer(body);
        (sent.len(), tunnels)
    }
}

#[test]
fn t67_t68_malformed_builds_are_dropped() {
    let mut served = Served::new();
    let good = served.request();
    for body in [vec![], vec![0], vec![9; 1 + 9 * 218], vec![4; 1 + 3 * 218], [vec![255], vec![1; 4 * 218]].concat()] {
        assert_eq!(served.offer(body), (vec![], 0));
    }
    let body = served.body(&[]);
    assert_eq!(served.offer(body), (vec![], 0), "no record for us");
    let body = served.body(&[good.clone(), good.clone()]);
    assert_eq!(served.offer(body), (vec![], 0), "two records for us");
    let mut body = served.body(std::slice::from_ref(&good));
    body[100] ^= 1;
    assert_eq!(served.offer(body), (vec![], 0), "T73: does not open");
    assert_eq!(served.offer_one(&good), (1, 1));
}

#[test]
fn t69_tunnels_that_turn_back_are_dropped() {
    let mut served = Served::new();
    let (previous, own) = (served.net.nodes[0].hash, served.net.nodes[1].hash);
    let good = served.request();
    assert_eq!(served.offer_one(&Request { next_hop: own, ..good.clone() }), (0, 0));
    assert_eq!(served.offer_one(&Request { next_hop: previous, ..good.clone() }), (0, 0));
    let private = TransitRules { private_network: true, ..RULES };
    served.net.nodes[1].tunnels.set_transit_rules(private);
    assert_eq!(served.offer_one(&Request { next_hop: previous, ..good.clone() }), (1, 1));
    assert_eq!(served.offer_one(&Request { next_hop: own, receive_tunnel: 9, ..good }), (0, 1));
}

#[test]
fn t70_ids_in_use_or_equal_are_declined() {
    let mut served = Served::new();
    let good = served.request();
    assert_eq!(served.offer_one(&good), (1, 1));
    assert_eq!(served.offer_one(&good), (1, 1), "answered, but not added");
    assert_eq!(served.offer_one(&Request { receive_tunnel: 7, next_tunnel: 7, ..good.clone() }), (1, 1));
    assert_eq!(served.offer_one(&Request { receive_tunnel: 0, ..good.clone() }), (0, 1));
    assert_eq!(served.offer_one(&Request { next_tunnel: 0, ..good }), (0, 1));
    let stats = served.net.nodes[1].tunnels.stats().transit;
    assert_eq!((stats.accepted, stats.declined), (1, 2));
}

#[test]
fn t71_requests_of_another_time_are_dropped() {
    let mut served = Served::new();
    let good = served.request();
    for (id, minutes, taken) in [(1, 6i64, false), (2, 4, true), (3, 0, true), (4, -7, true), (5, -9, false)] {
        let minutes = u32::try_from(i64::from(good.minutes) + minutes).unwrap();
        let sent = served.offer_one(&Request { minutes, receive_tunnel: id, ..good.clone() }).0;
        assert_eq!(sent == 1, taken, "{id}");
    }
}

#[test]
fn t72_a_request_is_served_once() {
    let mut served = Served::new();
    let good = served.request();
    let body = served.body(&[good]);
    assert_eq!(served.offer(body.clone()).0.len(), 1);
    assert_eq!(served.offer(body.clone()).0.len(), 0);
    let mut other = body;
    other[1 + 3 * 218..].fill(3);
    assert_eq!(served.offer(other).0.len(), 0, "in another message too");
    assert_eq!(served.net.errors, [TransitError::Replayed, TransitError::Replayed]);
}

/// Threats T76: one previous hop cannot make us work without bound, and does not take others' share.
#[test]
fn t76_requests_are_throttled_by_previous_hop_before_any_key_work() {
    let mut served = Served::new();
    let good = served.request();
    let bodies: Vec<_> = (1..400u32).map(|id| served.body(&[Request { receive_tunnel: id, ..good.clone() }])).collect();
    let served_now = bodies.into_iter().filter(|body| !served.offer(body.clone()).0.is_empty()).count();
    assert_eq!(served_now, limits::REQUESTS_PER_PEER.1 as usize);
    let throttled = served.net.errors.iter().filter(|error| **error == TransitError::Throttled).count();
    assert_eq!(throttled, 399 - served_now);
    let body = served.body(&[Request { receive_tunnel: 5_000, ..good }]);
    let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body };
    let (now, other) = (served.net.now, served.net.nodes[3].hash);
    assert_eq!(served.net.nodes[1].tunnels.handle_message(now, other, message), Ok(()));
}

#[test]
fn requests_wait_in_bounded_number_for_their_jobs() {
    let mut served = Served::new();
    let good = served.request();
    let now = served.net.now;
    let mut taken = 0;
    for id in 1..200u32 {
        let body = served.body(&[Request { receive_tunnel: id, ..good.clone() }]);
        let from = Hash::of(&id.to_be_bytes());
        let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body };
        taken += usize::from(served.net.nodes[1].tunnels.handle_message(now, from, message).is_ok());
    }
    assert_eq!(taken, limits::REQUEST_JOBS);
}

#[test]
fn foreign_tunnels_are_bounded() {
    let mut served = Served::new();
    let good = served.request();
    served.net.nodes[1].tunnels.set_transit_rules(TransitRules { max_tunnels: 10, ..RULES });
    let mut tunnels = 0;
    for id in 1..90 {
        tunnels = served.offer_one(&Request { receive_tunnel: id, ..good.clone() }).1;
    }
    let stats = served.net.nodes[1].tunnels.stats().transit;
    assert_eq!((tunnels, stats.accepted, stats.declined), (10, 10, 79), "each was answered");
}

/// The table of throttles is bounded, and does not forget those who ask too much.
#[test]
fn previous_hops_are_counted_in_a_bounded_table() {
    let mut served = Served::new();
    let good = served.request();
    let body = served.body(&[good]);
    let now = served.net.now;
    let tunnels = &mut served.net.nodes[1].tunnels;
    let mut offer = |now, from: u32| {
        let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body: body.clone() };
        tunnels.handle_message(now, Hash::of(&from.to_be_bytes()), message)
    };
    (0..limits::REQUESTS_PER_PEER.1).for_each(|_| assert!(offer(now, 0) != Err(TransitError::Throttled)));
    assert_eq!(offer(now, 0), Err(TransitError::Throttled));
    (1..10_000).for_each(|from| assert!(offer(now, from).is_err()));
    let later = now.later(Duration::from_millis(90));
    assert_eq!(offer(later, 0), Err(TransitError::Throttled), "still known");
    assert_eq!(offer(now.later(Duration::from_millis(200)), 10_001), Err(TransitError::Replayed), "room again");
    assert!(tunnels.throttled_peers() <= limits::REQUEST_PEERS);
}

/// Fragments that never become messages, at many endpoints at once.
#[test]
fn reassembly_of_all_foreign_endpoints_together_is_bounded() {
    let mut served = Served::new();
    let (hop, good) = (served.net.hop(1), served.request());
    let bodies: Vec<_> = (0..200u32)
        .map(|i| {
            let instructions = Instructions::FollowOn { message_id: i / 60, number: u8_of(1 + i % 60), last: false };
            let mut payload = Vec::new();
            instructions.encode(990, &mut payload);
            payload.resize(payload.len() + 990, 1);
            ramson_wire::tunnel::message::build(1, &payload, &mut served.net.rng).unwrap()
        })
        .collect();
    for id in 1..=190u32 {
        served.net.now = served.net.now.later(Duration::from_millis(10));
        let (from, now) = (Hash::of(&(id / 50).to_be_bytes()), served.net.now);
        let request = Request { receive_tunnel: id, role: Role::OutboundEndpoint, ..good.clone() };
        let (record, keys) =
            build_record::seal_request(&request, &hop.hash, &hop.static_key, &mut served.net.rng).unwrap();
        let body = BuildRecords::new(vec![record]).unwrap().to_bytes();
        let build = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body };
        served.net.nodes[1].tunnels.handle_message(now, from, build).unwrap();
        served.net.drain(1);
        let layer = TunnelLayer::new(&keys.layer, &keys.iv);
        for body in &bodies {
            let mut message = data(id, 0);
            message.body[4..].copy_from_slice(&body[4..]);
            layer.decrypt(&mut message.body[4..]);
            served.net.nodes[1].tunnels.handle_message(now, from, message).unwrap();
        }
        let held = served.net.nodes[1].tunnels.partial_bytes();
        assert!(held <= limits::PARTIAL_BYTES_TRANSIT, "{held}");
    }
    assert!(served.net.nodes[1].tunnels.partial_bytes() > limits::PARTIAL_BYTES_TRANSIT / 2);
}

fn u8_of(n: u32) -> u8 {
    u8::try_from(n).unwrap()
}

fn data(tunnel: u32, fill: u8) -> Message {
    let mut body = vec![fill; tunnel_data::BODY_LEN];
    tunnel_data::set_tunnel(&mut body, tunnel);
    Message { kind: Kind::TUNNEL_DATA, id: 1, expiration: START_MS + 9_000, body }
}

fn gateway(tunnel: u32, kind: Kind) -> Message {
    let message = Message { kind, id: 1, expiration: START_MS + 9_000, body: vec![1; 20] };
    let body = TunnelGateway { tunnel, message }.to_bytes();
    Message { kind: Kind::TUNNEL_GATEWAY, id: 1, expiration: START_MS + 9_000, body }
}

#[test]
fn t77_t79_t80_messages_in_the_wrong_place_are_dropped() {
    let mut served = Served::new();
    let good = served.request();
    served.offer_one(&good);
    served.offer_one(&Request { receive_tunnel: 101, role: Role::InboundGateway, ..good.clone() });
    served.offer_one(&Request { receive_tunnel: 102, role: Role::OutboundEndpoint, ..good });
    let (previous, other, now) = (served.net.nodes[0].hash, served.net.nodes[3].hash, served.net.now);
    let tunnels = &mut served.net.nodes[1].tunnels;
    let mut offer = |from, message| tunnels.handle_message(now, from, message);
    assert_eq!(offer(other, data(100, 1)), Err(TransitError::WrongHop));
    assert_eq!(offer(previous, data(100, 1)), Ok(()));
    assert_eq!(offer(previous, data(100, 1)), Err(TransitError::Duplicate));
    let mut equal = data(100, 1);
    equal.body[4..36].fill(7); // another IV and block, of the same XOR
    assert_eq!(offer(previous, equal), Err(TransitError::Duplicate));
    assert_eq!(offer(previous, data(999, 1)), Err(TransitError::NoTunnel));
    assert_eq!(offer(previous, data(101, 1)), Err(TransitError::NoTunnel), "a gateway takes no tunnel messages");
    assert_eq!(offer(other, gateway(100, Kind::DATA)), Err(TransitError::NoTunnel), "no gateway");
    assert_eq!(offer(other, gateway(102, Kind::DATA)), Err(TransitError::NoTunnel));
    assert_eq!(offer(other, gateway(101, Kind::DATA)), Ok(()));
    assert_eq!(offer(other, gateway(101, Kind::TUNNEL_GATEWAY)), Err(TransitError::Unfit));
    assert_eq!(offer(other, gateway(101, Kind::TUNNEL_DATA)), Err(TransitError::Unfit));
    assert!(matches!(offer(previous, data(102, 1)), Err(TransitError::Malformed(_))), "garbage at the endpoint");
    let mut short = data(100, 3);
    short.body.pop();
    assert!(matches!(offer(previous, short), Err(TransitError::Malformed(_))));
    let mut long = data(100, 3);
    long.body.push(0);
    assert!(matches!(offer(previous, long), Err(TransitError::Malformed(_))));
}

#[test]
fn a_foreign_tunnel_ends_with_its_life() {
    let mut served = Served::new();
    let good = served.request();
    served.offer_one(&good);
    let previous = served.net.nodes[0].hash;
    let tunnels = &mut served.net.nodes[1].tunnels;
    let life = limits::LIFETIME + limits::GRACE;
    let end = served.net.now.later(life);
    assert_eq!(tunnels.handle_message(end.later(Duration::ZERO), previous, data(100, 1)), Err(TransitError::NoTunnel));
    assert_eq!(tunnels.next_timeout(), Some(served.net.now.mono + life));
    tunnels.handle_timeout(end);
    assert_eq!(tunnels.stats().transit_tunnels, 0);
}

/// Threats T81: an endpoint is no scanner. T82: what it delivers to us comes from nobody known.
#[test]
fn t81_t82_an_endpoint_reaches_few_new_routers() {
    let mut net = ready(9, 50, 2);
    let tunnel = net.nodes[0].tunnels.outbound(CLIENT)[0];
    let (us, endpoint) = (net.nodes[0].hash, tunnel.last_hop);
    net.queue.clear();
    let mut reached = 0;
    for i in 0..1_000u32 {
        let message = net.message(10);
        let target = Target::Router(Hash::of(&i.to_be_bytes()));
        net.nodes[0].tunnels.send(net.now, CLIENT, Some(tunnel.tunnel), target, message).unwrap();
    }
    for _ in 0..2_000 {
        (0..net.nodes.len()).for_each(|i| net.drain(i));
        let Some((from, to, message)) = net.queue.pop_front() else { break };
        match net.nodes.iter().any(|node| node.hash == to) {
            true => net.receive(from, to, message),
            false => reached += 1,
        }
    }
    assert_eq!(reached, limits::TARGETS.1);
    let store = Message { kind: Kind::DATABASE_STORE, id: 1, expiration: START_MS, body: vec![1; 50] };
    let target = Target::Router(endpoint);
    net.nodes[0].tunnels.send(net.now, CLIENT, Some(tunnel.tunnel), target, store).unwrap();
    net.settle();
    let at = net.at(endpoint);
    let from = net.nodes[at].events.iter().find_map(|event| match event {
        Event::Local { from, message } if message.kind == Kind::DATABASE_STORE => Some(*from),
        _ => None,
    });
    assert!(from.is_some_and(|from| from != us), "it is the hop before, not the creator");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let mut net = ready(9, 60, 3);
        net.advance(Duration::from_secs(60));
        net.log
    };
    assert!(run() == run());
}

#[test]
fn hostile_bodies_do_no_harm() {
    let mut net = ready(9, 61, 2);
    let own = net.nodes[0].tunnels.inbound(CLIENT)[0];
    for i in 0..3_000 {
        let len = [0, 4, 5, 218, 1 + 4 * 218, 1028][i % 6];
        let mut message = net.message(len);
        message.kind = [Kind::TUNNEL_DATA, Kind::TUNNEL_GATEWAY, Kind::SHORT_TUNNEL_BUILD][i % 3];
        if i % 7 == 0 && len >= 4 {
            message.body[..4].copy_from_slice(&own.tunnel.to_be_bytes());
        }
        let (from, to) = (net.nodes[i % 9].hash, net.nodes[(i + 1) % 9].hash);
        net.receive(from, to, message);
        net.settle();
    }
    let _ = BuildRecords::from_bytes(&[]);
}
