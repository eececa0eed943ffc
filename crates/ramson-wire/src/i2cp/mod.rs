//! I2CP: what a program and its router say to each other. <https://geti2p.net/spec/i2cp>
//!
//! A program sends [`PROTOCOL_BYTE`] first; then both sides send messages: `length :: 4`, `type :: 1`, and so many bytes
//! of body. [`Message`] has those that are in use, by the specification's names. Of those that are obsolete,
//! `CreateLeaseSet`, `ReceiveMessageBegin`, `ReceiveMessageEnd` and `ReportAbuse` are known, since programs may send
//! them; `RequestLeaseSet` is not, which routers sent to programs of before 2013.

mod config;
mod date;
mod lease_set;
mod lookup;
mod payload;
mod status;
#[cfg(test)]
mod tests;

pub use config::{SessionConfig, offline};
pub use date::{GetDate, SetDate};
pub use lease_set::{BlindingInfo, CreateLeaseSet2, Endpoint, LeaseSetKey, RequestVariableLeaseSet};
pub use lookup::{HostLookup, HostReply, LookupKey, LookupResult};
pub use payload::{Delivery, Expiry, MessagePayload, MessageStatus, SendMessage};
pub use status::{BandwidthLimits, SessionState, SessionStatus};

use crate::codec::{Decode, DecodeError, Encode, Reader, Write};
use crate::data::{Destination, Hash};

/// What a program sends before its first message.
pub const PROTOCOL_BYTE: u8 = 0x2a;
/// Bytes of a header.
pub const HEADER: usize = 5;
/// The most bytes of a body: the specification's "about 64 KB", and room for what stands around a payload of that.
pub const MAX_BODY: usize = (64 << 10) + (4 << 10);

/// The number of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u16);

impl SessionId {
    /// No session, as for look-ups by a connection that has none.
    pub const NONE: Self = Self(0xffff);

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.u16("session ID").map(Self)
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// At most [`MAX_BODY`].
    pub len: usize,
    pub kind: u8,
}

impl Header {
    /// Reads a header; fails on a body that is longer than any message.
    pub fn new(bytes: [u8; HEADER]) -> Result<Self, DecodeError> {
        let [a, b, c, d, kind] = bytes;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if len > MAX_BODY {
            return Err(DecodeError::TooLarge { what: "I2CP message", limit: MAX_BODY });
        }
        Ok(Self { len, kind })
    }
}

/// A message of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    BandwidthLimits(BandwidthLimits),
    BlindingInfo(BlindingInfo),
    /// Obsolete, and with an ElGamal key only: what follows the session is not read.
    CreateLeaseSet(SessionId),
    CreateLeaseSet2(CreateLeaseSet2),
    CreateSession(SessionConfig),
    DestLookup(Hash),
    /// The destination, or the hash that was not found.
    DestReply(Result<Destination, Hash>),
    DestroySession(SessionId),
    /// The reason.
    Disconnect(String),
    GetBandwidthLimits,
    GetDate(GetDate),
    HostLookup(HostLookup),
    HostReply(HostReply),
    MessagePayload(MessagePayload),
    MessageStatus(MessageStatus),
    /// Obsolete; what is in it is not read.
    ReceiveMessageBegin,
    /// Obsolete; what is in it is not read.
    ReceiveMessageEnd,
    ReconfigureSession {
        session: SessionId,
        config: SessionConfig,
    },
    /// Obsolete; what is in it is not read.
    ReportAbuse,
    RequestVariableLeaseSet(RequestVariableLeaseSet),
    /// SendMessage, or SendMessageExpires where it says until when it is good.
    SendMessage(SendMessage),
    SessionStatus(SessionStatus),
    SetDate(SetDate),
}

