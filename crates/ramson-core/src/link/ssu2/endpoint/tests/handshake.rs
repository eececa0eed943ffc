//! Handshakes, on good lines and bad ones.

use super::*;

#[test]
fn a_session_stands_and_the_next_needs_no_retry() {
    let mut world = World::new(1, 2, FAIR);
    let a = world.dial(0, 1);
    world.run_for(Duration::from_millis(150));
    let (alice, bob) = (world.nodes[0].hash, world.nodes[1].hash);
    assert_eq!(world.nodes[0].up, [(a, None)]);
    assert_eq!(world.nodes[1].up.len(), 1);
    let (b, peer) = world.nodes[1].up[0];
    assert_eq!((peer, b.is_inbound()), (Some(alice), true));
    assert_eq!(world.nodes[1].packets[0].1, 0, "the SessionConfirmed is packet 0");
    // TokenRequest, Retry, SessionRequest, SessionCreated, SessionConfirmed; and no job for the first two.
    assert_eq!((world.sizes.len(), world.nodes[0].jobs, world.nodes[1].jobs), (5, 2, 2));
    assert!(world.sizes.iter().all(|size| *size <= 1252));
    assert_ne!(alice, bob);
    // Both can speak.
    assert!(world.say(1, b, &[12, 0, 5, 0, 0, 0, 0, 0]) && world.say(0, a, &[0, 0, 4, 0, 0, 0, 1]));
    world.run(5);
    assert_eq!(world.nodes[0].packets.len(), 1);
    assert_eq!(world.nodes[1].packets.last().unwrap().1, 1, "the initiator counts on behind its SessionConfirmed");
    assert_eq!(world.sizes.len(), 7, "nothing goes out again");
    // With the token of the SessionCreated.
    world.nodes[0].endpoint.terminate(world.now, a, TerminationReason::NORMAL);
    world.drain(0);
    world.run(35);
    assert!(world.nodes.iter().all(|node| node.endpoint.len() == 0));
    world.sizes.clear();
    world.dial(0, 1);
    world.run_for(Duration::from_millis(150));
    assert_eq!((world.sizes.len(), world.nodes[0].up.len(), world.nodes[1].up.len()), (3, 2, 2));
}

/// On a bad line all handshakes come through, and none is stuck.
#[test]
fn handshakes_come_through_loss_reordering_and_duplication() {
    let weather = Weather { loss: 0.2, doubled: 0.2, delay: (10, 300) };
    let mut failed = 0;
    for seed in 0..150 {
        let mut world = World::new(seed, 2, weather);
        let a = world.dial(0, 1);
        world.run(20);
        let (alice, bob) = (&world.nodes[0], &world.nodes[1]);
        failed += usize::from(alice.up.is_empty() || bob.up.is_empty());
        assert!(alice.up.len() <= 1 && bob.up.len() <= 1, "seed {seed}");
        assert!(alice.endpoint.dialling.len() <= 1 && bob.endpoint.accepting.is_empty(), "seed {seed}");
        // Who has a session keeps it until it is idle; all else has ended by itself.
        assert_eq!(alice.endpoint.is_up(a), !alice.up.is_empty(), "seed {seed}");
        assert_eq!(alice.endpoint.len(), alice.up.len(), "seed {seed}");
        assert_eq!(bob.endpoint.len(), bob.up.len(), "seed {seed}");
        world.run(400);
        for node in &world.nodes {
            assert_eq!((node.endpoint.len(), node.endpoint.ids.len()), (0, 0), "seed {seed}");
            assert!(node.endpoint.inbound_of.is_empty() && node.endpoint.timers.is_empty(), "seed {seed}");
            assert!(node.endpoint.dialling.is_empty());
            assert_eq!(node.down.len(), node.endpoint.next_inbound as usize + node.next_conn as usize);
        }
    }
    assert!(failed <= 3, "{failed} of 150 at a loss of a fifth");
}

/// What comes before its keys waits for them.
#[test]
fn packets_before_the_session_confirmed_are_kept() {
    let mut world = World::new(3, 2, FAIR);
    let a = world.dial(0, 1);
    while world.nodes[0].up.is_empty() {
        world.run_for(Duration::from_millis(10));
    }
    // The SessionConfirmed is overtaken by twenty packets.
    let confirmed = world.under_way.pop_first().unwrap().1;
    for n in 0..20 {
        assert!(world.say(0, a, &[0, 0, 4, 0, 0, 0, n]));
    }
    world.run_for(Duration::from_millis(100));
    assert!(world.nodes[1].up.is_empty());
    world.under_way.insert((world.now.mono, 9_999), confirmed);
    world.run_for(Duration::from_millis(100));
    let numbers: Vec<u32> = world.nodes[1].packets.iter().map(|(_, number, _)| *number).collect();
    assert_eq!(numbers, (0..=limits::EARLY_PACKETS as u32).collect::<Vec<_>>());
}

/// Nobody answers: the request goes out a few times, and then all is forgotten.
#[test]
fn a_silent_peer_is_given_up_in_time() {
    let mut world = World::new(4, 2, Weather { loss: 1.0, ..FAIR });
    world.dial(0, 1);
    world.run(14);
    assert!(world.nodes[0].down.is_empty());
    world.run(2);
    assert_eq!((world.nodes[0].down.len(), world.nodes[0].endpoint.len()), (1, 0));
    assert!((5..=9).contains(&world.sizes.len()), "{}", world.sizes.len());
}

/// Threats T51, T40: clocks that are too far apart give no session, and who asks learns it a few times.
#[test]
fn wrong_clocks_give_no_session_and_are_told_a_few_times() {
    for skew in [-100_000i64, 100_000] {
        let mut world = World::new(5, 2, FAIR);
        world.nodes[0].clock_ms = skew;
        for _ in 0..10 {
            world.dial(0, 1);
            world.run(20);
        }
        let told = world.nodes[0].down.iter().filter(|down| down.1 == Some(TerminationReason::CLOCK_SKEW)).count();
        assert_eq!((told, world.nodes[0].down.len()), (3, 10), "{skew}");
        assert!(world.nodes[1].up.is_empty() && world.nodes[1].jobs == 0);
    }
    // With a token the clock is seen in the SessionRequest.
    let mut world = World::new(6, 2, FAIR);
    let mut rng = Rng::from_seed([1; 32]);
    let (keys, from) = (world.nodes[1].keys, world.nodes[0].addr);
    let token = world.nodes[1].endpoint.tokens.retry(world.now.mono, &from);
    let mut request = session_request(&keys, token, world.now.unix_secs() + 100, &mut rng);
    world.nodes[1].receive(world.now, from, &mut request);
    let mut out = world.nodes[1].drain(world.now);
    assert_eq!((out.len(), world.nodes[1].jobs, world.nodes[1].endpoint.len()), (1, 1, 0));
    assert_eq!(token_of(&mut out[0].1, &keys), 0);
}

#[test]
fn sixteen_sessions_of_an_address_are_enough() {
    let mut world = World::new(7, 2, FAIR);
    for n in 0..20 {
        world.dial(0, 1);
        world.run(1);
        let up = world.nodes[0].up.len();
        assert_eq!(up, (n + 1).min(crate::limits::link::INBOUND_PER_ADDRESS), "{n}");
    }
    let refused = world.nodes[0].down.iter().all(|down| down.1 == Some(TerminationReason::CONNECTION_LIMITS));
    assert!(refused && world.nodes[0].down.len() == 4);
}
