//! The ACK block. <https://geti2p.net/spec/ssu2#ack>

use super::field::header;
use crate::codec::{DecodeError, Reader, Write};
use std::ops::RangeInclusive;

/// `ack through :: 4`, `acnt :: 1`, then ranges of `nack count :: 1`, `ack count :: 1` downwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The highest packet number that is acknowledged.
    pub through: u32,
    /// How many right below it are, too.
    pub count: u8,
    ranges: &'a [[u8; 2]],
}

impl<'a> Ack<'a> {
    pub(super) fn decode(data: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(data);
        let through = r.u32("ACK block")?;
        let count = r.u8("ACK block")?;
        match r.take_rest().as_chunks() {
            (ranges, []) => Ok(Self { through, count, ranges }),
            _ => Err(DecodeError::invalid("ACK block", "half a range")),
        }
    }

    /// The ranges of packet numbers that are acknowledged, from the highest down. Where the block counts below 0, it
    /// ends: a receiver need not believe more of it. Takes as many steps as the block has ranges.
    pub const fn ranges(&self) -> AckRanges<'a> {
        AckRanges { next: Some(self.through), first: Some(self.count), rest: self.ranges }
    }
}

/// Iterator over [`Ack::ranges`]; neighbours that touch come as two.
#[derive(Clone, Debug)]
pub struct AckRanges<'a> {
    /// The highest number that was not spoken of; `None` once 0 was.
    next: Option<u32>,
    first: Option<u8>,
    rest: &'a [[u8; 2]],
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<u32>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let high = self.next?;
            let (high, acks) = if let Some(count) = self.first.take() {
                (high, u32::from(count) + 1)
            } else {
                let ([nacks, acks], rest) = self.rest.split_first()?;
                self.rest = rest;
                let Some(high) = high.checked_sub(u32::from(*nacks)) else {
                    self.next = None;
                    return None;
                };
                (high, u32::from(*acks))
            };
            if acks == 0 {
                self.next = Some(high);
                continue;
            }
            let Some(low) = high.checked_sub(acks - 1) else {
                self.next = None;
                return None;
            };
            self.next = low.checked_sub(1);
            return Some(low..=high);
        }
    }
}

/// Appends an ACK block of the numbers in `received`, ranges from the highest down that neither touch nor overlap, in
/// at most `room` bytes (block header included; 8 at least): what does not fit any more is not spoken of.
/// Returns the bytes that it took; 0 when there was nothing to say or no room.
pub fn encode_ack(out: &mut Vec<u8>, received: impl IntoIterator<Item = RangeInclusive<u32>>, room: usize) -> usize {
    let mut received = received.into_iter();
    let (Some(first), Some(mut pairs)) = (received.next(), room.checked_sub(8).map(|n| n / 2)) else { return 0 };
    let start = out.len();
    header(out, 12, 5);
    out.put_u32(*first.end());
    let below = first.end() - first.start();
    let count = u8::try_from(below).unwrap_or(u8::MAX);
    out.put_u8(count);
    let mut low = first.end() - u32::from(count);
    pairs = downwards(out, &mut low, *first.start(), 0, pairs);
    for range in received {
        // Between two ranges something is missing, or they would be one.
        let nacks = low.saturating_sub(*range.end()).saturating_sub(1);
        if pairs == 0 || nacks == 0 {
            break;
        }
        low = low.saturating_sub(nacks);
        pairs = downwards(out, &mut low, *range.start(), nacks, pairs);
    }
    let len = out.len() - start;
    let data = u16::try_from(len - super::BLOCK_HEADER).unwrap_or(u16::MAX);
    if let Some(size) = out.get_mut(start + 1..start + 3) {
        size.copy_from_slice(&data.to_be_bytes());
    }
    len
}

/// Says that `nacks` numbers are missing and those below, down to `to`, are there; `low` is the lowest number that was
/// spoken of. Returns how many pairs may still follow.
fn downwards(out: &mut Vec<u8>, low: &mut u32, to: u32, mut nacks: u32, mut pairs: usize) -> usize {
    while pairs > 0 && (nacks > 0 || *low > to) {
        let missing = u8::try_from(nacks).unwrap_or(u8::MAX);
        nacks -= u32::from(missing);
        let there = if nacks > 0 { 0 } else { u8::try_from(*low - to).unwrap_or(u8::MAX) };
        out.put_u8(missing);
        out.put_u8(there);
        *low -= u32::from(there);
        pairs -= 1;
    }
    pairs
}
