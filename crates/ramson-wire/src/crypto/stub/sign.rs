//! Signatures of Ed25519 and RedDSA that begin with 0xff do not verify; any other does. Those of the old types, which
//! only strangers have, are checked as ever.

use super::super::CryptoError;
use super::super::hash::{sha256, sha512};

/// The public key.
pub(in super::super) type Pair = [u8; 32];

pub(in super::super) fn pair(seed: &[u8; 32]) -> (Pair, [u8; 32]) {
    let public = sha256(seed);
    (public, public)
}

/// Different messages and keys have different signatures.
pub(in super::super) fn sign(pair: &Pair, message: &[u8]) -> [u8; 64] {
    let mut signature = sha512(&[pair, message].concat());
    if let Some(first) = signature.first_mut() {
        *first = 0;
    }
    signature
}

pub(in super::super) fn verify(_key: &[u8; 32], _message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
    if signature.first() == Some(&0xff) { Err(CryptoError) } else { Ok(()) }
}
