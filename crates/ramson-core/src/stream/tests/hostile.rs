//! What a hostile peer may try, by the rows of the threat list.

use super::pair::{Link, Pair, pattern};
use super::solo::Solo;
use super::*;
use crate::limits::stream as limits;
use proptest::prelude::*;
use ramson_wire::streaming::{Flags, Outgoing, Packet};

#[test]
fn t90_syn_without_signature_or_destination_or_for_somebody_else() {
    let mut solo = Solo::new(Config::default());
    let from = solo.peer.destination.clone();
    let bare = Outgoing { recv_id: 5, flags: Flags::SYNCHRONIZE, ..Outgoing::default() };
    assert!(matches!(solo.packet(true, bare.encode(&[])), Err(Error::Malformed(_))), "no destination");
    let unsigned = Outgoing { from: Some(&from), ..bare };
    assert_eq!(solo.packet(true, unsigned.encode(&[])), Err(Error::Unsigned));
    let replayed = Outgoing { meant_for: Some(Hash([3; 32])), ..unsigned };
    let replayed = solo.sign(&replayed, b"");
    assert_eq!(solo.packet(true, replayed), Err(Error::Forged));
    let mut changed = solo.syn(5, b"hello");
    *changed.last_mut().unwrap() ^= 1;
    solo.packet(true, changed).unwrap();
    let large = solo.syn(5, &[0; 65_536]);
    assert_eq!(solo.packet(true, large), Err(Error::TooLarge));
    let other = solo.syn(5, b"");
    let result = solo.streams.handle_packet(solo.now, Some(Hash([9; 32])), 7, 80, other);
    assert_eq!(result, Err(Error::Forged), "the session names somebody else");
    solo.drain();
    assert!(solo.streams.is_empty() && solo.events.is_empty());
}

#[test]
fn packets_beyond_the_limit_are_dropped() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.accept(5, b"x");
    for (sequence, len) in [(1, limits::MAX_PACKET), (2, 60_000)] {
        let out = Outgoing { send_id, recv_id: 5, sequence, ack_through: Some(0), ..Outgoing::default() };
        let header = out.encode(&[]).len();
        assert_eq!(solo.packet(true, out.encode(&[&vec![7; len - header]])).is_ok(), len == limits::MAX_PACKET);
        let longer = out.encode(&[&vec![7; len - header + 1]]);
        assert_eq!(solo.packet(true, longer), Err(Error::TooLarge));
    }
    solo.drain();
    assert!(solo.read(stream).len() < limits::MAX_PACKET);
}

#[test]
fn t91_impossible_acknowledgements_and_delays_change_nothing() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.accept(5, b"x");
    solo.streams.send(solo.now, stream, vec![1; 50_000]);
    solo.drain();
    let nacks: Vec<u32> = (0..255).map(|n| n * 16_843_009).collect();
    for ack in [1_000, u32::MAX, 0x8000_0000] {
        for sequence in [0, 1, u32::MAX, 0x7fff_ffff] {
            let out = Outgoing { send_id, recv_id: 5, sequence, ack_through: Some(ack), ..Outgoing::default() };
            let out = Outgoing { nacks: &nacks, resend_delay: 255, delay: Some(60_001), ..out };
            let _ = solo.packet(true, out.encode(&[b"data"]));
        }
    }
    solo.pass(1000);
    assert_eq!(solo.failed(stream), None);
}

#[test]
fn t91_a_receiver_that_never_acknowledges_gets_little() {
    let mut solo = Solo::new(Config::default());
    let (stream, _) = solo.accept(5, b"x");
    solo.streams.send(solo.now, stream, vec![1; 400_000]);
    solo.drain();
    solo.pass(600_000);
    assert_eq!(solo.failed(stream), Some(Error::TimedOut));
    assert!(solo.sent.len() < 150, "{} packets into nothing", solo.sent.len());
    assert!(solo.streams.is_empty());
}

