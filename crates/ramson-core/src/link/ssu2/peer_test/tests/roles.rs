//! What tests show, and how they are refused.

use super::super::*;
use super::world::{ALICE, BOB, CHARLIE, Front, World, at};

const FRONTS: [Front; 5] =
    [Front::Nothing, Front::FullCone, Front::Restricted, Front::PortRestricted, Front::Symmetric];

const fn is_open(front: Front) -> bool {
    matches!(front, Front::Nothing | Front::FullCone)
}

#[test]
fn a_test_shows_what_stands_in_front_of_alice() {
    let v4 = ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at);
    let v6 = ["[2a00:1::1]:9001", "[2a01:1::1]:9002", "[2a02:1::1]:9003"].map(at);
    for addrs in [v4, v6] {
        for front in FRONTS {
            let mut world = World::with(1, addrs, front);
            let result = world.test();
            let verdict = if is_open(front) { Verdict::Open } else { Verdict::Firewalled };
            assert_eq!(result.verdict, verdict, "{front:?} {addrs:?}");
            assert_eq!(result.charlie, Some((world.hash(CHARLIE), addrs[CHARLIE].ip())));
            let seen = result.seen.unwrap();
            assert_eq!((seen.ip(), seen == addrs[ALICE]), (addrs[ALICE].ip(), front != Front::Symmetric), "{front:?}");
            assert_eq!((result.v4, result.bob), (addrs[ALICE].is_ipv4(), world.hash(BOB)));
            assert_eq!(world.nodes[BOB].tests.stats().as_bob, 1);
            assert_eq!(world.nodes[CHARLIE].tests.stats().as_charlie, 1);
            world.run(Duration::from_secs(60));
            assert!(world.nodes.iter().all(|node| node.tests.len() == 0), "nothing is left");
        }
    }
}

/// Whatever is lost, doubled and out of order: no verdict is wrong, and most tests have one.
#[test]
fn a_test_is_never_wrong_on_bad_lines() {
    for front in FRONTS {
        let mut known = 0;
        for seed in 0..60 {
            let mut world = World::with(seed, ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at), front);
            (world.loss, world.doubled) = (0.3, 0.3);
            let result = world.test();
            match result.verdict {
                Verdict::Open => assert!(is_open(front), "{front:?} {seed}"),
                // All three greetings are lost: one in forty.
                Verdict::Firewalled if is_open(front) => {}
                Verdict::Firewalled => known += 1,
                Verdict::NoStranger => panic!("all are strangers"),
                Verdict::Unknown(code) => assert_eq!(code, None),
            }
            known += usize::from(result.verdict == Verdict::Open);
        }
        assert!(known > 45, "{front:?}: {known} of 60");
    }
}

#[test]
fn what_goes_to_charlie_first_is_no_greeting() {
    // Charlie's greetings are late: message 6 is out before. A port-restricted translator lets them in then.
    let mut world = World::with(1, ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at), Front::PortRestricted);
    world.begin();
    let mut greeted = false;
    for _ in 0..600 {
        world.run(Duration::from_millis(100));
        greeted |= world.nodes[ALICE].sent.len() == 1 && world.nodes[ALICE].results.is_empty();
    }
    assert_eq!(world.nodes[ALICE].results[0].verdict, Verdict::Firewalled);
    assert!(greeted || world.nodes[ALICE].sent.len() == 1);
}

