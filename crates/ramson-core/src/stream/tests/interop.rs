//! How Java and i2pd behave on the wire, and that we get on with it.

use super::solo::Solo;
use super::*;
use ramson_wire::streaming::{Flags, Outgoing, Packet};

/// A data packet of the peer.
fn data(send_id: u32, sequence: u32, ack: u32) -> Outgoing<'static> {
    Outgoing { send_id, recv_id: 99, sequence, ack_through: Some(ack), ..Outgoing::default() }
}

#[test]
fn our_syn_is_as_the_specification_wants_it() {
    let mut solo = Solo::new(Config::default());
    let (stream, _) = solo.connect(b"");
    let packet = Packet::parse(&solo.sent[0]).unwrap();
    assert_eq!((packet.send_id, packet.sequence, packet.acked()), (0, 0, None));
    assert_eq!(packet.meant_for(), Some(solo.peer_hash()));
    assert_eq!(packet.from.unwrap().destination().unwrap(), solo.own.destination);
    assert_eq!(packet.max_size, Some(1812));
    let key = ramson_wire::streaming::sign::verify(&solo.sent[0], &solo.own.destination, 0).unwrap();
    assert_eq!(key, *solo.own.destination.signing_key());
    assert!(solo.events.iter().any(|e| matches!(e, Event::Opened { stream: of, .. } if *of == stream)));
    let mut solo = Solo::new(Config::default());
    solo.accept(5, b"x");
    let answer = solo.last();
    assert!(answer.is_syn() && answer.is_signed() && answer.meant_for().is_none());
    assert_eq!((answer.send_id, answer.acked(), answer.nacks().count()), (5, Some(0), 0));
}

#[test]
fn the_smaller_mtu_counts() {
    let mut solo = Solo::new(Config::default());
    let (stream, _) = solo.connect(b"");
    solo.streams.send(solo.now, stream, vec![1; 10_000]);
    solo.drain();
    let largest = solo.sent.iter().map(|packet| Packet::parse(packet).unwrap().payload.len()).max();
    assert_eq!(largest, Some(1730), "the peer's 1730, not our 1812");
}

#[test]
fn a_repeated_syn_ack_is_acknowledged_and_opens_nothing() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"hi");
    let again = solo.sign(&solo.syn_ack(send_id), b"hi");
    let before = solo.sent.len();
    solo.packet(true, again).unwrap();
    solo.pass(30);
    assert_eq!(solo.sent.len(), before + 1);
    let ack = solo.last();
    assert!(ack.is_plain_ack() && ack.acked() == Some(0) && ack.send_id == 99);
    assert_eq!(solo.read(stream), b"hi");
    assert_eq!(solo.events.iter().filter(|e| matches!(e, Event::Opened { .. })).count(), 1);
}

/// i2pd drops a stream of which it has only the SYN when others have come three times, each way. Where hops speak SSU2, each packet
/// is lost or late by itself.
#[test]
fn the_first_packet_goes_again_behind_others_before_i2pd_gives_the_stream_up() {
    let sequences = |solo: &Solo, from: usize| -> Vec<u32> {
        let packets = solo.sent[from..].iter().map(|packet| Packet::parse(packet).unwrap());
        packets.filter(|packet| !packet.is_plain_ack()).map(|packet| packet.sequence).collect()
    };
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    let before = solo.sent.len();
    solo.streams.send(solo.now, stream, vec![7; 1_730 * 3]);
    solo.drain();
    assert_eq!(sequences(&solo, before), [1, 2, 1, 3]);
    // Once it is there, it does not go again.
    solo.packet(true, data(send_id, 0, 1).encode(&[])).unwrap();
    let before = solo.sent.len();
    solo.streams.send(solo.now, stream, vec![7; 1_730 * 3]);
    solo.drain();
    assert!(!sequences(&solo, before).contains(&1), "{:?}", sequences(&solo, before));
}

/// i2pd has given up the stream of its first answer, which came late, and made another one of our SYN that came again.
#[test]
fn a_peer_that_takes_our_syn_twice_is_followed_to_its_second_stream() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    assert_eq!(solo.streams.send(solo.now, stream, b"request".to_vec()), 7);
    solo.drain();
    assert_eq!(solo.last().send_id, 99);
    let second = |solo: &Solo, id| solo.sign(&Outgoing { recv_id: id, ..solo.syn_ack(send_id) }, b"");
    // Somebody else's, or an unsigned one, changes nothing.
    let mut forged = second(&solo, 98);
    *forged.last_mut().unwrap() ^= 1;
    let _ = solo.packet(true, forged);
    solo.pass(3_000);
    assert_eq!(solo.last().send_id, 99);
    let again = second(&solo, 100);
    solo.packet(true, again).unwrap();
    solo.pass(3_000);
    assert_eq!(
        (solo.last().send_id, solo.last().payload),
        (100, &b"request"[..]),
        "what was not acknowledged goes there"
    );
    solo.packet(true, Outgoing { recv_id: 100, ..data(send_id, 1, 1) }.encode(&[b"answer"])).unwrap();
    assert_eq!(solo.read(stream), b"answer");
    // It lives: no later answer takes it away.
    let late = second(&solo, 101);
    assert!(solo.packet(true, late).is_err());
    assert_eq!(solo.events.iter().filter(|e| matches!(e, Event::Opened { .. })).count(), 1);
}

