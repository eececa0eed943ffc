use super::*;
use crate::limits::peers as limits;
use crate::time::Duration;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::RouterInfo;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Mapping, RouterAddress, RouterIdentity, base64};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const START: u64 = 1_790_000_000_000;

fn router(n: u16, caps: &str, version: &str, host: Option<&str>, family: Option<&str>) -> Arc<RouterInfo> {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&n.to_be_bytes());
    let mut rng = Rng::from_seed(seed);
    let (secret, signing) = (SecretKey::random(&mut rng), SigningKey::random(&mut rng));
    let identity = RouterIdentity::new(secret.public_key(), *signing.public(), &mut rng);
    let (s, i) = (base64::encode(&secret.public_key().0), base64::encode(&[1; 16]));
    let pairs = match host {
        Some(host) => vec![("host", host), ("i", &i), ("port", "9000"), ("s", &s), ("v", "2")],
        None => vec![("caps", "4"), ("s", &s), ("v", "2")],
    };
    let address = RouterAddress::new(3, "NTCP2", Mapping::from_pairs(pairs).unwrap()).unwrap();
    let mut options = vec![("caps", caps), ("netId", "99"), ("router.version", version)];
    if let Some(family) = family {
        options.push(("family", family));
    }
    let options = Mapping::from_pairs(options).unwrap();
    Arc::new(Unsigned { identity, published: START, addresses: vec![address], options }.sign(&signing).unwrap())
}

fn network(n: u16) -> Vec<Arc<RouterInfo>> {
    (0..n).map(|i| router(i, "PR", "0.9.65", Some(&format!("{}.{}.0.1", 20 + i / 200, i % 200)), None)).collect()
}

fn known(routers: &[Arc<RouterInfo>]) -> Candidates {
    let mut all = Candidates::new(&mut Rng::from_seed([5; 32]));
    routers.iter().for_each(|info| all.insert(info));
    all
}

fn terms<'a>(inbound: bool, order: u64, exclude: &'a [Hash], connected: &'a dyn Fn(&Hash) -> bool) -> Terms<'a> {
    Terms {
        now: Now::new(crate::time::Instant::ZERO, START + 60_000),
        own: SelfView { hash: Hash([9; 32]), reach: Reach::new(Reach::NTCP2_V4, Reach::NTCP2_V4) },
        inbound,
        length: 3,
        order: (order, 1),
        allow_same_subnet: false,
        endpoint_dials: None,
        endpoint_dials_us: false,
        exclude,
        nearest: None,
        aside: &[],
        exploratory: false,
        connected,
        sessions: &Vec::new,
        at_home: &Vec::new,
        unreachable: &|_| false,
    }
}

fn nobody(_: &Hash) -> bool {
    false
}

#[test]
fn every_router_is_chosen_equally_often() {
    let routers = network(50);
    let (mut rng, profiles) = (Rng::from_seed([1; 32]), Profiles::default());
    let mut counts: BTreeMap<Hash, u32> = BTreeMap::new();
    let rounds = 20_000u32;
    for round in 0..rounds {
        let terms = terms(round % 2 == 0, u64::from(round), &[], &nobody);
        for hop in select(&terms, &known(&routers), &profiles, &mut rng).unwrap() {
            *counts.entry(hop.hash).or_default() += 1;
        }
    }
    let mean = f64::from(rounds) * 3.0 / 50.0;
    let worst = counts.values().map(|n| (f64::from(*n) / mean - 1.0).abs()).fold(0.0, f64::max);
    assert!(counts.len() == 50 && worst < 0.12, "worst deviation {worst}");
}

