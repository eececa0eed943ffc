//! OfflineSignature: a transient key that signs in place of a destination's key, which stays offline.
//! <https://geti2p.net/spec/common-structures#offlinesignature>

use crate::codec::{DecodeError, Reader, Write};
use crate::crypto::sign::{SigType, SigningKey, VerifyingKey};

const WHAT: &str = "OfflineSignature";

/// The permit of a transient key. Its length depends on the type of the key that stays offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineSignature {
    /// Seconds since 1970, when the permit ends.
    pub expires: u32,
    pub transient: VerifyingKey,
    signature: Box<[u8]>,
}

impl OfflineSignature {
    /// A permit for `transient` until `expires`, by the offline key.
    pub fn new(expires: u32, transient: VerifyingKey, offline: &SigningKey) -> Self {
        let signature = Box::new(offline.sign(&signed_part(expires, &transient)));
        Self { expires, transient, signature }
    }

    /// Reads a permit by a key of the type `signer`. It is not verified.
    pub fn decode(r: &mut Reader<'_>, signer: SigType) -> Result<Self, DecodeError> {
        let expires = r.u32(WHAT)?;
        let transient = decode_key(r)?;
        let signature = r.take(signer.signature_len(), WHAT)?.into();
        Ok(Self { expires, transient, signature })
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put(&signed_part(self.expires, &self.transient));
        out.put(&self.signature);
    }

    /// Verifies the permit by the key that stays offline. Whether it is expired, the caller checks.
    pub fn verify(&self, signer: &VerifyingKey) -> Result<(), DecodeError> {
        signer
            .verify(&signed_part(self.expires, &self.transient), &self.signature)
            .map_err(|_| DecodeError::Unverified { what: WHAT })
    }
}

/// Reads a signature type and a public key of that type.
pub(super) fn decode_key(r: &mut Reader<'_>) -> Result<VerifyingKey, DecodeError> {
    let code = r.u16("signature type")?;
    let unsupported = DecodeError::Unsupported { what: "signature type", value: code.into() };
    let kind = SigType::from_code(code).ok_or(unsupported)?;
    VerifyingKey::new(kind, r.take(kind.key_len(), "signing key")?).map_err(|_| unsupported)
}

/// Who signs: the transient key when a permit for it is given and verifies, else `key` itself.
pub(super) fn signer<'a>(
    key: &'a VerifyingKey,
    offline: Option<&'a OfflineSignature>,
) -> Result<&'a VerifyingKey, DecodeError> {
    let Some(offline) = offline else { return Ok(key) };
    offline.verify(key)?;
    Ok(&offline.transient)
}

/// Verifies the signature at the end of `raw` over `kind` and what stands before the signature.
pub(super) fn verify_record(kind: u8, raw: &[u8], signer: &VerifyingKey) -> Result<(), DecodeError> {
    let at = raw.len().saturating_sub(signer.kind().signature_len());
    let (signed, signature) = raw.split_at_checked(at).unwrap_or_default();
    let mut message = Vec::with_capacity(signed.len() + 1);
    message.put_u8(kind);
    message.put(signed);
    signer.verify(&message, signature).map_err(|_| DecodeError::Unverified { what: "LeaseSet" })
}

fn signed_part(expires: u32, transient: &VerifyingKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + transient.bytes().len());
    out.put_u32(expires);
    out.put_u16(transient.kind().code());
    out.put(transient.bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn permits_round_trip_and_verify() {
        let (offline, other) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([3; 32]));
        let permit = OfflineSignature::new(77, SigningKey::from_seed([2; 32]).verifying_key(), &offline);
        let mut bytes = Vec::new();
        permit.encode(&mut bytes);
        let read = OfflineSignature::decode(&mut Reader::new(&bytes), SigType::Ed25519).unwrap();
        assert_eq!(read, permit);
        read.verify(&offline.verifying_key()).unwrap();
        assert!(read.verify(&other.verifying_key()).is_err());
        assert!(OfflineSignature { expires: 78, ..read }.verify(&offline.verifying_key()).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic(kind in 0u16..13, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(kind) = SigType::from_code(kind) {
                let _ = OfflineSignature::decode(&mut Reader::new(&bytes), kind);
            }
        }
    }
}
