use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn now(secs: u64) -> Now {
    Now::new(Instant::ZERO + Duration::from_secs(secs), 1_790_000_000_000 + secs * 1_000)
}

const HOME: &str = "20.1.2.3:9000";

fn reach_with(fixed: Option<&str>, small_network: bool) -> Reach {
    let config = ReachConfig {
        ports: [Some(9_000), Some(9_000)],
        fixed: [fixed.map(at), None],
        small_network,
        allow_reserved: false,
    };
    Reach::new(now(0), &config, Rng::from_seed([1; 32]))
}

fn reach() -> Reach {
    reach_with(None, false)
}

/// The n-th voter: each of another network.
fn voter(n: u32) -> IpAddr {
    IpAddr::from([30 + u8::try_from(n / 200).unwrap(), u8::try_from(n % 200).unwrap(), 1, 1])
}

fn agree(reach: &mut Reach, seen: &str, voters: std::ops::Range<u32>) {
    for n in voters {
        reach.handle_seen(now(u64::from(n)), voter(n), at(seen));
        reach.check();
    }
}

fn settle(reach: &mut Reach) {
    agree(reach, HOME, 0..12);
    assert_eq!(reach.external(true), Some(at(HOME)));
}

/// Threats T66: one peer's word, or that of one network, is none; two thirds of several networks are.
#[test]
fn t66_one_peer_does_not_say_where_we_are() {
    let mut reach = reach();
    for n in 0..200 {
        reach.handle_seen(now(n), "30.1.1.1".parse().unwrap(), at(HOME));
        reach.handle_seen(now(n), IpAddr::from([30, 1, 2, u8::try_from(n).unwrap()]), at(HOME));
        reach.handle_seen(now(n), "31.9.1.1".parse().unwrap(), at(HOME));
    }
    reach.handle_seen(now(299), "33.9.1.1".parse().unwrap(), at(HOME));
    assert_eq!(reach.external(true), None, "three networks");
    reach.handle_seen(now(300), "32.9.1.1".parse().unwrap(), at(HOME));
    assert_eq!(reach.external(true), Some(at(HOME)));
    // What cannot be ours is no vote, whoever says it.
    let mut reach = reach_with(None, false);
    for bad in ["127.0.0.1:9000", "10.0.0.1:9000", "224.0.0.1:9000", "0.0.0.0:9000", "[::1]:9000", "[2001:db8::1]:9000"]
    {
        agree(&mut reach, bad, 0..50);
        assert_eq!((reach.external(true), reach.external(false)), (None, None), "{bad}");
    }
    // Nor is one of the other family than the peer's.
    agree(&mut reach, "[2a00::1]:9000", 0..50);
    assert_eq!(reach.external(false), None);
}

/// Threats T66: four of ten peers lie, and all say the same.
#[test]
fn t66_four_of_ten_liars_do_not_move_us() {
    let mut rng = Rng::from_seed([7; 32]);
    for world in 0..20 {
        let mut reach = reach();
        settle(&mut reach);
        for n in 12..500 {
            let lies = rng.unit() < 0.4;
            reach.handle_seen(now(n.into()), voter(n), at(if lies { "66.6.6.6:9000" } else { HOME }));
        }
        assert_eq!(reach.external(true).map(|addr| addr.ip()), Some(at(HOME).ip()), "{world}");
    }
    // Liars who are there first are not believed either, while they are so few.
    let mut believed = 0;
    for _ in 0..200 {
        let mut reach = reach();
        for n in 0..200 {
            let lies = rng.unit() < 0.4;
            reach.handle_seen(now(n.into()), voter(n), at(if lies { "66.6.6.6:9000" } else { HOME }));
        }
        believed += usize::from(reach.external(true).map(|addr| addr.ip()) != Some(at(HOME).ip()));
    }
    // Whom the tests refute.
    assert!(believed <= 40, "{believed} of 200");
}

/// Threats T66: who have misled us about our address are found out when it is to be tested.
#[test]
fn t66_an_address_that_testers_do_not_see_is_forgotten() {
    let mut reach = reach();
    agree(&mut reach, "66.6.6.6:9000", 0..9);
    assert_eq!(reach.external(true), Some(at("66.6.6.6:9000")));
    for n in 0..50 {
        reach.handle_refused(now(20 + n), true, voter(30));
        reach.check();
    }
    assert!(reach.external(true).is_some(), "one network");
    reach.handle_refused(now(80), true, voter(31));
    assert_eq!((reach.external(true), reach.state(true)), (None, Reachability::Unknown));
    agree(&mut reach, HOME, 100..110);
    assert_eq!(reach.external(true), Some(at(HOME)));
    let mut fixed = reach_with(Some("20.5.5.5:9000"), false);
    (0..9).for_each(|n| fixed.handle_refused(now(20), true, voter(n)));
    assert_eq!(fixed.external(true), Some(at("20.5.5.5:9000")));
}