/// Threats P-18 and P-19: the order is the pool's secret; it never flips within a pool, and over pools two given
/// routers stand at opposite ends one time in three.
#[test]
fn p18_p19_order_is_secret_and_strict() {
    let routers = network(3);
    let (mut rng, profiles) = (Rng::from_seed([2; 32]), Profiles::default());
    let mut opposite = 0;
    for pool in 0..6_000u64 {
        let outbound = select(&terms(false, pool, &[], &nobody), &known(&routers), &profiles, &mut rng).unwrap();
        if pool % 10 == 0 {
            let again = select(&terms(false, pool, &[], &nobody), &known(&routers), &profiles, &mut rng).unwrap();
            assert_eq!(outbound, again);
            let mut inbound = select(&terms(true, pool, &[], &nobody), &known(&routers), &profiles, &mut rng).unwrap();
            inbound.reverse();
            assert_eq!(outbound, inbound, "the same router is nearest in both directions");
        }
        let place = |i: usize| outbound.iter().position(|h| h.hash == routers[i].hash()).unwrap();
        opposite += u32::from(place(0).abs_diff(place(1)) == 2);
    }
    assert!((1_850..2_150).contains(&opposite), "{opposite} of 6000");
}

#[test]
fn forbidden_routers_are_never_chosen() {
    let mut routers = network(4);
    let bad = [
        router(900, "PRG", "0.9.65", Some("60.1.0.1"), None),
        router(901, "PRH", "0.9.65", Some("60.2.0.1"), None),
        router(902, "PU", "0.9.65", None, None),
        router(903, "KR", "0.9.65", Some("60.3.0.1"), None),
        router(904, "PR", "0.9.58", Some("60.4.0.1"), None),
        router(905, "PRE", "0.9.65", Some("60.5.0.1"), None),
    ];
    routers.extend(bad.iter().cloned());
    let (mut rng, profiles) = (Rng::from_seed([3; 32]), Profiles::default());
    for round in 0..500 {
        let hops = select(&terms(false, round, &[], &nobody), &known(&routers), &profiles, &mut rng).unwrap();
        assert!(hops.iter().all(|h| bad.iter().all(|b| b.hash() != h.hash)));
    }
}

#[test]
fn subnets_and_families_do_not_meet_unless_allowed() {
    let mut routers: Vec<_> = (0..5).map(|i| router(i, "PR", "0.9.65", Some(&format!("30.1.{i}.1")), None)).collect();
    routers.extend((5..10).map(|i| router(i, "PR", "0.9.65", Some(&format!("40.{i}.0.1")), Some("clan"))));
    routers.push(router(10, "PR", "0.9.65", Some("50.1.0.1"), None));
    let (mut rng, profiles) = (Rng::from_seed([4; 32]), Profiles::default());
    for round in 0..200 {
        let hops = select(&terms(true, round, &[], &nobody), &known(&routers), &profiles, &mut rng).unwrap();
        let kinds: BTreeSet<usize> = hops
            .iter()
            .map(|h| match routers.iter().position(|r| r.hash() == h.hash).unwrap() {
                0..5 => 0,
                5..10 => 1,
                _ => 2,
            })
            .collect();
        assert_eq!(kinds.len(), 3);
    }
    routers.pop();
    assert!(select(&terms(true, 1, &[], &nobody), &known(&routers), &profiles, &mut rng).is_none());
    let allowed = Terms { allow_same_subnet: true, ..terms(true, 1, &[], &nobody) };
    assert!(select(&allowed, &known(&routers), &profiles, &mut rng).is_some());
}

#[test]
fn doubtful_routers_come_only_when_needed() {
    let routers = network(6);
    let (mut rng, mut profiles) = (Rng::from_seed([5; 32]), Profiles::default());
    let now = terms(false, 0, &[], &nobody).now;
    routers[..3].iter().for_each(|r| profiles.note_declined(now, &r.hash()));
    for round in 0..200 {
        let hops = select(&terms(false, round, &[], &nobody), &known(&routers), &profiles, &mut rng).unwrap();
        assert!(hops.iter().all(|h| routers[3..].iter().any(|r| r.hash() == h.hash)));
    }
    profiles.note_declined(now, &routers[3].hash());
    assert!(select(&terms(false, 1, &[], &nobody), &known(&routers), &profiles, &mut rng).is_some());
}

