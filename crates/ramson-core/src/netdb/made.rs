//! LeaseSets of every kind, signed, for tests and fuzzers.

use ramson_wire::codec::{Encode, Write};
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{AnyLeaseSet, Destination, Hash, Lease, Lease2, Mapping};
use std::sync::Arc;

/// What is wanted of a LeaseSet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    /// The DatabaseStore type: 1, 3, 5 or 7.
    pub(crate) kind: u8,
    pub(crate) seed: u64,
    /// Seconds since 1970.
    pub(crate) published: u32,
    /// Seconds from then to the end, of the leases too.
    pub(crate) life: u16,
    pub(crate) flags: Flags,
}

impl Made {
    pub(crate) fn new(kind: u8, seed: u64, published: u32) -> Self {
        Self { kind, seed, published, life: 600, flags: Flags::default() }
    }

    pub(crate) fn sign(self) -> Arc<AnyLeaseSet> {
        let seed = ramson_wire::crypto::hash::sha256(&self.seed.to_le_bytes());
        let key = SigningKey::from_seed(seed);
        let destination = Destination::new(key.verifying_key(), &mut crate::rng::Rng::from_seed(seed));
        let times = Times { published: self.published, expires: self.life, flags: self.flags, offline: None };
        let end = self.published.saturating_add(self.life.into());
        let mut raw = Vec::new();
        match self.kind {
            1 => {
                destination.encode(&mut raw);
                raw.put(&[5; 256 + 32]);
                raw.put_u8(1);
                Lease { gateway: Hash([6; 32]), tunnel_id: 7, end: u64::from(end) * 1000 }.encode(&mut raw);
            }
            5 => {
                // As the blinded keys of RedDSA, by which everybody verifies as with Ed25519.
                raw.put_u16(11);
                raw.put(key.public());
                put_times(&mut raw, &times);
                raw.put_u16(40);
                raw.put(&[8; 40]);
            }
            7 => {
                destination.encode(&mut raw);
                put_times(&mut raw, &times);
                Mapping::new().encode(&mut raw);
                raw.put_u8(1);
                raw.put(&[7; 36]);
                raw.put_u32(end);
                raw.put_u8(0);
            }
            _ => {
                let unsigned = Unsigned {
                    destination,
                    times,
                    options: Mapping::new(),
                    keys: vec![EncryptionKey::x25519(PublicKey([4; 32]))],
                    leases: vec![Lease2 { gateway: Hash([6; 32]), tunnel_id: 7, end }],
                };
                raw = unsigned.sign(&key).map(|set| set.as_bytes().to_vec()).unwrap_or_default();
            }
        }
        if self.kind != 3 {
            let signed = if self.kind == 1 { raw.clone() } else { [&[self.kind][..], &raw].concat() };
            raw.put(&key.sign(&signed));
        }
        #[allow(clippy::expect_used)] // tests and fuzzers alone
        Arc::new(AnyLeaseSet::decode(self.kind, &raw).expect("it is well formed"))
    }
}

fn put_times(out: &mut Vec<u8>, times: &Times) {
    out.put_u32(times.published);
    out.put_u16(times.expires);
    out.put_u16(times.flags.0);
}
