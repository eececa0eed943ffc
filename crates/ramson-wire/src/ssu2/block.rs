//! The blocks of a payload: `blk :: 1`, `size :: 2`, data. <https://geti2p.net/spec/ssu2#noise-payload>

use super::ack::Ack;
use super::field::endpoint;
use super::relay::{PeerTest, RelayIntro, RelayRequest, RelayResponse};
use super::termination::Termination;
use crate::codec::{DecodeError, Reader};
use crate::data::router_info;
use crate::i2np::{Kind, SHORT_HEADER, database_store};
use std::borrow::Cow;
use std::net::SocketAddr;

/// One block, borrowing from the opened payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Type 0: the sender's clock, seconds since 1970.
    DateTime(u32),
    /// Type 1: padding limits and more; kept as bytes since negotiation is not deployed.
    Options(&'a [u8]),
    /// Type 2.
    RouterInfo(RouterInfoBlock<'a>),
    /// Type 3: an I2NP message with the 9-byte header (see `i2np::Message::decode_short`).
    I2np(&'a [u8]),
    /// Type 4.
    FirstFragment(FirstFragment<'a>),
    /// Type 5.
    FollowOnFragment(FollowOnFragment<'a>),
    /// Type 6: the peer closes.
    Termination(Termination),
    /// Type 7.
    RelayRequest(RelayRequest<'a>),
    /// Type 8.
    RelayResponse(RelayResponse<'a>),
    /// Type 9.
    RelayIntro(RelayIntro<'a>),
    /// Type 10.
    PeerTest(PeerTest<'a>),
    /// Type 11: not specified; kept as bytes.
    NextNonce(&'a [u8]),
    /// Type 12.
    Ack(Ack<'a>),
    /// Type 13: where the receiver is seen to be.
    Address(SocketAddr),
    /// Type 15: the sender asks to be introduced to others.
    RelayTagRequest,
    /// Type 16: the tag under which the sender introduces the receiver; not 0.
    RelayTag(u32),
    /// Type 17.
    NewToken(NewToken),
    /// Type 18: to be sent back in a PathResponse.
    PathChallenge(&'a [u8]),
    /// Type 19.
    PathResponse(&'a [u8]),
    /// Type 20: not in use.
    FirstPacketNumber(u32),
    /// Type 21.
    Congestion(Congestion),
    /// Type 254.
    Padding(usize),
    /// Any other type: ignored.
    Unknown(u8),
}

impl Block<'_> {
    /// Whether a packet with this block wants an ACK: every block but ACK, Address, DateTime, Padding, Termination
    /// and those that are ignored. <https://geti2p.net/spec/ssu2#sending-ack-blocks>
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Ack(_) | Self::Address(_) | Self::DateTime(_) | Self::Padding(_) | Self::Termination(_))
    }
}

/// `flag :: 1`, `frag :: 1` (always fragment 0 of 1), then the RouterInfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterInfoBlock<'a> {
    /// Bit 0: the sender asks a floodfill to flood it.
    pub flood: bool,
    /// Bit 1.
    pub gzip: bool,
    pub data: &'a [u8],
}

impl<'a> RouterInfoBlock<'a> {
    /// The RouterInfo's encoding. Never larger than other routers take.
    pub fn router_info(&self) -> Result<Cow<'a, [u8]>, DecodeError> {
        if self.gzip {
            return database_store::gunzip(self.data, router_info::MAX_LEN).map(Cow::Owned);
        }
        if self.data.len() > router_info::MAX_LEN {
            return Err(DecodeError::TooLarge { what: "RouterInfo block", limit: router_info::MAX_LEN });
        }
        Ok(Cow::Borrowed(self.data))
    }

    fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(data);
        let flags = r.u8("RouterInfo block flags")?;
        if r.u8("RouterInfo block frag")? & 0x0f > 1 {
            return Err(DecodeError::invalid("RouterInfo block", "is a fragment"));
        }
        Ok(Self { flood: flags & 1 != 0, gzip: flags & 2 != 0, data: r.take_rest() })
    }
}

/// `type :: 1`, `msg id :: 4`, `short exp :: 4`, then the beginning of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFragment<'a> {
    pub kind: Kind,
    pub id: u32,
    /// Seconds since 1970.
    pub expiration: u32,
    /// Not empty.
    pub data: &'a [u8],
}

/// `frag :: 1` (number in the upper seven bits, last in the lowest), `msg id :: 4`, then a part of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowOnFragment<'a> {
    /// 1 to 127.
    pub number: u8,
    pub last: bool,
    pub id: u32,
    /// Not empty.
    pub data: &'a [u8],
}

/// `expires :: 4`, `token :: 8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Seconds since 1970.
    pub expires: u32,
    pub token: u64,
}

/// `flag :: 1`, and what may be added to it, which is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Congestion {
    /// Bit 0.
    pub immediate_ack: bool,
    /// Bit 1: a packet came that was marked (ECN).
    pub ecn: bool,
}

/// The blocks of a payload, in order. Padding must be last, and Termination last but for padding.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    r: Reader<'a>,
    next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    RouterInfo,
    Any,
    Padding,
    Nothing,
}

impl<'a> Blocks<'a> {
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { r: Reader::new(payload), next: Next::Any }
    }

    /// The blocks of a SessionConfirmed, where RouterInfo must be the first.
    pub const fn of_confirmed(payload: &'a [u8]) -> Self {
        Self { r: Reader::new(payload), next: Next::RouterInfo }
    }

    /// The bytes of the blocks that were not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.r.peek()
    }

    fn read(&mut self) -> Result<Block<'a>, DecodeError> {
        let kind = self.r.u8("block type")?;
        let len = self.r.u16("block size")?;
        let data = self.r.take(usize::from(len), "block")?;
        self.next = match (self.next, kind) {
            (Next::RouterInfo, 2) | (Next::Any, 0..=5 | 7..=253 | 255) => Next::Any,
            (Next::Any, 6) => Next::Padding,
            (Next::Any | Next::Padding, 254) => Next::Nothing,
            (Next::RouterInfo, _) => return Err(DecodeError::invalid("block", "RouterInfo is not the first")),
            (Next::Padding | Next::Nothing, _) => {
                return Err(DecodeError::invalid("block", "stands behind the last one allowed"));
            }
        };
        decode(kind, data)
    }
}

