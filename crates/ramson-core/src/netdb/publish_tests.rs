use super::super::store::testing::{NOW, floodfills, store};
use super::*;

const OWN: Hash = Hash([9; 32]);

fn stores(events: impl IntoIterator<Item = Event>) -> Vec<(Hash, u32)> {
    let store = |event| if let Event::Store { floodfill, token } = event { Some((floodfill, token)) } else { None };
    events.into_iter().filter_map(store).collect()
}

/// Moves time to the next deadline.
macro_rules! step {
    ($machine:expr, $now:expr, $routers:expr) => {{
        let at = $machine.next_timeout().unwrap();
        $now = $now.later(at.since($now.mono));
        $machine.handle_timeout($now, $routers);
        std::iter::from_fn(|| $machine.poll_event()).collect::<Vec<_>>()
    }};
}

fn router() -> RouterInfoPublisher {
    RouterInfoPublisher::new(NOW, OWN, Rng::from_seed([6; 32]))
}

#[test]
fn a_router_info_goes_to_the_next_floodfill_until_one_confirms() {
    let (routers, mut publisher, mut now) = (floodfills(50), router(), NOW);
    let mut all = Vec::new();
    for _ in 0..4 {
        all.extend(stores(step!(publisher, now, &routers)));
    }
    let closest = routers.closest_today(NOW, &OWN, 4, &[]);
    assert_eq!(all.iter().map(|(floodfill, _)| *floodfill).collect::<Vec<_>>(), closest);
    assert!(now.mono.since(NOW.mono) < Duration::from_mins(1));
    assert!(!publisher.handle_confirmation(all[3].1.wrapping_add(1)));
    assert!(publisher.handle_confirmation(all[1].1), "late, and good all the same");
    assert!(!publisher.handle_confirmation(all[3].1), "it is over");
    let before = now;
    assert_eq!(stores(step!(publisher, now, &routers)).len(), 1);
    let pause = now.mono.since(before.mono);
    assert!(pause > Duration::from_mins(34) && pause <= Duration::from_mins(45), "{pause:?}");
}

#[test]
fn a_changed_router_info_waits_nine_minutes() {
    let (routers, mut publisher, mut now) = (floodfills(50), router(), NOW);
    publisher.handle_changed(now);
    assert_eq!(publisher.next_timeout(), Some(now.mono), "nothing was published yet");
    let token = stores(step!(publisher, now, &routers))[0].1;
    publisher.handle_confirmation(token);
    publisher.handle_changed(now.later(Duration::from_secs(5)));
    let before = now;
    assert_eq!(stores(step!(publisher, now, &routers)).len(), 1);
    assert_eq!(now.mono.since(before.mono), RI_MIN_INTERVAL);
}

#[test]
fn tries_are_bounded_and_then_it_starts_again() {
    let (routers, mut publisher, mut now) = (floodfills(50), router(), NOW);
    let mut tried = Vec::new();
    for _ in 0..limits::PUBLISH_TRIES {
        tried.extend(stores(step!(publisher, now, &routers)));
    }
    assert_eq!(tried.len(), limits::PUBLISH_TRIES);
    assert!(step!(publisher, now, &routers).is_empty());
    let again = stores(step!(publisher, now, &routers));
    assert_eq!(again[0].0, tried[0].0);
    assert!(now.mono.since(NOW.mono) < Duration::from_mins(5));
}

#[test]
fn pauses_between_rounds_without_a_confirmation_grow() {
    let (routers, mut publisher, mut now) = (floodfills(50), router(), NOW);
    let mut pauses = Vec::new();
    let mut last = 0;
    for _ in 0..8 {
        for _ in 0..limits::PUBLISH_TRIES {
            last = stores(step!(publisher, now, &routers))[0].1;
        }
        assert!(step!(publisher, now, &routers).is_empty());
        pauses.push(publisher.next_timeout().unwrap().since(now.mono));
    }
    for (n, pause) in pauses.iter().enumerate() {
        let grown = |pause: Duration| (pause * (1 << n)).min(RI_MIN_INTERVAL);
        assert!((grown(RETRY.0)..=grown(RETRY.1)).contains(pause), "{n}: {pause:?}");
    }
    assert_eq!(pauses[7], RI_MIN_INTERVAL);
    assert!(!publisher.handle_confirmation(last), "its round is over");
    let token = stores(step!(publisher, now, &routers))[0].1;
    assert!(publisher.handle_confirmation(token));
    assert_eq!(publisher.failures, 0);
}

#[test]
fn without_floodfills_it_tries_again_soon() {
    let (routers, mut publisher, mut now) = (store(10), router(), NOW);
    assert!(step!(publisher, now, &routers).is_empty());
    assert!(publisher.next_timeout().unwrap().since(now.mono) <= RETRY.1);
}

