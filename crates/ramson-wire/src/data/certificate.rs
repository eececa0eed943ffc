//! The certificate behind the keys of an identity. <https://geti2p.net/spec/common-structures#certificate>

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};

/// The certificates that live identities carry. Hashcash, hidden, signed and multiple certificates are obsolete and
/// refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// ElGamal and DSA-SHA1 keys, in full.
    Null,
    /// The types of the keys, and what of the signing key does not fit before the certificate. No encryption type in
    /// use is longer than its field.
    Key { signing: u16, crypto: u16, excess: Box<[u8]> },
}

/// The most excess of any signing key that identities may use (ECDSA P-521).
const MAX_EXCESS: usize = 4;

impl Decode for Certificate {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = r.u8("Certificate type")?;
        let len = r.u16("Certificate length")?;
        let payload = r.take(usize::from(len), "Certificate payload")?;
        match (kind, payload.split_first_chunk::<4>()) {
            (0, None) if payload.is_empty() => Ok(Self::Null),
            (0, _) => Err(DecodeError::invalid("Certificate", "a NULL certificate is empty")),
            (5, Some((types, excess))) => {
                if excess.len() > MAX_EXCESS {
                    return Err(DecodeError::TooLarge { what: "Certificate excess", limit: MAX_EXCESS });
                }
                let [a, b, c, d] = *types;
                let (signing, crypto) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                Ok(Self::Key { signing, crypto, excess: excess.into() })
            }
            (5, None) => Err(DecodeError::invalid("Certificate", "a KEY certificate names two types")),
            (value, _) => Err(DecodeError::Unsupported { what: "Certificate type", value: value.into() }),
        }
    }
}

impl Encode for Certificate {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.put(&[0, 0, 0]),
            Self::Key { signing, crypto, excess } => {
                out.put_u8(5);
                // The excess is bounded where the value is made.
                out.put_u16(4 + u16::try_from(excess.len()).unwrap_or(0));
                out.put_u16(*signing);
                out.put_u16(*crypto);
                out.put(excess);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(signing: u16, crypto: u16, excess in prop::collection::vec(any::<u8>(), 0..=4)) {
            let cert = Certificate::Key { signing, crypto, excess: excess.into() };
            prop_assert_eq!(Certificate::from_bytes(&cert.to_bytes()).unwrap(), cert);
        }

        #[test]
        fn what_decodes_re_encodes(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let mut r = Reader::new(&bytes);
            if let Ok(cert) = Certificate::decode(&mut r) {
                prop_assert_eq!(cert.to_bytes(), &bytes[..bytes.len() - r.remaining()]);
            }
        }
    }

    /// Threats T3: lengths that do not fit, and the obsolete types.
    #[test]
    fn t3_odd_certificates_are_refused() {
        assert_eq!(Certificate::from_bytes(&[0, 0, 0]), Ok(Certificate::Null));
        for bad in [&[0, 0, 1, 0][..], &[5, 0, 3, 0, 7, 0], &[1, 0, 0], &[5, 0, 9, 0, 7, 0, 4, 1, 2, 3, 4, 5]] {
            assert!(Certificate::from_bytes(bad).is_err());
        }
        for kind in 0..=u8::MAX {
            for len in [1u16, 4, 65_535] {
                let [high, low] = len.to_be_bytes();
                let read = Certificate::from_bytes(&[kind, high, low, 0, 7, 0, 4]);
                assert_eq!(read.is_ok(), kind == 5 && len == 4, "type {kind}, length {len}");
            }
        }
    }
}
