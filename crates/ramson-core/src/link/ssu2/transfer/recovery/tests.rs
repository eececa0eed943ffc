//! Loss detection alone.

use super::*;
use proptest::prelude::*;

fn at(ms: u64) -> Instant {
    Instant::from_micros(1_000_000 + ms * 1_000)
}

fn packet(ms: u64) -> Sent<u32> {
    Sent { at: at(ms), bytes: 1_000, limited: false, mtu_probe: false, content: 0 }
}

struct Line {
    recovery: Recovery<u32>,
    rtt: Rtt,
    outcome: Outcome<u32>,
}

impl Line {
    fn new() -> Self {
        let rtt = Rtt::new(at(0), Some(Duration::from_millis(100)));
        Self { recovery: Recovery::new(at(0), 0), rtt, outcome: Outcome::default() }
    }

    fn send(&mut self, count: u32, ms: u64) {
        for _ in 0..count {
            self.recovery.send(Some(packet(ms)));
        }
    }

    fn ack(&mut self, ms: u64, ranges: &[RangeInclusive<u32>]) -> bool {
        self.outcome.clear();
        self.recovery.acked(at(ms), ranges.iter().cloned(), &mut self.rtt, &mut self.outcome)
    }

    fn numbers(closed: &[Closed<u32>]) -> Vec<u32> {
        closed.iter().map(|closed| closed.number).collect()
    }
}

#[test]
fn three_later_packets_make_one_lost() {
    let mut line = Line::new();
    line.send(5, 0);
    assert!(line.ack(100, &[1..=2]));
    assert!(line.outcome.lost.is_empty());
    assert!(line.ack(100, &[1..=3]));
    assert_eq!(Line::numbers(&line.outcome.lost), [0]);
    assert_eq!(Line::numbers(&line.outcome.acked), [3]);
    assert_eq!(line.recovery.in_flight(), 1_000);
}

#[test]
fn nine_eighths_of_a_round_trip_make_the_last_ones_lost() {
    let mut line = Line::new();
    line.send(2, 0);
    line.ack(100, &[1..=1]);
    assert!(line.outcome.lost.is_empty());
    let due = line.recovery.next_timeout(&line.rtt).unwrap();
    assert_eq!(due, at(0) + Duration::from_micros(112_500));
    line.recovery.handle_timeout(due - Duration::from_micros(1), &line.rtt, &mut line.outcome);
    assert!(line.outcome.lost.is_empty());
    line.recovery.handle_timeout(due, &line.rtt, &mut line.outcome);
    assert_eq!(Line::numbers(&line.outcome.lost), [0]);
    assert!(line.recovery.is_idle() && line.recovery.next_timeout(&line.rtt).is_none());
}

#[test]
fn a_silent_peer_is_probed_ever_less_often_but_often() {
    let mut line = Line::new();
    line.send(1, 0);
    let mut waits = Vec::new();
    let mut last = at(0);
    for _ in 0..8 {
        let due = line.recovery.next_timeout(&line.rtt).unwrap();
        waits.push(due.since(last).as_millis());
        last = due;
        line.recovery.handle_timeout(due, &line.rtt, &mut line.outcome);
        assert!(line.outcome.lost.is_empty(), "a timeout alone loses nothing");
        while line.recovery.probes_due() {
            line.recovery.send(Some(Sent { at: due, ..packet(0) }));
        }
    }
    assert_eq!(waits, [316, 633, 1_266, 2_533, 3_000, 3_000, 3_000, 3_000]);
    assert_eq!(line.recovery.probe_count(), 8);
    assert!(line.recovery.silence(last) > Duration::from_secs(10));
    assert!(line.recovery.acked(last, std::iter::once(0..=0), &mut line.rtt, &mut line.outcome));
    assert_eq!((line.recovery.probe_count(), line.recovery.silence(last)), (0, Duration::ZERO));
}

#[test]
fn a_path_that_reorders_gets_a_larger_threshold() {
    let mut line = Line::new();
    line.send(20, 0);
    line.ack(100, &[8..=8]);
    assert_eq!(Line::numbers(&line.outcome.lost), [0, 1, 2, 3, 4, 5]);
    line.ack(101, &[0..=8]);
    assert_eq!(Line::numbers(&line.outcome.late), [0, 1, 2, 3, 4, 5]);
    assert_eq!(line.recovery.packet_threshold, 9);
    line.send(20, 102);
    line.ack(202, &[28..=28, 0..=19]);
    assert!(line.outcome.lost.is_empty(), "{:?}", line.outcome.lost);
}

