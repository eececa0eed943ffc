//! The payload between clients: a gzip member whose header carries ports and protocol.
//! <https://geti2p.net/spec/i2cp>, "SendMessage"
//!
//! Header: `1f 8b 08 00`, `source port :: 2`, `destination port :: 2`, `any :: 1`, `protocol :: 1`; then deflate,
//! CRC-32 and length as in every gzip member. In an I2NP Data message a length of four bytes stands before it.

use crate::codec::DecodeError;
use crate::garlic::{frame, unframe};
use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use std::io::{Read, Write};

/// The largest data of one payload.
pub const MAX_DATA: usize = 65_536;
/// Bytes of a gzip header without name and comment, and of what follows the data: CRC-32 and length.
const HEADER: usize = 10;
const TRAILER: usize = 8;
/// Most bytes of one stored block.
const STORED_MAX: usize = 65_535;
/// Below this, packing does not pay.
const PACK_FROM: usize = 96;

/// Protocol numbers of the specification.
pub mod protocol {
    /// Streaming.
    pub const STREAMING: u8 = 6;
    /// Datagram1.
    pub const DATAGRAM: u8 = 17;
    pub const RAW: u8 = 18;
    pub const DATAGRAM2: u8 = 19;
    pub const DATAGRAM3: u8 = 20;
}

/// Data with its protocol and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPayload {
    pub protocol: u8,
    pub from_port: u16,
    pub to_port: u16,
    /// At most [`MAX_DATA`] bytes.
    pub data: Vec<u8>,
}

impl ClientPayload {
    /// The gzip member; `compress` packs data that is worth it.
    pub fn to_gzip(&self, compress: bool) -> Vec<u8> {
        if !compress || self.data.len() < PACK_FROM {
            return self.to_stored();
        }
        let ([a, b], [c, d]) = (self.from_port.to_be_bytes(), self.to_port.to_be_bytes());
        let builder = GzBuilder::new().mtime(u32::from_le_bytes([a, b, c, d])).operating_system(self.protocol);
        let mut packer = builder.write(Vec::with_capacity(self.data.len() + 32), Compression::fast());
        // Writing into a vector does not fail.
        let _ = packer.write_all(&self.data);
        let packed = packer.finish().unwrap_or_default();
        // What does not pack grows with a fast packer, by an eighth, and would fit into no message.
        let stored = HEADER + self.data.len() + self.data.len().div_ceil(STORED_MAX) * 5 + TRAILER;
        if packed.is_empty() || packed.len() > stored { self.to_stored() } else { packed }
    }

    /// The gzip member with its data as it is, in stored blocks of deflate (RFC 1951, section 3.2.4).
    fn to_stored(&self) -> Vec<u8> {
        let ([a, b], [c, d]) = (self.from_port.to_be_bytes(), self.to_port.to_be_bytes());
        let mut out =
            Vec::with_capacity(HEADER + self.data.len() + self.data.len().div_ceil(STORED_MAX) * 5 + TRAILER + 5);
        out.extend_from_slice(&[0x1f, 0x8b, 8, 0, a, b, c, d, 0, self.protocol]);
        let mut rest = self.data.as_slice();
        loop {
            let (block, after) = rest.split_at(rest.len().min(STORED_MAX));
            rest = after;
            let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
            out.push(u8::from(rest.is_empty()));
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&(!len).to_le_bytes());
            out.extend_from_slice(block);
            if rest.is_empty() {
                break;
            }
        }
        out.extend_from_slice(&crc32fast::hash(&self.data).to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.data.len()).unwrap_or(u32::MAX).to_le_bytes());
        out
    }

    /// Reads a gzip member that fills `bytes`. Its data is unpacked to at most [`MAX_DATA`] bytes.
    pub fn from_gzip(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "client payload";
        let header: &[u8; 10] = bytes.first_chunk().ok_or(DecodeError::Truncated { what: WHAT })?;
        let [0x1f, 0x8b, 8, 0, a, b, c, d, _, protocol] = *header else {
            return Err(DecodeError::invalid(WHAT, "no gzip header without name or comment"));
        };
        if let Some(data) = read_stored(bytes) {
            return Ok(Self {
                protocol,
                from_port: u16::from_be_bytes([a, b]),
                to_port: u16::from_be_bytes([c, d]),
                data: data.to_vec(),
            });
        }
        let mut data = Vec::new();
        let mut unpacker = GzDecoder::new(bytes).take(MAX_DATA as u64 + 1);
        unpacker.read_to_end(&mut data).map_err(|_| DecodeError::invalid(WHAT, "gzip"))?;
        if data.len() > MAX_DATA {
            return Err(DecodeError::TooLarge { what: WHAT, limit: MAX_DATA });
        }
        match unpacker.into_inner().into_inner().len() {
            0 => {
                Ok(Self { protocol, from_port: u16::from_be_bytes([a, b]), to_port: u16::from_be_bytes([c, d]), data })
            }
            extra => Err(DecodeError::Trailing { what: WHAT, extra }),
        }
    }

    /// The body of an I2NP Data message.
    pub fn to_data_message(&self, compress: bool) -> Vec<u8> {
        frame(&self.to_gzip(compress))
    }

    /// Reads the body of an I2NP Data message.
    pub fn from_data_message(body: &[u8]) -> Result<Self, DecodeError> {
        Self::from_gzip(unframe(body)?)
    }
}

