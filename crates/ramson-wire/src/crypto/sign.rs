//! Signatures: every type that identities and LeaseSets of the network carry can be verified; Ed25519 signs.
//! <https://geti2p.net/spec/common-structures#signingpublickey>

use super::{CryptoError, Secret, dsa};

/// A signature type, by the code of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SigType {
    DsaSha1,
    EcdsaSha256P256,
    EcdsaSha384P384,
    EcdsaSha512P521,
    /// RSA signs files, never identities.
    RsaSha256_2048,
    RsaSha384_3072,
    RsaSha512_4096,
    Ed25519,
    /// Reserved for offline signing, never used in identities.
    Ed25519ph,
    /// Destinations that can be blinded. Verifies as Ed25519 does.
    RedDsa,
}

impl SigType {
    /// The type of a code; `None` for codes without a meaning here (GOST, ML-DSA, unassigned).
    pub const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            0 => Self::DsaSha1,
            1 => Self::EcdsaSha256P256,
            2 => Self::EcdsaSha384P384,
            3 => Self::EcdsaSha512P521,
            4 => Self::RsaSha256_2048,
            5 => Self::RsaSha384_3072,
            6 => Self::RsaSha512_4096,
            7 => Self::Ed25519,
            8 => Self::Ed25519ph,
            11 => Self::RedDsa,
            _ => return None,
        })
    }

    pub const fn code(self) -> u16 {
        match self {
            Self::DsaSha1 => 0,
            Self::EcdsaSha256P256 => 1,
            Self::EcdsaSha384P384 => 2,
            Self::EcdsaSha512P521 => 3,
            Self::RsaSha256_2048 => 4,
            Self::RsaSha384_3072 => 5,
            Self::RsaSha512_4096 => 6,
            Self::Ed25519 => 7,
            Self::Ed25519ph => 8,
            Self::RedDsa => 11,
        }
    }

    /// Length of the public key in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::DsaSha1 => 128,
            Self::EcdsaSha256P256 => 64,
            Self::EcdsaSha384P384 => 96,
            Self::EcdsaSha512P521 => 132,
            Self::RsaSha256_2048 => 256,
            Self::RsaSha384_3072 => 384,
            Self::RsaSha512_4096 => 512,
            Self::Ed25519 | Self::Ed25519ph | Self::RedDsa => 32,
        }
    }

    /// Length of the private key in bytes, as key files hold it.
    pub const fn private_len(self) -> usize {
        match self {
            Self::DsaSha1 => 20,
            Self::EcdsaSha256P256 => 32,
            Self::EcdsaSha384P384 => 48,
            Self::EcdsaSha512P521 => 66,
            Self::RsaSha256_2048 => 512,
            Self::RsaSha384_3072 => 768,
            Self::RsaSha512_4096 => 1024,
            Self::Ed25519 | Self::Ed25519ph | Self::RedDsa => 32,
        }
    }

    /// Length of a signature in bytes.
    pub const fn signature_len(self) -> usize {
        match self {
            Self::DsaSha1 => 40,
            Self::Ed25519 | Self::Ed25519ph | Self::RedDsa => 64,
            _ => self.key_len(),
        }
    }

    /// Whether identities, LeaseSets and offline blocks may use the type.
    pub const fn is_for_identities(self) -> bool {
        !matches!(self, Self::RsaSha256_2048 | Self::RsaSha384_3072 | Self::RsaSha512_4096 | Self::Ed25519ph)
    }
}

/// A public key that verifies, with the length of its type. Whether its bytes are a point of the curve shows when
/// it is used.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VerifyingKey {
    kind: SigType,
    bytes: Box<[u8]>,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({:?})", self.kind)
    }
}

impl VerifyingKey {
    /// A key of an identity. Fails when the length is not that of `kind`, or `kind` is not for identities.
    pub fn new(kind: SigType, bytes: &[u8]) -> Result<Self, CryptoError> {
        if !kind.is_for_identities() || bytes.len() != kind.key_len() {
            return Err(CryptoError);
        }
        Ok(Self { kind, bytes: bytes.into() })
    }

