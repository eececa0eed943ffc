//! SendMessage, SendMessageExpires, MessagePayload and MessageStatus: what is sent, what comes, and how it went.

use super::SessionId;
use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::data::Destination;

/// Until when a message is good, and hints about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub flags: u16,
    /// Milliseconds since 1970, of which the lower six bytes are sent; 0 if it is not said.
    pub at: u64,
}

impl Expiry {
    /// The LeaseSet is not to go with the message.
    pub const NO_LEASE_SET: u16 = 1 << 8;
    /// Bits without a meaning.
    pub const UNKNOWN: u16 = 0xf800;
}

/// A message to another destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessage {
    pub session: SessionId,
    pub to: Destination,
    /// As the other side gets it; by the specification a gzip member.
    pub payload: Vec<u8>,
    /// Comes back in [`MessageStatus`]; with 0 nothing is said of the message.
    pub nonce: u32,
    pub expires: Option<Expiry>,
}

impl SendMessage {
    pub(super) fn decode(r: &mut Reader<'_>, expires: bool) -> Result<Self, DecodeError> {
        let session = SessionId::decode(r)?;
        let to = Destination::decode(r)?;
        let payload = payload(r)?;
        let nonce = r.u32("SendMessage nonce")?;
        let expires = match expires {
            false => None,
            true => {
                let flags = r.u16("SendMessageExpires flags")?;
                let [a, b, c, d, e, f] = r.array("SendMessageExpires date")?;
                Some(Expiry { flags, at: u64::from_be_bytes([0, 0, a, b, c, d, e, f]) })
            }
        };
        Ok(Self { session, to, payload, nonce, expires })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        self.to.encode(out);
        put_payload(out, &self.payload);
        out.put_u32(self.nonce);
        if let Some(expires) = self.expires {
            out.put_u16(expires.flags);
            let [_, _, date @ ..] = expires.at.to_be_bytes();
            out.put(&date);
        }
    }
}

/// A message that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagePayload {
    pub session: SessionId,
    pub id: u32,
    pub payload: Vec<u8>,
}

impl MessagePayload {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { session: SessionId::decode(r)?, id: r.u32("message ID")?, payload: payload(r)? })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        out.put_u32(self.id);
        put_payload(out, &self.payload);
    }
}

/// What became of a message, by the code of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery(pub u8);

impl Delivery {
    pub const ACCEPTED: Self = Self(1);
    pub const BEST_EFFORT_SUCCESS: Self = Self(2);
    pub const BEST_EFFORT_FAILURE: Self = Self(3);
    pub const GUARANTEED_FAILURE: Self = Self(5);
    pub const ROUTER_FAILURE: Self = Self(8);
    pub const BAD_SESSION: Self = Self(10);
    pub const BAD_MESSAGE: Self = Self(11);
    pub const BAD_OPTIONS: Self = Self(12);
    pub const OVERFLOW: Self = Self(13);
    pub const EXPIRED: Self = Self(14);
    pub const BAD_LOCAL_LEASE_SET: Self = Self(15);
    pub const NO_LOCAL_TUNNELS: Self = Self(16);
    pub const UNSUPPORTED_ENCRYPTION: Self = Self(17);
    pub const NO_LEASE_SET: Self = Self(21);
    pub const LOOPBACK_DENIED: Self = Self(23);
}

/// Word of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageStatus {
    pub session: SessionId,
    pub id: u32,
    pub status: Delivery,
    pub size: u32,
    pub nonce: u32,
}

impl MessageStatus {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            session: SessionId::decode(r)?,
            id: r.u32("message ID")?,
            status: Delivery(r.u8("message status")?),
            size: r.u32("message size")?,
            nonce: r.u32("message nonce")?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(self.session.0);
        out.put_u32(self.id);
        out.put_u8(self.status.0);
        out.put_u32(self.size);
        out.put_u32(self.nonce);
    }
}

fn payload(r: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let len = usize::try_from(r.u32("payload length")?).unwrap_or(usize::MAX);
    r.take(len, "payload").map(<[u8]>::to_vec)
}

fn put_payload(out: &mut Vec<u8>, payload: &[u8]) {
    out.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    out.put(payload);
}
