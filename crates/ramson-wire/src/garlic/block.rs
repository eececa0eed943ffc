//! The blocks of a decrypted garlic payload: `type :: 1, size :: 2, data`.
//! <https://geti2p.net/spec/ecies#payload-section-decrypted-data>, garlic cloves in <https://geti2p.net/spec/i2np>.

use crate::codec::{DecodeError, Encode, Reader, Write};
use crate::crypto::x25519::PublicKey;
use crate::data::Hash;
use crate::i2np::Message;

/// More blocks in one payload are refused: no peer has a reason to send as many.
pub const MAX_BLOCKS: usize = 256;
/// The largest id of a ratchet key.
pub const MAX_KEY_ID: u16 = 32_767;

const DATE_TIME: u8 = 0;
const TERMINATION: u8 = 4;
const OPTIONS: u8 = 5;
const MESSAGE_NUMBER: u8 = 6;
const NEXT_KEY: u8 = 7;
const ACK: u8 = 8;
const ACK_REQUEST: u8 = 9;
const GARLIC_CLOVE: u8 = 11;
const PADDING: u8 = 254;

const KEY_PRESENT: u8 = 1;
const REVERSE_KEY: u8 = 2;
const REQUEST_REVERSE_KEY: u8 = 4;

/// One block. Unknown types are skipped when reading, as the specification demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Seconds since 1970, when the message was made.
    DateTime(u32),
    /// The sender drops the session.
    Termination {
        reason: u8,
        data: Vec<u8>,
    },
    /// Unimplemented everywhere; kept as bytes.
    Options(Vec<u8>),
    /// The index of the last tag sent in the previous tag set (PN).
    MessageNumber(u16),
    NextKey(NextKey),
    Ack(Vec<Ack>),
    /// Asks for an [`Ack`] of the message that carries it.
    AckRequest,
    Clove(Clove),
    /// This many zeros.
    Padding(u16),
}

/// A key, or the id of a key, for the next tag set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextKey {
    /// From the receiver of the tag set (else from its sender).
    pub reverse: bool,
    /// The sender asks the receiver for a new reverse key; only in forward blocks.
    pub request_reverse: bool,
    /// At most [`MAX_KEY_ID`].
    pub id: u16,
    pub key: Option<PublicKey>,
}

/// One acknowledged message: its tag set and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ack {
    pub tag_set: u16,
    pub index: u16,
}

/// An I2NP message and where its receiver shall take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clove {
    pub delivery: Delivery,
    /// With the short header; its expiration has whole seconds.
    pub message: Message,
}

/// Delivery instructions of a clove. (Those of tunnel messages put the tunnel id before the hash; these behind it.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Local,
    Destination(Hash),
    Router(Hash),
    Tunnel { gateway: Hash, id: u32 },
}

impl Block {
    /// Reads all blocks of a payload. Padding must be the last block, Termination the last but for padding.
    pub fn decode_all(payload: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut r = Reader::new(payload);
        let mut blocks = Vec::new();
        let (mut count, mut terminated, mut padded) = (0, false, false);
        while !r.is_empty() {
            let kind = r.u8("garlic block type")?;
            let size = r.u16("garlic block size")?;
            let data = r.take(usize::from(size), "garlic block data")?;
            count += 1;
            if count > MAX_BLOCKS {
                return Err(DecodeError::TooLarge { what: "garlic blocks", limit: MAX_BLOCKS });
            }
            if padded || (terminated && kind != PADDING) {
                return Err(DecodeError::invalid("garlic payload", "a block behind the last one"));
            }
            terminated |= kind == TERMINATION;
            padded |= kind == PADDING;
            blocks.extend(decode_block(kind, data)?);
        }
        Ok(blocks)
    }

    /// The payload that holds `blocks` in their order.
    pub fn encode_all(blocks: &[Self]) -> Vec<u8> {
        let mut out = Vec::with_capacity(blocks.iter().map(Self::encoded_len).sum());
        blocks.iter().for_each(|block| block.encode(&mut out));
        out
    }

