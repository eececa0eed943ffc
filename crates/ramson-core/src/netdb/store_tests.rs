use super::testing::*;
use super::*;
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry};

/// Everything that the store holds.
fn digest(store: &RouterStore) -> Hash {
    let mut all: Vec<u8> = store.iter().flat_map(|info| info.as_bytes().to_vec()).collect();
    store.floodfills.iter().for_each(|hash| all.extend(hash.0));
    store.dirty.iter().for_each(|hash| all.extend(hash.0));
    Hash::of(&all)
}

#[test]
fn good_infos_come_in_and_newer_ones_replace_them() {
    let mut store = store(100);
    assert_eq!(add(&mut store, &wish(1), Source::Unasked), None);
    let newer = Wish { published: NOW.unix_ms, caps: "XfR", ..wish(1) };
    assert_eq!(store.floodfills(), 0);
    assert_eq!(add(&mut store, &newer, Source::Unasked), None);
    assert_eq!((store.len(), store.floodfills()), (1, 1));
    assert_eq!(store.offer(NOW, info(&wish(1)), Source::Unasked), Ok(Offer::Known), "older");
    assert_eq!(store.get(&info(&newer).hash()).unwrap().published(), NOW.unix_ms);
    assert_eq!(store.take_dirty().len(), 1);
    assert!(store.take_dirty().is_empty());
}

/// P-9 of the threats: a store that breaks a rule changes nothing. T6, T8, T15.
#[test]
fn t6_t8_t15_what_breaks_a_rule_changes_nothing() {
    let mut store = floodfills(5);
    let before = digest(&store);
    let hours = 3_600_000;
    for (bad, refusal) in [
        (Wish { net: "", ..wish(50) }, Refusal::WrongNetwork),
        (Wish { net: "3", ..wish(50) }, Refusal::WrongNetwork),
        (Wish { net: "99", ..wish(50) }, Refusal::WrongNetwork),
        (Wish { version: "", ..wish(50) }, Refusal::NoVersion),
        (Wish { version: "0.9.999999999999", ..wish(50) }, Refusal::NoVersion),
        (Wish { version: "-1", ..wish(50) }, Refusal::NoVersion),
        (Wish { version: "٣.٩", ..wish(50) }, Refusal::NoVersion),
        (Wish { addresses: 0, ..wish(50) }, Refusal::NoAddress),
        (Wish { published: NOW.unix_ms + 121_000, ..wish(50) }, Refusal::Future),
        (Wish { published: 1 << 63, ..wish(50) }, Refusal::Future),
        (Wish { published: 0, ..wish(50) }, Refusal::Expired),
        (Wish { published: NOW.unix_ms - 28 * hours, ..wish(50) }, Refusal::Expired),
    ] {
        assert_eq!(add(&mut store, &bad, Source::Unasked), Some(refusal));
    }
    // Older ones of known routers, and the same date with another content.
    for bad in [Wish { published: 5 * hours, ..wish(1) }, Wish { caps: "K", ..wish(1) }] {
        let _ = add(&mut store, &bad, Source::Unasked);
    }
    // A DatabaseStore with each byte of its RouterInfo changed, and under another key.
    let newer = info(&Wish { published: NOW.unix_ms, ..wish(1) });
    for at in 0..newer.as_bytes().len() {
        let mut raw = newer.as_bytes().to_vec();
        raw[at] ^= 0x10;
        let Ok(changed) = RouterInfo::from_bytes(&raw) else { continue };
        assert!(give(&mut store, Arc::new(changed), Source::Unasked).is_some(), "byte {at}");
    }
    let mut message = DatabaseStore::new(Entry::RouterInfo(newer.clone()), None).to_bytes();
    message[3] ^= 1;
    assert!(DatabaseStore::from_bytes(&message).is_err());
    assert_eq!(digest(&store), before);
    assert_eq!(give(&mut store, newer, Source::Unasked), None, "the true one is taken");
    assert_ne!(digest(&store), before);
}

/// A disk that never takes anything makes the list of changes no longer than it may be.
#[test]
fn changes_for_the_disk_are_bounded() {
    let mut store = store(10);
    (0..2 * limits::DIRTY as u64).for_each(|n| store.mark_dirty(Hash::of(&n.to_be_bytes())));
    assert_eq!(store.dirty.len(), limits::DIRTY);
    assert_eq!(store.take_dirty().len(), limits::DIRTY);
    assert!(store.dirty.is_empty());
}

#[test]
fn our_own_is_refused() {
    let own = info(&wish(1));
    let mut store = RouterStore::new(own.hash(), 2, 10, Rng::from_seed([4; 32]), NOW);
    assert_eq!(store.offer(NOW, own, Source::Local), Err(Refusal::Own));
}

