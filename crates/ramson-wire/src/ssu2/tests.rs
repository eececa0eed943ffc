//! What goes through headers and blocks comes back, and what is no packet is refused.

use super::*;
use crate::codec::Write;
use crate::data::Hash;
use crate::i2np::Kind;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

fn v4() -> SocketAddr {
    "1.2.3.4:999".parse().unwrap()
}

fn v6() -> SocketAddr {
    "[2a00::1]:1000".parse().unwrap()
}

fn all(payload: &[u8]) -> Vec<Block<'_>> {
    Blocks::new(payload).collect::<Result<_, _>>().unwrap()
}

#[test]
fn blocks_round_trip() {
    let mut out = Vec::new();
    Block::encode_date_time(&mut out, 77);
    let info = RouterInfoBlock { flood: true, gzip: false, data: b"ri" };
    info.encode(&mut out);
    Block::encode_i2np_header(&mut out, 10);
    out.put(b"\x01\0\0\0\x02\0\0\0\x03b");
    let first = FirstFragment { kind: Kind::GARLIC, id: 5, expiration: 6, data: b"abc" };
    first.encode(&mut out);
    let follow_on = FollowOnFragment { number: 127, last: true, id: 5, data: b"de" };
    follow_on.encode(&mut out);
    Block::encode_address(&mut out, &v4());
    Block::encode_address(&mut out, &v6());
    Block::encode_relay_tag_request(&mut out);
    Block::encode_relay_tag(&mut out, 9);
    let token = NewToken { expires: 1, token: u64::MAX };
    token.encode(&mut out);
    Block::encode_path_challenge(&mut out, b"12345678");
    Block::encode_path_response(&mut out, b"12345678");
    let congestion = Congestion { immediate_ack: true, ecn: false };
    congestion.encode(&mut out);
    out.put(&[99, 0, 1, 5]);
    let termination = Termination { packets_received: 8, reason: TerminationReason::REPLACED_BY_NEW_SESSION };
    termination.encode(&mut out);
    Block::encode_padding(&mut out, 4);
    let expected = [
        Block::DateTime(77),
        Block::RouterInfo(info),
        Block::I2np(b"\x01\0\0\0\x02\0\0\0\x03b"),
        Block::FirstFragment(first),
        Block::FollowOnFragment(follow_on),
        Block::Address(v4()),
        Block::Address(v6()),
        Block::RelayTagRequest,
        Block::RelayTag(9),
        Block::NewToken(token),
        Block::PathChallenge(b"12345678"),
        Block::PathResponse(b"12345678"),
        Block::Congestion(congestion),
        Block::Unknown(99),
        Block::Termination(termination),
        Block::Padding(4),
    ];
    assert_eq!(all(&out), expected);
}

#[test]
fn sizes_are_as_told() {
    let len = |put: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        put(&mut out);
        out.len()
    };
    assert_eq!(len(&|out| Block::encode_date_time(out, 1)), 7);
    assert_eq!(len(&|out| Block::encode_address(out, &v4())), 9);
    assert_eq!(len(&|out| Block::encode_address(out, &v6())), 21);
    assert_eq!(len(&|out| Block::encode_relay_tag_request(out)), 3);
    assert_eq!(len(&|out| Block::encode_relay_tag(out, 1)), 7);
    assert_eq!(len(&|out| NewToken { expires: 0, token: 1 }.encode(out)), NewToken::LEN);
    assert_eq!(len(&|out| Congestion { immediate_ack: true, ecn: true }.encode(out)), Congestion::LEN);
    let termination = Termination { packets_received: 0, reason: TerminationReason::NORMAL };
    assert_eq!(len(&|out| termination.encode(out)), Termination::LEN);
    let first = FirstFragment { kind: Kind::DATA, id: 0, expiration: 0, data: b"x" };
    assert_eq!(len(&|out| first.encode(out)), FirstFragment::OVERHEAD + 1);
    let follow_on = FollowOnFragment { number: 1, last: false, id: 0, data: b"x" };
    assert_eq!(len(&|out| follow_on.encode(out)), FollowOnFragment::OVERHEAD + 1);
    for before in 0..12 {
        let mut out = vec![0; 5 + before];
        Block::pad_to_min(&mut out, 5);
        assert!(out.len() - 5 >= PAYLOAD_MIN && (before < 8 || out.len() == 5 + before), "{before}");
    }
}