    /// Length on the wire, with its three bytes of header.
    pub fn encoded_len(&self) -> usize {
        3 + match self {
            Self::DateTime(_) => 4,
            Self::Termination { data, .. } => 1 + data.len(),
            Self::Options(data) => data.len(),
            Self::MessageNumber(_) => 2,
            Self::NextKey(next) => 3 + next.key.map_or(0, |key| key.0.len()),
            Self::Ack(acks) => 4 * acks.len(),
            Self::AckRequest => 1,
            Self::Clove(clove) => clove.encoded_len(),
            Self::Padding(len) => usize::from(*len),
        }
    }
}

/// The time of a payload whose first block must be DateTime (New Session, and messages to routers).
pub fn leading_date_time(blocks: &[Block]) -> Result<u32, DecodeError> {
    match blocks.first() {
        Some(Block::DateTime(seconds)) => Ok(*seconds),
        _ => Err(DecodeError::invalid("garlic payload", "does not begin with DateTime")),
    }
}

impl Encode for Block {
    fn encode(&self, out: &mut Vec<u8>) {
        let size = u16::try_from(self.encoded_len().saturating_sub(3)).unwrap_or(u16::MAX);
        let mut header = |kind: u8| {
            out.put_u8(kind);
            out.put_u16(size);
        };
        match self {
            Self::DateTime(seconds) => {
                header(DATE_TIME);
                out.put_u32(*seconds);
            }
            Self::Termination { reason, data } => {
                header(TERMINATION);
                out.put_u8(*reason);
                out.put(data);
            }
            Self::Options(data) => {
                header(OPTIONS);
                out.put(data);
            }
            Self::MessageNumber(number) => {
                header(MESSAGE_NUMBER);
                out.put_u16(*number);
            }
            Self::NextKey(next) => {
                header(NEXT_KEY);
                next.encode(out);
            }
            Self::Ack(acks) => {
                header(ACK);
                for ack in acks {
                    out.put_u16(ack.tag_set);
                    out.put_u16(ack.index);
                }
            }
            Self::AckRequest => {
                header(ACK_REQUEST);
                out.put_u8(0);
            }
            Self::Clove(clove) => {
                header(GARLIC_CLOVE);
                clove.encode(out);
            }
            Self::Padding(len) => {
                header(PADDING);
                out.resize(out.len() + usize::from(*len), 0);
            }
        }
    }
}

fn decode_block(kind: u8, data: &[u8]) -> Result<Option<Block>, DecodeError> {
    let mut r = Reader::new(data);
    let block = match kind {
        DATE_TIME => Block::DateTime(r.u32("DateTime block")?),
        TERMINATION => {
            let reason = r.u8("Termination block")?;
            Block::Termination { reason, data: r.take_rest().to_vec() }
        }
        OPTIONS => Block::Options(r.take_rest().to_vec()),
        MESSAGE_NUMBER => Block::MessageNumber(r.u16("MessageNumber block")?),
        NEXT_KEY => Block::NextKey(NextKey::decode(&mut r)?),
        ACK => {
            let mut acks = Vec::with_capacity(data.len() / 4);
            while !r.is_empty() {
                acks.push(Ack { tag_set: r.u16("Ack block")?, index: r.u16("Ack block")? });
            }
            Block::Ack(acks)
        }
        ACK_REQUEST => {
            r.u8("AckRequest block")?;
            Block::AckRequest
        }
        GARLIC_CLOVE => Block::Clove(Clove::decode(&mut r)?),
        PADDING => Block::Padding(u16::try_from(r.take_rest().len()).unwrap_or(u16::MAX)),
        _ => return Ok(None),
    };
    r.finish("garlic block")?;
    Ok(Some(block))
}

