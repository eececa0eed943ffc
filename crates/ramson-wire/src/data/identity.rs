//! RouterIdentity and Destination: two public keys and a certificate.
//! <https://geti2p.net/spec/common-structures#keysandcert>

use super::certificate::Certificate;
use super::{Hash, base64};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::sign::{SigType, VerifyingKey};
use crate::crypto::{CryptoError, CryptoRng, random, x25519};
use std::sync::Arc;

/// Length of the two keys with their padding.
const KEYS: usize = 384;
/// The type code of X25519 encryption keys.
pub const CRYPTO_X25519: u16 = 4;
/// The type code of ElGamal encryption keys; in destinations that field is unused.
pub const CRYPTO_ELGAMAL: u16 = 0;

/// Two keys and a certificate, exactly as they were read. Cheap to clone.
#[derive(Clone)]
pub struct KeysAndCert {
    /// The encoding, and perhaps what stood behind it: where it is a part of something that is kept, both share it.
    raw: Arc<[u8]>,
    len: usize,
    hash: Hash,
    crypto: u16,
    signing: VerifyingKey,
}

impl KeysAndCert {
    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        self.raw.get(..self.len).unwrap_or(&self.raw)
    }

    /// The same, with its encoding kept in `whole`, if that begins with it.
    fn within(mut self, whole: &Arc<[u8]>) -> Self {
        if whole.starts_with(self.as_bytes()) {
            self.raw = Arc::clone(whole);
        }
        self
    }

    /// SHA-256 of the encoding.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The type code of the encryption key.
    pub const fn crypto_type(&self) -> u16 {
        self.crypto
    }

    pub const fn signing_key(&self) -> &VerifyingKey {
        &self.signing
    }

    /// The first 32 bytes, where an X25519 key stands.
    fn first_key(&self) -> [u8; 32] {
        self.raw.first_chunk().copied().unwrap_or_default()
    }

    /// `front` at the start, `signing` at the end, and 32 random bytes repeated between them, as proposal 161 wants.
    fn build(front: &[u8], signing: VerifyingKey, crypto: u16, rng: &mut impl CryptoRng) -> Self {
        let key = signing.bytes();
        // A key longer than its field of 128 bytes (P-521) goes on in the certificate.
        let (inside, excess) = key.split_at_checked(128).unwrap_or((key, &[]));
        let noise: [u8; 32] = random(rng);
        let padding = KEYS.saturating_sub(front.len() + inside.len());
        let mut raw = Vec::with_capacity(KEYS + 11);
        raw.put(front);
        raw.extend(noise.iter().cycle().take(padding));
        raw.put(inside);
        Certificate::Key { signing: signing.kind().code(), crypto, excess: excess.into() }.encode(&mut raw);
        Self { hash: Hash::of(&raw), len: raw.len(), raw: raw.into(), crypto, signing }
    }
}

impl Decode for KeysAndCert {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let keys: [u8; KEYS] = r.array("KeysAndCert")?;
        let cert = Certificate::decode(r)?;
        let (code, crypto, excess) = match &cert {
            Certificate::Null => (SigType::DsaSha1.code(), CRYPTO_ELGAMAL, &[][..]),
            Certificate::Key { signing, crypto, excess } => (*signing, *crypto, &**excess),
        };
        let kind = SigType::from_code(code)
            .filter(|kind| kind.is_for_identities())
            .ok_or(DecodeError::Unsupported { what: "signature type of an identity", value: code.into() })?;
        let inside = kind.key_len().min(128);
        let (_, key) = keys.split_at_checked(KEYS - inside).unwrap_or_default();
        let signing = VerifyingKey::new(kind, &[key, excess].concat())
            .map_err(|_| DecodeError::invalid("Certificate", "excess of the signing key"))?;
        let len = whole.len() - r.remaining();
        let raw: Arc<[u8]> = whole.get(..len).unwrap_or_default().into();
        Ok(Self { hash: Hash::of(&raw), raw, len, crypto, signing })
    }
}

/// What both kinds of identity offer.
macro_rules! identity {
    ($name:ident) => {
        impl $name {
            /// SHA-256 of the encoding: the identity's name in the network.
            pub const fn hash(&self) -> Hash {
                self.keys.hash
            }

            /// The encoding, exactly as it was read.
            pub fn as_bytes(&self) -> &[u8] {
                self.keys.as_bytes()
            }

            /// The same, with its encoding kept in `whole`, if that begins with it.
            pub(super) fn within(self, whole: &Arc<[u8]>) -> Self {
                Self { keys: self.keys.within(whole) }
            }

            pub const fn signing_key(&self) -> &VerifyingKey {
                &self.keys.signing
            }

            pub const fn sig_type(&self) -> SigType {
                self.keys.signing.kind()
            }

            /// Verifies a signature of this identity.
            pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
                self.keys.signing.verify(message, signature)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.keys.as_bytes() == other.keys.as_bytes()
            }
        }

        impl Eq for $name {}

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), " {:?}"), self.keys.hash)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.put(self.keys.as_bytes());
            }
        }
    };
}

/// A router's identity. Only X25519 with Ed25519 is one; every other pair of types is obsolete and refused.
#[derive(Clone)]
pub struct RouterIdentity {
    keys: KeysAndCert,
}

identity!(RouterIdentity);

impl RouterIdentity {
    /// An identity of these keys. The padding is drawn once: the identity must be stored with its keys.
    pub fn new(static_key: x25519::PublicKey, signing_key: [u8; 32], rng: &mut impl CryptoRng) -> Self {
        let signing = VerifyingKey::ed25519(signing_key);
        Self { keys: KeysAndCert::build(&static_key.0, signing, CRYPTO_X25519, rng) }
    }

