//! What peers and strangers do who mean harm.

use super::super::*;
use super::world::{ALICE, BOB, CHARLIE, Front, World, at, read};
use crate::keys::RouterKeys;
use ramson_wire::ssu2::PeerTest;

/// A message as its author signs it.
fn signed(number: u8, keys: &RouterKeys, bob: &Hash, nonce: u32, alice: &SocketAddr, timestamp: u32) -> Message {
    let bytes = PeerTest::to_be_signed(nonce, timestamp, alice);
    let signature = keys.signing.sign(&PeerTest::signed_message(&bytes, bob, None));
    let router = (number == 2).then(|| keys.identity.hash());
    read(&message::block(number, 0, router.as_ref(), &bytes, &signature))
}

/// A request of Alice to Bob.
fn request(world: &World, nonce: u32, claimed: &str) -> Message {
    signed(1, &world.nodes[ALICE].keys, &world.hash(BOB), nonce, &at(claimed), clock(world.now))
}

/// Sends messages from Alice to Bob; the codes that she gets.
fn codes_for(mut world: World, messages: Vec<Message>) -> (World, Vec<u8>) {
    for message in messages {
        world.say(ALICE, BOB, None, &message);
    }
    world.run(Duration::from_secs(60));
    let codes = std::mem::take(&mut world.codes);
    (world, codes)
}

/// Threats T60: Bob has nobody send to an address that is not Alice's.
#[test]
fn t60_bob_tests_no_address_that_is_not_alices() {
    for victim in ["20.1.0.2:9001", "9.9.9.9:9001", "127.0.0.1:9001", "20.1.0.1:53", "20.1.0.1:1023", "[2a00::1]:9001"]
    {
        let world = World::new(1);
        let message = request(&world, 7, victim);
        let (world, codes) = codes_for(world, vec![message]);
        assert_eq!(codes, [5], "{victim}");
        assert!(world.nodes[CHARLIE].sent.is_empty());
    }
}

/// Threats T60: signatures of others, of other words, and clocks that are wrong.
#[test]
fn t60_forged_and_stale_requests_are_refused() {
    let world = World::new(1);
    let good = request(&world, 7, "20.1.0.1:9001");
    let mut flipped = good.clone();
    flipped.signature[5] ^= 1;
    let cut = Message { signature: good.signature[..63].to_vec(), ..good.clone() };
    let none = Message { signature: Vec::new(), ..good.clone() };
    let by_bob = signed(1, &world.nodes[BOB].keys, &world.hash(BOB), 7, &at("20.1.0.1:9001"), clock(world.now));
    let to_charlie =
        signed(1, &world.nodes[ALICE].keys, &world.hash(CHARLIE), 7, &at("20.1.0.1:9001"), clock(world.now));
    for bad in [flipped, cut, none, by_bob, to_charlie] {
        let (world, codes) = codes_for(World::new(1), vec![bad]);
        assert_eq!(codes, [4]);
        assert!(world.nodes[CHARLIE].sent.is_empty());
    }
    for off in [-200i64, 200] {
        let world = World::new(1);
        let timestamp = u32::try_from(i64::from(clock(world.now)) + off).unwrap();
        let keys = Arc::clone(&world.nodes[ALICE].keys);
        let stale = signed(1, &keys, &world.hash(BOB), 7, &at("20.1.0.1:9001"), timestamp);
        assert_eq!(codes_for(world, vec![stale]).1, [1]);
    }
    let other = Message { version: 3, ..good };
    assert_eq!(codes_for(World::new(1), vec![other]).1, [0; 0], "another version");
}

