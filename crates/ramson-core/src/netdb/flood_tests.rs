use super::super::made::Made;
use super::super::store::testing::{NOW, Wish, floodfills, info, wish};
use super::super::store::{self, Refusal};
use super::*;
use proptest::prelude::*;
use ramson_wire::data::lease_set2::Flags;

const OWN: Hash = Hash([9; 32]);
const HOP: Hash = Hash([3; 32]);

/// A floodfill that knows others, with the clock, and what it has said.
struct Solo {
    floodfill: Floodfill,
    routers: RouterStore,
    now: Now,
    confirmed: Vec<u32>,
    flooded: Vec<(Hash, Vec<Hash>)>,
}

fn reply(token: u32) -> Option<StoreReply> {
    Some(StoreReply { token, tunnel: 8, gateway: Hash([7; 32]) })
}

fn lease_set(made: Made) -> Entry {
    Entry::LeaseSet(made.sign())
}

fn published(seed: u64) -> Wish {
    Wish { published: NOW.unix_ms, ..wish(seed) }
}

impl Solo {
    fn new() -> Self {
        let (confirmed, flooded) = (Vec::new(), Vec::new());
        Self { floodfill: Floodfill::new(OWN, NOW), routers: floodfills(20), now: NOW, confirmed, flooded }
    }

    fn store(&mut self, entry: Entry, reply: Option<StoreReply>) {
        self.store_by(HOP, entry, reply);
    }

    fn store_by(&mut self, hop: Hash, entry: Entry, reply: Option<StoreReply>) {
        self.floodfill.handle_store(self.now, hop, DatabaseStore::new(entry, reply), &mut self.routers);
        self.drain();
    }

    fn drain(&mut self) {
        let now = self.now;
        loop {
            if let Some(event) = self.routers.poll_event() {
                match event {
                    store::Event::Job(job) => self.routers.handle_job(now, job.run()),
                    store::Event::Stored(hash) => self.floodfill.handle_stored(now, &hash, &self.routers),
                    store::Event::Refused(hash, _) => self.floodfill.handle_refused(&hash),
                }
            } else if let Some(event) = self.floodfill.poll_event() {
                match event {
                    Event::Job(job) => self.floodfill.handle_job(now, job.run(), &self.routers),
                    Event::Confirm(reply) => self.confirmed.push(reply.token),
                    Event::Flood { entry, to } => self.flooded.push((entry.key(), to)),
                }
            } else {
                return self.floodfill.check_books();
            }
        }
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.later(by);
        self.floodfill.expire(self.now);
        self.drain();
    }
}

#[test]
fn what_is_new_is_kept_confirmed_and_passed_on_once() {
    let mut solo = Solo::new();
    let entries = [1, 3, 5, 7].map(|kind| lease_set(Made::new(kind, 50, NOW.unix_secs())));
    // The first kind and the second are of one destination; the second replaces it.
    for (n, entry) in entries.into_iter().chain([Entry::RouterInfo(info(&published(60)))]).enumerate() {
        let (n, key) = (n as u32 + 1, entry.key());
        solo.store(entry.clone(), reply(n));
        let is_older_meta = n == 4; // of the same second as the LeaseSet2 of its destination
        assert_eq!(solo.confirmed.last(), Some(&n));
        let today = Day::of(NOW.unix_ms).routing_key(&key);
        let closest = solo.routers.closest_floodfills(&today, 3, &[]);
        let expected = if is_older_meta { None } else { Some((key, closest)) };
        assert_eq!(solo.flooded.pop(), expected);
        // Again: confirmed, since it is here; not passed on.
        solo.store(entry, reply(n + 100));
        assert_eq!((solo.confirmed.last(), solo.flooded.len()), (Some(&(n + 100)), 0));
    }
    assert_eq!((solo.floodfill.lease_sets().len(), solo.routers.len()), (2, 21));
    let stats = solo.floodfill.stats();
    assert_eq!((stats.stored, stats.flooded, stats.confirmed, stats.refused), (4, 4, 10, 0));
}