#[test]
fn a_new_address_is_taken_when_all_say_so() {
    let mut reach = reach();
    settle(&mut reach);
    shown(&mut reach, 20, Reachability::Open, 1);
    shown(&mut reach, 40, Reachability::Open, 2);
    assert_eq!(reach.state(true), Reachability::Open);
    while reach.poll_event().is_some() {}
    agree(&mut reach, "20.7.7.7:9000", 50..61);
    assert_eq!((reach.external(true), reach.poll_event()), (Some(at(HOME)), None));
    agree(&mut reach, "20.7.7.7:9000", 61..62);
    assert_eq!(reach.external(true), Some(at("20.7.7.7:9000")));
    assert_eq!(reach.state(true), Reachability::Unknown, "nothing is known of that one");
    assert_eq!(reach.poll_event(), Some(Event::Changed));
    reach.handle_timeout(now(61 + 9));
    let claimed = Some(at("20.7.7.7:9000"));
    assert_eq!(reach.poll_event(), Some(Event::Test { v4: true, claimed }), "it is tested soon");
}

#[test]
fn the_port_is_that_of_most_and_else_our_own() {
    let mut reach = reach();
    agree(&mut reach, "20.1.2.3:4444", 0..5);
    assert_eq!(reach.external(true), Some(at("20.1.2.3:4444")), "a translator has another port");
    for n in 5..20u32 {
        let seen = SocketAddr::new(at(HOME).ip(), 5_000 + u16::try_from(n).unwrap());
        reach.handle_seen(now(n.into()), voter(n), seen);
    }
    assert_eq!(reach.external(true), Some(at(HOME)), "everybody sees another");
    let mut fixed = reach_with(Some("20.5.5.5:9000"), false);
    agree(&mut fixed, HOME, 0..20);
    assert_eq!(fixed.external(true), Some(at("20.5.5.5:9000")), "the operator knows better");
}

#[test]
fn hosts_vote_in_a_small_network() {
    let mut reach = reach_with(None, true);
    reach.handle_seen(now(1), "30.1.1.1".parse().unwrap(), at(HOME));
    assert_eq!(reach.external(true), None);
    reach.handle_seen(now(2), "30.1.1.2".parse().unwrap(), at(HOME));
    assert_eq!(reach.external(true), Some(at(HOME)));
}

fn shown(reach: &mut Reach, secs: u64, state: Reachability, by: u32) {
    reach.handle_shown(now(secs), true, Shown { by: voter(by), state });
    reach.check();
}

#[test]
fn two_tests_by_two_networks_make_a_verdict() {
    for state in
        [Reachability::Open, Reachability::Firewalled(Nat::Filtering), Reachability::Firewalled(Nat::Symmetric)]
    {
        let mut reach = reach();
        shown(&mut reach, 1, state, 1);
        shown(&mut reach, 20, state, 1);
        assert_eq!(reach.state(true), Reachability::Unknown, "one network");
        shown(&mut reach, 40, state, 2);
        assert_eq!((reach.state(true), reach.poll_event(), reach.poll_event()), (state, Some(Event::Changed), None));
        assert_eq!(reach.state(false), Reachability::Unknown);
    }
    let mut small = reach_with(None, true);
    shown(&mut small, 1, Reachability::Open, 1);
    shown(&mut small, 20, Reachability::Open, 1);
    assert_eq!(small.state(true), Reachability::Open);
}