    /// The static key of handshakes, build records and garlic messages to the router.
    pub fn static_key(&self) -> x25519::PublicKey {
        x25519::PublicKey(self.keys.first_key())
    }
}

impl Decode for RouterIdentity {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut ahead = *r;
        let keys = KeysAndCert::decode(&mut ahead)?;
        if keys.signing.kind() != SigType::Ed25519 {
            let value = keys.signing.kind().code().into();
            return Err(DecodeError::Unsupported { what: "signature type of a router", value });
        }
        if keys.crypto != CRYPTO_X25519 {
            return Err(DecodeError::Unsupported { what: "encryption type of a router", value: keys.crypto.into() });
        }
        *r = ahead;
        Ok(Self { keys })
    }
}

/// The address of a service or a client. Its encryption key is unused; LeaseSets carry the keys in use.
#[derive(Clone)]
pub struct Destination {
    keys: KeysAndCert,
}

identity!(Destination);

impl Destination {
    /// A destination of this key. The padding is drawn once: the destination must be stored with its key.
    pub fn new(signing_key: VerifyingKey, rng: &mut impl CryptoRng) -> Self {
        Self { keys: KeysAndCert::build(&[], signing_key, CRYPTO_ELGAMAL, rng) }
    }

    /// The type code of the unused encryption key.
    pub const fn crypto_type(&self) -> u16 {
        self.keys.crypto
    }

    /// The destination as base 64, as `hosts.txt` and SAM carry it.
    pub fn to_base64(&self) -> String {
        base64::encode(self.as_bytes())
    }

    /// Reads [`Self::to_base64`]'s form.
    pub fn from_base64(text: &str) -> Result<Self, DecodeError> {
        Self::from_bytes(&base64::decode(text)?)
    }
}

impl Decode for Destination {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        KeysAndCert::decode(r).map(|keys| Self { keys })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    /// A generator for tests of formats, where randomness does not matter.
    pub(crate) struct Count(pub(crate) u64);

    impl rand_core::TryRng for Count {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            self.0 += 1;
            Ok(self.0 as u32)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 += 1;
            Ok(self.0)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            for byte in out {
                self.0 += 1;
                *byte = self.0 as u8;
            }
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Count {}
}

#[cfg(test)]
mod tests {
    use super::testing::Count;
    use super::*;
    use crate::crypto::sign::SigningKey;
    use proptest::prelude::*;

    #[test]
    fn routers_round_trip_and_repeat_their_padding() {
        let key = SigningKey::from_seed([1; 32]);
        let router = RouterIdentity::new(x25519::PublicKey([2; 32]), *key.public(), &mut Count(0));
        let bytes = router.to_bytes();
        assert_eq!(bytes.len(), 391);
        assert_eq!(bytes[32..64], bytes[320..352], "10 copies");
        let read = RouterIdentity::from_bytes(&bytes).unwrap();
        assert_eq!((read.hash(), read.static_key().0), (Hash::of(&bytes), [2; 32]));
        read.verify(b"x", &key.sign(b"x")).unwrap();
    }

    #[test]
    fn destinations_of_all_types_round_trip() {
        use SigType::{DsaSha1, EcdsaSha256P256, EcdsaSha384P384, EcdsaSha512P521, Ed25519, RedDsa};
        for kind in [DsaSha1, EcdsaSha256P256, EcdsaSha384P384, EcdsaSha512P521, Ed25519, RedDsa] {
            let bytes: Vec<u8> = (0..kind.key_len()).map(|i| i as u8).collect();
            let dest = Destination::new(VerifyingKey::new(kind, &bytes).unwrap(), &mut Count(9));
            let read = Destination::from_base64(&dest.to_base64()).unwrap();
            assert_eq!(read, dest);
            assert_eq!((read.sig_type(), read.signing_key().bytes()), (kind, &bytes[..]));
            assert!(RouterIdentity::from_bytes(dest.as_bytes()).is_err());
        }
    }

    #[test]
    fn a_null_certificate_means_elgamal_and_dsa() {
        let mut bytes: Vec<u8> = (0..384).map(|i| i as u8).collect();
        bytes.extend([0, 0, 0]);
        let dest = Destination::from_bytes(&bytes).unwrap();
        assert_eq!((dest.sig_type(), dest.crypto_type()), (SigType::DsaSha1, CRYPTO_ELGAMAL));
        assert_eq!(dest.signing_key().bytes(), &bytes[256..384]);
    }

    #[test]
    fn missing_or_spare_excess_is_refused() {
        let dest = Destination::new(VerifyingKey::new(SigType::EcdsaSha512P521, &[7; 132]).unwrap(), &mut Count(0));
        let mut short = dest.to_bytes();
        short.truncate(391);
        short[386] = 4;
        assert!(Destination::from_bytes(&short).is_err());
        let mut spare = Destination::new(VerifyingKey::ed25519([3; 32]), &mut Count(0)).to_bytes();
        spare[386] = 5;
        spare.push(0);
        assert!(Destination::from_bytes(&spare).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 384..420), cert: bool, sig in 0u8..13) {
            if cert && bytes.len() > 391 {
                bytes.splice(384..391, [5, 0, 4, 0, sig, 0, 4]);
            }
            let mut r = Reader::new(&bytes);
            if let Ok(dest) = Destination::decode(&mut r) {
                prop_assert_eq!(dest.as_bytes(), &bytes[..bytes.len() - r.remaining()]);
            }
            let _ = RouterIdentity::from_bytes(&bytes);
        }
    }
}
