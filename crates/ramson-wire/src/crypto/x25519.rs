//! X25519 (RFC 7748) with static and ephemeral keys. Keys are little-endian byte strings on the wire.

use super::{CryptoError, CryptoRng, Secret};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A public key as it stands on the wire; every 32 bytes are one, its use may fail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Whether this is the one encoding of its point that a sender makes: below 2^255 - 19, and so with a zero top bit.
    pub fn is_canonical(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        *last < 0x7f || *last == 0x7f && (*first < 0xed || middle.iter().any(|byte| *byte != 0xff))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "x25519:{a:02x}{b:02x}..")
    }
}

/// A secret key, erased when dropped.
#[derive(Clone)]
pub struct SecretKey(Secret);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x25519::SecretKey(..)")
    }
}

/// The result of a Diffie-Hellman, erased when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret(pub [u8; 32]);

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x25519::SharedSecret(..)")
    }
}

impl SecretKey {
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self::from_bytes(super::random(rng))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    /// The raw secret, for key files.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey(imp::public(&self.0))
    }

    /// The shared secret; fails when the peer's key is of low order (an all-zero result).
    pub fn diffie_hellman(&self, peer: &PublicKey) -> Result<SharedSecret, CryptoError> {
        let shared = imp::agree(&self.0, &peer.0)?;
        if shared == [0; 32] { Err(CryptoError) } else { Ok(SharedSecret(shared)) }
    }
}

#[cfg(feature = "aws-lc")]
mod imp {
    use super::CryptoError;
    use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree as agree_with};

    #[allow(clippy::panic)]
    pub(super) fn public(secret: &[u8; 32]) -> [u8; 32] {
        let Some(public) =
            PrivateKey::from_private_key(&X25519, secret).ok().and_then(|key| key.compute_public_key().ok())
        else {
            panic!("every 32 bytes are an X25519 key")
        };
        let mut out = [0; 32];
        out.copy_from_slice(public.as_ref());
        out
    }

    pub(super) fn agree(secret: &[u8; 32], peer: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        let key = PrivateKey::from_private_key(&X25519, secret).map_err(|_| CryptoError)?;
        agree_with(&key, UnparsedPublicKey::new(&X25519, peer), CryptoError, |shared| {
            let mut out = [0; 32];
            if shared.len() == 32 {
                out.copy_from_slice(shared);
            }
            Ok(out)
        })
    }
}

#[cfg(all(not(feature = "aws-lc"), not(ramson_fuzz_crypto)))]
use portable as imp;

#[cfg(ramson_fuzz_crypto)]
use super::stub::x25519 as imp;

#[cfg(any(test, all(not(feature = "aws-lc"), not(ramson_fuzz_crypto))))]
mod portable {
    use super::CryptoError;
    use x25519_dalek::{PublicKey, StaticSecret};

    pub(super) fn public(secret: &[u8; 32]) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
    }

    pub(super) fn agree(secret: &[u8; 32], peer: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
        let shared = StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*peer));
        if shared.was_contributory() { Ok(shared.to_bytes()) } else { Err(CryptoError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_backends_agree() {
        for i in 0..50u8 {
            let (a, b) = (SecretKey::from_bytes([i; 32]), SecretKey::from_bytes([i.wrapping_add(77); 32]));
            assert_eq!(a.public_key().0, portable::public(&a.0));
            let shared = a.diffie_hellman(&b.public_key()).unwrap();
            assert_eq!(shared.0, b.diffie_hellman(&a.public_key()).unwrap().0);
            assert_eq!(shared.0, portable::agree(&a.0, &b.public_key().0).unwrap());
        }
    }

    /// RFC 7748, section 5.2: the iterated vector after 1 and 1,000 rounds.
    #[test]
    fn rfc_7748() {
        let hex = |b: [u8; 32]| -> String { b.iter().map(|b| format!("{b:02x}")).collect() };
        let (mut k, mut u) = ([0; 32], [0; 32]);
        (k[0], u[0]) = (9, 9);
        for round in 1..=1000 {
            (k, u) = (SecretKey::from_bytes(k).diffie_hellman(&PublicKey(u)).unwrap().0, k);
            if round == 1 {
                assert_eq!(hex(k), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
            }
        }
        assert_eq!(hex(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
    }

    #[test]
    fn canonical_keys_are_those_below_the_prime() {
        let key = |first, middle, last| {
            let mut key = [middle; 32];
            (key[0], key[31]) = (first, last);
            PublicKey(key).is_canonical()
        };
        assert!(key(0, 0, 0) && key(0xec, 0xff, 0x7f) && key(0xff, 0xfe, 0x7f) && key(0xff, 0xff, 0x7e));
        assert!(!key(0xed, 0xff, 0x7f) && !key(0xff, 0xff, 0x7f) && !key(0, 0, 0x80) && !key(9, 1, 0xff));
        assert!((0..50).all(|i| SecretKey::from_bytes([i; 32]).public_key().is_canonical()));
    }

    #[test]
    fn low_order_points_are_refused() {
        let key = SecretKey::from_bytes([9; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        let order8 = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
            0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ];
        for point in [[0; 32], one, order8] {
            assert!(key.diffie_hellman(&PublicKey(point)).is_err());
        }
    }
}