impl Message {
    /// Reads the body of a message of this type.
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        let message = Self::read(kind, &mut r)?;
        r.finish("I2CP message")?;
        Ok(message)
    }

    fn read(kind: u8, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::CREATE_SESSION => Self::CreateSession(SessionConfig::decode(r)?),
            kind::RECONFIGURE_SESSION => {
                Self::ReconfigureSession { session: SessionId::decode(r)?, config: SessionConfig::decode(r)? }
            }
            kind::DESTROY_SESSION => Self::DestroySession(SessionId::decode(r)?),
            kind::CREATE_LEASE_SET => {
                let session = SessionId::decode(r)?;
                r.take_rest();
                Self::CreateLeaseSet(session)
            }
            kind::SEND_MESSAGE => Self::SendMessage(SendMessage::decode(r, false)?),
            kind::RECEIVE_MESSAGE_BEGIN => unread(r, Self::ReceiveMessageBegin),
            kind::RECEIVE_MESSAGE_END => unread(r, Self::ReceiveMessageEnd),
            kind::GET_BANDWIDTH_LIMITS => Self::GetBandwidthLimits,
            kind::SESSION_STATUS => Self::SessionStatus(SessionStatus::decode(r)?),
            kind::MESSAGE_STATUS => Self::MessageStatus(MessageStatus::decode(r)?),
            kind::BANDWIDTH_LIMITS => Self::BandwidthLimits(BandwidthLimits::decode(r)?),
            kind::REPORT_ABUSE => unread(r, Self::ReportAbuse),
            kind::DISCONNECT => Self::Disconnect(string(r, "Disconnect")?),
            kind::MESSAGE_PAYLOAD => Self::MessagePayload(MessagePayload::decode(r)?),
            kind::GET_DATE => Self::GetDate(GetDate::decode(r)?),
            kind::SET_DATE => Self::SetDate(SetDate::decode(r)?),
            kind::DEST_LOOKUP => Self::DestLookup(Hash::decode(r)?),
            kind::DEST_REPLY if r.remaining() == 32 => Self::DestReply(Err(Hash::decode(r)?)),
            kind::DEST_REPLY => Self::DestReply(Ok(Destination::decode(r)?)),
            kind::SEND_MESSAGE_EXPIRES => Self::SendMessage(SendMessage::decode(r, true)?),
            kind::REQUEST_VARIABLE_LEASE_SET => Self::RequestVariableLeaseSet(RequestVariableLeaseSet::decode(r)?),
            kind::HOST_LOOKUP => Self::HostLookup(HostLookup::decode(r)?),
            kind::HOST_REPLY => Self::HostReply(HostReply::decode(r)?),
            kind::CREATE_LEASE_SET2 => Self::CreateLeaseSet2(CreateLeaseSet2::decode(r)?),
            kind::BLINDING_INFO => Self::BlindingInfo(BlindingInfo::decode(r)?),
            value => return Err(DecodeError::Unsupported { what: "I2CP message", value: value.into() }),
        })
    }

    /// The message's type.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::BandwidthLimits(_) => kind::BANDWIDTH_LIMITS,
            Self::BlindingInfo(_) => kind::BLINDING_INFO,
            Self::CreateLeaseSet(_) => kind::CREATE_LEASE_SET,
            Self::CreateLeaseSet2(_) => kind::CREATE_LEASE_SET2,
            Self::CreateSession(_) => kind::CREATE_SESSION,
            Self::DestLookup(_) => kind::DEST_LOOKUP,
            Self::DestReply(_) => kind::DEST_REPLY,
            Self::DestroySession(_) => kind::DESTROY_SESSION,
            Self::Disconnect(_) => kind::DISCONNECT,
            Self::GetBandwidthLimits => kind::GET_BANDWIDTH_LIMITS,
            Self::GetDate(_) => kind::GET_DATE,
            Self::HostLookup(_) => kind::HOST_LOOKUP,
            Self::HostReply(_) => kind::HOST_REPLY,
            Self::MessagePayload(_) => kind::MESSAGE_PAYLOAD,
            Self::MessageStatus(_) => kind::MESSAGE_STATUS,
            Self::ReceiveMessageBegin => kind::RECEIVE_MESSAGE_BEGIN,
            Self::ReceiveMessageEnd => kind::RECEIVE_MESSAGE_END,
            Self::ReconfigureSession { .. } => kind::RECONFIGURE_SESSION,
            Self::ReportAbuse => kind::REPORT_ABUSE,
            Self::RequestVariableLeaseSet(_) => kind::REQUEST_VARIABLE_LEASE_SET,
            Self::SendMessage(SendMessage { expires: None, .. }) => kind::SEND_MESSAGE,
            Self::SendMessage(_) => kind::SEND_MESSAGE_EXPIRES,
            Self::SessionStatus(_) => kind::SESSION_STATUS,
            Self::SetDate(_) => kind::SET_DATE,
        }
    }

    /// Writes the body.
    fn body(&self, out: &mut Vec<u8>) {
        match self {
            Self::BandwidthLimits(it) => it.encode(out),
            Self::BlindingInfo(it) => it.encode(out),
            Self::CreateLeaseSet(session) | Self::DestroySession(session) => out.put_u16(session.0),
            Self::CreateLeaseSet2(it) => it.encode(out),
            Self::CreateSession(it) => it.encode(out),
            Self::DestLookup(hash) | Self::DestReply(Err(hash)) => hash.encode(out),
            Self::DestReply(Ok(destination)) => destination.encode(out),
            Self::Disconnect(reason) => put_string(out, reason),
            Self::GetBandwidthLimits | Self::ReceiveMessageBegin | Self::ReceiveMessageEnd | Self::ReportAbuse => {}
            Self::GetDate(it) => it.encode(out),
            Self::HostLookup(it) => it.encode(out),
            Self::HostReply(it) => it.encode(out),
            Self::MessagePayload(it) => it.encode(out),
            Self::MessageStatus(it) => it.encode(out),
            Self::ReconfigureSession { session, config } => {
                out.put_u16(session.0);
                config.encode(out);
            }
            Self::RequestVariableLeaseSet(it) => it.encode(out),
            Self::SendMessage(it) => it.encode(out),
            Self::SessionStatus(it) => it.encode(out),
            Self::SetDate(it) => it.encode(out),
        }
    }
}