#[test]
fn midnight_publishes_anew() {
    let (routers, mut publisher) = (floodfills(50), router());
    let to_midnight = Duration::from_millis(until_midnight(NOW.unix_ms)) - Duration::from_mins(15);
    let mut now = NOW.later(to_midnight);
    publisher.handle_timeout(now, &routers);
    let token = stores(std::iter::from_fn(|| publisher.poll_event()))[0].1;
    publisher.handle_confirmation(token);
    let stored = stores(step!(publisher, now, &routers));
    assert_eq!(stored[0].0, routers.closest_today(now, &OWN, 1, &[])[0]);
    let after = 86_400_000 - until_midnight(now.unix_ms);
    assert!(after <= 10 * 60_000, "{after}");
}

#[test]
fn stores_that_cannot_go_out_go_elsewhere_at_once() {
    let (routers, mut publisher, mut now) = (floodfills(50), router(), NOW);
    let (first, token) = stores(step!(publisher, now, &routers))[0];
    publisher.handle_store_failed(now, token, &routers);
    let (second, _) = stores(std::iter::from_fn(|| publisher.poll_event()))[0];
    assert_ne!(first, second);
}

fn lease_set(now: Now) -> LeaseSetPublisher {
    let mut publisher = LeaseSetPublisher::new(OWN, Rng::from_seed([7; 32]));
    assert_eq!(publisher.next_timeout(), None);
    publisher.handle_changed(now, now.mono + Duration::from_mins(10), false);
    publisher
}

#[test]
fn a_lease_set_is_stored_twice_confirmed_and_verified_elsewhere() {
    let (routers, mut now) = (floodfills(50), NOW);
    let mut publisher = lease_set(now);
    let out = stores(step!(publisher, now, &routers));
    let closest = routers.closest_today(NOW, &OWN, 2, &[]);
    assert_eq!(out.iter().map(|(floodfill, _)| *floodfill).collect::<Vec<_>>(), closest);
    assert_ne!(out[0].1, out[1].1);
    assert!(!publisher.is_published());
    assert!(publisher.handle_confirmation(now, out[1].1));
    assert!(publisher.is_published());
    let before = now;
    assert_eq!(step!(publisher, now, &routers), [Event::Verify { exclude: closest }]);
    assert!(now.mono.since(before.mono) >= LS_VERIFY.0);
    publisher.handle_verified(now, true, &routers);
    assert_eq!((publisher.next_timeout(), publisher.is_published()), (None, true));
}

#[test]
fn with_nobody_else_to_ask_there_is_no_verification() {
    let (routers, mut now) = (floodfills(2), NOW);
    let mut publisher = lease_set(now);
    let out = stores(step!(publisher, now, &routers));
    publisher.handle_confirmation(now, out[0].1);
    assert!(step!(publisher, now, &routers).is_empty());
    assert_eq!((publisher.next_timeout(), publisher.is_published()), (None, true));
}

#[test]
fn liars_are_passed_over() {
    let (routers, mut now) = (floodfills(50), NOW);
    let mut publisher = lease_set(now);
    let out = stores(step!(publisher, now, &routers));
    publisher.handle_confirmation(now, out[0].1);
    assert_eq!(step!(publisher, now, &routers).len(), 1);
    publisher.handle_verified(now, false, &routers);
    let again = stores(std::iter::from_fn(|| publisher.poll_event()));
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|(floodfill, _)| out.iter().all(|(other, _)| other != floodfill)));
    // A verification without any result is one that failed.
    publisher.handle_confirmation(now, again[0].1);
    assert_eq!(step!(publisher, now, &routers).len(), 1);
    let third = stores(step!(publisher, now, &routers));
    assert_eq!(third.len(), 2);
}

#[test]
fn unconfirmed_stores_go_to_the_next_floodfills() {
    let (routers, mut now) = (floodfills(50), NOW);
    let mut publisher = lease_set(now);
    let mut all = Vec::new();
    while all.len() < 6 {
        all.extend(stores(step!(publisher, now, &routers)));
    }
    all.truncate(6);
    let closest = routers.closest_today(NOW, &OWN, 6, &[]);
    assert_eq!(all.iter().map(|(floodfill, _)| *floodfill).collect::<Vec<_>>(), closest);
}