#[test]
fn a_repeated_syn_gets_our_answer_again() {
    let mut solo = Solo::new(Config::default());
    solo.accept(5, b"x");
    let answer = solo.sent.last().unwrap().clone();
    solo.pass(1500);
    let syn = solo.syn(5, b"x");
    solo.packet(true, syn).unwrap();
    assert!(solo.sent.contains(&answer) && solo.last().is_syn());
    assert_eq!(solo.accepted(), 1);
}

/// i2pd ends a stream whose SYN is not there 200 ms after what follows it.
#[test]
fn our_answer_to_a_syn_goes_again_where_more_follows_before_i2pd_gives_it_up() {
    for (acked, wanted) in [(false, 2), (true, 1)] {
        let mut solo = Solo::new(Config::default());
        let (stream, recv_id) = solo.accept(5, b"x");
        solo.streams.send(solo.now, stream, vec![1; 500]);
        solo.pass(10);
        assert!(solo.sent.iter().any(|packet| Packet::parse(packet).unwrap().sequence == 1));
        if acked {
            let ack = Outgoing { send_id: recv_id, recv_id: 5, ack_through: Some(0), ..Outgoing::default() };
            solo.packet(true, ack.encode(&[])).unwrap();
        }
        solo.pass(150);
        let syns = || solo.sent.iter().filter(|packet| Packet::parse(packet).unwrap().is_syn());
        assert_eq!(syns().count(), wanted, "acknowledged: {acked}");
        assert!(syns().all(|syn| Some(syn) == syns().next()));
    }
}

/// i2pd ends a stream at once when two packets have come before its SYN: our answer goes again ahead of the second one.
#[test]
fn our_answer_to_a_syn_goes_again_ahead_of_the_second_packet_behind_it() {
    let sequences = |solo: &Solo| -> Vec<u32> {
        let packets = solo.sent.iter().map(|packet| Packet::parse(packet).unwrap());
        packets.filter(|packet| packet.is_syn() || packet.sequence > 0).map(|packet| packet.sequence).collect()
    };
    let mut solo = Solo::new(Config::default());
    let (stream, _) = solo.accept(5, b"x");
    solo.pass(20);
    assert_eq!(sequences(&solo), [0]);
    solo.streams.send(solo.now, stream, vec![1; 1_812 * 5]);
    solo.drain();
    assert_eq!(sequences(&solo), [0, 1, 0, 2, 1, 3, 0, 4, 5, 1]);
    // Once it is acknowledged, and from who has opened the stream, none goes.
    let mut solo = Solo::new(Config::default());
    let (stream, recv_id) = solo.accept(5, b"x");
    solo.pass(20);
    let ack = Outgoing { send_id: recv_id, recv_id: 5, ack_through: Some(0), ..Outgoing::default() };
    solo.packet(true, ack.encode(&[])).unwrap();
    solo.streams.send(solo.now, stream, vec![1; 1_812 * 5]);
    solo.drain();
    assert_eq!(sequences(&solo), [0, 1, 2, 1, 3, 4, 5, 1]);
}

#[test]
fn plain_acks_have_sequence_0_and_are_not_acknowledged() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    solo.pass(50);
    solo.streams.send(solo.now, stream, vec![1; 5000]);
    solo.drain();
    let sent = solo.sent.len();
    solo.pass(20);
    solo.packet(true, data(send_id, 0, 3).encode(&[])).unwrap();
    assert_eq!(solo.read(stream), b"", "sequence 0 without SYN carries nothing");
    solo.pass(50);
    assert_eq!(solo.sent.len(), sent, "neither acknowledged nor sent again");
}

#[test]
fn i2pd_close_without_signature_counts_from_its_session_only() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    let close = Outgoing { flags: Flags::CLOSE, ..data(send_id, 1, 0) }.encode(&[b"bye"]);
    assert_eq!(solo.packet(false, close.clone()), Err(Error::Unsigned));
    assert!(!solo.finished(stream));
    solo.packet(true, close).unwrap();
    assert!(solo.finished(stream) && solo.read(stream) == b"bye");
}

