//! What is under way to the peer, as content: messages, their fragments, and other blocks. A packet that is lost is not
//! sent again; what it held is, in new packets (specification, "Packet Numbering").
//!
//! A message that fits into a packet goes whole. One that does not is cut while it is sent, into what room there is, and
//! its fragments keep their lengths. None is longer than what every path carries, so that a path whose MTU has shrunk
//! loses none. They go in order, which is what i2pd puts together with the least effort.

use crate::limits::transfer as limits;
use crate::time::Instant;
use ramson_wire::i2np::{Message, SHORT_HEADER};
use ramson_wire::ssu2::{BLOCK_HEADER, Block, FirstFragment, FollowOnFragment};
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;

/// The room that is left in a packet is filled with a part of the next fragment if it is at least this.
const LEAST_FRAGMENT: usize = 128;
/// Fragments of one message: i2pd takes no more.
const FRAGMENTS: usize = 64;
/// The part of an item that is its whole.
const WHOLE: u8 = u8::MAX;
/// Things that one packet holds. A packet is remembered with all of them.
pub(super) const PER_PACKET: usize = 6;

/// A part of an item, as a packet holds it: every packet under way remembers several, so they are small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece(NonZeroU64);

impl Piece {
    /// Items are numbered from 1, and far from 2^56 when a session ends.
    fn new(item: u64, part: u8) -> Self {
        Self(NonZeroU64::new(item << 8 | u64::from(part)).unwrap_or(NonZeroU64::MIN))
    }

    const fn item(self) -> u64 {
        self.0.get() >> 8
    }

    const fn part(self) -> u8 {
        (self.0.get() & 0xff) as u8
    }
}

/// What a packet holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pieces {
    pieces: [Option<Piece>; PER_PACKET],
}

impl Pieces {
    /// False when it is full.
    pub(super) fn push(&mut self, piece: Piece) -> bool {
        let free = self.pieces.iter_mut().find(|at| at.is_none());
        free.is_some_and(|at| {
            *at = Some(piece);
            true
        })
    }

    pub(super) const fn is_full(&self) -> bool {
        self.pieces[PER_PACKET - 1].is_some()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.pieces[0].is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Piece> + '_ {
        self.pieces.iter().filter_map(|piece| *piece)
    }
}

/// Everything that has not arrived yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    items: BTreeMap<u64, Item>,
    next: u64,
    /// To be sent again.
    lost: VecDeque<Piece>,
    /// Messages of which a part was not sent yet.
    cutting: VecDeque<u64>,
    /// Blocks that wait, encoded, and their bytes.
    blocks: VecDeque<u64>,
    block_bytes: usize,
    resent: u64,
    given_up: u64,
}

#[derive(Debug)]
struct Item {
    body: Body,
    since: Instant,
    /// Where each fragment of the body ends.
    cuts: Vec<usize>,
    arrived: u64,
}

#[derive(Debug)]
enum Body {
    Message(Message),
    /// A block, type and size included.
    Block(Vec<u8>),
}

impl Item {
    fn block_len(&self) -> usize {
        match &self.body {
            Body::Message(message) => BLOCK_HEADER + SHORT_HEADER + message.body.len(),
            Body::Block(block) => block.len(),
        }
    }

    fn is_cut_whole(&self) -> bool {
        match &self.body {
            Body::Message(message) => self.cuts.last() == Some(&message.body.len()),
            Body::Block(_) => true,
        }
    }

    fn has_arrived(&self) -> bool {
        let parts = u32::try_from(self.cuts.len()).unwrap_or(u32::MAX);
        self.is_cut_whole() && parts > 0 && self.arrived.count_ones() >= parts
    }

    /// Where a fragment begins and ends.
    fn fragment(&self, part: u8) -> Option<(usize, usize)> {
        let end = *self.cuts.get(usize::from(part))?;
        let start = part.checked_sub(1).and_then(|before| self.cuts.get(usize::from(before))).copied();
        Some((start.unwrap_or(0), end))
    }
}

impl Outgoing {
    /// Whether there is anything to send that was sent before, or begun.
    pub(super) fn has_more(&self) -> bool {
        !(self.lost.is_empty() && self.cutting.is_empty() && self.blocks.is_empty())
    }

