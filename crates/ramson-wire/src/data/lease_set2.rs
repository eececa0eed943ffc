//! LeaseSet2, its header, and the outer forms of encrypted and meta LeaseSets.
//! <https://geti2p.net/spec/common-structures#leaseset2>

use super::lease::Lease2;
use super::lease_set::MAX_LEASES;
use super::mapping::Mapping;
use super::offline::{OfflineSignature, decode_key, signer, verify_record};
use super::{Destination, Hash};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::crypto::hash::sha256_of;
use crate::crypto::sign::{SigningKey, VerifyingKey};
use std::sync::Arc;

/// The most bytes of a LeaseSet of any kind that is stored.
pub const MAX_LEN: usize = 8192;
/// The most encryption keys of a LeaseSet2.
pub const MAX_KEYS: usize = 16;
/// The DatabaseStore types, which are signed as well.
pub const TYPE_LEASE_SET2: u8 = 3;
pub const TYPE_ENCRYPTED: u8 = 5;
pub const TYPE_META: u8 = 7;

/// The flags of a header. Bits that have no name are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    pub const OFFLINE: Self = Self(1);
    /// Not to be stored, flooded or given to others.
    pub const UNPUBLISHED: Self = Self(2);
    /// Published in encrypted form.
    pub const BLINDED: Self = Self(4);

    pub const fn contains(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }
}

/// The times, flags and permit that all LeaseSets since type 3 share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Seconds since 1970; each publication of a destination is at least one second later than the one before.
    pub published: u32,
    /// Seconds from `published` to the end.
    pub expires: u16,
    pub flags: Flags,
    /// Given exactly when the flag says so.
    pub offline: Option<OfflineSignature>,
}

impl Times {
    /// Seconds since 1970 at which the record ends; saturates in 2106.
    pub const fn end(&self) -> u32 {
        self.published.saturating_add(self.expires as u32)
    }

    fn decode(r: &mut Reader<'_>, key: &VerifyingKey) -> Result<Self, DecodeError> {
        let published = r.u32("LeaseSet2 published")?;
        let expires = r.u16("LeaseSet2 expires")?;
        let flags = Flags(r.u16("LeaseSet2 flags")?);
        let offline = match flags.contains(Flags::OFFLINE) {
            true => Some(OfflineSignature::decode(r, key.kind())?),
            false => None,
        };
        Ok(Self { published, expires, flags, offline })
    }

    /// The flag for the permit follows the permit.
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.published);
        out.put_u16(self.expires);
        let offline = u16::from(self.offline.is_some());
        out.put_u16(self.flags.0 & !Flags::OFFLINE.0 | offline);
        if let Some(offline) = &self.offline {
            offline.encode(out);
        }
    }
}

/// An encryption key of a LeaseSet2, by its type code (4: X25519; 5 to 7: with ML-KEM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionKey {
    pub kind: u16,
    pub bytes: Box<[u8]>,
}

impl EncryptionKey {
    /// An X25519 key.
    pub fn x25519(key: crate::crypto::x25519::PublicKey) -> Self {
        Self { kind: 4, bytes: Box::new(key.0) }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = r.u16("LeaseSet2 key type")?;
        let len = usize::from(r.u16("LeaseSet2 key length")?);
        let fits = match kind {
            0 => len == 256,
            4..=7 => len == 32,
            _ => true,
        };
        if !fits {
            return Err(DecodeError::invalid("LeaseSet2 key length", "not that of the type"));
        }
        Ok(Self { kind, bytes: r.take(len, "LeaseSet2 key")?.into() })
    }
}

/// A LeaseSet2 as it was read. Decoding does not verify; `verify` does.
#[derive(Clone)]
pub struct LeaseSet2 {
    raw: Arc<[u8]>,
    destination: Destination,
    times: Times,
    options: Mapping,
    keys: Box<[EncryptionKey]>,
    leases: Box<[Lease2]>,
}

impl LeaseSet2 {
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The destination's hash, under which the LeaseSet is kept.
    pub const fn key(&self) -> Hash {
        self.destination.hash()
    }

    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// Service records and others, sorted by key.
    pub const fn options(&self) -> &Mapping {
        &self.options
    }

