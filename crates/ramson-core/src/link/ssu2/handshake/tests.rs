use super::*;

fn parties() -> (SecretKey, SecretKey, ResponderKeys) {
    let (alice, bob) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let keys = ResponderKeys { router: Hash([3; 32]), static_key: bob.public_key(), intro_key: [4; 32] };
    (alice, bob, keys)
}

fn initiator(alice: &SecretKey, responder: ResponderKeys, rng: &mut Rng) -> Initiator {
    Initiator {
        static_key: alice.clone(),
        responder,
        network_id: 99,
        ids: Ids::random(rng),
        token: 7,
        timestamp: 1000,
        relay_tag: true,
        padding: 5,
    }
}

fn create() -> Create {
    let new_token = Some(NewToken { expires: 9, token: 10 });
    let address = "1.2.3.4:5".parse().unwrap();
    Create { timestamp: 1001, address, new_token, relay_tag: Some(6), padding: 3 }
}

fn responder(bob: &SecretKey) -> Responder {
    Responder { static_key: bob.clone(), intro_key: [4; 32], network_id: 99 }
}

/// As the endpoint does before the job.
fn unprotect(packet: &mut [u8]) -> Option<()> {
    protection::turn_short(packet, &[4; 32], &[4; 32])?;
    protection::turn_rest(packet, MessageType::SessionRequest, &[4; 32])
}

/// The first header, and what the packets of a SessionConfirmed have behind theirs.
fn reassemble(packets: &[Vec<u8>], key: &[u8; 32]) -> ([u8; 16], Vec<u8>) {
    let (mut first, mut body) = ([0; 16], Vec::new());
    for (n, packet) in packets.iter().enumerate() {
        let mut packet = packet.clone();
        protection::turn_short(&mut packet, &[4; 32], key).unwrap();
        let header = *packet.first_chunk().unwrap();
        let fragment = ConfirmedFragment::new(n as u8, packets.len() as u8).unwrap();
        let read = ShortHeader::from_bytes(&header).unwrap();
        assert_eq!((read.kind, read.packet_number), (Short::Confirmed(fragment), 0));
        if n == 0 {
            first = header;
        }
        body.extend_from_slice(&packet[16..]);
    }
    (first, body)
}

#[test]
fn both_sides_agree_in_every_number_of_fragments() {
    let (alice, bob, keys) = parties();
    let mut rng = Rng::from_seed([8; 32]);
    for (len, packets) in [(500, 1), (1172, 1), (1173, 2), (1196, 2), (1197, 2), (2400, 2), (2409, 3), (18_000, 15)] {
        let (mut m1, a) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
        unprotect(&mut m1).unwrap();
        let (request, b) = responder(&bob).request(&mut m1).unwrap();
        assert_eq!(request, Request { timestamp: 1000, relay_tag: true });
        let (mut m2, b) = b.create(&create(), &mut rng).unwrap();
        assert!(a.expects(&m2));
        let (created, confirming) = a.created(&mut m2).unwrap();
        let (said, read) = (create(), created);
        assert_eq!((read.timestamp, read.address, read.relay_tag), (1001, Some(said.address), said.relay_tag));
        assert_eq!((read.new_token, read.termination), (said.new_token, None));
        let payload = vec![7; len];
        let (m3, a) = confirming.confirm(&payload, 1252).unwrap();
        assert_eq!(m3.len(), packets, "{len}");
        assert!(m3.iter().all(|packet| (40..=1252).contains(&packet.len())));
        let (header, mut body) = reassemble(&m3, b.header_key());
        let confirmed = b.confirmed(&header, &mut body).unwrap();
        assert_eq!(confirmed.static_key, alice.public_key());
        assert_eq!(confirmed.payload, payload);
        let (a, b) = (a.keys, confirmed.established.keys);
        assert_eq!((&a.send.data, &a.send.header), (&b.receive.data, &b.receive.header));
        assert_eq!((&a.receive.data, &a.receive.header), (&b.send.data, &b.send.header));
        assert_ne!(a.send.data, a.receive.data);
        assert_ne!(a.send.data, a.send.header);
    }
    let (_, a) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
    let (mut m1, _) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
    unprotect(&mut m1).unwrap();
    let (_, b) = responder(&bob).request(&mut m1).unwrap();
    let (m2, _) = b.create(&create(), &mut rng).unwrap();
    assert!(!a.expects(&m2), "of another handshake");
}