    /// Has an encoded block sent until it arrives. False when too many wait.
    pub(super) fn add_block(&mut self, now: Instant, block: Vec<u8>) -> bool {
        if self.block_bytes + block.len() > limits::BLOCK_BYTES {
            return false;
        }
        self.block_bytes += block.len();
        let item = self.add(now, Body::Block(block));
        self.blocks.push_back(item);
        true
    }

    fn add(&mut self, now: Instant, body: Body) -> u64 {
        self.next += 1;
        let item = self.next;
        self.items.insert(item, Item { body, since: now, cuts: Vec::new(), arrived: 0 });
        item
    }

    /// Takes a message over that fits into `room`, and appends it.
    pub(super) fn send_whole(&mut self, now: Instant, message: Message, out: &mut Vec<u8>) -> Piece {
        Block::encode_i2np_header(out, SHORT_HEADER + message.body.len());
        message.encode_short(out);
        Piece::new(self.add(now, Body::Message(message)), WHOLE)
    }

    /// Takes a message over that goes in fragments, as [`Outgoing::encode_next`] appends them.
    pub(super) fn cut(&mut self, now: Instant, message: Message) {
        let item = self.add(now, Body::Message(message));
        self.cutting.push_back(item);
    }

    /// Appends the next thing that fits into `room` and is waiting here: blocks, what was lost, the next fragment, which
    /// is no longer than `least` allows. `None` when nothing does.
    pub(super) fn encode_next(&mut self, now: Instant, room: usize, least: usize, out: &mut Vec<u8>) -> Option<Piece> {
        if let Some(item) = self.blocks.front().copied() {
            match self.items.get(&item) {
                Some(Item { body: Body::Block(block), .. }) if block.len() <= room => {
                    out.extend_from_slice(block);
                    self.blocks.pop_front();
                    return Some(Piece::new(item, WHOLE));
                }
                Some(_) => {}
                None => drop(self.blocks.pop_front()),
            }
        }
        if let Some(piece) = self.encode_lost(now, room, out) {
            return Some(piece);
        }
        self.encode_fragment(room, least, out)
    }

    fn encode_lost(&mut self, now: Instant, room: usize, out: &mut Vec<u8>) -> Option<Piece> {
        loop {
            let piece = self.lost.front().copied()?;
            let Some(item) = self.items.get(&piece.item()).filter(|item| !has_arrived(item, piece.part())) else {
                self.lost.pop_front();
                continue;
            };
            if now.since(item.since) > limits::CONTENT_AGE {
                self.lost.pop_front();
                self.give_up(piece.item());
                continue;
            }
            // Where it does not fit, the next packet has the room.
            if !encode(item, piece.part(), room, out) {
                return None;
            }
            self.lost.pop_front();
            self.resent += 1;
            return Some(piece);
        }
    }

    fn encode_fragment(&mut self, room: usize, least: usize, out: &mut Vec<u8>) -> Option<Piece> {
        let id = *self.cutting.front()?;
        let Some(item) = self.items.get_mut(&id).filter(|item| !item.is_cut_whole()) else {
            self.cutting.pop_front();
            return None;
        };
        let Body::Message(message) = &item.body else { return None };
        let (first, start) = (item.cuts.is_empty(), item.cuts.last().copied().unwrap_or(0));
        let overhead = if first { FirstFragment::OVERHEAD } else { FollowOnFragment::OVERHEAD };
        let left = message.body.len() - start;
        let most = room.min(least).saturating_sub(overhead);
        // Small parts cost fragments, of which there must be enough for the rest.
        let full = least - FirstFragment::OVERHEAD;
        let needed = left.saturating_sub(most).div_ceil(full) + item.cuts.len() + 1;
        if most < left.min(LEAST_FRAGMENT) || needed > FRAGMENTS && most < full {
            return None;
        }
        let end = start + most.min(left);
        item.cuts.push(end);
        let part = u8::try_from(item.cuts.len() - 1).unwrap_or(WHOLE);
        encode(item, part, room, out);
        if item.is_cut_whole() {
            self.cutting.pop_front();
        }
        Some(Piece::new(id, part))
    }

