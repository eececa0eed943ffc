use super::super::made::Made;
use super::super::routing_key::Day;
use super::super::store::testing::NOW;
use super::*;
use proptest::prelude::*;
use ramson_wire::data::lease_set2::Flags;

const OWN: Hash = Hash([9; 32]);

fn secs() -> u32 {
    NOW.unix_secs()
}

fn small(most: usize) -> LeaseSets {
    LeaseSets::bounded(OWN, NOW, most, 1 << 20)
}

#[test]
fn every_kind_is_kept_until_it_ends() {
    for kind in [1, 3, 5, 7] {
        let (mut sets, set) = (small(10), Made::new(kind, 1, secs()).sign());
        set.verify().unwrap();
        assert_eq!(sets.insert(NOW, Arc::clone(&set)), Ok(true));
        assert_eq!(sets.insert(NOW, Arc::clone(&set)), Ok(false), "the same again");
        assert_eq!(sets.get(NOW, &set.key()).unwrap().as_bytes(), set.as_bytes());
        let later = NOW.later(Duration::from_secs(600));
        assert!(sets.get(later, &set.key()).is_none() && sets.len() == 1, "type {kind} has ended");
        assert_eq!(sets.check(later, &set), Err(Refusal::Ended));
        sets.expire(later);
        assert!(sets.is_empty());
        sets.check_books();
    }
}

/// Threats T19, T20, T21, T24: what breaks a rule changes nothing.
#[test]
fn t20_t21_floodfills_keep_nothing_out_of_time() {
    let mut sets = small(10);
    for (made, refusal) in [
        (Made::new(3, 1, secs() + 121), Refusal::Future),
        (Made::new(5, 1, secs() + 121), Refusal::Future),
        (Made::new(7, 1, secs() + 121), Refusal::Future),
        (Made { life: 1_000, ..Made::new(3, 1, secs()) }, Refusal::Future),
        (Made { life: 1_000, ..Made::new(5, 1, secs()) }, Refusal::Future),
        (Made { life: 1_000, ..Made::new(1, 1, secs()) }, Refusal::Future),
        (Made { life: u16::MAX, ..Made::new(3, 1, u32::MAX - 5) }, Refusal::Future),
        (Made::new(3, 1, secs() - 600), Refusal::Ended),
        (Made::new(1, 1, secs() - 600), Refusal::Ended),
        (Made::new(7, 1, 0), Refusal::Ended),
        (Made { flags: Flags::UNPUBLISHED, ..Made::new(3, 1, secs()) }, Refusal::Unpublished),
        (Made { flags: Flags::UNPUBLISHED, ..Made::new(5, 1, secs()) }, Refusal::Unpublished),
        (Made { flags: Flags::UNPUBLISHED, ..Made::new(7, 1, secs()) }, Refusal::Unpublished),
    ] {
        assert_eq!(sets.insert(NOW, made.sign()), Err(refusal), "{made:?}");
    }
    assert!(sets.is_empty() && sets.bytes == 0);
    // 18 hours are right for a meta LeaseSet, and unknown flags for any.
    let meta = Made { life: u16::MAX, ..Made::new(7, 2, secs()) }.sign();
    assert_eq!(sets.insert(NOW, meta), Ok(true));
    let flags = Made { flags: Flags(0xfff8), ..Made::new(3, 3, secs()) }.sign();
    assert_eq!(sets.insert(NOW, flags), Ok(true));
    sets.check_books();
}

#[test]
fn the_newer_one_stays_and_the_first_kind_never_replaces_others() {
    let mut sets = small(10);
    let key = Made::new(3, 1, secs()).sign().key();
    let version = |sets: &LeaseSets| sets.get(NOW, &key).map(|set| (set.kind(), set.version() / 1000));
    let now = u64::from(secs());
    for (made, new, expected) in [
        (Made::new(1, 1, secs()), true, (1, now + 600)),
        (Made::new(1, 1, secs() - 5), false, (1, now + 600)),
        (Made::new(3, 1, secs() - 9), true, (3, now - 9)),
        (Made::new(1, 1, secs() + 9), false, (3, now - 9)),
        (Made::new(3, 1, secs() - 9), false, (3, now - 9)),
        (Made { life: 500, ..Made::new(3, 1, secs() - 9) }, false, (3, now - 9)),
        (Made::new(3, 1, secs() - 8), true, (3, now - 8)),
        (Made::new(7, 1, secs() - 7), true, (7, now - 7)),
    ] {
        assert_eq!(sets.insert(NOW, made.sign()), Ok(new), "{made:?}");
        assert_eq!(version(&sets), Some(expected));
        sets.check_books();
    }
    assert_eq!(sets.len(), 1);
}

/// In number and in bytes the farthest from us make room, and what is farther does not come in.
#[test]
fn a_full_floodfill_keeps_the_closest() {
    let far = |seed: u64| {
        let key = Made::new(3, seed, secs()).sign().key();
        Day::of(NOW.unix_ms).routing_key(&key).distance(&OWN)
    };
    let mut order: Vec<u64> = (0..60).collect();
    order.sort_by_key(|seed| far(*seed));
    let one = cost(&Made::new(3, 0, secs()).sign());
    for mut sets in [small(10), LeaseSets::bounded(OWN, NOW, 1_000, 10 * one + one / 2)] {
        let mut refused = 0;
        for seed in 0..60 {
            match sets.insert(NOW, Made::new(3, seed, secs()).sign()) {
                Ok(new) => assert!(new),
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Full);
                    refused += 1;
                }
            }
            sets.check_books();
        }
        let kept = |seed: &u64| sets.get(NOW, &Made::new(3, *seed, secs()).sign().key()).is_some();
        assert!(order[..10].iter().all(kept) && !order[10..].iter().any(kept) && refused > 20, "{refused}");
    }
    // The bounds as they are.
    assert!(LeaseSets::new(OWN, NOW).most == limits::LEASE_SETS && limits::LEASE_SET_BYTES >= one * 5_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Against a model without bounds, in a store with room for all: what is kept is the newest of each key.
    #[test]
    fn keeps_the_newest_of_each_key(
        steps in prop::collection::vec((prop::sample::select(vec![3u8, 5, 7]), 0u64..4, 0u32..400, 0u64..40), 1..30),
    ) {
        let (mut sets, mut now) = (small(100), NOW);
        let mut model: BTreeMap<Hash, Arc<AnyLeaseSet>> = BTreeMap::new();
        for (kind, seed, ago, pass) in steps {
            now = now.later(Duration::from_secs(pass));
            let set = Made::new(kind, seed, now.unix_secs() - ago).sign();
            let newer = model.get(&set.key()).is_none_or(|old| old.end() <= now.unix_ms || set.version() > old.version());
            prop_assert_eq!(sets.insert(now, Arc::clone(&set)), Ok(newer));
            if newer {
                model.insert(set.key(), set);
            }
            sets.expire(now);
            sets.check_books();
            for (key, set) in &model {
                let good = set.end() > now.unix_ms;
                prop_assert_eq!(sets.get(now, key).map(|set| set.version()), good.then(|| set.version()));
            }
        }
    }
}
