//! Where the parts of a packet stand, once the protection of its header is off.

use super::{EPHEMERAL, LONG_HEADER, SHORT_HEADER};

/// SessionRequest and SessionCreated: header, ephemeral key, sealed payload with its tag.
#[derive(Debug)]
pub struct Keyed<'a> {
    pub header: &'a [u8; LONG_HEADER],
    pub ephemeral: &'a [u8; EPHEMERAL],
    pub sealed: &'a mut [u8],
}

/// The parts of a SessionRequest or SessionCreated; `None` when it is too short.
pub fn keyed(packet: &mut [u8]) -> Option<Keyed<'_>> {
    if packet.len() < super::KEYED_PACKET_MIN {
        return None;
    }
    let (header, rest) = packet.split_first_chunk_mut()?;
    let (ephemeral, sealed) = rest.split_first_chunk_mut()?;
    Some(Keyed { header, ephemeral, sealed })
}

/// TokenRequest, Retry, PeerTest and HolePunch: header, sealed payload with its tag.
#[derive(Debug)]
pub struct Plain<'a> {
    pub header: &'a [u8; LONG_HEADER],
    pub sealed: &'a mut [u8],
}

/// The parts of a message outside a handshake; `None` when it is too short.
pub fn plain(packet: &mut [u8]) -> Option<Plain<'_>> {
    if packet.len() < super::LONG_PACKET_MIN {
        return None;
    }
    let (header, sealed) = packet.split_first_chunk_mut()?;
    Some(Plain { header, sealed })
}

/// The header of a SessionConfirmed or Data packet, and what is behind it; `None` when it is too short.
pub fn short(packet: &mut [u8]) -> Option<(&[u8; SHORT_HEADER], &mut [u8])> {
    if packet.len() < super::PACKET_MIN {
        return None;
    }
    let (header, rest) = packet.split_first_chunk_mut()?;
    Some((header, rest))
}