#[test]
fn unpublished_we_are_reached_through_a_session() {
    let routers = network(40);
    let friend = routers[17].hash();
    let connected = |hash: &Hash| *hash == friend;
    let (mut rng, profiles) = (Rng::from_seed([6; 32]), Profiles::default());
    let mut found = 0;
    for round in 0..100 {
        let hidden = SelfView { hash: Hash([9; 32]), reach: Reach::new(0, Reach::NTCP2_V4) };
        let inbound = Terms { own: hidden, ..terms(true, round, &[], &connected) };
        let inbound = Terms { sessions: &|| vec![friend], ..inbound };
        let outbound = Terms {
            sessions: &|| vec![friend],
            own: hidden,
            endpoint_dials_us: true,
            ..terms(false, round, &[], &connected)
        };
        for terms in [inbound, outbound] {
            if let Some(hops) = select(&terms, &known(&routers), &profiles, &mut rng) {
                assert_eq!(hops.last().unwrap().hash, friend);
                found += 1;
            }
        }
    }
    assert!(found > 180, "{found}");
}

/// A router that cannot dial IPv4 is never before one that has nothing else.
#[test]
fn each_hop_can_dial_the_next() {
    let mut routers = network(3);
    routers.push(router(50, "PR", "0.9.65", Some("2a00:1::1"), None));
    let (mut rng, profiles) = (Rng::from_seed([8; 32]), Profiles::default());
    for round in 0..300 {
        let terms = terms(false, round, &[], &nobody);
        let hops = select(&terms, &known(&routers), &profiles, &mut rng).unwrap();
        assert!(hops.iter().all(|h| h.hash != routers[3].hash()));
    }
    let later = Terms { now: Now::default().later(Duration::from_secs(1)), ..terms(false, 0, &[], &nobody) };
    assert!(select(&later, &known(&routers[..2]), &profiles, &mut rng).is_none(), "too few routers");
}

#[test]
fn addresses_beyond_the_bound_are_not_looked_at() {
    use ramson_wire::data::RouterAddress;
    let signing = SigningKey::from_seed([3; 32]);
    let mut rng = Rng::from_seed([3; 32]);
    let secret = SecretKey::random(&mut rng);
    let identity = RouterIdentity::new(secret.public_key(), *signing.public(), &mut rng);
    let address = |n: usize| {
        let host = format!("{}.1.0.1", 20 + n);
        let pairs = vec![("host", host.as_str()), ("port", "9000"), ("v", "2")];
        RouterAddress::new(3, "NTCP2", Mapping::from_pairs(pairs).unwrap()).unwrap()
    };
    let options = vec![("caps", "PR"), ("netId", "99"), ("router.version", "0.9.65")];
    let addresses = (0..2 * limits::SUBNETS).map(address).collect();
    let options = Mapping::from_pairs(options).unwrap();
    let many = Unsigned { identity, published: START, addresses, options }.sign(&signing).unwrap();
    let many = Candidate::of(&many).unwrap();
    let of = |n: usize| Candidate::of(&router(1, "PR", "0.9.65", Some(&format!("{}.1.9.9", 20 + n)), None)).unwrap();
    assert!(many.is_related(&of(limits::SUBNETS - 1)));
    assert!(!many.is_related(&of(limits::SUBNETS)));
}

/// What a router says of itself may change; what is gone is not drawn.
#[test]
fn candidates_follow_what_routers_say() {
    let mut all = known(&network(9));
    let hashes: Vec<Hash> = network(9).iter().map(|info| info.hash()).collect();
    all.insert(&router(3, "PRG", "0.9.65", Some("20.3.0.1"), None));
    all.remove(&hashes[0]);
    all.remove(&hashes[0]);
    assert_eq!((all.len(), all.get(&hashes[3]).is_none(), all.get(&hashes[8]).is_some()), (7, true, true));
    all.insert(&router(3, "PR", "0.9.65", Some("20.3.0.1"), None));
    let mut rng = Rng::from_seed([1; 32]);
    let drawn: BTreeSet<Hash> = (0..500).map(|_| all.random(&mut rng).unwrap().hash).collect();
    assert_eq!(drawn, hashes[1..].iter().copied().collect());
}