#[test]
fn a_full_store_makes_room_only_for_what_is_wanted() {
    let mut store = store(20);
    for seed in 0..20 {
        assert_eq!(add(&mut store, &wish(seed), Source::Unasked), None);
    }
    for seed in 100..200 {
        assert_eq!(add(&mut store, &wish(seed), Source::Unasked), Some(Refusal::Full));
    }
    assert!((0..20).all(|seed| store.get(&info(&wish(seed)).hash()).is_some()));
    for seed in 100..110 {
        assert_eq!(add(&mut store, &wish(seed), Source::Wanted), None);
        assert_eq!(store.len(), 20);
        assert!(store.get(&info(&wish(seed)).hash()).is_some());
    }
    let newer = Wish { published: NOW.unix_ms, ..wish(109) };
    assert_eq!(add(&mut store, &newer, Source::Unasked), None, "known routers are renewed");
}

#[test]
fn the_queue_of_verifications_is_bounded() {
    let mut store = store(limits::ROUTERS);
    for seed in 0..limits::VERIFYING as u64 {
        assert_eq!(store.offer(NOW, info(&wish(seed)), Source::Unasked), Ok(Offer::Verifying));
    }
    assert_eq!(store.offer(NOW, info(&wish(99_999)), Source::Wanted), Err(Refusal::Full));
    assert_eq!(store.offer(NOW, info(&wish(1)), Source::Wanted), Ok(Offer::Verifying), "not twice");
    let jobs = std::iter::from_fn(|| store.poll_event()).count();
    assert_eq!(jobs, limits::VERIFYING);
}

#[test]
fn indexes_survive_removals_and_the_choice_is_even() {
    let mut store = floodfills(60);
    for seed in (0..60).step_by(2) {
        store.remove(&info(&wish(seed)).hash());
    }
    assert_eq!((store.len(), store.floodfills()), (30, 30));
    let known: Vec<_> = store.iter().cloned().collect();
    assert!(known.iter().all(|info| store.get(&info.hash()) == Some(info)));
    let mut rng = Rng::from_seed([8; 32]);
    let mut counts = std::collections::BTreeMap::new();
    (0..30_000).for_each(|_| *counts.entry(store.random(&mut rng).unwrap().hash()).or_insert(0) += 1);
    assert_eq!(counts.len(), 30);
    assert!(counts.values().all(|n| (850..1150).contains(n)), "{counts:?}");
}

#[test]
fn the_closest_floodfills_are_the_closest() {
    let mut store = floodfills(200);
    add(&mut store, &Wish { caps: "XfR", version: "0.9.58", ..wish(900) }, Source::Unasked);
    add(&mut store, &wish(901), Source::Unasked);
    assert_eq!(store.floodfills(), 200, "neither too old a version nor one that is no floodfill");
    for byte in 0..20 {
        let key = Hash([byte * 13; 32]);
        let mut all: Vec<Hash> = store.floodfills.iter().copied().collect();
        all.sort_by_key(|hash| hash.distance(&key));
        assert_eq!(store.closest_floodfills(&key, 7, &[]), all[..7]);
        assert_eq!(store.closest_floodfills(&key, 3, &all[..2]), all[2..5]);
    }
    assert_eq!(store.closest_floodfills(&Hash([1; 32]), 999, &[]).len(), 200);
    assert!(store.closest_floodfills(&Hash([1; 32]), 0, &[]).is_empty());
}

/// Threats P-10: to a destination of ours our own router is a floodfill as any other, in its place among them, while it
/// is one.
#[test]
fn p10_our_own_router_takes_its_turn_for_destinations() {
    let mut store = floodfills(50);
    let own = store.own;
    for byte in 0..40 {
        let key = Hash([byte * 6; 32]);
        let others = store.closest_floodfills(&key, 50, &[]);
        assert_eq!(store.closest_to_destination(&key, 3, |_| true), others[..3]);
        store.set_own_serves(true);
        let mut all = [others.clone(), vec![own]].concat();
        all.sort_by_key(|hash| hash.distance(&key));
        for n in [0, 1, 3, 51] {
            assert_eq!(store.closest_to_destination(&key, n, |_| true), all[..n]);
        }
        assert_eq!(store.closest_to_destination(&key, 60, |hash| *hash != own), others);
        assert_eq!(store.closest_floodfills(&key, 3, &[]), others[..3], "for the router itself it is none");
        store.set_own_serves(false);
    }
}

/// A start with a full netDb would else write all of it, in one go.
#[test]
fn what_comes_from_the_disk_is_not_written_again() {
    let mut store = store(limits::ROUTERS);
    (0..5).for_each(|seed| assert_eq!(add(&mut store, &wish(seed), Source::Disk), None));
    assert_eq!((store.len(), store.take_dirty().len()), (5, 0));
    assert_eq!(add(&mut store, &wish(5), Source::Local), None);
    store.remove(&info(&wish(0)).hash());
    assert_eq!(store.take_dirty().len(), 2);
}

