//! NTCP2 on the wire: the options of messages 1 and 2, the blocks inside the frames, and reasons to terminate.
//! <https://geti2p.net/spec/ntcp2>; the figures are whole in proposal 111.
//!
//! The handshake's cryptography stands with the machine that drives it, in the core.

mod block;
mod options;

pub use block::{Block, Blocks, PADDING_HEADER, RouterInfoBlock, Termination, TerminationReason};
pub use options::{CreatedOptions, RequestOptions};

/// The Noise protocol name, 48 bytes.
pub const PROTOCOL: &[u8] = b"Noise_XKaesobfse+hs2+hs3_25519_ChaChaPoly_SHA256";
/// Messages 1 and 2 without their padding: the obfuscated key (32), the options (16) and their tag (16).
pub const HANDSHAKE_FIXED: usize = 64;
/// The longest message 1 or 2 that every deployed router accepts (i2pd's buffer; Java allows more).
pub const HANDSHAKE_MAX: usize = 287;
/// Message 3 part 1: the sealed static key.
pub const CONFIRMED_PART1: usize = 48;
/// The longest frame: its length field has 16 bits and counts the tag.
pub const FRAME_MAX: usize = 65_535;
/// The longest RouterInfo block, flag included, that i2pd takes in message 3.
pub const ROUTER_INFO_MAX: usize = 3_073;
/// The protocol version in message 1.
pub const VERSION: u8 = 2;