/// Threats 4.2: the hop next to us is the one that was asked for, in both directions; the others keep their order.
#[test]
fn the_nearest_is_the_one_that_was_asked_for() {
    let routers = network(30);
    let (all, profiles, mut rng) = (known(&routers), Profiles::default(), Rng::from_seed([9; 32]));
    let aside = [routers[1].hash(), routers[2].hash()];
    for round in 0..300 {
        let nearest = Some(routers[round % 3].hash());
        let outbound = Terms { nearest, aside: &aside, ..terms(false, 7, &[], &nobody) };
        let inbound = Terms { inbound: true, ..outbound };
        let hops = select(&outbound, &all, &profiles, &mut rng).unwrap();
        assert_eq!(Some(hops[0].hash), nearest);
        assert!(order_key((7, 1), &hops[1].hash) < order_key((7, 1), &hops[2].hash));
        assert!(hops[1..].iter().all(|hop| !aside.contains(&hop.hash)));
        let hops = select(&inbound, &all, &profiles, &mut rng).unwrap();
        assert_eq!(Some(hops[2].hash), nearest);
    }
    let gone = Terms { nearest: Some(Hash([1; 32])), ..terms(false, 7, &[], &nobody) };
    assert!(select(&gone, &all, &profiles, &mut rng).is_none());
}

/// Threats P-1: while new routers are useless, few hops are new.
#[test]
fn a_flood_of_useless_routers_takes_few_hops() {
    let routers = network(1_000);
    let (all, mut profiles, mut rng) = (known(&routers), Profiles::default(), Rng::from_seed([4; 32]));
    let now = terms(false, 0, &[], &nobody).now;
    routers[..50].iter().for_each(|one| profiles.note_carried(now, &one.hash()));
    routers[50..].iter().for_each(|one| profiles.note_unanswered(now, &one.hash()));
    let later = now.later(Duration::from_hours(1));
    let mut share = |exploratory| {
        let mut fresh = 0;
        for _ in 0..1_000 {
            let terms = Terms { now: later, exploratory, ..terms(false, 7, &[], &nobody) };
            let hops = select(&terms, &all, &profiles, &mut rng).unwrap();
            fresh += hops.iter().filter(|hop| !profiles.is_proven(&hop.hash)).count();
        }
        fresh as f64 / 3_000.0
    };
    let (client, exploratory) = (share(false), share(true));
    assert!((0.02..0.08).contains(&client) && (0.08..0.16).contains(&exploratory), "{client} {exploratory}");
}

/// Threats P-3: where nearly nobody answers and hardly anybody is proven, hops are those who were found at home.
#[test]
fn where_most_are_dead_hops_are_at_home() {
    let routers = network(1_000);
    let (all, mut profiles, mut rng) = (known(&routers), Profiles::default(), Rng::from_seed([6; 32]));
    let now = terms(false, 0, &[], &nobody).now;
    let living: Vec<Hash> = routers[..20].iter().map(|one| one.hash()).collect();
    let at_home = || living.clone();
    let mut share = |profiles: &Profiles| {
        let terms = Terms { at_home: &at_home, ..terms(false, 7, &[], &nobody) };
        let hops = (0..500).flat_map(|_| select(&terms, &all, profiles, &mut rng).unwrap());
        hops.filter(|hop| living.contains(&hop.hash)).count() as f64 / 1_500.0
    };
    assert!(share(&profiles) < 0.05, "nobody is preferred while all is well");
    routers[500..].iter().for_each(|one| profiles.note_unanswered(now, &one.hash()));
    assert!(profiles.is_lost() && share(&profiles) > 0.85, "{}", share(&profiles));
    // Also when something bad is known of all of them.
    living.iter().for_each(|hash| profiles.note_declined(now, hash));
    assert!(share(&profiles) > 0.5, "{}", share(&profiles));
}
