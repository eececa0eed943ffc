//! What strangers send.

use super::super::super::outside;
use super::*;
use ramson_wire::ssu2::{MessageType, protection};

/// Threats T49, P-31: random datagrams of every length are dropped without a word.
#[test]
fn t49_p31_random_datagrams_are_never_answered() {
    let mut world = World::new(1, 2, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    let from: SocketAddr = "10.7.7.7:777".parse().unwrap();
    let lengths = (0..10_000).map(|_| 1 + rng.below(1_500)).chain(0..60).chain([1_473, 65_507]).collect::<Vec<_>>();
    for len in lengths {
        let mut bytes: Vec<u8> = (0..len.div_ceil(32)).flat_map(|_| rng.bytes::<32>()).take(len).collect();
        world.nodes[1].receive(world.now, from, &mut bytes);
    }
    assert!(world.nodes[1].drain(world.now).is_empty());
    assert_eq!((world.nodes[1].endpoint.len(), world.nodes[1].jobs), (0, 0));
    assert_eq!(world.nodes[1].endpoint.timers.len(), 0);
}

/// Threats T50, P-31: under the right key, what has no type, another version or another network is not answered either.
#[test]
fn t50_p31_other_types_versions_and_networks_are_never_answered() {
    let mut world = World::new(2, 2, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    let (keys, from) = (world.nodes[1].keys, world.nodes[0].addr);
    let intro = IntroKey::new(keys.intro_key);
    let secs = world.now.unix_secs();
    let mut answers = |kind: u8, version: u8, network: u8, long: bool| {
        let mut packet = if long {
            session_request(&keys, 0, secs, &mut rng)
        } else {
            let ids = Ids::random(&mut rng);
            outside::token_request(&intro, ids, network, secs, 9, &mut rng).unwrap()
        };
        protection::turn_short(&mut packet, &keys.intro_key, &keys.intro_key).unwrap();
        (packet[12], packet[13], packet[14]) = (kind, version, network);
        protection::turn_short(&mut packet, &keys.intro_key, &keys.intro_key).unwrap();
        world.nodes[1].receive(world.now, from, &mut packet);
        world.nodes[1].drain(world.now).len()
    };
    assert_eq!((answers(10, 2, NETWORK, false), answers(0, 2, NETWORK, true)), (1, 1));
    for kind in 0..=255 {
        for long in [false, true] {
            for (version, network) in [(0, NETWORK), (1, NETWORK), (3, NETWORK), (255, NETWORK), (2, 2), (2, 0)] {
                assert_eq!(answers(kind, version, network, long), 0, "{kind} {version} {network}");
            }
            // A SessionRequest whose token is none is answered unread, as the specification has it.
            let expected = usize::from(kind == 10 && !long || kind == 0 && long);
            assert_eq!(answers(kind, 2, NETWORK, long), expected, "{kind}");
        }
    }
    assert_eq!((world.nodes[1].endpoint.len(), world.nodes[1].jobs), (0, 0));
}

/// Threats T51, P-40, P-41: without a good token there is no public-key work, nothing is remembered, and the answer is
/// short.
#[test]
fn t51_p41_without_a_good_token_there_is_a_short_retry_and_no_job() {
    let mut world = World::new(3, 2, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    let (keys, from) = (world.nodes[1].keys, world.nodes[0].addr);
    let other: SocketAddr = "10.7.7.7:777".parse().unwrap();
    let now = world.now;
    let ours = world.nodes[1].endpoint.tokens.retry(now.mono, &from);
    let later = Now::new(now.mono + Duration::from_secs(30), now.unix_ms + 30_000);
    for (token, from, now) in [(0, from, now), (77, from, now), (ours, other, now), (ours, from, later)] {
        let mut request = session_request(&keys, token, now.unix_secs(), &mut rng);
        let len = request.len();
        world.nodes[1].receive(now, from, &mut request);
        let mut out = world.nodes[1].drain(now);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].0, from);
        assert!(out[0].1.len() <= 3 * len);
        assert_ne!(token_of(&mut out[0].1, &keys), 0);
        assert_eq!((world.nodes[1].jobs, world.nodes[1].endpoint.len()), (0, 0));
    }
    // A good one is opened once; the same request again is dropped, and another with the same token gets a Retry.
    let token = world.nodes[1].endpoint.tokens.retry(now.mono, &from);
    let request = session_request(&keys, token, now.unix_secs(), &mut rng);
    world.nodes[1].receive(now, from, &mut request.clone());
    assert_eq!((world.nodes[1].drain(now).len(), world.nodes[1].jobs), (1, 1));
    world.nodes[1].receive(now, from, &mut request.clone());
    world.nodes[1].receive(now, other, &mut request.clone());
    assert!(world.nodes[1].drain(now).is_empty());
    let mut again = session_request(&keys, token, now.unix_secs(), &mut rng);
    world.nodes[1].receive(now, from, &mut again);
    let out = world.nodes[1].drain(now);
    assert_eq!((out.len(), world.nodes[1].jobs, world.nodes[1].endpoint.len()), (1, 1, 1));
    // When the handshake is long over, a replay is still no more than noise.
    world.run(20);
    assert_eq!(world.nodes[1].endpoint.len(), 0);
    world.sizes.clear();
    world.nodes[1].receive(world.now, from, &mut request.clone());
    world.drain(1);
    assert!(world.sizes.is_empty());
}

/// Threats T52: ids that are the same, and our own packets sent back to us.
#[test]
fn t52_our_own_packets_and_equal_ids_are_dropped() {
    let (mut world, a, b) = World::pair(4);
    let (alice, bob) = (world.nodes[0].addr, world.nodes[1].addr);
    for n in [0usize, 1] {
        let (id, peer) = if n == 0 { (a, bob) } else { (b, alice) };
        let (_, mut packet) = world.nodes[n].packet(id, &[0, 0, 4, 0, 0, 0, 1]).unwrap();
        world.nodes[n].receive(world.now, peer, &mut packet);
        assert!(world.nodes[n].drain(world.now).is_empty());
    }
    let mut rng = Rng::from_seed([1; 32]);
    let same = Ids { initiator: ConnectionId(5), responder: ConnectionId(5) };
    let intro = IntroKey::new(world.nodes[1].keys.intro_key);
    let mut packet = outside::token_request(&intro, same, NETWORK, world.now.unix_secs(), 3, &mut rng).unwrap();
    world.nodes[1].receive(world.now, alice, &mut packet);
    assert!(world.nodes[1].drain(world.now).is_empty());
    // A TokenRequest of ours, sent back by who has seen it.
    let mut world = World::new(5, 2, FAIR);
    world.dial(0, 1);
    let (_, (_, _, mut request)) = world.under_way.pop_first().unwrap();
    world.nodes[0].receive(world.now, bob, &mut request);
    assert!(world.nodes[0].drain(world.now).is_empty());
}

/// Threats T59: a responder that only ever sends Retries is given up.
#[test]
fn t59_retries_without_end_are_followed_twice() {
    let mut world = World::new(6, 2, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    world.dial(0, 1);
    let (keys, bob) = (world.nodes[1].keys, world.nodes[1].addr);
    let intro = IntroKey::new(keys.intro_key);
    let mut out = world.under_way.pop_first().into_iter().map(|(_, (_, to, bytes))| (to, bytes)).collect::<Vec<_>>();
    let mut asked = 0;
    while let Some((_, mut packet)) = out.pop() {
        asked += 1;
        assert!(asked < 10, "in circles");
        protection::turn_short(&mut packet, &keys.intro_key, &keys.intro_key).unwrap();
        let kind = MessageType::from_code(packet[12]).unwrap();
        protection::turn_rest(&mut packet, kind, &keys.intro_key).unwrap();
        let header = LongHeader::from_bytes(packet.first_chunk().unwrap()).unwrap();
        let answer = outside::Retry::Token(asked);
        let mut retry = outside::retry(&intro, &header, &world.nodes[0].addr, 1, answer, &mut rng).unwrap();
        // At once it may be the answer to a TokenRequest that was doubled.
        world.at(world.now.mono + Duration::from_secs(3));
        world.nodes[0].receive(world.now, bob, &mut retry);
        out = world.nodes[0].drain(world.now);
    }
    assert_eq!((asked, world.nodes[0].jobs, world.nodes[0].down.len()), (3, 2, 1));
    assert_eq!(world.nodes[0].endpoint.len(), 0);
}

/// A Retry, or anything else, from elsewhere or about another session means nothing.
#[test]
fn answers_from_elsewhere_are_dropped() {
    let mut world = World::new(7, 2, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    let a = world.dial(0, 1);
    let (keys, bob) = (world.nodes[1].keys, world.nodes[1].addr);
    let intro = IntroKey::new(keys.intro_key);
    let ids = world.nodes[0].endpoint.sessions[&a].ids;
    let header = |source, destination| LongHeader {
        destination,
        packet_number: 0,
        kind: MessageType::TokenRequest,
        version: 2,
        network_id: NETWORK,
        flag: 0,
        source,
        token: 0,
    };
    let refuse = outside::Retry::Refused(None);
    let other = ConnectionId(77);
    for (header, from) in [
        (header(ids.initiator, ids.responder), "10.7.7.7:777".parse().unwrap()),
        (header(other, ids.responder), bob),
        (header(ids.initiator, other), bob),
    ] {
        let mut retry = outside::retry(&intro, &header, &bob, 1, refuse, &mut rng).unwrap();
        world.nodes[0].receive(world.now, from, &mut retry);
        assert!(world.nodes[0].drain(world.now).is_empty() && world.nodes[0].down.is_empty());
    }
    world.run(1);
    assert_eq!(world.nodes[0].up.len(), 1);
}

/// Threats T51: a flood from addresses that are not their senders' costs no memory, and honest peers come through.
#[test]
fn t51_a_flood_of_spoofed_requests_leaves_nothing_behind() {
    let mut world = World::new(8, 2, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    let keys = world.nodes[1].keys;
    let intro = IntroKey::new(keys.intro_key);
    let request = session_request(&keys, 5, world.now.unix_secs(), &mut rng);
    let mut answers = 0;
    for n in 0..20_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        let from: SocketAddr = ([11, b, c, d], 1_000).into();
        let mut packet = if n % 2 == 0 {
            request.clone()
        } else {
            let ids = Ids::random(&mut rng);
            outside::token_request(&intro, ids, NETWORK, world.now.unix_secs(), 3, &mut rng).unwrap()
        };
        world.nodes[1].receive(world.now, from, &mut packet);
        answers += world.nodes[1].drain(world.now).len();
    }
    assert_eq!(answers, limits::RETRIES.1 as usize, "no more than its rate");
    let endpoint = &world.nodes[1].endpoint;
    assert_eq!((endpoint.len(), endpoint.ids.len(), endpoint.timers.len(), world.nodes[1].jobs), (0, 0, 0, 0));
    assert!(endpoint.inbound_of.is_empty() && endpoint.skew_answers.is_empty());
    world.run(1);
    world.dial(0, 1);
    world.run(1);
    assert_eq!(world.nodes[0].up.len(), 1);
}

/// Handshakes from many proven addresses: the oldest makes room, and nothing is lost but that.
#[test]
fn the_oldest_handshake_makes_room() {
    let mut world = World::new(9, 1, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    let keys = world.nodes[0].keys;
    let count = limits::HANDSHAKES + 5;
    for n in 0..count {
        let [.., c, d] = (n as u32).to_be_bytes();
        let from: SocketAddr = ([11, 0, c, d], 1_000).into();
        let token = world.nodes[0].endpoint.tokens.retry(world.now.mono, &from);
        let mut packet = session_request(&keys, token, world.now.unix_secs(), &mut rng);
        world.nodes[0].receive(world.now, from, &mut packet);
        world.nodes[0].drain(world.now);
    }
    let node = &world.nodes[0];
    assert_eq!((node.endpoint.len(), node.endpoint.accepting.len()), (limits::HANDSHAKES, limits::HANDSHAKES));
    assert_eq!(node.down.len(), 5);
    world.weather.loss = 1.0;
    world.run(13);
    assert_eq!((world.nodes[0].endpoint.len(), world.nodes[0].endpoint.inbound_of.len()), (0, 0));
}

/// Threats T41: one who dials us must say who it is, truly and of late, and from where it says that it is.
#[test]
fn t41_who_dials_with_a_bad_router_info_is_not_taken() {
    type Change = fn(&mut World);
    let old: Change = |world| {
        let info = of_alice(Some(world.nodes[0].addr), START_MS - 91 * 60_000, false);
        world.nodes[0].endpoint.set_router_info(info);
    };
    let future: Change = |world| {
        let info = of_alice(Some(world.nodes[0].addr), START_MS + 200_000, false);
        world.nodes[0].endpoint.set_router_info(info);
    };
    let elsewhere: Change = |world| {
        let info = of_alice(Some("10.3.3.3:3".parse().unwrap()), START_MS, false);
        world.nodes[0].endpoint.set_router_info(info);
    };
    let other_key: Change = |world| {
        let info = of_alice(Some(world.nodes[0].addr), START_MS, true);
        world.nodes[0].endpoint.set_router_info(info);
    };
    let no_info: Change = |world| world.nodes[0].endpoint.set_router_info(vec![7; 600]);
    let damaged: Change = |world| {
        let mut info = of_alice(Some(world.nodes[0].addr), START_MS, false);
        *info.last_mut().unwrap() ^= 1;
        world.nodes[0].endpoint.set_router_info(info);
    };
    for (n, change) in [old, future, elsewhere, other_key, no_info, damaged].into_iter().enumerate() {
        let mut world = World::new(10, 2, FAIR);
        change(&mut world);
        world.dial(0, 1);
        world.run(1);
        assert!(world.nodes[1].up.is_empty(), "{n}");
        assert_eq!(world.nodes[1].down.len(), 1, "{n}");
        let sizes = world.sizes.len();
        world.run(3);
        assert!(world.sizes.len() > sizes, "the initiator hears nothing and repeats itself: {n}");
        assert_eq!(world.nodes[1].endpoint.len(), 0, "{n}");
    }
    // Without a host it may come from anywhere.
    let mut world = World::new(10, 2, FAIR);
    world.nodes[0].endpoint.set_router_info(of_alice(None, START_MS, false));
    world.dial(0, 1);
    world.run(1);
    assert_eq!(world.nodes[1].up.len(), 1);
}

/// The RouterInfo of the first node, with another address, date or key.
fn of_alice(addr: Option<SocketAddr>, at: u64, other_key: bool) -> Vec<u8> {
    let mut rng = Rng::from_seed([1; 32]);
    let keys = RouterKeys::generate(&mut rng);
    let (mut static_key, intro_key) = (SecretKey::random(&mut rng), rng.bytes());
    if other_key {
        static_key = SecretKey::from_bytes([9; 32]);
    }
    info(&keys, &static_key, &intro_key, addr, at).as_bytes().to_vec()
}

/// Who is on the way and damages what carries the handshake's key costs a few jobs; the genuine packet still counts.
#[test]
fn a_handshake_survives_a_few_forgeries() {
    for (damaged, survives) in [(limits::HANDSHAKE_FAILURES - 1, true), (limits::HANDSHAKE_FAILURES, false)] {
        let mut world = World::new(11, 2, FAIR);
        let a = world.dial(0, 1);
        while world.nodes[0].endpoint.sessions.get(&a).is_some_and(|s| !matches!(s.state, State::AwaitCreated(_))) {
            world.run_for(Duration::from_millis(10));
        }
        world.run_for(Duration::from_millis(30));
        let (_, (from, _, created)) = world.under_way.pop_first().unwrap();
        for n in 0..damaged {
            let mut bad = created.clone();
            bad[64] ^= 1 + n;
            world.nodes[0].receive(world.now, from, &mut bad);
            world.drain(0);
        }
        assert_eq!(world.nodes[0].down.len(), usize::from(!survives));
        world.nodes[0].receive(world.now, from, &mut created.clone());
        world.drain(0);
        assert_eq!(world.nodes[0].endpoint.is_up(a), survives);
    }
    // The same of a SessionConfirmed.
    for (damaged, survives) in [(limits::HANDSHAKE_FAILURES - 1, true), (limits::HANDSHAKE_FAILURES, false)] {
        let mut world = World::new(12, 2, FAIR);
        world.dial(0, 1);
        while world.nodes[0].up.is_empty() {
            world.run_for(Duration::from_millis(10));
        }
        let (_, (from, _, confirmed)) = world.under_way.pop_first().unwrap();
        for n in 0..damaged {
            let mut bad = confirmed.clone();
            bad[64] ^= 1 + n;
            world.nodes[1].receive(world.now, from, &mut bad);
            world.drain(1);
        }
        world.nodes[1].receive(world.now, from, &mut confirmed.clone());
        world.drain(1);
        assert_eq!(world.nodes[1].up.len(), usize::from(survives));
    }
}

/// No more sessions than there may be, however many addresses they come from.
#[test]
fn sessions_are_bounded() {
    let mut world = World::new(13, 2, FAIR);
    let (keys, hash, addr) = (world.nodes[1].keys, world.nodes[1].hash, world.nodes[1].addr);
    let node = &mut world.nodes[0];
    let dials = (0..limits::SESSIONS as u64 + 3)
        .map(|n| node.endpoint.dial(world.now, ConnId(n), hash, keys, addr, Dial::default()));
    assert_eq!(dials.filter(|begun| *begun).count(), limits::SESSIONS);
    // One who asks is told.
    node.drain(world.now);
    world.dial(1, 0);
    world.run(1);
    assert_eq!(world.nodes[1].down.last().unwrap().1, Some(TerminationReason::CONNECTION_LIMITS));
}
