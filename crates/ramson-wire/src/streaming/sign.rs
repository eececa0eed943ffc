//! The signature of a packet: over all its bytes, header and payload, with its own place as zeros.
//! <https://geti2p.net/spec/streaming#variable-length-signature-notes>

use super::{Outgoing, Packet};
use crate::DecodeError;
use crate::crypto::sign::{SigType, SigningKey, VerifyingKey};
use crate::data::Destination;

/// A packet that waits for its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    bytes: Vec<u8>,
    at: usize,
}

impl Unsigned {
    /// Encodes `packet` with room for an Ed25519 signature.
    pub fn new(packet: &Outgoing<'_>, payload: &[&[u8]]) -> Self {
        let len = SigType::Ed25519.signature_len();
        let bytes = Outgoing { signature_len: Some(len), ..*packet }.encode(payload);
        let body: usize = payload.iter().map(|part| part.len()).sum();
        let at = bytes.len().saturating_sub(body + len);
        Self { bytes, at }
    }

    /// The bytes with the signature in its place.
    pub fn sign(mut self, key: &SigningKey) -> Vec<u8> {
        let signature = key.sign(&self.bytes);
        if let Some(place) = self.bytes.get_mut(self.at..self.at + signature.len()) {
            place.copy_from_slice(&signature);
        }
        self.bytes
    }
}

/// Verifies the signature of a whole packet by the destination `from`; `unix_secs` decides whether an offline key still
/// counts. Returns the key that signed, which is the transient one when the packet brought it.
pub fn verify(bytes: &[u8], from: &Destination, unix_secs: u32) -> Result<VerifyingKey, DecodeError> {
    let packet = Packet::parse(bytes)?;
    let tail = packet.tail(from.sig_type())?;
    let unverified = DecodeError::Unverified { what: "streaming signature" };
    let key = match &tail.offline {
        None => from.signing_key().clone(),
        Some(offline) => {
            if offline.expires < unix_secs {
                return Err(DecodeError::invalid("offline signature", "expired"));
            }
            from.verify(offline.signed, offline.signature)
                .map_err(|_| DecodeError::Unverified { what: "offline signature" })?;
            offline.key.clone()
        }
    };
    verify_with(bytes, tail.signature.ok_or(unverified)?, &key)?;
    Ok(key)
}

/// Verifies a later packet by the key that signed the SYN, which is a transient one when the peer signs offline.
pub fn verify_by_key(bytes: &[u8], from: &Destination, key: &VerifyingKey, unix_secs: u32) -> Result<(), DecodeError> {
    let packet = Packet::parse(bytes)?;
    if packet.flags.has(super::Flags::OFFLINE_SIGNATURE) {
        return verify(bytes, from, unix_secs).map(drop);
    }
    let signature = packet.tail(key.kind())?.signature;
    verify_with(bytes, signature.ok_or(DecodeError::Unverified { what: "streaming signature" })?, key)
}

fn verify_with(bytes: &[u8], signature: (usize, &[u8]), key: &VerifyingKey) -> Result<(), DecodeError> {
    let (at, signature) = signature;
    let mut zeroed = bytes.to_vec();
    if let Some(place) = zeroed.get_mut(at..at + signature.len()) {
        place.fill(0);
    }
    key.verify(&zeroed, signature).map_err(|_| DecodeError::Unverified { what: "streaming signature" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hash::sha256;
    use crate::data::Hash;
    use crate::data::identity::testing::Count;
    use crate::streaming::Flags;
    use proptest::prelude::*;

    fn syn(key: &SigningKey, payload: &[u8]) -> (Destination, Vec<u8>) {
        let from = Destination::new(key.verifying_key(), &mut Count(0));
        let out = Outgoing {
            recv_id: 5,
            meant_for: Some(Hash(sha256(b"bob"))),
            flags: Flags::SYNCHRONIZE,
            from: Some(&from),
            max_size: Some(1812),
            ..Outgoing::default()
        };
        let bytes = Unsigned::new(&out, &[payload]).sign(key);
        (from, bytes)
    }

    #[test]
    fn a_syn_signs_itself_and_its_recipient() {
        let key = SigningKey::from_seed([4; 32]);
        let (from, bytes) = syn(&key, b"hello");
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.from.unwrap().destination().unwrap(), from);
        assert_eq!(packet.meant_for(), Some(Hash(sha256(b"bob"))));
        assert_eq!(verify(&bytes, &from, 0).unwrap(), key.verifying_key());
        verify_by_key(&bytes, &from, &key.verifying_key(), 0).unwrap();
        let other = Destination::new(SigningKey::from_seed([5; 32]).verifying_key(), &mut Count(0));
        assert!(verify(&bytes, &other, 0).is_err());
    }

    #[test]
    fn offline_keys_sign_until_they_expire() {
        let (owner, transient) = (SigningKey::from_seed([6; 32]), SigningKey::from_seed([7; 32]));
        let from = Destination::new(owner.verifying_key(), &mut Count(0));
        let mut offline = 1000u32.to_be_bytes().to_vec();
        offline.extend([0, 7]);
        offline.extend(transient.public());
        offline.extend(owner.sign(&offline));
        let out = Outgoing {
            recv_id: 5,
            flags: Flags::SYNCHRONIZE,
            from: Some(&from),
            offline: Some(&offline),
            ..Outgoing::default()
        };
        let bytes = Unsigned::new(&out, &[b"x"]).sign(&transient);
        assert_eq!(verify(&bytes, &from, 1000).unwrap(), transient.verifying_key());
        assert!(verify(&bytes, &from, 1001).is_err(), "expired");
        let by_owner = Unsigned::new(&out, &[b"x"]).sign(&owner);
        assert!(verify(&by_owner, &from, 0).is_err());
        let close = Outgoing { send_id: 1, recv_id: 5, flags: Flags::CLOSE, ..Outgoing::default() };
        let close = Unsigned::new(&close, &[]).sign(&transient);
        verify_by_key(&close, &from, &transient.verifying_key(), 0).unwrap();
    }

    proptest! {
        #[test]
        fn any_changed_byte_fails(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let key = SigningKey::from_seed([4; 32]);
            let (from, mut bytes) = syn(&key, b"payload");
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // In the destination itself the verifier is the honest one: what is checked is the signature.
            prop_assert!(verify(&bytes, &from, 0).is_err());
        }
    }
}
