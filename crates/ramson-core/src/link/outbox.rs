//! Messages that wait for a peer, unsealed: a sealed frame can never be dropped, these can.

use crate::limits::link as limits;
use crate::time::Instant;
use ramson_wire::i2np::{Kind, Message, SHORT_HEADER};
use std::collections::VecDeque;

/// Whose message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of the router and its destinations.
    Own,
    /// Of the tunnels of others.
    Transit,
}

/// How far what other messages of others have sent may be ahead of, or behind, their share.
const CREDIT: i64 = 64 << 10;

/// Queues that are bounded in bytes and age. All outboxes share the bound of a total, which is kept by their owner.
///
/// Our own messages go first, control before data. Of those of others, tunnel messages and the rest, requests to build
/// tunnels above all, share what is left three to one while both wait: neither holds up the other.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    control: VecDeque<Waiting>,
    data: VecDeque<Waiting>,
    transit: VecDeque<Waiting>,
    requests: VecDeque<Waiting>,
    bytes: usize,
    request_bytes: usize,
    /// What requests may send before it is the turn of tunnel messages.
    credit: i64,
    dropped: u64,
}

/// The queues, in their order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Control,
    Data,
    Transit,
    Requests,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    since: Instant,
}

impl Outbox {
    /// Adds a message; when the queue or all queues together are full, the new message is dropped and false returned.
    pub(super) fn push(&mut self, now: Instant, message: Message, class: Class, total: &mut usize) -> bool {
        let size = size_of(&message);
        let queue = match (class, message.kind) {
            (Class::Own, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY) => Queue::Data,
            (Class::Own, _) => Queue::Control,
            (Class::Transit, Kind::TUNNEL_DATA | Kind::TUNNEL_GATEWAY) => Queue::Transit,
            (Class::Transit, _) => Queue::Requests,
        };
        // A quarter is kept for our own.
        let of = |limit: usize| if class == Class::Own { limit } else { limit / 4 * 3 };
        let fits = self.bytes + size <= of(limits::OUTBOX_BYTES) && *total + size <= of(limits::OUTBOX_BYTES_TOTAL);
        if !fits || queue == Queue::Requests && self.request_bytes + size > limits::OUTBOX_REQUEST_BYTES {
            self.dropped += 1;
            return false;
        }
        self.bytes += size;
        *total += size;
        if queue == Queue::Requests {
            self.request_bytes += size;
        }
        self.queue(queue).push_back(Waiting { message, since: now });
        true
    }

    const fn queue(&mut self, queue: Queue) -> &mut VecDeque<Waiting> {
        match queue {
            Queue::Control => &mut self.control,
            Queue::Data => &mut self.data,
            Queue::Transit => &mut self.transit,
            Queue::Requests => &mut self.requests,
        }
    }

    /// The queue whose turn it is.
    fn next(&self) -> Option<Queue> {
        if !self.control.is_empty() {
            Some(Queue::Control)
        } else if !self.data.is_empty() {
            Some(Queue::Data)
        } else {
            match (self.transit.is_empty(), self.requests.is_empty()) {
                (true, true) => None,
                (false, true) => Some(Queue::Transit),
                (true, false) => Some(Queue::Requests),
                (false, false) => Some(if self.credit > 0 { Queue::Requests } else { Queue::Transit }),
            }
        }
    }

    /// The next message that is still worth sending and not longer than `room` bytes with its header. The first one
    /// always fits when `room` is a whole frame.
    pub(super) fn pop(&mut self, now: Instant, room: usize, total: &mut usize) -> Option<Message> {
        loop {
            let queue = self.next()?;
            let first = self.queue(queue).front()?;
            let stale = now.since(first.since) > limits::OUTBOX_AGE;
            if !stale && first.message.body.len() + SHORT_HEADER > room {
                return None;
            }
            let waiting = self.queue(queue).pop_front()?;
            let size = size_of(&waiting.message);
            self.bytes = self.bytes.saturating_sub(size);
            *total = total.saturating_sub(size);
            if queue == Queue::Requests {
                self.request_bytes = self.request_bytes.saturating_sub(size);
            }
            if !stale {
                let sent = i64::try_from(size).unwrap_or(CREDIT);
                match queue {
                    Queue::Transit => self.credit = (self.credit + sent).min(CREDIT),
                    Queue::Requests => self.credit = (self.credit - 3 * sent).max(-CREDIT),
                    Queue::Control | Queue::Data => {}
                }
                return Some(waiting.message);
            }
            self.dropped += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next().is_none()
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
        let lost = self.control.len() + self.data.len() + self.transit.len() + self.requests.len();
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
            assert!(outbox.push(now, message(*kind, i + 1), Class::Own, &mut total));
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
            let mut push = || outbox.push(Instant::ZERO, message(Kind::TUNNEL_DATA, len), Class::Own, &mut total);
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
            while outbox.push(Instant::ZERO, message(Kind::TUNNEL_DATA, 60_000), Class::Own, total) {}
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

    /// Threats P-2: a flood of requests of others takes neither our own builds' place nor that of existing tunnels.
    #[test]
    fn requests_of_others_hold_up_nothing_else() {
        let (mut outbox, mut total) = (Outbox::default(), 0);
        let now = Instant::ZERO;
        let build = || message(Kind::SHORT_TUNNEL_BUILD, 873);
        let flood = (0..100_000).filter(|_| outbox.push(now, build(), Class::Transit, &mut total)).count();
        assert!(outbox.bytes() <= limits::OUTBOX_REQUEST_BYTES && flood > 100);
        let data = (0..100_000)
            .filter(|_| outbox.push(now, message(Kind::TUNNEL_DATA, 1_028), Class::Transit, &mut total))
            .count();
        assert!(outbox.bytes() <= limits::OUTBOX_BYTES / 4 * 3 && data > 400);
        assert!(outbox.push(now, message(Kind::TUNNEL_DATA, 1_001), Class::Own, &mut total), "room for our own");
        assert!(outbox.push(now, build(), Class::Own, &mut total));
        let mut pop = || outbox.pop(now, 10_000, &mut total).map(|m| (m.kind, m.body.len()));
        assert_eq!(pop(), Some((Kind::SHORT_TUNNEL_BUILD, 873)));
        assert_eq!(pop(), Some((Kind::TUNNEL_DATA, 1_001)));
        let order: Vec<Kind> = std::iter::from_fn(pop).map(|(kind, _)| kind).collect();
        let builds = order[..200].iter().filter(|kind| **kind == Kind::SHORT_TUNNEL_BUILD).count();
        assert!((45..=75).contains(&builds), "{builds} of 200");
        assert_eq!((order.len(), total), (flood + data, 0));
    }

    #[test]
    fn a_message_that_does_not_fit_stays() {
        let (mut outbox, mut total) = (Outbox::default(), 0);
        outbox.push(Instant::ZERO, message(Kind::GARLIC, 100), Class::Own, &mut total);
        assert!(outbox.pop(Instant::ZERO, 108, &mut total).is_none());
        assert!(outbox.pop(Instant::ZERO, 109, &mut total).is_some());
    }
}
