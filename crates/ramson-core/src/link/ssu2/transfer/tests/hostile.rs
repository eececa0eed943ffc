//! A peer that plays false.

use super::*;
use crate::rng::Rng;
use ramson_wire::ssu2::{Block, FirstFragment, FollowOnFragment, encode_ack};

const NOW: Now = Now::new(Instant::from_micros(5_000_000), 1_790_000_000_000);

struct Alone {
    transfer: Transfer,
    outbox: Outbox,
    totals: Totals,
    number: u32,
    now: Now,
}

use crate::link::outbox::{Class, Outbox};

impl Alone {
    fn new() -> Self {
        let config = TransferConfig { first_number: 0, rtt: Some(ms(50)), ipv6: false, mtu: 1500 };
        let transfer = Transfer::new(NOW, config, Rng::from_seed([3; 32]));
        Self { transfer, outbox: Outbox::default(), totals: Totals::default(), number: 0, now: NOW }
    }

    fn send(&mut self, count: u32) {
        for id in 0..count {
            self.outbox.push(self.now.mono, message(id, 1028), Class::Own, &mut self.totals.waiting);
        }
        self.drain();
    }

    fn drain(&mut self) -> usize {
        let mut out = Vec::new();
        let transfer = &mut self.transfer;
        let sent = std::iter::from_fn(|| {
            out.clear();
            transfer.poll_transmit(self.now, &mut self.outbox, &mut self.totals, &mut out)
        });
        sent.take(1_000_000).count()
    }

    /// A packet of the peer with this payload.
    fn packet(&mut self, payload: &[u8]) -> Result<(), ramson_wire::codec::DecodeError> {
        let packet = Received { number: self.number, immediate_ack: false, congested: false };
        self.number += 1;
        self.transfer.handle_packet(self.now, packet, payload, &mut self.totals, &mut Vec::new())
    }
}

fn ack(ranges: &[std::ops::RangeInclusive<u32>]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_ack(&mut out, ranges.iter().cloned(), 1_400);
    out
}

/// Threats T56: an ACK of what was never sent changes nothing, though it came in a valid packet.
#[test]
fn t56_an_optimistic_peer_gains_nothing() {
    let mut alone = Alone::new();
    alone.send(100);
    let before = alone.transfer.stats();
    assert!(before.in_flight > 0 && before.in_flight <= before.window);
    for through in [before.packets_sent as u32, 1_000_000, u32::MAX] {
        alone.packet(&ack(&[0..=through])).unwrap();
    }
    let after = alone.transfer.stats();
    assert_eq!((after.in_flight, after.window, after.rtt), (before.in_flight, before.window, before.rtt));
    assert_eq!(after.false_acks, 3);
}

/// Threats T56: many ACK blocks cost their ranges, not what they have acknowledged before.
#[test]
fn t56_ack_blocks_in_number_are_taken_in() {
    let mut alone = Alone::new();
    alone.send(1_000);
    let sent = u32::try_from(alone.transfer.stats().packets_sent).unwrap();
    for _ in 0..10_000 {
        alone.packet(&ack(&[0..=sent - 1])).unwrap();
    }
    assert_eq!(alone.transfer.stats().in_flight, 0);
    // Ranges that count below zero end there.
    let mut below = ack(&[5..=5]);
    below[2] += 4;
    below.extend([255, 255, 255, 255]);
    alone.packet(&below).unwrap();
    assert_eq!(alone.transfer.stats().false_acks, 0);
}

/// Threats T54: what is cut off is an error, and what stood in front of it counts.
#[test]
fn t54_malformed_payloads_are_errors() {
    let mut alone = Alone::new();
    let mut payload = Vec::new();
    Block::encode_i2np_header(&mut payload, 9 + 4);
    message(7, 4).encode_short(&mut payload);
    let whole = payload.len();
    payload.extend([4, 0, 100, 1, 2, 3]);
    assert!(alone.packet(&payload).is_err());
    assert_eq!(alone.transfer.poll_message().unwrap().id, 7);
    for len in 1..whole {
        assert!(alone.packet(&payload[..len]).is_err(), "{len}");
    }
    assert!(alone.packet(&[3, 0, 5, 1, 2, 3, 4, 5]).is_err(), "shorter than its header");
    let mut empty = Vec::new();
    FollowOnFragment { number: 1, last: true, id: 1, data: &[] }.encode(&mut empty);
    assert!(alone.packet(&empty).is_err());
}

/// Threats T55: fragments that never end are bounded, and their totals are given back.
#[test]
fn t55_fragments_without_end_are_bounded() {
    let mut alone = Alone::new();
    for id in 0..2_000u32 {
        let mut payload = Vec::new();
        FirstFragment { kind: Kind::GARLIC, id, expiration: 0, data: &[1; 1_200] }.encode(&mut payload);
        alone.packet(&payload).unwrap();
    }
    let held = alone.totals.reassembling;
    assert!(held > 0 && held <= limits::REASSEMBLY_BYTES, "{held}");
    alone.now = NOW.later(limits::REASSEMBLY_AGE);
    alone.transfer.handle_timeout(alone.now, &mut alone.totals);
    assert_eq!(alone.totals.reassembling, 0);
    let mut payload = Vec::new();
    FirstFragment { kind: Kind::GARLIC, id: 77, expiration: 0, data: &[1; 100] }.encode(&mut payload);
    alone.packet(&payload).unwrap();
    alone.transfer.close(&mut alone.totals);
    assert_eq!(alone.totals.reassembling, 0);
    assert!(alone.transfer.stats().incomplete >= 2_000);
}

