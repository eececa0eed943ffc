use super::*;
use crate::crypto::sign::SigningKey;
use crate::data::identity::testing::Count;
use crate::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use crate::data::{AnyLeaseSet, Lease, Lease2, Mapping, OfflineSignature, PrivateKeys, base64};
use proptest::prelude::*;
use zeroize::Zeroizing;

fn keys() -> PrivateKeys {
    PrivateKeys::random(&mut Count(5))
}

fn options(pairs: &[(&str, &str)]) -> Mapping {
    Mapping::from_pairs(pairs.iter().copied()).unwrap()
}

/// A LeaseSet2 of [`keys`].
fn lease_set(leases: u8) -> AnyLeaseSet {
    let keys = keys();
    let lease = |n: u8| Lease2 { gateway: Hash([n; 32]), tunnel_id: u32::from(n) + 1, end: 1_800_000_000 };
    let unsigned = Unsigned {
        destination: keys.destination().clone(),
        times: Times { published: 1_780_000_000, expires: 600, flags: Flags::default(), offline: None },
        options: Mapping::new(),
        keys: vec![EncryptionKey { kind: 4, bytes: Box::new([7; 32]) }],
        leases: (0..leases).map(lease).collect(),
    };
    AnyLeaseSet::V2(unsigned.sign(keys.signing_key()).unwrap())
}

/// Every message, with values drawn where they are numbers or bytes.
fn messages() -> impl Strategy<Value = Message> {
    let numbers = (any::<u16>(), any::<[u32; 4]>(), any::<u8>(), any::<u64>());
    (0usize..23, numbers, prop::collection::vec(any::<u8>(), 0..200), "[a-zé]{0,40}", any::<bool>()).prop_map(
        |(which, (id, [a, b, c, d], byte, long), bytes, text, flag)| {
            let (session, hash, destination) = (SessionId(id), Hash([byte; 32]), keys().destination().clone());
            let pairs = options(&[("i2cp.password", &text), ("i2cp.username", "me")]);
            let config = SessionConfig::sign(destination.clone(), pairs.clone(), long, keys().signing_key());
            match which {
                0 => {
                    Message::BandwidthLimits(BandwidthLimits { client_inbound: a, burst_time: b, ..Default::default() })
                }
                1 => Message::CreateLeaseSet2(CreateLeaseSet2 {
                    session,
                    set: lease_set(byte % 16 + 1),
                    keys: vec![LeaseSetKey { kind: 4, bytes: Zeroizing::new(bytes) }],
                }),
                2 => Message::CreateSession(config),
                3 => Message::ReconfigureSession { session, config },
                4 => Message::DestLookup(hash),
                5 => Message::DestReply(if flag { Ok(destination) } else { Err(hash) }),
                6 => Message::DestroySession(session),
                7 => Message::Disconnect(text),
                8 => Message::GetBandwidthLimits,
                9 => Message::GetDate(GetDate { version: "0.9.66".into(), authentication: flag.then_some(pairs) }),
                10 => Message::SetDate(SetDate { date: long, version: text }),
                11 => Message::HostLookup(HostLookup {
                    session,
                    request: a,
                    timeout: b,
                    options: flag,
                    key: if byte & 1 == 0 { LookupKey::Hash(hash) } else { LookupKey::Name(text) },
                }),
                12 => {
                    let key = LookupKey::Destination(destination);
                    Message::HostLookup(HostLookup { session, request: a, timeout: b, options: true, key })
                }
                13 => Message::HostReply(HostReply {
                    session,
                    request: a,
                    result: LookupResult(byte),
                    destination: flag.then_some(destination),
                    options: (flag && byte & 1 == 0).then_some(pairs),
                }),
                14 => Message::MessagePayload(MessagePayload { session, id: a, payload: bytes }),
                15 => {
                    let (id, size, nonce) = (a, b, c);
                    Message::MessageStatus(MessageStatus { session, id, status: Delivery(byte), size, nonce })
                }
                16 => Message::RequestVariableLeaseSet(RequestVariableLeaseSet {
                    session,
                    leases: (0..usize::from(byte % 17))
                        .map(|_| Lease { gateway: hash, tunnel_id: d, end: long })
                        .collect(),
                }),
                17 => {
                    let expires = flag.then_some(Expiry { flags: id, at: long >> 16 });
                    Message::SendMessage(SendMessage { session, to: destination, payload: bytes, nonce: a, expires })
                }
                18 => Message::SessionStatus(SessionStatus { session, state: SessionState(byte) }),
                19 => Message::BlindingInfo(BlindingInfo {
                    session,
                    flags: if flag { 0x11 } else { 0 },
                    blinded_type: 11,
                    expires: a,
                    endpoint: match byte % 4 {
                        0 => Endpoint::Hash(hash),
                        1 => Endpoint::Name(text.clone()),
                        2 => Endpoint::Destination(destination),
                        _ => Endpoint::Key(7, Box::new([byte; 32])),
                    },
                    decryption_key: flag.then_some(Zeroizing::new([byte; 32])),
                    lookup_password: flag.then_some(text),
                }),
                20 => Message::CreateLeaseSet(session),
                21 => Message::ReportAbuse,
                _ => {
                    if flag {
                        Message::ReceiveMessageBegin
                    } else {
                        Message::ReceiveMessageEnd
                    }
                }
            }
        },
    )
}