/// The RouterInfo of the handshake comes before the store of the same: it is passed on all the same, and once.
#[test]
fn what_we_have_by_another_way_is_passed_on_once() {
    for source in [Source::Private, Source::Wanted, Source::Local, Source::Unasked] {
        let mut solo = Solo::new();
        let verified = store::Verified::new(info(&published(60))).unwrap();
        solo.routers.insert(NOW, verified, source).unwrap();
        solo.drain();
        // Another of the same date is not kept in its place (threats T15).
        let twin = info(&Wish { caps: "KU", ..published(60) });
        (1..=3).for_each(|token| solo.store(Entry::RouterInfo(info(&published(60))), reply(token)));
        solo.store(Entry::RouterInfo(twin), reply(4));
        assert_eq!((solo.confirmed.as_slice(), solo.flooded.len()), (&[1, 2, 3, 4][..], 1), "{source:?}");
        let known = solo.routers.get(&info(&published(60)).hash()).unwrap();
        assert_eq!(known.as_bytes(), info(&published(60)).as_bytes());
        // And one that comes first as a store is not what is asked as a floodfill, if it is not what is kept.
        let mut solo = Solo::new();
        let verified = store::Verified::new(info(&published(60))).unwrap();
        solo.routers.insert(NOW, verified, source).unwrap();
        let twin = info(&Wish { caps: "XfR", ..published(60) });
        solo.store(Entry::RouterInfo(Arc::clone(&twin)), reply(5));
        let kept = solo.routers.get(&twin.hash()).unwrap();
        assert_eq!(solo.routers.is_floodfill(&twin.hash()), kept.is_floodfill(), "{source:?}");
        solo.routers.check_books();
    }
}

/// What other floodfills pass on asks for no confirmation, and stays here.
#[test]
fn what_was_passed_on_stays_here() {
    let mut solo = Solo::new();
    for entry in [lease_set(Made::new(3, 50, NOW.unix_secs())), Entry::RouterInfo(info(&published(60)))] {
        solo.store(entry, None);
    }
    assert!(solo.confirmed.is_empty() && solo.flooded.is_empty());
    assert_eq!((solo.floodfill.lease_sets().len(), solo.routers.len()), (1, 21));
}

/// P-9 of the threats, T6, T8, T20: what does not verify or breaks a rule is not kept, confirmed or passed on.
#[test]
fn what_is_bad_has_no_effect() {
    let mut solo = Solo::new();
    let mut bad = Vec::new();
    for kind in [1, 3, 5, 7] {
        let good = Made::new(kind, 50, NOW.unix_secs()).sign();
        for at in [good.as_bytes().len() - 1, good.as_bytes().len() - 70] {
            let mut raw = good.as_bytes().to_vec();
            raw[at] ^= 1;
            bad.extend(AnyLeaseSet::decode(kind, &raw).map(Arc::new).map(Entry::LeaseSet));
        }
        bad.push(lease_set(Made::new(kind, 50, NOW.unix_secs() - 1_000)));
        bad.push(lease_set(Made { life: 900, ..Made::new(kind, 50, NOW.unix_secs() + 500) }));
    }
    bad.push(lease_set(Made { flags: Flags::UNPUBLISHED, ..Made::new(3, 50, NOW.unix_secs()) }));
    for wish in [
        Wish { net: "3", ..published(60) },
        Wish { version: "", ..published(60) },
        Wish { addresses: 0, ..published(60) },
        Wish { published: NOW.unix_ms + 200_000, ..published(60) },
        Wish { published: 5, ..published(60) },
    ] {
        bad.push(Entry::RouterInfo(info(&wish)));
    }
    let mut raw = info(&published(60)).as_bytes().to_vec();
    *raw.last_mut().unwrap() ^= 1;
    bad.extend(ramson_wire::codec::Decode::from_bytes(&raw).map(Arc::new).map(Entry::RouterInfo));
    let (count, known) = (bad.len() as u64, solo.routers.len());
    assert!(count > 18, "{count}");
    for entry in bad {
        solo.store(entry, reply(1));
    }
    assert!(solo.confirmed.is_empty() && solo.flooded.is_empty() && solo.floodfill.lease_sets().is_empty());
    assert_eq!((solo.routers.len(), solo.floodfill.stats().refused), (known, count));
}

/// A RouterInfo of more than an hour is kept, and not passed on; a LeaseSet never outlives itself.
#[test]
fn old_router_infos_are_not_passed_on() {
    let mut solo = Solo::new();
    let old = Wish { published: NOW.unix_ms - 3_600_001, ..wish(60) };
    solo.store(Entry::RouterInfo(info(&old)), reply(1));
    assert!(solo.confirmed == [1] && solo.flooded.is_empty() && solo.routers.len() == 21);
}

