//! Datagram2, repliable and bound to its receiver:
//! `from`, `flags :: 2`, `options?`, `offline signature?`, `payload`, `signature`.
//!
//! The signature covers the receiver's hash (which is not sent) and everything behind `from`. Of `from` it fixes only
//! the key: whoever changes its padding makes another destination of the same key.

use super::{OFFLINE, OPTIONS, flags_and_options};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::sign::SigningKey;
use crate::data::{Destination, Hash, Mapping, OfflineSignature};

const VERSION: u16 = 2;

/// A datagram whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram2 {
    pub from: Destination,
    pub options: Mapping,
    pub payload: Vec<u8>,
}

impl Datagram2 {
    /// Signs a datagram to the destination `to`. `key` must be that of `from`, or the transient key of `offline`.
    pub fn sign(
        from: &Destination,
        to: &Hash,
        key: &SigningKey,
        offline: Option<&OfflineSignature>,
        options: &Mapping,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut body = Vec::with_capacity(payload.len() + 256);
        let with_options = if options.is_empty() { 0 } else { OPTIONS };
        let with_offline = if offline.is_some() { OFFLINE } else { 0 };
        body.put_u16(VERSION | with_options | with_offline);
        if !options.is_empty() {
            options.encode(&mut body);
        }
        if let Some(offline) = offline {
            offline.encode(&mut body);
        }
        body.put(payload);
        let signature = key.sign(&[&to.0[..], &body].concat());
        let mut out = from.to_bytes();
        out.put(&body);
        out.put(&signature);
        out
    }

    /// Reads and verifies a datagram that came to the destination `to` at `now` (seconds since 1970); this is
    /// public-key work. One that was signed for another destination, or by an expired transient key, fails.
    pub fn open(bytes: &[u8], to: &Hash, now: u32) -> Result<Self, DecodeError> {
        const FAILED: DecodeError = DecodeError::Unverified { what: "Datagram2" };
        let mut r = Reader::new(bytes);
        let from = Destination::decode(&mut r)?;
        let signed_from = r.peek();
        let (flags, options) = flags_and_options(&mut r, VERSION)?;
        let offline = match flags & OFFLINE {
            0 => None,
            _ => Some(OfflineSignature::decode(&mut r, from.sig_type())?),
        };
        let signer = match &offline {
            None => from.signing_key(),
            Some(offline) => {
                offline.verify(from.signing_key()).map_err(|_| FAILED)?;
                if offline.expires <= now {
                    return Err(DecodeError::invalid("Datagram2", "expired transient key"));
                }
                &offline.transient
            }
        };
        let rest = r.peek();
        let payload_len = rest
            .len()
            .checked_sub(signer.kind().signature_len())
            .ok_or(DecodeError::Truncated { what: "Datagram2 signature" })?;
        let payload = r.take(payload_len, "Datagram2 payload")?.to_vec();
        let signature = r.take_rest();
        let signed = signed_from.get(..signed_from.len() - signature.len()).unwrap_or_default();
        signer.verify(&[&to.0[..], signed].concat(), signature).map_err(|_| FAILED)?;
        Ok(Self { from, options, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PrivateKeys;
    use crate::data::identity::testing::Count;
    use proptest::prelude::*;

    #[test]
    fn t97_flipped_bytes_and_other_receivers_are_refused() {
        let keys = PrivateKeys::random(&mut Count(0));
        let options = Mapping::from_pairs([("a", "b")]).unwrap();
        let to = Hash([9; 32]);
        let delegated = keys.delegate(SigningKey::from_seed([5; 32]), 1000).unwrap();
        for (keys, options) in [(&keys, Mapping::new()), (&keys, options.clone()), (&delegated, options)] {
            let from = keys.destination();
            let bytes = Datagram2::sign(from, &to, keys.signing_key(), keys.offline(), &options, b"hello");
            let opened = Datagram2::open(&bytes, &to, 999).unwrap();
            assert_eq!(opened, Datagram2 { from: from.clone(), options, payload: b"hello".to_vec() });
            assert!(Datagram2::open(&bytes, &Hash([8; 32]), 999).is_err(), "signed for another");
            assert_eq!(Datagram2::open(&bytes, &to, 1000).is_ok(), keys.offline().is_none());
            for i in 391..bytes.len() {
                let mut bad = bytes.clone();
                bad[i] ^= 1;
                assert!(Datagram2::open(&bad, &to, 999).is_err(), "byte {i}");
                assert!(Datagram2::open(&bytes[..i], &to, 999).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let keys = PrivateKeys::random(&mut Count(0));
            let _ = Datagram2::open(&[keys.destination().as_bytes(), &bytes].concat(), &Hash::default(), 0);
        }
    }
}