impl NextKey {
    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.put_u8(
            flag(self.key.is_some(), KEY_PRESENT)
                | flag(self.reverse, REVERSE_KEY)
                | flag(self.request_reverse, REQUEST_REVERSE_KEY),
        );
        out.put_u16(self.id);
        if let Some(key) = &self.key {
            out.put(&key.0);
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = r.u8("NextKey flags")?;
        let id = r.u16("NextKey id")?;
        if id > MAX_KEY_ID {
            return Err(DecodeError::TooLarge { what: "NextKey id", limit: usize::from(MAX_KEY_ID) });
        }
        let key = if flags & KEY_PRESENT != 0 { Some(PublicKey(r.array("NextKey key")?)) } else { None };
        let (reverse, request_reverse) = (flags & REVERSE_KEY != 0, flags & REQUEST_REVERSE_KEY != 0);
        if reverse && request_reverse {
            return Err(DecodeError::invalid("NextKey flags", "a reverse key requests none"));
        }
        Ok(Self { reverse, request_reverse, id, key })
    }
}

impl Clove {
    fn encoded_len(&self) -> usize {
        self.delivery.encoded_len() + crate::i2np::SHORT_HEADER + self.message.body.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.delivery.encode(out);
        self.message.encode_short(out);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let delivery = Delivery::decode(r)?;
        Ok(Self { delivery, message: Message::decode_short(r.take_rest())? })
    }
}