/// P-6 of the threats: near midnight the floodfills of the next day have what is stored.
#[test]
fn before_midnight_the_next_day_is_served_too() {
    let day_ms = 24 * 60 * 60_000;
    let midnight = NOW.unix_ms - NOW.unix_ms % day_ms + day_ms;
    for (before_ms, lease_sets, router_infos) in
        [(46 * 60_000, false, false), (44 * 60_000, false, true), (11 * 60_000, false, true), (9 * 60_000, true, true)]
    {
        let mut solo = Solo::new();
        solo.now.unix_ms = midnight - before_ms;
        let info = info(&Wish { published: solo.now.unix_ms, ..wish(60) });
        for (entry, next) in
            [(lease_set(Made::new(3, 50, solo.now.unix_secs())), lease_sets), (Entry::RouterInfo(info), router_infos)]
        {
            let key = entry.key();
            let of = |unix_ms: u64, n| solo.routers.closest_floodfills(&Day::of(unix_ms).routing_key(&key), n, &[]);
            let mut expected = of(midnight - 1, 3);
            if next {
                let tomorrow: Vec<Hash> = of(midnight, 2).into_iter().filter(|hash| !expected.contains(hash)).collect();
                expected.extend(tomorrow);
            }
            solo.store(entry, reply(1));
            assert_eq!(solo.flooded.pop(), Some((key, expected)), "{before_ms}");
        }
    }
}

/// Our own RouterInfo, and what a floodfill sends of itself: nothing is passed back, and none to us.
#[test]
fn nothing_is_passed_on_to_whose_it_is() {
    let mut solo = Solo::new();
    let floodfill = Wish { caps: "XfR", ..published(5) };
    let hash = info(&floodfill).hash();
    solo.store_by(hash, Entry::RouterInfo(info(&floodfill)), reply(1));
    let (key, to) = solo.flooded.pop().unwrap();
    assert!(key == hash && to.len() == 3 && !to.contains(&hash) && !to.contains(&OWN));
    solo.routers = RouterStore::new(hash, 2, 10, crate::rng::Rng::from_seed([1; 32]), NOW);
    solo.store_by(hash, Entry::RouterInfo(info(&floodfill)), reply(2));
    assert!(solo.confirmed == [1] && solo.routers.is_empty(), "our own is not stored at us");
}

/// Threats P-4, T31: one that sends too much loses what it sends, for as long as it does; another loses nothing.
#[test]
fn stores_of_one_hop_leave_room_for_others() {
    let mut solo = Solo::new();
    let (rate, burst) = limits::STORES_PER_PEER;
    let other = Hash([4; 32]);
    let entry = |seed: u64| lease_set(Made::new(3, seed, NOW.unix_secs()));
    (0..u64::from(burst) + 100).for_each(|seed| solo.store(entry(1_000 + seed), reply(9)));
    assert_eq!((solo.confirmed.len(), solo.floodfill.stats().dropped), (burst as usize, 100));
    solo.store_by(other, entry(1), reply(1));
    assert_eq!(solo.confirmed.last(), Some(&1), "another is served");
    solo.pass(Duration::from_secs(1));
    (0..100).for_each(|seed| solo.store(entry(5_000 + seed), reply(9)));
    assert_eq!(solo.confirmed.len(), burst as usize + 1 + rate as usize, "and the first again");
    // A thousand hops together.
    let before = solo.confirmed.len();
    for hop in 0..3_000u32 {
        solo.store_by(Hash::of(&hop.to_be_bytes()), entry(1), reply(9));
    }
    assert!(solo.confirmed.len() - before <= limits::STORES.1 as usize);
    for hop in 0..6_000u32 {
        solo.pass(Duration::from_millis(10));
        solo.store_by(Hash::of(&hop.to_be_bytes()), entry(1), None);
    }
    assert!(solo.floodfill.per_peer.len() <= limits::STORE_PEERS);
}

#[test]
fn verifications_and_what_waits_for_them_are_bounded() {
    let mut solo = Solo::new();
    let hop = |n: u64| Hash::of(&(n / 100).to_be_bytes());
    let most = limits::VERIFYING_LEASE_SETS as u64;
    for seed in 0..most + 50 {
        let store = DatabaseStore::new(lease_set(Made::new(3, seed, NOW.unix_secs())), reply(1));
        solo.floodfill.handle_store(NOW, hop(seed), store, &mut solo.routers);
    }
    assert_eq!((solo.floodfill.jobs, solo.floodfill.stats().dropped), (limits::VERIFYING_LEASE_SETS, 50));
    solo.drain();
    assert_eq!((solo.floodfill.jobs, solo.floodfill.lease_sets().len()), (0, limits::VERIFYING_LEASE_SETS));
    // One RouterInfo, many times before it is verified.
    solo.confirmed.clear();
    for token in 1..=20 {
        let store = DatabaseStore::new(Entry::RouterInfo(info(&published(60))), reply(token));
        solo.floodfill.handle_store(NOW, hop(9_000), store, &mut solo.routers);
    }
    solo.floodfill.check_books();
    solo.drain();
    assert_eq!(solo.confirmed.len(), limits::SAME_STORES);
    // A job that is lost is not waited for.
    let store = DatabaseStore::new(Entry::RouterInfo(info(&published(61))), reply(77));
    solo.floodfill.handle_store(NOW, hop(9_900), store, &mut solo.routers);
    assert_eq!(solo.floodfill.waiting.len(), 1);
    solo.now = solo.now.later(PATIENCE);
    solo.floodfill.expire(solo.now);
    assert!(solo.floodfill.waiting.is_empty());
}