/// The data of a member that consists of one stored block, as routers send what does not pack. `None` for any other,
/// also for a damaged one: what is wrong with it is for the general reader to say.
fn read_stored(bytes: &[u8]) -> Option<&[u8]> {
    let (block, trailer) = bytes.get(HEADER..)?.split_last_chunk::<TRAILER>()?;
    let ([last, a, b, c, d], data) = block.split_first_chunk::<5>()?;
    let (len, complement) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
    let ([e, f, g, h], size) = trailer.split_first_chunk::<4>()?;
    // The bits above the block's type are padding.
    let plain = last & 7 == 1 && len == !complement && usize::from(len) == data.len();
    let whole = size == u32::from(len).to_le_bytes() && crc32fast::hash(data) == u32::from_le_bytes([*e, *f, *g, *h]);
    (plain && whole).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_pack_does_not_grow() {
        let noise: Vec<u8> = (0..1_875u32).flat_map(|i| crate::crypto::hash::sha256(&i.to_be_bytes())).collect();
        let payload = ClientPayload { protocol: 18, from_port: 1, to_port: 2, data: noise };
        let (packed, stored) = (payload.to_gzip(true), payload.to_gzip(false));
        assert!(packed.len() <= stored.len() && stored.len() < payload.data.len() + 30);
        assert_eq!(ClientPayload::from_gzip(&packed).unwrap(), payload);
        let even = ClientPayload { data: vec![7; 60_000], ..payload };
        assert!(even.to_gzip(true).len() < 1_000);
    }

    proptest! {
        #[test]
        fn round_trip(
            protocol: u8, from_port: u16, to_port: u16, compress: bool,
            data in prop::collection::vec(any::<u8>(), 0..1500),
        ) {
            let payload = ClientPayload { protocol, from_port, to_port, data };
            let bytes = payload.to_data_message(compress);
            prop_assert_eq!(ClientPayload::from_data_message(&bytes).unwrap(), payload);
            let at = usize::from(from_port) % bytes.len();
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let _ = ClientPayload::from_data_message(&bad);
            prop_assert!(ClientPayload::from_data_message(&bytes[..at]).is_err());
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ClientPayload::from_gzip(&bytes);
            let _ = ClientPayload::from_gzip(&[&[0x1f, 0x8b, 8, 0], &bytes[..]].concat());
        }
    }

    #[test]
    fn the_header_is_that_of_the_specification() {
        let payload = ClientPayload { protocol: 6, from_port: 0x0102, to_port: 0x0304, data: vec![7; 40] };
        let bytes = payload.to_gzip(true);
        assert_eq!(bytes[..8], [0x1f, 0x8b, 8, 0, 1, 2, 3, 4]);
        assert_eq!(bytes[9], 6);
    }

    #[test]
    fn bombs_and_damage_are_refused() {
        let bomb = ClientPayload { protocol: 6, from_port: 0, to_port: 0, data: vec![0; MAX_DATA + 1] };
        let bytes = bomb.to_gzip(true);
        assert!(bytes.len() < 1000);
        assert!(matches!(ClientPayload::from_gzip(&bytes), Err(DecodeError::TooLarge { .. })));
        let fits = ClientPayload { data: vec![0; MAX_DATA], ..bomb };
        let bytes = fits.to_gzip(true);
        assert_eq!(ClientPayload::from_gzip(&bytes), Ok(fits.clone()));
        for i in 10..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 0x10;
            // A few bits of deflate are padding.
            assert!(ClientPayload::from_gzip(&bad).is_ok_and(|p| p == fits) || ClientPayload::from_gzip(&bad).is_err());
        }
        assert!(ClientPayload::from_gzip(&[&bytes[..], &[0]].concat()).is_err());
    }
}
