//! SSU2 on the wire: headers and their protection, the blocks of a payload, and the layout of handshake messages.
//! <https://geti2p.net/spec/ssu2>; the figures are whole in proposal 159.
//!
//! Each datagram is one packet: a header of 16 or 32 bytes ([`ShortHeader`], [`LongHeader`]) under its protection
//! ([`protection`]), an ephemeral key in SessionRequest and SessionCreated, and a sealed payload of [`Blocks`].
//! The handshake's cryptography stands with the machine that drives it, in the core.

mod ack;
mod block;
mod encode;
mod field;
mod header;
mod layout;
pub mod protection;
mod relay;
mod termination;

pub use ack::{Ack, AckRanges, encode_ack};
pub use block::{Block, Blocks, Congestion, FirstFragment, FollowOnFragment, NewToken, RouterInfoBlock};
pub use field::endpoint_len;
pub use header::{ConfirmedFragment, ConnectionId, LongHeader, MessageType, Short, ShortHeader};
pub use layout::{Keyed, Plain, keyed, plain, short};
pub use relay::{PeerTest, RelayAgreement, RelayIntro, RelayRequest, RelayResponse, Signed};
pub use termination::{Termination, TerminationReason};

/// The Noise protocol name, 52 bytes.
pub const PROTOCOL: &[u8] = b"Noise_XKchaobfse+hs1+hs2+hs3_25519_ChaChaPoly_SHA256";
/// The version in long headers, without a hybrid key exchange.
pub const VERSION: u8 = 2;
/// Bytes of a short header: SessionConfirmed and Data.
pub const SHORT_HEADER: usize = 16;
/// Bytes of a long header: everything else.
pub const LONG_HEADER: usize = 32;
/// Bytes of an ephemeral key behind the long header of SessionRequest and SessionCreated.
pub const EPHEMERAL: usize = 32;
/// Bytes of the tag at the end of each sealed part.
pub const TAG: usize = 16;
/// The shortest payload: the protection of the header samples the last 24 bytes of the packet.
pub const PAYLOAD_MIN: usize = 8;
/// The shortest packet of all: a short header, the shortest payload and the tag.
pub const PACKET_MIN: usize = SHORT_HEADER + PAYLOAD_MIN + TAG;
/// The shortest packet with a long header.
pub const LONG_PACKET_MIN: usize = LONG_HEADER + PAYLOAD_MIN + TAG;
/// The shortest SessionRequest and SessionCreated.
pub const KEYED_PACKET_MIN: usize = LONG_PACKET_MIN + EPHEMERAL;
/// The smallest and the largest MTU that may be published; the latter is the default.
pub const MTU_MIN: u16 = 1280;
pub const MTU_MAX: u16 = 1500;
/// The largest datagram that any MTU allows (IPv4 and UDP headers taken off).
pub const DATAGRAM_MAX: usize = MTU_MAX as usize - 28;
/// Type and size in front of each block.
pub const BLOCK_HEADER: usize = 3;
/// The sealed static key in front of SessionConfirmed's payload.
pub const CONFIRMED_PART1: usize = 48;
/// The most fragments of a SessionConfirmed.
pub const CONFIRMED_FRAGMENTS: u8 = 15;

#[cfg(test)]
mod tests;
