//! Messages under a key and tag that were handed over before: replies to look-ups, and the reply to a tunnel build
//! at its outbound endpoint. One key, one tag, one message.
//! <https://geti2p.net/spec/i2np#databaselookup>, <https://geti2p.net/spec/tunnel-creation-ecies>
//!
//! Encrypted bytes: `tag :: 8`, `payload and its 16-byte AEAD tag` (nonce 0, the session tag as associated data).

use super::{TAG_LEN, frame, unframe};
use crate::codec::DecodeError;
use crate::crypto::aead::{self, AeadKey};

/// Bytes that [`seal`] adds to the payload: size, session tag and AEAD tag.
pub const OVERHEAD: usize = 4 + TAG_LEN + aead::TAG_LEN;

/// The Garlic body of the one message under this key.
pub fn seal(key: &[u8; 32], tag: &[u8; TAG_LEN], payload: &[u8]) -> Vec<u8> {
    let mut encrypted = Vec::with_capacity(TAG_LEN + payload.len() + aead::TAG_LEN);
    encrypted.extend_from_slice(tag);
    encrypted.extend_from_slice(payload);
    AeadKey::new(key).seal_tail(0, tag, &mut encrypted, TAG_LEN);
    frame(&encrypted)
}

/// The session tag of a Garlic body, by which its key is found. (Every body with eight bytes has one.)
pub fn tag(body: &[u8]) -> Option<[u8; TAG_LEN]> {
    unframe(body).ok()?.first_chunk().copied()
}

/// The payload of the message under `key`.
pub fn open(key: &[u8; 32], body: &[u8]) -> Result<Vec<u8>, DecodeError> {
    const WHAT: &str = "tagged Garlic message";
    let (tag, sealed) = unframe(body)?.split_first_chunk::<TAG_LEN>().ok_or(DecodeError::Truncated { what: WHAT })?;
    let mut data = sealed.to_vec();
    let opened = AeadKey::new(key).open(0, tag, &mut data).map_err(|_| DecodeError::Unverified { what: WHAT })?;
    let len = opened.len();
    data.truncate(len);
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_flipped_byte_is_refused() {
        let body = seal(&[1; 32], &[2; 8], b"payload");
        assert_eq!(body.len(), OVERHEAD + 7);
        assert_eq!(tag(&body), Some([2; 8]));
        for i in 0..body.len() {
            let mut bad = body.clone();
            bad[i] ^= 0x80;
            assert!(open(&[1; 32], &bad).is_err(), "byte {i}");
            assert!(open(&[1; 32], &body[..i]).is_err());
        }
        assert!(open(&[3; 32], &body).is_err());
    }

    proptest! {
        #[test]
        fn round_trip_and_random_bytes(key: [u8; 32], tag: [u8; 8], payload in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(open(&key, &seal(&key, &tag, &payload)).unwrap(), payload.clone());
            prop_assert!(open(&key, &frame(&payload)).is_err());
            let _ = super::tag(&payload);
        }
    }
}