fn decode(kind: u8, data: &[u8]) -> Result<Block<'_>, DecodeError> {
    let mut r = Reader::new(data);
    let block = match kind {
        0 => Block::DateTime(r.u32("DateTime block")?),
        1 => return options(data),
        2 => return RouterInfoBlock::decode(data).map(Block::RouterInfo),
        3 => return i2np(data),
        4 => return first_fragment(r).map(Block::FirstFragment),
        5 => return follow_on_fragment(r).map(Block::FollowOnFragment),
        6 => return Termination::decode(data).map(Block::Termination),
        7 => return RelayRequest::decode(data).map(Block::RelayRequest),
        8 => return RelayResponse::decode(data).map(Block::RelayResponse),
        9 => return RelayIntro::decode(data).map(Block::RelayIntro),
        10 => return PeerTest::decode(data).map(Block::PeerTest),
        11 => return Ok(Block::NextNonce(data)),
        12 => return Ack::decode(data).map(Block::Ack),
        13 => Block::Address(endpoint(&mut r, u8::try_from(data.len()).unwrap_or(0), "Address block")?),
        15 => Block::RelayTagRequest,
        16 => match r.u32("RelayTag block")? {
            0 => return Err(DecodeError::invalid("RelayTag block", "the tag is 0")),
            tag => Block::RelayTag(tag),
        },
        17 => {
            let expires = r.u32("NewToken block")?;
            Block::NewToken(NewToken { expires, token: r.u64("NewToken block")? })
        }
        18 => return Ok(Block::PathChallenge(data)),
        19 => return Ok(Block::PathResponse(data)),
        20 => Block::FirstPacketNumber(r.u32("FirstPacketNumber block")?),
        21 => {
            let flag = r.u8("Congestion block")?;
            return Ok(Block::Congestion(Congestion { immediate_ack: flag & 1 != 0, ecn: flag & 2 != 0 }));
        }
        254 => return Ok(Block::Padding(data.len())),
        other => return Ok(Block::Unknown(other)),
    };
    r.finish("block")?;
    Ok(block)
}

fn options(data: &[u8]) -> Result<Block<'_>, DecodeError> {
    match data.len() {
        ..12 => Err(DecodeError::Truncated { what: "Options block" }),
        _ => Ok(Block::Options(data)),
    }
}

fn i2np(data: &[u8]) -> Result<Block<'_>, DecodeError> {
    match data.len() {
        ..SHORT_HEADER => Err(DecodeError::Truncated { what: "I2NP block" }),
        _ => Ok(Block::I2np(data)),
    }
}

fn first_fragment(mut r: Reader<'_>) -> Result<FirstFragment<'_>, DecodeError> {
    let kind = Kind(r.u8("first fragment")?);
    let id = r.u32("first fragment")?;
    let expiration = r.u32("first fragment")?;
    Ok(FirstFragment { kind, id, expiration, data: part(r, "first fragment")? })
}

fn follow_on_fragment(mut r: Reader<'_>) -> Result<FollowOnFragment<'_>, DecodeError> {
    let frag = r.u8("follow-on fragment")?;
    let id = r.u32("follow-on fragment")?;
    if frag >> 1 == 0 {
        return Err(DecodeError::invalid("follow-on fragment", "has number 0"));
    }
    Ok(FollowOnFragment { number: frag >> 1, last: frag & 1 != 0, id, data: part(r, "follow-on fragment")? })
}

fn part<'a>(mut r: Reader<'a>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    match r.take_rest() {
        [] => Err(DecodeError::invalid(what, "is empty")),
        data => Ok(data),
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.r.is_empty() {
            return None;
        }
        let block = self.read();
        if block.is_err() {
            self.r.take_rest();
        }
        Some(block)
    }
}
