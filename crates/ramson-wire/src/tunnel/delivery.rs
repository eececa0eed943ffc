//! Delivery instructions of tunnel messages.
//! <https://geti2p.net/spec/tunnel-message#tunnel-message-delivery-instructions>
//!
//! ```text
//! first or whole:  flag(1) [tunnelId(4)] [hash(32)] [delay(1)] [messageId(4)] [options(1+n)] size(2)
//! follow-on:       0x80 | number << 1 | last (1), messageId(4), size(2)
//! ```
//!
//! Those inside garlic cloves differ: other type numbers, and the hash stands before the tunnel id.

use super::TunnelId;
use crate::codec::{DecodeError, Reader, Write};
use crate::data::Hash;

/// The most fragments of one message: numbers are six bits.
pub const MAX_FRAGMENTS: usize = 64;
/// Length of the instructions of a follow-on fragment.
pub const FOLLOW_ON_LEN: usize = 7;

/// Where the endpoint sends a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the endpoint itself.
    Local,
    /// To the gateway of an inbound tunnel.
    Tunnel { gateway: Hash, tunnel: TunnelId },
    /// To a router.
    Router(Hash),
}

/// What stands before a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// A whole message, or the first fragment of one.
    First {
        target: Target,
        /// The id that the fragments of the message share; none when the message is whole.
        fragmented: Option<u32>,
    },
    /// A later fragment.
    FollowOn {
        message_id: u32,
        /// 1 to 63.
        number: u8,
        last: bool,
    },
}

/// A fragment and its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    pub instructions: Instructions,
    /// Never empty.
    pub data: &'a [u8],
}

impl Target {
    const fn encoded_len(&self) -> usize {
        match self {
            Self::Local => 0,
            Self::Tunnel { .. } => 36,
            Self::Router(_) => 32,
        }
    }
}

impl Instructions {
    /// Length of the encoding, with the size field.
    pub const fn encoded_len(&self) -> usize {
        match self {
            Self::First { target, fragmented } => 3 + target.encoded_len() + if fragmented.is_some() { 4 } else { 0 },
            Self::FollowOn { .. } => FOLLOW_ON_LEN,
        }
    }

    /// Appends the instructions for a fragment of `size` bytes.
    pub fn encode(&self, size: u16, out: &mut Vec<u8>) {
        match *self {
            Self::First { target, fragmented } => {
                let kind = match target {
                    Target::Local => 0,
                    Target::Tunnel { .. } => 1 << 5,
                    Target::Router(_) => 2 << 5,
                };
                out.put_u8(kind | if fragmented.is_some() { 0x08 } else { 0 });
                match target {
                    Target::Local => {}
                    Target::Tunnel { gateway, tunnel } => {
                        out.put_u32(tunnel);
                        out.put(gateway.as_bytes());
                    }
                    Target::Router(router) => out.put(router.as_bytes()),
                }
                if let Some(id) = fragmented {
                    out.put_u32(id);
                }
            }
            Self::FollowOn { message_id, number, last } => {
                out.put_u8(0x80 | (number & 0x3f) << 1 | u8::from(last));
                out.put_u32(message_id);
            }
        }
        out.put_u16(size);
    }
}

impl<'a> Fragment<'a> {
    /// Reads the next fragment of a tunnel message.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flag = r.u8("delivery flag")?;
        let instructions = if flag & 0x80 == 0 { first(flag, r)? } else { follow_on(flag, r)? };
        let size = r.u16("fragment size")?;
        if size == 0 {
            return Err(DecodeError::invalid("fragment size", "zero"));
        }
        Ok(Self { instructions, data: r.take(usize::from(size), "fragment")? })
    }
}

fn first(flag: u8, r: &mut Reader<'_>) -> Result<Instructions, DecodeError> {
    let target = match flag >> 5 & 3 {
        0 => Target::Local,
        1 => {
            let tunnel = r.u32("delivery tunnelId")?;
            if tunnel == 0 {
                return Err(DecodeError::invalid("delivery tunnelId", "zero"));
            }
            Target::Tunnel { gateway: Hash(r.array("delivery hash")?), tunnel }
        }
        2 => Target::Router(Hash(r.array("delivery hash")?)),
        _ => return Err(DecodeError::invalid("delivery type", "3 is not used")),
    };
    // Delay and extended options were never implemented by anyone; they are skipped.
    if flag & 0x10 != 0 {
        r.u8("delivery delay")?;
    }
    let fragmented = if flag & 0x08 != 0 { Some(r.u32("delivery messageId")?) } else { None };
    if flag & 0x04 != 0 {
        let len = r.u8("delivery options")?;
        r.take(usize::from(len), "delivery options")?;
    }
    Ok(Instructions::First { target, fragmented })
}

fn follow_on(flag: u8, r: &mut Reader<'_>) -> Result<Instructions, DecodeError> {
    let number = flag >> 1 & 0x3f;
    if number == 0 {
        return Err(DecodeError::invalid("fragment number", "zero"));
    }
    Ok(Instructions::FollowOn { message_id: r.u32("fragment messageId")?, number, last: flag & 1 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_instructions() -> impl Strategy<Value = Instructions> {
        let target = prop_oneof![
            Just(Target::Local),
            (any::<[u8; 32]>(), 1u32..).prop_map(|(h, tunnel)| Target::Tunnel { gateway: Hash(h), tunnel }),
            any::<[u8; 32]>().prop_map(|h| Target::Router(Hash(h))),
        ];
        prop_oneof![
            (target, any::<Option<u32>>()).prop_map(|(target, fragmented)| Instructions::First { target, fragmented }),
            (any::<u32>(), 1u8..64, any::<bool>()).prop_map(|(message_id, number, last)| Instructions::FollowOn {
                message_id,
                number,
                last
            }),
        ]
    }

    proptest! {
        #[test]
        fn round_trips(instructions in any_instructions(), data in prop::collection::vec(any::<u8>(), 1..1000)) {
            let mut bytes = Vec::new();
            instructions.encode(data.len() as u16, &mut bytes);
            prop_assert_eq!(bytes.len(), instructions.encoded_len());
            bytes.extend_from_slice(&data);
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(Fragment::decode(&mut r), Ok(Fragment { instructions, data: &data }));
            prop_assert!(r.is_empty());
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut r = Reader::new(&bytes);
            while Fragment::decode(&mut r).is_ok() {}
        }
    }

    #[test]
    fn the_tunnel_id_stands_before_the_hash() {
        let mut bytes = Vec::new();
        let target = Target::Tunnel { gateway: Hash([9; 32]), tunnel: 0x0102_0304 };
        Instructions::First { target, fragmented: None }.encode(5, &mut bytes);
        assert_eq!(bytes[..6], [0x20, 1, 2, 3, 4, 9]);
        assert_eq!(bytes.len(), 39);
    }

    #[test]
    fn delay_and_options_are_skipped() {
        let bytes = [0x1c, 9, 0, 0, 0, 7, 2, 0xaa, 0xbb, 0, 1, 0x55];
        let fragment = Fragment::decode(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(fragment.instructions, Instructions::First { target: Target::Local, fragmented: Some(7) });
        assert_eq!(fragment.data, [0x55]);
    }

    #[test]
    fn type_3_number_0_and_size_0_are_refused() {
        for bytes in [&[0x60, 0, 1, 5][..], &[0x81, 0, 0, 0, 1, 0, 1, 5], &[0, 0, 0]] {
            assert!(Fragment::decode(&mut Reader::new(bytes)).is_err());
        }
    }
}
