//! A router that serves as a hop, and what it is asked to carry.

use super::*;
use ramson_wire::i2np::tunnel_build::LongBuildRecords;
use ramson_wire::tunnel::long_record;

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
            bandwidth: BandwidthRequest::NONE,
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
    for id in 1..200u32 {
        let body = served.body(&[Request { receive_tunnel: id, ..good.clone() }]);
        let from = Hash::of(&id.to_be_bytes());
        let message = Message { kind: Kind::SHORT_TUNNEL_BUILD, id: 1, expiration: 0, body };
        assert_eq!(served.net.nodes[1].tunnels.handle_message(now, from, message), Ok(()));
    }
    let tunnels = &mut served.net.nodes[1].tunnels;
    let mut jobs = VecDeque::new();
    let take = |tunnels: &mut Tunnels, jobs: &mut VecDeque<TunnelJob>| {
        while let Some(event) = tunnels.poll_event() {
            if let Event::Job(job) = event {
                jobs.push_back(job);
            }
        }
    };
    take(tunnels, &mut jobs);
    assert!(jobs.len() == limits::REQUEST_JOBS && tunnels.queue_bytes() > 0, "the others wait");
    let mut served_in_all = 0;
    while let Some(job) = jobs.pop_front() {
        served_in_all += 1;
        tunnels.handle_job(now, job.run(&mut served.net.rng));
        take(tunnels, &mut jobs);
        assert!(jobs.len() <= limits::REQUEST_JOBS);
    }
    assert_eq!((served_in_all, tunnels.queue_bytes()), (199, 0));
}

