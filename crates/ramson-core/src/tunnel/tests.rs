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
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use ramson_wire::tunnel::build_record::{self, Request, Role};
use ramson_wire::tunnel::delivery::Instructions;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod flips;
mod transit;

const START_MS: u64 = 1_790_000_000_000;
const RULES: TransitRules = TransitRules {
    accept: true,
    draining: false,
    max_tunnels: 1000,
    bytes_per_second: u64::MAX,
    private_network: false,
};

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
            kind if kind.is_build_request() || matches!(kind, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY) => {
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
                Event::Send { to, message, .. } => self.queue.push_back((self.nodes[i].hash, to, message)),
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
                Event::Local { from, message } if message.kind.is_build_request() => {
                    self.errors.extend(self.nodes[i].tunnels.handle_message(self.now, from, message).err());
                }
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
fn tunnels_draw_their_length_where_they_may_be_longer() {
    let mut net = Net::new(9, 3);
    net.pool(0, EXPLORATORY, 1, 2);
    net.pool(0, CLIENT, 1, 8);
    net.nodes[0].tunnels.vary_lengths(CLIENT, (2, 0)).unwrap();
    assert_eq!(net.nodes[0].tunnels.vary_lengths(CLIENT, (0, 7)), Err(PoolError::TooLarge));
    net.advance(Duration::from_secs(60));
    let lengths = |net: &Net, direction| {
        let own = net.nodes[0].tunnels.paths(CLIENT).into_iter().filter(|(of, _)| *of == direction);
        own.map(|(_, hops)| hops.len()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(lengths(&net, Direction::Outbound).into_iter().collect::<Vec<_>>(), [1]);
    let inbound = lengths(&net, Direction::Inbound);
    assert!(inbound.len() > 1 && inbound.iter().all(|n| (1..=3).contains(n)), "{inbound:?}");
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

/// A peer that never answers adds few tunnels, each later than the one before, and none to a pool that has several far ends.
#[test]
fn far_ends_are_added_slowly_and_are_few() {
    let mut net = Net::new(9, 12);
    net.pool(0, EXPLORATORY, 1, 2);
    net.pool(0, CLIENT, 1, 1);
    net.advance(Duration::from_secs(25));
    let ends = |net: &Net| {
        let tunnels = &net.nodes[0].tunnels;
        let inbound: BTreeSet<_> = tunnels.inbound(CLIENT).iter().map(|tunnel| tunnel.gateway).collect();
        let outbound: BTreeSet<_> = tunnels.outbound(CLIENT).iter().map(|tunnel| tunnel.last_hop).collect();
        [inbound.len(), outbound.len()]
    };
    let (built, mut added) = (net.nodes[0].tunnels.stats().started, Vec::new());
    for second in 0..300 {
        let before = ends(&net);
        net.nodes[0].tunnels.widen(net.now, CLIENT, if second < 60 { limits::BARREN_PATHS - 1 } else { u32::MAX });
        net.advance(Duration::from_secs(1));
        assert!(ends(&net).iter().all(|ends| *ends <= limits::FAR_ENDS));
        added.extend((ends(&net) != before).then_some(second));
    }
    assert_eq!(ends(&net), [limits::FAR_ENDS; 2]);
    assert!(added.first().is_some_and(|first| (60..70).contains(first)), "{added:?}");
    // Hops are by chance here, so that some builds bring no other end; but no pause is shorter than the one before.
    let started = net.nodes[0].tunnels.stats().started - built;
    assert!((4..=2 * 5).contains(&started), "{started} builds in four minutes");
    let (inbound, outbound) = net.counts(0, CLIENT);
    assert!(inbound <= 5 && outbound <= 5, "{inbound} and {outbound}");
    net.advance(Duration::from_secs(900));
    // One beside its replacement at most.
    let (inbound, outbound) = net.counts(0, CLIENT);
    assert!(inbound <= 2 && outbound <= 2, "nobody asks for more any longer: {inbound} and {outbound}");
}

/// Pools that carry much ask the hops of their next tunnels for bandwidth, and are told what they get; others ask for
/// nothing.
#[test]
fn busy_pools_ask_for_bandwidth() {
    let mut net = ready(9, 11, 2);
    let granted = |net: &Net| -> Vec<u64> { net.nodes.iter().map(|n| n.tunnels.stats().transit.granted).collect() };
    let promised = |net: &Net, pool| -> Vec<Option<u32>> {
        net.nodes[0].tunnels.outbound(pool).iter().map(|tunnel| tunnel.granted).collect()
    };
    net.advance(Duration::from_secs(700));
    assert!(granted(&net).iter().all(|granted| *granted == 0), "little is carried");
    let mut most = 0;
    for _ in 0..140 {
        net.advance(Duration::from_secs(5));
        most = most.max(granted(&net).iter().sum::<u64>());
        // 100 kilobytes in every second of the longest life.
        net.nodes[0].tunnels.pretend_traffic(CLIENT, 100 * 1_024 * 600);
        net.nodes[0].tunnels.pretend_traffic(EXPLORATORY, 100 * 1_024 * 600);
    }
    let kept = promised(&net, CLIENT);
    assert!(
        !kept.is_empty() && kept.iter().all(|kept| kept.is_some_and(|kept| [256, 1_024].contains(&kept))),
        "{kept:?}"
    );
    assert!(promised(&net, EXPLORATORY).iter().all(Option::is_none));
    // The hops of a new tunnel keep it for the first minute, and longer where it is used.
    assert!(most >= 3 * 256, "{most}");
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
    let most = limits::BUILDS + 2 * limits::BUILDS_MORE;
    assert!(net.nodes[0].tunnels.stats().started <= most as u64);
}

#[test]
fn an_outbound_tunnel_is_chosen_by_whom_it_reaches() {
    let mut net = ready(9, 5, 2);
    let tunnels = &mut net.nodes[0].tunnels;
    let all = tunnels.outbound(CLIENT);
    assert!(all.len() > 1);
    for wanted in &all {
        for _ in 0..20 {
            let chosen = tunnels.choose_outbound(CLIENT, None, |last| *last == wanted.last_hop).unwrap();
            let chosen = all.iter().find(|tunnel| tunnel.tunnel == chosen).unwrap();
            assert_eq!(chosen.last_hop, wanted.last_hop);
        }
    }
    assert!(tunnels.choose_outbound(CLIENT, None, |_| false).is_some(), "one that may not reach is better than none");
    assert!(tunnels.choose_outbound(PoolId(77), None, |_| true).is_none());
    // After a path failed: another tunnel, unless there is no other that reaches.
    let first = tunnels.outbound(CLIENT)[0];
    for _ in 0..20 {
        assert_ne!(tunnels.choose_outbound(CLIENT, Some(first.tunnel), |_| true), Some(first.tunnel));
    }
    let only = |last: &Hash| *last == first.last_hop;
    let chosen = tunnels.choose_outbound(CLIENT, Some(first.tunnel), only).unwrap();
    let others = tunnels.outbound(CLIENT).into_iter().filter(|o| o.last_hop == first.last_hop).count();
    assert_eq!(chosen == first.tunnel, others == 1);
}

#[test]
fn a_slow_tunnel_carries_nothing_while_others_are_quick() {
    let mut net = Net::new(9, 5);
    net.pool(0, EXPLORATORY, 2, 2);
    net.pool(0, CLIENT, 2, 3);
    net.advance(Duration::from_secs(25));
    let tunnels = &mut net.nodes[0].tunnels;
    let all: Vec<_> = tunnels.outbound(CLIENT).iter().map(|tunnel| tunnel.tunnel).collect();
    assert!(all.len() >= 3, "{}", all.len());
    for (number, tunnel) in all.iter().enumerate() {
        tunnels.set_test_time(*tunnel, Duration::from_millis(if number == 0 { 900 } else { 150 + number as u64 }));
    }
    let mut chosen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        chosen.insert(tunnels.choose_outbound(CLIENT, None, |_| true).unwrap());
    }
    assert_eq!(chosen.into_iter().collect::<Vec<_>>(), all[1..], "all others carry, and this one does not");
    // After the path of another one failed, it still is not the next while there is a third.
    assert_ne!(tunnels.choose_outbound(CLIENT, Some(all[1]), |_| true), Some(all[0]));
}

#[test]
fn a_destination_that_comes_later_does_not_wait_for_the_first_ones() {
    let mut net = Net::new(12, 6);
    net.pool(0, EXPLORATORY, 2, 3);
    net.pool(0, CLIENT, 2, 3);
    net.advance(Duration::from_secs(1));
    net.pool(0, PoolId(9), 2, 3);
    net.advance(Duration::from_secs(1));
    assert_eq!(net.counts(0, PoolId(9)), (3, 3));
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
    // One of the eight is the exploratory pool.
    let most = (limits::BUILDS + 6 * limits::BUILDS_MORE) as u64;
    assert!((6..=most).contains(&per_window), "{per_window}");
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
        if let Event::Outcome { hops, .. } = event {
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

/// Tests that fail speak against both of their tunnels, until one of them works with another.
#[test]
fn a_silent_hop_costs_the_tunnels_through_it_and_no_others() {
    for seed in 20..30 {
        let mut net = ready(12, seed, 3);
        let before = net.nodes[0].tunnels.paths(CLIENT);
        let dead = before[usize::from(seed) % before.len()].1[1];
        net.busy = vec![dead];
        net.wire = Box::new(move |from, to, _| from != dead && to != dead);
        net.advance(Duration::from_secs(4));
        net.nodes[0].tunnels.suspect(net.now, CLIENT);
        net.advance(Duration::from_secs(34));
        let after = net.nodes[0].tunnels.paths(CLIENT);
        let (through, past): (Vec<_>, Vec<_>) = before.into_iter().partition(|(_, hops)| hops.contains(&dead));
        assert!(
            !through.is_empty() && through.iter().all(|path| !after.contains(path)),
            "seed {seed}: {through:?} {past:?} {after:?}"
        );
        assert!(past.iter().all(|path| after.contains(path)), "seed {seed}: {past:?} {after:?}");
        let (inbound, outbound) = net.counts(0, CLIENT);
        assert!(inbound >= 2 && outbound >= 2, "seed {seed}: {inbound} {outbound}");
    }
}

/// Threats P-43: all tunnels die at once, so that no test finds one that works, and replies are lost with the tunnels that
/// they come by.
#[test]
fn p43_a_router_whose_tunnels_all_die_has_others_soon() {
    for seed in 40..50 {
        let mut net = ready(24, seed, 1);
        let pools = [EXPLORATORY, CLIENT];
        let dead: Vec<Hash> =
            pools.iter().flat_map(|pool| net.nodes[0].tunnels.paths(*pool)).flat_map(|(_, hops)| hops).collect();
        net.busy.clone_from(&dead);
        net.wire = Box::new({
            let dead = dead.clone();
            move |from, to, _| !dead.contains(&from) && !dead.contains(&to)
        });
        pools.iter().for_each(|pool| net.nodes[0].tunnels.suspect(net.now, *pool));
        net.advance(Duration::from_secs(12));
        for pool in pools {
            let paths = net.nodes[0].tunnels.paths(pool);
            for wanted in [Direction::Inbound, Direction::Outbound] {
                let alive = |(direction, hops): &&(Direction, Vec<Hash>)| {
                    *direction == wanted && hops.iter().all(|hop| !dead.contains(hop))
                };
                assert!(paths.iter().any(|path| alive(&path)), "seed {seed}: {pool:?} {wanted:?} {paths:?}");
            }
        }
    }
}

/// A pool whose only tunnel of one direction is dead cannot test it, and does not wait for it.
#[test]
fn p43_a_dead_tunnel_does_not_hold_the_builds_that_would_be_answered_by_it() {
    for seed in 50..60 {
        let mut net = ready(24, seed, 1);
        let paths = net.nodes[0].tunnels.paths(CLIENT);
        let dead: Vec<Hash> = paths.iter().flat_map(|(_, hops)| hops.clone()).collect();
        let others: Vec<Hash> =
            net.nodes[0].tunnels.paths(EXPLORATORY).into_iter().flat_map(|(_, hops)| hops).collect();
        if dead.iter().any(|hop| others.contains(hop)) {
            continue;
        }
        net.busy.clone_from(&dead);
        let outbound = paths.iter().filter(|(direction, _)| *direction == Direction::Outbound);
        outbound.for_each(|(_, hops)| net.nodes[0].tunnels.handle_gone(net.now, hops[0]));
        net.wire = Box::new(move |from, to, _| !dead.contains(&from) && !dead.contains(&to));
        net.advance(Duration::from_secs(8));
        assert!(net.counts(0, CLIENT).1 > 0, "seed {seed}");
    }
}

/// The hops of a build that is not answered come last soon, and only once; an answer that comes after all clears them.
#[test]
fn hops_are_blamed_before_a_build_is_given_up() {
    let mut net = ready(9, 6, 2);
    let first = net.nodes[0].tunnels.paths(CLIENT)[0].1[0];
    net.nodes[0].events.clear();
    net.wire = Box::new(|_, _, message| message.kind != Kind::SHORT_TUNNEL_BUILD);
    net.nodes[0].tunnels.handle_gone(net.now, first);
    let blamed = |net: &Net| {
        let outcomes = net.nodes[0].events.iter().filter_map(|event| match event {
            Event::Outcome { hops, .. } => {
                Some(hops.iter().filter(|(_, answer)| *answer == Answer::Unanswered).count())
            }
            _ => None,
        });
        outcomes.sum::<usize>()
    };
    net.advance(Duration::from_secs(4));
    assert_eq!(blamed(&net), 0);
    net.advance(Duration::from_secs(26));
    let started = net.nodes[0].tunnels.stats().started - 8;
    assert!(blamed(&net) > 0 && blamed(&net) as u64 <= 2 * started, "{} of {started}", blamed(&net));
}

#[test]
fn a_router_that_is_gone_takes_its_tunnels_and_builds_along_at_once() {
    let mut net = ready(9, 9, 3);
    let paths = net.nodes[0].tunnels.paths(CLIENT);
    let middle = paths.iter().find(|(direction, _)| *direction == Direction::Inbound).unwrap().1[1];
    let through =
        |net: &Net| net.nodes[0].tunnels.paths(CLIENT).iter().filter(|(_, hops)| hops.contains(&middle)).count();
    assert!(through(&net) > 0);
    let now = net.now;
    assert!(net.nodes[0].tunnels.suspect_through(now, &middle));
    assert!(!net.nodes[0].tunnels.suspect_through(now, &Hash([0xee; 32])), "it is in no tunnel");
    net.busy = vec![middle];
    net.nodes[0].tunnels.handle_gone(now, middle);
    assert_eq!(through(&net), 0);
    net.advance(Duration::from_secs(5));
    assert_eq!((net.counts(0, CLIENT), through(&net)), ((2, 2), 0));
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

/// Tunnels in the new number are built, those that are too short end at once, and those that are longer live on.
#[test]
fn a_pool_that_is_configured_anew_is_as_it_is_told() {
    let mut net = ready(9, 4, 2);
    let set = |net: &mut Net, length, quantity| {
        let wanted = Wanted { length, quantity };
        let (now, config) = (net.now, PoolConfig { inbound: wanted, outbound: wanted });
        net.nodes[0].tunnels.configure_pool(now, CLIENT, config, (0, 0))
    };
    let lengths = |net: &Net| {
        let mut all: Vec<_> = net.nodes[0].tunnels.paths(CLIENT).into_iter().map(|(_, hops)| hops.len()).collect();
        all.sort_unstable();
        all
    };
    set(&mut net, 2, 4).unwrap();
    net.advance(Duration::from_secs(25));
    assert_eq!(net.counts(0, CLIENT), (4, 4));
    set(&mut net, 1, 5).unwrap();
    net.advance(Duration::from_secs(25));
    assert_eq!(lengths(&net), [1, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
    set(&mut net, 3, 2).unwrap();
    assert_eq!(lengths(&net), [], "none is shorter than was asked for");
    net.advance(Duration::from_secs(25));
    assert_eq!(lengths(&net), [3; 4]);
    for (length, quantity) in [(8, 1), (1, 17)] {
        assert_eq!(set(&mut net, length, quantity), Err(PoolError::TooLarge));
    }
    let (now, wanted) = (net.now, Wanted { length: 1, quantity: 1 });
    let config = PoolConfig { inbound: wanted, outbound: wanted };
    assert_eq!(net.nodes[0].tunnels.configure_pool(now, PoolId(77), config, (0, 0)), Err(PoolError::Missing));
    let longest = net.nodes[0].tunnels.configure_pool(now, CLIENT, config, (7, 0));
    assert_eq!((longest, lengths(&net)), (Err(PoolError::TooLarge), vec![3; 4]), "nothing changes");
}