    /// Appends what a packet holds that is still under way, as far as it has not arrived by another one and fits.
    pub(super) fn repeat(&mut self, pieces: &Pieces, room: usize, out: &mut Vec<u8>) -> Pieces {
        let (mut again, from) = (Pieces::default(), out.len());
        for piece in pieces.iter() {
            let Some(item) = self.items.get(&piece.item()).filter(|item| !has_arrived(item, piece.part())) else {
                continue;
            };
            if encode(item, piece.part(), room - (out.len() - from), out) && again.push(piece) {
                self.resent += 1;
            }
        }
        again
    }

    /// A packet has arrived that held this.
    pub(super) fn arrived(&mut self, pieces: &Pieces) {
        for piece in pieces.iter() {
            let Some(item) = self.items.get_mut(&piece.item()) else { continue };
            if piece.part() != WHOLE {
                item.arrived |= 1u64.checked_shl(piece.part().into()).unwrap_or(0);
            }
            if piece.part() == WHOLE || item.has_arrived() {
                self.remove(piece.item());
            }
        }
    }

    /// A packet is lost that held this; packets have room for `payload` bytes.
    pub(super) fn lost(&mut self, pieces: &Pieces, payload: usize) {
        for piece in pieces.iter() {
            if self.items.get(&piece.item()).is_some_and(|item| !has_arrived(item, piece.part())) {
                self.send_again(piece, payload);
            }
        }
    }

    /// Packets have room for no more than `payload` bytes from now on.
    pub(super) fn shrink(&mut self, payload: usize) {
        for piece in std::mem::take(&mut self.lost) {
            self.send_again(piece, payload);
        }
    }

    /// What went whole and does not fit any more goes in fragments.
    fn send_again(&mut self, piece: Piece, payload: usize) {
        let too_long = self.items.get(&piece.item()).is_some_and(|item| item.block_len() > payload);
        if piece.part() == WHOLE && too_long {
            self.cutting.push_back(piece.item());
        } else {
            self.lost.push_back(piece);
        }
    }

    fn remove(&mut self, item: u64) {
        if let Some(Item { body: Body::Block(block), .. }) = self.items.remove(&item) {
            self.block_bytes = self.block_bytes.saturating_sub(block.len());
        }
    }

    fn give_up(&mut self, item: u64) {
        self.given_up += 1;
        self.remove(item);
    }

    /// Pieces that were sent again, and items that were given up.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.resent, self.given_up)
    }

    /// Gives back the room of queues that are empty.
    pub(super) fn shrink_to_fit(&mut self) {
        self.lost.shrink_to_fit();
        self.cutting.shrink_to_fit();
        self.blocks.shrink_to_fit();
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

fn has_arrived(item: &Item, part: u8) -> bool {
    part != WHOLE && item.arrived & 1u64.checked_shl(part.into()).unwrap_or(0) != 0
}

/// Appends a part; false when it does not fit into `room`.
fn encode(item: &Item, part: u8, room: usize, out: &mut Vec<u8>) -> bool {
    match &item.body {
        _ if part == WHOLE && item.block_len() > room => return false,
        Body::Block(block) => out.extend_from_slice(block),
        Body::Message(message) if part == WHOLE => {
            Block::encode_i2np_header(out, SHORT_HEADER + message.body.len());
            message.encode_short(out);
        }
        Body::Message(message) => {
            let Some((start, end)) = item.fragment(part) else { return false };
            let Some(data) = message.body.get(start..end) else { return false };
            let overhead = if part == 0 { FirstFragment::OVERHEAD } else { FollowOnFragment::OVERHEAD };
            if overhead + data.len() > room {
                return false;
            }
            if part == 0 {
                let expiration = u32::try_from(message.expiration / 1000).unwrap_or(u32::MAX);
                FirstFragment { kind: message.kind, id: message.id, expiration, data }.encode(out);
            } else {
                FollowOnFragment { number: part, last: end == message.body.len(), id: message.id, data }.encode(out);
            }
        }
    }
    true
}
