//! Two ends and a line between them, in virtual time.

mod hostile;
mod speed;

use super::line::{Line, LineConfig};
use super::*;
use proptest::prelude::*;
use ramson_wire::i2np::{Kind, MAX_BODY};
use std::collections::BTreeMap;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A message whose body says what it is.
fn message(id: u32, len: usize) -> Message {
    let body = (0..len).map(|n| (n as u32 ^ id.rotate_left(n as u32 % 32)) as u8).collect();
    let kind = if len == 1028 { Kind::TUNNEL_DATA } else { Kind::GARLIC };
    Message { kind, id, expiration: 1_790_000_900_000, body }
}

/// Sends messages both ways; each arrives once and as it was.
fn exchange(config: LineConfig, sizes: &[usize], limit: Duration) -> Line {
    let mut line = Line::new(config, 1);
    let mut expected: [BTreeMap<u32, Message>; 2] = Default::default();
    for (id, len) in sizes.iter().enumerate() {
        for from in 0..2 {
            let message = message(u32::try_from(2 * id + from).unwrap(), *len);
            expected[1 - from].insert(message.id, message.clone());
            assert!(line.push(0, from, message), "the outbox has room");
        }
        let until = line.now() + ms(1);
        while line.step(until) {}
    }
    let until = line.now() + limit;
    while !line.is_idle() && line.step(until) {}
    for (end, expected) in expected.iter_mut().enumerate() {
        for message in line.take(0, end) {
            assert_eq!(expected.remove(&message.id).as_ref(), Some(&message), "each comes once");
        }
        // Those that a slow line has let grow old, unsent.
        let dropped = line.dropped(0, 1 - end);
        assert_eq!(expected.len() as u64, dropped, "missing at {end}: {:?}", line.stats(0, 1 - end));
    }
    let stats = [line.stats(0, 0), line.stats(0, 1)];
    assert!(stats.iter().all(|stats| stats.in_flight == 0 && stats.false_acks == 0 && stats.given_up == 0));
    line
}

fn mixed(count: usize) -> Vec<usize> {
    (0..count).map(|n| [1028, 20, 1028, 873, 3_000, 1028, 1_500, 15_000][n % 8]).collect()
}

#[test]
fn messages_of_all_sizes_arrive_over_a_good_line() {
    let line =
        exchange(LineConfig::default(), &[0, 1, 1028, 1_195, 1_210, 1_430, 5_000, MAX_BODY], Duration::from_secs(5));
    assert_eq!((line.stats(0, 0).packets_lost, line.stats(0, 0).resent), (0, 0));
}

#[test]
fn messages_arrive_over_a_bad_line_once() {
    for seed in 1..6 {
        let config =
            LineConfig { jitter: ms(8), loss: 0.05, duplicated: 0.05, reordered: 0.1, seed, ..LineConfig::default() };
        let line = exchange(config, &mixed(300), Duration::from_secs(30));
        assert!(line.stats(0, 0).packets_lost > 0 && line.stats(0, 0).resent > 0);
    }
}

#[test]
fn messages_arrive_though_a_third_is_lost() {
    let config = LineConfig { loss: 0.33, ..LineConfig::default() };
    exchange(config, &mixed(60), Duration::from_secs(60));
}

#[test]
fn a_lost_message_alone_comes_without_a_long_timer() {
    let mut line = Line::new(LineConfig { loss: 1.0, ..LineConfig::default() }, 1);
    line.push(0, 0, message(1, 1028));
    line.config.loss = 0.0;
    let start = line.now();
    while line.take(0, 1).is_empty() {
        assert!(line.step(start + Duration::from_secs(2)));
    }
    assert!(line.now().since(start) < ms(180), "{:?}", line.now().since(start));
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let config = LineConfig { jitter: ms(5), loss: 0.1, reordered: 0.2, ..LineConfig::default() };
        let line = exchange(config, &mixed(100), Duration::from_secs(30));
        (line.now(), line.stats(0, 0), line.stats(0, 1), line.lost)
    };
    assert_eq!(run(), run());
}

#[test]
fn the_path_s_mtu_is_found_out_and_a_black_hole_survived() {
    let mut line = Line::new(LineConfig { mtu: 1492, ..LineConfig::default() }, 1);
    let (mut id, mut got) = (0, 0);
    let mut send = |line: &mut Line, count: u32| {
        for _ in 0..count {
            id += 1;
            line.push(0, 0, message(id, 1_400));
            let until = line.now() + ms(3);
            while line.step(until) {}
        }
        let until = line.now() + Duration::from_secs(8);
        while !line.is_idle() && line.step(until) {}
        got += line.take(0, 1).len();
        assert_eq!(got, id as usize);
    };
    send(&mut line, 1_000);
    let found = line.stats(0, 0).payload + 60;
    assert!((1477..=1492).contains(&found), "{found}");
    line.config.mtu = 1300;
    send(&mut line, 300);
    assert_eq!(line.stats(0, 0).payload, 1220);
    assert!(line.lost[2] < 400, "{:?}", line.lost);
}

