//! Datagram1, repliable: `from`, `signature`, `payload`. Not bound to its receiver, so it can be replayed to others;
//! prefer [`super::Datagram2`].

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::hash::sha256;
use crate::crypto::sign::{SigType, SigningKey};
use crate::data::Destination;

/// A datagram whose signature was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram1 {
    pub from: Destination,
    pub payload: Vec<u8>,
}

impl Datagram1 {
    /// Signs a datagram; `key` must be that of `from`.
    pub fn sign(from: &Destination, key: &SigningKey, payload: &[u8]) -> Vec<u8> {
        let mut out = from.to_bytes();
        out.put(&key.sign(payload));
        out.put(payload);
        out
    }

    /// Reads and verifies; this is public-key work.
    pub fn open(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let from = Destination::decode(&mut r)?;
        let signature = r.take(from.sig_type().signature_len(), "Datagram1 signature")?;
        let payload = r.take_rest().to_vec();
        let verified = match from.sig_type() {
            SigType::DsaSha1 => from.verify(&sha256(&payload), signature),
            _ => from.verify(&payload, signature),
        };
        verified.map_err(|_| DecodeError::Unverified { what: "Datagram1" })?;
        Ok(Self { from, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::identity::testing::Count;
    use proptest::prelude::*;

    #[test]
    fn t97_every_flipped_or_missing_byte_is_refused() {
        let key = SigningKey::from_seed([1; 32]);
        let from = Destination::new(key.verifying_key(), &mut Count(0));
        let bytes = Datagram1::sign(&from, &key, b"hello");
        assert_eq!(Datagram1::open(&bytes).unwrap(), Datagram1 { from, payload: b"hello".to_vec() });
        for i in 391..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert!(Datagram1::open(&bad).is_err(), "byte {i}");
            assert!(Datagram1::open(&bytes[..i]).is_err());
        }
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Datagram1::open(&bytes);
        }
    }
}