    /// 1 to 16 keys, the most preferred first.
    pub const fn encryption_keys(&self) -> &[EncryptionKey] {
        &self.keys
    }

    /// The first X25519 key (type 4).
    pub fn x25519_key(&self) -> Option<crate::crypto::x25519::PublicKey> {
        let key = self.keys.iter().find(|key| key.kind == 4)?;
        key.bytes.as_ref().try_into().ok().map(crate::crypto::x25519::PublicKey)
    }

    /// 1 to 16 leases.
    pub const fn leases(&self) -> &[Lease2] {
        &self.leases
    }

    /// Verifies the signature by the destination's key, or by a transient key whose permit verifies. Whether the
    /// permit is expired, the caller checks.
    pub fn verify(&self) -> Result<(), DecodeError> {
        let key = signer(self.destination.signing_key(), self.times.offline.as_ref())?;
        verify_record(TYPE_LEASE_SET2, &self.raw, key)
    }
}

impl std::fmt::Debug for LeaseSet2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LeaseSet2 {:?} of {}, {} leases", self.key(), self.times.published, self.leases.len())
    }
}

impl Encode for LeaseSet2 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.raw);
    }
}

impl Decode for LeaseSet2 {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let destination = Destination::decode(r)?;
        let times = Times::decode(r, destination.signing_key())?;
        let options = Mapping::decode(r)?;
        let keys = list(r, "LeaseSet2 keys", MAX_KEYS, EncryptionKey::decode)?;
        let leases = list(r, "LeaseSet2 leases", MAX_LEASES, Lease2::decode)?;
        let raw = signed(whole, r, destination.signing_key(), &times)?;
        Ok(Self { destination: destination.within(&raw), raw, times, options, keys, leases })
    }
}

/// The parts of an own LeaseSet2 before it is signed.
#[derive(Clone, Debug)]
pub struct Unsigned {
    pub destination: Destination,
    pub times: Times,
    pub options: Mapping,
    /// 1 to 16, the most preferred first.
    pub keys: Vec<EncryptionKey>,
    /// 1 to 16.
    pub leases: Vec<Lease2>,
}

impl Unsigned {
    /// Signs by the destination's key, or by the transient key of the permit. Fails when a part is out of its bounds
    /// or `key` is another one.
    pub fn sign(&self, key: &SigningKey) -> Result<LeaseSet2, DecodeError> {
        let mut raw = vec![TYPE_LEASE_SET2];
        self.destination.encode(&mut raw);
        self.times.encode(&mut raw);
        self.options.encode(&mut raw);
        raw.put_u8(u8::try_from(self.keys.len()).unwrap_or(u8::MAX));
        for key in &self.keys {
            raw.put_u16(key.kind);
            raw.put_u16(u16::try_from(key.bytes.len()).unwrap_or(u16::MAX));
            raw.put(&key.bytes);
        }
        raw.put_u8(u8::try_from(self.leases.len()).unwrap_or(u8::MAX));
        for lease in &self.leases {
            lease.encode(&mut raw);
        }
        let signature = key.sign(&raw);
        raw.put(&signature);
        let set = LeaseSet2::from_bytes(raw.get(1..).unwrap_or_default())?;
        set.verify()?;
        Ok(set)
    }
}

/// The outer form of an encrypted LeaseSet (type 5): enough to verify, store and flood it.
#[derive(Clone)]
pub struct EncryptedLeaseSet {
    raw: Arc<[u8]>,
    /// The blinded key of the day, which signs.
    pub blinded: VerifyingKey,
    pub times: Times,
    pub ciphertext: Box<[u8]>,
}

impl EncryptedLeaseSet {
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// SHA-256 of the blinded key with its type, under which the LeaseSet is kept.
    /// <https://geti2p.net/spec/encryptedleaseset>
    pub fn key(&self) -> Hash {
        Hash(sha256_of(&[&self.blinded.kind().code().to_be_bytes(), self.blinded.bytes()]))
    }