proptest! {
    #[test]
    fn every_message_round_trips_and_none_is_read_in_part(message in messages()) {
        let bytes = message.to_bytes();
        let header = Header::new(*bytes.first_chunk().unwrap()).unwrap();
        let body = &bytes[HEADER..];
        prop_assert_eq!((header.len, header.kind), (body.len(), message.kind()));
        prop_assert_eq!(&Message::decode(header.kind, body).unwrap(), &message);
        for at in 0..body.len() {
            // What is shorter is refused, or is another message that says all it was read from.
            if let Ok(read) = Message::decode(header.kind, &body[..at]) {
                prop_assert!(read != message || matches!(read, Message::CreateLeaseSet(_)));
            }
        }
    }

    #[test]
    fn random_bodies_do_not_panic(kind in 0u8..50, bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        let _ = Message::decode(kind, &bytes);
    }

    /// A byte of a message of ours is another one: whatever is read is written as it came.
    #[test]
    fn what_is_changed_is_refused_or_kept(message in messages(), at: prop::sample::Index, by in 1u8..) {
        let mut bytes = message.to_bytes();
        let at = HEADER + at.index(bytes.len().max(HEADER + 1) - HEADER);
        if at < bytes.len() {
            bytes[at] ^= by;
        }
        if let Ok(read) = Message::decode(message.kind(), &bytes[HEADER..]) {
            // Mappings are brought into order, and what is obsolete is not kept.
            let exact = !matches!(read, Message::GetDate(_) | Message::HostReply(_) | Message::CreateLeaseSet(_));
            prop_assert!(!exact || read.to_bytes() == bytes);
        }
    }
}

/// Threats T104: a length of 2^32 - 1, and types that do not exist.
#[test]
fn t104_lengths_and_types_without_end_are_refused() {
    assert!(Header::new([0xff, 0xff, 0xff, 0xff, 5]).is_err());
    let largest = u32::try_from(MAX_BODY).unwrap().to_be_bytes();
    let [a, b, c, d] = largest;
    assert_eq!(Header::new([a, b, c, d, 5]).unwrap().len, MAX_BODY);
    let [a, b, c, d] = (u32::try_from(MAX_BODY).unwrap() + 1).to_be_bytes();
    assert!(Header::new([a, b, c, d, 5]).is_err());
    let known = [1, 2, 3, 4, 5, 6, 7, 8, 20, 22, 23, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 41, 42];
    for kind in (0..=255u8).filter(|kind| !known.contains(kind)) {
        assert!(matches!(Message::decode(kind, &[]), Err(DecodeError::Unsupported { .. })), "{kind}");
    }
    // A payload that says it is longer than its message.
    let message = SendMessage {
        session: SessionId(1),
        to: keys().destination().clone(),
        payload: b"payload".to_vec(),
        nonce: 1,
        expires: None,
    };
    let mut bytes = Message::SendMessage(message).to_bytes();
    let at = HEADER + 2 + 391;
    bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
    assert!(Message::decode(kind::SEND_MESSAGE, &bytes[HEADER..]).is_err());
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let date = Message::GetDate(GetDate { version: "0.9.66".into(), authentication: None });
    assert_eq!(date.to_bytes(), b"\0\0\0\x07\x20\x060.9.66");
    let status = SessionStatus { session: SessionId(0x0102), state: SessionState::CREATED };
    assert_eq!(Message::SessionStatus(status).to_bytes(), [0, 0, 0, 3, 20, 1, 2, 1]);
    let payload = MessagePayload { session: SessionId(1), id: 2, payload: vec![9, 9] };
    assert_eq!(Message::MessagePayload(payload).to_bytes(), [0, 0, 0, 12, 31, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 9, 9]);
    assert_eq!(Message::BandwidthLimits(BandwidthLimits::default()).to_bytes().len(), HEADER + 64);
    // Old programs say no version, and options of GetDate come in any order.
    assert_eq!(Message::decode(kind::GET_DATE, &[]), Ok(Message::GetDate(GetDate::default())));
    let unsorted = b"\x01x\0\x0a\x01b=\x00;\x01a=\x00;";
    let Message::GetDate(read) = Message::decode(kind::GET_DATE, unsorted).unwrap() else { panic!() };
    assert_eq!(read.authentication, Some(options(&[("a", ""), ("b", "")])));
    let long = Message::Disconnect("é".repeat(200));
    let Message::Disconnect(cut) = Message::decode(kind::DISCONNECT, &long.to_bytes()[HEADER..]).unwrap() else {
        panic!()
    };
    assert_eq!(cut, "é".repeat(127), "cut between two characters");
}

