//! Sessions that stand: how they move, and how they end.

use super::*;

const PING: &[u8] = &[0, 0, 4, 0, 0, 0, 1];

#[test]
fn a_termination_is_answered_and_both_sides_forget() {
    let (mut world, a, b) = World::pair(1);
    world.nodes[0].endpoint.terminate(world.now, a, TerminationReason::ROUTER_SHUTDOWN);
    world.drain(0);
    assert_eq!(world.nodes[0].down, [(a, None)]);
    world.run(1);
    assert_eq!(world.nodes[1].down, [(b, Some(TerminationReason::ROUTER_SHUTDOWN))]);
    assert!(!world.say(0, a, PING) && !world.say(1, b, PING));
    assert!(world.nodes.iter().all(|node| node.endpoint.len() == 0 && node.endpoint.ended.count() == 1));
    world.run(31);
    assert!(world.nodes.iter().all(|node| node.endpoint.ended.count() == 0 && node.down.len() == 1));
    assert!(world.nodes.iter().all(|node| node.endpoint.ids.is_empty() && node.endpoint.timers.is_empty()));
}

/// Threats T65: whatever else a Termination says, it ends its session, and that alone.
#[test]
fn t65_terminations_that_lie_end_one_session() {
    let (mut world, a, b) = World::pair(2);
    let other = world.dial(1, 0);
    world.run(1);
    let mut blocks = Vec::new();
    Termination { packets_received: u64::MAX, reason: TerminationReason(255) }.encode(&mut blocks);
    assert!(world.say(0, a, &blocks));
    world.run(1);
    assert_eq!(world.nodes[1].down, [(b, Some(TerminationReason(255)))]);
    assert!(world.nodes[1].endpoint.is_up(other));
}

/// The last word answers what still comes, and more and more seldom.
#[test]
fn an_ended_session_answers_late_packets_seldom() {
    let (mut world, a, _) = World::pair(3);
    let late: Vec<_> = (0..100).map(|_| world.nodes[0].packet(a, PING).unwrap().1).collect();
    let b = world.nodes[1].up[0].0;
    world.nodes[1].endpoint.terminate(world.now, b, TerminationReason::NORMAL);
    world.nodes[1].drain(world.now);
    let from = world.nodes[0].addr;
    for mut packet in late {
        world.nodes[1].receive(world.now, from, &mut packet);
    }
    assert_eq!(world.nodes[1].drain(world.now).len(), 7, "the 1st, 2nd, 4th ... 64th");
}

/// Sessions that are over take the room of none that stand or begin, also of those from one address, and the oldest is
/// forgotten when there are too many.
#[test]
fn ended_sessions_are_bounded_and_keep_nobody_out() {
    let (mut world, ..) = World::pair(7);
    world.weather.delay = (0, 0);
    let standing = world.nodes[1].up[0].0;
    let mut late = vec![];
    for _ in 0..=limits::ENDED {
        let dialled = world.dial(0, 1);
        world.run_for(Duration::from_millis(1));
        let (ended, _) = *world.nodes[1].up.last().unwrap();
        late.push(world.nodes[0].packet(dialled, PING).expect("a session").1);
        world.nodes[1].endpoint.terminate(world.now, ended, TerminationReason::NORMAL);
        world.nodes[1].drain(world.now);
        assert_eq!(world.nodes[1].endpoint.len(), 1, "the one that stands");
        world.nodes[0].endpoint.end_broken(dialled);
        world.drain(0);
    }
    let node = &mut world.nodes[1];
    assert!(node.endpoint.is_up(standing));
    assert_eq!((node.endpoint.ended.count(), node.endpoint.ids.len()), (limits::ENDED, limits::ENDED + 1));
    let from = world.nodes[0].addr;
    let answers = late.iter_mut().map(|packet| {
        world.nodes[1].receive(world.now, from, packet);
        world.nodes[1].drain(world.now).len()
    });
    let answers: Vec<usize> = answers.collect();
    assert_eq!((answers[0], answers[1], answers[limits::ENDED]), (0, 1, 1), "the oldest is forgotten");
    world.run(31);
    assert_eq!(world.nodes[1].endpoint.ended.count(), 0);
}