    pub fn ed25519(bytes: [u8; 32]) -> Self {
        Self { kind: SigType::Ed25519, bytes: Box::new(bytes) }
    }

    pub const fn kind(&self) -> SigType {
        self.kind
    }

    /// The key as it stands on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Verifies `signature` over `message`. A signature of a wrong length fails.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        if signature.len() != self.kind.signature_len() {
            return Err(CryptoError);
        }
        match self.kind {
            SigType::Ed25519 | SigType::RedDsa => {
                let key = <&[u8; 32]>::try_from(&*self.bytes).map_err(|_| CryptoError)?;
                let signature = <&[u8; 64]>::try_from(signature).map_err(|_| CryptoError)?;
                imp::verify(key, message, signature)
            }
            SigType::EcdsaSha256P256 => ecdsa::p256(&self.bytes, message, signature),
            SigType::EcdsaSha384P384 => ecdsa::p384(&self.bytes, message, signature),
            SigType::EcdsaSha512P521 => ecdsa::p521(&self.bytes, message, signature),
            SigType::DsaSha1 => dsa::verify(&self.bytes, message, signature),
            _ => Err(CryptoError),
        }
    }
}

/// An Ed25519 key that signs; erased when dropped.
pub struct SigningKey {
    seed: Secret,
    pair: imp::Pair,
    public: [u8; 32],
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl Clone for SigningKey {
    fn clone(&self) -> Self {
        Self::from_seed(*self.seed)
    }
}

impl SigningKey {
    pub fn random(rng: &mut impl super::CryptoRng) -> Self {
        Self::from_seed(super::random(rng))
    }

    /// The key of a 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let (pair, public) = imp::pair(&seed);
        Self { seed: seed.into(), pair, public }
    }

    /// The seed, for key files.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public key's bytes.
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey::ed25519(self.public)
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        imp::sign(&self.pair, message)
    }
}

mod ecdsa {
    use super::CryptoError;

    /// ECDSA over one curve: the key is x||y without the SEC1 prefix, the signature r||s.
    macro_rules! verify {
        ($name:ident) => {
            pub(super) fn $name(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
                use $name::ecdsa::signature::Verifier;
                let mut sec1 = Vec::with_capacity(key.len() + 1);
                sec1.push(4);
                sec1.extend_from_slice(key);
                let key = $name::ecdsa::VerifyingKey::from_sec1_bytes(&sec1).map_err(|_| CryptoError)?;
                let signature = $name::ecdsa::Signature::from_slice(signature).map_err(|_| CryptoError)?;
                key.verify(message, &signature).map_err(|_| CryptoError)
            }
        };
    }
    verify!(p256);
    verify!(p384);
    verify!(p521);
}

#[cfg(feature = "aws-lc")]
mod imp {
    use super::CryptoError;
    use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

    pub(super) type Pair = Ed25519KeyPair;

    #[allow(clippy::panic)]
    pub(super) fn pair(seed: &[u8; 32]) -> (Pair, [u8; 32]) {
        let Ok(pair) = Ed25519KeyPair::from_seed_unchecked(seed) else { panic!("every 32 bytes are an Ed25519 seed") };
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        (pair, public)
    }

    pub(super) fn sign(pair: &Pair, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(pair.sign(message).as_ref());
        out
    }

    pub(super) fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        UnparsedPublicKey::new(&ED25519, key).verify(message, signature).map_err(|_| CryptoError)
    }
}

#[cfg(all(not(feature = "aws-lc"), not(ramson_fuzz_crypto)))]
use portable as imp;

#[cfg(ramson_fuzz_crypto)]
use super::stub::sign as imp;

#[cfg(any(test, all(not(feature = "aws-lc"), not(ramson_fuzz_crypto))))]
mod portable {
    use super::CryptoError;
    use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

