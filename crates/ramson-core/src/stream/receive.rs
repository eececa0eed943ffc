//! The receiving half of a stream: reassembly, what to acknowledge, and when.

use crate::limits::stream as limits;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

/// When an acknowledgement "at once" leaves.
const AT_ONCE: Duration = Duration::from_millis(1);

/// What became of a packet's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// In order: [`Receiver::ready`] has data. `filled` when early packets waited for it.
    InOrder { filled: bool },
    /// Kept until the hole before it is filled. `hole` when the hole was not known before.
    Early { hole: bool },
    /// Known already.
    Duplicate,
    /// No room, or too far ahead.
    Dropped,
}

/// What the destination's budget still allows, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spare {
    pub(super) all: usize,
    /// For packets behind holes.
    pub(super) early: usize,
    /// For what programs write.
    pub(super) send: usize,
}

#[derive(Debug)]
struct Segment {
    payload: Vec<u8>,
    close: bool,
}

impl Segment {
    const fn cost(&self) -> usize {
        self.payload.len() + limits::SEGMENT_OVERHEAD
    }
}

/// Received packets of one stream.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The sequence that is given next.
    next: u32,
    early: BTreeMap<u32, Segment>,
    early_cost: usize,
    ready: Vec<Vec<u8>>,
    /// Bytes given to the program that it has not consumed.
    unread: usize,
    limit: usize,
    /// The peer's CLOSE was reached.
    closed: bool,
    /// The program reads no more: data is acknowledged and thrown away.
    discard: bool,
    choking: bool,
    /// Packets that shall still say that the choke is over.
    unchokes: u32,
    unacked: u32,
    ack_at: Option<Instant>,
}

