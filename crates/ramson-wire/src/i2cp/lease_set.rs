//! RequestVariableLeaseSet and CreateLeaseSet2, by which a program signs for the router's tunnels; BlindingInfo.

use super::{SessionId, put_string, string};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::sign::SigType;
use crate::data::any_lease_set::TYPE_LEASE_SET;
use crate::data::lease_set::MAX_LEASES;
use crate::data::lease_set2::{EncryptedLeaseSet, MAX_KEYS, MetaLeaseSet, TYPE_ENCRYPTED, TYPE_LEASE_SET2, TYPE_META};
use crate::data::{AnyLeaseSet, Destination, Hash, Lease, LeaseSet, LeaseSet2};
use zeroize::Zeroizing;

/// The router asks for a LeaseSet of these leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestVariableLeaseSet {
    pub session: SessionId,
    /// At most 16.
    pub leases: Vec<Lease>,
}

impl RequestVariableLeaseSet {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = SessionId::decode(r)?;
        let count = usize::from(r.u8("leases")?);
        if count > MAX_LEASES {
            return Err(DecodeError::TooLarge { what: "leases", limit: MAX_LEASES });
        }
        let leases = (0..count).map(|_| Lease::decode(r)).collect::<Result<_, _>>()?;
        Ok(Self { session, leases })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        let leases = self.leases.get(..MAX_LEASES).unwrap_or(&self.leases);
        out.put_u8(u8::try_from(leases.len()).unwrap_or(0));
        leases.iter().for_each(|lease| lease.encode(out));
    }
}

/// The private part of an encryption key of a LeaseSet; erased when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseSetKey {
    pub kind: u16,
    pub bytes: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for LeaseSetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeaseSetKey of type {}", self.kind)
    }
}

/// A LeaseSet that the program has signed, and the private parts of its encryption keys in the same order.
#[derive(Clone, Debug)]
pub struct CreateLeaseSet2 {
    pub session: SessionId,
    pub set: AnyLeaseSet,
    pub keys: Vec<LeaseSetKey>,
}

impl PartialEq for CreateLeaseSet2 {
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.session, it.set.kind());
        of(self) == of(other) && self.set.as_bytes() == other.set.as_bytes() && self.keys == other.keys
    }
}

impl Eq for CreateLeaseSet2 {}

impl CreateLeaseSet2 {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = SessionId::decode(r)?;
        let set = match r.u8("LeaseSet type")? {
            TYPE_LEASE_SET => AnyLeaseSet::V1(LeaseSet::decode(r)?),
            TYPE_LEASE_SET2 => AnyLeaseSet::V2(LeaseSet2::decode(r)?),
            TYPE_ENCRYPTED => AnyLeaseSet::Encrypted(EncryptedLeaseSet::decode(r)?),
            TYPE_META => AnyLeaseSet::Meta(MetaLeaseSet::decode(r)?),
            value => return Err(DecodeError::Unsupported { what: "LeaseSet type", value: value.into() }),
        };
        // A meta LeaseSet has no keys.
        let count = if matches!(set, AnyLeaseSet::Meta(_)) && r.is_empty() { 0 } else { r.u8("LeaseSet keys")? };
        if usize::from(count) > MAX_KEYS {
            return Err(DecodeError::TooLarge { what: "LeaseSet keys", limit: MAX_KEYS });
        }
        let key = |r: &mut Reader<'_>| {
            let kind = r.u16("LeaseSet key type")?;
            let len = r.u16("LeaseSet key length")?;
            Ok(LeaseSetKey { kind, bytes: Zeroizing::new(r.take(usize::from(len), "LeaseSet key")?.to_vec()) })
        };
        let keys = (0..count).map(|_| key(r)).collect::<Result<_, DecodeError>>()?;
        Ok(Self { session, set, keys })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        out.put_u8(self.set.kind());
        out.put(self.set.as_bytes());
        if matches!(self.set, AnyLeaseSet::Meta(_)) && self.keys.is_empty() {
            return;
        }
        let keys = self.keys.get(..MAX_KEYS).unwrap_or(&self.keys);
        out.put_u8(u8::try_from(keys.len()).unwrap_or(0));
        for key in keys {
            out.put_u16(key.kind);
            out.put_u16(u16::try_from(key.bytes.len()).unwrap_or(0));
            out.put(&key.bytes);
        }
    }
}

/// Whom a [`BlindingInfo`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Hash(Hash),
    Name(String),
    Destination(Destination),
    /// The code of a signature type, and a public key of it.
    Key(u16, Box<[u8]>),
}

/// What a program knows of a destination whose LeaseSet is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindingInfo {
    pub session: SessionId,
    /// As they came; bit 0 and bit 4 say which of the last two fields there are.
    pub flags: u8,
    pub blinded_type: u16,
    /// Seconds since 1970.
    pub expires: u32,
    pub endpoint: Endpoint,
    pub decryption_key: Option<Zeroizing<[u8; 32]>>,
    pub lookup_password: Option<String>,
}

impl BlindingInfo {
    const PER_CLIENT: u8 = 1;
    const SECRET: u8 = 1 << 4;

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = SessionId::decode(r)?;
        let flags = r.u8("BlindingInfo flags")?;
        let kind = r.u8("BlindingInfo endpoint type")?;
        let (blinded_type, expires) = (r.u16("BlindingInfo blinded type")?, r.u32("BlindingInfo expiration")?);
        let endpoint = match kind {
            0 => Endpoint::Hash(Hash::decode(r)?),
            1 => Endpoint::Name(string(r, "BlindingInfo name")?),
            2 => Endpoint::Destination(Destination::decode(r)?),
            3 => {
                let code = r.u16("BlindingInfo key type")?;
                let kind = SigType::from_code(code)
                    .ok_or(DecodeError::Unsupported { what: "BlindingInfo key type", value: code.into() })?;
                Endpoint::Key(code, r.take(kind.key_len(), "BlindingInfo key")?.into())
            }
            value => return Err(DecodeError::Unsupported { what: "BlindingInfo endpoint", value: value.into() }),
        };
        let key = |r: &mut Reader<'_>| r.array("BlindingInfo decryption key").map(Zeroizing::new);
        let decryption_key = if flags & Self::PER_CLIENT == 0 { None } else { Some(key(r)?) };
        let password = |r: &mut Reader<'_>| string(r, "BlindingInfo password");
        let lookup_password = if flags & Self::SECRET == 0 { None } else { Some(password(r)?) };
        Ok(Self { session, flags, blinded_type, expires, endpoint, decryption_key, lookup_password })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        out.put_u8(self.flags);
        out.put_u8(match &self.endpoint {
            Endpoint::Hash(_) => 0,
            Endpoint::Name(_) => 1,
            Endpoint::Destination(_) => 2,
            Endpoint::Key(..) => 3,
        });
        out.put_u16(self.blinded_type);
        out.put_u32(self.expires);
        match &self.endpoint {
            Endpoint::Hash(hash) => hash.encode(out),
            Endpoint::Name(name) => put_string(out, name),
            Endpoint::Destination(destination) => destination.encode(out),
            Endpoint::Key(kind, bytes) => {
                out.put_u16(*kind);
                out.put(bytes);
            }
        }
        if let Some(key) = &self.decryption_key {
            out.put(&**key);
        }
        if let Some(password) = &self.lookup_password {
            put_string(out, password);
        }
    }
}
