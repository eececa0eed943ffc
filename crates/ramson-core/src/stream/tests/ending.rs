//! What becomes of streams when their destination goes, and what is remembered of those that have ended.

use super::solo::Solo;
use super::*;
use crate::limits::stream as limits;
use ramson_wire::streaming::{Flags, Outgoing, Packet};

/// The peer acknowledges `through`.
fn acknowledge(solo: &mut Solo, send_id: u32, recv_id: u32, through: u32) {
    let ack = Outgoing { send_id, recv_id, ack_through: Some(through), ..Outgoing::default() }.encode(&[]);
    solo.packet(true, ack).unwrap();
}

/// Ends all streams, and returns whether CLOSE and RESET were sent to each peer's stream id.
fn end_all(solo: &mut Solo, unsent: Option<StreamId>) -> Vec<(u32, bool, bool)> {
    solo.sent.clear();
    assert!(solo.streams.end_all(solo.now, |stream| unsent == Some(stream)));
    solo.drain();
    solo.pass(100);
    let packets = solo.sent.iter().map(|packet| Packet::parse(packet).unwrap());
    packets.map(|packet| (packet.send_id, packet.is_close(), packet.is_reset())).collect()
}

/// No peer takes for whole what a program has not ended.
#[test]
fn a_destination_that_goes_resets_what_its_programs_have_not_ended() {
    let mut solo = Solo::new(Config::default());
    let (_quiet, quiet_id) = solo.accept(1, b"");
    acknowledge(&mut solo, quiet_id, 1, 0);
    let (sending, sending_id) = solo.accept(2, b"");
    acknowledge(&mut solo, sending_id, 2, 0);
    solo.streams.send(solo.now, sending, vec![7; 100]);
    let (unread, unread_id) = solo.accept(3, b"not read");
    acknowledge(&mut solo, unread_id, 3, 0);
    solo.streams.close(solo.now, unread);
    let (unsent, unsent_id) = solo.accept(4, b"");
    acknowledge(&mut solo, unsent_id, 4, 0);
    solo.streams.close(solo.now, unsent);
    let options = ConnectOptions { wait_for_data: Duration::ZERO, ..ConnectOptions::default() };
    solo.streams.connect(solo.now, Hash([1; 32]), (0, 80), options).unwrap();
    let mut told = end_all(&mut solo, Some(unsent));
    told.retain(|(_, _, reset)| *reset);
    told.sort_unstable();
    assert_eq!(told, [1, 2, 3, 4].map(|id| (id, false, true)));
    assert!(solo.streams.is_empty());
    assert!(!solo.streams.abort_all(solo.now), "nobody is left");
}

/// What a program has written and ended arrives, if its peer acknowledges it in time.
#[test]
fn a_destination_that_goes_delivers_what_its_programs_have_ended() {
    for in_time in [true, false] {
        let mut solo = Solo::new(Config::default());
        let (ended, ended_id) = solo.accept(1, b"");
        acknowledge(&mut solo, ended_id, 1, 0);
        solo.streams.send(solo.now, ended, vec![7; 100]);
        solo.streams.close(solo.now, ended);
        let told = end_all(&mut solo, None);
        assert!(told.iter().any(|(_, close, _)| *close) && !told.iter().any(|(_, _, reset)| *reset), "{told:?}");
        let last = solo.sent.iter().map(|packet| Packet::parse(packet).unwrap().sequence).max().unwrap();
        if in_time {
            acknowledge(&mut solo, ended_id, 1, last);
            let (sequence, flags) = (1, Flags::CLOSE);
            let out = Outgoing { send_id: ended_id, recv_id: 1, sequence, flags, ..Outgoing::default() };
            let close = solo.sign(&out, b"");
            solo.packet(true, close).unwrap();
            let closed = |event: &Event| matches!(event, Event::Closed { stream } if *stream == ended);
            assert!(solo.events.iter().any(closed));
        }
        solo.sent.clear();
        assert_eq!(solo.streams.abort_all(solo.now), !in_time);
        solo.drain();
        solo.pass(100);
        let resets = solo.sent.iter().filter(|packet| Packet::parse(packet).unwrap().is_reset()).count();
        assert_eq!(resets, usize::from(!in_time), "the peer sees that it is not whole");
    }
}

