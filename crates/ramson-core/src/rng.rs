//! Randomness as a tree: each identity, link and pool has a stream of its own, derived by name from its parent, with
//! fast key erasure. Two streams say nothing about each other, and a stream's past cannot be computed from its
//! present.

use ramson_wire::crypto::{Secret, chacha20, hash::hkdf64};
use rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;
use zeroize::Zeroize;

const BLOCK: usize = 512;

/// A seeded generator: ChaCha20 blocks, whose first 32 bytes replace the key at once and are never given out.
pub struct Rng {
    key: Secret,
    block: Box<[u8; BLOCK]>,
    used: usize,
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng(..)")
    }
}

impl Drop for Rng {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

impl Rng {
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { key: seed.into(), block: Box::new([0; BLOCK]), used: BLOCK }
    }

    /// A child stream. Children of different names, and of different draws, are independent.
    pub fn child(&mut self, name: &str) -> Self {
        let drawn: [u8; 32] = self.bytes();
        Self::from_seed(hkdf64(&drawn, name.as_bytes(), b"ramson rng child").0)
    }

    /// Mixes fresh entropy into the stream.
    pub fn feed(&mut self, entropy: &[u8; 32]) {
        let drawn: [u8; 32] = self.bytes();
        *self.key = hkdf64(&drawn, entropy, b"ramson rng feed").0;
        self.used = BLOCK;
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A random nonzero 32-bit number (message and tunnel ids).
    pub fn nonzero_u32(&mut self) -> u32 {
        for _ in 0..64 {
            let id = u32::from_le_bytes(self.bytes());
            if id != 0 {
                return id;
            }
        }
        1 // 64 zeros in a row do not happen
    }

    pub fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// Uniform in `0..bound`, without modulo bias; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound < 2 {
            return 0;
        }
        let bound = bound as u64;
        let zone = u64::MAX - u64::MAX % bound;
        loop {
            let draw = self.next_u64();
            if draw < zone {
                return usize::try_from(draw % bound).unwrap_or(0);
            }
        }
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A duration drawn uniformly from `from..to`, in microseconds.
    pub fn between(&mut self, from: crate::time::Duration, to: crate::time::Duration) -> crate::time::Duration {
        let span = to.saturating_sub(from).as_micros();
        let span = usize::try_from(span).unwrap_or(usize::MAX);
        from + crate::time::Duration::from_micros(self.below(span.saturating_add(1)) as u64)
    }

    /// Shuffles in place, every order equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }

    /// One item, each equally likely.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    fn fill(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.used == BLOCK {
                self.block.fill(0);
                chacha20::xor(&self.key, &[0; 12], self.block.as_mut_slice());
                self.key.copy_from_slice(&self.block[..32]);
                self.block[..32].zeroize();
                self.used = 32;
            }
            let n = out.len().min(BLOCK - self.used);
            let (now, later) = out.split_at_mut(n);
            let from = &mut self.block[self.used..self.used + n];
            now.copy_from_slice(from);
            from.zeroize(); // what was given out is not kept
            self.used += n;
            out = later;
        }
    }
}

impl TryRng for Rng {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.fill(dst);
        Ok(())
    }
}

impl TryCryptoRng for Rng {}

/// Keys for hash maps, drawn from the tree, so that nobody outside can aim at buckets (threats T134) and a run with
/// the same seed is the same run.
#[derive(Clone)]
pub struct SeededState(u64, u64);

impl SeededState {
    pub fn new(rng: &mut Rng) -> Self {
        Self(rng.next_u64(), rng.next_u64())
    }
}

impl std::hash::BuildHasher for SeededState {
    type Hasher = siphasher::sip::SipHasher13;
    fn build_hasher(&self) -> Self::Hasher {
        siphasher::sip::SipHasher13::new_with_keys(self.0, self.1)
    }
}

/// A hash map with seeded keys. It must not be iterated where order could reach behaviour.
pub type SeededMap<K, V> = std::collections::HashMap<K, V, SeededState>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_stream_and_children_differ() {
        let (mut a, mut b) = (Rng::from_seed([1; 32]), Rng::from_seed([1; 32]));
        assert_eq!(a.bytes::<1000>(), b.bytes::<1000>());
        assert_ne!(a.child("x").bytes::<32>(), b.child("y").bytes::<32>());
        let mut c = a.child("z");
        assert_ne!(c.bytes::<32>(), a.bytes::<32>());
        assert_ne!(a.child("z").bytes::<32>(), a.child("z").bytes::<32>(), "each draw is another child");
    }

    #[test]
    fn below_is_in_range_and_even() {
        let mut rng = Rng::from_seed([2; 32]);
        let mut seen = [0u32; 7];
        (0..70_000).for_each(|_| seen[rng.below(7)] += 1);
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }

    #[test]
    fn given_bytes_are_erased() {
        let mut rng = Rng::from_seed([3; 32]);
        let given: [u8; 64] = rng.bytes();
        assert!(rng.block.windows(16).all(|w| !given.windows(16).any(|g| g == w && g != [0; 16])));
    }
}
