//! DatabaseStore (type 1): a RouterInfo or a LeaseSet. <https://geti2p.net/spec/i2np#msg-DatabaseStore>

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::data::router_info::{self, RouterInfo};
use crate::data::{AnyLeaseSet, Hash};
use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use std::io::{Read, Write as _};
use std::sync::Arc;

const WHAT: &str = "DatabaseStore";
/// The type of a RouterInfo; those of LeaseSets stand with them.
const TYPE_ROUTER_INFO: u8 = 0;

/// The body. Decoding checks that the key is that of the entry; it does not verify signatures.
#[derive(Clone, Debug)]
pub struct DatabaseStore {
    /// The hash of the router or destination (or of the blinded key), not the routing key.
    pub key: Hash,
    /// Whom to confirm the store to. Ignore it in messages that came down a tunnel.
    pub reply: Option<StoreReply>,
    pub entry: Entry,
}

/// What is stored.
#[derive(Clone, Debug)]
pub enum Entry {
    RouterInfo(Arc<RouterInfo>),
    LeaseSet(Arc<AnyLeaseSet>),
}

/// Where a DeliveryStatus that confirms a store goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreReply {
    /// The confirmation's message id; nonzero.
    pub token: u32,
    /// The tunnel at `gateway`; 0 asks for a direct reply to the router `gateway`.
    pub tunnel: u32,
    pub gateway: Hash,
}

impl DatabaseStore {
    /// A store of `entry` under its own key.
    pub fn new(entry: Entry, reply: Option<StoreReply>) -> Self {
        Self { key: entry.key(), reply, entry }
    }
}

impl Entry {
    /// The key in the network database.
    pub fn key(&self) -> Hash {
        match self {
            Self::RouterInfo(info) => info.hash(),
            Self::LeaseSet(set) => set.key(),
        }
    }

    /// Verifies the signature. This is public-key work.
    pub fn verify(&self) -> Result<(), DecodeError> {
        match self {
            Self::RouterInfo(info) => info.verify(),
            Self::LeaseSet(set) => set.verify(),
        }
    }
}

impl Encode for DatabaseStore {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.key.0);
        out.put_u8(match &self.entry {
            Entry::RouterInfo(_) => TYPE_ROUTER_INFO,
            Entry::LeaseSet(set) => set.kind(),
        });
        match self.reply {
            Some(reply) if reply.token != 0 => {
                out.put_u32(reply.token);
                out.put_u32(reply.tunnel);
                out.put(&reply.gateway.0);
            }
            _ => out.put_u32(0),
        }
        match &self.entry {
            Entry::RouterInfo(info) => {
                let packed = gzip(info.as_bytes());
                // A RouterInfo has at most 3 KiB, and gzip adds less than 1 KiB to what it cannot pack.
                out.put_u16(u16::try_from(packed.len()).unwrap_or(u16::MAX));
                out.put(&packed);
            }
            Entry::LeaseSet(set) => out.put(set.as_bytes()),
        }
    }
}

impl Decode for DatabaseStore {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key = Hash::decode(r)?;
        let kind = r.u8("DatabaseStore type")? & 0x0f;
        let token = r.u32("DatabaseStore reply token")?;
        let reply = match token {
            0 => None,
            _ => Some(StoreReply { token, tunnel: r.u32("DatabaseStore reply tunnel")?, gateway: Hash::decode(r)? }),
        };
        let entry = match kind {
            TYPE_ROUTER_INFO => {
                let len = r.u16("DatabaseStore length")?;
                let packed = r.take(usize::from(len), "DatabaseStore RouterInfo")?;
                Entry::RouterInfo(Arc::new(RouterInfo::from_bytes(&gunzip(packed, router_info::MAX_LEN)?)?))
            }
            _ => Entry::LeaseSet(Arc::new(AnyLeaseSet::decode(kind, r.take_rest())?)),
        };
        if entry.key() != key {
            return Err(DecodeError::Unverified { what: "DatabaseStore key" });
        }
        Ok(Self { key, reply, entry })
    }
}

/// Packs with a header that shows neither time, name nor system: `1f 8b 08 00 00000000 02 ff`.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer =
        GzBuilder::new().operating_system(0xff).write(Vec::with_capacity(bytes.len()), Compression::best());
    // Writing into a vector does not fail.
    let _ = packer.write_all(bytes);
    packer.finish().unwrap_or_default()
}

