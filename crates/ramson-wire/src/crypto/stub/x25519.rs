//! The public key is the secret one, and both sides agree on the bitwise sum of theirs. A key of zeros is of low order,
//! and so is one's own.

use super::super::CryptoError;

pub(in super::super) fn public(secret: &[u8; 32]) -> [u8; 32] {
    *secret
}

pub(in super::super) fn agree(secret: &[u8; 32], peer: &[u8; 32]) -> Result<[u8; 32], CryptoError> {
    if *peer == [0; 32] {
        return Err(CryptoError);
    }
    let mut shared = *secret;
    shared.iter_mut().zip(peer).for_each(|(to, from)| *to ^= from);
    Ok(shared)
}