#[test]
fn configs_verify_by_the_destinations_key_and_by_a_transient_one() {
    let keys = keys();
    let config = |options: Mapping, key: &SigningKey| {
        let config = SessionConfig::sign(keys.destination().clone(), options, 77, key);
        let bytes = Message::CreateSession(config).to_bytes();
        let Ok(Message::CreateSession(read)) = Message::decode(kind::CREATE_SESSION, &bytes[HEADER..]) else {
            panic!()
        };
        read
    };
    let plain = config(options(&[("a", "b")]), keys.signing_key());
    plain.verify().unwrap();
    assert_eq!((plain.date(), plain.options().get("a")), (77, Some("b")));
    let transient = SigningKey::from_seed([3; 32]);
    assert!(config(Mapping::new(), &transient).verify().is_err(), "another's key");

    let permit = OfflineSignature::new(1_800_000_000, transient.verifying_key(), keys.signing_key());
    let mut bytes = Vec::new();
    permit.encode(&mut bytes);
    let public = base64::encode(transient.public());
    let signature = base64::encode(&bytes[38..]);
    let named = |kind: &str, signature: &str| {
        options(&[
            ("i2cp.leaseSetOfflineExpiration", "1800000000"),
            ("i2cp.leaseSetOfflineSignature", signature),
            ("i2cp.leaseSetTransientPublicKey", &format!("{kind}{public}")),
        ])
    };
    for kind in ["", "7:", "EdDSA_SHA512_Ed25519:"] {
        config(named(kind, &signature), &transient).verify().unwrap();
        assert!(
            config(named(kind, &signature), keys.signing_key()).verify().is_err(),
            "not by the key that is offline"
        );
    }
    let forged = base64::encode(&[1; 64]);
    for bad in [named("7:", &forged), named("8:", &signature), named("x:", &signature), named("7:", "AAAA")] {
        assert!(config(bad, &transient).verify().is_err());
    }
    let part = options(&[("i2cp.leaseSetOfflineExpiration", "1800000000")]);
    assert!(config(part, keys.signing_key()).verify().is_err(), "in part");
}

#[test]
fn lease_sets_of_unknown_types_and_too_many_keys_are_refused() {
    let message = |set: AnyLeaseSet, keys: usize| {
        let key = LeaseSetKey { kind: 4, bytes: Zeroizing::new(vec![1; 32]) };
        Message::CreateLeaseSet2(CreateLeaseSet2 { session: SessionId(1), set, keys: vec![key; keys] }).to_bytes()
    };
    let mut bytes = message(lease_set(3), 16);
    assert!(Message::decode(kind::CREATE_LEASE_SET2, &bytes[HEADER..]).is_ok());
    let count = bytes.len() - 16 * 36 - 1;
    bytes[count] = 17;
    bytes.extend([0, 4, 0, 0]);
    assert!(matches!(Message::decode(kind::CREATE_LEASE_SET2, &bytes[HEADER..]), Err(DecodeError::TooLarge { .. })));
    let mut bytes = message(lease_set(3), 1);
    bytes[HEADER + 2] = 9;
    assert!(matches!(Message::decode(kind::CREATE_LEASE_SET2, &bytes[HEADER..]), Err(DecodeError::Unsupported { .. })));
}