/// What a peer makes of a packet of the session `id`, as its number and the reason of the Termination in it: i2pd, which has answered
/// our first one and waits for another, does not look at a number that has come before.
fn termination(world: &mut World, id: ConnId, packet: &[u8]) -> (u32, TerminationReason) {
    let State::Up(up) = &mut world.nodes[1].endpoint.sessions.get_mut(&id).unwrap().state else { panic!("no session") };
    let mut packet = packet.to_vec();
    let opened = up.opener.open(&mut packet).unwrap();
    let Some(Ok(Block::Termination(said))) = ramson_wire::ssu2::Blocks::new(opened.payload).next() else { panic!() };
    (opened.number, said.reason)
}

#[test]
fn an_ended_session_answers_with_another_packet_each_time() {
    let (mut world, a, b) = World::pair(5);
    world.nodes[0].endpoint.terminate(world.now, a, TerminationReason::NORMAL);
    let first = world.nodes[0].drain(world.now);
    let from = world.nodes[1].addr;
    let mut said = vec![termination(&mut world, b, &first[0].1)];
    for _ in 0..2 {
        let mut late = world.nodes[1].packet(b, PING).unwrap().1;
        world.nodes[0].receive(world.now, from, &mut late);
        let answer = world.nodes[0].drain(world.now);
        said.push(termination(&mut world, b, &answer[0].1));
    }
    assert!(said.windows(2).all(|two| two[0].0 < two[1].0), "{said:?}");
    let heard = TerminationReason::TERMINATION_RECEIVED;
    assert_eq!(said.iter().map(|one| one.1).collect::<Vec<_>>(), [TerminationReason::NORMAL, heard, heard]);
    // One that ends the router has nobody left to answer: it says both at once. Who has heard that is silent.
    let (mut world, a, b) = World::pair(6);
    world.nodes[0].endpoint.terminate(world.now, a, TerminationReason::ROUTER_SHUTDOWN);
    let both = world.nodes[0].drain(world.now);
    let said: Vec<_> = both.iter().map(|(_, packet)| termination(&mut world, b, packet)).collect();
    assert_eq!(said.iter().map(|one| one.1).collect::<Vec<_>>(), [TerminationReason::ROUTER_SHUTDOWN, heard]);
    let (mut world, a, _) = World::pair(6);
    world.nodes[0].endpoint.terminate(world.now, a, TerminationReason::ROUTER_SHUTDOWN);
    let from = world.nodes[0].addr;
    let mut answers = 0;
    for (_, mut packet) in world.nodes[0].drain(world.now) {
        world.nodes[1].receive(world.now, from, &mut packet);
        answers += world.nodes[1].drain(world.now).len();
    }
    assert_eq!(answers, 1);
}

#[test]
fn an_idle_session_ends_and_one_that_hears_something_does_not() {
    let (mut world, a, b) = World::pair(4);
    for _ in 0..10 {
        world.run(100);
        assert!(world.say(0, a, PING) && world.say(1, b, PING));
    }
    assert!(world.nodes.iter().all(|node| node.down.is_empty()));
    world.run(220);
    assert!(world.nodes.iter().all(|node| node.endpoint.len() == 0 && node.down.len() == 1));
}

/// A peer whose address changes goes on, once it has answered there.
#[test]
fn a_peer_that_moves_is_followed_when_it_has_answered() {
    for (seed, weather) in [(5, FAIR), (6, Weather { loss: 0.3, doubled: 0.3, delay: (10, 100) })] {
        let (mut world, a, b) = World::pair(seed);
        let (home, away): (SocketAddr, SocketAddr) = (world.nodes[0].addr, "10.9.9.9:1234".parse().unwrap());
        world.seen_at.insert(home, away);
        world.weather = weather;
        for _ in 0..10 {
            assert!(world.say(0, a, PING));
            world.run(1);
        }
        assert_eq!(world.nodes[1].endpoint.address(b), Some(away), "seed {seed}");
        assert_eq!(world.nodes[1].moved, [b], "seed {seed}");
        assert_eq!(world.nodes[1].endpoint.inbound_of.len(), 1);
        world.weather = FAIR;
        let before = world.nodes[0].packets.len();
        assert!(world.say(1, b, PING));
        world.run(1);
        assert_eq!(world.nodes[0].packets.len(), before + 1);
    }
}

