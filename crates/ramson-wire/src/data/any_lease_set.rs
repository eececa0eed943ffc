//! A LeaseSet of any type, as the network database holds it.

use super::Hash;
use super::lease::Lease;
use super::lease_set::LeaseSet;
use super::lease_set2::{
    EncryptedLeaseSet, Flags, LeaseSet2, MetaLeaseSet, TYPE_ENCRYPTED, TYPE_LEASE_SET2, TYPE_META, Times,
};
use crate::codec::{Decode, DecodeError};

/// The DatabaseStore type of a LeaseSet of the first kind.
pub const TYPE_LEASE_SET: u8 = 1;

/// A LeaseSet by its DatabaseStore type.
#[derive(Clone, Debug)]
pub enum AnyLeaseSet {
    V1(LeaseSet),
    V2(LeaseSet2),
    Encrypted(EncryptedLeaseSet),
    Meta(MetaLeaseSet),
}

impl AnyLeaseSet {
    /// Reads a LeaseSet of the DatabaseStore type `kind` that fills `bytes`.
    pub fn decode(kind: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match kind {
            TYPE_LEASE_SET => LeaseSet::from_bytes(bytes).map(Self::V1),
            TYPE_LEASE_SET2 => LeaseSet2::from_bytes(bytes).map(Self::V2),
            TYPE_ENCRYPTED => EncryptedLeaseSet::from_bytes(bytes).map(Self::Encrypted),
            TYPE_META => MetaLeaseSet::from_bytes(bytes).map(Self::Meta),
            _ => Err(DecodeError::Unsupported { what: "LeaseSet type", value: kind.into() }),
        }
    }

    /// The DatabaseStore type.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::V1(_) => TYPE_LEASE_SET,
            Self::V2(_) => TYPE_LEASE_SET2,
            Self::Encrypted(_) => TYPE_ENCRYPTED,
            Self::Meta(_) => TYPE_META,
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V1(set) => set.as_bytes(),
            Self::V2(set) => set.as_bytes(),
            Self::Encrypted(set) => set.as_bytes(),
            Self::Meta(set) => set.as_bytes(),
        }
    }

    /// The key in the network database.
    pub fn key(&self) -> Hash {
        match self {
            Self::V1(set) => set.key(),
            Self::V2(set) => set.key(),
            Self::Encrypted(set) => set.key(),
            Self::Meta(set) => set.key(),
        }
    }

    /// Verifies the signature.
    pub fn verify(&self) -> Result<(), DecodeError> {
        match self {
            Self::V1(set) => set.verify(),
            Self::V2(set) => set.verify(),
            Self::Encrypted(set) => set.verify(),
            Self::Meta(set) => set.verify(),
        }
    }

    /// The times of the types since 3.
    pub const fn times(&self) -> Option<&Times> {
        match self {
            Self::V1(_) => None,
            Self::V2(set) => Some(set.times()),
            Self::Encrypted(set) => Some(&set.times),
            Self::Meta(set) => Some(&set.times),
        }
    }

    /// Which of two LeaseSets of one key is newer: the time of publication, or for type 1 the earliest end of a
    /// lease. Milliseconds since 1970.
    pub fn version(&self) -> u64 {
        match self {
            Self::V1(set) => set.earliest(),
            _ => self.times().map_or(0, |times| u64::from(times.published) * 1000),
        }
    }

    /// When the LeaseSet, or its last lease, ends. Milliseconds since 1970.
    pub fn end(&self) -> u64 {
        let header = self.times().map_or(u64::MAX, |times| u64::from(times.end()) * 1000);
        match self {
            Self::V1(set) => set.latest(),
            Self::V2(set) => {
                let last = set.leases().iter().map(|lease| lease.end).max().unwrap_or(0);
                header.min(u64::from(last) * 1000)
            }
            Self::Encrypted(_) | Self::Meta(_) => header,
        }
    }

    /// Whether it must not be stored for others.
    pub fn is_unpublished(&self) -> bool {
        self.times().is_some_and(|times| times.flags.contains(Flags::UNPUBLISHED))
    }

    /// The leases in the clear, in order.
    pub fn leases(&self) -> Vec<Lease> {
        match self {
            Self::V1(set) => set.leases().to_vec(),
            Self::V2(set) => set.leases().iter().copied().map(Lease::from).collect(),
            Self::Encrypted(_) | Self::Meta(_) => Vec::new(),
        }
    }
}