    /// In a box, as all secrets that rest: where its owner moves, no copy stays.
    pub(super) type Pair = Box<SigningKey>;

    pub(super) fn pair(seed: &[u8; 32]) -> (Pair, [u8; 32]) {
        let pair = Box::new(SigningKey::from_bytes(seed));
        let public = pair.verifying_key().to_bytes();
        (pair, public)
    }

    pub(super) fn sign(pair: &Pair, message: &[u8]) -> [u8; 64] {
        pair.sign(message).to_bytes()
    }

    pub(super) fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Result<(), CryptoError> {
        let key = VerifyingKey::from_bytes(key).map_err(|_| CryptoError)?;
        key.verify(message, &Signature::from_bytes(signature)).map_err(|_| CryptoError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        text.as_bytes().chunks(2).map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap()).collect()
    }

    /// RFC 8032, section 7.1: tests 1 to 3.
    #[test]
    fn rfc_8032() {
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let seed: [u8; 32] = unhex(seed).try_into().unwrap();
            let key = SigningKey::from_seed(seed);
            assert_eq!(key.public().to_vec(), unhex(public));
            assert_eq!(key.sign(&unhex(message)).to_vec(), unhex(signature));
            key.verifying_key().verify(&unhex(message), &unhex(signature)).unwrap();
        }
    }

    #[test]
    fn both_backends_agree() {
        for i in 0..20u8 {
            let message = vec![i; usize::from(i) * 7];
            let (ours, theirs) = (SigningKey::from_seed([i; 32]), portable::pair(&[i; 32]));
            assert_eq!(ours.public, theirs.1);
            let mut signature = ours.sign(&message);
            assert_eq!(signature, portable::sign(&theirs.0, &message));
            portable::verify(&ours.public, &message, &signature).unwrap();
            for bit in (0..512).step_by(7) {
                signature[bit / 8] ^= 1 << (bit % 8);
                assert!(ours.verifying_key().verify(&message, &signature).is_err());
                assert!(portable::verify(&ours.public, &message, &signature).is_err());
                signature[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn ecdsa_verifies_and_refuses() {
        macro_rules! check {
            ($curve:ident, $kind:expr, $seed:expr) => {{
                use $curve::ecdsa::signature::Signer;
                let secret = $curve::ecdsa::SigningKey::from_slice(&$seed).unwrap();
                let signature: $curve::ecdsa::Signature = secret.sign(b"message");
                let public = secret.verifying_key().to_sec1_point(false);
                let public = public.as_bytes();
                let key = VerifyingKey::new($kind, &public[public.len() - $kind.key_len()..]).unwrap();
                let mut signature = signature.to_bytes().to_vec();
                key.verify(b"message", &signature).unwrap();
                assert!(key.verify(b"messagf", &signature).is_err());
                signature[5] ^= 1;
                assert!(key.verify(b"message", &signature).is_err());
                assert!(key.verify(b"message", &vec![0; $kind.signature_len()]).is_err());
            }};
        }
        let p521_seed: Vec<u8> = [0].into_iter().chain([9; 65]).collect();
        check!(p256, SigType::EcdsaSha256P256, [7; 32]);
        check!(p384, SigType::EcdsaSha384P384, [8; 48]);
        check!(p521, SigType::EcdsaSha512P521, p521_seed);
    }

    #[test]
    fn lengths_and_kinds_are_checked() {
        assert!(VerifyingKey::new(SigType::Ed25519, &[0; 31]).is_err());
        assert!(VerifyingKey::new(SigType::RsaSha512_4096, &[0; 512]).is_err());
        let key = SigningKey::from_seed([1; 32]);
        assert!(key.verifying_key().verify(b"", &key.sign(b"")[..63]).is_err());
        for code in 0..=u16::MAX {
            assert!(SigType::from_code(code).is_none_or(|kind| kind.code() == code));
        }
    }
}
