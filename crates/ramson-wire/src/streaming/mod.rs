//! Streaming packets: <https://geti2p.net/spec/streaming>.
//!
//! ```text
//! send id 4 | receive id 4 | sequence 4 | ack through 4 | nack count 1 | nacks 4n | resend delay 1 |
//! flags 2 | option size 2 | options: delay 2, from, max size 2, offline signature, signature | payload
//! ```
//!
//! [`Packet`] is a view of received bytes, [`Outgoing`] builds bytes to send, and [`sign`] holds the signature over a
//! whole packet with the signature's own bytes as zeros.

mod outgoing;
mod packet;
pub mod sign;

pub use outgoing::{Outgoing, patch_ack};
pub use packet::{From, Packet, Tail};

/// What a packet is and which options it carries; the bits of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    pub const SYNCHRONIZE: Self = Self(0x0001);
    pub const CLOSE: Self = Self(0x0002);
    pub const RESET: Self = Self(0x0004);
    pub const SIGNATURE_INCLUDED: Self = Self(0x0008);
    pub const SIGNATURE_REQUESTED: Self = Self(0x0010);
    pub const FROM_INCLUDED: Self = Self(0x0020);
    pub const DELAY_REQUESTED: Self = Self(0x0040);
    pub const MAX_PACKET_SIZE_INCLUDED: Self = Self(0x0080);
    pub const PROFILE_INTERACTIVE: Self = Self(0x0100);
    pub const ECHO: Self = Self(0x0200);
    pub const NO_ACK: Self = Self(0x0400);
    pub const OFFLINE_SIGNATURE: Self = Self(0x0800);

    /// Whether every flag of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of flags together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Length of a packet without NACKs, options and payload.
pub const HEADER_LEN: usize = 22;
/// Most NACKs that fit: the count is one byte.
pub const MAX_NACKS: usize = 255;
/// The NACK count of a SYN that carries the hash of the destination it is meant for.
pub const REPLAY_NACKS: usize = 8;
/// The payload that both ends may assume before they know better.
pub const DEFAULT_MTU: u16 = 1730;
/// The payload that fills two tunnel messages over an ECIES session (proposal 155).
pub const ECIES_MTU: u16 = 1812;
/// The smallest payload limit that is honoured.
pub const MIN_MTU: u16 = 512;
/// A requested delay above this means "choked": send no more data.
pub const MAX_DELAY: u16 = 60_000;
/// Most bytes of a ping's payload that come back in the pong.
pub const MAX_ECHO: usize = 32;