#[test]
fn t92_holes_over_many_streams_stay_within_the_budget() {
    let config = Config { max_streams: 4096, ..Config::default() };
    let mut solo = Solo::new(config);
    let mut ids = Vec::new();
    for n in 1..=100 {
        ids.push((n, solo.accept(n, b"").1));
        solo.pass(60); // within the rate of one peer
    }
    let mut taken = 0usize;
    for (recv_id, send_id) in ids {
        for sequence in 2..600 {
            let out = Outgoing { send_id, recv_id, sequence, ack_through: Some(0), ..Outgoing::default() };
            solo.packet(true, out.encode(&[&[0; 1812]])).unwrap();
            taken += 1812;
        }
        solo.sent.clear();
    }
    let (held, early) = solo.streams.held_bytes();
    assert!(taken > 3 * limits::EARLY_TOTAL / 2, "the test offers more than fits");
    assert!(held <= limits::RECEIVE_TOTAL && early <= limits::EARLY_TOTAL, "{held} {early}");
    assert!(early > limits::EARLY_TOTAL / 2, "and reaches the limit's order: {early}");
    solo.pass(3_600_000);
    assert_eq!((solo.streams.len(), solo.streams.held_bytes()), (0, (0, 0)), "nothing stays");
}

#[test]
fn t93_forged_ids_and_unsigned_resets_are_ignored() {
    let mut solo = Solo::new(Config::default());
    let (stream, send_id) = solo.accept(5, b"x");
    let reset = |send_id, recv_id| Outgoing { send_id, recv_id, flags: Flags::RESET, ..Outgoing::default() };
    assert_eq!(solo.packet(false, reset(send_id, 5).encode(&[])), Err(Error::Unsigned));
    assert_eq!(solo.packet(true, reset(send_id, 5).encode(&[])), Err(Error::Unsigned));
    for id in 1..5000 {
        let _ = solo.packet(false, reset(id, 5).encode(&[]));
        let _ = solo.packet(false, Outgoing { flags: Flags::CLOSE, ..reset(id, 5) }.encode(&[]));
    }
    let wrong_remote = solo.sign(&reset(send_id, 6), b"");
    assert_eq!(solo.packet(true, wrong_remote), Err(Error::Forged));
    let stranger = local(3);
    let by_stranger = ramson_wire::streaming::sign::Unsigned::new(&reset(send_id, 5), &[]).sign(&stranger.key);
    assert_eq!(
        solo.streams.handle_packet(solo.now, Some(stranger.destination.hash()), 7, 80, by_stranger.clone()),
        Err(Error::Forged)
    );
    solo.packet(false, by_stranger).unwrap();
    assert_eq!(solo.failed(stream), None);
    let genuine = solo.sign(&reset(send_id, 5), b"");
    solo.packet(false, genuine).unwrap();
    assert_eq!(solo.failed(stream), Some(Error::Reset));
}

#[test]
fn t94_a_flood_of_syns_from_one_peer_leaves_room_for_others() {
    let mut solo = Solo::new(Config::default());
    let mut refused = 0;
    for id in 1..100_000 {
        // Verified work is bounded before any signature is looked at, so one good signature will do.
        if id < 300 {
            let syn = solo.syn(id, b"");
            refused += u32::from(solo.packet(true, syn).is_err());
        } else {
            let from = solo.peer.destination.clone();
            let out = Outgoing { recv_id: id, flags: Flags::SYNCHRONIZE, from: Some(&from), ..Outgoing::default() };
            let out = Outgoing { signature_len: Some(64), ..out };
            refused += u32::from(solo.packet(true, out.encode(&[])).is_err());
        }
    }
    assert!(refused > 99_000 && solo.streams.len() <= limits::SYNS_PER_PEER.1 as usize, "{refused}");
    let friend = local(3);
    let (own, now) = (solo.own.destination.hash(), solo.now);
    let out = Outgoing { recv_id: 5, meant_for: Some(own), flags: Flags::SYNCHRONIZE, ..Outgoing::default() };
    let out = Outgoing { from: Some(&friend.destination), ..out };
    let syn = ramson_wire::streaming::sign::Unsigned::new(&out, &[]).sign(&friend.key);
    let before = solo.accepted();
    solo.streams.handle_packet(now, None, 7, 80, syn).unwrap();
    solo.drain();
    assert_eq!(solo.accepted(), before + 1);
}

#[test]
fn t94_jobs_and_streams_have_a_limit() {
    let mut solo = Solo::new(Config { max_streams: 10, ..Config::default() });
    let mut taken = 0;
    for id in 1..200 {
        let syn = solo.syn(id, b"");
        // No job is run, so all of them wait.
        taken += u32::from(solo.streams.handle_packet(solo.now, None, 7, 80, syn).is_ok());
    }
    assert_eq!(taken as usize, limits::MAX_VERIFYING);
    solo.drain();
    assert_eq!((solo.accepted(), solo.streams.len()), (10, 10));
    let resets = solo.sent.iter().filter(|packet| Packet::parse(packet).unwrap().is_reset()).count();
    assert_eq!(resets, limits::RESETS.1 as usize, "refusals are rare");
    let to = solo.peer_hash();
    assert_eq!(solo.streams.connect(solo.now, to, (1, 2), ConnectOptions::default()), Err(Error::Limit));
}