#[test]
fn old_ones_expire_but_never_the_last_few() {
    let routers = |n: u64| {
        let mut store = store(limits::ROUTERS);
        (0..n).for_each(|seed| assert_eq!(add(&mut store, &wish(seed), Source::Local), None));
        store
    };
    let mut store = routers(100);
    let later = |hours: u64| NOW.later(Duration::from_hours(hours));
    store.expire(NOW.later(Duration::from_mins(9)));
    assert_eq!(store.len(), 100, "young");
    store.expire(later(20));
    assert_eq!(store.len(), 100, "few");
    store.expire(later(30));
    assert_eq!(store.len(), 90, "the last few stay");
    let mut store = routers(400);
    store.expire(later(3));
    assert_eq!(store.len(), 400);
    store.expire(later(9));
    assert_eq!(store.len(), 90, "many live shorter");
    let mut changes = store.take_dirty();
    changes.retain(|change| matches!(change, Change::Remove(_)));
    assert_eq!(changes.len(), 310);
}

#[test]
fn floodfills_and_hidden_routers_live_an_hour_but_for_the_newest_floodfills() {
    let mut store = floodfills(60);
    for seed in 100..230 {
        add(&mut store, &Wish { host: "", ..wish(seed) }, Source::Local);
    }
    for seed in 300..330 {
        add(&mut store, &wish(seed), Source::Local);
    }
    let newer = Wish { published: NOW.unix_ms, caps: "XfR", ..wish(59) };
    add(&mut store, &newer, Source::Wanted);
    // All but one were published a minute ago.
    store.expire(NOW.later(Duration::from_mins(53)));
    assert_eq!((store.len(), store.floodfills()), (220, 60));
    store.expire(NOW.later(Duration::from_mins(58)));
    assert_eq!((store.len(), store.floodfills()), (90, 60), "hidden ones go");
    for seed in 400..450 {
        add(&mut store, &wish(seed), Source::Local);
    }
    store.expire(NOW.later(Duration::from_mins(62)));
    assert_eq!((store.len(), store.floodfills()), (130, KEPT_FLOODFILLS));
    assert!(store.get(&info(&newer).hash()).is_some(), "the oldest go first");
    assert!((300..330).all(|seed| store.get(&info(&wish(seed)).hash()).is_some()));
}

#[test]
fn our_disk_may_be_old() {
    let mut store = store(10);
    let days = 86_400_000;
    let old = Wish { published: NOW.unix_ms - 100 * days, ..wish(1) };
    assert_eq!(add(&mut store, &old, Source::Wanted), Some(Refusal::Expired));
    assert_eq!(add(&mut store, &old, Source::Local), None);
}

#[test]
fn what_was_verified_elsewhere_comes_in_at_once() {
    let mut store = store(10);
    let verified = Verified::new(info(&wish(1))).unwrap();
    assert_eq!(store.insert(NOW, verified.clone(), Source::Wanted), Ok(Offer::Stored));
    assert!(matches!(store.poll_event(), Some(Event::Stored(hash)) if hash == verified.info().hash()));
    assert_eq!(store.insert(NOW, verified, Source::Wanted), Ok(Offer::Known));
    let foreign = Verified::new(info(&Wish { net: "7", ..wish(2) })).unwrap();
    assert_eq!(store.insert(NOW, foreign, Source::Wanted), Err(Refusal::WrongNetwork));
}

/// Threats P-10: what we know by a session or for a destination is not told, until it is given to us for others; and
/// then as it was given.
#[test]
fn what_says_something_of_us_is_not_told() {
    let mut store = store(100);
    let (older, newer) = (wish(1), Wish { published: NOW.unix_ms, ..wish(1) });
    let hash = info(&older).hash();
    assert_eq!(add(&mut store, &newer, Source::Private), None);
    assert!(store.get(&hash).is_some() && !store.is_told(&hash));
    assert!(store.take_dirty().is_empty(), "the disk would forget why it is not told");
    assert!(store.some_told(10, &mut Rng::from_seed([1; 32])).is_empty());
    for bad in [Wish { net: "3", ..wish(1) }, Wish { published: NOW.unix_ms + 200_000, ..wish(1) }] {
        assert!(add(&mut store, &bad, Source::Published).is_some() && !store.is_told(&hash));
    }
    // An older one than we have, but it was given for others.
    assert_eq!(add(&mut store, &older, Source::Published), None);
    assert!(store.is_told(&hash) && store.get(&hash).unwrap().published() == older.published);
    assert_eq!((store.some_told(10, &mut Rng::from_seed([1; 32])).len(), store.take_dirty().len()), (1, 1));
    // Once told, it stays so.
    assert_eq!(add(&mut store, &newer, Source::Private), None);
    assert!(store.is_told(&hash) && store.get(&hash).unwrap().published() == newer.published);
    assert_eq!(store.offer(NOW, info(&older), Source::Published), Ok(Offer::Known));
    for (seed, source) in [Source::Wanted, Source::Unasked, Source::Local, Source::Published].into_iter().enumerate() {
        assert_eq!(add(&mut store, &wish(seed as u64 + 9), source), None);
        assert!(store.is_told(&info(&wish(seed as u64 + 9)).hash()), "{source:?}");
    }
    store.check_books();
}

