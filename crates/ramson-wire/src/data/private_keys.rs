//! The private keys of a destination, in the format of `eepPriv.dat`, which SAM and other routers share.

use super::offline::OfflineSignature;
use super::{Destination, base64};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::CryptoRng;
use crate::crypto::sign::{SigType, SigningKey};
use zeroize::Zeroizing;

const WHAT: &str = "private keys";

/// A destination with the key that signs for it: its own, or a transient one with a permit.
#[derive(Clone)]
pub struct PrivateKeys {
    destination: Destination,
    /// Unused since 2005; kept as it was read.
    encryption: Zeroizing<Vec<u8>>,
    signing: SigningKey,
    offline: Option<OfflineSignature>,
}

impl PrivateKeys {
    /// A new destination with an Ed25519 key.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let signing = SigningKey::random(rng);
        let destination = Destination::new(signing.verifying_key(), rng);
        Self { destination, encryption: Zeroizing::new(vec![0; 256]), signing, offline: None }
    }

    /// The same destination without its own key: `transient` signs, by a permit until `expires` (seconds since
    /// 1970). Fails on keys that are themselves transient.
    pub fn delegate(&self, transient: SigningKey, expires: u32) -> Result<Self, DecodeError> {
        if self.offline.is_some() {
            return Err(DecodeError::invalid(WHAT, "a transient key cannot delegate"));
        }
        let offline = Some(OfflineSignature::new(expires, transient.verifying_key(), &self.signing));
        Ok(Self { signing: transient, offline, ..self.clone() })
    }

    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The key that signs: the destination's, or the transient one.
    pub const fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    /// The permit, when the signing key is transient.
    pub const fn offline(&self) -> Option<&OfflineSignature> {
        self.offline.as_ref()
    }

    /// The base 64 that SAM carries.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(base64::encode(&Zeroizing::new(self.to_bytes())))
    }

    /// Reads [`Self::to_base64`]'s form.
    pub fn from_base64(text: &str) -> Result<Self, DecodeError> {
        Self::from_bytes(&Zeroizing::new(base64::decode(text)?))
    }
}

impl std::fmt::Debug for PrivateKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKeys of {:?}", self.destination)
    }
}

impl Encode for PrivateKeys {
    fn encode(&self, out: &mut Vec<u8>) {
        self.destination.encode(out);
        out.put(&self.encryption);
        match &self.offline {
            None => out.put(self.signing.seed()),
            Some(offline) => {
                out.resize(out.len() + self.destination.sig_type().private_len(), 0);
                offline.encode(out);
                out.put(self.signing.seed());
            }
        }
    }
}

impl Decode for PrivateKeys {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let destination = Destination::decode(r)?;
        let encryption = match destination.crypto_type() {
            0 => 256,
            1 | 4..=7 => 32,
            2 => 48,
            3 => 66,
            value => return Err(DecodeError::Unsupported { what: "encryption type", value: value.into() }),
        };
        let encryption = Zeroizing::new(r.take(encryption, WHAT)?.to_vec());
        let kind = destination.sig_type();
        let own = r.take(kind.private_len(), WHAT)?;
        let (offline, signing) = if own.iter().all(|b| *b == 0) {
            let offline = OfflineSignature::decode(r, kind)?;
            offline.verify(destination.signing_key())?;
            let own = r.take(offline.transient.kind().private_len(), WHAT)?;
            let signing = ed25519(offline.transient.kind(), own)?;
            (Some(offline), signing)
        } else {
            (None, ed25519(kind, own)?)
        };
        let public = offline.as_ref().map_or(destination.signing_key(), |offline| &offline.transient);
        if public.bytes() != signing.public() {
            return Err(DecodeError::invalid(WHAT, "the private key is not that of the public key"));
        }
        Ok(Self { destination, encryption, signing, offline })
    }
}

fn ed25519(kind: SigType, bytes: &[u8]) -> Result<SigningKey, DecodeError> {
    let unsupported = DecodeError::Unsupported { what: "type of a signing private key", value: kind.code().into() };
    if kind != SigType::Ed25519 {
        return Err(unsupported);
    }
    bytes.try_into().map(SigningKey::from_seed).map_err(|_| unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::identity::testing::Count;
    use proptest::prelude::*;

    #[test]
    fn keys_round_trip() {
        let keys = PrivateKeys::random(&mut Count(1));
        let bytes = keys.to_bytes();
        assert_eq!(bytes.len(), 391 + 256 + 32);
        let read = PrivateKeys::from_base64(&keys.to_base64()).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        read.destination().verify(b"x", &read.signing_key().sign(b"x")).unwrap();
    }

    #[test]
    fn offline_keys_round_trip_and_do_not_delegate() {
        let keys = PrivateKeys::random(&mut Count(1)).delegate(SigningKey::from_seed([9; 32]), 77).unwrap();
        let bytes = keys.to_bytes();
        assert_eq!(bytes[391 + 256..391 + 256 + 32], [0; 32]);
        let read = PrivateKeys::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!(read.offline().map(|offline| offline.expires), Some(77));
        assert!(read.delegate(SigningKey::from_seed([8; 32]), 78).is_err());
    }

    #[test]
    fn keys_of_another_destination_are_refused() {
        let mut bytes = PrivateKeys::random(&mut Count(1)).to_bytes();
        bytes[391 + 256] ^= 1;
        assert!(PrivateKeys::from_bytes(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn changed_keys_do_not_panic(at in 380usize..800, bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let mut raw = PrivateKeys::random(&mut Count(1)).to_bytes();
            let at = at.min(raw.len());
            raw.splice(at..at, bytes);
            let _ = PrivateKeys::from_bytes(&raw);
        }
    }
}