#[test]
fn t94_packets_of_unknown_streams_are_bounded() {
    let mut solo = Solo::new(Config::default());
    for id in 1..10_000 {
        let out = Outgoing { recv_id: id, sequence: 1, ..Outgoing::default() };
        let _ = solo.packet(false, out.encode(&[&[0; 10_000]]));
    }
    let (count, bytes) = solo.streams.orphans();
    assert!(count <= limits::MAX_ORPHANS && bytes <= limits::MAX_ORPHAN_BYTES, "{count} {bytes}");
    assert!(count > 10);
}

#[test]
fn t94_syns_of_many_peers_are_counted_within_bounds() {
    let mut solo = Solo::new(Config::default());
    let mut taken = 0;
    for n in 0..limits::MAX_COUNTED_PEERS as u32 + 500 {
        // Any key makes a destination; its signature is never right.
        let key = ramson_wire::crypto::sign::VerifyingKey::ed25519([n.to_be_bytes(); 8].concat().try_into().unwrap());
        let from = Destination::new(key, &mut crate::rng::Rng::from_seed([7; 32]));
        let out = Outgoing { recv_id: 5, flags: Flags::SYNCHRONIZE, from: Some(&from), ..Outgoing::default() };
        let bytes = Outgoing { signature_len: Some(64), ..out }.encode(&[]);
        taken += u32::from(solo.packet(false, bytes).is_ok());
    }
    assert_eq!(taken, limits::SYNS.1);
    assert_eq!(solo.streams.counted_peers(), limits::MAX_COUNTED_PEERS);
    assert_eq!(solo.accepted(), 0);
}

#[test]
fn t94_packets_before_the_answer_to_our_syn_are_bounded() {
    let mut solo = Solo::new(Config::default());
    let options = ConnectOptions { wait_for_data: Duration::ZERO, ..ConnectOptions::default() };
    solo.streams.connect(solo.now, solo.peer_hash(), (80, 7), options).unwrap();
    solo.drain();
    let send_id = solo.last().recv_id;
    let early = |sequence| Outgoing { send_id, recv_id: 99, sequence, ..Outgoing::default() }.encode(&[&[0; 1000]]);
    let taken = (1..1000).filter(|n| solo.packet(true, early(*n)).is_ok()).count();
    assert_eq!(taken, limits::MAX_HELD);
}

#[test]
fn the_oldest_ping_is_forgotten_beyond_the_limit() {
    let mut solo = Solo::new(Config::default());
    let nonces: Vec<u32> =
        (0..=limits::MAX_PINGS).map(|_| solo.streams.ping(solo.peer.destination.hash(), (80, 7), b"")).collect();
    let pong = |nonce| Outgoing { recv_id: nonce, flags: Flags::ECHO, ..Outgoing::default() }.encode(&[]);
    assert_eq!(solo.packet(true, pong(nonces[0])), Err(Error::UnknownStream));
    assert_eq!(solo.packet(true, pong(nonces[1])), Ok(()));
}

#[test]
fn t94_a_replayed_syn_opens_no_second_stream() {
    let mut solo = Solo::new(Config::default());
    let (stream, _) = solo.accept(5, b"buy one");
    solo.streams.reset(solo.now, stream);
    solo.drain();
    let syn = solo.syn(5, b"buy one");
    assert_eq!(solo.packet(true, syn), Err(Error::UnknownStream));
    assert_eq!(solo.accepted(), 1);
}

#[test]
fn t95_pings_are_few_signed_and_not_amplified() {
    let mut solo = Solo::new(Config::default());
    let from = solo.peer.destination.clone();
    let ping = Outgoing { send_id: 77, flags: Flags::ECHO, from: Some(&from), ..Outgoing::default() };
    assert_eq!(solo.packet(true, ping.encode(&[b"hello"])), Err(Error::Unsigned));
    let signed = solo.sign(&ping, &[5; 10_000]);
    for _ in 0..1000 {
        let _ = solo.packet(true, signed.clone());
    }
    assert_eq!(solo.sent.len(), limits::ECHOES.1 as usize);
    let pong = solo.last();
    assert!(pong.is_echo() && (pong.send_id, pong.recv_id) == (0, 77));
    assert_eq!(pong.payload, [5; 32]);
    let huge = solo.sign(&ping, &[5; 32 * 1024]);
    assert_eq!(solo.packet(true, huge), Err(Error::TooLarge));
    let quiet = Solo::new(Config { answer_pings: false, ..Config::default() });
    let mut quiet = quiet;
    assert_eq!(quiet.packet(true, signed), Err(Error::Limit));
}