/// Threats T54: sizes beyond the payload, fragments that carry nothing or a number that cannot be.
#[test]
fn t54_lengths_and_fields_out_of_range_are_refused() {
    let refused = |payload: &[u8]| assert!(Blocks::new(payload).any(|b| b.is_err()), "{payload:x?}");
    for kind in 0..=255 {
        refused(&[kind, 0, 9, 1, 2, 3]);
        refused(&[kind, 0xff, 0xff]);
        refused(&[kind, 0]);
    }
    for (kind, lengths) in [
        (0u8, &[0u16, 3, 5][..]),
        (1, &[0, 11]),
        (2, &[0, 1]),
        (3, &[0, 8]),
        (4, &[0, 8, 9]),
        (5, &[0, 4, 5]),
        (6, &[0, 8]),
        (7, &[0, 14, 20]),
        (8, &[0, 1, 5, 7]),
        (9, &[0, 33, 50]),
        (10, &[0, 12]),
        (12, &[0, 4, 6, 8]),
        (13, &[0, 5, 7, 17, 19]),
        (15, &[1]),
        (16, &[0, 3, 5]),
        (17, &[0, 11, 13]),
        (20, &[3, 5]),
        (21, &[0]),
    ] {
        for len in lengths {
            let mut payload = vec![kind];
            payload.put_u16(*len);
            payload.resize(3 + usize::from(*len), 3);
            refused(&payload);
        }
    }
    refused(&[16, 0, 4, 0, 0, 0, 0]);
    refused(&[5, 0, 6, 1, 0, 0, 0, 1, 9]);
    let mut mapped = Vec::new();
    Block::encode_address(&mut mapped, &"[::ffff:1.2.3.4]:5".parse().unwrap());
    refused(&mapped);
}

#[test]
fn order_is_enforced() {
    let mut padded = Vec::new();
    Block::encode_padding(&mut padded, 1);
    for block in [&[254, 0, 0][..], &[0, 0, 4, 0, 0, 0, 1], &[99, 0, 0]] {
        assert!(Blocks::new(&[&padded, block].concat()).any(|b| b.is_err()), "behind padding: {block:?}");
    }
    let mut ended = Vec::new();
    Termination { packets_received: 0, reason: TerminationReason::NORMAL }.encode(&mut ended);
    for block in [&[0, 0, 4, 0, 0, 0, 1][..], &[99, 0, 0], &ended.clone()] {
        assert!(Blocks::new(&[&ended, block].concat()).any(|b| b.is_err()), "behind Termination: {block:?}");
    }
    assert!(Blocks::new(&[&ended[..], &padded].concat()).all(|b| b.is_ok()));
    let info = [2, 0, 3, 0, 1, 9];
    assert!(Blocks::of_confirmed(&[&info[..], &ended].concat()).all(|b| b.is_ok()));
    for first in [&padded[..], &ended, &[0, 0, 4, 0, 0, 0, 1]] {
        assert!(Blocks::of_confirmed(&[first, &info].concat()).next().unwrap().is_err());
    }
    let many = [99, 0, 0].repeat(10_000);
    assert_eq!(Blocks::new(&many).filter(Result::is_ok).count(), 10_000);
}

#[test]
fn a_router_info_is_taken_plain_or_packed_and_never_larger_than_allowed() {
    let packed = |bytes: &[u8]| {
        use std::io::Write as _;
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    };
    fn read(gzip: bool, data: &[u8]) -> Result<Vec<u8>, crate::DecodeError> {
        RouterInfoBlock { flood: false, gzip, data }.router_info().map(|info| info.to_vec())
    }
    assert_eq!(read(true, &packed(&[7; 3072])).unwrap(), [7; 3072]);
    assert!(read(true, &packed(&vec![7; 3073])).is_err() && read(true, &packed(&vec![0; 10_000_000])).is_err());
    assert!(read(true, b"no gzip").is_err());
    assert_eq!(read(false, &[7; 3072]).unwrap(), [7; 3072]);
    assert!(read(false, &[7; 3073]).is_err());
    assert!(Blocks::new(&[2, 0, 3, 0, 0x12, 1]).next().unwrap().is_err(), "a fragment of two");
}

