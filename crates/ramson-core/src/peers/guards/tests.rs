use super::*;
use std::collections::BTreeMap;

const START: Now = Now::new(Instant::from_micros(1 << 40), 1_790_000_000_000);
const MINUTE: Duration = Duration::from_mins(1);

fn hash(n: u8) -> Hash {
    Hash([n; 32])
}

fn guards(n: u8) -> Guards {
    let mut guards = Guards::new(Rng::from_seed([n; 32]));
    (1..=n).for_each(|n| guards.add(START, hash(n)));
    guards.hashes().iter().for_each(|hash| guards.handle_outcome(START, hash, true));
    guards
}

#[test]
fn the_three_in_use_take_turns() {
    let mut guards = guards(5);
    let mut counts = BTreeMap::new();
    for _ in 0..3_000 {
        *counts.entry(guards.to_try(START, |_| State::Fine)[0]).or_insert(0) += 1;
    }
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [1, 2, 3].map(hash));
    assert!(counts.values().all(|n| (900..1_100).contains(n)), "{counts:?}");
    let all = guards.to_try(START, |_| State::Fine);
    assert_eq!(all[3..], [hash(4), hash(5)], "those that stand in come in their order");
}

#[test]
fn where_one_is_dead_the_others_serve_and_where_all_are_others_stand_in() {
    let mut guards = guards(3);
    let one_dead = |one: &Hash| if *one == hash(1) { State::Down } else { State::Fine };
    guards.update(START, true, one_dead);
    (0..20).for_each(|_| assert!(!guards.to_try(START, one_dead).contains(&hash(1))));
    assert!(!guards.wants_more(START, |one| *one != hash(1)));
    let all_dead = |one: &Hash| if one.0[0] <= 3 { State::Down } else { State::Fine };
    guards.update(START, true, all_dead);
    assert!(guards.to_try(START, all_dead).is_empty() && guards.wants_more(START, |_| false));
    guards.add(START, hash(4));
    guards.handle_outcome(START, &hash(4), true);
    let soon = START.later(119 * MINUTE);
    guards.update(soon, true, all_dead);
    assert_eq!(guards.to_try(soon, all_dead), [hash(4)]);
    // Time alone does not bring one back, a session does.
    assert_eq!(guards.to_try(soon, |_| State::Fine), [hash(4)]);
    let back = |one: &Hash| if *one == hash(2) { State::Connected } else { all_dead(one) };
    guards.update(soon, true, back);
    assert_eq!(guards.to_try(soon, back), [hash(2), hash(4)]);
    // After two hours the dead ones are replaced: the one that stood in takes a place.
    let later = START.later(121 * MINUTE);
    guards.update(later, true, back);
    assert_eq!(guards.hashes(), [hash(2), hash(4)]);
    assert!(guards.wants_more(later, |_| true));
}

#[test]
fn who_was_never_chosen_makes_room_at_once() {
    let mut guards = Guards::new(Rng::from_seed([1; 32]));
    [1, 2, 3].into_iter().for_each(|n| guards.add(START, hash(n)));
    guards.handle_outcome(START, &hash(1), true);
    guards.update(START, true, |_| State::Down);
    assert_eq!(guards.hashes(), [hash(1)]);
}

#[test]
fn while_we_are_cut_off_nobody_is_to_blame() {
    let mut guards = guards(3);
    for minute in 0..300 {
        guards.update(START.later(minute * MINUTE), minute == 0, |_| State::Down);
    }
    assert_eq!(guards.hashes().len(), 3);
}

#[test]
fn a_life_is_20_to_40_days() {
    let day = Duration::from_hours(24);
    let mut alive = [0; 50];
    for seed in 0..40 {
        let mut guards = guards(3);
        guards.rng = Rng::from_seed([seed; 32]);
        guards.all.clear();
        [1, 2, 3].into_iter().for_each(|n| guards.add(START, hash(n)));
        for (days, alive) in alive.iter_mut().enumerate() {
            guards.update(START.later(day * days as u32), true, |_| State::Fine);
            *alive += guards.hashes().len();
        }
    }
    assert_eq!((alive[19], alive[41]), (120, 0));
    assert!((75..105).contains(&alive[30]), "{}", alive[30]);
}

