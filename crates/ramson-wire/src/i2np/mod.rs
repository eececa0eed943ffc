//! I2NP: the messages that routers exchange. <https://geti2p.net/spec/i2np>
//!
//! [`Message`] is a message with its body still as bytes, as it travels through links and tunnels; the other
//! modules hold one body each.

pub mod database_lookup;
pub mod database_search_reply;
pub mod database_store;
pub mod delivery_status;
pub mod tunnel_build;
pub mod tunnel_data;
pub mod tunnel_gateway;

use crate::codec::{DecodeError, Reader, Write};
use crate::crypto::hash::sha256;

/// The largest body that travels: the size field has 16 bits, and tunnels carry no more than this (i2pd's limit).
pub const MAX_BODY: usize = 62_708;
/// Length of the header inside tunnels and TunnelGateway messages.
pub const STANDARD_HEADER: usize = 16;
/// Length of the header inside NTCP2 and SSU2 blocks and ratchet cloves.
pub const SHORT_HEADER: usize = 9;

/// The type byte of a message. Only types of today's network have names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    pub const DATABASE_STORE: Self = Self(1);
    pub const DATABASE_LOOKUP: Self = Self(2);
    pub const DATABASE_SEARCH_REPLY: Self = Self(3);
    pub const DELIVERY_STATUS: Self = Self(10);
    pub const GARLIC: Self = Self(11);
    pub const TUNNEL_DATA: Self = Self(18);
    pub const TUNNEL_GATEWAY: Self = Self(19);
    pub const DATA: Self = Self(20);
    pub const TUNNEL_BUILD: Self = Self(21);
    pub const TUNNEL_BUILD_REPLY: Self = Self(22);
    pub const VARIABLE_TUNNEL_BUILD: Self = Self(23);
    pub const VARIABLE_TUNNEL_BUILD_REPLY: Self = Self(24);
    pub const SHORT_TUNNEL_BUILD: Self = Self(25);
    pub const OUTBOUND_TUNNEL_BUILD_REPLY: Self = Self(26);

    /// Whether it asks the hops of a tunnel to take part.
    pub const fn is_build_request(self) -> bool {
        matches!(self, Self::TUNNEL_BUILD | Self::VARIABLE_TUNNEL_BUILD | Self::SHORT_TUNNEL_BUILD)
    }

    /// The specification's name, for logs.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "DatabaseStore",
            2 => "DatabaseLookup",
            3 => "DatabaseSearchReply",
            10 => "DeliveryStatus",
            11 => "Garlic",
            18 => "TunnelData",
            19 => "TunnelGateway",
            20 => "Data",
            21 => "TunnelBuild",
            22 => "TunnelBuildReply",
            23 => "VariableTunnelBuild",
            24 => "VariableTunnelBuildReply",
            25 => "ShortTunnelBuild",
            26 => "OutboundTunnelBuildReply",
            _ => "unknown",
        }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

/// A message with its body as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    /// Chosen at random by the sender.
    pub id: u32,
    /// Milliseconds since 1970. The short header carries whole seconds.
    pub expiration: u64,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} id {:08x} of {} bytes", self.kind, self.id, self.body.len())
    }
}

impl Message {
    /// Appends the message with the 16-byte header of tunnels. The checksum is generated.
    pub fn encode_standard(&self, out: &mut Vec<u8>) {
        let [checksum, ..] = sha256(&self.body);
        out.put_u8(self.kind.0);
        out.put_u32(self.id);
        out.put_u64(self.expiration);
        out.put_u16(size_of_body(&self.body));
        out.put_u8(checksum);
        out.put(&self.body);
    }

    /// Appends the message with the 9-byte header of transports and ratchet cloves.
    pub fn encode_short(&self, out: &mut Vec<u8>) {
        out.put_u8(self.kind.0);
        out.put_u32(self.id);
        out.put_u32(u32::try_from(self.expiration / 1000).unwrap_or(u32::MAX));
        out.put(&self.body);
    }

    /// Reads a message with the standard header. The message must fill the input, as it does behind delivery
    /// instructions. The checksum is not looked at: the layers around it authenticate, and i2pd leaves it zero in
    /// messages that it relays.
    pub fn decode_standard(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let kind = Kind(r.u8("I2NP type")?);
        let id = r.u32("I2NP id")?;
        let expiration = r.u64("I2NP expiration")?;
        let size = r.u16("I2NP size")?;
        r.u8("I2NP checksum")?;
        let body = r.take(usize::from(size), "I2NP body")?.to_vec();
        r.finish("I2NP message")?;
        Ok(Self { kind, id, expiration, body })
    }

    /// Reads a message with the short header; the rest of `bytes` is the body.
    pub fn decode_short(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let kind = Kind(r.u8("I2NP type")?);
        let id = r.u32("I2NP id")?;
        let expiration = u64::from(r.u32("I2NP expiration")?) * 1000;
        if r.remaining() > MAX_BODY {
            return Err(DecodeError::TooLarge { what: "I2NP body", limit: MAX_BODY });
        }
        Ok(Self { kind, id, expiration, body: r.take_rest().to_vec() })
    }
}

/// Bodies are bounded by [`MAX_BODY`] where they are made; a larger one saturates and fails at the peer.
fn size_of_body(body: &[u8]) -> u16 {
    u16::try_from(body.len()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn headers_round_trip(kind: u8, id: u32, secs: u32, body in prop::collection::vec(any::<u8>(), 0..2000)) {
            let message = Message { kind: Kind(kind), id, expiration: u64::from(secs) * 1000, body };
            let (mut long, mut short) = (Vec::new(), Vec::new());
            message.encode_standard(&mut long);
            message.encode_short(&mut short);
            prop_assert_eq!(long.len(), STANDARD_HEADER + message.body.len());
            prop_assert_eq!(short.len(), SHORT_HEADER + message.body.len());
            prop_assert_eq!(&Message::decode_standard(&long).unwrap(), &message);
            prop_assert_eq!(&Message::decode_short(&short).unwrap(), &message);
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Message::decode_standard(&bytes);
            let _ = Message::decode_short(&bytes);
        }
    }

    #[test]
    fn the_checksum_is_made_and_not_asked_for() {
        let mut bytes = Vec::new();
        Message { kind: Kind::DATA, id: 1, expiration: 2, body: vec![3; 40] }.encode_standard(&mut bytes);
        assert_eq!(bytes[15], sha256(&[3; 40])[0]);
        bytes[15] = 0;
        assert!(Message::decode_standard(&bytes).is_ok());
    }

    /// Threats T27: a size that says more or less than there is.
    #[test]
    fn t27_the_size_must_be_that_of_the_body() {
        let message = Message { kind: Kind::DATA, id: 1, expiration: 2_000, body: vec![3; 40] };
        let mut good = Vec::new();
        message.encode_standard(&mut good);
        for size in [0u16, 39, 41, u16::MAX] {
            let mut bad = good.clone();
            bad[13..15].copy_from_slice(&size.to_be_bytes());
            assert!(Message::decode_standard(&bad).is_err(), "{size}");
        }
        for len in 0..STANDARD_HEADER {
            assert!(Message::decode_standard(&good[..len]).is_err());
        }
    }
}
