//! Garlic messages to a router: Noise N to its static key, one message each, anonymous and without reply.
//! <https://geti2p.net/spec/ecies-routers>
//!
//! Encrypted bytes: `ephemeral key :: 32 (plain, not Elligator2)`, `payload and its 16-byte tag`. The payload is
//! made of [`super::block`]s, of which the first must be DateTime.

use super::{frame, unframe};
use crate::codec::DecodeError;
use crate::crypto::aead::TAG_LEN;
use crate::crypto::noise::SymmetricState;
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::crypto::{CryptoError, CryptoRng};

/// Bytes that [`seal`] adds to the payload: size, ephemeral key and tag.
pub const OVERHEAD: usize = 4 + 32 + TAG_LEN;

const PROTOCOL: &[u8] = b"Noise_N_25519_ChaChaPoly_SHA256";

/// The Garlic body for the router with this static key. Fails when the key is of low order.
pub fn seal(rng: &mut impl CryptoRng, to: &PublicKey, payload: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let ephemeral = SecretKey::random(rng);
    let ephemeral_public = ephemeral.public_key();
    let mut noise = SymmetricState::new(PROTOCOL);
    noise.mix_hash(&to.0);
    noise.mix_hash(&ephemeral_public.0);
    noise.mix_key(&ephemeral.diffie_hellman(to)?);
    let mut encrypted = Vec::with_capacity(32 + payload.len() + TAG_LEN);
    encrypted.extend_from_slice(&ephemeral_public.0);
    encrypted.extend_from_slice(payload);
    noise.seal_tail(0, &mut encrypted, 32);
    Ok(frame(&encrypted))
}

/// The payload of a Garlic body that was sealed to the key of `secret`. Every failure after the framing is
/// `Unverified`.
pub fn open(secret: &SecretKey, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    const FAILED: DecodeError = DecodeError::Unverified { what: "Garlic message to a router" };
    let encrypted = unframe(body)?;
    let (ephemeral, sealed) =
        encrypted.split_first_chunk::<32>().ok_or(DecodeError::Truncated { what: "Garlic message to a router" })?;
    let mut noise = SymmetricState::new(PROTOCOL);
    noise.mix_hash(&secret.public_key().0);
    noise.mix_hash(ephemeral);
    noise.mix_key(&secret.diffie_hellman(&PublicKey(*ephemeral)).map_err(|_| FAILED)?);
    let mut data = sealed.to_vec();
    let len = noise.open(0, &mut data).map_err(|_| FAILED)?.len();
    data.truncate(len);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Counter(u64);
    impl rand_core::TryRng for Counter {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.try_next_u64().map(|n| n as u32)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Ok(self.0.rotate_left(29))
        }
        fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
            to.iter_mut().for_each(|b| *b = self.try_next_u64().unwrap_or(0) as u8);
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Counter {}

    #[test]
    fn every_flipped_byte_is_refused() {
        let secret = SecretKey::from_bytes([7; 32]);
        let body = seal(&mut Counter(1), &secret.public_key(), b"payload").unwrap();
        assert_eq!(body.len(), OVERHEAD + 7);
        assert_eq!(open(&secret, &body).unwrap(), b"payload");
        for i in 0..body.len() {
            let mut bad = body.clone();
            bad[i] ^= 1;
            assert!(open(&secret, &bad).is_err(), "byte {i}");
            assert!(open(&secret, &body[..i]).is_err());
        }
        assert!(open(&SecretKey::from_bytes([8; 32]), &body).is_err());
        assert_ne!(seal(&mut Counter(2), &secret.public_key(), b"payload").unwrap(), body);
        assert!(seal(&mut Counter(1), &PublicKey([0; 32]), b"").is_err(), "a key of low order");
    }

    proptest! {
        #[test]
        fn round_trip_and_random_bytes(seed: u64, payload in prop::collection::vec(any::<u8>(), 0..2000)) {
            let secret = SecretKey::random(&mut Counter(seed));
            let body = seal(&mut Counter(!seed), &secret.public_key(), &payload).unwrap();
            prop_assert_eq!(open(&secret, &body).unwrap(), payload.clone());
            prop_assert!(open(&secret, &frame(&payload)).is_err());
        }
    }
}