/// Threats P-20: one that lets only a few builds live is dropped, and never taken again; one that others fail is not.
#[test]
fn p20_a_first_hop_that_fails_builds_is_dropped() {
    let mut rng = Rng::from_seed([3; 32]);
    let mut play = |first: usize, others: usize| {
        let mut guards = guards(3);
        for round in 0..400 {
            let now = START.later(MINUTE * 2 * round);
            let one = guards.to_try(now, |_| State::Fine)[0];
            let good = if one == hash(1) { first } else { others };
            guards.handle_outcome(now, &one, rng.below(100) < good);
        }
        guards
    };
    let mut guards = play(15, 60);
    assert!(!guards.contains(&hash(1)) && guards.is_dropped(&hash(1)));
    guards.add(START, hash(1));
    assert_eq!(guards.hashes(), [hash(2), hash(3)]);
    for (first, others) in [(64, 100), (40, 40), (90, 90)] {
        assert_eq!(play(first, others).hashes().len(), 3, "{first} of {others}");
    }
}

#[test]
fn failures_in_a_row_let_others_try() {
    let mut guards = guards(4);
    let fine = |_: &Hash| State::Fine;
    for _ in 0..FAILURES {
        assert!(!guards.wants_more(START, |_| true));
        [1, 2, 3].into_iter().for_each(|n| guards.handle_outcome(START, &hash(n), false));
    }
    assert_eq!(guards.to_try(START, fine)[0], hash(4));
    (0..FAILURES).for_each(|_| guards.handle_outcome(START, &hash(4), false));
    assert!(guards.wants_more(START, |_| true), "none of them works");
    let later = START.later(2 * MINUTE);
    assert_ne!(guards.to_try(later, fine)[0], hash(4));
}

#[test]
fn first_hops_and_what_was_dropped_are_bounded() {
    let mut guards = guards(100);
    assert_eq!(guards.hashes().len(), limits::GUARDS);
    assert!(!guards.wants_more(START, |_| false));
    for n in 0..100 {
        guards.all.clear();
        guards.add(START, hash(n));
        guards.add(START, hash(200));
        for round in 0..JUDGED + 1 {
            guards.handle_outcome(START, &hash(200), true);
            guards.handle_outcome(START, &hash(n), round == 0);
        }
        assert!(guards.dropped.len() <= limits::DROPPED_GUARDS);
    }
    assert!(guards.is_dropped(&hash(99)) && !guards.is_dropped(&hash(0)));
}

#[test]
fn a_file_gives_back_those_that_were_chosen_and_a_damaged_one_none() {
    let mut guards = guards(4);
    assert!(guards.take_changed() && !guards.take_changed());
    guards.add(START, hash(9));
    let file = guards.to_file();
    let load = |bytes: &[u8], now| {
        let mut again = Guards::new(Rng::from_seed([5; 32]));
        (again.load(now, bytes), again)
    };
    let (taken, again) = load(&file, START);
    assert_eq!((taken, again.hashes()), (4, [1, 2, 3, 4].map(hash).to_vec()));
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 1;
        assert_eq!((load(&bad, START).0, load(&file[..at], START).0), (0, 0));
    }
    let (mut whole, mut over) = (load(&file, START).1, load(&file, START.later(LIFE.1)).1);
    assert!(!whole.take_changed() && over.take_changed(), "those whose time is over go from the disk");
    assert_eq!(load(&file, START.later(LIFE.1)).0, 0, "their time is over");
    assert_eq!(load(&file, Now::new(START.mono, 0)).0, 0, "nobody has that much time");
}
