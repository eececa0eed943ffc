//! Packets of the data phase: sealed and opened in place, and each number taken once.
//! <https://geti2p.net/spec/ssu2#kdf-for-data-phase>

use ramson_wire::crypto::Secret;
use ramson_wire::crypto::aead::AeadKey;
use ramson_wire::ssu2::{self, ConnectionId, SHORT_HEADER, Short, ShortHeader, protection};

/// Packet numbers that are remembered below the highest that was received; what is older counts as seen.
pub(crate) const WINDOW: u32 = 4_096;
/// A session ends before its packet numbers do.
pub(crate) const NUMBERS: u32 = 1 << 31;

/// The keys of one direction.
#[derive(Debug)]
pub struct Direction {
    pub data: Secret,
    /// `k_header_2`.
    pub header: Secret,
}

/// The keys of the data phase of both directions.
#[derive(Debug)]
pub struct DataKeys {
    pub send: Direction,
    pub receive: Direction,
}

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// It is too short, or has not the header of a Data packet.
    #[error("no Data packet")]
    Header,
    /// Its number came before, or is too old to tell.
    #[error("packet {0} was seen before")]
    Seen(u32),
    /// It does not authenticate.
    #[error("does not authenticate")]
    Crypto,
}

/// The sending side of a session.
pub(crate) struct Sealer {
    key: AeadKey,
    /// The receiver's introduction key.
    k_header_1: [u8; 32],
    k_header_2: Secret,
    destination: ConnectionId,
    /// The lowest number that was never used.
    next: u32,
}

impl Sealer {
    /// Numbers start with `first`: 1 for the initiator, whose SessionConfirmed was packet 0.
    pub(crate) fn new(keys: Direction, receiver_intro: [u8; 32], destination: ConnectionId, first: u32) -> Self {
        let key = AeadKey::new(&keys.data);
        Self { key, k_header_1: receiver_intro, k_header_2: keys.header, destination, next: first }
    }

    /// The lowest number that was never used.
    pub(crate) const fn next(&self) -> u32 {
        self.next
    }

    /// Room for the header; the payload is appended to it.
    pub(crate) fn begin(out: &mut Vec<u8>) {
        out.clear();
        out.resize(SHORT_HEADER, 0);
    }

    /// Makes a packet of `out`, which [`Sealer::begin`] began. False, and nothing that may be sent, when the number was
    /// used before or too much were said: a key never sees a number twice.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, number: u32, immediate_ack: bool) -> bool {
        if number < self.next || number >= NUMBERS || out.len() < SHORT_HEADER {
            return false;
        }
        self.next = number + 1;
        ssu2::Block::pad_to_min(out, SHORT_HEADER);
        let kind = Short::Data { immediate_ack };
        let header = ShortHeader { destination: self.destination, packet_number: number, kind }.to_bytes();
        if let Some(place) = out.first_chunk_mut::<SHORT_HEADER>() {
            *place = header;
        }
        self.key.seal_tail(u64::from(number), &header, out, SHORT_HEADER);
        protection::turn_short(out, &self.k_header_1, &self.k_header_2).is_some()
    }
}

/// A packet that has been opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened<'a> {
    pub number: u32,
    pub immediate_ack: bool,
    pub payload: &'a [u8],
}

/// The receiving side of a session.
pub(crate) struct Opener {
    key: AeadKey,
    /// Our introduction key.
    k_header_1: [u8; 32],
    k_header_2: Secret,
    seen: Window,
    /// Packets that were good.
    opened: u64,
}

impl Opener {
    pub(crate) fn new(keys: Direction, own_intro: [u8; 32]) -> Self {
        let key = AeadKey::new(&keys.data);
        Self { key, k_header_1: own_intro, k_header_2: keys.header, seen: Window::default(), opened: 0 }
    }

    /// Packets that were good, as a Termination block tells.
    pub(crate) const fn opened(&self) -> u64 {
        self.opened
    }

    /// Opens a packet in place. What fails, or comes again, changes nothing here.
    pub(crate) fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<Opened<'a>, PacketError> {
        let first = protection::first(packet, &self.k_header_1).ok_or(PacketError::Header)?;
        self.open_for(first, packet)
    }

    /// The same of a packet whose first bytes, without their protection, have shown whose it is: a key stream costs a
    /// quarter of what opening the packet does.
    pub(crate) fn open_for<'a>(&mut self, first: [u8; 8], packet: &'a mut [u8]) -> Result<Opened<'a>, PacketError> {
        let second = protection::second(packet, &self.k_header_2).ok_or(PacketError::Header)?;
        protection::put(packet, first, second).ok_or(PacketError::Header)?;
        let (header, sealed) = ssu2::short(packet).ok_or(PacketError::Header)?;
        let ShortHeader { packet_number: number, kind: Short::Data { immediate_ack }, .. } =
            ShortHeader::from_bytes(header).map_err(|_| PacketError::Header)?
        else {
            return Err(PacketError::Header);
        };
        if self.seen.contains(number) {
            return Err(PacketError::Seen(number));
        }
        let payload = self.key.open(u64::from(number), header, sealed).map_err(|_| PacketError::Crypto)?;
        self.seen.insert(number);
        self.opened += 1;
        Ok(Opened { number, immediate_ack, payload })
    }
}

const WORDS: usize = (WINDOW / 64) as usize;

