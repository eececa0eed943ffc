//! SHA-256 and -512, HMAC-SHA256 and HKDF (RFC 5869).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

pub fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// SHA-256 of the concatenation.
pub fn sha256_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

pub fn sha512(data: &[u8]) -> [u8; 64] {
    Sha512::digest(data).into()
}

#[allow(clippy::panic)]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { panic!("HMAC takes keys of every length") };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HKDF(salt, input key material, info, 32).
pub fn hkdf32(salt: &[u8; 32], ikm: &[u8], info: &[u8]) -> [u8; 32] {
    let prk = hmac_sha256(salt, &[ikm]);
    hmac_sha256(&prk, &[info, &[1]])
}

/// HKDF(salt, input key material, info, 64) as its two halves.
pub fn hkdf64(salt: &[u8; 32], ikm: &[u8], info: &[u8]) -> ([u8; 32], [u8; 32]) {
    let prk = hmac_sha256(salt, &[ikm]);
    let first = hmac_sha256(&prk, &[info, &[1]]);
    let second = hmac_sha256(&prk, &[&first, info, &[2]]);
    (first, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_is_that_of_the_crate() {
        let (salt, ikm, info) = ([3; 32], [4; 45], b"SMTunnelReplyKey");
        let mut expected = [0; 64];
        hkdf::Hkdf::<Sha256>::new(Some(&salt), &ikm).expand(info, &mut expected).unwrap();
        let (a, b) = hkdf64(&salt, &ikm, info);
        assert_eq!([a, b].concat(), expected);
        assert_eq!(hkdf32(&salt, &ikm, info), expected[..32]);
    }
}
