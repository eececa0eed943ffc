//! DatabaseLookup (type 2): a question to the network database. <https://geti2p.net/spec/i2np#msg-DatabaseLookup>

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::Secret;
use crate::data::Hash;

const DELIVER_TO_TUNNEL: u8 = 0x01;
const ENCRYPT_AES: u8 = 0x02;
const KIND: u8 = 0x0c;
const ENCRYPT_ECIES: u8 = 0x10;
/// The most hashes that a question may exclude.
pub const MAX_EXCLUDED: usize = 512;
const MAX_TAGS: u8 = 32;

/// The body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseLookup {
    /// The hash that is looked for, not the routing key.
    pub key: Hash,
    /// Who asks, or the gateway of the reply tunnel.
    pub from: Hash,
    pub kind: LookupKind,
    /// The reply's tunnel at `from`, nonzero; `None` asks for a direct reply.
    pub reply_tunnel: Option<u32>,
    /// Routers that a DatabaseSearchReply should not name; up to 512.
    pub excluded: Vec<Hash>,
    /// Asks for a reply that only the holder of the key can read.
    pub encryption: Option<ReplyEncryption>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LookupKind {
    /// Deprecated.
    Any,
    LeaseSet,
    RouterInfo,
    /// Routers near the key that are no floodfills.
    Exploration,
}

/// The key and tag of a reply as a ratchet's Existing Session message.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplyEncryption {
    pub key: Secret,
    pub tag: [u8; 8],
}

impl std::fmt::Debug for ReplyEncryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplyEncryption(..)")
    }
}

impl Encode for DatabaseLookup {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.key.0);
        out.put(&self.from.0);
        let mut flags = match self.kind {
            LookupKind::Any => 0,
            LookupKind::LeaseSet => 0x04,
            LookupKind::RouterInfo => 0x08,
            LookupKind::Exploration => 0x0c,
        };
        if self.reply_tunnel.is_some() {
            flags |= DELIVER_TO_TUNNEL;
        }
        if self.encryption.is_some() {
            flags |= ENCRYPT_ECIES;
        }
        out.put_u8(flags);
        if let Some(tunnel) = self.reply_tunnel {
            out.put_u32(tunnel);
        }
        let excluded = self.excluded.get(..MAX_EXCLUDED).unwrap_or(&self.excluded);
        out.put_u16(u16::try_from(excluded.len()).unwrap_or(0));
        for hash in excluded {
            out.put(&hash.0);
        }
        if let Some(encryption) = &self.encryption {
            out.put(encryption.key.as_slice());
            out.put_u8(1);
            out.put(&encryption.tag);
        }
    }
}

impl Decode for DatabaseLookup {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key = Hash::decode(r)?;
        let from = Hash::decode(r)?;
        let flags = r.u8("DatabaseLookup flags")?;
        let kind = match flags & KIND {
            0 => LookupKind::Any,
            0x04 => LookupKind::LeaseSet,
            0x08 => LookupKind::RouterInfo,
            _ => LookupKind::Exploration,
        };
        let reply_tunnel = match flags & DELIVER_TO_TUNNEL {
            0 => None,
            _ => Some(r.u32("DatabaseLookup reply tunnel")?),
        };
        if reply_tunnel == Some(0) {
            return Err(DecodeError::invalid("DatabaseLookup reply tunnel", "zero"));
        }
        let count = usize::from(r.u16("DatabaseLookup excluded")?);
        if count > MAX_EXCLUDED {
            return Err(DecodeError::TooLarge { what: "DatabaseLookup excluded", limit: MAX_EXCLUDED });
        }
        let excluded = (0..count).map(|_| Hash::decode(r)).collect::<Result<_, _>>()?;
        // Bit 1 alone asks for AES by ElGamal routers, which are gone; with bit 4 it is not specified yet.
        if flags & ENCRYPT_AES != 0 {
            return Err(DecodeError::Unsupported { what: "DatabaseLookup reply encryption", value: flags.into() });
        }
        let encryption = match flags & ENCRYPT_ECIES {
            0 => None,
            _ => Some(encryption(r)?),
        };
        Ok(Self { key, from, kind, reply_tunnel, excluded, encryption })
    }
}

/// The key and the tags; of several tags the first is used.
fn encryption(r: &mut Reader<'_>) -> Result<ReplyEncryption, DecodeError> {
    let key = r.array("DatabaseLookup reply key")?.into();
    let tags = r.u8("DatabaseLookup tags")?;
    if tags == 0 || tags > MAX_TAGS {
        return Err(DecodeError::invalid("DatabaseLookup tags", "not 1 to 32"));
    }
    let tag = r.array("DatabaseLookup tag")?;
    r.take(usize::from(tags - 1) * 8, "DatabaseLookup tags")?;
    Ok(ReplyEncryption { key, tag })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = LookupKind> {
        prop::sample::select(vec![
            LookupKind::Any,
            LookupKind::LeaseSet,
            LookupKind::RouterInfo,
            LookupKind::Exploration,
        ])
    }

    proptest! {
        #[test]
        fn round_trip(
            key: [u8; 32], from: [u8; 32], kind in kind(), tunnel in prop::option::of(1u32..),
            excluded in prop::collection::vec(any::<[u8; 32]>(), 0..20), crypt in prop::option::of(any::<([u8; 32], [u8; 8])>()),
        ) {
            let lookup = DatabaseLookup {
                key: Hash(key), from: Hash(from), kind, reply_tunnel: tunnel,
                excluded: excluded.into_iter().map(Hash).collect(),
                encryption: crypt.map(|(key, tag)| ReplyEncryption { key: key.into(), tag }),
            };
            prop_assert_eq!(DatabaseLookup::from_bytes(&lookup.to_bytes()).unwrap(), lookup);
        }

        #[test]
        fn random_bytes_do_not_panic(flags: u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = DatabaseLookup::from_bytes(&[&[0; 64][..], &[flags], &bytes].concat());
        }
    }

    fn raw(flags: u8, tail: &[u8]) -> Vec<u8> {
        [&[1; 32][..], &[2; 32], &[flags], tail].concat()
    }

    #[test]
    fn bounds_hold() {
        let excluded = |n: u16| raw(0x08, &[&n.to_be_bytes()[..], &vec![0; usize::from(n) * 32]].concat());
        assert_eq!(DatabaseLookup::from_bytes(&excluded(512)).unwrap().excluded.len(), 512);
        for n in [513, 65535] {
            assert!(matches!(DatabaseLookup::from_bytes(&excluded(n)), Err(DecodeError::TooLarge { .. })));
        }
        let tags = |n: u8| raw(0x14, &[&[0, 0][..], &[3; 32], &[n], &vec![4; usize::from(n) * 8]].concat());
        assert_eq!(DatabaseLookup::from_bytes(&tags(1)).unwrap().encryption.unwrap().tag, [4; 8]);
        DatabaseLookup::from_bytes(&tags(32)).unwrap();
        for n in [0, 33, 255] {
            assert!(DatabaseLookup::from_bytes(&tags(n)).is_err());
        }
        assert!(DatabaseLookup::from_bytes(&raw(0x05, &[0, 0, 0, 0, 0, 0])).is_err(), "tunnel 0");
        for flags in [0x02, 0x12] {
            assert!(DatabaseLookup::from_bytes(&raw(flags, &[0; 60])).is_err());
        }
    }
}