/// Unpacks one gzip member that fills `bytes`, into at most `limit` bytes.
pub fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    let mut unpacker = GzDecoder::new(bytes).take(limit as u64 + 1);
    unpacker.read_to_end(&mut out).map_err(|_| DecodeError::invalid(WHAT, "gzip"))?;
    if out.len() > limit {
        return Err(DecodeError::TooLarge { what: "gzip", limit });
    }
    let rest = unpacker.into_inner().into_inner();
    if rest.is_empty() { Ok(out) } else { Err(DecodeError::Trailing { what: "gzip", extra: rest.len() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SigningKey;
    use crate::crypto::x25519::PublicKey;
    use crate::data::identity::testing::Count;
    use crate::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
    use crate::data::{Destination, Lease2, Mapping, RouterIdentity};
    use proptest::prelude::*;

    fn router(options: usize) -> Entry {
        let key = SigningKey::from_seed([1; 32]);
        let noise: Vec<String> =
            (0..options).map(|i| format!("{:?}", crate::crypto::hash::sha256(&[i as u8]))).collect();
        let names: Vec<String> = (0..options).map(|i| format!("o{i}")).collect();
        let unsigned = router_info::Unsigned {
            identity: RouterIdentity::new(PublicKey([2; 32]), *key.public(), &mut Count(0)),
            published: 5,
            addresses: vec![],
            options: Mapping::from_pairs(names.iter().map(|n| &**n).zip(noise.iter().map(|n| &**n))).unwrap(),
        };
        Entry::RouterInfo(Arc::new(unsigned.sign(&key).unwrap()))
    }

    fn leases() -> Entry {
        let key = SigningKey::from_seed([1; 32]);
        let unsigned = Unsigned {
            destination: Destination::new(key.verifying_key(), &mut Count(0)),
            times: Times { published: 5, expires: 6, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(PublicKey([3; 32]))],
            leases: vec![Lease2 { gateway: Hash([4; 32]), tunnel_id: 1, end: 11 }],
        };
        Entry::LeaseSet(Arc::new(AnyLeaseSet::V2(unsigned.sign(&key).unwrap())))
    }

    #[test]
    fn stores_round_trip() {
        let reply = StoreReply { token: 9, tunnel: 8, gateway: Hash([7; 32]) };
        for entry in [router(0), router(10), leases()] {
            for reply in [None, Some(reply)] {
                let bytes = DatabaseStore::new(entry.clone(), reply).to_bytes();
                let read = DatabaseStore::from_bytes(&bytes).unwrap();
                read.entry.verify().unwrap();
                assert_eq!((read.to_bytes(), read.reply), (bytes, reply));
            }
        }
    }

    #[test]
    fn the_gzip_header_says_nothing() {
        assert_eq!(gzip(b"x")[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff]);
    }

    /// Threats T23.
    #[test]
    fn t23_a_key_of_another_entry_is_refused() {
        for entry in [router(0), leases()] {
            let mut bytes = DatabaseStore::new(entry, None).to_bytes();
            bytes[0] ^= 1;
            assert_eq!(
                DatabaseStore::from_bytes(&bytes).map(|_| ()),
                Err(DecodeError::Unverified { what: "DatabaseStore key" })
            );
        }
        // The same bytes under another type.
        for entry in [router(0), leases()] {
            let good = DatabaseStore::new(entry, None).to_bytes();
            for kind in (0..16).filter(|kind| *kind != good[32]) {
                let mut bytes = good.clone();
                bytes[32] = kind;
                assert!(
                    DatabaseStore::from_bytes(&bytes).and_then(|store| store.entry.verify()).is_err(),
                    "type {kind}"
                );
            }
        }
    }

    /// Threats T16.
    #[test]
    fn t16_bombs_garbage_and_second_members_are_refused() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert_eq!(gunzip(&bomb, 3072), Err(DecodeError::TooLarge { what: "gzip", limit: 3072 }));
        let good = gzip(b"hello");
        assert_eq!(gunzip(&good, 5).unwrap(), b"hello");
        assert!(gunzip(&[&good[..], b"x"].concat(), 99).is_err());
        assert!(gunzip(&[&good[..], &good[..]].concat(), 99).is_err());
        let mut bad_crc = good.clone();
        bad_crc[good.len() - 5] ^= 1;
        assert!(gunzip(&bad_crc, 99).is_err());
        assert!(gunzip(&good[..good.len() - 1], 99).is_err());
    }

    proptest! {
        #[test]
        fn changed_stores_do_not_panic(at in 0usize..600, bytes in prop::collection::vec(any::<u8>(), 0..20), ri: bool) {
            let entry = if ri { router(1) } else { leases() };
            let mut raw = DatabaseStore::new(entry, None).to_bytes();
            let at = at.min(raw.len());
            let end = (at + bytes.len()).min(raw.len());
            raw.splice(at..end, bytes);
            let _ = DatabaseStore::from_bytes(&raw);
        }

        #[test]
        fn random_bytes_do_not_panic(kind in 0u8..8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let raw = [&[0; 32][..], &[kind], &[0; 4], &bytes].concat();
            let _ = DatabaseStore::from_bytes(&raw);
        }
    }
}
