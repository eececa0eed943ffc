//! The sending half of a stream: what waits, what is under way, what was lost.

use crate::limits::stream as limits;
use crate::time::{Duration, Instant};
use std::collections::{BTreeSet, VecDeque};

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    Data,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its signature is being made.
    Signing,
    /// Waits to be sent: new, or lost.
    Waiting,
    InFlight,
    Acked,
}

/// One packet with a sequence of its own, until it is acknowledged.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
    /// The whole packet, for those that are signed; it is sent again as it is.
    pub(super) signed: Option<Vec<u8>>,
    state: State,
    /// Number of its last transmission among those of the stream, and among those of the path.
    tx: u64,
    path_tx: u64,
    sent_at: Instant,
    sends: u32,
    /// How far it was ahead of the oldest missing packet when it was sent last.
    ahead: u32,
}

/// A packet that counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) path_tx: u64,
    pub(super) ahead: u32,
}

/// What an acknowledgement brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Acked {
    pub(super) packets: u32,
    /// Those of them that were sent more than a Java window ahead of the oldest missing one.
    pub(super) far: u32,
    /// The newest transmission of the path that arrived.
    pub(super) newest: u64,
    /// Round trip of the newest packet, if it was sent only once (RFC 6298, section 3).
    pub(super) rtt: Option<Duration>,
    /// A packet was acknowledged sooner after its repetition than any round trip: it had not been lost.
    pub(super) spurious: bool,
}

/// Data to send and packets that are under way.
#[derive(Debug)]
pub(super) struct Sender {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that are cut already.
    cut: usize,
    unsent: usize,
    /// Payload bytes of packets that are not acknowledged.
    held: usize,
    capacity: usize,
    refused: bool,
    slots: VecDeque<Slot>,
    /// Sequence of the first slot.
    base: u32,
    in_flight: u32,
    /// Sequences of the slots in `Waiting`.
    waiting: BTreeSet<u32>,
    next_tx: u64,
    last_sent: Instant,
    /// The last repetition of the SYN: what was sent before it may have waited for it at the peer, and says nothing
    /// about the round trip.
    opened_at: Instant,
    newest: Option<(u64, Instant)>,
    /// A packet is lost when one sent this much later has arrived. Grows with the reordering that is seen.
    reordering: u64,
}