/// A router that all others know finds nobody to test it: that two of them, whom it never dialled, have come shows as much. It
/// does so only where the operator says what the address is, and does not speak against tests.
#[test]
fn two_who_come_unasked_show_that_an_operators_address_is_open() {
    let mut known = reach_with(Some(HOME), false);
    known.handle_came(now(1), voter(0));
    known.handle_came(now(2), voter(0));
    known.handle_came(now(2), "30.0.1.9".parse().unwrap());
    assert_eq!(known.state(true), Reachability::Unknown, "one network");
    known.handle_came(now(3), voter(7));
    assert_eq!((known.state(true), known.state(false)), (Reachability::Open, Reachability::Unknown));
    known.check();
    let mut guessed = reach();
    settle(&mut guessed);
    let mut closed = reach_with(Some(HOME), false);
    for by in 0..2 {
        shown(&mut closed, 1, Reachability::Firewalled(Nat::Filtering), by);
    }
    for n in 0..50 {
        guessed.handle_came(now(20 + u64::from(n)), voter(n));
        closed.handle_came(now(20 + u64::from(n)), voter(n));
    }
    assert_eq!(guessed.state(true), Reachability::Unknown);
    assert_eq!(closed.state(true), Reachability::Firewalled(Nat::Filtering));
}

#[test]
fn a_verdict_does_not_flap() {
    let firewalled = Reachability::Firewalled(Nat::Filtering);
    let mut reach = reach();
    shown(&mut reach, 1, Reachability::Open, 1);
    shown(&mut reach, 20, Reachability::Open, 2);
    while reach.poll_event().is_some() {}
    for n in 0..50 {
        // One in two lies, or is unlucky.
        shown(
            &mut reach,
            30 + 20 * n,
            if n % 2 == 0 { firewalled } else { Reachability::Open },
            u32::try_from(n).unwrap(),
        );
        assert_eq!((reach.state(true), reach.poll_event()), (Reachability::Open, None));
    }
    shown(&mut reach, 2_000, firewalled, 7);
    assert!(reach.next_timeout() < now(2_020).mono, "it is asked again soon");
    shown(&mut reach, 2_020, firewalled, 8);
    assert_eq!(reach.state(true), firewalled);
    // Old results do not count.
    shown(&mut reach, 3_000, Reachability::Open, 9);
    shown(&mut reach, 9_000, Reachability::Open, 10);
    assert_eq!(reach.state(true), firewalled);
}

#[test]
fn tests_are_seldom_when_all_is_known_and_when_they_show_nothing() {
    let mut reach = reach();
    assert_eq!(reach.next_timeout(), now(8).mono);
    reach.handle_timeout(now(8));
    assert_eq!(reach.poll_event(), Some(Event::Test { v4: true, claimed: None }));
    assert_eq!(reach.poll_event(), Some(Event::Test { v4: false, claimed: None }));
    reach.handle_begun(now(8), true, false);
    assert!(reach.next_timeout() <= now(24).mono && reach.next_timeout() >= now(16).mono);
    shown(&mut reach, 30, Reachability::Open, 1);
    shown(&mut reach, 50, Reachability::Open, 2);
    reach.family(false).next = Instant::FAR;
    let next = reach.next_timeout();
    assert!(next >= now(50 + 68 * 60).mono && next <= now(50 + 71 * 60).mono);
    let mut last = Duration::ZERO;
    for n in 0..12 {
        shown(&mut reach, 100 + n, Reachability::Unknown, 1);
        last = reach.family(true).next.since(now(100 + n).mono);
    }
    assert!(last <= SELDOM && last >= SELDOM / 2, "{last:?}");
    assert_eq!(reach.state(true), Reachability::Open, "nothing was shown");
    // Without sockets there is nothing to test.
    let config = ReachConfig { ports: [None; 2], fixed: [None; 2], small_network: false, allow_reserved: false };
    let mut none = Reach::new(now(0), &config, Rng::from_seed([1; 32]));
    agree(&mut none, HOME, 0..20);
    assert_eq!((none.next_timeout(), none.external(true)), (Instant::FAR, None));
}

#[test]
fn votes_and_results_are_bounded() {
    let mut reach = reach();
    let mut rng = Rng::from_seed([3; 32]);
    for n in 0..5_000u64 {
        let by = IpAddr::from(rng.bytes::<4>());
        let seen = SocketAddr::new(IpAddr::from(rng.bytes::<4>()), 9);
        reach.handle_seen(now(n), by, seen);
        let by6 = IpAddr::from(rng.bytes::<16>());
        reach.handle_seen(now(n), by6, SocketAddr::new(IpAddr::from(rng.bytes::<16>()), 9));
        let state = [Reachability::Open, Reachability::Firewalled(Nat::Symmetric)][rng.below(2)];
        reach.handle_shown(now(n), n % 2 == 0, Shown { by, state });
        reach.check();
        while reach.poll_event().is_some() {}
    }
}
