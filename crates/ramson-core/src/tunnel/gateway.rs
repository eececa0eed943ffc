//! The gateway of a tunnel: cuts messages into fragments and packs these into tunnel messages.
//! <https://geti2p.net/spec/tunnel-message>

use crate::rng::Rng;
use ramson_wire::i2np::Message;
use ramson_wire::tunnel::TunnelId;
use ramson_wire::tunnel::delivery::{Instructions, MAX_FRAGMENTS, Target};
use ramson_wire::tunnel::message::{self, MAX_PAYLOAD};

/// The largest message that a tunnel carries, with its header of 16 bytes.
pub const MAX_MESSAGE: usize = 62_708;

const MAX_FIRST: usize = 956;
const MAX_FOLLOW_ON: usize = 996;
/// With less than this left in a tunnel message it is sent.
const WORTH_FILLING: usize = 64;

/// The message is larger than [`MAX_MESSAGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tunnel carries at most {MAX_MESSAGE} bytes in one message")]
pub struct TooLarge;

/// What waits for the next tunnel message.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    payload: Vec<u8>,
}

impl Gateway {
    /// Adds a message. Tunnel messages that are full go to `out`, without any layer and with `tunnel` as their id;
    /// what is left waits for the next message or for `flush`.
    pub(super) fn put(
        &mut self,
        tunnel: TunnelId,
        target: Target,
        message: &Message,
        rng: &mut Rng,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<(), TooLarge> {
        let mut bytes = Vec::with_capacity(16 + message.body.len());
        message.encode_standard(&mut bytes);
        if bytes.len() > MAX_MESSAGE {
            return Err(TooLarge);
        }
        let whole = Instructions::First { target, fragmented: None };
        let size = whole.encoded_len() + bytes.len();
        if size > self.room() && (size <= MAX_PAYLOAD || !self.saves_a_message(whole.encoded_len() + 4, bytes.len())) {
            self.flush(tunnel, rng, out);
        }
        if size <= self.room() {
            self.append(whole, &bytes);
        } else {
            self.put_fragments(tunnel, target, &bytes, rng, out);
        }
        if self.room() < WORTH_FILLING {
            self.flush(tunnel, rng, out);
        }
        Ok(())
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, tunnel: TunnelId, rng: &mut Rng, out: &mut Vec<Vec<u8>>) {
        if !self.payload.is_empty() {
            // The payload never grows beyond MAX_PAYLOAD, the only cause of an error.
            out.extend(message::build(tunnel, &self.payload, rng).ok());
            self.payload.clear();
        }
    }

    fn put_fragments(&mut self, tunnel: TunnelId, target: Target, bytes: &[u8], rng: &mut Rng, out: &mut Vec<Vec<u8>>) {
        let message_id = rng.nonzero_u32();
        let first = Instructions::First { target, fragmented: Some(message_id) };
        let room = self.room().saturating_sub(first.encoded_len()).min(MAX_FIRST);
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.append(first, head);
        let count = rest.len().div_ceil(MAX_FOLLOW_ON);
        for (number, data) in (1u8..).zip(rest.chunks(MAX_FOLLOW_ON)) {
            self.flush(tunnel, rng, out);
            let last = usize::from(number) == count;
            self.append(Instructions::FollowOn { message_id, number, last }, data);
        }
    }

    /// Whether a message that needs several tunnel messages needs one less when it begins in the one at hand.
    fn saves_a_message(&self, instructions: usize, len: usize) -> bool {
        let Some(room) = self.room().checked_sub(instructions + WORTH_FILLING) else { return false };
        let here = (room + WORTH_FILLING).min(MAX_FIRST);
        let follow_ons = |first: usize| len.saturating_sub(first).div_ceil(MAX_FOLLOW_ON);
        let alone = 1 + follow_ons((MAX_PAYLOAD - instructions).min(MAX_FIRST));
        follow_ons(here) < alone && follow_ons(here) < MAX_FRAGMENTS
    }

    fn room(&self) -> usize {
        MAX_PAYLOAD.saturating_sub(self.payload.len())
    }

    fn append(&mut self, instructions: Instructions, data: &[u8]) {
        instructions.encode(u16::try_from(data.len()).unwrap_or(u16::MAX), &mut self.payload);
        self.payload.extend_from_slice(data);
    }
}