/// The three examples of the specification.
#[test]
fn acks_of_the_specification() {
    for (ranges, bytes) in [
        (&[10..=10][..], &[12, 0, 5, 0, 0, 0, 10, 0][..]),
        (&[8..=10], &[12, 0, 5, 0, 0, 0, 10, 2]),
        (&[8..=10, 5..=6, 0..=2], &[12, 0, 9, 0, 0, 0, 10, 2, 1, 2, 2, 3]),
    ] {
        let mut out = Vec::new();
        assert_eq!(encode_ack(&mut out, ranges.iter().cloned(), 100), bytes.len());
        assert_eq!(out, bytes);
        let [Block::Ack(ack)] = all(&out)[..] else { panic!("one ACK block") };
        assert_eq!(ack.ranges().collect::<Vec<_>>(), ranges);
    }
}

fn ack(through: u32, count: u8, ranges: &[[u8; 2]]) -> Vec<RangeInclusive<u32>> {
    let mut payload = vec![12];
    payload.put_u16(5 + 2 * u16::try_from(ranges.len()).unwrap());
    payload.put_u32(through);
    payload.put_u8(count);
    ranges.iter().for_each(|range| payload.put(range));
    let [Block::Ack(ack)] = all(&payload)[..] else { panic!("one ACK block") };
    ack.ranges().collect()
}

/// Threats T56: what counts below 0 is not believed, and nothing takes more steps than there are ranges.
#[test]
fn t56_acks_that_count_below_zero_end_there() {
    assert_eq!(ack(3, 4, &[[1, 1]]), []);
    assert_eq!(ack(3, 3, &[[1, 1]]), [0..=3]);
    assert_eq!(ack(9, 0, &[[3, 1], [6, 1]]), [9..=9, 5..=5]);
    assert_eq!(ack(9, 0, &[[3, 1], [3, 3]]), [9..=9, 5..=5]);
    assert_eq!(ack(600, 255, &[[0, 255], [255, 0], [10, 1]]), [345..=600, 90..=344]);
    assert_eq!(ack(1000, 0, &[[255, 0], [255, 0], [1, 2]]), [1000..=1000, 487..=488]);
    assert_eq!(ack(5, 0, &[[0, 0], [0, 0], [0, 1]]), [5..=5, 4..=4]);
    let most = ack(u32::MAX, 255, &[[0, 255]; 128]);
    assert_eq!(most.len(), 129);
    assert_eq!(*most.last().unwrap().start(), u32::MAX - 255 - 128 * 255);
}

