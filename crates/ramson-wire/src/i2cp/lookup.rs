//! HostLookup and HostReply: names, hashes and what LeaseSets say besides.

use super::{SessionId, put_string, string};
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::data::{Destination, Hash, Mapping};

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupKey {
    Hash(Hash),
    Name(String),
    /// For its options.
    Destination(Destination),
    /// A request type without a meaning here; its answer is [`LookupResult::UNSUPPORTED`].
    Unknown(u8, Box<[u8]>),
}

/// A program asks for a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLookup {
    pub session: SessionId,
    /// Comes back with the answer.
    pub request: u32,
    /// Milliseconds.
    pub timeout: u32,
    pub key: LookupKey,
    /// The options of the LeaseSet are wanted, too.
    pub options: bool,
}

impl HostLookup {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = SessionId::decode(r)?;
        let (request, timeout) = (r.u32("HostLookup request")?, r.u32("HostLookup timeout")?);
        let kind = r.u8("HostLookup type")?;
        let key = match kind {
            0 | 2 => LookupKey::Hash(Hash::decode(r)?),
            1 | 3 => LookupKey::Name(string(r, "HostLookup name")?),
            4 => LookupKey::Destination(Destination::decode(r)?),
            kind => LookupKey::Unknown(kind, r.take_rest().into()),
        };
        Ok(Self { session, request, timeout, key, options: matches!(kind, 2..=4) })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        out.put_u32(self.request);
        out.put_u32(self.timeout);
        out.put_u8(match (&self.key, self.options) {
            (LookupKey::Hash(_), false) => 0,
            (LookupKey::Name(_), false) => 1,
            (LookupKey::Hash(_), true) => 2,
            (LookupKey::Name(_), true) => 3,
            (LookupKey::Destination(_), _) => 4,
            (LookupKey::Unknown(kind, _), _) => *kind,
        });
        match &self.key {
            LookupKey::Hash(hash) => hash.encode(out),
            LookupKey::Name(name) => put_string(out, name),
            LookupKey::Destination(destination) => destination.encode(out),
            LookupKey::Unknown(_, rest) => out.put(rest),
        }
    }
}

/// How a look-up went, by the code of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupResult(pub u8);

impl LookupResult {
    pub const SUCCESS: Self = Self(0);
    pub const FAILURE: Self = Self(1);
    /// The LeaseSet was not found, so its options are not known.
    pub const LEASE_SET_NOT_FOUND: Self = Self(6);
    /// The type of the request has no meaning here.
    pub const UNSUPPORTED: Self = Self(7);
}

/// The answer to a [`HostLookup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReply {
    pub session: SessionId,
    pub request: u32,
    pub result: LookupResult,
    pub destination: Option<Destination>,
    /// Only behind a destination, and where they were asked for.
    pub options: Option<Mapping>,
}

impl HostReply {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let session = SessionId::decode(r)?;
        let request = r.u32("HostReply request")?;
        let result = LookupResult(r.u8("HostReply result")?);
        let destination = if r.is_empty() { None } else { Some(Destination::decode(r)?) };
        // The order is left to the router.
        let options = if r.is_empty() { None } else { Some(Mapping::decode_in_any_order(r)?) };
        Ok(Self { session, request, result, destination, options })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        out.put_u32(self.request);
        out.put_u8(self.result.0);
        if let Some(destination) = &self.destination {
            destination.encode(out);
            if let Some(options) = &self.options {
                options.encode(out);
            }
        }
    }
}