/// The numbers that were received: a bit each for the last of them, in a ring.
struct Window {
    /// The lowest number above all that were received.
    next: u32,
    bits: Box<[u64; WORDS]>,
}

impl Default for Window {
    fn default() -> Self {
        Self { next: 0, bits: Box::new([0; WORDS]) }
    }
}

impl Window {
    fn place(number: u32) -> (usize, u64) {
        ((number / 64) as usize % WORDS, 1 << (number % 64))
    }

    fn contains(&self, number: u32) -> bool {
        if number >= self.next {
            // Numbers are never used up in honest sessions.
            return number >= NUMBERS;
        }
        let (word, bit) = Self::place(number);
        self.next - number > WINDOW - 64 || self.bits[word] & bit != 0
    }

    fn insert(&mut self, number: u32) {
        if number >= self.next {
            // Words that come into the ring anew are empty; there are no more of them than the ring has.
            let first = self.next.div_ceil(64);
            let last = number / 64;
            for word in (first..=last).take(WORDS) {
                self.bits[word as usize % WORDS] = 0;
            }
            if last.saturating_sub(first) >= WINDOW / 64 {
                self.bits.fill(0);
            }
            self.next = number + 1;
        }
        let (word, bit) = Self::place(number);
        self.bits[word] |= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn keys(n: u8) -> Direction {
        Direction { data: [n; 32].into(), header: [n + 1; 32].into() }
    }

    fn pair() -> (Sealer, Opener) {
        (Sealer::new(keys(1), [9; 32], ConnectionId(5), 0), Opener::new(keys(1), [9; 32]))
    }

    fn packet(sealer: &mut Sealer, number: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Sealer::begin(&mut out);
        out.extend_from_slice(payload);
        assert!(sealer.finish(&mut out, number, number % 2 == 1));
        out
    }

    #[test]
    fn packets_open_once_in_any_order() {
        let (mut sealer, mut opener) = pair();
        let packets: Vec<_> = (0..20).map(|n| packet(&mut sealer, n, &[n as u8; 30])).collect();
        for n in [5usize, 0, 19, 1, 18] {
            let mut bytes = packets[n].clone();
            assert_eq!(protection::first(&bytes, &[9; 32]), Some(5u64.to_be_bytes()));
            let opened = opener.open(&mut bytes).unwrap();
            assert_eq!((opened.number, opened.immediate_ack), (n as u32, n % 2 == 1));
            assert_eq!(opened.payload, [n as u8; 30]);
            assert_eq!(opener.open(&mut packets[n].clone()), Err(PacketError::Seen(n as u32)));
        }
        assert_eq!(opener.opened(), 5);
    }

    #[test]
    fn short_payloads_are_padded_and_numbers_are_never_used_twice() {
        let (mut sealer, mut opener) = pair();
        for (n, len) in [0usize, 1, 3, 7, 8].into_iter().enumerate() {
            let mut bytes = packet(&mut sealer, n as u32, &[254, 0, 0, 0, 0, 0, 0, 0][..len]);
            assert!(bytes.len() >= ssu2::PACKET_MIN);
            assert!(opener.open(&mut bytes).is_ok());
        }
        for number in [0, 4, NUMBERS, u32::MAX] {
            let mut out = Vec::new();
            Sealer::begin(&mut out);
            assert!(!sealer.finish(&mut out, number, false), "{number}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_changes_nothing() {
        let (mut sealer, mut opener) = pair();
        let good = packet(&mut sealer, 7, &[3; 40]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open(&mut bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(opener.open(&mut good[..len].to_vec()).is_err(), "cut at {len}");
        }
        assert!(opener.open(&mut good.clone()).is_ok());
    }

    /// Threats T57: numbers far ahead cost no more than near ones, and what is behind the window counts as seen.
    #[test]
    fn t57_numbers_far_ahead_move_a_window_of_fixed_size() {
        let (mut sealer, mut opener) = pair();
        let early: Vec<_> = (0..3).map(|n| packet(&mut sealer, n, &[0; 8])).collect();
        let far = packet(&mut sealer, NUMBERS - 1, &[0; 8]);
        assert!(opener.open(&mut early[0].clone()).is_ok());
        assert!(opener.open(&mut far.clone()).is_ok());
        assert_eq!(opener.open(&mut far.clone()), Err(PacketError::Seen(NUMBERS - 1)));
        assert_eq!(opener.open(&mut early[1].clone()), Err(PacketError::Seen(1)));
        let mut window = Window::default();
        window.insert(NUMBERS - 1);
        assert!(window.contains(u32::MAX) && window.contains(NUMBERS));
    }

    proptest! {
        #[test]
        fn the_window_takes_each_number_once(steps in prop::collection::vec(0u32..6_000, 1..200), start in 0u32..100_000) {
            let mut window = Window::default();
            let mut model = BTreeSet::new();
            let mut at = start;
            for step in steps {
                let number = (at + step).saturating_sub(2_500);
                let highest = model.last().copied().unwrap_or(0);
                let old = !model.is_empty() && highest + 1 > number && highest + 1 - number > WINDOW - 64;
                prop_assert_eq!(window.contains(number), old || model.contains(&number), "{}", number);
                if !old {
                    window.insert(number);
                    model.insert(number);
                }
                at = at.max(number);
            }
        }
    }
}