#[test]
fn a_router_info_that_fits_in_no_fragments_is_refused() {
    let (alice, bob, keys) = parties();
    let mut rng = Rng::from_seed([8; 32]);
    let (mut m1, a) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
    unprotect(&mut m1).unwrap();
    let (_, b) = responder(&bob).request(&mut m1).unwrap();
    let (m2, _) = b.create(&create(), &mut rng).unwrap();
    let (_, confirming) = a.created(&mut m2.clone()).unwrap();
    assert!(matches!(confirming.confirm(&vec![0; 19_000], 1252), Err(HandshakeError::TooLong(_))));
    let (_, confirming) = a.created(&mut m2.clone()).unwrap();
    assert!(matches!(confirming.confirm(&[0; 900], 0), Err(HandshakeError::TooLong(_))));
}

/// What is changed in any message is noticed; and a genuine one that comes after it is still taken.
#[test]
fn a_flipped_bit_in_any_message_is_noticed_and_harms_no_handshake() {
    let (alice, bob, keys) = parties();
    let mut rng = Rng::from_seed([8; 32]);
    let (m1, a) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
    let flipped = |message: &[u8], bit: usize| {
        let mut bad = message.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        bad
    };
    let open = |mut m1: Vec<u8>| {
        unprotect(&mut m1).ok_or(HandshakeError::Header)?;
        responder(&bob).request(&mut m1)
    };
    for bit in (0..m1.len() * 8).step_by(3) {
        assert!(open(flipped(&m1, bit)).is_err(), "SessionRequest, bit {bit}");
    }
    let (_, b) = open(m1).unwrap();
    let (m2, b) = b.create(&create(), &mut rng).unwrap();
    for bit in (0..m2.len() * 8).step_by(3) {
        let mut bad = flipped(&m2, bit);
        assert!(!a.expects(&bad) || a.created(&mut bad).is_err(), "SessionCreated, bit {bit}");
    }
    let (_, confirming) = a.created(&mut m2.clone()).unwrap();
    let (m3, _) = confirming.confirm(&[7; 1500], 1252).unwrap();
    let (header, body) = reassemble(&m3, b.header_key());
    for bit in (0..body.len() * 8).step_by(61) {
        assert!(b.confirmed(&header, &mut flipped(&body, bit)).is_err(), "SessionConfirmed, bit {bit}");
    }
    for bit in 0..128 {
        let header: [u8; 16] = flipped(&header, bit).try_into().unwrap();
        assert!(b.confirmed(&header, &mut body.clone()).is_err(), "its header, bit {bit}");
    }
    assert!(b.confirmed(&header, &mut body.clone()).is_ok());
}

/// Threats T50, T52: another version, another network, and ids that are the same.
#[test]
fn t50_t52_other_versions_networks_and_equal_ids_are_refused() {
    let (alice, bob, keys) = parties();
    let mut rng = Rng::from_seed([8; 32]);
    let other = Initiator { network_id: 2, ..initiator(&alice, keys, &mut rng) };
    let same = ConnectionId(5);
    let equal = Initiator { ids: Ids { initiator: same, responder: same }, ..initiator(&alice, keys, &mut rng) };
    for bad in [other, equal] {
        let (mut m1, _) = bad.request(&mut rng).unwrap();
        unprotect(&mut m1).unwrap();
        assert_eq!(responder(&bob).request(&mut m1).err(), Some(HandshakeError::Header));
    }
    for version in [0, 1, 3, 4] {
        let (mut m1, _) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
        unprotect(&mut m1).unwrap();
        m1[13] = version;
        assert_eq!(responder(&bob).request(&mut m1).err(), Some(HandshakeError::Header), "{version}");
    }
    let (mut m1, a) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
    assert!(!a.expects(&m1) && a.created(&mut m1).is_err(), "our own packet comes back");
}