/// Threats T60: a Bob who makes requests up, or repeats them, has Charlie send nothing.
#[test]
fn t60_charlie_sends_nothing_for_a_bob_who_lies() {
    let mut world = World::new(1);
    let (alice, bob) = (Arc::clone(&world.nodes[ALICE].keys), Arc::clone(&world.nodes[BOB].keys));
    let (own, victim, time) = (world.hash(BOB), at("9.9.9.9:9001"), clock(world.now));
    let genuine = signed(1, &alice, &own, 1, &at("20.1.0.1:9001"), time);
    // Alice's hash and another's signature; her signature and another address; one that she gave to another Bob.
    let forged = Message { router: Some(alice.identity.hash()), ..signed(2, &bob, &own, 1, &victim, time) };
    let bytes = PeerTest::to_be_signed(2, time, &victim);
    let moved = read(&message::block(2, 0, Some(&alice.identity.hash()), &bytes, &genuine.signature));
    let other = signed(2, &alice, &Hash([3; 32]), 3, &victim, time);
    let stale = signed(2, &alice, &own, 4, &victim, time - 500);
    let service = signed(2, &alice, &own, 5, &at("9.9.9.9:443"), time);
    let private = signed(2, &alice, &own, 6, &at("10.0.0.1:9001"), time);
    for message in [forged, moved, other, stale, service, private] {
        let info = Arc::clone(&world.nodes[ALICE].info);
        world.say(BOB, CHARLIE, Some(info), &message);
    }
    world.run(Duration::from_secs(60));
    assert!(world.nodes[CHARLIE].sent.is_empty());
    assert_eq!(world.nodes[CHARLIE].tests.stats(), TestStats { refused: 6, ..TestStats::default() });
    assert_eq!(world.nodes[CHARLIE].tests.len(), 0);
    // A RouterInfo under Alice's hash that is not hers does not help: it does not verify.
    let mut broken = world.nodes[ALICE].info.as_bytes().to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    let broken = Arc::new(<RouterInfo as ramson_wire::codec::Decode>::from_bytes(&broken).unwrap());
    let good = signed(2, &alice, &own, 9, &at("20.1.0.1:9001"), clock(world.now));
    world.say(BOB, CHARLIE, Some(broken), &good);
    world.run(Duration::from_secs(60));
    assert!(world.nodes[CHARLIE].sent.is_empty());
}

/// Threats T60, P-40, P-41: however often it is asked for, one address is sent little, and so are all together.
#[test]
fn t60_p41_charlie_sends_little_to_one_address() {
    let mut world = World::new(1);
    // An Alice who works with Bob, and never answers.
    world.nodes[ALICE].front = Front::Symmetric;
    let alice = Arc::clone(&world.nodes[ALICE].keys);
    let own = world.hash(BOB);
    for nonce in 1..=10_000 {
        let port = 2_000 + u16::try_from(nonce % 10_000).unwrap();
        let victim = SocketAddr::new(at("9.9.9.9:1").ip(), port);
        let message = signed(2, &alice, &own, nonce, &victim, clock(world.now));
        let info = Arc::clone(&world.nodes[ALICE].info);
        world.nodes[CHARLIE].tests.handle_introduced(world.now, own, &info);
        world.nodes[CHARLIE].tests.handle_message(world.now, own, at("21.1.0.1:9002"), message);
        world.drain(CHARLIE);
    }
    let stats = world.nodes[CHARLIE].tests.stats();
    assert_eq!(stats.as_charlie, 1);
    assert!(stats.refused < 10, "each refusal costs a signature: {stats:?}");
    world.run(Duration::from_secs(19));
    let sent = &world.nodes[CHARLIE].sent;
    assert_eq!(sent.len(), usize::from(limits::SENT_TO_ALICE));
    assert!(sent.iter().all(|(to, len)| to.ip() == at("9.9.9.9:1").ip() && *len <= 96), "{sent:?}");
}

/// Threats P-40: addresses of one /64 are one, and a flood of addresses fills no table.
#[test]
fn p40_targets_are_counted_by_network_and_bounded() {
    let mut world = World::new(1);
    let alice = Arc::clone(&world.nodes[ALICE].keys);
    let bobs: Vec<Hash> = (0..200).map(|n| Hash([n; 32])).collect();
    let own = OwnInfo6::info(&alice);
    for nonce in 1..=2_000u32 {
        let bob = bobs[nonce as usize % 200];
        let victim: SocketAddr = format!("[2a05::{nonce:x}]:9001").parse().unwrap();
        let message = signed(2, &alice, &bob, nonce, &victim, clock(world.now));
        world.nodes[CHARLIE].tests.handle_introduced(world.now, bob, &own);
        world.nodes[CHARLIE].tests.handle_message(world.now, bob, at("21.1.0.1:9002"), message);
        world.drain(CHARLIE);
        world.nodes[CHARLIE].tests.check();
    }
    assert_eq!(world.nodes[CHARLIE].tests.stats().as_charlie, 1);
    assert!(world.nodes[CHARLIE].sent.len() <= usize::from(limits::SENT_TO_ALICE));
}