impl Encode for Message {
    /// Header and body.
    fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.put_u32(0);
        out.put_u8(self.kind());
        self.body(out);
        let len = u32::try_from(out.len() - at - HEADER).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) {
            *place = len.to_be_bytes();
        }
    }
}

/// The types of messages.
pub mod kind {
    pub const CREATE_SESSION: u8 = 1;
    pub const RECONFIGURE_SESSION: u8 = 2;
    pub const DESTROY_SESSION: u8 = 3;
    pub const CREATE_LEASE_SET: u8 = 4;
    pub const SEND_MESSAGE: u8 = 5;
    pub const RECEIVE_MESSAGE_BEGIN: u8 = 6;
    pub const RECEIVE_MESSAGE_END: u8 = 7;
    pub const GET_BANDWIDTH_LIMITS: u8 = 8;
    pub const SESSION_STATUS: u8 = 20;
    pub const MESSAGE_STATUS: u8 = 22;
    pub const BANDWIDTH_LIMITS: u8 = 23;
    pub const REPORT_ABUSE: u8 = 29;
    pub const DISCONNECT: u8 = 30;
    pub const MESSAGE_PAYLOAD: u8 = 31;
    pub const GET_DATE: u8 = 32;
    pub const SET_DATE: u8 = 33;
    pub const DEST_LOOKUP: u8 = 34;
    pub const DEST_REPLY: u8 = 35;
    pub const SEND_MESSAGE_EXPIRES: u8 = 36;
    pub const REQUEST_VARIABLE_LEASE_SET: u8 = 37;
    pub const HOST_LOOKUP: u8 = 38;
    pub const HOST_REPLY: u8 = 39;
    pub const CREATE_LEASE_SET2: u8 = 41;
    pub const BLINDING_INFO: u8 = 42;
}

fn unread(r: &mut Reader<'_>, message: Message) -> Message {
    r.take_rest();
    message
}

/// A String: its length in one byte, then UTF-8.
fn string(r: &mut Reader<'_>, what: &'static str) -> Result<String, DecodeError> {
    let len = r.u8(what)?;
    let bytes = r.take(usize::from(len), what)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::invalid(what, "not UTF-8"))
}

/// Writes a String; one of more than 255 bytes is cut between two characters.
fn put_string(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    out.put_u8(u8::try_from(text.len()).unwrap_or(0));
    out.put(text.as_bytes());
}
