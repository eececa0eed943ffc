//! ChaCha20-Poly1305 (RFC 8439) in place, with the nonce layout of I2P: four zero bytes, then a little-endian counter.

use super::CryptoError;

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// A prepared key. Preparing costs about as much as sealing 100 bytes: keep it with the session.
pub struct AeadKey(imp::Key);

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

impl AeadKey {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(imp::key(key))
    }

    /// Encrypts `data` in place and returns the tag that belongs behind it.
    pub fn seal(&self, counter: u64, ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        imp::seal(&self.0, nonce(counter), ad, data)
    }

    /// Encrypts `data[from..]` in place and appends the tag.
    pub fn seal_tail(&self, counter: u64, ad: &[u8], data: &mut Vec<u8>, from: usize) {
        if let Some(tail) = data.get_mut(from..) {
            let tag = self.seal(counter, ad, tail);
            data.extend_from_slice(&tag);
        }
    }

    /// Opens `data`, which ends with the tag, in place; returns the plaintext, a prefix of `data`.
    /// On failure the content of `data` is unspecified and must not be used.
    pub fn open<'a>(&self, counter: u64, ad: &[u8], data: &'a mut [u8]) -> Result<&'a mut [u8], CryptoError> {
        imp::open(&self.0, nonce(counter), ad, data)
    }
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(tail) = nonce.last_chunk_mut::<8>() {
        *tail = counter.to_le_bytes();
    }
    nonce
}

#[cfg(feature = "aws-lc")]
mod imp {
    use super::{CryptoError, TAG_LEN};
    use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    pub(super) type Key = LessSafeKey;

    // The two impossible cases below (a key of a wrong length, a message over 256 GiB) cannot be reached with the
    // types above; they end in the only safe way there is.
    #[allow(clippy::panic)]
    pub(super) fn key(key: &[u8; 32]) -> Key {
        match UnboundKey::new(&CHACHA20_POLY1305, key) {
            Ok(key) => LessSafeKey::new(key),
            Err(_) => panic!("32 bytes are a ChaCha20-Poly1305 key"),
        }
    }

    #[allow(clippy::panic)]
    pub(super) fn seal(key: &Key, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let Ok(tag) = key.seal_in_place_separate_tag(nonce, Aad::from(ad), data) else {
            panic!("a message shorter than 256 GiB seals")
        };
        let mut out = [0; TAG_LEN];
        out.copy_from_slice(tag.as_ref());
        out
    }

    pub(super) fn open<'a>(
        key: &Key,
        nonce: [u8; 12],
        ad: &[u8],
        data: &'a mut [u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(ad), data).map_err(|_| CryptoError)
    }
}

#[cfg(all(not(feature = "aws-lc"), not(ramson_fuzz_crypto)))]
use portable as imp;

#[cfg(ramson_fuzz_crypto)]
use super::stub::aead as imp;

#[cfg(any(test, all(not(feature = "aws-lc"), not(ramson_fuzz_crypto))))]
mod portable {
    use super::{CryptoError, TAG_LEN};
    use chacha20poly1305::aead::{AeadInOut, KeyInit};
    use chacha20poly1305::{ChaCha20Poly1305, Tag};

    /// In a box, as all secrets that rest: where its owner moves, no copy stays.
    pub(super) type Key = Box<ChaCha20Poly1305>;

    pub(super) fn key(key: &[u8; 32]) -> Key {
        Box::new(ChaCha20Poly1305::new(key.into()))
    }

    #[allow(clippy::panic)]
    pub(super) fn seal(key: &Key, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        match key.encrypt_inout_detached(&nonce.into(), ad, data.into()) {
            Ok(tag) => tag.into(),
            Err(_) => panic!("a message shorter than 256 GiB seals"),
        }
    }

    pub(super) fn open<'a>(
        key: &Key,
        nonce: [u8; 12],
        ad: &[u8],
        data: &'a mut [u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        let (text, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(CryptoError)?;
        let tag = Tag::from(*tag);
        key.decrypt_inout_detached(&nonce.into(), ad, (&mut *text).into(), &tag).map_err(|_| CryptoError)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_backends_agree_and_catch_every_flipped_bit() {
        let key = [7; 32];
        for len in [0usize, 1, 15, 16, 63, 64, 65, 218, 1028, 16_384] {
            let plain: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut ours = plain.clone();
            AeadKey::new(&key).seal_tail(3, b"ad", &mut ours, 0);
            let mut theirs = plain.clone();
            let tag = portable::seal(&portable::key(&key), nonce(3), b"ad", &mut theirs);
            theirs.extend_from_slice(&tag);
            assert_eq!(ours, theirs, "length {len}");
            assert_eq!(AeadKey::new(&key).open(3, b"ad", &mut ours.clone()).unwrap(), &plain[..]);
            for bit in (0..ours.len() * 8).step_by(if len > 100 { 997 } else { 1 }) {
                let mut bad = ours.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(AeadKey::new(&key).open(3, b"ad", &mut bad.clone()).is_err());
                assert!(portable::open(&portable::key(&key), nonce(3), b"ad", &mut bad).is_err());
            }
        }
    }

    #[test]
    fn short_input_is_refused() {
        for len in 0..TAG_LEN {
            assert!(AeadKey::new(&[0; 32]).open(0, b"", &mut vec![0; len]).is_err());
        }
    }

    /// RFC 8439, section 2.8.2, with its nonce's last eight bytes as the counter is not expressible (its first four
    /// bytes are 07 00 00 00), so the layout is checked against the primitive directly.
    #[test]
    fn nonce_is_four_zeros_and_little_endian() {
        assert_eq!(nonce(0x0102_0304_0506_0708), [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
    }
}
