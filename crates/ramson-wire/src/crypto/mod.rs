//! The cryptography of the specification, on audited crates: no primitive is our own.
//!
//! The bulk path (AEAD, X25519, Ed25519) rides on aws-lc with the feature `aws-lc`, else on RustCrypto and dalek;
//! both give the same bytes, and tests hold them against each other. Randomness is always an argument.

pub mod aead;
#[cfg(not(ramson_fuzz_crypto))]
pub mod aes;
pub mod chacha20;
mod dsa;
#[cfg(not(ramson_fuzz_crypto))]
pub mod elligator2;
pub mod hash;
pub mod noise;
pub mod rsa;
mod secret;
pub mod sign;
#[cfg(not(ramson_fuzz_crypto))]
pub mod siphash;
#[cfg(ramson_fuzz_crypto)]
mod stub;
pub mod x25519;

#[cfg(ramson_fuzz_crypto)]
pub use stub::{aes, elligator2, siphash};

pub use rand_core::CryptoRng;
pub use secret::Secret;

/// A cryptographic operation failed. It never says why: callers must not tell a peer either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cryptographic check failed")]
pub struct CryptoError;

/// `N` random bytes.
pub fn random<const N: usize>(rng: &mut impl CryptoRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}
