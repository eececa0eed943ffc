//! Elligator2 on Curve25519: public keys as strings that look random.
//! <https://geti2p.net/spec/ecies#elligator2>, <https://elligator.cr.yp.to/>
//!
//! A representative is a number below 2^254 with the two top bits of the 32 bytes random. With `A` the curve's
//! constant and the non-square 2, the number `r` stands for `x = w` or `-w - A`, where `w = -A / (1 + 2 r^2)`.
//!
//! Half of all keys have no representative, so [`KeyPair::random`] draws until one has. A plain X25519 key always
//! lies in the subgroup of prime order, which an observer can test after decoding; so a random point of small order
//! is added to the public key. Clamped scalars cancel it: every Diffie-Hellman result stays the same.

use super::x25519::{PublicKey, SecretKey};
use super::{CryptoRng, random};
use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::constants::EIGHT_TORSION;
use fiat_crypto::curve25519_64 as fiat;

/// An ephemeral key that has a representative.
#[derive(Clone)]
pub struct KeyPair {
    pub secret: SecretKey,
    /// What the peer decodes, and what goes into the handshake's hash. It may differ from
    /// `secret.public_key()` by a point of small order.
    pub public: PublicKey,
    pub representative: [u8; 32],
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("elligator2::KeyPair(..)")
    }
}

impl KeyPair {
    /// Draws keys until one has a representative: two on average.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        loop {
            let secret = SecretKey::random(rng);
            let [low_order, tweak] = random::<2>(rng);
            let public = with_small_order(&secret, low_order);
            if let Some(representative) = encode(&public, tweak) {
                return Self { secret, public, representative };
            }
        }
    }
}

fn with_small_order(secret: &SecretKey, draw: u8) -> PublicKey {
    let point = EdwardsPoint::mul_base_clamped(*secret.as_bytes());
    let small = EIGHT_TORSION.get(usize::from(draw % 8)).copied().unwrap_or_default();
    PublicKey((point + small).to_montgomery().to_bytes())
}

/// The representative of a key, if it has one. Of `tweak`, which must be random, the lowest bit chooses between the
/// two representatives and the two highest become those of the result.
pub fn encode(key: &PublicKey, tweak: u8) -> Option<[u8; 32]> {
    let x = Field::from_bytes(&key.0);
    let minus_x_a = x.add(Field::A).neg();
    if x.is_zero() || minus_x_a.is_zero() {
        return None;
    }
    // r^2 = -(x + A) / 2x or x / -2(x + A); both are squares, or none is.
    let (over, under) = if tweak & 1 == 1 { (minus_x_a, x) } else { (x, minus_x_a) };
    let r = Field::sqrt_ratio(over, under.add(under))?;
    let mut bytes = r.absolute().to_bytes();
    if let Some(top) = bytes.last_mut() {
        *top |= tweak & 0xc0;
    }
    Some(bytes)
}

/// The key that a representative stands for; every 32 bytes are one.
pub fn decode(representative: &[u8; 32]) -> PublicKey {
    let mut bytes = *representative;
    if let Some(top) = bytes.last_mut() {
        *top &= 0x3f;
    }
    let r2 = Field::from_bytes(&bytes).square();
    // 1 + 2 r^2 is never zero, since -1/2 is no square.
    let w = Field::A.neg().mul(Field::ONE.add(r2).add(r2).invert());
    let curve = w.mul(w.mul(w.add(Field::A)).add(Field::ONE));
    let x = if Field::sqrt_ratio(curve, Field::ONE).is_some() { w } else { w.add(Field::A).neg() };
    PublicKey(x.to_bytes())
}

/// An element of the field of 2^255 - 19, in fiat's tight form.
#[derive(Clone, Copy)]
struct Field(fiat::fiat_25519_tight_field_element);

impl Field {
    const ONE: Self = Self(fiat::fiat_25519_tight_field_element([1, 0, 0, 0, 0]));
    const A: Self = Self(fiat::fiat_25519_tight_field_element([486_662, 0, 0, 0, 0]));
    const ZERO: Self = Self(fiat::fiat_25519_tight_field_element([0; 5]));