impl Receiver {
    /// `limit` bounds what is unread and what waits behind holes, in bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            next: 0,
            early: BTreeMap::new(),
            early_cost: 0,
            ready: Vec::new(),
            unread: 0,
            limit,
            closed: false,
            discard: false,
            choking: false,
            unchokes: 0,
            unacked: 0,
            ack_at: None,
        }
    }

    /// Takes a packet with a sequence of its own.
    pub(super) fn offer(&mut self, sequence: u32, payload: &[u8], close: bool, spare: Spare) -> Offered {
        if sequence < self.next || self.closed || self.early.contains_key(&sequence) {
            return Offered::Duplicate;
        }
        if sequence - self.next >= limits::MAX_AHEAD {
            return Offered::Dropped;
        }
        let segment = Segment { payload: if self.discard { Vec::new() } else { payload.to_vec() }, close };
        let cost = segment.cost();
        if !self.fits(sequence, cost, segment.payload.is_empty(), spare) {
            // Unread data is a full buffer; holes are loss, which the peer sees without our saying so.
            self.choking |= self.unread > 0 && (self.unread + cost > self.limit / 2 || cost > spare.all);
            return Offered::Dropped;
        }
        if sequence != self.next {
            let hole = self.early.last_key_value().is_none_or(|(last, _)| sequence > last + 1);
            self.early_cost += segment.cost();
            self.early.insert(sequence, segment);
            return Offered::Early { hole };
        }
        let filled = !self.early.is_empty();
        self.give(segment);
        while let Some(segment) = self.early.remove(&self.next) {
            self.early_cost -= segment.cost();
            if self.closed {
                continue; // nothing counts behind a CLOSE
            }
            self.give(segment);
        }
        if self.closed {
            self.early.clear();
            self.early_cost = 0;
        }
        Offered::InOrder { filled }
    }

    /// Whether the segment fits. What was acknowledged is never given up again, so early packets get half of the room:
    /// what fills the hole before them must always fit once the program reads.
    fn fits(&self, sequence: u32, cost: usize, bare: bool, spare: Spare) -> bool {
        if sequence != self.next {
            return self.early_cost + cost <= self.limit / 2 && self.held() + cost <= self.limit && cost <= spare.early;
        }
        // A bare CLOSE takes no room; and each stream whose program reads gets on, whatever the others hold.
        bare || (self.held() + cost <= self.limit && (cost <= spare.all || self.unread == 0))
    }

    fn give(&mut self, segment: Segment) {
        self.next += 1;
        self.closed = segment.close;
        if !segment.payload.is_empty() && !self.discard {
            self.unread += segment.payload.len();
            self.ready.push(segment.payload);
        }
    }

    /// Data in order that was not handed out yet.
    pub(super) fn ready(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.ready)
    }

    /// The program consumed `n` bytes. Returns whether the peer must hear that there is room again.
    pub(super) fn credit(&mut self, n: usize) -> bool {
        self.unread = self.unread.saturating_sub(n);
        if self.choking && self.held() <= self.limit / 2 {
            self.choking = false;
            self.unchokes = limits::UNCHOKES;
            return true;
        }
        false
    }

    /// The program reads no more. Returns as [`Self::credit`] does.
    pub(super) fn discard(&mut self) -> bool {
        self.discard = true;
        self.ready.clear();
        self.credit(usize::MAX)
    }

    /// Bytes held, as the destination's budget counts them.
    pub(super) const fn held(&self) -> usize {
        self.unread + self.early_cost
    }

    /// The part of [`Self::held`] that waits behind holes.
    pub(super) const fn early(&self) -> usize {
        self.early_cost
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    #[cfg(test)]
    pub(super) const fn is_choking(&self) -> bool {
        self.choking
    }

    /// Whether anything was received.
    pub(super) const fn has_any(&self) -> bool {
        self.next > 0
    }

    /// The delay option that the next packet should carry for the sake of the choke.
    pub(super) fn delay_option(&mut self) -> Option<u16> {
        if self.choking {
            return Some(limits::CHOKE_DELAY);
        }
        if self.unchokes > 0 {
            self.unchokes -= 1;
            return Some(0);
        }
        None
    }

    /// Whether the unchoke should be said again although there is nothing to send.
    pub(super) const fn owes_unchoke(&self) -> bool {
        self.unchokes > 0
    }

    /// Data came after the unchoke, so the peer has heard it.
    pub(super) const fn unchoke_heard(&mut self) {
        self.unchokes = 0;
    }

    /// The highest sequence to acknowledge and the holes below it: at most as many as fit a packet. `None` before
    /// anything was received.
    pub(super) fn acks(&self) -> Option<(u32, Vec<u32>)> {
        let mut nacks = Vec::new();
        let mut through = self.next.checked_sub(1)?;
        for sequence in self.early.keys() {
            let hole = through + 1..*sequence;
            if nacks.len() + hole.len() > ramson_wire::streaming::MAX_NACKS {
                break;
            }
            nacks.extend(hole);
            through = *sequence;
        }
        Some((through, nacks))
    }

    /// The highest sequence below the first hole.
    pub(super) const fn contiguous(&self) -> Option<u32> {
        self.next.checked_sub(1)
    }

    /// A packet that wants an acknowledgement came at `now`. `at_once` for reordering, duplicates and requests.
    pub(super) fn want_ack(&mut self, now: Instant, delay: Duration, at_once: bool) {
        self.unacked += 1;
        // Every second packet while windows are small; later an acknowledgement for several is early enough.
        let every = if self.next < 64 { 2 } else { 6 };
        // A moment later, so that one acknowledgement serves for all that arrives together.
        let due = now + if at_once || self.unacked >= every { AT_ONCE } else { delay };
        self.ack_at = Some(self.ack_at.map_or(due, |at| at.min(due)));
    }

    /// When an acknowledgement is due.
    pub(super) const fn ack_at(&self) -> Option<Instant> {
        self.ack_at
    }

    /// A packet with the current acknowledgement left.
    pub(super) const fn ack_sent(&mut self) {
        self.unacked = 0;
        self.ack_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Spare = Spare { all: usize::MAX / 2, early: usize::MAX / 2, send: 0 };

    #[test]
    fn holes_are_named_and_filled() {
        let mut rx = Receiver::new(10_000);
        assert_eq!(rx.acks(), None);
        assert!(matches!(rx.offer(0, b"a", false, ALL), Offered::InOrder { .. }));
        assert!(matches!(rx.offer(4, b"e", true, ALL), Offered::Early { .. }));
        assert!(matches!(rx.offer(2, b"c", false, ALL), Offered::Early { .. }));
        assert_eq!(rx.offer(2, b"X", false, ALL), Offered::Duplicate);
        assert_eq!(rx.acks(), Some((4, vec![1, 3])));
        assert!(matches!(rx.offer(1, b"b", false, ALL), Offered::InOrder { .. }));
        assert_eq!(rx.ready().concat(), b"abc");
        assert!(!rx.is_closed(), "data is still missing before the CLOSE");
        assert!(matches!(rx.offer(3, b"d", false, ALL), Offered::InOrder { .. }));
        assert_eq!((rx.ready().concat(), rx.is_closed()), (b"de".to_vec(), true));
        assert_eq!(rx.acks(), Some((4, vec![])));
        assert_eq!(rx.offer(5, b"z", false, ALL), Offered::Duplicate, "nothing follows a CLOSE");
    }

    #[test]
    fn never_more_nacks_than_fit() {
        let mut rx = Receiver::new(1 << 20);
        rx.offer(0, b"", false, ALL);
        rx.offer(256, b"x", false, ALL);
        assert_eq!(rx.acks().unwrap().1.len(), 255);
        rx.offer(258, b"x", false, ALL);
        let (through, nacks) = rx.acks().unwrap();
        assert_eq!((through, nacks.len()), (256, 255), "acknowledges only as far as the holes fit");
    }

    #[test]
    fn a_full_buffer_chokes_until_half_is_read() {
        let mut rx = Receiver::new(3 * (1000 + limits::SEGMENT_OVERHEAD));
        for sequence in 0..3 {
            assert!(matches!(rx.offer(sequence, &[0; 1000], false, ALL), Offered::InOrder { .. }));
        }
        assert_eq!(rx.offer(3, &[0; 1000], false, ALL), Offered::Dropped);
        assert_eq!(rx.delay_option(), Some(limits::CHOKE_DELAY));
        assert!(!rx.credit(1000));
        assert!(rx.credit(1000), "said once");
        assert!(!rx.credit(1000));
        assert_eq!(rx.delay_option(), Some(0));
        assert!(matches!(rx.offer(3, &[0; 1000], false, ALL), Offered::InOrder { .. }));
    }

    #[test]
    fn the_hole_is_filled_even_when_early_packets_fill_their_half() {
        let mut rx = Receiver::new(4 * (1000 + limits::SEGMENT_OVERHEAD));
        for sequence in [1, 2] {
            assert!(matches!(rx.offer(sequence, &[1; 1000], false, ALL), Offered::Early { .. }));
        }
        assert_eq!(rx.offer(3, &[1; 1000], false, ALL), Offered::Dropped);
        assert!(!rx.is_choking(), "holes are no full buffer");
        assert!(matches!(rx.offer(0, &[0; 1000], false, ALL), Offered::InOrder { .. }));
        assert_eq!(rx.acks().unwrap(), (2, vec![]), "nothing acknowledged is given up");
        let mut rx = Receiver::new(1 << 20);
        let none = Spare { all: 0, early: 0, send: 0 };
        assert_eq!(rx.offer(1, &[0; 1000], false, none), Offered::Dropped);
        assert!(
            matches!(rx.offer(0, &[0; 1000], false, none), Offered::InOrder { .. }),
            "one at a time, when the budget is used"
        );
        assert_eq!(rx.offer(1, &[0; 1000], false, none), Offered::Dropped);
        assert!(rx.is_choking());
        assert!(rx.credit(1000));
    }

    #[test]
    fn t92_sparse_packets_are_bounded_in_bytes_and_reach() {
        let mut rx = Receiver::new(1 << 20);
        for sequence in 1..100_000 {
            rx.offer(sequence, &[0; 1812], false, ALL);
        }
        assert!(rx.held() <= 1 << 20);
        assert!(rx.early.len() <= limits::MAX_AHEAD as usize);
        let mut tiny = Receiver::new(1 << 20);
        for sequence in 1..1_000_000 {
            tiny.offer(sequence * 7, b"", false, ALL);
        }
        assert!(tiny.held() <= 1 << 20 && tiny.early.len() <= limits::MAX_AHEAD as usize);
    }

    proptest! {
        #[test]
        fn any_order_gives_every_byte_once(order in Just((0u32..60).collect::<Vec<_>>()).prop_shuffle(), limit in 400usize..9000) {
            let mut rx = Receiver::new(limit);
            let mut got = Vec::new();
            // What is dropped comes again, as a sender would repeat it.
            for _ in 0..60 {
                for &sequence in &order {
                    rx.offer(sequence, &sequence.to_be_bytes(), sequence == 59, ALL);
                    let data = rx.ready().concat();
                    rx.credit(data.len());
                    got.extend(data);
                    prop_assert!(rx.held() <= limit);
                }
            }
            let want: Vec<u8> = (0u32..60).flat_map(u32::to_be_bytes).collect();
            prop_assert_eq!(got, want);
            prop_assert!(rx.is_closed());
        }
    }
}