/// A packet that wants no answer gets none, however many come.
#[test]
fn what_wants_no_acknowledgement_is_not_answered() {
    let mut alone = Alone::new();
    for _ in 0..1_000 {
        let mut payload = Vec::new();
        Block::encode_padding(&mut payload, 20);
        alone.packet(&payload).unwrap();
        alone.packet(&ack(&[])).unwrap();
        assert_eq!(alone.drain(), 0);
    }
    assert_eq!(alone.transfer.next_timeout().map(|at| at > NOW.mono + ms(1_000)), Some(true));
}

#[test]
fn blocks_that_wait_are_bounded() {
    let mut alone = Alone::new();
    assert!(!alone.transfer.send_block(NOW, vec![0; Transfer::BLOCK_ROOM + 1]));
    let taken = (0..1_000).take_while(|_| {
        let mut block = Vec::new();
        Block::encode_path_response(&mut block, &[7; 97]);
        alone.transfer.send_block(NOW, block)
    });
    let taken = taken.count();
    assert_eq!(taken, limits::BLOCK_BYTES / 100);
    assert!(alone.drain() > 1);
    let sent = u32::try_from(alone.transfer.stats().packets_sent).unwrap();
    alone.packet(&ack(&[0..=sent - 1])).unwrap();
    let mut block = Vec::new();
    Block::encode_path_response(&mut block, &[7; 97]);
    assert!(alone.transfer.send_block(NOW, block), "what has arrived makes room");
}

#[test]
fn a_session_ends_before_its_numbers_do() {
    let config = TransferConfig { first_number: limits::PACKET_NUMBERS - 1, rtt: None, ipv6: false, mtu: 1500 };
    let mut alone = Alone { transfer: Transfer::new(NOW, config, Rng::from_seed([3; 32])), ..Alone::new() };
    assert!(!alone.transfer.is_exhausted());
    alone.send(10);
    assert!(alone.transfer.is_exhausted());
    assert_eq!(alone.transfer.stats().packets_sent, 1);
}

#[test]
fn congestion_on_the_way_is_echoed_once_and_obeyed() {
    let mut alone = Alone::new();
    let mut payload = Vec::new();
    Block::encode_path_challenge(&mut payload, &[1; 8]);
    for number in 0..2 {
        let packet = Received { number, immediate_ack: false, congested: true };
        alone.transfer.handle_packet(NOW, packet, &payload, &mut alone.totals, &mut Vec::new()).unwrap();
    }
    let mut out = Vec::new();
    alone.transfer.poll_transmit(NOW, &mut alone.outbox, &mut alone.totals, &mut out).unwrap();
    let blocks: Vec<Block<'_>> = ramson_wire::ssu2::Blocks::new(&out).map(Result::unwrap).collect();
    assert!(blocks.iter().any(|block| matches!(block, Block::Congestion(c) if c.ecn)), "{blocks:?}");
    assert!(!alone.transfer.echo_congestion);
    let mut other = Alone::new();
    let before = other.transfer.stats().window;
    other.packet(&out).unwrap();
    assert!(other.transfer.stats().window < before);
}

proptest! {
    /// No payload harms, whatever is under way.
    #[test]
    fn random_payloads_do_not_harm(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..30)) {
        let mut alone = Alone::new();
        alone.send(20);
        for payload in payloads {
            let _ = alone.packet(&payload);
            alone.now = alone.now.later(ms(7));
            alone.transfer.handle_timeout(alone.now, &mut alone.totals);
            alone.drain();
            while alone.transfer.poll_message().is_some() {}
            prop_assert!(alone.transfer.next_timeout().is_none_or(|at| at > alone.now.mono));
        }
    }

    /// No sequence of well-formed blocks harms, acknowledgements above all.
    #[test]
    fn random_acks_do_not_harm(acks in prop::collection::vec((0u32..60, 0u8..20, prop::collection::vec(any::<[u8; 2]>(), 0..8)), 0..60)) {
        let mut alone = Alone::new();
        let mut most = alone.transfer.stats().window;
        for (through, count, ranges) in acks {
            alone.send(3);
            let mut payload = vec![12, 0, 5 + 2 * u8::try_from(ranges.len()).unwrap()];
            payload.extend(through.to_be_bytes());
            payload.push(count);
            payload.extend(ranges.iter().flatten());
            prop_assert!(alone.packet(&payload).is_ok());
            alone.now = alone.now.later(ms(11));
            alone.transfer.handle_timeout(alone.now, &mut alone.totals);
            alone.drain();
            let stats = alone.transfer.stats();
            most = most.max(stats.window);
            prop_assert!(stats.window >= 2 * 1_252 && stats.in_flight <= most + 4 * 1_500);
        }
    }
}
