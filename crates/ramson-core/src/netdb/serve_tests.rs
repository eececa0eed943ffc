use super::super::made::Made;
use super::super::store::testing::{NOW, Wish, add, floodfills, info, wish};
use super::super::store::{Source, Verified};
use super::*;
use ramson_wire::codec::Encode;

const OWN: Hash = Hash([9; 32]);

fn ask(kind: LookupKind, key: Hash) -> DatabaseLookup {
    let (reply_tunnel, excluded, encryption) = (Some(4), Vec::new(), None);
    DatabaseLookup { key, from: Hash([1; 32]), kind, reply_tunnel, excluded, encryption }
}

/// Twenty floodfills and two hundred others, and a LeaseSet of each kind.
fn world() -> (RouterStore, LeaseSets, Vec<Hash>) {
    let (mut routers, mut sets) = (floodfills(20), LeaseSets::new(OWN, NOW));
    (100..300).for_each(|seed| assert_eq!(add(&mut routers, &wish(seed), Source::Wanted), None));
    assert_eq!(add(&mut routers, &Wish { host: "", ..wish(400) }, Source::Published), None);
    let keys = [1, 3, 5, 7].map(|kind| {
        let set = Made::new(kind, kind.into(), NOW.unix_secs()).sign();
        sets.insert(NOW, Arc::clone(&set)).unwrap();
        set.key()
    });
    (routers, sets, keys.to_vec())
}

fn answer_at(now: Now, question: &DatabaseLookup, routers: &RouterStore, sets: &LeaseSets) -> Answer {
    answer(now, question, routers, sets, &mut Rng::from_seed([1; 32]))
}

fn named(answer: Answer) -> Vec<Hash> {
    let Answer::Routers(peers) = answer else { panic!("found") };
    peers
}

#[test]
fn each_kind_finds_what_it_is_for() {
    let (routers, sets, keys) = world();
    let router = info(&wish(150)).hash();
    for (kind, finds_router, finds_set) in [
        (LookupKind::Any, true, true),
        (LookupKind::LeaseSet, false, true),
        (LookupKind::RouterInfo, true, false),
        (LookupKind::Exploration, false, false),
    ] {
        let found = |key: &Hash| match answer_at(NOW, &ask(kind, *key), &routers, &sets) {
            Answer::Found(entry) => entry.key() == *key,
            Answer::Routers(_) => false,
        };
        assert_eq!(found(&router), finds_router, "{kind:?}");
        assert!(keys.iter().all(|key| found(key) == finds_set), "{kind:?}");
    }
    // One that has ended is not told, also before it is forgotten.
    let later = NOW.later(crate::time::Duration::from_secs(600));
    named(answer_at(later, &ask(LookupKind::LeaseSet, keys[1]), &routers, &sets));
}

#[test]
fn what_is_not_here_is_sought_at_the_closest_that_are_not_excluded() {
    let (routers, sets, _) = world();
    for n in 0..20u8 {
        let key = Hash([n; 32]);
        let all = routers.closest_today(NOW, &key, 20, &[]);
        for kind in [LookupKind::Any, LookupKind::LeaseSet, LookupKind::RouterInfo] {
            let mut question = ask(kind, key);
            assert_eq!(named(answer_at(NOW, &question, &routers, &sets)), all[..3]);
            question.excluded = vec![all[0], all[2], all[3]];
            assert_eq!(named(answer_at(NOW, &question, &routers, &sets)), [all[1], all[4], all[5]]);
            question.excluded.clone_from(&all);
            assert!(named(answer_at(NOW, &question, &routers, &sets)).is_empty());
            // A floodfill that asks for itself is not sent to itself.
            question = DatabaseLookup { from: all[0], reply_tunnel: None, ..ask(kind, key) };
            assert_eq!(named(answer_at(NOW, &question, &routers, &sets)), all[1..4]);
        }
    }
}

/// P-26 of the threats: at most sixteen, no floodfills, none that cannot be dialled, and not always the same.
#[test]
fn explorations_are_told_of_some_others() {
    let (routers, sets, _) = world();
    let (mut rng, mut seen) = (Rng::from_seed([2; 32]), BTreeSet::new());
    let hidden = info(&Wish { host: "", ..wish(400) }).hash();
    for n in 0..40u8 {
        let mut question = ask(LookupKind::Exploration, Hash([n; 32]));
        let first = named(answer(NOW, &question, &routers, &sets, &mut rng));
        assert_eq!(first.len(), MAX_PEERS);
        assert!(first.iter().all(|hash| !routers.is_floodfill(hash) && *hash != hidden));
        question.excluded.clone_from(&first);
        let second = named(answer(NOW, &question, &routers, &sets, &mut rng));
        assert!(second.len() == MAX_PEERS && second.iter().all(|hash| !first.contains(hash)));
        seen.extend(first);
    }
    assert!(seen.len() > 100, "{}", seen.len());
    // With few routers, all are looked at.
    let mut few = floodfills(5);
    (100..110).for_each(|seed| assert_eq!(add(&mut few, &wish(seed), Source::Published), None));
    assert_eq!(named(answer(NOW, &ask(LookupKind::Exploration, OWN), &few, &sets, &mut rng)).len(), 10);
}

/// Threats P-10, T26: two routers, of which one knows more by its sessions and its destinations, answer every question
/// alike.
#[test]
fn p10_what_only_we_know_shows_in_no_answer() {
    let (plain, sets, keys) = world();
    let (mut knows, ..) = world();
    let mut private = Vec::new();
    for seed in 500..560 {
        let wish = Wish { caps: if seed % 2 == 0 { "XfR" } else { "LR" }, ..wish(seed) };
        private.push(info(&wish).hash());
        knows.insert(NOW, Verified::new(info(&wish)).unwrap(), Source::Private).unwrap();
    }
    let mut asked = 0;
    let all: Vec<Hash> = plain.iter().map(|info| info.hash()).collect();
    for key in private.iter().chain(&keys).chain(&all).chain(&[OWN, Hash([0; 32])]) {
        for kind in [LookupKind::Any, LookupKind::LeaseSet, LookupKind::RouterInfo] {
            let told = |routers: &RouterStore| match answer_at(NOW, &ask(kind, *key), routers, &sets) {
                Answer::Found(Entry::RouterInfo(info)) => info.as_bytes().to_vec(),
                Answer::Found(Entry::LeaseSet(set)) => set.as_bytes().to_vec(),
                Answer::Routers(peers) => peers.iter().flat_map(Encode::to_bytes).collect(),
            };
            assert_eq!(told(&knows), told(&plain), "{key:?} {kind:?}");
            asked += 1;
        }
        for seed in 0..10 {
            let mut rng = Rng::from_seed([seed; 32]);
            let peers = named(answer(NOW, &ask(LookupKind::Exploration, *key), &knows, &sets, &mut rng));
            assert!(peers.iter().all(|hash| !private.contains(hash)));
        }
    }
    assert!(asked > 800, "{asked}");
}