struct OwnInfo6;

impl OwnInfo6 {
    /// A RouterInfo of one who can be reached by neither family.
    fn info(keys: &RouterKeys) -> Arc<RouterInfo> {
        let own = crate::own_info::OwnInfo {
            network_id: 99,
            bandwidth: 'P',
            published: Vec::new(),
            udp: vec![at("0.0.0.0:9"), at("[::]:9")],
            udp_published: Vec::new(),
            hidden: false,
            introducers: Vec::new(),
            ipv4: true,
            ipv6: true,
            floodfill: false,
            congestion: crate::tunnel::Congestion::None,
        };
        Arc::new(own.sign(keys, super::world::start().unix_ms).unwrap())
    }
}

/// Threats T60: messages that nobody waits for, in every order, and long after.
#[test]
fn t60_messages_out_of_turn_change_nothing() {
    let mut world = World::new(1);
    for number in 0..=8 {
        for nonce in [0, 1, u32::MAX] {
            let outside = Outside { number, nonce, timestamp: clock(world.now), address: Some(at("9.9.9.9:9")) };
            for n in [ALICE, BOB, CHARLIE] {
                world.nodes[n].tests.handle_outside(world.now, at("9.9.9.9:9999"), &outside);
                if number > 2 {
                    let of = |router| Message { number, router, ..request(&world, nonce, "20.1.0.1:9001") };
                    let message = of((number == 4).then_some(Hash([1; 32])));
                    let from = world.hash(BOB);
                    world.nodes[n].tests.handle_message(world.now, from, at("21.1.0.1:9002"), message);
                }
                assert!(world.nodes[n].tests.poll_event().is_none());
                assert_eq!(world.nodes[n].tests.len(), 0);
            }
        }
    }
    // Message 7 after the end, as it brought a router down.
    let result = world.test();
    assert_eq!(result.verdict, Verdict::Open);
    for number in 4..=7 {
        let outside = Outside { number, nonce: 1, timestamp: clock(world.now), address: None };
        world.nodes[ALICE].tests.handle_outside(world.now, at("22.1.0.1:9003"), &outside);
    }
    assert!(world.nodes[ALICE].tests.poll_event().is_none() && world.nodes[ALICE].results.is_empty());
}

/// Threats T60, T66: Bob, who knows the nonce, cannot pass himself off as Charlie and make Alice believe that she is open.
#[test]
fn t60_t66_bob_cannot_greet_alice_in_charlies_place() {
    let mut world = World::with(1, ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at), Front::PortRestricted);
    world.begin();
    world.run(Duration::from_millis(200));
    let nonces: Vec<u32> = world.nodes[ALICE].tests.alice.keys().copied().collect();
    for step in 0..50 {
        for nonce in &nonces {
            let seen = Some(at("20.1.0.1:9001"));
            for number in [5, 7] {
                let outside = Outside { number, nonce: *nonce, timestamp: clock(world.now), address: seen };
                world.nodes[ALICE].tests.handle_outside(world.now, at("21.1.0.1:9002"), &outside);
            }
        }
        world.drain(ALICE);
        world.run(Duration::from_millis(100 + step));
    }
    world.run(Duration::from_secs(60));
    assert_eq!(world.nodes[ALICE].results[0].verdict, Verdict::Firewalled);
    // Nor by naming himself, one at his own address, or nobody.
    for charlie in [BOB, ALICE] {
        let mut world = World::new(2);
        world.charlie = Some(charlie);
        if charlie == BOB {
            world.known.insert((ALICE, BOB));
        }
        assert!(matches!(world.test().verdict, Verdict::Unknown(_)));
    }
}

