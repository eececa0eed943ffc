//! Floodfills that stand closer to a key than chance puts them.
//!
//! Whoever makes identities until a few of them are the closest to a key can hide what is kept there (threats 1.2).
//! Hashes of honest routers are spread by chance: with F floodfills, the k-th closest is nearer than t/F with the
//! probability that a Poisson variable of mean t reaches k. For each k the bound here is where that is one in 100,000,
//! so that all of them together raise one false alarm in 10,000 keys.
//!
//! An alarm bans nobody, for then it would be a weapon: it only has others asked and stored at, besides.

use ramson_wire::data::Hash;

/// Thousandths of t, from the third closest on.
const BOUNDS: [u64; 10] = [39, 127, 272, 469, 713, 996, 1_315, 1_664, 2_040, 2_441];
const FIRST: usize = 3;
/// How many of the closest are looked at.
pub(super) const CLOSEST: usize = FIRST + BOUNDS.len() - 1;

/// How many of the closest floodfills are a crowd, of `all` that are known; `closest` comes in order. 0 for none.
pub(super) fn crowd(routing_key: &Hash, closest: &[Hash], all: usize) -> usize {
    let is_near = |(hash, bound): &(&Hash, u64)| {
        let [a, b, c, d, e, f, g, h, ..] = hash.distance(routing_key);
        let distance = u128::from(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        distance * (all as u128) * 1_000 < u128::from(*bound) << 64
    };
    let pairs = closest.iter().skip(FIRST - 1).zip(BOUNDS);
    pairs.enumerate().filter(|(_, pair)| is_near(pair)).map(|(at, _)| at + FIRST).max().unwrap_or(0)
}

#[cfg(test)]
#[path = "crowd_tests.rs"]
mod whole;

#[cfg(test)]
mod tests {
    use super::super::closest::closest;
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeSet;

    fn honest(rng: &mut Rng) -> BTreeSet<Hash> {
        (0..1_700).map(|_| Hash(rng.bytes())).collect()
    }

    fn crowd_at(key: &Hash, set: &BTreeSet<Hash>) -> usize {
        crowd(key, &closest(set, key, CLOSEST, |_| true), set.len())
    }

    #[test]
    fn p7_honest_floodfills_raise_no_alarm() {
        let mut rng = Rng::from_seed([1; 32]);
        let alarms = (0..10).map(|_| {
            let set = honest(&mut rng);
            (0..3_000).filter(|_| crowd_at(&Hash(rng.bytes()), &set) > 0).count()
        });
        // Three are expected of 30,000.
        assert!(alarms.sum::<usize>() <= 10);
        let few: BTreeSet<Hash> = (0..3).map(|_| Hash(rng.bytes())).collect();
        assert!((0..1_000).filter(|_| crowd_at(&Hash(rng.bytes()), &few) > 0).count() <= 2);
    }

    /// Each is the closest of so many identities: its distance is that part of the space, by chance.
    fn ground(rng: &mut Rng, key: &Hash, tries: f64) -> Hash {
        let distance = (-(1.0 - rng.unit()).ln() / tries * 2f64.powi(64)) as u64;
        let mut hash = Hash(rng.bytes());
        hash.0[..8].iter_mut().zip(distance.to_be_bytes()).zip(key.0).for_each(|((to, d), k)| *to = d ^ k);
        hash
    }

    #[test]
    fn p7_ground_floodfills_are_found() {
        let mut rng = Rng::from_seed([2; 32]);
        let mut set = honest(&mut rng);
        // Three, each of 256 times as many identities as there are floodfills; or eight, each of sixteen times as many.
        for (ground_ones, factor) in [(3, 256.0), (8, 16.0)] {
            let found = (0..500).filter(|_| {
                let key = Hash(rng.bytes());
                let crowd: Vec<Hash> = (0..ground_ones).map(|_| ground(&mut rng, &key, factor * 1_700.0)).collect();
                set.extend(&crowd);
                let found = crowd_at(&key, &set) >= ground_ones;
                crowd.iter().for_each(|hash| assert!(set.remove(hash)));
                found
            });
            let found = found.count();
            assert!(found >= 495, "{found} of 500 crowds of {ground_ones}");
        }
    }
}