#[test]
fn java_close_with_signature_counts_without_a_named_session() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    let close = Outgoing { flags: Flags::CLOSE, ..data(send_id, 1, 0) };
    let mut forged = solo.sign(&close, b"bye");
    *forged.last_mut().unwrap() ^= 1;
    solo.packet(false, forged).unwrap();
    assert!(!solo.finished(stream));
    let close = solo.sign(&close, b"bye");
    solo.packet(false, close).unwrap();
    assert!(solo.finished(stream) && solo.read(stream) == b"bye");
}

#[test]
fn syn_with_close_and_data_is_one_packet() {
    let mut solo = Solo::new(Config::default());
    let options = ConnectOptions { wait_for_data: Duration::ZERO, ..ConnectOptions::default() };
    let stream = solo.streams.connect(solo.now, solo.peer_hash(), (80, 7), options).unwrap();
    solo.drain();
    let send_id = solo.last().recv_id;
    let flags = Flags::SYNCHRONIZE.with(Flags::CLOSE);
    let all = solo.sign(&Outgoing { flags, ..solo.syn_ack(send_id) }, b"whole answer");
    solo.packet(true, all).unwrap();
    assert!(solo.read(stream) == b"whole answer" && solo.finished(stream));
}

#[test]
fn data_that_overtakes_the_syn_ack_waits_for_it() {
    let mut solo = Solo::new(Config::default());
    let options = ConnectOptions { wait_for_data: Duration::ZERO, ..ConnectOptions::default() };
    let stream = solo.streams.connect(solo.now, solo.peer_hash(), (80, 7), options).unwrap();
    solo.drain();
    let send_id = solo.last().recv_id;
    solo.packet(true, data(send_id, 1, 0).encode(&[b"two"])).unwrap();
    assert_eq!(solo.read(stream), b"");
    let syn_ack = solo.sign(&solo.syn_ack(send_id), b"one");
    solo.packet(true, syn_ack).unwrap();
    assert_eq!(solo.read(stream), b"onetwo");
}

#[test]
fn data_that_overtakes_the_syn_waits_for_it() {
    let mut solo = Solo::new(Config::default());
    let early = Outgoing { recv_id: 5, sequence: 1, ..Outgoing::default() }.encode(&[b"two"]);
    solo.packet(true, early.clone()).unwrap();
    let syn = solo.syn(5, b"one");
    solo.packet(true, syn).unwrap();
    let Event::Accepted { stream, .. } = solo.events[0] else { panic!() };
    assert_eq!(solo.read(stream), b"onetwo");
    let late = Outgoing { recv_id: 5, sequence: 2, ..Outgoing::default() }.encode(&[b"three"]);
    solo.packet(false, late).unwrap();
    assert_eq!(solo.read(stream), b"onetwothree", "our id is unknown to the peer until our answer arrives");
}

#[test]
fn java_chokes_with_61000_and_unchokes_by_option() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    solo.streams.send(solo.now, stream, vec![1; 100_000]);
    solo.drain();
    solo.pass(20);
    let choke = Outgoing { delay: Some(61_000), ..data(send_id, 0, 2) }.encode(&[]);
    solo.packet(true, choke.clone()).unwrap();
    let before = solo.sent.len();
    solo.pass(900);
    assert_eq!(solo.sent.len(), before, "nothing while choked");
    solo.pass(2000);
    assert!((before + 1..=before + 3).contains(&solo.sent.len()), "probes: {}", solo.sent.len() - before);
    let unchoke = Outgoing { delay: Some(0), ..data(send_id, 0, 2) }.encode(&[]);
    solo.packet(true, unchoke).unwrap();
    solo.pass(1000);
    assert!(solo.sent.len() > before + 4, "{}", solo.sent.len() - before);
}

#[test]
fn a_choked_stream_lives_as_long_as_the_peer_answers() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    solo.streams.send(solo.now, stream, vec![1; 100_000]);
    solo.drain();
    let choke = Outgoing { delay: Some(61_000), ..data(send_id, 0, 2) }.encode(&[]);
    for _ in 0..60 {
        solo.packet(true, choke.clone()).unwrap();
        solo.pass(10_000);
    }
    assert_eq!(solo.failed(stream), None);
    solo.pass(400_000);
    assert_eq!(solo.failed(stream), Some(Error::TimedOut));
}

#[test]
fn i2pd_65535_slows_down_and_lets_the_hole_be_filled() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    solo.streams.send(solo.now, stream, vec![1; 100_000]);
    solo.drain();
    solo.pass(100);
    // The first data packet is missing at the peer, which threw away what came too far behind it.
    let choke = Outgoing { delay: Some(65_535), nacks: &[1], ..data(send_id, 0, 9) }.encode(&[]);
    let before = solo.sent.len();
    solo.packet(true, choke).unwrap();
    solo.pass(300);
    let again = solo.sent[before..].iter().any(|packet| Packet::parse(packet).unwrap().sequence == 1);
    assert!(again, "the lost packet comes although the peer said 65535");
}