/// Threats T63: packets of a session that come from a victim's address take nothing there but small challenges.
#[test]
fn t63_a_victim_gets_less_than_was_sent_in_its_name() {
    let (mut world, a, b) = World::pair(7);
    let (victim, other): (SocketAddr, SocketAddr) = ("10.9.9.9:1234".parse().unwrap(), "[2a00::9]:99".parse().unwrap());
    let mut sent = 0;
    for n in 0..1_000 {
        let (_, mut packet) =
            world.nodes[0].packet(a, &[254, 0, 60].iter().copied().chain([0; 60]).collect::<Vec<_>>()).unwrap();
        sent += packet.len();
        world.nodes[1].receive(world.now, if n % 10 == 9 { other } else { victim }, &mut packet);
        world.drain(1);
        assert_eq!(world.nodes[1].endpoint.address(b), Some(world.nodes[0].addr), "not proven");
        world.run_for(Duration::from_millis(10));
    }
    let got: usize = world.astray.iter().map(|(to, bytes)| if *to == victim { bytes.len() } else { 99_999 }).sum();
    assert!((1..=30).contains(&world.astray.len()) && got < sent / 10, "{} of {sent}", world.astray.len());
    assert!(world.nodes[1].moved.is_empty());
    // A packet from where it is cancels the look elsewhere.
    assert!(world.say(0, a, PING));
    world.run(10);
    let before = world.astray.len();
    world.run(10);
    assert_eq!(world.astray.len(), before);
    assert!(world.nodes[1].endpoint.is_up(b));
}

/// Threats T63: a peer that moves back and forth a hundred times a second costs a challenge every other second.
#[test]
fn t63_moving_back_and_forth_costs_little() {
    let (mut world, a, _) = World::pair(8);
    let away: SocketAddr = "10.9.9.9:1234".parse().unwrap();
    let home = world.nodes[0].addr;
    for n in 0..1_000 {
        let (_, mut packet) = world.nodes[0].packet(a, PING).unwrap();
        world.nodes[1].receive(world.now, if n % 2 == 0 { away } else { home }, &mut packet);
        world.drain(1);
        world.run_for(Duration::from_millis(10));
    }
    assert!((1..=10).contains(&world.astray.len()), "{}", world.astray.len());
}

/// Threats T63: long and many challenges.
#[test]
fn t63_challenges_are_answered_within_bounds() {
    let (mut world, _, b) = World::pair(9);
    let from = world.nodes[0].addr;
    let mut answers = |len: usize, count: usize| {
        world.run(2);
        let now = world.now;
        let node = &mut world.nodes[1];
        (0..count).for_each(|_| node.endpoint.path_challenge(now, b, from, &vec![7; len]));
        node.drain(now).len()
    };
    assert_eq!((answers(8, 1), answers(0, 1), answers(1_024, 1)), (1, 1, 1));
    assert_eq!((answers(1_025, 3), answers(1_400, 3)), (0, 0));
    assert_eq!(answers(8, 1_000), limits::CHALLENGES_PER_SECOND as usize);
}

/// Threats T58: what belongs to the handshake and comes again changes nothing.
#[test]
fn t58_handshake_packets_after_the_session_stands_are_ignored() {
    let mut world = World::new(10, 2, FAIR);
    let a = world.dial(0, 1);
    let mut all = vec![];
    for _ in 0..100 {
        world.run_for(Duration::from_millis(5));
        all.extend(world.under_way.values().cloned());
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 5);
    let b = world.nodes[1].up[0].0;
    assert!(world.say(1, b, PING));
    world.run(1);
    let before = world.sizes.len();
    for _ in 0..20 {
        for (from, to, bytes) in all.clone() {
            world.under_way.insert((world.now.mono, world.sent), (from, to, bytes));
            world.sent += 1;
        }
        world.run_for(Duration::from_millis(50));
    }
    assert!(world.nodes[0].endpoint.is_up(a) && world.nodes[1].endpoint.is_up(b));
    assert!(world.nodes.iter().all(|node| node.up.len() == 1 && node.down.is_empty() && node.jobs == 2));
    assert_eq!(world.sizes.len(), before, "not one is answered");
    assert!(world.nodes.iter().all(|node| node.endpoint.len() == 1));
    assert!(world.say(0, a, PING) && world.say(1, b, PING));
}