    /// Verifies the signature by the blinded key, or by a transient key whose permit verifies.
    pub fn verify(&self) -> Result<(), DecodeError> {
        let key = signer(&self.blinded, self.times.offline.as_ref())?;
        verify_record(TYPE_ENCRYPTED, &self.raw, key)
    }
}

impl std::fmt::Debug for EncryptedLeaseSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptedLeaseSet {:?} of {}", self.key(), self.times.published)
    }
}

impl Encode for EncryptedLeaseSet {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.raw);
    }
}

impl Decode for EncryptedLeaseSet {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let blinded = decode_key(r)?;
        let times = Times::decode(r, &blinded)?;
        let len = r.u16("EncryptedLeaseSet length")?;
        let ciphertext = r.take(usize::from(len), "EncryptedLeaseSet data")?.into();
        let raw = signed(whole, r, &blinded, &times)?;
        Ok(Self { raw, blinded, times, ciphertext })
    }
}

/// A meta LeaseSet (type 7): it names other LeaseSets of one service.
#[derive(Clone)]
pub struct MetaLeaseSet {
    raw: Arc<[u8]>,
    pub destination: Destination,
    pub times: Times,
    pub entries: Box<[MetaLease]>,
    pub revoked: Box<[Hash]>,
}

/// An entry of a meta LeaseSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaLease {
    /// The LeaseSet's key.
    pub key: Hash,
    /// The low four bits of the last byte are the LeaseSet's type.
    pub flags: [u8; 3],
    /// Lower is preferred.
    pub cost: u8,
    /// Seconds since 1970.
    pub end: u32,
}

impl MetaLease {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: Hash::decode(r)?,
            flags: r.array("MetaLease flags")?,
            cost: r.u8("MetaLease cost")?,
            end: r.u32("MetaLease end")?,
        })
    }
}

impl MetaLeaseSet {
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    pub const fn key(&self) -> Hash {
        self.destination.hash()
    }

    /// Verifies the signature by the destination's key, or by a transient key whose permit verifies.
    pub fn verify(&self) -> Result<(), DecodeError> {
        let key = signer(self.destination.signing_key(), self.times.offline.as_ref())?;
        verify_record(TYPE_META, &self.raw, key)
    }
}

impl std::fmt::Debug for MetaLeaseSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MetaLeaseSet {:?} of {}", self.key(), self.times.published)
    }
}

impl Encode for MetaLeaseSet {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.raw);
    }
}

impl Decode for MetaLeaseSet {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = r.peek();
        let destination = Destination::decode(r)?;
        let times = Times::decode(r, destination.signing_key())?;
        Mapping::decode(r)?;
        let entries = list(r, "MetaLeaseSet entries", usize::from(u8::MAX), MetaLease::decode)?;
        let count = r.u8("MetaLeaseSet revocations")?;
        let revoked = (0..count).map(|_| Hash::decode(r)).collect::<Result<_, _>>()?;
        let raw = signed(whole, r, destination.signing_key(), &times)?;
        Ok(Self { destination: destination.within(&raw), raw, times, entries, revoked })
    }
}

/// A counted list of 1 to `max` items.
fn list<T>(
    r: &mut Reader<'_>,
    what: &'static str,
    max: usize,
    item: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Box<[T]>, DecodeError> {
    let count = usize::from(r.u8(what)?);
    if count == 0 {
        return Err(DecodeError::invalid(what, "none"));
    }
    if count > max {
        return Err(DecodeError::TooLarge { what, limit: max });
    }
    (0..count).map(|_| item(r)).collect()
}

/// Reads the signature that ends a record, and returns the record's bytes.
fn signed(whole: &[u8], r: &mut Reader<'_>, key: &VerifyingKey, times: &Times) -> Result<Arc<[u8]>, DecodeError> {
    let kind = times.offline.as_ref().map_or(key.kind(), |offline| offline.transient.kind());
    r.take(kind.signature_len(), "LeaseSet signature")?;
    let len = whole.len() - r.remaining();
    if len > MAX_LEN {
        return Err(DecodeError::TooLarge { what: "LeaseSet", limit: MAX_LEN });
    }
    Ok(whole.get(..len).unwrap_or_default().into())
}

#[cfg(test)]
#[path = "lease_set2_tests.rs"]
mod tests;