#[test]
fn persistent_congestion_needs_a_long_run_of_losses() {
    for (gap, expected) in [(0, true), (5, false)] {
        let mut line = Line::new();
        for n in 0..10 {
            line.send(1, n * 150);
        }
        line.send(3, 1_500);
        let arrived = if gap > 0 { vec![12..=12, gap..=gap] } else { vec![12..=12] };
        line.ack(1_600, &arrived);
        assert_eq!(line.outcome.persistent, expected);
    }
}

/// Threats T56: acknowledgements of packets that were never sent void their block.
#[test]
fn t56_acks_of_what_was_never_sent_are_ignored() {
    let mut line = Line::new();
    line.send(3, 0);
    assert!(!line.ack(10, &[3..=3]));
    assert!(!line.ack(10, &[0..=u32::MAX]));
    assert!(line.ack(10, &[RangeInclusive::new(2, 1)]), "backwards: says nothing");
    assert_eq!((line.outcome.acked.len(), line.recovery.in_flight()), (0, 3_000));
    assert!(line.outcome.sample.is_none() && line.recovery.largest_acked.is_none());
    assert!(line.ack(100, &[2..=2]));
    assert!(line.ack(100, &[2..=2]), "again: says nothing new");
    assert!(line.outcome.acked.is_empty() && line.outcome.sample.is_none());
}

/// Threats T56: the ranges that are read of one block have a bound.
#[test]
fn t56_a_block_is_read_up_to_its_bound() {
    let mut line = Line::new();
    line.send(3_000, 0);
    let ranges: Vec<_> = (0..1_500).rev().map(|n| 2 * n..=2 * n).collect();
    line.ack(100, &ranges);
    assert_eq!(line.outcome.acked.len(), limits::ACK_RANGES_READ);
}

#[test]
fn so_many_packets_are_under_way_and_no_more() {
    let mut line = Line::new();
    line.send(u32::try_from(limits::PACKETS_IN_FLIGHT).unwrap() - 1, 0);
    assert!(!line.recovery.is_full());
    line.send(1, 0);
    assert!(line.recovery.is_full());
    line.ack(100, &[0..=0]);
    assert!(!line.recovery.is_full());
}

#[test]
fn lost_packets_are_remembered_in_number_and_time() {
    let mut line = Line::new();
    let many = u32::try_from(limits::LOST_PACKETS).unwrap() + 100;
    line.send(many + 4, 0);
    line.ack(100, &[many + 3..=many + 3]);
    assert_eq!(line.recovery.lost.len(), limits::LOST_PACKETS);
    line.send(1, 100_000);
    line.ack(100_100, &[many + 4..=many + 4]);
    assert_eq!(line.recovery.lost.len(), 2, "those that were lost just now");
}

#[test]
fn what_is_abandoned_comes_back_whole() {
    let mut line = Line::new();
    line.send(5, 0);
    line.recovery.abandon(at(1), &mut line.outcome);
    assert_eq!(Line::numbers(&line.outcome.lost), [0, 1, 2, 3, 4]);
    assert!(line.recovery.is_idle() && line.recovery.in_flight() == 0);
    assert!(line.ack(50, &[0..=4]));
    assert_eq!(line.outcome.late.len(), 5);
}

proptest! {
    /// Whatever is acknowledged in whatever order, each packet ends once, and what is in flight is what has not ended.
    #[test]
    fn every_packet_ends_once(steps in prop::collection::vec((0u8..4, 0u32..300, 0u32..40, 0u64..80), 1..200)) {
        let mut line = Line::new();
        let mut now = 0;
        let mut ended = std::collections::BTreeMap::new();
        for (what, first, len, wait) in steps {
            now += wait;
            line.outcome.clear();
            match what {
                0 | 1 => line.send(len, now),
                2 => {
                    let range = first..=first + len;
                    line.recovery.acked(at(now), std::iter::once(range), &mut line.rtt, &mut line.outcome);
                }
                _ => line.recovery.handle_timeout(at(now), &line.rtt, &mut line.outcome),
            }
            for closed in line.outcome.acked.iter().chain(&line.outcome.lost) {
                prop_assert!(ended.insert(closed.number, false).is_none(), "{} ended twice", closed.number);
            }
            for closed in &line.outcome.late {
                prop_assert_eq!(ended.insert(closed.number, true), Some(false));
            }
            let flying = u64::from(line.recovery.next_number()) - ended.len() as u64;
            prop_assert_eq!(line.recovery.in_flight(), flying * 1_000);
            prop_assert_eq!(line.recovery.is_idle(), flying == 0);
        }
    }
}