#[test]
fn relay_and_peer_test_blocks_round_trip() {
    let (bob, charlie, alice) = (Hash([1; 32]), Hash([2; 32]), Hash([3; 32]));
    for at in [v4(), v6()] {
        let agreement = RelayAgreement { nonce: 1, tag: 2, timestamp: 3, version: 2, alice: at };
        let bytes = agreement.to_bytes();
        let signed = Signed { bytes: &bytes, signature: &[9; 64] };
        let mut out = Vec::new();
        RelayRequest::encode(&mut out, &signed);
        RelayIntro::encode(&mut out, &alice, &signed);
        let request = RelayRequest { agreement, signed };
        let intro = RelayIntro { alice, agreement, signed };
        assert_eq!(all(&out), [Block::RelayRequest(request), Block::RelayIntro(intro)]);

        for (code, charlie, token) in [(0, Some(at), Some(7)), (65, Some(at), None), (5, None, None)] {
            let bytes = RelayResponse::to_be_signed(1, 3, charlie.as_ref());
            let signed = Signed { bytes: &bytes, signature: &[8; 64] };
            let mut out = Vec::new();
            RelayResponse::encode(&mut out, code, &signed, token);
            let response = RelayResponse { code, nonce: 1, timestamp: 3, charlie, signed, token };
            assert_eq!(all(&out), [Block::RelayResponse(response)]);
        }
        for (message, code, router) in [(1, 0, None), (2, 0, Some(alice)), (3, 66, None), (4, 2, Some(Hash([0; 32])))] {
            let bytes = PeerTest::to_be_signed(1, 3, &at);
            let signature = if message == 7 { &[][..] } else { &[8; 64] };
            let signed = Signed { bytes: &bytes, signature };
            let mut out = Vec::new();
            PeerTest::encode(&mut out, message, code, router.as_ref(), &signed);
            let test = PeerTest { message, code, router, version: 2, nonce: 1, timestamp: 3, alice: at, signed };
            assert_eq!(all(&out), [Block::PeerTest(test)]);
        }
    }
    assert_eq!(RelayAgreement::signed_message(b"x", &bob, &charlie).len(), 16 + 64 + 1);
    assert_eq!(RelayResponse::signed_message(b"x", &bob), [b"RelayAgreementOK", &[1; 32][..], b"x"].concat());
    assert_eq!(PeerTest::signed_message(b"x", &bob, None).len(), 16 + 32 + 1);
    assert_eq!(PeerTest::signed_message(b"x", &bob, Some(&alice)).len(), 16 + 64 + 1);
    assert!(matches!(all(&[8, 0, 6, 0, 128, 0, 0, 0, 9])[..], [Block::RelayResponse(r)] if r.nonce == 9));
}

/// Threats T50: what is no type, and a type in the other header, is no packet.
#[test]
fn t50_types_that_do_not_exist_are_refused() {
    for code in 0..=255u8 {
        let (mut long, mut short) = ([1; 32], [1; 16]);
        (long[12], short[12]) = (code, code);
        assert_eq!(LongHeader::from_bytes(&long).is_ok(), [0, 1, 7, 9, 10, 11].contains(&code), "{code}");
        assert_eq!(ShortHeader::from_bytes(&short).is_ok(), [2, 6].contains(&code), "{code}");
    }
    for frag in 0..=255u8 {
        let mut bytes = [0; 16];
        (bytes[12], bytes[13]) = (2, frag);
        let (number, total) = (frag >> 4, frag & 15);
        assert_eq!(ShortHeader::from_bytes(&bytes).is_ok(), number < total, "{frag:x}");
    }
}

#[test]
fn connection_ids_of_nonces_are_each_others_inverse() {
    let id = ConnectionId::of_nonce(0x0102_0304);
    assert_eq!(id, ConnectionId(0x0102_0304_0102_0304));
    assert_eq!(id.inverse(), ConnectionId(0xfefd_fcfb_fefd_fcfb));
    assert_eq!(id.inverse().inverse(), id);
}

fn kinds() -> impl Strategy<Value = MessageType> {
    prop::sample::select(vec![
        MessageType::SessionRequest,
        MessageType::SessionCreated,
        MessageType::PeerTest,
        MessageType::Retry,
        MessageType::TokenRequest,
        MessageType::HolePunch,
    ])
}

