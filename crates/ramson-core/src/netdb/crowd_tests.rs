//! Threats P-5: eight floodfills ground to be the closest to a key, and a LeaseSet that is found all the same.

use super::super::lookup::{self, Kind, Lookups};
use super::super::publish::{self, LeaseSetPublisher};
use super::super::routing_key::Day;
use super::super::store::testing::{NOW, Wish, add, info, store, wish};
use super::super::store::{RouterStore, Source, Verified};
use crate::limits::netdb as limits;
use crate::rng::Rng;
use crate::time::{Duration, Now};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::router_info::Unsigned;
use ramson_wire::data::{Hash, Mapping, RouterIdentity};
use std::collections::BTreeSet;
use std::sync::Arc;

const HONEST: u64 = 120;
const HOSTILE: usize = 8;
/// Identities that the attacker has made, for each floodfill.
const GROUND: usize = 64;

/// Hostile floodfills, the closest to the key of many identities. They differ by their padding alone, which is all that
/// it takes.
fn ground(key: &Hash) -> Vec<Verified> {
    let signing = SigningKey::from_seed([5; 32]);
    let mut rng = Rng::from_seed([5; 32]);
    let identity = |rng: &mut Rng| RouterIdentity::new(PublicKey([2; 32]), *signing.public(), rng);
    let mut all: Vec<RouterIdentity> = (0..GROUND * HONEST as usize).map(|_| identity(&mut rng)).collect();
    all.sort_by_cached_key(|identity| identity.hash().distance(key));
    all.truncate(HOSTILE);
    let like = info(&Wish { caps: "XfR", host: "198.51.100.7", ..wish(1) });
    let sign = |identity| {
        let (addresses, options) = (like.addresses().to_vec(), like.options().iter());
        let options = Mapping::from_pairs(options).unwrap();
        let unsigned = Unsigned { identity, published: like.published(), addresses, options };
        Verified::new(Arc::new(unsigned.sign(&signing).unwrap())).unwrap()
    };
    all.into_iter().map(sign).collect()
}

struct Attack {
    destination: Hash,
    hostile: BTreeSet<Hash>,
    verified: Vec<Verified>,
}

impl Attack {
    fn new() -> Self {
        let destination = Hash([7; 32]);
        let verified = ground(&Day::of(NOW.unix_ms).routing_key(&destination));
        let hostile = verified.iter().map(|one| one.info().hash()).collect();
        Self { destination, hostile, verified }
    }

    /// A router that knows most floodfills, the hostile ones among them.
    fn knows(&self, seed: u64) -> RouterStore {
        const HOSTS: [&str; 6] = ["192.0.2.1", "8.8.8.8", "9.9.1.1", "77.1.1.1", "88.1.1.1", "99.1.1.1"];
        let (mut routers, mut rng) = (store(limits::ROUTERS), Rng::from_seed([seed as u8; 32]));
        for n in 0..HONEST {
            if rng.below(10) > 0 {
                add(&mut routers, &Wish { caps: "XfR", host: HOSTS[n as usize % 6], ..wish(n) }, Source::Wanted);
            }
        }
        for one in &self.verified {
            routers.insert(NOW, one.clone(), Source::Wanted).unwrap();
        }
        routers
    }

    /// Where a LeaseSet is stored: hostile ones confirm what they do not keep.
    fn publish(&self, seed: u64) -> BTreeSet<Hash> {
        let routers = self.knows(seed);
        let mut publisher = LeaseSetPublisher::new(self.destination, Rng::from_seed([seed as u8; 32]));
        let (mut now, mut stored, mut verified) = (NOW, BTreeSet::new(), false);
        publisher.handle_changed(now, now.mono + Duration::from_mins(10), false);
        for _ in 0..40 {
            now = now.later(publisher.next_timeout().unwrap_or(now.mono).since(now.mono));
            publisher.handle_timeout(now, &routers);
            while let Some(event) = publisher.poll_event() {
                match event {
                    publish::Event::Store { floodfill, token } => {
                        stored.insert(floodfill);
                        publisher.handle_confirmation(now, token);
                    }
                    publish::Event::Verify { exclude } => {
                        let found = self.look_up(now, &routers, exclude, &stored, seed);
                        verified |= found;
                        publisher.handle_verified(now, found, &routers);
                    }
                }
            }
            if verified {
                break;
            }
        }
        assert!(verified, "the publisher sees that it can be found");
        assert!(stored.len() <= 10, "and stores at no more than it must: {}", stored.len());
        stored
    }

    /// Whether a look-up finds what is stored there, where hostile floodfills say no.
    fn look_up(&self, now: Now, routers: &RouterStore, barred: Vec<Hash>, stored: &BTreeSet<Hash>, seed: u64) -> bool {
        let mut lookups = Lookups::new(Rng::from_seed([seed as u8; 32]));
        lookups.start_without(now, self.destination, Kind::LeaseSet, barred, routers);
        while let Some(event) = lookups.poll_event() {
            match event {
                lookup::Event::Query { floodfill, key, .. } => {
                    if stored.contains(&floodfill) && !self.hostile.contains(&floodfill) {
                        return true;
                    }
                    let others: Vec<Hash> = self.hostile.iter().copied().collect();
                    lookups.handle_search_reply(now, &floodfill, &key, &others, routers);
                }
                lookup::Event::Done { .. } => return false,
                lookup::Event::Need { .. } => {}
            }
        }
        false
    }
}

#[test]
fn p5_a_lease_set_is_found_behind_floodfills_that_were_ground_for_it() {
    let attack = Attack::new();
    let first = attack.knows(0);
    let key = Day::of(NOW.unix_ms).routing_key(&attack.destination);
    assert_eq!(first.closest_floodfills(&key, HOSTILE, &[]).into_iter().collect::<BTreeSet<_>>(), attack.hostile);
    let mut found = 0;
    for publisher in 0..5 {
        let stored = attack.publish(publisher);
        for searcher in 100..120 {
            let routers = attack.knows(searcher);
            found += u32::from(attack.look_up(NOW, &routers, Vec::new(), &stored, searcher));
        }
    }
    assert!(found >= 95, "{found} of 100");
}

/// Where nobody stands closer than chance puts him, nothing changes.
#[test]
fn without_a_crowd_the_closest_are_asked_and_stored_at() {
    let attack = Attack { destination: Hash([8; 32]), hostile: BTreeSet::new(), verified: Vec::new() };
    let routers = attack.knows(3);
    let key = Day::of(NOW.unix_ms).routing_key(&attack.destination);
    assert!(routers.crowd(&key).is_empty());
    let mut publisher = LeaseSetPublisher::new(attack.destination, Rng::from_seed([3; 32]));
    publisher.handle_changed(NOW, NOW.mono + Duration::from_mins(10), false);
    publisher.handle_timeout(NOW, &routers);
    let stores = std::iter::from_fn(|| publisher.poll_event());
    let stores = stores.map(|event| if let publish::Event::Store { floodfill, .. } = event { floodfill } else { key });
    let stores: Vec<Hash> = stores.collect();
    assert_eq!(stores, routers.closest_floodfills(&key, stores.len(), &[]));
    assert!(stores.len() <= 2);
}