#[test]
fn acknowledgements_are_at_most_every_second_packet() {
    let mut line = Line::new(LineConfig::default(), 1);
    for id in 0..400 {
        line.push(0, 0, message(id, 1028));
        let until = line.now() + ms(2);
        while line.step(until) {}
    }
    let (there, back) = (line.stats(0, 0).packets_sent, line.stats(0, 1).packets_sent);
    assert!(back <= there / 2 + 10, "{there} {back}");
    assert!(there <= 405, "and none answers an acknowledgement: {there}");
}

#[test]
fn a_peer_that_is_gone_is_found_out_and_what_is_held_is_bounded() {
    let mut line = Line::new(LineConfig { loss: 1.0, ..LineConfig::default() }, 1);
    let start = line.now();
    let mut id = 0;
    loop {
        let until = line.now() + ms(50);
        while line.step(until) {}
        for _ in 0..50 {
            id += 1;
            line.push(0, 0, message(id, 1028));
        }
        let now = Now::new(line.now(), 0);
        if line.transfer(0, 0).is_dead(now) {
            break;
        }
        assert!(line.now().since(start) < Duration::from_secs(20));
    }
    assert!(line.now().since(start) >= Duration::from_secs(15));
    let stats = line.stats(0, 0);
    assert!(stats.in_flight <= stats.window.max(15_000) + 20 * 1_500, "{stats:?}");
    assert!(line.lost[0] < 60, "probes are few: {:?}", line.lost);
}

#[test]
fn what_is_too_old_is_not_sent_again() {
    let mut line = Line::new(LineConfig::default(), 1);
    line.config.loss = 1.0;
    for id in 0..5 {
        line.push(0, 0, message(id, 1028));
    }
    let until = line.now() + Duration::from_secs(11);
    while line.step(until) {}
    line.config.loss = 0.0;
    line.push(0, 0, message(9, 1028));
    let until = line.now() + Duration::from_secs(10);
    while !line.is_idle() && line.step(until) {}
    assert!(line.is_idle());
    let ids: Vec<u32> = line.take(0, 1).iter().map(|message| message.id).collect();
    assert!(ids.contains(&9));
    assert!(line.stats(0, 0).given_up >= 3, "{:?} {ids:?}", line.stats(0, 0));
}

#[test]
fn a_change_of_path_sends_again_what_was_under_way() {
    for change in [PathChange::Port, PathChange::Address { ipv6: true, mtu: 1400 }, PathChange::Back] {
        let mut line = Line::new(LineConfig::default(), 1);
        for id in 0..100 {
            line.push(0, 0, message(id, 1028));
        }
        let until = line.now() + ms(300);
        while line.step(until) {}
        line.take(0, 1);
        line.config.loss = 1.0;
        for id in 100..105 {
            line.push(0, 0, message(id, 2_000));
        }
        line.config.loss = 0.0;
        let now = Now::new(line.now(), 0);
        line.transfer(0, 0).path_changed(now, change);
        assert_eq!(line.stats(0, 0).in_flight, 0);
        line.push(0, 0, message(200, 20));
        let until = line.now() + ms(100);
        while !line.is_idle() && line.step(until) {}
        assert_eq!(line.take(0, 1).len(), 6, "{change:?}");
        if matches!(change, PathChange::Address { .. }) {
            assert_eq!(line.stats(0, 0).payload, 1200);
        }
    }
}

#[test]
fn little_goes_while_a_path_is_validated() {
    let mut line = Line::new(LineConfig::default(), 1);
    line.transfer(0, 0).set_restricted(true);
    for id in 0..50 {
        line.push(0, 0, message(id, 1028));
    }
    assert!(line.stats(0, 0).in_flight <= 2 * 1_252);
    line.transfer(0, 0).set_restricted(false);
    let until = line.now() + Duration::from_secs(5);
    while !line.is_idle() && line.step(until) {}
    assert_eq!(line.take(0, 1).len(), 50);
}

#[test]
fn an_idle_session_is_small_and_has_no_timer() {
    let line = exchange(LineConfig { loss: 0.02, ..LineConfig::default() }, &mixed(200), Duration::from_secs(20));
    let mut line = line;
    let until = line.now() + Duration::from_secs(120);
    while line.step(until) {}
    for end in 0..2 {
        let transfer = line.transfer(0, end);
        assert_eq!(transfer.next_timeout(), None, "all is forgotten");
        assert!(transfer.outgoing.is_empty() && transfer.messages.capacity() == 0);
    }
    assert!(std::mem::size_of::<Transfer>() < 2_048, "{}", std::mem::size_of::<Transfer>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the line does, each message arrives once and whole, and the sessions come to rest.
    #[test]
    fn every_message_arrives_once(
        sizes in prop::collection::vec(prop_oneof![Just(1028), 0usize..3_000, 0usize..30_000], 1..60),
        (delay, jitter) in (0u64..150, 0u64..40),
        (loss, duplicated, reordered) in (0.0..0.2, 0.0..0.2, 0.0..0.5),
        (rate, mtu) in (prop_oneof![Just(0), 200_000u64..5_000_000], 1280usize..1501),
        seed in any::<u8>(),
    ) {
        let config = LineConfig {
            delay: ms(delay),
            jitter: ms(jitter),
            rate,
            buffer: 100_000,
            loss,
            duplicated,
            reordered,
            mtu,
            seed,
        };
        exchange(config, &sizes, Duration::from_secs(120));
    }
}
