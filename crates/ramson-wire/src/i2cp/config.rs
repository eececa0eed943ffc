//! SessionConfig: the destination of a session and its options, signed.

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::sign::{SigType, SigningKey};
use crate::data::{Destination, Mapping, OfflineSignature, base64};

const WHAT: &str = "SessionConfig";

/// What a session is to be; as it was read, and not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    destination: Destination,
    options: Mapping,
    date: u64,
    /// All before the signature.
    signed: Box<[u8]>,
    signature: Box<[u8]>,
}

impl SessionConfig {
    /// A config of now (milliseconds since 1970), signed by the destination's key or by the transient one that the
    /// options name.
    pub fn sign(destination: Destination, options: Mapping, date: u64, key: &SigningKey) -> Self {
        let mut signed = Vec::new();
        destination.encode(&mut signed);
        options.encode(&mut signed);
        signed.put_u64(date);
        let signature = Box::new(key.sign(&signed));
        Self { destination, options, date, signed: signed.into(), signature }
    }

    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    pub const fn options(&self) -> &Mapping {
        &self.options
    }

    /// When it was made, in milliseconds since 1970.
    pub const fn date(&self) -> u64 {
        self.date
    }

    /// Verifies the signature: by the transient key, if the options name one with its permit, else by the destination's.
    /// Whether the permit has expired, the caller checks.
    pub fn verify(&self) -> Result<(), DecodeError> {
        let offline = offline(&self.options, self.destination.sig_type())?;
        let key = match &offline {
            Some(permit) => {
                permit.verify(self.destination.signing_key())?;
                &permit.transient
            }
            None => self.destination.signing_key(),
        };
        key.verify(&self.signed, &self.signature).map_err(|_| DecodeError::Unverified { what: WHAT })
    }

    /// Reads a config that fills what is left.
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let destination = Destination::decode(r)?;
        // Its order decides only about the signature, which is over the bytes as they came.
        let options = Mapping::decode_in_any_order(r)?;
        let date = r.u64("SessionConfig date")?;
        let signed = whole.get(..whole.len() - r.remaining()).unwrap_or_default().into();
        Ok(Self { destination, options, date, signed, signature: r.take_rest().into() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.signed);
        out.put(&self.signature);
    }
}

/// The permit of a transient key that options of a session name, by a key of the type `signer` that is kept offline.
/// It is not verified.
pub fn offline(options: &Mapping, signer: SigType) -> Result<Option<OfflineSignature>, DecodeError> {
    let get = |key: &str| options.get(key).filter(|value| !value.is_empty());
    let parts = [
        get("i2cp.leaseSetOfflineExpiration"),
        get("i2cp.leaseSetTransientPublicKey"),
        get("i2cp.leaseSetOfflineSignature"),
    ];
    let [Some(expires), Some(key), Some(signature)] = parts else {
        return match parts {
            [None, None, None] => Ok(None),
            _ => Err(DecodeError::invalid(WHAT, "a part of the offline signature is missing")),
        };
    };
    let expires: u32 = expires.parse().map_err(|_| DecodeError::invalid(WHAT, "no expiration of the transient key"))?;
    // `type:key`, the type in its number or its name; Ed25519 if none is said.
    let (kind, key) = key.split_once(':').unwrap_or(("7", key));
    let kind = match kind {
        "EdDSA_SHA512_Ed25519" => SigType::Ed25519.code(),
        "RedDSA_SHA512_Ed25519" => SigType::RedDsa.code(),
        "ECDSA_SHA256_P256" => SigType::EcdsaSha256P256.code(),
        "ECDSA_SHA384_P384" => SigType::EcdsaSha384P384.code(),
        "ECDSA_SHA512_P521" => SigType::EcdsaSha512P521.code(),
        "DSA_SHA1" => SigType::DsaSha1.code(),
        number => number.parse().map_err(|_| DecodeError::invalid(WHAT, "no type of the transient key"))?,
    };
    let mut bytes = Vec::new();
    bytes.put_u32(expires);
    bytes.put_u16(kind);
    bytes.put(&base64::decode(key)?);
    bytes.put(&base64::decode(signature)?);
    let mut r = Reader::new(&bytes);
    let permit = OfflineSignature::decode(&mut r, signer)?;
    r.finish("offline signature")?;
    Ok(Some(permit))
}
