//! The protection of headers: everything in them is XORed with key streams that depend on the end of the packet.
//! <https://geti2p.net/spec/ssu2#header-encryption-kdf>
//!
//! Bytes 0 to 7 go with `k_header_1` and the nonce in the packet's bytes `len - 24 .. len - 12`, bytes 8 to 15 with
//! `k_header_2` and the last 12 bytes; the rest of a long header, and an ephemeral key behind it, with `k_header_2`
//! and a nonce of zeros. Putting it on and taking it off are the same.

use super::{EPHEMERAL, LONG_HEADER, MessageType, PACKET_MIN};
use crate::crypto::chacha20;

/// A key of the protection: an introduction key, or one derived from the handshake.
pub type HeaderKey = [u8; 32];

/// Bytes 0 to 7 of `packet`, the destination connection ID, with the protection put on or taken off; the packet stays
/// as it is. `None` when it is too short to be one.
pub fn first(packet: &[u8], k_header_1: &HeaderKey) -> Option<[u8; 8]> {
    let (_, tail) = packet.split_last_chunk::<12>()?;
    let (rest, _) = packet.split_at_checked(packet.len().checked_sub(tail.len())?)?;
    masked(packet, 0, k_header_1, rest.last_chunk::<12>()?)
}

/// Bytes 8 to 15 of `packet`, the packet number, type and what follows it, likewise.
pub fn second(packet: &[u8], k_header_2: &HeaderKey) -> Option<[u8; 8]> {
    masked(packet, 8, k_header_2, packet.last_chunk::<12>()?)
}

fn masked(packet: &[u8], at: usize, key: &HeaderKey, nonce: &[u8; 12]) -> Option<[u8; 8]> {
    if packet.len() < PACKET_MIN {
        return None;
    }
    let mut bytes = *packet.get(at..)?.first_chunk::<8>()?;
    chacha20::xor(key, nonce, &mut bytes);
    Some(bytes)
}

/// Turns bytes 0 to 15 of `packet`, in place. `None`, and nothing changed, when it is too short to be one.
pub fn turn_short(packet: &mut [u8], k_header_1: &HeaderKey, k_header_2: &HeaderKey) -> Option<()> {
    let (first, second) = (first(packet, k_header_1)?, second(packet, k_header_2)?);
    put(packet, first, second)
}

/// Writes bytes 0 to 15, which [`first`] and [`second`] gave.
pub fn put(packet: &mut [u8], first: [u8; 8], second: [u8; 8]) -> Option<()> {
    let ([a, b, ..], _) = packet.as_chunks_mut::<8>() else { return None };
    (*a, *b) = (first, second);
    Some(())
}

/// Turns what of a long header and the ephemeral key stands behind byte 16, in place.
/// `None`, and nothing changed, when the packet is too short for a message of its kind.
pub fn turn_rest(packet: &mut [u8], kind: MessageType, k_header_2: &HeaderKey) -> Option<()> {
    let (end, min) = match (kind.is_long(), kind.has_ephemeral()) {
        (false, _) => return None,
        (true, false) => (LONG_HEADER, super::LONG_PACKET_MIN),
        (true, true) => (LONG_HEADER + EPHEMERAL, super::KEYED_PACKET_MIN),
    };
    if packet.len() < min {
        return None;
    }
    chacha20::xor(k_header_2, &[0; 12], packet.get_mut(super::SHORT_HEADER..end)?);
    Some(())
}

/// Puts the protection of a message with a long header on, in place.
pub fn protect_long(
    packet: &mut [u8],
    kind: MessageType,
    k_header_1: &HeaderKey,
    k_header_2: &HeaderKey,
) -> Option<()> {
    turn_rest(packet, kind, k_header_2)?;
    turn_short(packet, k_header_1, k_header_2)
}