proptest! {
    #[test]
    fn long_headers_round_trip(
        d: u64, s: u64, packet_number: u32, kind in kinds(), version: u8, network_id: u8, flag: u8, token: u64,
    ) {
        let (destination, source) = (ConnectionId(d), ConnectionId(s));
        let header = LongHeader { destination, packet_number, kind, version, network_id, flag, source, token };
        prop_assert_eq!(LongHeader::from_bytes(&header.to_bytes()).unwrap(), header);
    }

    #[test]
    fn short_headers_round_trip(d: u64, packet_number: u32, immediate_ack: bool, number in 0u8..15, more in 1u8..15) {
        let destination = ConnectionId(d);
        let fragment = ConfirmedFragment::new(number, (number + more).min(15)).unwrap();
        for kind in [Short::Data { immediate_ack }, Short::Confirmed(fragment)] {
            let header = ShortHeader { destination, packet_number, kind };
            prop_assert_eq!(ShortHeader::from_bytes(&header.to_bytes()).unwrap(), header);
        }
    }

    /// Threats T49: what is too short for its kind is refused and left as it was.
    #[test]
    fn t49_protection_comes_off_again_and_refuses_what_is_too_short(
        packet in prop::collection::vec(any::<u8>(), 0..1473), k1: [u8; 32], k2: [u8; 32], kind in kinds(),
    ) {
        let mut turned = packet.clone();
        prop_assert_eq!(protection::turn_short(&mut turned, &k1, &k2).is_some(), packet.len() >= PACKET_MIN);
        prop_assert_eq!(protection::first(&packet, &k1).is_some(), packet.len() >= PACKET_MIN);
        prop_assert_eq!(protection::second(&packet, &k2).is_some(), packet.len() >= PACKET_MIN);
        if packet.len() >= PACKET_MIN {
            prop_assert_eq!(&turned[..8], protection::first(&packet, &k1).unwrap());
            prop_assert_eq!(&turned[8..16], protection::second(&packet, &k2).unwrap());
            prop_assert_eq!(&turned[16..], &packet[16..]);
            protection::turn_short(&mut turned, &k1, &k2).unwrap();
        }
        prop_assert_eq!(&turned, &packet);
        let min = if kind.has_ephemeral() { KEYED_PACKET_MIN } else { LONG_PACKET_MIN };
        prop_assert_eq!(protection::protect_long(&mut turned, kind, &k1, &k2).is_some(), packet.len() >= min);
        if packet.len() >= min {
            protection::turn_short(&mut turned, &k1, &k2).unwrap();
            protection::turn_rest(&mut turned, kind, &k2).unwrap();
        }
        prop_assert_eq!(&turned, &packet);
        prop_assert_eq!(keyed(&mut turned).is_some(), packet.len() >= KEYED_PACKET_MIN);
        prop_assert_eq!(plain(&mut turned).is_some(), packet.len() >= LONG_PACKET_MIN);
        prop_assert_eq!(short(&mut turned).is_some(), packet.len() >= PACKET_MIN);
    }

    #[test]
    fn random_bytes_do_not_panic_and_end(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..22) {
        prop_assert!(Blocks::new(&bytes).count() <= bytes.len() / 3 + 1);
        prop_assert!(Blocks::of_confirmed(&bytes).count() <= bytes.len() / 3 + 1);
        // One block that fills the payload gets further than a random size does.
        let mut one = vec![kind];
        one.put_u16(u16::try_from(bytes.len()).unwrap());
        one.put(&bytes);
        prop_assert_eq!(Blocks::new(&one).count(), 1);
    }

    #[test]
    fn acks_tell_what_was_received(steps in prop::collection::vec((1u32..600, 1u32..700), 1..20), room in 0usize..200) {
        let mut received = Vec::new();
        let mut next = 0;
        for (gap, len) in steps {
            let low = next + gap;
            received.push(low..=low + len - 1);
            next = low + len;
        }
        received.reverse();
        let mut out = Vec::new();
        let len = encode_ack(&mut out, received.iter().cloned(), room);
        prop_assert_eq!(len, out.len());
        prop_assert!(len <= room && (len > 0) == (room >= 8));
        let everything: BTreeSet<u32> = received.iter().cloned().flatten().collect();
        if len > 0 {
            let [Block::Ack(ack)] = all(&out)[..] else { panic!("one ACK block") };
            prop_assert_eq!(ack.through, *received[0].end());
            let told: BTreeSet<u32> = ack.ranges().flatten().collect();
            prop_assert!(told.is_subset(&everything));
            // Nothing is left out above the lowest that is told of.
            let lowest = *told.first().unwrap();
            prop_assert_eq!(told.len(), everything.range(lowest..).count());
            if len + 6 < room && room > 150 {
                prop_assert_eq!(told, everything);
            }
        }
    }
}