/// The older messages are served in every role, and go on in their own form.
#[test]
fn long_records_are_served_in_every_role() {
    let mut served = Served::new();
    let (hop, good) = (served.net.hop(1), served.request());
    let mut id = 100;
    for (kind, reply) in [
        (Kind::VARIABLE_TUNNEL_BUILD, Kind::VARIABLE_TUNNEL_BUILD_REPLY),
        (Kind::TUNNEL_BUILD, Kind::TUNNEL_BUILD_REPLY),
    ] {
        for role in [Role::Participant, Role::InboundGateway, Role::OutboundEndpoint] {
            id += 1;
            let bandwidth = BandwidthRequest { requested: Some(7), ..BandwidthRequest::NONE };
            let request = Request { receive_tunnel: id, role, bandwidth, ..good.clone() };
            let (record, keys) =
                long_record::seal_request(&request, &hop.hash, &hop.static_key, &mut served.net.rng).unwrap();
            let mut records = vec![[9; long_record::RECORD_LEN]; 8];
            records[5] = record;
            let records = LongBuildRecords::new(records).unwrap();
            let fixed = kind == Kind::TUNNEL_BUILD;
            let body = if fixed { records.to_fixed() } else { records.to_bytes() };
            let message = Message { kind, id: 1, expiration: 0, body: body.clone() };
            served.net.receive(served.net.nodes[0].hash, hop.hash, message.clone());
            served.net.drain(1);
            let (_, to, sent) = served.net.queue.pop_front().unwrap();
            assert_eq!((to, served.net.queue.len()), (good.next_hop, 0));
            let answered = match role {
                Role::OutboundEndpoint => {
                    assert_eq!(sent.kind, Kind::TUNNEL_GATEWAY);
                    let inner = TunnelGateway::from_bytes(&sent.body).unwrap();
                    assert_eq!(inner.tunnel, good.next_tunnel);
                    inner.message
                }
                _ => sent,
            };
            let last = role == Role::OutboundEndpoint;
            assert_eq!((answered.kind, answered.id), (if last { reply } else { kind }, 5));
            let parsed = match fixed {
                true => LongBuildRecords::from_fixed(&answered.body),
                false => LongBuildRecords::from_bytes(&answered.body),
            };
            let mut records = parsed.unwrap();
            let answer = keys.open_reply(&records.records()[5]).unwrap();
            assert_eq!((answer.code, answer.bandwidth), (build_record::ACCEPT, Some(7)));
            let other = &mut records.records_mut()[3];
            keys.uncover(other);
            assert_eq!(*other, [9; long_record::RECORD_LEN]);
            // The tunnel's keys are those of the record.
            if role == Role::Participant {
                let mut data = data(id, 3);
                served.net.receive(served.net.nodes[0].hash, hop.hash, data.clone());
                served.net.drain(1);
                let (_, _, passed) = served.net.queue.pop_front().unwrap();
                TunnelLayer::new(&keys.layer, &keys.iv).encrypt(&mut data.body[4..]);
                assert_eq!(passed.body[4..], data.body[4..]);
            }
            served.net.receive(served.net.nodes[0].hash, hop.hash, message);
            assert_eq!(served.net.errors.pop(), Some(TransitError::Replayed), "T72");
        }
    }
    for (kind, body) in [
        (Kind::VARIABLE_TUNNEL_BUILD, vec![4; 1 + 4 * 218]),
        (Kind::VARIABLE_TUNNEL_BUILD, vec![9; 1 + 9 * 528]),
        (Kind::TUNNEL_BUILD, vec![4; 4 * 528]),
    ] {
        served.net.receive(served.net.nodes[0].hash, hop.hash, Message { kind, id: 1, expiration: 0, body });
        assert!(matches!(served.net.errors.pop(), Some(TransitError::Malformed(_))), "T67");
    }
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

/// A foreign endpoint that goes on for its whole life reaches two new routers a second and remembers few of them.
#[test]
fn t81_the_memory_of_an_endpoint_is_bounded() {
    let mut served = Served::new();
    let good = served.request();
    served.offer_one(&Request { receive_tunnel: 102, role: Role::OutboundEndpoint, ..good });
    let tunnels = &mut served.net.nodes[1].tunnels;
    let mut now = served.net.now.mono;
    let mut reached = 0;
    for n in 0..6_000u32 {
        now = now + Duration::from_millis(100);
        reached += u32::from(tunnels.may_deliver(now, 102, Hash::of(&n.to_be_bytes())));
        assert!(tunnels.known_targets(102) <= limits::KNOWN_TARGETS);
    }
    let (rate, burst) = limits::TARGETS;
    assert!((rate * 599..=burst + rate * 600).contains(&reached), "{reached}");
    let known = (5_990..6_000u32).filter(|n| tunnels.may_deliver(now, 102, Hash::of(&n.to_be_bytes()))).count();
    assert!(known > 0, "those of late are free");
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

/// Threats P-24: a start forgets the requests that it has seen. One that was recorded makes one tunnel more while it is
/// young, and one only; what was sent through the tunnel of before goes nowhere.
#[test]
fn p24_after_a_restart_a_recorded_request_makes_one_tunnel_at_most() {
    let mut served = Served::new();
    let good = served.request();
    let body = served.body(std::slice::from_ref(&good));
    assert_eq!(served.offer(body.clone()).1, 1);
    let from = served.net.nodes[0].hash;
    let data = |number: u8| {
        let mut body = good.receive_tunnel.to_be_bytes().to_vec();
        body.resize(1028, number);
        Message { kind: Kind::TUNNEL_DATA, id: 9, expiration: 0, body }
    };
    let carried = |served: &mut Served, number| {
        let now = served.net.now;
        let result = served.net.nodes[1].tunnels.handle_message(now, from, data(number));
        served.net.drain(1);
        (result, served.net.queue.drain(..).count())
    };
    assert_eq!(carried(&mut served, 1), (Ok(()), 1));
    let restart = |served: &mut Served| {
        let secret = served.net.nodes[1].secret.clone();
        let key = StaticKey { public: secret.public_key(), secret };
        let config = TunnelConfig { own: served.net.nodes[1].hash, key, transit: RULES };
        served.net.nodes[1].tunnels = Tunnels::new(served.net.now, config, &mut served.net.rng);
    };
    restart(&mut served);
    assert_eq!(carried(&mut served, 1), (Err(TransitError::NoTunnel), 0), "the tunnels of before are no more");
    served.net.errors.clear();
    assert_eq!(served.offer(body.clone()).1, 1);
    assert_eq!(served.offer(body.clone()), (vec![], 1));
    assert_eq!(served.net.errors, [TransitError::Replayed]);
    // Ten minutes later it is too old for that.
    served.net.now = served.net.now.later(Duration::from_mins(10));
    restart(&mut served);
    assert_eq!(served.offer(body), (vec![], 0));
}
