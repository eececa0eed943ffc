//! Every key is its own representative.

use super::super::CryptoRng;
use super::super::x25519::{PublicKey, SecretKey};

#[derive(Clone, Debug)]
pub struct KeyPair {
    pub secret: SecretKey,
    pub public: PublicKey,
    pub representative: [u8; 32],
}

impl KeyPair {
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let secret = SecretKey::random(rng);
        let public = secret.public_key();
        Self { secret, public, representative: public.0 }
    }
}

pub fn encode(key: &PublicKey, _tweak: u8) -> Option<[u8; 32]> {
    Some(key.0)
}

pub fn decode(representative: &[u8; 32]) -> PublicKey {
    PublicKey(*representative)
}