#[test]
fn i2pd_asks_for_a_sign_of_life_with_a_delay_of_0() {
    let mut solo = Solo::new(Config::default());
    let (_, send_id) = solo.connect(b"");
    solo.pass(100);
    let before = solo.sent.len();
    solo.packet(true, Outgoing { delay: Some(0), ..data(send_id, 0, 0) }.encode(&[])).unwrap();
    solo.pass(50);
    assert_eq!(solo.sent.len(), before + 1);
    assert!(solo.last().is_plain_ack() && solo.last().delay.is_none(), "no question in return");
}

#[test]
fn a_peer_that_forgot_us_after_its_close_does_not_fail_ours() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    let close = Outgoing { flags: Flags::CLOSE, ..data(send_id, 1, 0) };
    let close = solo.sign(&close, b"");
    solo.packet(true, close).unwrap();
    solo.streams.close(solo.now, stream);
    solo.drain();
    solo.pass(300_000);
    assert_eq!(solo.failed(stream), None);
    assert!(solo.events.iter().any(|event| matches!(event, Event::Closed { stream: of } if *of == stream)));
    assert!(solo.streams.is_empty());
}

#[test]
fn an_unsigned_syn_counts_only_when_wanted_and_named() {
    let mut solo = Solo::new(Config { unsigned_syn: true, ..Config::default() });
    let from = solo.peer.destination.clone();
    let flags = Flags::SYNCHRONIZE;
    let syn = Outgoing { recv_id: 5, flags, from: Some(&from), ..Outgoing::default() }.encode(&[b"x"]);
    assert_eq!(solo.packet(false, syn.clone()), Err(Error::Unsigned));
    solo.packet(true, syn).unwrap();
    assert_eq!(solo.accepted(), 1);
}

#[test]
fn java_packets_larger_than_our_mtu_are_read() {
    let mut solo = Solo::new(Config { mtu: 512, ..Config::default() });
    let (stream, _) = solo.accept(5, &[7; 4000]);
    assert_eq!(solo.read(stream), [7; 4000]);
}

#[test]
fn a_refusal_without_our_knowing_the_keys_counts_from_the_session() {
    let mut solo = Solo::new(Config::default());
    let options = ConnectOptions { wait_for_data: Duration::ZERO, ..ConnectOptions::default() };
    let stream = solo.streams.connect(solo.now, solo.peer_hash(), (80, 7), options).unwrap();
    solo.drain();
    let send_id = solo.last().recv_id;
    let reset = Outgoing { send_id, flags: Flags::RESET, ..Outgoing::default() };
    let reset = solo.sign(&reset, b"");
    assert_eq!(solo.packet(false, reset.clone()), Err(Error::Unsigned));
    solo.packet(true, reset).unwrap();
    assert_eq!(solo.failed(stream), Some(Error::Reset));
}

/// Java's acknowledgement of all up to `through` but `missing`, of which it counts the last byte of the number.
fn from_java(send_id: u32, through: u32, missing: &[u32]) -> Vec<u8> {
    let mut bytes = data(send_id, 0, through).encode(&[]);
    let tail = bytes.split_off(17);
    bytes[16] = (missing.len() % 256) as u8;
    bytes.extend(missing.iter().flat_map(|sequence| sequence.to_be_bytes()));
    [bytes, tail].concat()
}

/// A whole burst of a large window is lost, and all that Java says from then on names more packets than it can count.
#[test]
fn what_java_misses_beyond_255_packets_comes_again() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.connect(b"");
    let newest = |solo: &Solo| solo.sent.iter().map(|p| Packet::parse(p).unwrap().sequence).max().unwrap();
    let (mut round, mut acked) = (0, 0);
    while newest(&solo) - acked < 400 {
        round += 1;
        assert!(round < 200, "the window does not grow: {} under way", newest(&solo) - acked);
        acked = newest(&solo);
        solo.streams.send(solo.now, stream, vec![1; 1_000_000]);
        solo.drain();
        solo.packet(true, data(send_id, 0, acked).encode(&[])).unwrap();
        solo.pass(100);
    }
    let last = newest(&solo);
    let mut missing: Vec<u32> = (acked + 1..=acked + 300).collect();
    assert!(last > acked + 330);
    for _ in 0..100 {
        let before = solo.sent.len();
        solo.packet(true, from_java(send_id, last, &missing)).unwrap();
        solo.pass(100);
        let came: Vec<u32> = solo.sent[before..].iter().map(|p| Packet::parse(p).unwrap().sequence).collect();
        missing.retain(|sequence| !came.contains(sequence));
        if missing.is_empty() {
            return;
        }
    }
    panic!("{} packets never came again", missing.len());
}