/// A change that comes before the confirmation goes elsewhere: those that were asked may be dead.
#[test]
fn a_change_does_not_wait_for_those_that_are_silent() {
    let (routers, mut now) = (floodfills(50), NOW);
    let mut publisher = lease_set(now);
    let first = stores(step!(publisher, now, &routers));
    let end = now.mono + Duration::from_mins(10);
    publisher.handle_changed(now, end, true);
    let second = stores(step!(publisher, now, &routers));
    assert_eq!((first.len(), second.len()), (2, 2));
    assert!(second.iter().all(|(floodfill, _)| first.iter().all(|(before, _)| before != floodfill)), "{second:?}");
    // One that answers late is good again.
    assert!(publisher.handle_confirmation(now, second[0].1));
    publisher.handle_changed(now, end, true);
    let third = stores(step!(publisher, now, &routers));
    assert!(third.iter().all(|(floodfill, _)| first.iter().all(|(before, _)| before != floodfill)));
    assert!(third.iter().any(|(floodfill, _)| *floodfill == second[0].0), "{third:?}");
}

#[test]
fn the_first_changes_come_soon_and_later_ones_every_twenty_seconds() {
    let (routers, mut now) = (floodfills(50), NOW);
    let mut publisher = lease_set(now);
    stores(step!(publisher, now, &routers));
    for interval in [LS_FIRST_INTERVAL, LS_FIRST_INTERVAL, LS_MIN_INTERVAL, LS_MIN_INTERVAL] {
        let before = now;
        publisher.handle_changed(now, now.mono + Duration::from_mins(10), false);
        assert_eq!(stores(step!(publisher, now, &routers)).len(), 2);
        assert_eq!(now.mono.since(before.mono), interval);
    }
    let before = now;
    publisher.handle_changed(now, now.mono + Duration::from_mins(10), true);
    assert_eq!(stores(step!(publisher, now, &routers)).len(), 2);
    assert_eq!(now.mono.since(before.mono), LS_FIRST_INTERVAL, "by the last one nobody gets to us");
}

#[test]
fn what_is_under_way_counts_when_the_lease_set_changes() {
    let (routers, mut now) = (floodfills(50), NOW);
    let mut publisher = lease_set(now);
    let old = stores(step!(publisher, now, &routers));
    publisher.handle_changed(now, now.mono + Duration::from_mins(10), false);
    assert!(publisher.handle_confirmation(now, old[0].1), "of the LeaseSet before");
    assert!(publisher.is_published());
    assert_eq!(stores(step!(publisher, now, &routers)).len(), 2, "the new one is stored all the same");
}

#[test]
fn what_has_ended_or_is_stopped_is_not_published() {
    let routers = floodfills(50);
    let mut publisher = lease_set(NOW);
    publisher.handle_timeout(NOW.later(Duration::from_mins(11)), &routers);
    assert_eq!((publisher.poll_event(), publisher.next_timeout()), (None, None));
    let mut publisher = lease_set(NOW);
    publisher.stop();
    publisher.handle_timeout(NOW, &routers);
    assert_eq!(publisher.poll_event(), None);
}

#[test]
fn a_lease_set_that_lives_past_midnight_moves_with_its_key() {
    let routers = floodfills(50);
    let mut now = NOW.later(Duration::from_millis(until_midnight(NOW.unix_ms)) - Duration::from_mins(5));
    let mut publisher = lease_set(now);
    let out = stores(step!(publisher, now, &routers));
    publisher.handle_confirmation(now, out[0].1);
    assert_eq!(step!(publisher, now, &routers).len(), 1);
    publisher.handle_verified(now, true, &routers);
    let moved = stores(step!(publisher, now, &routers));
    assert_eq!(moved[0].0, routers.closest_today(now, &OWN, 1, &[])[0]);
    assert!(86_400_000 - until_midnight(now.unix_ms) <= 120_000);
}

/// Threats T34: whoever does not see the store cannot confirm it.
#[test]
fn t34_guessed_ids_confirm_nothing() {
    let (routers, mut now) = (floodfills(50), NOW);
    let mut info = router();
    let of_info: Vec<u32> = stores(step!(info, now, &routers)).iter().map(|(_, token)| *token).collect();
    let mut set = lease_set(now);
    let of_set: Vec<u32> = stores(step!(set, now, &routers)).iter().map(|(_, token)| *token).collect();
    assert!(!of_info.is_empty() && !of_set.is_empty());
    let around = of_info.iter().chain(&of_set).flat_map(|token| (1..50).map(|d| token.wrapping_add(d)));
    let guesses = (0..100_000).chain(around).filter(|guess| !of_info.contains(guess) && !of_set.contains(guess));
    for guess in guesses.chain([u32::MAX]) {
        assert!(!info.handle_confirmation(guess) && !set.handle_confirmation(now, guess));
    }
    assert!(!info.handle_confirmation(of_set[0]) && !set.handle_confirmation(now, of_info[0]), "another's store");
    assert!(info.handle_confirmation(of_info[0]) && set.handle_confirmation(now, of_set[0]));
}