    /// The top bit is ignored, as X25519 does.
    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut bytes = *bytes;
        if let Some(top) = bytes.last_mut() {
            *top &= 0x7f;
        }
        let mut out = Self::ZERO;
        fiat::fiat_25519_from_bytes(&mut out.0, &bytes);
        out
    }

    /// The reduced number, little-endian.
    fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        fiat::fiat_25519_to_bytes(&mut out, &self.0);
        out
    }

    fn relaxed(self) -> fiat::fiat_25519_loose_field_element {
        fiat::fiat_25519_loose_field_element(self.0.0)
    }

    fn carried(loose: &fiat::fiat_25519_loose_field_element) -> Self {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry(&mut out.0, loose);
        out
    }

    fn add(self, other: Self) -> Self {
        let mut loose = self.relaxed();
        fiat::fiat_25519_add(&mut loose, &self.0, &other.0);
        Self::carried(&loose)
    }

    fn neg(self) -> Self {
        let mut loose = self.relaxed();
        fiat::fiat_25519_opp(&mut loose, &self.0);
        Self::carried(&loose)
    }

    fn mul(self, other: Self) -> Self {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry_mul(&mut out.0, &self.relaxed(), &other.relaxed());
        out
    }

    fn square(self) -> Self {
        let mut out = Self::ZERO;
        fiat::fiat_25519_carry_square(&mut out.0, &self.relaxed());
        out
    }

    fn squared(self, times: u32) -> Self {
        (0..times).fold(self, |x, _| x.square())
    }

    fn is_zero(self) -> bool {
        self.to_bytes() == [0; 32]
    }

    fn equals(self, other: Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }

    /// x^(2^252 - 3), from which square roots and inverses follow.
    fn pow_p58(self) -> Self {
        // Names say how many one bits the exponent has.
        let ones2 = self.square().mul(self);
        let ones4 = ones2.squared(2).mul(ones2);
        let ones5 = ones4.square().mul(self);
        let ones10 = ones5.squared(5).mul(ones5);
        let ones20 = ones10.squared(10).mul(ones10);
        let ones40 = ones20.squared(20).mul(ones20);
        let ones50 = ones40.squared(10).mul(ones10);
        let ones100 = ones50.squared(50).mul(ones50);
        let ones200 = ones100.squared(100).mul(ones100);
        let ones250 = ones200.squared(50).mul(ones50);
        ones250.squared(2).mul(self)
    }

    /// 1/x, and 0 for 0: x^(p - 2) with p - 2 = 8 (2^252 - 3) + 3.
    fn invert(self) -> Self {
        self.pow_p58().squared(3).mul(self.square()).mul(self)
    }

    /// A root of over/under, if that is a square.
    fn sqrt_ratio(over: Self, under: Self) -> Option<Self> {
        let under3 = under.square().mul(under);
        let under7 = under3.square().mul(under);
        let root = over.mul(under3).mul(over.mul(under7).pow_p58());
        let check = root.square().mul(under);
        if check.equals(over) {
            Some(root)
        } else if check.equals(over.neg()) {
            Some(root.mul(Self::sqrt_minus_one()))
        } else {
            None
        }
    }

    /// 2^((p - 1) / 4), with (p - 1) / 4 = 2 (2^252 - 3) + 1.
    fn sqrt_minus_one() -> Self {
        let two = Self::ONE.add(Self::ONE);
        two.pow_p58().square().mul(two)
    }

    /// The one of x and -x that is at most (p - 1) / 2, which is the one whose double is even.
    fn absolute(self) -> Self {
        let [lowest, ..] = self.add(self).to_bytes();
        if lowest & 1 == 1 { self.neg() } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// The vectors of i2pd's tests. The first key has its top bit set, which i2pd reads as 2^255, that is 19.
    #[test]
    fn vectors() {
        let mut key = hex("33951964003c940878063ccfd0348af42150ca16d2646f2c5856e8338377d880");
        key[31] &= 0x7f;
        key[0] += 19;
        let low = hex("2820b6b241e0f68a6c4a7fee3d978228ef3ae45533cd410aa91a415331d8612d");
        let high = hex("3cfb87c46c0b4575ca8175e0ed1c0ae9dae79db78df86997c4847b9f20b27718");
        assert_eq!(encode(&PublicKey(key), 0), Some(low));
        assert_eq!(encode(&PublicKey(key), 1), Some(high));
        for (representative, key) in [
            (
                "e73507d38bae63992b3f57aac48c0abc14509589288457995a2b4ca3490aa207",
                "1e8afffed6bf53fe271ad572473262ded8faec68e5e67ef45ebb82eeba52604f",
            ),
            (
                "95a16019041dbefed9832048ede11928d90365f24a38aa7aef1b97e23954101b",
                "794f05ba3e3a72958022468c88981e0be5782be1e1145ce2c3c6fde16ded5363",
            ),
            (
                "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff3f",
                "9cdb525555555555555555555555555555555555555555555555555555555555",
            ),
        ] {
            assert_eq!(decode(&hex(representative)).0, hex(key));
        }
        let none = hex("e6f66fdf6e230c603c5e6e59a254ea1476a13eb9511b9549846781e12e52230a");
        assert_eq!(encode(&PublicKey(none), 0), None);
    }

    #[test]
    fn keys_without_meaning_have_no_representative() {
        assert_eq!(encode(&PublicKey([0; 32]), 0), None);
        let minus_a = Field::A.neg().to_bytes();
        assert_eq!(encode(&PublicKey(minus_a), 1), None);
    }

    proptest! {
        #[test]
        fn representatives_come_back(secret: [u8; 32], order: u8, tweak: u8) {
            let public = with_small_order(&SecretKey::from_bytes(secret), order);
            if let Some(bytes) = encode(&public, tweak) {
                prop_assert_eq!(bytes[31] & 0xc0, tweak & 0xc0);
                prop_assert_eq!(decode(&bytes), public);
            }
        }

        #[test]
        fn every_string_decodes_to_a_key_that_has_it(bytes: [u8; 32]) {
            let key = decode(&bytes);
            let masked = |tweak| encode(&key, tweak).map(|mut b| { b[31] &= 0x3f; b });
            let mut expected = bytes;
            expected[31] &= 0x3f;
            prop_assert!(masked(0) == Some(expected) || masked(1) == Some(expected));
        }

        #[test]
        fn a_point_of_small_order_changes_no_agreement(a: [u8; 32], b: [u8; 32], order: u8) {
            let (a, b) = (SecretKey::from_bytes(a), SecretKey::from_bytes(b));
            let plain = b.diffie_hellman(&a.public_key()).unwrap();
            let dirty = b.diffie_hellman(&with_small_order(&a, order)).unwrap();
            prop_assert_eq!(plain.0, dirty.0);
        }
    }
}