/// As the endpoint does it: states wait in boxes between the jobs that move them on, and results go through queues.
#[cfg(target_os = "linux")]
#[test]
fn no_key_of_a_handshake_or_of_its_session_stays_in_the_heap() {
    use super::super::packet::{Opener, Sealer};
    let mut secrets = crate::heap::Secrets::new();
    let (mut sessions, mut waiting) = (Vec::new(), std::collections::VecDeque::new());
    for n in 0..100u32 {
        let seed = |kind: &str| hash::sha256(format!("{kind} {n}").as_bytes());
        let mut rng = Rng::from_seed(seed("rng"));
        let (alice, bob) = (SecretKey::from_bytes(seed("alice")), SecretKey::from_bytes(seed("bob")));
        let keys = ResponderKeys { static_key: bob.public_key(), ..parties().2 };
        let (mut m1, a) = initiator(&alice, keys, &mut rng).request(&mut rng).unwrap();
        unprotect(&mut m1).unwrap();
        let a = Box::new(a);
        let (_, b) = responder(&bob).request(&mut m1).unwrap();
        let (mut m2, b) = b.create(&create(), &mut rng).unwrap();
        let b = Box::new(b);
        let states = [a.state.ck(), b.state.ck(), b.state.k(), &*a.header_key, &*b.header_key];
        states.iter().for_each(|secret| secrets.note(secret.as_slice()));
        [&a.ephemeral, &b.ephemeral, &alice, &bob].iter().for_each(|secret| secrets.note(secret.as_bytes()));
        let (_, confirming) = a.created(&mut m2).unwrap();
        let (m3, a) = confirming.confirm(&[7; 1500], 1252).unwrap();
        let (header, mut body) = reassemble(&m3, b.header_key());
        waiting.extend([a, b.confirmed(&header, &mut body).unwrap().established]);
        for Established { keys } in waiting.drain(..) {
            let all = [&keys.send.data, &keys.send.header, &keys.receive.data, &keys.receive.header];
            all.iter().for_each(|secret| secrets.note(secret.as_slice()));
            let sealer = Sealer::new(keys.send, [4; 32], ConnectionId(1), 0);
            sessions.push(Box::new((sealer, Opener::new(keys.receive, [4; 32]))));
        }
    }
    assert!(secrets.count_in_heap() >= 400, "the keys of the sessions are there before");
    drop(sessions);
    assert_eq!(secrets.count_in_heap(), 0, "parts of {}", secrets.len());
}

/// From i2pd 2.59 to i2pd 2.59, at 1796055477: the responder's keys, a TokenRequest, and a SessionRequest of the same
/// session.
const I2PD_STATIC: &str = "902c7a00603315fe266adfabe510425b1dc26b759fd357a79d1b7f5de8308c78";
const I2PD_PUBLIC: &str = "17c5067e58232a89d95efc69c94fcc17f9d0c5ea105b08de98a29c8a19396d36";
const I2PD_INTRO: &str = "c61cd7fb70928de7803598a9284ad6af304002d95c4834c435c383a2b5d117b7";
const I2PD_TOKEN_REQUEST: &str = "6ec9fcb761705486a7e2a9440048355a7eb3230eeafb8e6c291e0f1b598e8c6df659494c2d708f8e970388d647c58cee75064cf4bf296c9d59a7a66af982a67e7117ff9fa93963e3";
const I2PD_SESSION_REQUEST: &str = "989c3a221d86522c6a823c06366ada007eb3230eeafb8e6cf90a955d445514fa1d0b2142f004b51a277bea679644c657752ffa31e5e836a59d2ab16bc263a99f6a821e8aa1bf737689cda0c0b21ec1aa0f9c850c6b3fffe605d95ed9a47e2e5a3e346bf6";

fn hex<const N: usize>(text: &str) -> [u8; N] {
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    assert_eq!(text.len(), 2 * N);
    std::array::from_fn(byte)
}

#[test]
fn requests_of_i2pd_are_opened() {
    use super::super::outside::{self, IntroKey};
    let static_key = SecretKey::from_bytes(hex(I2PD_STATIC));
    let intro_key = hex(I2PD_INTRO);
    assert_eq!(static_key.public_key().0, hex(I2PD_PUBLIC));
    let mut packet = hex::<72>(I2PD_TOKEN_REQUEST);
    let (token_request, blocks) = IntroKey::new(intro_key).open(&mut packet, MessageType::TokenRequest).unwrap();
    assert_eq!(outside::timestamp(blocks), Ok(Some(1_796_055_478)));
    assert_eq!((token_request.network_id, token_request.token), (99, 0));
    let mut packet = hex::<100>(I2PD_SESSION_REQUEST);
    protection::turn_short(&mut packet, &intro_key, &intro_key).unwrap();
    protection::turn_rest(&mut packet, MessageType::SessionRequest, &intro_key).unwrap();
    let header = LongHeader::from_bytes(packet.first_chunk().unwrap()).unwrap();
    assert_eq!((header.source, header.destination), (token_request.source, token_request.destination));
    assert_ne!(header.token, 0);
    let (request, creating) = Responder { static_key, intro_key, network_id: 99 }.request(&mut packet).unwrap();
    assert_eq!(request, Request { timestamp: 1_796_055_478, relay_tag: false });
    assert_eq!(creating.ids, Ids { initiator: header.source, responder: header.destination });
}
