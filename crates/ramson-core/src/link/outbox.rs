//! Messages that wait for a peer, unsealed: a sealed frame can never be dropped, these can.

use crate::limits::link as limits;
use crate::time::Instant;
use ramson_wire::i2np::{Kind, Message, SHORT_HEADER};
use std::collections::VecDeque;

/// Two queues, control before data, bounded in bytes and age.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    control: VecDeque<Waiting>,
    data: VecDeque<Waiting>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    since: Instant,
}

impl Outbox {
    /// Adds a message; when the queue is full, the new message is dropped and false returned.
    pub(super) fn push(&mut self, now: Instant, message: Message) -> bool {
        let size = message.body.capacity() + SHORT_HEADER;
        if self.bytes + size > limits::OUTBOX_BYTES {
            self.dropped += 1;
            return false;
        }
        self.bytes += size;
        let queue = match message.kind {
            Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY => &mut self.data,
            _ => &mut self.control,
        };
        queue.push_back(Waiting { message, since: now });
        true
    }

    /// The next message that is still worth sending and not longer than `room` bytes with its header. The first one
    /// always fits when `room` is a whole frame.
    pub(super) fn pop(&mut self, now: Instant, room: usize) -> Option<Message> {
        loop {
            let queue = if self.control.is_empty() { &mut self.data } else { &mut self.control };
            let first = queue.front()?;
            let stale = now.since(first.since) > limits::OUTBOX_AGE;
            if !stale && first.message.body.len() + SHORT_HEADER > room {
                return None;
            }
            let waiting = queue.pop_front()?;
            self.bytes = self.bytes.saturating_sub(waiting.message.body.capacity() + SHORT_HEADER);
            if !stale {
                return Some(waiting.message);
            }
            self.dropped += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }

    /// Bytes held.
    #[cfg(any(test, fuzzing))]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages dropped so far, for being too many or too old.
    #[cfg(test)]
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Empties the queue; returns how many messages were lost.
    pub(super) fn clear(&mut self) -> usize {
        let lost = self.control.len() + self.data.len();
        *self = Self { dropped: self.dropped + lost as u64, ..Self::default() };
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn message(kind: Kind, len: usize) -> Message {
        Message { kind, id: 1, expiration: 0, body: vec![0; len] }
    }

    #[test]
    fn control_comes_first_and_order_holds() {
        let mut outbox = Outbox::default();
        let now = Instant::ZERO;
        for (i, kind) in [Kind::TUNNEL_DATA, Kind::GARLIC, Kind::TUNNEL_DATA, Kind::DATABASE_STORE].iter().enumerate() {
            assert!(outbox.push(now, message(*kind, i + 1)));
        }
        let order: Vec<usize> = std::iter::from_fn(|| outbox.pop(now, 10_000)).map(|m| m.body.len()).collect();
        assert_eq!(order, [2, 4, 1, 3]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn bytes_and_age_are_bounded() {
        let mut outbox = Outbox::default();
        let pushed = (0..100_000).take_while(|_| outbox.push(Instant::ZERO, message(Kind::TUNNEL_DATA, 1028))).count();
        assert!(outbox.bytes() <= limits::OUTBOX_BYTES);
        assert!(pushed * 1037 > limits::OUTBOX_BYTES - 2_000);
        let later = Instant::ZERO + limits::OUTBOX_AGE + Duration::from_millis(1);
        assert!(outbox.pop(later, 10_000).is_none());
        assert_eq!((outbox.bytes(), outbox.dropped()), (0, pushed as u64 + 1));
    }

    #[test]
    fn a_message_that_does_not_fit_stays() {
        let mut outbox = Outbox::default();
        outbox.push(Instant::ZERO, message(Kind::GARLIC, 100));
        assert!(outbox.pop(Instant::ZERO, 108).is_none());
        assert!(outbox.pop(Instant::ZERO, 109).is_some());
    }
}
