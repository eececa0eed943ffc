//! The symmetric state of a Noise handshake, as I2P's variants of XK, IK and N drive it.
//!
//! I2P's protocols differ from plain Noise in small ways (obfuscated keys, padding mixed into the hash, payload keys
//! derived aside), so the patterns are spelled out where they are used, and only the common part stands here.

use super::aead::{AeadKey, TAG_LEN};
use super::hash::{hkdf64, sha256, sha256_of};
use super::x25519::SharedSecret;
use super::{CryptoError, Secret};

/// `h`, `ck` and the current cipher key.
#[derive(Clone)]
pub struct SymmetricState {
    h: [u8; 32],
    ck: Secret,
    k: Secret,
}

impl std::fmt::Debug for SymmetricState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SymmetricState(..)")
    }
}

impl SymmetricState {
    /// Starts from a protocol name: hashed when longer than 32 bytes, else padded with zeros; then an empty
    /// prologue is mixed in, as every I2P protocol does.
    pub fn new(protocol: &[u8]) -> Self {
        let ck = match protocol.len() {
            0..=32 => {
                let mut name = [0; 32];
                name.iter_mut().zip(protocol).for_each(|(to, from)| *to = *from);
                name
            }
            _ => sha256(protocol),
        };
        Self { h: sha256(&ck), ck: ck.into(), k: [0; 32].into() }
    }

    /// The handshake hash.
    pub const fn h(&self) -> &[u8; 32] {
        &self.h
    }

    /// The chaining key.
    pub fn ck(&self) -> &[u8; 32] {
        &self.ck
    }

    /// The cipher key after the last `mix_key`.
    pub fn k(&self) -> &[u8; 32] {
        &self.k
    }

    pub fn mix_hash(&mut self, data: &[u8]) {
        self.h = sha256_of(&[&self.h, data]);
    }

    /// MixKey with a Diffie-Hellman result.
    pub fn mix_key(&mut self, shared: &SharedSecret) {
        self.mix_key_bytes(&shared.0);
    }

    /// MixKey with other key material.
    pub fn mix_key_bytes(&mut self, ikm: &[u8]) {
        (*self.ck, *self.k) = hkdf64(&self.ck, ikm, b"");
    }

    /// Replaces the chaining key (the ratchet and the build records derive it further).
    pub fn set_ck(&mut self, ck: [u8; 32]) {
        *self.ck = ck;
    }

    /// Seals `data[from..]` with the current key, appends the tag and mixes the ciphertext into the hash.
    pub fn seal_tail(&mut self, counter: u64, data: &mut Vec<u8>, from: usize) {
        AeadKey::new(&self.k).seal_tail(counter, &self.h, data, from);
        if let Some(sealed) = data.get(from..) {
            self.h = sha256_of(&[&self.h, sealed]);
        }
    }

    /// Opens `data` (ciphertext and tag) in place with the current key, and mixes the ciphertext into the hash.
    pub fn open<'a>(&mut self, counter: u64, data: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
        if data.len() < TAG_LEN {
            return Err(CryptoError);
        }
        let next = sha256_of(&[&self.h, data]);
        let plain = AeadKey::new(&self.k).open(counter, &self.h, data)?;
        self.h = next;
        Ok(plain)
    }

    /// The final Split(): keys of the two directions, initiator's first.
    pub fn split(&self) -> ([u8; 32], [u8; 32]) {
        hkdf64(&self.ck, b"", b"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seal_and_open_keep_the_same_hash() {
        let mut a = SymmetricState::new(b"Noise_XKaesobfse+hs2+hs3_25519_ChaChaPoly_SHA256");
        let mut b = a.clone();
        let mut data = b"xxhello".to_vec();
        a.seal_tail(0, &mut data, 2);
        assert_eq!(b.open(0, &mut data[2..]).unwrap(), b"hello");
        assert_eq!(a.h(), b.h());
        data[3] ^= 1;
        let before = *b.h();
        assert!(b.open(0, &mut data[2..]).is_err());
        assert_eq!(*b.h(), before, "a failed open changes nothing");
    }

    #[test]
    fn short_names_are_padded_and_long_ones_hashed() {
        let n = SymmetricState::new(b"Noise_N_25519_ChaChaPoly_SHA256");
        assert_eq!(&n.ck()[..31], b"Noise_N_25519_ChaChaPoly_SHA256");
        assert_eq!(n.ck()[31], 0);
        assert_eq!(n.h(), &sha256(n.ck()));
    }
}
