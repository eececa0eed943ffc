//! The members of an ordered set that are closest to a target by XOR.
//!
//! An ordered set of hashes is a binary trie without its nodes: all hashes with a common prefix stand side by side, and
//! two searches find the first and the last of them. So the closest few of many thousands cost a few dozen searches,
//! however many there are. <https://geti2p.net/en/docs/how/network-database#kademlia-closeness-metric>

use ramson_wire::data::Hash;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included};

/// Up to `n` members for which `usable` holds, the closest to `target` first.
pub fn closest(set: &BTreeSet<Hash>, target: &Hash, n: usize, usable: impl Fn(&Hash) -> bool) -> Vec<Hash> {
    let mut found = Vec::with_capacity(n.min(set.len()));
    let mut spans = Vec::new();
    if let (Some(first), Some(last)) = (set.first(), set.last()) {
        spans.push((*first, *last));
    }
    // What is on top of the stack is closer than all below it.
    while let Some((first, last)) = spans.pop() {
        if found.len() >= n {
            break;
        }
        if first == last {
            if usable(&first) {
                found.push(first);
            }
            continue;
        }
        // The members that share what these two share differ first in this bit; the middle is the first that has it.
        let middle = middle(&first, &last);
        let left = set.range((Included(first), Excluded(middle))).next_back();
        let right = set.range((Included(middle), Included(last))).next();
        let (Some(left), Some(right)) = (left, right) else { continue };
        let halves = [(first, *left), (*right, last)];
        let [near, far] = if has_bit_of(target, &first, &last) { [halves[1], halves[0]] } else { halves };
        spans.push(far);
        spans.push(near);
    }
    found
}

/// The number of leading bits that are equal.
fn common(a: &Hash, b: &Hash) -> usize {
    let differ = a.0.iter().zip(b.0).position(|(a, b)| *a != b);
    differ.map_or(256, |at| {
        let bits = a.0.get(at).zip(b.0.get(at)).map_or(0, |(a, b)| (a ^ b).leading_zeros());
        at * 8 + bits as usize
    })
}

/// The smallest hash that begins as both do and then has a one, where the larger one has it.
fn middle(first: &Hash, last: &Hash) -> Hash {
    let bit = common(first, last);
    let mut middle = Hash::default();
    for (at, (to, from)) in middle.0.iter_mut().zip(last.0).enumerate() {
        *to = match at.cmp(&(bit / 8)) {
            std::cmp::Ordering::Less => from,
            std::cmp::Ordering::Equal => from & (0xff_u8 << (7 - bit % 8)),
            std::cmp::Ordering::Greater => 0,
        };
    }
    middle
}

/// Whether `target` has a one at the first bit in which the two differ.
fn has_bit_of(target: &Hash, first: &Hash, last: &Hash) -> bool {
    let bit = common(first, last);
    target.0.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(set: &BTreeSet<Hash>, target: &Hash, n: usize, usable: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        let mut all: Vec<Hash> = set.iter().copied().filter(|hash| usable(hash)).collect();
        all.sort_by_key(|hash| hash.distance(target));
        all.truncate(n);
        all
    }

    proptest! {
        /// Hashes that share long prefixes, so that every depth is reached.
        #[test]
        fn finds_what_sorting_finds(
            raw in prop::collection::vec((any::<u8>(), 0usize..32, any::<u8>()), 0..60),
            target in (any::<u8>(), 0usize..32, any::<u8>()), n in 0usize..20, odd: bool,
        ) {
            let hash = |(first, at, byte): (u8, usize, u8)| {
                let mut bytes = [0; 32];
                bytes[0] = first & 3;
                bytes[at] ^= byte;
                Hash(bytes)
            };
            let set: BTreeSet<Hash> = raw.into_iter().map(hash).collect();
            let usable = |hash: &Hash| !odd || hash.0[31] & 1 == 0;
            prop_assert_eq!(closest(&set, &hash(target), n, usable), naive(&set, &hash(target), n, usable));
        }
    }

    #[test]
    fn random_hashes_and_a_member_as_target() {
        let set: BTreeSet<Hash> = (0..2_000u32).map(|n| Hash::of(&n.to_be_bytes())).collect();
        for n in 0..200u32 {
            let target = Hash::of(&(n * 17).to_be_bytes());
            assert_eq!(closest(&set, &target, 16, |_| true), naive(&set, &target, 16, |_| true));
        }
        assert_eq!(closest(&BTreeSet::new(), &Hash([1; 32]), 3, |_| true), []);
        assert_eq!(closest(&set, &Hash([1; 32]), 5_000, |_| true).len(), 2_000);
        assert!(closest(&set, &Hash([1; 32]), 3, |_| false).is_empty());
    }
}