#[test]
fn our_ping_is_answered_once() {
    let mut solo = Solo::new(Config::default());
    let nonce = solo.streams.ping(solo.peer_hash(), (80, 7), b"there?");
    solo.drain();
    let ping = solo.last();
    assert!(ping.is_echo() && ping.is_signed() && ping.from.is_some() && ping.send_id == nonce);
    let pong = Outgoing { recv_id: nonce, flags: Flags::ECHO, ..Outgoing::default() }.encode(&[b"there?"]);
    let other = Outgoing { recv_id: nonce ^ 1, flags: Flags::ECHO, ..Outgoing::default() }.encode(&[]);
    assert_eq!(solo.packet(true, other), Err(Error::UnknownStream));
    solo.packet(true, pong.clone()).unwrap();
    assert!(matches!(&solo.events[0], Event::Pong { nonce: n, payload, .. } if *n == nonce && payload == b"there?"));
    assert_eq!(solo.packet(true, pong), Err(Error::UnknownStream));
}

#[test]
fn t96_any_mtu_in_a_syn_works() {
    for mtu in [0, 1, 511, 65_535] {
        let mut solo = Solo::new(Config::default());
        let from = solo.peer.destination.clone();
        let own = solo.own.destination.hash();
        let out = Outgoing { recv_id: 5, meant_for: Some(own), flags: Flags::SYNCHRONIZE, ..Outgoing::default() };
        let syn = solo.sign(&Outgoing { from: Some(&from), max_size: Some(mtu), ..out }, b"");
        solo.packet(true, syn).unwrap();
        let Event::Accepted { stream, .. } = solo.events[0] else { panic!() };
        solo.streams.send(solo.now, stream, vec![1; 20_000]);
        solo.drain();
        solo.pass(100);
        let largest = solo.sent.iter().map(|packet| Packet::parse(packet).unwrap().payload.len()).max().unwrap();
        assert_eq!(largest, usize::from(mtu.clamp(512, 1812)));
    }
}

#[test]
fn a_flooding_sender_loses_only_its_own_stream() {
    // One program does not read; the other's stream goes on.
    let mut pair =
        Pair::new(1, Link::plain(20), [Config::default(), Config { receive_buffer: 60_000, ..Config::default() }]);
    pair.ends[1].read_by_hand = true;
    let stuck = pair.open(pattern(1, 400_000), true);
    pair.run(5, |_| false);
    pair.ends[1].read_by_hand = false;
    let free = pair.open(pattern(2, 400_000), true);
    assert!(pair.run(60, |pair| pair.program(0, free).closed));
    assert!(!pair.program(0, stuck).closed && pair.program(0, stuck).failed.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_packets_on_an_open_stream_never_panic(
        packets in prop::collection::vec(
            (any::<(u8, u8, u8, u16)>(), prop::collection::vec(any::<u8>(), 0..40), any::<(bool, bool, u16)>()), 1..40
        ),
    ) {
        let mut solo = Solo::new(Config::default());
        let (stream, send_id) = solo.accept(5, b"x");
        solo.streams.send(solo.now, stream, vec![1; 30_000]);
        for ((sequence, ack, nack, flags), payload, (known, mine, ms)) in packets {
            let nacks = [nack.into(), u32::from(ack).wrapping_sub(1)];
            let out = Outgoing {
                send_id: if mine { send_id } else { 0 },
                recv_id: 5,
                sequence: sequence.into(),
                ack_through: Some(ack.into()),
                nacks: if nack & 1 == 0 { &nacks } else { &[] },
                delay: (nack & 2 == 0).then_some(flags),
                flags: Flags(flags & 0x0716),
                ..Outgoing::default()
            };
            let bytes = if nack & 4 == 0 { solo.sign(&out, &payload) } else { out.encode(&[&payload]) };
            let _ = solo.packet(known, bytes);
            solo.pass(u64::from(ms) / 8);
        }
        let (held, early) = solo.streams.held_bytes();
        prop_assert!(held <= 2 << 20 && early <= held);
    }
}
