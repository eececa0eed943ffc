//! Messages that wait for a peer, unsealed: a sealed frame can never be dropped, these can.

use crate::limits::link as limits;
use crate::time::Instant;
use ramson_wire::i2np::{Kind, Message, SHORT_HEADER};
use std::collections::VecDeque;

/// Two queues, control before data, bounded in bytes and age. All outboxes share the bound of a total, which is kept by
/// their owner.
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
    /// Adds a message; when the queue or all queues together are full, the new message is dropped and false returned.
    pub(super) fn push(&mut self, now: Instant, message: Message, total: &mut usize) -> bool {
        let size = size_of(&message);
        if self.bytes + size > limits::OUTBOX_BYTES || *total + size > limits::OUTBOX_BYTES_TOTAL {
            self.dropped += 1;
            return false;
        }
        self.bytes += size;
        *total += size;
        let queue = match message.kind {
            Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY => &mut self.data,
            _ => &mut self.control,
        };
        queue.push_back(Waiting { message, since: now });
        true
    }

    /// The next message that is still worth sending and not longer than `room` bytes with its header. The first one
    /// always fits when `room` is a whole frame.
    pub(super) fn pop(&mut self, now: Instant, room: usize, total: &mut usize) -> Option<Message> {
        loop {
            let queue = if self.control.is_empty() { &mut self.data } else { &mut self.control };
            let first = queue.front()?;
            let stale = now.since(first.since) > limits::OUTBOX_AGE;
            if !stale && first.message.body.len() + SHORT_HEADER > room {
                return None;
            }
            let waiting = queue.pop_front()?;
            let size = size_of(&waiting.message);
            self.bytes = self.bytes.saturating_sub(size);
            *total = total.saturating_sub(size);
            if !stale {
                return Some(waiting.message);
            }
            self.dropped += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }

    /// Bytes held, with what holding them costs: more than they take in a frame.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages dropped so far, for being too many or too old.
    #[cfg(test)]
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Empties the queue; returns how many messages were lost.
    pub(super) fn clear(&mut self, total: &mut usize) -> usize {
        *total = total.saturating_sub(self.bytes);
        let lost = self.control.len() + self.data.len();
        *self = Self { dropped: self.dropped + lost as u64, ..Self::default() };
        lost
    }
}

/// What a message takes while it waits.
const fn size_of(message: &Message) -> usize {
    message.body.capacity() + std::mem::size_of::<Waiting>()
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
        let (mut outbox, mut total) = (Outbox::default(), 0);
        let now = Instant::ZERO;
        for (i, kind) in [Kind::TUNNEL_DATA, Kind::GARLIC, Kind::TUNNEL_DATA, Kind::DATABASE_STORE].iter().enumerate() {
            assert!(outbox.push(now, message(*kind, i + 1), &mut total));
        }
        let order: Vec<usize> =
            std::iter::from_fn(|| outbox.pop(now, 10_000, &mut total)).map(|m| m.body.len()).collect();
        assert_eq!(order, [2, 4, 1, 3]);
        assert_eq!((outbox.bytes(), total), (0, 0));
    }

    #[test]
    fn bytes_and_age_are_bounded() {
        // Messages of nothing cost memory too.
        for len in [0, 1028, 62_708] {
            let (mut outbox, mut total) = (Outbox::default(), 0);
            let mut push = || outbox.push(Instant::ZERO, message(Kind::TUNNEL_DATA, len), &mut total);
            let pushed = (0..100_000).take_while(|_| push()).count();
            let each = len + std::mem::size_of::<Waiting>();
            assert!(outbox.bytes() <= limits::OUTBOX_BYTES && total == outbox.bytes());
            assert_eq!(pushed, limits::OUTBOX_BYTES / each);
            let later = Instant::ZERO + limits::OUTBOX_AGE + Duration::from_millis(1);
            assert!(outbox.pop(later, 10_000, &mut total).is_none());
            assert_eq!((outbox.bytes(), outbox.dropped(), total), (0, pushed as u64 + 1, 0));
        }
    }

    #[test]
    fn all_outboxes_together_are_bounded() {
        let mut total = 0;
        let mut full: Vec<Outbox> = Vec::new();
        let fill = |outbox: &mut Outbox, total: &mut usize| {
            while outbox.push(Instant::ZERO, message(Kind::TUNNEL_DATA, 60_000), total) {}
            outbox.bytes()
        };
        loop {
            let mut outbox = Outbox::default();
            if fill(&mut outbox, &mut total) < limits::OUTBOX_BYTES / 2 {
                break;
            }
            full.push(outbox);
        }
        assert!(total <= limits::OUTBOX_BYTES_TOTAL && total > limits::OUTBOX_BYTES_TOTAL - limits::OUTBOX_BYTES);
        assert!(full.len() * limits::OUTBOX_BYTES <= limits::OUTBOX_BYTES_TOTAL + full.len() * 60_000);
        let mut last = full.pop().unwrap();
        last.clear(&mut total);
        assert!(fill(&mut last, &mut total) > limits::OUTBOX_BYTES / 2, "what one gives back, another has");
    }

    #[test]
    fn a_message_that_does_not_fit_stays() {
        let (mut outbox, mut total) = (Outbox::default(), 0);
        outbox.push(Instant::ZERO, message(Kind::GARLIC, 100), &mut total);
        assert!(outbox.pop(Instant::ZERO, 108, &mut total).is_none());
        assert!(outbox.pop(Instant::ZERO, 109, &mut total).is_some());
    }
}
