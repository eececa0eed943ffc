//! What is received and acknowledged, against a set of numbers.

use super::*;
use proptest::prelude::*;
use ramson_wire::ssu2::{Block, Blocks};
use std::collections::BTreeSet;

const T: Instant = Instant::from_micros(1_000_000);
const DELAY: Duration = Duration::from_millis(10);

fn note(acks: &mut Acks, number: u32) {
    assert!(acks.accepts(number));
    acks.note(T, number, true, false, DELAY);
}

/// The numbers that the next ACK block names, and up to where it speaks.
fn block(acks: &Acks, room: usize) -> Option<(BTreeSet<u32>, u32)> {
    let mut out = Vec::new();
    let through = acks.encode(&mut out, room)?;
    assert!(out.len() <= room);
    let Some(Ok(Block::Ack(ack))) = Blocks::new(&out).next() else { panic!("no ACK block") };
    Some((ack.ranges().flatten().collect(), through))
}

#[test]
fn a_second_packet_a_gap_or_a_late_one_is_acknowledged_at_once() {
    let mut acks = Acks::default();
    note(&mut acks, 0);
    assert!(!acks.is_due(T) && acks.is_due(T + DELAY));
    assert_eq!(acks.next_timeout(), Some(T + DELAY));
    note(&mut acks, 1);
    assert!(acks.is_due(T));
    acks.sent(0, 1);
    assert!(!acks.is_due(T + DELAY) && acks.next_timeout().is_none());
    note(&mut acks, 3);
    assert!(acks.is_due(T), "2 is missing");
    acks.sent(1, 3);
    note(&mut acks, 2);
    assert!(acks.is_due(T), "late");
    acks.sent(2, 3);
    acks.note(T, 4, true, true, DELAY);
    assert!(acks.is_due(T), "asked for");
}

#[test]
fn what_wants_no_acknowledgement_gets_none_of_its_own() {
    let mut acks = Acks::default();
    (0..50).for_each(|number| acks.note(T, 2 * number, false, false, DELAY));
    assert!(!acks.is_due(Instant::FAR));
    assert_eq!(block(&acks, 1_000).unwrap().0.len(), limits::ACK_RANGES.min(50), "but with something else");
}

#[test]
fn what_the_peer_knows_is_not_said_again() {
    let mut acks = Acks::default();
    [0, 2, 4].into_iter().for_each(|number| note(&mut acks, number));
    acks.sent(7, 4);
    [6, 8].into_iter().for_each(|number| note(&mut acks, number));
    acks.sent(9, 8);
    note(&mut acks, 10);
    assert_eq!(block(&acks, 100).unwrap().0, BTreeSet::from([0, 2, 4, 6, 8, 10]));
    acks.arrived(&(8..=8));
    assert_eq!(block(&acks, 100).unwrap().0.len(), 6, "that was another packet");
    let mut acks = Acks::default();
    [0, 2, 4].into_iter().for_each(|number| note(&mut acks, number));
    acks.sent(7, 4);
    [6, 8].into_iter().for_each(|number| note(&mut acks, number));
    acks.arrived(&(5..=7));
    assert_eq!(block(&acks, 100).unwrap().0, BTreeSet::from([6, 8]));
    assert!(!acks.accepts(2), "it is a duplicate all the same");
    acks.sent(8, 8);
    assert!(block(&acks, 100).is_none(), "nothing is new");
}

/// Threats T57: the memory of numbers is bounded; what is older than all of it is not taken.
#[test]
fn t57_numbers_are_remembered_in_so_many_ranges() {
    let mut acks = Acks::default();
    let many = u32::try_from(limits::RECEIVED_RANGES).unwrap();
    (0..many + 10).for_each(|n| note(&mut acks, 3 * n));
    assert_eq!(acks.ranges.len(), limits::RECEIVED_RANGES);
    assert!(!acks.accepts(0) && !acks.accepts(1) && !acks.accepts(27), "too old");
    assert!(!acks.accepts(30) && acks.accepts(29) && acks.accepts(31));
    // A leap to the end of all numbers costs nothing.
    note(&mut acks, u32::MAX);
    note(&mut acks, u32::MAX - 1);
    assert!(!acks.accepts(u32::MAX) && acks.accepts(u32::MAX - 2));
    let (named, through) = block(&acks, 1_400).unwrap();
    assert_eq!((named, through), (BTreeSet::from([u32::MAX - 1, u32::MAX]), u32::MAX));
}

#[test]
fn a_block_names_so_many_ranges_and_what_fits() {
    let mut acks = Acks::default();
    (0..200).for_each(|n| note(&mut acks, 2 * n));
    assert_eq!(block(&acks, 1_400).unwrap().0.len(), limits::ACK_RANGES);
    assert_eq!(block(&acks, 12).unwrap().0, BTreeSet::from([398, 396, 394]));
    assert!(block(&acks, 7).is_none());
}

proptest! {
    /// Whatever comes in whatever order: never is a number taken twice, or named that did not come.
    #[test]
    fn only_what_came_is_named_and_nothing_is_taken_twice(
        numbers in prop::collection::vec(prop_oneof![0u32..400, any::<u32>()], 1..400),
        arrived in prop::collection::vec((0u32..400, 0u32..20), 0..20),
    ) {
        let (mut acks, mut model) = (Acks::default(), BTreeSet::new());
        for (n, number) in numbers.into_iter().enumerate() {
            let n = u32::try_from(n).unwrap();
            if acks.accepts(number) {
                prop_assert!(model.insert(number));
                acks.note(T, number, n % 3 > 0, false, DELAY);
            } else {
                prop_assert!(model.contains(&number) || number < acks.floor);
            }
            prop_assert!(!acks.accepts(number));
            if let Some((named, through)) = block(&acks, 100) {
                prop_assert!(named.is_subset(&model));
                prop_assert_eq!(named.last(), model.last());
                prop_assert_eq!(through, *named.last().unwrap());
                if n % 5 == 0 {
                    acks.sent(n, through);
                }
            }
            if let Some((first, len)) = arrived.get(n as usize) {
                acks.arrived(&(*first..=first + len));
            }
            prop_assert!(acks.ranges.iter().zip(acks.ranges.iter().skip(1)).all(|(a, b)| a.1 + 1 < b.0));
        }
    }
}