/// Alice dials Charlie in the middle of a test, which opens the way for greetings that come after it: neither of them counts
/// one.
#[test]
fn who_meets_in_a_test_is_greeted_no_more() {
    for alice_knows in [false, true] {
        let addrs = ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at);
        let mut world = World::with(1, addrs, Front::PortRestricted);
        world.begin();
        world.run(Duration::from_millis(1_500));
        assert_eq!(world.nodes[CHARLIE].sent.len(), 1, "a greeting that is kept out");
        world.nodes[ALICE].contacts.insert(addrs[CHARLIE]);
        let (alice, charlie, now) = (world.hash(ALICE), world.hash(CHARLIE), world.now);
        world.nodes[CHARLIE].tests.handle_session(now, &alice);
        if alice_knows {
            world.nodes[ALICE].tests.handle_session(now, &charlie);
        }
        world.run(Duration::from_secs(60));
        let verdict = if alice_knows { Verdict::NoStranger } else { Verdict::Firewalled };
        assert_eq!(world.nodes[ALICE].results[0].verdict, verdict);
        assert_eq!(world.nodes[CHARLIE].sent.len(), if alice_knows { 1 } else { 2 }, "and message 7");
        assert!(world.nodes.iter().all(|node| node.tests.len() == 0), "nothing is left");
    }
}

/// What message 4 says, and the verdict with it.
fn refused(change: impl FnOnce(&mut World)) -> (Vec<u8>, Verdict) {
    let mut world = World::new(1);
    change(&mut world);
    let verdict = world.test().verdict;
    assert!(world.nodes.iter().all(|node| node.tests.len() == 0));
    (world.codes, verdict)
}

#[test]
fn refusals_have_their_codes() {
    let code = |change: fn(&mut World)| match refused(change) {
        (codes, Verdict::Unknown(Some(code))) if codes == [code] => code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(|world| world.charlie = None), 2, "no Charlie");
    assert_eq!(code(|world| world.charlie = Some(ALICE)), 2, "Alice is no Charlie");
    assert_eq!(code(|world| world.nodes[BOB].tests.set_serves(false, true)), 1);
    assert_eq!(code(|world| world.nodes[CHARLIE].tests.set_serves(false, true)), 65);
    assert_eq!(
        code(|world| {
            world.known.remove(&(BOB, ALICE));
        }),
        1,
        "Bob knows nothing of Alice"
    );
    let connected = refused(|world| {
        world.spoken_to.insert((CHARLIE, ALICE));
    });
    assert_eq!(connected, (vec![68], Verdict::NoStranger));
    assert_eq!(code(|world| world.introduces = false), 70, "Charlie knows nothing of Alice");
}

/// Whom Alice talks to is no Charlie for her, and Bob cannot know who that is.
#[test]
fn bob_asks_others_when_one_refuses() {
    let mut world = World::with(1, ["20.1.0.1:9001", "21.1.0.1:9002", "22.1.0.1:9003"].map(at), Front::PortRestricted);
    for n in 0..u8::try_from(limits::CHARLIES - 1).unwrap() {
        let other = world.add(&format!("{}.1.0.1:9004", 30 + n));
        world.others.push(other);
        world.spoken_to.insert((other, ALICE));
    }
    let result = world.test();
    assert_eq!(
        (result.verdict, result.charlie.map(|charlie| charlie.0)),
        (Verdict::Firewalled, Some(world.hash(CHARLIE)))
    );
    assert_eq!(world.codes, [0]);
    assert_eq!(world.nodes[BOB].tests.stats().as_bob, 1);
    for other in world.others.clone() {
        assert_eq!((world.nodes[other].tests.stats().refused, world.nodes[other].sent.len()), (1, 0));
    }
    world.run(Duration::from_secs(60));
    assert!(world.nodes.iter().all(|node| node.tests.len() == 0), "nothing is left");
}

/// The last refusal is what Alice is told, and no request goes round without end.
#[test]
fn bob_asks_only_so_many() {
    for many in [2, limits::CHARLIES + 2] {
        let mut world = World::new(1);
        world.charlie = None;
        for n in 0..many {
            let other = world.add(&format!("{}.1.0.1:9004", 30 + n));
            world.others.push(other);
            world.spoken_to.insert((other, ALICE));
        }
        assert_eq!(world.test().verdict, Verdict::NoStranger, "{many}");
        assert_eq!(world.codes, [68]);
        let asked = world.others.iter().filter(|other| world.nodes[**other].tests.stats().refused == 1).count();
        assert_eq!(asked, many.min(limits::CHARLIES));
        assert!(world.nodes.iter().all(|node| node.tests.len() == 0), "nothing is left");
    }
}

