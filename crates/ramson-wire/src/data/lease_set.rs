//! LeaseSet of type 1, which a few old services still publish. <https://geti2p.net/spec/common-structures#leaseset>

use super::lease::Lease;
use super::{Destination, Hash};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use std::sync::Arc;

const WHAT: &str = "LeaseSet";
/// The most leases of every kind of LeaseSet.
pub const MAX_LEASES: usize = 16;

/// A LeaseSet as it was read. Its ElGamal key and its revocation key are unused and kept as bytes.
#[derive(Clone)]
pub struct LeaseSet {
    raw: Arc<[u8]>,
    destination: Destination,
    leases: Box<[Lease]>,
}

impl LeaseSet {
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Up to 16 leases.
    pub const fn leases(&self) -> &[Lease] {
        &self.leases
    }

    /// The end of the earliest lease, which is the version of the LeaseSet; 0 without leases. Milliseconds.
    pub fn earliest(&self) -> u64 {
        self.leases.iter().map(|lease| lease.end).min().unwrap_or(0)
    }

    /// The end of the last lease; 0 without leases. Milliseconds.
    pub fn latest(&self) -> u64 {
        self.leases.iter().map(|lease| lease.end).max().unwrap_or(0)
    }

    /// The destination's hash, under which the LeaseSet is kept.
    pub const fn key(&self) -> Hash {
        self.destination.hash()
    }

    /// Verifies the signature by the destination's key.
    pub fn verify(&self) -> Result<(), DecodeError> {
        let at = self.raw.len().saturating_sub(self.destination.sig_type().signature_len());
        let (signed, signature) = self.raw.split_at_checked(at).unwrap_or_default();
        self.destination.verify(signed, signature).map_err(|_| DecodeError::Unverified { what: WHAT })
    }
}

impl std::fmt::Debug for LeaseSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeaseSet {:?} of {} leases", self.key(), self.leases.len())
    }
}

impl Decode for LeaseSet {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let destination = Destination::decode(r)?;
        r.take(256, "LeaseSet encryption key")?;
        r.take(destination.sig_type().key_len(), "LeaseSet signing key")?;
        let count = usize::from(r.u8("LeaseSet leases")?);
        if count > MAX_LEASES {
            return Err(DecodeError::TooLarge { what: "LeaseSet leases", limit: MAX_LEASES });
        }
        let leases = (0..count).map(|_| Lease::decode(r)).collect::<Result<Box<[_]>, _>>()?;
        r.take(destination.sig_type().signature_len(), "LeaseSet signature")?;
        let raw: Arc<[u8]> = whole.get(..whole.len() - r.remaining()).unwrap_or_default().into();
        Ok(Self { destination: destination.within(&raw), raw, leases })
    }
}

impl Encode for LeaseSet {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SigningKey;
    use crate::data::identity::testing::Count;
    use proptest::prelude::*;

    fn encoded(leases: u8) -> Vec<u8> {
        let key = SigningKey::from_seed([1; 32]);
        let mut raw = Destination::new(key.verifying_key(), &mut Count(0)).to_bytes();
        raw.put(&[5; 256 + 32]);
        raw.put_u8(leases);
        for i in 0..leases {
            Lease { gateway: Hash([i; 32]), tunnel_id: 7, end: 1000 + u64::from(i) }.encode(&mut raw);
        }
        let signature = key.sign(&raw);
        raw.put(&signature);
        raw
    }

    #[test]
    fn verifies_and_is_bounded() {
        for leases in [0, 1, 16] {
            let bytes = encoded(leases);
            let set = LeaseSet::from_bytes(&bytes).unwrap();
            set.verify().unwrap();
            assert_eq!((set.to_bytes(), set.leases().len()), (bytes, usize::from(leases)));
        }
        let set = LeaseSet::from_bytes(&encoded(3)).unwrap();
        assert_eq!((set.earliest(), set.latest()), (1000, 1002));
        assert!(LeaseSet::from_bytes(&encoded(17)).is_err());
    }

    #[test]
    fn flipped_bits_are_caught() {
        let good = encoded(2);
        for bit in (0..good.len() * 8).step_by(13) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(LeaseSet::from_bytes(&bad).and_then(|set| set.verify()).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn changed_sets_do_not_panic(at in 380usize..900, bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let mut raw = encoded(3);
            let at = at.min(raw.len());
            let end = (at + bytes.len()).min(raw.len());
            raw.splice(at..end, bytes);
            let _ = LeaseSet::from_bytes(&raw).map(|set| set.verify());
        }
    }
}