#[test]
fn a_destination_that_goes_takes_no_new_streams() {
    let mut solo = Solo::new(Config::default());
    assert!(!solo.streams.end_all(solo.now, |_| false), "nobody has to be told");
    let syn = solo.syn(5, b"late");
    solo.packet(true, syn).unwrap();
    assert_eq!(solo.accepted(), 0);
    assert!(solo.last().is_reset());
}

/// The oldest of the streams that have ended makes room; a late SYN opens none of the others again.
#[test]
fn ended_streams_are_remembered_up_to_the_limit() {
    let mut solo = Solo::new(Config::default());
    let count = limits::MAX_PAST as u32 + 1;
    for recv_id in 1..=count {
        // Slowly, so that no SYN is one too many.
        solo.pass(60);
        let (stream, _) = solo.accept(recv_id, b"");
        solo.streams.reset(solo.now, stream);
        solo.drain();
        solo.events.clear();
        solo.sent.clear();
        assert!(solo.streams.remembered().0 <= limits::MAX_PAST);
    }
    assert_eq!(solo.streams.remembered().0, limits::MAX_PAST);
    let late = solo.syn(2, b"");
    assert_eq!(solo.packet(true, late), Err(Error::UnknownStream));
    let late = solo.syn(1, b"");
    assert_eq!(solo.packet(true, late), Ok(()), "it was forgotten");
    assert_eq!(solo.accepted(), 1);
}

/// Round trips are remembered of so many peers; the oldest makes room.
#[test]
fn paths_are_remembered_up_to_the_limit() {
    let mut solo = Solo::new(Config::default());
    for n in 0..=limits::MAX_PATHS {
        solo.peer = local_of(n);
        solo.pass(100);
        let (stream, send_id) = solo.accept(9, b"");
        solo.pass(50);
        acknowledge(&mut solo, send_id, 9, 0);
        solo.streams.reset(solo.now, stream);
        solo.drain();
        assert_eq!(solo.streams.remembered().1, (n + 1).min(limits::MAX_PATHS));
    }
}

/// The destination and key of the `n`th peer.
fn local_of(n: usize) -> Local {
    let mut seed = [77; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let key = SigningKey::from_seed(seed);
    let destination = Destination::new(key.verifying_key(), &mut Rng::from_seed(seed));
    Local { destination, key: Arc::new(key), offline: None }
}

/// What programs write is bounded over all streams: beyond, each takes a little, and what the peers have makes room.
#[test]
fn p38_what_programs_write_stays_within_the_budget() {
    let mut solo = Solo::new(Config { max_streams: 4096, ..Config::default() });
    let mut streams = Vec::new();
    for n in 1..=400 {
        streams.push(solo.accept(n, b"").0);
        solo.pass(60);
    }
    let full = limits::SEND_TOTAL / limits::SEND_BUFFER;
    for (n, stream) in streams.iter().enumerate() {
        let taken = solo.streams.send(solo.now, *stream, vec![1; 1 << 20]);
        let wanted = if n < full { limits::SEND_BUFFER } else { limits::SEND_LEAST };
        assert_eq!(taken, wanted, "stream {n}");
    }
    assert!(solo.streams.sending_bytes() <= limits::SEND_TOTAL + 400 * limits::SEND_LEAST);
    for stream in streams {
        solo.streams.reset(solo.now, stream);
    }
    assert_eq!(solo.streams.sending_bytes(), 0);
}

/// A peer that goes away after we have closed our direction, with the rest of its own still to come.
#[test]
fn a_program_that_still_reads_hears_that_the_peer_is_gone() {
    for reads in [true, false] {
        let mut solo = Solo::new(Config::default());
        let (stream, send_id) = solo.accept(5, b"the first half");
        acknowledge(&mut solo, send_id, 5, 0);
        solo.streams.close(solo.now, stream);
        if !reads {
            solo.streams.discard(solo.now, stream);
        }
        solo.drain();
        solo.pass(600_000);
        assert_eq!(solo.failed(stream), reads.then_some(Error::TimedOut));
        let closed = |event: &Event| matches!(event, Event::Closed { .. });
        assert_eq!(solo.events.iter().filter(|event| closed(event)).count(), usize::from(!reads));
        assert!(solo.streams.is_empty());
    }
}