/// Where Bob has no session with a Charlie he dials some, and goes on when one stands.
#[test]
fn bob_waits_a_little_for_a_charlie() {
    for (comes_after, code) in [(3, 0), (6, 2)] {
        let mut world = World::new(1);
        (world.charlie, world.soon) = (None, true);
        world.begin();
        world.run(Duration::from_secs(comes_after));
        world.charlie = Some(CHARLIE);
        let (now, charlie) = (world.now, world.hash(CHARLIE));
        world.nodes[BOB].tests.handle_session(now, &charlie);
        world.drain(BOB);
        world.run(Duration::from_secs(30));
        assert_eq!(world.codes, [code]);
        let verdict = if code == 0 { Verdict::Open } else { Verdict::Unknown(Some(code)) };
        assert_eq!(world.nodes[ALICE].results.pop().map(|result| result.verdict), Some(verdict));
        assert!(world.nodes.iter().all(|node| node.tests.len() == 0), "nothing is left");
    }
}

#[test]
fn who_is_silent_makes_nobody_wait_for_long() {
    // Charlie is gone.
    let mut world = World::new(1);
    world.nodes.truncate(2);
    world.known.remove(&(BOB, CHARLIE));
    world.charlie = None;
    world.begin();
    world.run(Duration::from_secs(30));
    assert_eq!(world.nodes[ALICE].results[0].verdict, Verdict::Unknown(Some(2)));
    // Bob is gone.
    let mut world = World::new(1);
    let (bob, ip, claimed) = (Hash([9; 32]), at("21.1.0.1:1").ip(), world.nodes[ALICE].addr);
    assert!(world.nodes[ALICE].tests.start(world.now, bob, ip, claimed));
    world.drain(ALICE);
    world.run(Duration::from_secs(30));
    assert_eq!(world.nodes[ALICE].results[0].verdict, Verdict::Unknown(None));
    assert_eq!(world.nodes[ALICE].tests.len(), 0);
}

#[test]
fn one_whom_alice_has_spoken_to_shows_nothing() {
    let mut world = World::new(1);
    world.spoken_to.insert((ALICE, CHARLIE));
    assert_eq!(world.test().verdict, Verdict::NoStranger);
    assert!(world.nodes[ALICE].sent.is_empty());
}

#[test]
fn an_address_that_is_no_longer_alices_is_not_called_firewalled() {
    // She claims one that was hers, of the same network as far as Bob looks.
    let addrs = ["[2a00:1::1]:9001", "[2a01:1::1]:9002", "[2a02:1::1]:9003"].map(at);
    let mut world = World::with(1, addrs, Front::PortRestricted);
    world.begin();
    world.run(Duration::from_millis(300));
    world.nodes[ALICE].addr = at("[2a00:2::1]:9001");
    world.run(Duration::from_secs(60));
    assert_eq!(world.nodes[ALICE].results[0].verdict, Verdict::Unknown(None));
    assert_eq!(world.nodes[ALICE].sent.len(), usize::from(limits::SENT_TO_CHARLIE), "Charlie does not answer there");
}

#[test]
fn own_tests_are_bounded() {
    let mut world = World::new(1);
    let (bob, ip, claimed) = (world.hash(BOB), world.nodes[BOB].addr.ip(), world.nodes[ALICE].addr);
    let started = (0..50).filter(|_| world.nodes[ALICE].tests.start(world.now, bob, ip, claimed)).count();
    assert_eq!((started, world.nodes[ALICE].tests.own_tests(true)), (limits::OWN, limits::OWN));
    assert_eq!(world.nodes[ALICE].tests.own_tests(false), 0);
}