/// Nobody flushes what we found ourselves by storing at us; among what is stored, the closest stay.
#[test]
fn what_is_stored_at_us_makes_room_among_its_like() {
    let mut store = store(30);
    let distance = |seed: u64| {
        let key = Day::of(NOW.unix_ms).routing_key(&info(&wish(seed)).hash());
        key.distance(&Hash([9; 32]))
    };
    (0..20).for_each(|seed| assert_eq!(add(&mut store, &wish(seed), Source::Wanted), None));
    let refused = (100..300).filter(|seed| add(&mut store, &wish(*seed), Source::Published).is_some()).count();
    assert!(refused > 100, "{refused}");
    assert!((0..20).all(|seed| store.get(&info(&wish(seed)).hash()).is_some()), "what we found ourselves stays");
    let mut order: Vec<u64> = (100..300).collect();
    order.sort_by_key(|seed| distance(*seed));
    let kept = |seed: &u64| store.get(&info(&wish(*seed)).hash()).is_some();
    assert!(order[..10].iter().all(kept) && !order[10..].iter().any(kept), "the closest ten");
    store.check_books();
    // What we look for ourselves then is no guest any more, and takes no room from others of its kind.
    let newer = Wish { published: NOW.unix_ms, ..wish(order[9]) };
    assert_eq!(add(&mut store, &newer, Source::Wanted), None);
    assert_eq!(store.guests.len(), 9);
    store.check_books();
    assert_eq!(add(&mut store, &wish(900), Source::Wanted), None, "what is wanted still makes room");
    assert_eq!(store.len(), 30);
    store.check_books();
}

/// The same at the bound of guests, while there is room for others.
#[test]
fn guests_have_a_bound_of_their_own() {
    let mut store = store(limits::ROUTERS);
    // Verification is not what is tested.
    let infos = (0..limits::GUESTS as u64 + 40).map(|seed| Verified(info(&wish(seed))));
    let refused = infos.filter(|info| store.insert(NOW, info.clone(), Source::Published).is_err()).count();
    assert!(refused < 40, "{refused}");
    assert_eq!((store.len(), store.guests.len()), (limits::GUESTS, limits::GUESTS));
    assert_eq!(add(&mut store, &wish(1 << 40), Source::Unasked), None, "others have room");
    store.check_books();
}

/// Routers that nobody answers for go, but never the last few, nor the floodfills that we would ask.
#[test]
fn the_dead_go_while_there_are_others() {
    let mut store = floodfills(KEPT_FLOODFILLS as u64 + 1);
    for n in 0..FEW_ROUTERS as u64 {
        add(&mut store, &wish(1_000 + n), Source::Unasked);
    }
    let all = store.closest_floodfills(&Hash([1; 32]), usize::MAX, &[]);
    all.iter().for_each(|hash| store.remove_dead(hash));
    assert_eq!(store.floodfills(), KEPT_FLOODFILLS);
    for n in 0..FEW_ROUTERS as u64 {
        store.remove_dead(&info(&wish(1_000 + n)).hash());
    }
    assert_eq!(store.len(), FEW_ROUTERS);
}

#[test]
fn only_the_same_bytes_are_not_verified_again() {
    let good = Verified::new(info(&wish(1))).unwrap();
    let known = |_: &RouterInfo| Some(good.clone());
    // A copy of what is known becomes what is known.
    let copy = Arc::new(RouterInfo::from_bytes(good.info().as_bytes()).unwrap());
    assert!(Arc::ptr_eq(Verified::new_knowing(copy, &known).unwrap().info(), good.info()));
    // One changed bit of the signature is another RouterInfo, though of the same router.
    let mut bytes = good.info().as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Arc::new(RouterInfo::from_bytes(&bytes).unwrap());
    assert_eq!(Verified::new_knowing(forged, &known).unwrap_err(), Refusal::BadSignature);
    let other = info(&wish(2));
    assert_eq!(Verified::new_knowing(Arc::clone(&other), &known).unwrap().info().hash(), other.hash());
}