/// Threats P-10: what a session or a destination has brought is as unknown to those who store; and none is passed on
/// to a floodfill that only our destinations know.
#[test]
fn what_only_we_know_shows_in_no_store() {
    let [known, unknown] = [true, false].map(|private| {
        let mut solo = Solo::new();
        if private {
            let verified = |wish: &Wish| store::Verified::new(info(wish)).unwrap();
            solo.routers.insert(NOW, verified(&published(60)), Source::Private).unwrap();
            for seed in 100..140 {
                let wish = Wish { caps: "XfR", ..wish(seed) };
                solo.routers.insert(NOW, verified(&wish), Source::Private).unwrap();
            }
            solo.drain();
        }
        // The same, an older one that is given for others, one of a floodfill, and LeaseSets.
        let older = Wish { published: NOW.unix_ms - 5_000, ..wish(60) };
        for (token, wish) in [older, published(60), published(60), Wish { caps: "XfR", ..wish(120) }].iter().enumerate()
        {
            solo.store(Entry::RouterInfo(info(wish)), reply(token as u32 + 1));
        }
        for seed in 0..30 {
            solo.store(lease_set(Made::new(3, seed, NOW.unix_secs())), reply(50));
        }
        (solo.confirmed, solo.flooded, solo.floodfill.stats)
    });
    assert_eq!(known, unknown);
    assert!(known.1.len() == 33, "{}", known.1.len());
}

/// While one RouterInfo is verified for a destination, the same is stored for others: it is verified for them too.
#[test]
fn a_store_is_not_lost_in_a_private_verification() {
    let mut solo = Solo::new();
    assert_eq!(solo.routers.offer(NOW, info(&published(60)), Source::Private), Ok(Offer::Verifying));
    solo.store(Entry::RouterInfo(info(&published(60))), reply(1));
    assert_eq!((solo.confirmed.len(), solo.flooded.len()), (1, 1));
    assert_eq!(
        solo.routers.offer(NOW, info(&Wish { net: "3", ..wish(1) }), Source::Published),
        Err(Refusal::WrongNetwork)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever comes in whatever order: only what is new is passed on, to three to five who are not whose it is.
    #[test]
    fn any_stores_keep_the_rules(
        steps in prop::collection::vec((prop::sample::select(vec![0u8, 1, 3, 5, 7]), 0u64..5, 0u32..900, any::<bool>(), 0u64..90_000), 1..30),
    ) {
        let mut solo = Solo::new();
        for (kind, seed, ago, asks, pass) in steps {
            solo.pass(Duration::from_millis(pass));
            let entry = match kind {
                0 => {
                    let published = solo.now.unix_ms - u64::from(ago) * 7_000;
                    Entry::RouterInfo(info(&Wish { published, caps: if seed == 1 { "XfR" } else { "LR" }, ..wish(seed) }))
                }
                _ => lease_set(Made::new(kind, seed, solo.now.unix_secs() - ago)),
            };
            let (before, stats) = ((solo.confirmed.len(), solo.flooded.len()), solo.floodfill.stats());
            solo.store(entry.clone(), reply(5).filter(|_| asks));
            let now = solo.floodfill.stats();
            let new = now.stored - stats.stored;
            prop_assert!(new + now.refused - stats.refused <= 1);
            prop_assert!(solo.confirmed.len() - before.0 == usize::from(asks && now.refused == stats.refused));
            prop_assert!(solo.flooded.len() - before.1 <= usize::from(asks && new == 1));
            for (key, to) in &solo.flooded {
                prop_assert!((3..=5).contains(&to.len()) && !to.contains(key) && !to.contains(&OWN));
            }
        }
    }
}
