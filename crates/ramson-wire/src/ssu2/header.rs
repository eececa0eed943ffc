//! The two headers, as they are before protection.

use super::{LONG_HEADER, SHORT_HEADER};
use crate::codec::{DecodeError, Reader};

/// Says to which session a packet belongs: 8 random bytes that keep their order, here as a big-endian integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// The id that messages about a relay or test nonce carry towards Alice; those towards Charlie carry the other.
    pub const fn of_nonce(nonce: u32) -> Self {
        Self((nonce as u64) << 32 | nonce as u64)
    }

    /// All bits turned: what stands as source where `of_nonce` is the destination.
    pub const fn inverse(self) -> Self {
        Self(!self.0)
    }
}

impl std::fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MessageType {
    SessionRequest = 0,
    SessionCreated = 1,
    SessionConfirmed = 2,
    Data = 6,
    PeerTest = 7,
    Retry = 9,
    TokenRequest = 10,
    HolePunch = 11,
}

impl MessageType {
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::SessionRequest,
            1 => Self::SessionCreated,
            2 => Self::SessionConfirmed,
            6 => Self::Data,
            7 => Self::PeerTest,
            9 => Self::Retry,
            10 => Self::TokenRequest,
            11 => Self::HolePunch,
            _ => return None,
        })
    }

    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Whether its header has 32 bytes.
    pub const fn is_long(self) -> bool {
        !matches!(self, Self::SessionConfirmed | Self::Data)
    }

    /// Whether an ephemeral key stands behind its header.
    pub const fn has_ephemeral(self) -> bool {
        matches!(self, Self::SessionRequest | Self::SessionCreated)
    }
}

/// `destination connection ID :: 8`, `packet number :: 4`, `type :: 1`, `ver :: 1`, `id :: 1`, `flag :: 1`,
/// `source connection ID :: 8`, `token :: 8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader {
    pub destination: ConnectionId,
    /// Random; only the nonce of messages outside a handshake.
    pub packet_number: u32,
    pub kind: MessageType,
    /// 2; 3 and 4 say that the handshake is hybrid.
    pub version: u8,
    pub network_id: u8,
    /// Unused, zero.
    pub flag: u8,
    pub source: ConnectionId,
    /// 0 where there is none.
    pub token: u64,
}

impl LongHeader {
    pub fn to_bytes(&self) -> [u8; LONG_HEADER] {
        let [d0, d1, d2, d3, d4, d5, d6, d7] = self.destination.0.to_be_bytes();
        let [n0, n1, n2, n3] = self.packet_number.to_be_bytes();
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.source.0.to_be_bytes();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = self.token.to_be_bytes();
        let (kind, version, id, flag) = (self.kind.code(), self.version, self.network_id, self.flag);
        [
            d0, d1, d2, d3, d4, d5, d6, d7, n0, n1, n2, n3, kind, version, id, flag, s0, s1, s2, s3, s4, s5, s6, s7,
            t0, t1, t2, t3, t4, t5, t6, t7,
        ]
    }

    /// Reads a header whose protection is off. Whether version and network are ours, the receiver decides.
    pub fn from_bytes(bytes: &[u8; LONG_HEADER]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let destination = ConnectionId(r.u64("destination connection ID")?);
        let packet_number = r.u32("packet number")?;
        let kind = kind(r.u8("message type")?)?;
        if !kind.is_long() {
            return Err(DecodeError::invalid("message type", "has a short header"));
        }
        Ok(Self {
            destination,
            packet_number,
            kind,
            version: r.u8("version")?,
            network_id: r.u8("network ID")?,
            flag: r.u8("flag")?,
            source: ConnectionId(r.u64("source connection ID")?),
            token: r.u64("token")?,
        })
    }
}

/// Which fragment of a SessionConfirmed a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmedFragment {
    /// From 0, below `total`.
    number: u8,
    /// 1 to 15.
    total: u8,
}

impl ConfirmedFragment {
    /// The only fragment of a message that is not fragmented.
    pub const WHOLE: Self = Self { number: 0, total: 1 };

    /// `None` when `total` is not 1 to 15, or `number` not below it.
    pub const fn new(number: u8, total: u8) -> Option<Self> {
        if total == 0 || total > super::CONFIRMED_FRAGMENTS || number >= total {
            return None;
        }
        Some(Self { number, total })
    }

    pub const fn number(self) -> u8 {
        self.number
    }

    pub const fn total(self) -> u8 {
        self.total
    }
}

/// What follows the packet number in a short header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    Confirmed(ConfirmedFragment),
    /// Whether the sender asks to be acknowledged at once.
    Data {
        immediate_ack: bool,
    },
}

/// `destination connection ID :: 8`, `packet number :: 4`, `type :: 1`, then `frag :: 1`, `flags :: 2` in
/// SessionConfirmed and `flag :: 1`, `moreflags :: 2` in Data. Unused flags are written as zero and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortHeader {
    pub destination: ConnectionId,
    /// 0 in SessionConfirmed.
    pub packet_number: u32,
    pub kind: Short,
}

impl ShortHeader {
    pub fn to_bytes(&self) -> [u8; SHORT_HEADER] {
        let [d0, d1, d2, d3, d4, d5, d6, d7] = self.destination.0.to_be_bytes();
        let [n0, n1, n2, n3] = self.packet_number.to_be_bytes();
        let (kind, flag) = match self.kind {
            Short::Confirmed(fragment) => (MessageType::SessionConfirmed, fragment.number << 4 | fragment.total),
            Short::Data { immediate_ack } => (MessageType::Data, u8::from(immediate_ack)),
        };
        [d0, d1, d2, d3, d4, d5, d6, d7, n0, n1, n2, n3, kind.code(), flag, 0, 0]
    }

    /// Reads a header whose protection is off.
    pub fn from_bytes(bytes: &[u8; SHORT_HEADER]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let destination = ConnectionId(r.u64("destination connection ID")?);
        let packet_number = r.u32("packet number")?;
        let kind = kind(r.u8("message type")?)?;
        let flag = r.u8("flag")?;
        let kind = match kind {
            MessageType::SessionConfirmed => Short::Confirmed(
                ConfirmedFragment::new(flag >> 4, flag & 0x0f)
                    .ok_or(DecodeError::invalid("frag", "no fragment of so many"))?,
            ),
            MessageType::Data => Short::Data { immediate_ack: flag & 1 != 0 },
            _ => return Err(DecodeError::invalid("message type", "has a long header")),
        };
        Ok(Self { destination, packet_number, kind })
    }
}

fn kind(code: u8) -> Result<MessageType, DecodeError> {
    MessageType::from_code(code).ok_or(DecodeError::Unsupported { what: "message type", value: code.into() })
}