impl Sender {
    /// `capacity` bounds the bytes that wait or are under way.
    pub(super) const fn new(capacity: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            cut: 0,
            unsent: 0,
            held: 0,
            capacity,
            refused: false,
            slots: VecDeque::new(),
            base: 0,
            in_flight: 0,
            waiting: BTreeSet::new(),
            next_tx: 1,
            last_sent: Instant::ZERO,
            opened_at: Instant::ZERO,
            newest: None,
            reordering: 3,
        }
    }

    /// Takes as much of `data` as there is room for, and returns how much that is.
    pub(super) fn push(&mut self, mut data: Vec<u8>) -> usize {
        let room = self.capacity.saturating_sub(self.unsent + self.held);
        self.refused |= data.len() > room;
        data.truncate(room);
        let taken = data.len();
        if taken > 0 {
            self.unsent += taken;
            self.chunks.push_back(data);
        }
        taken
    }

    /// Whether the program, refused before, may write again. Says so once.
    pub(super) fn became_writable(&mut self) -> bool {
        let writable = self.refused && self.unsent + self.held <= self.capacity / 4 * 3;
        self.refused &= !writable;
        writable
    }

    /// Bytes that wait or are under way.
    pub(super) const fn held(&self) -> usize {
        self.unsent + self.held
    }

    /// Bytes that are not in a packet yet.
    pub(super) const fn unsent(&self) -> usize {
        self.unsent
    }

    /// The sequence of the next new packet.
    pub(super) fn next_sequence(&self) -> u32 {
        self.base + self.slots.len() as u32
    }

    /// Distance from the oldest packet that is not acknowledged to the next new one.
    pub(super) fn span(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The number of the next transmission.
    pub(super) const fn next_tx(&self) -> u64 {
        self.next_tx
    }

    /// Whether everything was acknowledged and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.unsent == 0 && self.slots.is_empty()
    }

    /// Whether a packet of this kind waits for its acknowledgement, alone.
    pub(super) fn only(&self, kind: Kind) -> bool {
        self.unsent == 0 && self.slots.len() == 1 && self.slots.front().is_some_and(|slot| slot.kind == kind)
    }

    /// Opens the next sequence with up to `max` bytes. A `signs` packet waits for [`Self::signed`].
    pub(super) fn open(&mut self, kind: Kind, max: usize, signs: bool) -> u32 {
        let sequence = self.next_sequence();
        let payload = self.cut_payload(max);
        self.held += payload.len();
        let state = if signs { State::Signing } else { State::Waiting };
        if !signs {
            self.waiting.insert(sequence);
        }
        let sent_at = Instant::ZERO;
        let slot = Slot { kind, payload, signed: None, state, tx: 0, path_tx: 0, sent_at, sends: 0, ahead: 0 };
        self.slots.push_back(slot);
        sequence
    }

    fn cut_payload(&mut self, max: usize) -> Vec<u8> {
        let len = self.unsent.min(max);
        let mut payload = Vec::with_capacity(len);
        while payload.len() < len {
            let Some(chunk) = self.chunks.front() else { break };
            let rest = chunk.get(self.cut..).unwrap_or_default();
            let n = rest.len().min(len - payload.len());
            payload.extend_from_slice(rest.get(..n).unwrap_or_default());
            self.cut += n;
            if self.cut >= chunk.len() {
                self.chunks.pop_front();
                self.cut = 0;
            }
        }
        self.unsent -= payload.len();
        payload
    }

    fn index(&self, sequence: u32) -> Option<usize> {
        sequence.checked_sub(self.base).map(|n| n as usize).filter(|n| *n < self.slots.len())
    }

    pub(super) fn slot(&self, sequence: u32) -> Option<&Slot> {
        self.index(sequence).and_then(|at| self.slots.get(at))
    }

    /// The signature of a packet is made; its bytes are `packet`.
    pub(super) fn signed(&mut self, sequence: u32, packet: Vec<u8>) {
        let Some(at) = self.index(sequence) else { return };
        if let Some(slot) = self.slots.get_mut(at)
            && slot.state == State::Signing
        {
            slot.signed = Some(packet);
            slot.state = State::Waiting;
            self.waiting.insert(sequence);
        }
    }

    /// The first packet that waits to be sent, or sent again.
    pub(super) fn first_waiting(&self) -> Option<u32> {
        self.waiting.first().copied()
    }

    /// The first packet that is under way or waits, for a probe.
    pub(super) fn first_unacked(&self) -> Option<u32> {
        let wanted = |slot: &Slot| matches!(slot.state, State::InFlight | State::Waiting);
        self.slots.iter().position(wanted).map(|at| self.base + at as u32)
    }

    /// A packet leaves at `now`, as transmission `path_tx` of its path. Returns how often it has left before.
    pub(super) fn sent(&mut self, sequence: u32, now: Instant, path_tx: u64) -> u32 {
        let Some(at) = self.index(sequence) else { return 0 };
        let Some(slot) = self.slots.get_mut(at) else { return 0 };
        match slot.state {
            State::Waiting => {
                self.waiting.remove(&sequence);
                self.in_flight += 1;
            }
            State::InFlight => {}
            State::Signing | State::Acked => return 0,
        }
        slot.state = State::InFlight;
        slot.tx = self.next_tx;
        slot.path_tx = path_tx;
        slot.ahead = at as u32;
        slot.sent_at = now;
        self.last_sent = now;
        slot.sends += 1;
        if slot.kind == Kind::Syn && slot.sends > 1 {
            self.opened_at = now;
        }
        self.next_tx += 1;
        slot.sends - 1
    }

    /// Takes an acknowledgement up to `through`, except for `nacks`. Returns `None` for one of packets that were never
    /// sent. `min_rtt` is the shortest round trip known.
    pub(super) fn acked(
        &mut self,
        now: Instant,
        through: u32,
        nacks: &[u32],
        min_rtt: Option<Duration>,
    ) -> Option<Acked> {
        if through >= self.next_sequence() {
            return None;
        }
        let mut acked = Acked::default();
        let mut best = 0;
        let mut nacks: Vec<u32> = nacks.to_vec();
        nacks.sort_unstable();
        let Some(count) = through.checked_sub(self.base) else { return Some(acked) };
        for (sequence, slot) in (self.base..).zip(self.slots.iter_mut()).take(count as usize + 1) {
            if slot.state == State::Acked || slot.sends == 0 || nacks.binary_search(&sequence).is_ok() {
                continue;
            }
            match slot.state {
                State::InFlight => self.in_flight -= 1,
                State::Waiting => {
                    self.waiting.remove(&sequence);
                }
                _ => {}
            }
            slot.state = State::Acked;
            self.held -= slot.payload.len();
            slot.payload = Vec::new();
            slot.signed = None;
            acked.packets += 1;
            acked.far += u32::from(slot.ahead >= limits::JAVA_WINDOW);
            let age = now.since(slot.sent_at);
            if slot.sends > 1 && min_rtt.is_some_and(|min| age < min / 2) {
                acked.spurious = true;
                continue; // it was an earlier transmission that arrived
            }
            // Only the newest of all says how long the way is: older ones were held up by lost acknowledgements.
            if slot.tx > best {
                best = slot.tx;
                acked.rtt = (slot.sends == 1 && slot.sent_at >= self.opened_at).then_some(age);
            }
            acked.newest = acked.newest.max(slot.path_tx);
            if self.newest.is_none_or(|(tx, _)| slot.tx > tx) {
                self.newest = Some((slot.tx, slot.sent_at));
            }
        }
        while self.slots.front().is_some_and(|slot| slot.state == State::Acked) {
            self.slots.pop_front();
            self.base += 1;
        }
        if acked.spurious {
            self.reordering = (self.reordering * 2).min(limits::MAX_REORDERING);
        }
        Some(acked)
    }

    /// Marks packets as lost: those that were overtaken by enough others, or by any for longer than 9/8 of
    /// `rtt` (RFC 9002, section 6.1). Calls `lost` with each one, and returns when the next will count as lost.
    pub(super) fn detect_losses(&mut self, now: Instant, rtt: Duration, mut lost: impl FnMut(Lost)) -> Option<Instant> {
        let (newest, _) = self.newest?;
        if self.in_flight == 0 {
            return None;
        }
        let wait = (rtt * 9 / 8).max(Duration::from_millis(2));
        let mut next: Option<Instant> = None;
        for (sequence, slot) in (self.base..).zip(self.slots.iter_mut()) {
            if slot.state != State::InFlight || slot.tx >= newest {
                continue;
            }
            let due = slot.sent_at + wait;
            if newest - slot.tx >= self.reordering || due <= now {
                slot.state = State::Waiting;
                self.in_flight -= 1;
                self.waiting.insert(sequence);
                lost(Lost { path_tx: slot.path_tx, ahead: slot.ahead });
            } else {
                next = Some(next.map_or(due, |at| at.min(due)));
            }
        }
        next
    }

    /// Nothing arrives: everything under way counts as lost.
    pub(super) fn lose_all(&mut self) {
        for (sequence, slot) in (self.base..).zip(self.slots.iter_mut()) {
            if slot.state == State::InFlight {
                slot.state = State::Waiting;
                self.in_flight -= 1;
                self.waiting.insert(sequence);
            }
        }
    }

    /// Bounds the bytes that wait or are under way.
    pub(super) const fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Whether our SYN is under way.
    pub(super) fn is_syn_in_flight(&self) -> bool {
        self.slots.front().is_some_and(|slot| slot.kind == Kind::Syn && slot.state == State::InFlight)
    }

    /// The oldest transmission under way; the next one where nothing is.
    pub(super) fn oldest_tx(&self) -> u64 {
        let flying = self.slots.iter().filter(|slot| slot.state == State::InFlight);
        flying.map(|slot| slot.tx).min().unwrap_or(self.next_tx)
    }

    /// When the oldest packet that is not acknowledged was sent last.
    pub(super) fn oldest_sent_at(&self) -> Option<Instant> {
        self.slots.iter().find(|slot| slot.state == State::InFlight).map(|slot| slot.sent_at)
    }

    /// The last time anything under way was sent.
    pub(super) fn last_sent(&self) -> Option<Instant> {
        (self.in_flight > 0).then_some(self.last_sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn sender(packets: u32) -> Sender {
        let mut tx = Sender::new(1 << 20);
        for n in 0..packets {
            tx.push(vec![n as u8; 10]);
            let sequence = tx.open(Kind::Data, 10, false);
            assert_eq!((sequence, tx.sent(sequence, ms(0), u64::from(n) + 1)), (n, 0));
        }
        tx
    }

    fn losses(tx: &mut Sender, now: Instant, rtt: u64) -> (Vec<u64>, Option<Instant>) {
        let mut lost = Vec::new();
        let next = tx.detect_losses(now, Duration::from_millis(rtt), |packet| lost.push(packet.path_tx));
        (lost, next)
    }

    #[test]
    fn room_is_what_is_not_acknowledged() {
        let mut tx = Sender::new(100);
        assert_eq!((tx.push(vec![1; 80]), tx.push(vec![2; 80]), tx.push(vec![3; 1])), (80, 20, 0));
        assert!(!tx.became_writable());
        let sequence = tx.open(Kind::Data, 90, false);
        assert_eq!(tx.slot(sequence).unwrap().payload, [vec![1; 80], vec![2; 10]].concat());
        tx.sent(sequence, ms(0), 1);
        assert!(!tx.became_writable(), "what is under way is held");
        tx.acked(ms(1), sequence, &[], None).unwrap();
        assert!(tx.became_writable() && !tx.became_writable());
    }

    #[test]
    fn overtaken_by_three_is_lost() {
        let mut tx = sender(5);
        let acked = tx.acked(ms(100), 3, &[0], None).unwrap();
        assert_eq!((acked.packets, acked.rtt), (3, Some(Duration::from_millis(100))));
        assert_eq!(losses(&mut tx, ms(100), 100), (vec![1], None));
        assert_eq!((tx.first_waiting(), tx.in_flight()), (Some(0), 1));
        tx.sent(0, ms(101), 9);
        let acked = tx.acked(ms(201), 4, &[], None).unwrap();
        assert_eq!((acked.packets, acked.rtt, tx.is_idle()), (2, None, true), "the newest was sent twice");
    }

    #[test]
    fn overtaken_by_one_is_lost_in_time() {
        let mut tx = sender(2);
        tx.acked(ms(100), 1, &[0], None).unwrap();
        assert_eq!(losses(&mut tx, ms(100), 100), (vec![], Some(ms(0) + Duration::from_micros(112_500))));
        assert_eq!(losses(&mut tx, ms(113), 100).0, [1]);
    }

    #[test]
    fn a_repetition_that_was_not_needed_widens_the_threshold() {
        let mut tx = sender(5);
        tx.acked(ms(100), 3, &[0], None).unwrap();
        losses(&mut tx, ms(100), 100);
        tx.sent(0, ms(101), 9);
        let acked = tx.acked(ms(105), 3, &[], Some(Duration::from_millis(90))).unwrap();
        assert!(acked.spurious && acked.rtt.is_none());
        assert_eq!(tx.reordering, 6);
    }

    #[test]
    fn t91_acknowledgements_of_the_future_and_odd_nacks_are_harmless() {
        let mut tx = sender(3);
        assert_eq!(tx.acked(ms(1), 3, &[], None), None);
        assert_eq!(tx.acked(ms(1), u32::MAX, &[], None), None);
        let nacks: Vec<u32> = (0..255).map(|n| u32::MAX - n).collect();
        assert_eq!(tx.acked(ms(1), 2, &nacks, None).unwrap().packets, 3);
        assert_eq!(tx.acked(ms(1), 2, &[], None).unwrap().packets, 0);
        assert_eq!(tx.acked(ms(1), 0, &[0, 0, 1], None).unwrap().packets, 0);
    }
}
