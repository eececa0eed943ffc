//! Blocks inside message 3 part 2 and the frames of the data phase: type (1), size (2), data.

use crate::codec::{DecodeError, Reader, Write};

/// Type and size in front of each block.
pub const PADDING_HEADER: usize = 3;

/// One block, borrowing from the opened frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// Type 0: the sender's clock, seconds since 1970.
    DateTime(u32),
    /// Type 1: padding limits and more; kept as bytes since negotiation is not deployed.
    Options(&'a [u8]),
    /// Type 2: a RouterInfo, not compressed.
    RouterInfo(RouterInfoBlock<'a>),
    /// Type 3: an I2NP message with the 9-byte header (see `i2np::Message::decode_short`).
    I2np(&'a [u8]),
    /// Type 4: the peer closes.
    Termination(Termination),
    /// Type 254.
    Padding(usize),
    /// Any other type: ignored in the data phase, refused in message 3.
    Unknown(u8),
}

/// The RouterInfo block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterInfoBlock<'a> {
    /// Bit 0 of the flags: the sender asks a floodfill to flood it.
    pub flood: bool,
    pub router_info: &'a [u8],
}

impl RouterInfoBlock<'_> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 2, self.router_info.len() + 1);
        out.put_u8(u8::from(self.flood));
        out.put(self.router_info);
    }
}

/// The Termination block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Frames that the sender received intact.
    pub frames_received: u64,
    pub reason: TerminationReason,
}

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TerminationReason(pub u8);

impl TerminationReason {
    pub const NORMAL: Self = Self(0);
    pub const TERMINATION_RECEIVED: Self = Self(1);
    pub const IDLE_TIMEOUT: Self = Self(2);
    pub const ROUTER_SHUTDOWN: Self = Self(3);
    pub const DATA_PHASE_AEAD_FAILURE: Self = Self(4);
    pub const CLOCK_SKEW: Self = Self(7);
    pub const AEAD_FRAMING_ERROR: Self = Self(9);
    pub const PAYLOAD_FORMAT_ERROR: Self = Self(10);
    pub const MESSAGE_3_ERROR: Self = Self(13);
    pub const INTRA_FRAME_READ_TIMEOUT: Self = Self(14);
    pub const ROUTER_INFO_SIGNATURE: Self = Self(15);
    pub const STATIC_KEY_MISMATCH: Self = Self(16);
    pub const BANNED: Self = Self(17);

    /// The specification's words.
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "normal close",
            1 => "termination received",
            2 => "idle timeout",
            3 => "router shutdown",
            4 => "data phase AEAD failure",
            5 => "incompatible options",
            6 => "incompatible signature type",
            7 => "clock skew",
            8 => "padding violation",
            9 => "AEAD framing error",
            10 => "payload format error",
            11 => "message 1 error",
            12 => "message 2 error",
            13 => "message 3 error",
            14 => "intra-frame read timeout",
            15 => "RouterInfo signature verification failed",
            16 => "s parameter missing, invalid or mismatched in RouterInfo",
            17 => "banned",
            _ => "unknown reason",
        }
    }
}

impl std::fmt::Debug for TerminationReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl Termination {
    pub fn encode(&self, out: &mut Vec<u8>) {
        header(out, 4, 9);
        out.put_u64(self.frames_received);
        out.put_u8(self.reason.0);
    }
}

impl Block<'_> {
    /// Appends a DateTime block.
    pub fn encode_date_time(out: &mut Vec<u8>, unix_secs: u32) {
        header(out, 0, 4);
        out.put_u32(unix_secs);
    }

    /// Appends the header of an I2NP block whose message of `len` bytes (short header included) follows.
    pub fn encode_i2np_header(out: &mut Vec<u8>, len: usize) {
        header(out, 3, len);
    }

    /// Appends a Padding block of `len` zero bytes (they are sealed; their content does not matter).
    pub fn encode_padding(out: &mut Vec<u8>, len: usize) {
        header(out, 254, len);
        out.resize(out.len() + len, 0);
    }
}

fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.put_u8(kind);
    out.put_u16(u16::try_from(len).unwrap_or(u16::MAX));
}

/// The blocks of a frame, in order. Padding must be last, and Termination last but for padding.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    r: Reader<'a>,
    last: Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Any,
    Termination,
    Padding,
}

impl<'a> Blocks<'a> {
    pub const fn new(frame: &'a [u8]) -> Self {
        Self { r: Reader::new(frame), last: Last::Any }
    }

    fn read(&mut self) -> Result<Block<'a>, DecodeError> {
        let kind = self.r.u8("block type")?;
        let len = self.r.u16("block size")?;
        let data = self.r.take(usize::from(len), "block")?;
        if self.last == Last::Padding || (self.last == Last::Termination && kind != 254) {
            return Err(DecodeError::invalid("block", "stands behind the last one allowed"));
        }
        let mut r = Reader::new(data);
        Ok(match kind {
            0 => {
                let time = r.u32("DateTime block")?;
                r.finish("DateTime block")?;
                Block::DateTime(time)
            }
            1 => Block::Options(data),
            2 => {
                let flags = r.u8("RouterInfo block flags")?;
                Block::RouterInfo(RouterInfoBlock { flood: flags & 1 != 0, router_info: r.take_rest() })
            }
            3 => Block::I2np(data),
            4 => {
                let frames_received = r.u64("Termination block")?;
                let reason = TerminationReason(r.u8("Termination block")?);
                self.last = Last::Termination;
                Block::Termination(Termination { frames_received, reason })
            }
            254 => {
                self.last = Last::Padding;
                Block::Padding(data.len())
            }
            other => Block::Unknown(other),
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_round_trip() {
        let mut frame = Vec::new();
        Block::encode_date_time(&mut frame, 77);
        RouterInfoBlock { flood: true, router_info: b"ri" }.encode(&mut frame);
        Block::encode_i2np_header(&mut frame, 3);
        frame.put(b"msg");
        header(&mut frame, 99, 1);
        frame.put_u8(5);
        let termination = Termination { frames_received: 8, reason: TerminationReason::BANNED };
        termination.encode(&mut frame);
        Block::encode_padding(&mut frame, 4);
        let blocks: Result<Vec<_>, _> = Blocks::new(&frame).collect();
        assert_eq!(
            blocks.unwrap(),
            [
                Block::DateTime(77),
                Block::RouterInfo(RouterInfoBlock { flood: true, router_info: b"ri" }),
                Block::I2np(b"msg"),
                Block::Unknown(99),
                Block::Termination(termination),
                Block::Padding(4),
            ]
        );
    }

    /// Threats T43: padding not last, two paddings, termination in the middle.
    #[test]
    fn t43_order_is_enforced() {
        let mut padded = Vec::new();
        Block::encode_padding(&mut padded, 1);
        Block::encode_date_time(&mut padded, 1);
        assert!(Blocks::new(&padded).any(|b| b.is_err()));
        let mut twice = Vec::new();
        Block::encode_padding(&mut twice, 1);
        Block::encode_padding(&mut twice, 1);
        assert!(Blocks::new(&twice).any(|b| b.is_err()));
        let mut middle = Vec::new();
        Termination { frames_received: 0, reason: TerminationReason::NORMAL }.encode(&mut middle);
        Block::encode_date_time(&mut middle, 1);
        assert!(Blocks::new(&middle).any(|b| b.is_err()));
    }

    /// Threats T43: ten thousand empty blocks are read in one pass.
    #[test]
    fn t43_many_empty_blocks() {
        let mut frame = Vec::new();
        (0..10_000).for_each(|_| header(&mut frame, 200, 0));
        assert_eq!(Blocks::new(&frame).filter(Result::is_ok).count(), 10_000);
    }

    proptest! {
        #[test]
        fn random_bytes_do_not_panic_and_end(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Blocks::new(&bytes).count() <= bytes.len());
        }
    }
}
