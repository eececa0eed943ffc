//! A router that hardly anybody answers, and one whose peers go.

use super::*;
use crate::limits::peers;
use crate::link::Event as LinkEvent;
use crate::netdb::store::Verified;
use crate::tunnel::Answer;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Mapping, RouterAddress, RouterIdentity, base64};

/// A router that can be dialled.
fn somebody(n: u64) -> RouterInfo {
    let mut rng = Rng::from_seed(ramson_wire::crypto::hash::sha256(&n.to_be_bytes()));
    let signing = SigningKey::random(&mut rng);
    let key = PublicKey([9; 32]);
    let (s, i) = (base64::encode(&key.0), base64::encode(&[1; 16]));
    let pairs = [("host", "8.8.8.8"), ("i", &i), ("port", "9000"), ("s", &s), ("v", "2")];
    let address = RouterAddress::new(3, "NTCP2", Mapping::from_pairs(pairs).unwrap()).unwrap();
    let options = [("caps", "LR"), ("netId", "2"), ("router.version", "0.9.68")];
    let identity = RouterIdentity::new(key, *signing.public(), &mut rng);
    let options = Mapping::from_pairs(options).unwrap();
    Unsigned { identity, published: NOW.unix_ms, addresses: vec![address], options }.sign(&signing).unwrap()
}

/// A router that knows so many others, which are not there.
fn knowing(count: u64) -> (Solo, Vec<Hash>) {
    let mut solo = Solo::new();
    let insert = |n| {
        let info = Arc::new(somebody(n));
        solo.router.store.insert(NOW, Verified::new(info.clone()).unwrap(), Source::Wanted).unwrap();
        info.hash()
    };
    let known = (0..count).map(insert).collect();
    solo.drain();
    (solo, known)
}

/// Threats P-3: few are dialled at once, and none when enough are there or on their way.
#[test]
fn p3_a_lost_router_looks_for_some_who_are_at_home() {
    let (mut solo, known) = knowing(100);
    known.iter().for_each(|hash| solo.router.profiles.note_unanswered(NOW, hash));
    assert!(solo.router.profiles.is_lost());
    let before = solo.router.at_home.len();
    solo.router.find_some_at_home();
    assert!(solo.router.at_home.len() <= before + peers::DIALS_WHEN_LOST);
    (0..1_000).for_each(|_| solo.router.find_some_at_home());
    assert_eq!(solo.router.at_home.len(), peers::AT_HOME);
    solo.drain();
    // Nobody answers the dials: others are tried.
    let first = solo.router.at_home.clone();
    solo.now = solo.now.later(Duration::from_secs(13));
    solo.input(Input::Timeout);
    solo.router.find_some_at_home();
    assert!(solo.router.at_home.iter().all(|hash| !first.contains(hash)), "those that failed are off the list");
}

/// Threats P-43: who hangs up is dialled, and when several are gone others are, too; all within bounds.
#[test]
fn p43_those_who_hang_up_are_dialled_within_bounds() {
    let (mut solo, known) = knowing(400);
    let burst = crate::limits::router::REDIALS.1 as usize;
    let down = |peer| LinkEvent::Down { peer, hung_up: true };
    solo.router.handle_link(LinkEvent::Down { peer: known[0], hung_up: false });
    assert!(solo.router.links.poll_event(NOW).is_none(), "it has said why");
    solo.router.handle_link(down(known[0]));
    let first = solo.router.links.poll_event(NOW);
    assert!(matches!(first, Some(LinkEvent::Open { .. })), "one that hung up is dialled");
    known[1..].iter().for_each(|peer| solo.router.handle_link(down(*peer)));
    let opened = std::iter::from_fn(|| solo.router.links.poll_event(NOW)).count();
    assert!(opened > burst / 2 && opened < burst, "{opened}");
    let (mut solo, _) = knowing(400);
    (0..3).for_each(|_| solo.router.look_around());
    assert!(solo.router.links.poll_event(NOW).is_none(), "a few may go by chance");
    (0..1_000).for_each(|_| solo.router.look_around());
    let opened = std::iter::from_fn(|| solo.router.links.poll_event(NOW)).count();
    assert!(opened > burst / 2 && opened <= burst, "{opened}");
}

/// Threats P-1: while most routers are useless, it is one of those who is to blame for a build without an answer.
#[test]
fn p1_a_build_with_a_stranger_is_not_held_against_those_who_are_proven() {
    let (mut solo, known) = knowing(100);
    let (proven, strangers) = known.split_at(crate::limits::peers::PROVEN_LEAST);
    let unanswered = |hops: [Hash; 2]| hops.map(|hash| (hash, Answer::Unanswered));
    let doubtful = |solo: &Solo, hash| solo.router.profiles.is_doubtful(NOW, &hash);
    solo.router.build_ended(PoolId::EXPLORATORY, None, &unanswered([proven[0], strangers[0]]));
    assert!(doubtful(&solo, proven[0]) && doubtful(&solo, strangers[0]), "any of them, while all is well");
    proven.iter().for_each(|hash| solo.router.profiles.note_carried(NOW, hash));
    strangers.iter().for_each(|hash| solo.router.profiles.note_unanswered(NOW, hash));
    assert!(solo.router.profiles.is_wary());
    solo.router.build_ended(PoolId::EXPLORATORY, None, &unanswered([proven[1], strangers[1]]));
    assert!(!doubtful(&solo, proven[1]) && doubtful(&solo, strangers[1]));
    solo.router.build_ended(PoolId::EXPLORATORY, None, &unanswered([proven[2], proven[3]]));
    assert!(doubtful(&solo, proven[2]) && doubtful(&solo, proven[3]));
}