impl Delivery {
    const fn encoded_len(&self) -> usize {
        match self {
            Self::Local => 1,
            Self::Destination(_) | Self::Router(_) => 1 + Hash::LEN,
            Self::Tunnel { .. } => 1 + Hash::LEN + 4,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Local => out.put_u8(0),
            Self::Destination(to) => {
                out.put_u8(1 << 5);
                out.put(&to.0);
            }
            Self::Router(to) => {
                out.put_u8(2 << 5);
                out.put(&to.0);
            }
            Self::Tunnel { gateway, id } => {
                out.put_u8(3 << 5);
                out.put(&gateway.0);
                out.put_u32(*id);
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "clove delivery instructions";
        let flags = r.u8(WHAT)?;
        if flags & 0x80 != 0 {
            return Err(DecodeError::invalid(WHAT, "encrypted cloves are not in use"));
        }
        let mut hash = || r.array(WHAT).map(Hash);
        let delivery = match (flags >> 5) & 3 {
            0 => Self::Local,
            1 => Self::Destination(hash()?),
            2 => Self::Router(hash()?),
            _ => Self::Tunnel { gateway: hash()?, id: r.u32(WHAT)? },
        };
        if flags & 0x10 != 0 {
            r.u32("clove delay")?; // nobody ever delayed a clove; the field is skipped
        }
        Ok(delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i2np::Kind;
    use proptest::prelude::*;

    fn hash() -> impl Strategy<Value = Hash> {
        any::<[u8; 32]>().prop_map(Hash)
    }

    fn clove() -> impl Strategy<Value = Clove> {
        let delivery = prop_oneof![
            Just(Delivery::Local),
            hash().prop_map(Delivery::Destination),
            hash().prop_map(Delivery::Router),
            (hash(), any::<u32>()).prop_map(|(gateway, id)| Delivery::Tunnel { gateway, id }),
        ];
        let body = prop::collection::vec(any::<u8>(), 0..300);
        (delivery, any::<u8>(), any::<u32>(), any::<u32>(), body).prop_map(|(delivery, kind, id, secs, body)| Clove {
            delivery,
            message: Message { kind: Kind(kind), id, expiration: u64::from(secs) * 1000, body },
        })
    }

    fn next_key() -> impl Strategy<Value = NextKey> {
        (any::<bool>(), any::<bool>(), 0..=MAX_KEY_ID, prop::option::of(any::<[u8; 32]>())).prop_map(
            |(reverse, request, id, key)| NextKey {
                reverse,
                request_reverse: request && !reverse,
                id,
                key: key.map(PublicKey),
            },
        )
    }

    fn block() -> impl Strategy<Value = Block> {
        let acks = prop::collection::vec(any::<(u16, u16)>(), 0..20);
        prop_oneof![
            any::<u32>().prop_map(Block::DateTime),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Block::Options),
            any::<u16>().prop_map(Block::MessageNumber),
            next_key().prop_map(Block::NextKey),
            acks.prop_map(|a| Block::Ack(a.into_iter().map(|(tag_set, index)| Ack { tag_set, index }).collect())),
            Just(Block::AckRequest),
            clove().prop_map(Block::Clove),
        ]
    }

    proptest! {
        #[test]
        fn blocks_round_trip(
            mut blocks in prop::collection::vec(block(), 0..12),
            reason in prop::option::of((any::<u8>(), prop::collection::vec(any::<u8>(), 0..9))),
            padding in prop::option::of(0u16..40),
        ) {
            blocks.extend(reason.map(|(reason, data)| Block::Termination { reason, data }));
            blocks.extend(padding.map(Block::Padding));
            let bytes = Block::encode_all(&blocks);
            prop_assert_eq!(bytes.len(), blocks.iter().map(Block::encoded_len).sum::<usize>());
            prop_assert_eq!(Block::decode_all(&bytes).unwrap(), blocks);
        }

        #[test]
        fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Block::decode_all(&bytes);
        }

        #[test]
        fn one_random_block_does_not_panic(kind in 0u8..12, data in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = vec![kind];
            bytes.put_u16(data.len() as u16);
            bytes.put(&data);
            let _ = Block::decode_all(&bytes);
        }
    }

    #[test]
    fn unknown_blocks_are_skipped() {
        let bytes = [&[224, 0, 2, 9, 9][..], &[0, 0, 4, 0, 0, 0, 7], &[10, 0, 0]].concat();
        assert_eq!(Block::decode_all(&bytes), Ok(vec![Block::DateTime(7)]));
    }

    #[test]
    fn t83_too_many_blocks_and_lengths_beyond_the_end_are_refused() {
        let many = [10, 0, 0].repeat(MAX_BLOCKS + 1);
        assert!(matches!(Block::decode_all(&many), Err(DecodeError::TooLarge { .. })));
        assert!(Block::decode_all(&many[3..]).is_ok());
        assert!(Block::decode_all(&[11, 0, 200, 0, 1]).is_err());
        assert!(Block::decode_all(&[11, 0, 9, 0, 20, 0, 0, 0, 1, 0, 0, 0]).is_err(), "a clove without its header");
    }

    #[test]
    fn t84_encrypted_flag_is_refused_and_delay_skipped() {
        let message = [20u8, 0, 0, 0, 1, 0, 0, 0, 9, 5];
        let clove = |head: &[u8]| {
            let mut bytes = vec![GARLIC_CLOVE];
            bytes.put_u16((head.len() + message.len()) as u16);
            Block::decode_all(&[&bytes[..], head, &message].concat())
        };
        let expected = Clove {
            delivery: Delivery::Local,
            message: Message { kind: Kind::DATA, id: 1, expiration: 9000, body: vec![5] },
        };
        assert!(clove(&[0x80]).is_err());
        assert_eq!(clove(&[0x10, 1, 2, 3, 4]), Ok(vec![Block::Clove(expected.clone())]));
        assert_eq!(clove(&[0x0f]), Ok(vec![Block::Clove(expected)]), "reserved bits are ignored");
    }

    #[test]
    fn t89_blocks_behind_termination_and_padding_are_refused() {
        let padding = Block::Padding(3);
        let end = Block::Termination { reason: 0, data: vec![] };
        let time = Block::DateTime(1);
        let decode =
            |blocks: &[&Block]| Block::decode_all(&blocks.iter().flat_map(|b| b.to_bytes()).collect::<Vec<_>>());
        assert!(decode(&[&time, &end, &padding]).is_ok());
        assert!(decode(&[&end, &time]).is_err());
        assert!(decode(&[&padding, &time]).is_err());
        assert!(decode(&[&padding, &padding]).is_err());
        assert!(leading_date_time(&[Block::AckRequest, time.clone()]).is_err());
        assert_eq!(leading_date_time(&[time]), Ok(1));
    }
}