/// Threats T60: a greeting with a wrong clock is an old one.
#[test]
fn t60_old_greetings_do_not_count() {
    let mut world = World::with(1, ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at), Front::PortRestricted);
    world.begin();
    world.run(Duration::from_millis(400));
    let nonce = *world.nodes[ALICE].tests.alice.keys().next().unwrap();
    let timestamp = clock(world.now) - 121;
    let old = Outside { number: 5, nonce, timestamp, address: None };
    world.nodes[ALICE].tests.handle_outside(world.now, at("22.1.0.1:9003"), &old);
    world.run(Duration::from_secs(60));
    assert_eq!(world.nodes[ALICE].results[0].verdict, Verdict::Firewalled);
}

/// Threats T60: ten thousand nonces of one Alice, and of many.
#[test]
fn t60_requests_without_end_are_bounded() {
    let mut world = World::new(1);
    for nonce in 1..=10_000 {
        let message = request(&world, nonce, "20.1.0.1:9001");
        let alice = world.hash(ALICE);
        world.nodes[BOB].tests.handle_message(world.now, alice, at("20.1.0.1:9001"), message);
    }
    let (_, burst) = limits::REQUESTS_OF_PEER;
    assert_eq!(world.nodes[BOB].tests.bob.len(), burst as usize);
    world.nodes[BOB].tests.check();
    // Many peers at once, over minutes.
    let mut world = World::new(1);
    for nonce in 1..=20_000u32 {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&nonce.to_be_bytes());
        let message = request(&world, nonce, "20.1.0.1:9001");
        world.now = world.now.later(Duration::from_millis(5));
        world.nodes[BOB].tests.handle_timeout(world.now);
        let message = Message { timestamp: clock(world.now), ..message };
        world.nodes[BOB].tests.handle_message(world.now, Hash(hash), at("20.1.0.1:9001"), message);
        world.nodes[BOB].tests.check();
        while world.nodes[BOB].tests.poll_event().is_some() {}
    }
    assert!(world.nodes[BOB].tests.bob.len() <= limits::AS_BOB);
    // As Charlie: more at once than there is room for.
    let mut world = World::new(1);
    let alice = Arc::clone(&world.nodes[ALICE].keys);
    for nonce in 1..=500u32 {
        let bob = Hash([u8::try_from(nonce % 250).unwrap(); 32]);
        let message = signed(2, &alice, &bob, nonce, &at("20.1.0.1:9001"), clock(world.now));
        world.now = world.now.later(Duration::from_millis(5));
        world.nodes[CHARLIE].tests.handle_message(world.now, bob, at("21.1.0.1:9002"), message);
        world.nodes[CHARLIE].tests.check();
    }
    assert!(world.nodes[CHARLIE].tests.charlie.len() <= limits::AS_CHARLIE);
}

/// The same request again is one test: the data phase repeats what may have been lost.
#[test]
fn a_nonce_is_good_once() {
    let world = World::new(1);
    let message = request(&world, 7, "20.1.0.1:9001");
    let (world, codes) = codes_for(world, vec![message.clone(), message.clone(), message]);
    assert_eq!(codes, [0]);
    assert_eq!(world.nodes[CHARLIE].tests.stats().as_charlie, 1);
}

#[test]
fn router_infos_of_one_peer_take_the_room_of_no_other() {
    let mut world = World::new(1);
    let mut rng = Rng::from_seed([4; 32]);
    let honest = world.hash(BOB);
    let info = Arc::clone(&world.nodes[ALICE].info);
    world.nodes[CHARLIE].tests.handle_introduced(world.now, honest, &info);
    let others: Vec<_> = (0..20).map(|_| OwnInfo6::info(&RouterKeys::generate(&mut rng))).collect();
    for other in others.iter().cycle().take(2_000) {
        world.nodes[CHARLIE].tests.handle_introduced(world.now, Hash([6; 32]), other);
        world.nodes[CHARLIE].tests.check();
    }
    let of = |world: &World, from: Hash| {
        world.nodes[CHARLIE].tests.introduced.iter().filter(|known| known.from == from).count()
    };
    assert_eq!((of(&world, honest), of(&world, Hash([6; 32]))), (1, limits::INTRODUCED_BY_PEER));
    for n in 0..200 {
        world.nodes[CHARLIE].tests.handle_introduced(world.now, Hash([n; 32]), &others[0]);
        world.nodes[CHARLIE].tests.check();
    }
    assert_eq!(world.nodes[CHARLIE].tests.introduced.len(), limits::INTRODUCED);
}
