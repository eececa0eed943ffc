//! Datagrams between two destinations.

use super::super::datagram::{DatagramError, Format, Incoming, Origin, Outgoing};
use super::*;
use crate::limits::datagram as limits;
use ramson_wire::codec::Encode;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::Mapping;
use ramson_wire::datagram::{Datagram1, Datagram2, Datagram3};

const FORMATS: [(Format, u8); 4] = [
    (Format::Datagram1, protocol::DATAGRAM),
    (Format::RAW, protocol::RAW),
    (Format::Datagram2, protocol::DATAGRAM2),
    (Format::Datagram3, protocol::DATAGRAM3),
];

/// Keys of our own, for datagrams that are made by hand; side 0 has them.
fn known_keys(transient: Option<u32>) -> PrivateKeys {
    let keys = PrivateKeys::random(&mut Rng::from_seed([77; 32]));
    match transient {
        Some(expires) => keys.delegate(SigningKey::from_seed([5; 32]), expires).unwrap(),
        None => keys,
    }
}

/// Side 1 takes datagrams at port 7; there is a session both ways, so that nothing waits for one.
fn pair_of(keys: &PrivateKeys) -> Pair {
    let mut pair = strangers(keys);
    for from in [0, 1, 0] {
        pair.send(from, "hello");
        pair.drive();
        pair.wait(Duration::from_secs(2));
    }
    pair.sides.iter_mut().for_each(|side| side.got.clear());
    pair
}

fn strangers(keys: &PrivateKeys) -> Pair {
    let mut pair = Pair::with_keys(|side, new| if side == 0 { keys.clone() } else { new });
    for (format, _) in FORMATS {
        pair.sides[1].destination.bind_datagrams(format, Some(7)).unwrap();
    }
    pair
}

fn pair() -> Pair {
    pair_of(&known_keys(None))
}

impl Pair {
    fn datagram(&mut self, format: Format, to_port: u16, payload: &[u8]) -> Result<u64, DatagramError> {
        let to = self.sides[1].destination.hash();
        let options = Mapping::new();
        let datagram = Outgoing { format, to, from_port: 3, to_port, options, payload: payload.to_vec() };
        let sent = self.sides[0].destination.send_datagram(self.now, datagram);
        self.drive();
        sent
    }

    /// Sends what is a datagram, or not.
    fn bytes(&mut self, protocol: u8, data: Vec<u8>) {
        self.bytes_to(protocol, 7, data);
    }

    fn bytes_to(&mut self, protocol: u8, to_port: u16, data: Vec<u8>) {
        let to = self.sides[1].destination.hash();
        let payload = ClientPayload { protocol, from_port: 3, to_port, data };
        self.sides[0].destination.send(self.now, to, payload);
        self.drive();
    }

    fn taken(&mut self) -> Vec<Incoming> {
        std::mem::take(&mut self.sides[1].datagrams)
    }
}

#[test]
fn each_format_arrives_with_its_sender() {
    let keys = known_keys(None);
    let mut pair = pair_of(&keys);
    let from = pair.sides[0].destination.hash();
    for (format, _) in FORMATS {
        pair.datagram(format, 7, b"hello").unwrap();
        let wanted = match format {
            Format::Datagram1 | Format::Datagram2 => Origin::Signed(Box::new(keys.destination().clone())),
            Format::Datagram3 => Origin::Session(from),
            Format::Raw(_) => Origin::Unknown,
        };
        let came = Incoming {
            bound: (format, Some(7)),
            format,
            from: wanted,
            from_port: 3,
            to_port: 7,
            options: Mapping::new(),
            payload: b"hello".to_vec(),
        };
        assert_eq!(pair.taken(), [came]);
    }
    assert!(pair.sides[1].got.is_empty(), "none of them twice");
    // The same words again, as programs say them.
    pair.datagram(Format::Datagram1, 7, b"hello").unwrap();
    assert_eq!(pair.taken().len(), 1);
}

#[test]
fn options_travel_where_there_is_a_place_for_them() {
    let mut pair = pair();
    let to = pair.sides[1].destination.hash();
    let options = Mapping::from_pairs([("a", "b")]).unwrap();
    for (format, _) in FORMATS {
        let datagram =
            Outgoing { format, to, from_port: 0, to_port: 7, options: options.clone(), payload: b"x".to_vec() };
        let sent = pair.sides[0].destination.send_datagram(pair.now, datagram);
        pair.drive();
        if matches!(format, Format::Datagram2 | Format::Datagram3) {
            assert_eq!(pair.taken()[0].options, options);
        } else {
            assert_eq!(sent, Err(DatagramError::NoOptions));
        }
    }
}

#[test]
fn only_bound_ports_take_datagrams() {
    let mut pair = pair();
    for (format, _) in FORMATS {
        pair.datagram(format, 8, b"elsewhere").unwrap();
    }
    assert_eq!((pair.taken().len(), pair.sides[1].got.len()), (0, 4), "handed on as they are");
    let this = &mut pair.sides[1].destination;
    this.bind_datagrams(Format::RAW, None).unwrap();
    assert_eq!(this.bind_datagrams(Format::RAW, None), Err(DatagramError::Port));
    pair.datagram(Format::RAW, 9, b"any port").unwrap();
    pair.datagram(Format::Datagram2, 9, b"another format").unwrap();
    assert_eq!(pair.taken().len(), 1);
    let this = &mut pair.sides[1].destination;
    this.unbind_datagrams(Format::RAW, None);
    this.unbind_datagrams(Format::RAW, Some(7));
    pair.datagram(Format::RAW, 7, b"no more").unwrap();
    assert!(pair.taken().is_empty());
    let this = &mut pair.sides[1].destination;
    let bound = (100..).take_while(|port| this.bind_datagrams(Format::RAW, Some(*port)).is_ok()).count();
    assert_eq!(bound, limits::PORTS - 3);
}

#[test]
fn raw_datagrams_have_any_protocol_but_those_of_others() {
    let mut pair = pair();
    for protocol in [protocol::STREAMING, protocol::DATAGRAM, protocol::DATAGRAM2, protocol::DATAGRAM3] {
        assert_eq!(pair.datagram(Format::Raw(protocol), 7, b"x"), Err(DatagramError::Protocol));
    }
    let mut bound_for = |number: u8, port| {
        pair.bytes_to(number, port, b"as it is".to_vec());
        pair.taken().pop().map(|it| (it.bound, it.format))
    };
    assert_eq!(bound_for(99, 7), None);
    let raw = |number, port| (Format::Raw(number), port);
    assert_eq!(bound_for(18, 7), Some((raw(18, Some(7)), Format::RAW)));
    for (number, port) in [(99, None), (0, Some(5)), (0, None), (protocol::DATAGRAM, Some(8))] {
        pair_bind(&mut pair, raw(number, port));
    }
    let mut bound_for = |number: u8, port| {
        pair.bytes_to(number, port, b"as it is".to_vec());
        pair.taken().pop().map(|it| (it.bound, it.format))
    };
    assert_eq!(bound_for(99, 5), Some((raw(99, None), Format::Raw(99))), "the protocol is closer than any");
    assert_eq!(bound_for(98, 5), Some((raw(0, Some(5)), Format::Raw(98))));
    assert_eq!(bound_for(98, 6), Some((raw(0, None), Format::Raw(98))));
    assert_eq!(bound_for(0, 6), Some((raw(0, None), Format::Raw(0))));
    assert_eq!(bound_for(protocol::DATAGRAM, 8), Some((raw(17, Some(8)), Format::Raw(17))), "asked for as it is");
    assert_eq!(bound_for(protocol::DATAGRAM2, 9), Some((raw(0, None), Format::Raw(19))), "nobody else takes it");
    assert_eq!(bound_for(protocol::DATAGRAM2, 7), None, "it is no Datagram2");
    assert_eq!(bound_for(protocol::STREAMING, 7), None, "streams go to nobody else");
}

fn pair_bind(pair: &mut Pair, (format, port): (Format, Option<u16>)) {
    pair.sides[1].destination.bind_datagrams(format, port).unwrap();
}

#[test]
fn t97_a_flipped_bit_or_a_missing_byte_authenticates_nobody() {
    let keys = known_keys(None);
    let mut pair = pair_of(&keys);
    let (from, key) = (keys.destination(), keys.signing_key());
    let to = pair.sides[1].destination.hash();
    let good = [
        (protocol::DATAGRAM, Datagram1::sign(from, key, b"hello")),
        (protocol::DATAGRAM2, Datagram2::sign(from, &to, key, None, &Mapping::new(), b"hello")),
    ];
    for (protocol, bytes) in good {
        pair.bytes(protocol, bytes.clone());
        assert_eq!(pair.taken().len(), 1);
        // Behind the keys' padding every byte, in it some.
        for at in (0..bytes.len()).filter(|at| *at >= 350 || at % 25 == 0) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            pair.bytes(protocol, bad);
            pair.bytes(protocol, bytes[..at].to_vec());
            assert!(pair.taken().is_empty(), "protocol {protocol}, byte {at}");
            pair.wait(Duration::from_secs(1));
        }
    }
    let claim = Datagram3 { claimed_from: from.hash(), options: Mapping::new(), payload: b"hello".to_vec() }.to_bytes();
    for at in 0..32 {
        let mut bad = claim.clone();
        bad[at] ^= 1;
        pair.bytes(protocol::DATAGRAM3, bad);
        assert!(pair.taken().iter().all(|it| matches!(it.from, Origin::Claimed(hash) if hash != from.hash())));
    }
}

#[test]
fn t97_what_was_signed_for_another_receiver_or_by_another_sender_is_dropped() {
    let keys = known_keys(None);
    let mut pair = pair_of(&keys);
    let other = PrivateKeys::random(&mut Rng::from_seed([78; 32]));
    let to = pair.sides[1].destination.hash();
    let none = Mapping::new();
    // Of the same sender to somebody else.
    let elsewhere = Datagram2::sign(keys.destination(), &Hash([9; 32]), keys.signing_key(), None, &none, b"x");
    pair.bytes(protocol::DATAGRAM2, elsewhere);
    // Copies of what others have signed, in our session.
    pair.bytes(protocol::DATAGRAM, Datagram1::sign(other.destination(), other.signing_key(), b"x"));
    let copy = Datagram2::sign(other.destination(), &to, other.signing_key(), None, &none, b"x");
    pair.bytes(protocol::DATAGRAM2, copy);
    assert!(pair.taken().is_empty());
    let hash = other.destination().hash();
    let claim = Datagram3 { claimed_from: hash, options: none, payload: vec![] };
    pair.bytes(protocol::DATAGRAM3, claim.to_bytes());
    assert_eq!(pair.taken()[0].from, Origin::Claimed(hash), "a claim is no proof");
}

#[test]
fn a_datagram2_of_i2pd_is_taken_in_its_senders_session_only() {
    let keys = known_keys(None);
    let mut pair = pair_of(&keys);
    let own = keys.destination().hash();
    let as_i2pd = Datagram2::sign(keys.destination(), &own, keys.signing_key(), None, &Mapping::new(), b"x");
    pair.bytes(protocol::DATAGRAM2, as_i2pd.clone());
    assert_eq!(pair.taken()[0].from, Origin::Signed(Box::new(keys.destination().clone())));
    for session in [None, Some(Hash([3; 32])), Some(pair.sides[1].destination.hash())] {
        let payload = ClientPayload { protocol: protocol::DATAGRAM2, from_port: 0, to_port: 7, data: as_i2pd.clone() };
        pair.sides[1].destination.handle_payload(pair.now, session, payload);
        pair.drive();
        assert!(pair.taken().is_empty(), "whoever has it could send it to anybody");
    }
}

#[test]
fn t97_without_a_known_sender_a_signed_datagram_counts_once_and_a_claim_stays_one() {
    let keys = known_keys(None);
    let mut pair = pair_of(&keys);
    let to = pair.sides[1].destination.hash();
    let (from, key) = (keys.destination(), keys.signing_key());
    let data = [
        (protocol::DATAGRAM, Datagram1::sign(from, key, b"x")),
        (protocol::DATAGRAM2, Datagram2::sign(from, &to, key, None, &Mapping::new(), b"x")),
    ];
    for (protocol, data) in data {
        for _ in 0..3 {
            let payload = ClientPayload { protocol, from_port: 0, to_port: 7, data: data.clone() };
            pair.sides[1].destination.handle_payload(pair.now, None, payload);
            pair.drive();
        }
        assert_eq!(pair.taken().len(), 1);
    }
    let claim = Datagram3 { claimed_from: from.hash(), options: Mapping::new(), payload: vec![] };
    let payload = ClientPayload { protocol: protocol::DATAGRAM3, from_port: 0, to_port: 7, data: claim.to_bytes() };
    pair.sides[1].destination.handle_payload(pair.now, None, payload);
    pair.drive();
    assert_eq!(pair.taken()[0].from, Origin::Claimed(from.hash()));
}

#[test]
fn sizes_are_bounded_both_ways() {
    let mut pair = pair();
    let noise: Vec<u8> = (0..limits::BYTES + 1).map(|_| pair.rng.below(256) as u8).collect();
    for (format, protocol) in FORMATS {
        assert_eq!(pair.datagram(format, 7, &noise), Err(DatagramError::TooLarge));
        // Packed it fits into a message, unpacked it is too long.
        pair.bytes(protocol, vec![0; limits::BYTES + 1]);
        assert!(pair.taken().is_empty(), "{format:?}");
        let fits = vec![1; limits::BYTES - 600];
        pair.datagram(format, 7, &fits).unwrap();
        assert_eq!(pair.taken()[0].payload, fits);
    }
    pair.datagram(Format::Datagram2, 7, b"").unwrap();
    assert_eq!(pair.taken()[0].payload, b"");
}

#[test]
fn transient_keys_sign_while_their_permit_holds() {
    let now = Pair::new().now.unix_secs();
    let keys = known_keys(Some(now + 100));
    let mut pair = pair_of(&keys);
    pair.datagram(Format::Datagram2, 7, b"hello").unwrap();
    assert_eq!(pair.taken()[0].from, Origin::Signed(Box::new(keys.destination().clone())));
    assert_eq!(pair.datagram(Format::Datagram1, 7, b"hello"), Err(DatagramError::OfflineKey));
    pair.datagram(Format::Datagram3, 7, b"hello").unwrap();
    assert_eq!(pair.taken().len(), 1);
    let to = pair.sides[1].destination.hash();
    let none = Mapping::new();
    let late = Datagram2::sign(keys.destination(), &to, keys.signing_key(), keys.offline(), &none, b"late");
    pair.wait(Duration::from_secs(101));
    assert_eq!(pair.datagram(Format::Datagram2, 7, b"hello"), Err(DatagramError::ExpiredKey));
    let payload = ClientPayload { protocol: protocol::DATAGRAM2, from_port: 0, to_port: 7, data: late };
    pair.sides[1].destination.handle_payload(pair.now, None, payload);
    pair.drive();
    assert!(pair.taken().is_empty(), "the receiver sees that the permit is over");
}

#[test]
fn public_key_work_is_bounded_and_a_lost_job_gives_its_place_back() {
    let keys = known_keys(None);
    let mut pair = pair_of(&keys);
    let to = pair.sides[1].destination.hash();
    let now = pair.now;
    let datagram = |n: usize| Outgoing {
        format: Format::Datagram2,
        to,
        from_port: 0,
        to_port: 7,
        options: Mapping::new(),
        payload: n.to_be_bytes().to_vec(),
    };
    let this = &mut pair.sides[0].destination;
    let made = (0..limits::SIGNING + 9).map(|n| this.send_datagram(now, datagram(n))).filter(Result::is_ok).count();
    assert_eq!(made, limits::SIGNING);
    assert_eq!(this.send_datagram(now, datagram(0)), Err(DatagramError::QueueFull));
    let Some(DestinationEvent::Job(DestinationJob::Datagram(job))) = this.poll_event() else { panic!("no job") };
    this.handle_job(now, DestinationDone::Datagram(job.failed())).unwrap();
    this.send_datagram(now, datagram(0)).unwrap();
    pair.drive();
    assert_eq!(pair.sides[0].failed, [SendError::Unreachable], "the lost one is told");
    assert_eq!(pair.taken().len(), limits::SIGNING);

    let payload = |n: usize| {
        let data = Datagram1::sign(keys.destination(), keys.signing_key(), &n.to_be_bytes());
        ClientPayload { protocol: protocol::DATAGRAM, from_port: 0, to_port: 7, data }
    };
    let this = &mut pair.sides[1].destination;
    (0..limits::VERIFYING + 9).for_each(|n| this.handle_payload(now, None, payload(n)));
    let Some(DestinationEvent::Job(DestinationJob::Datagram(job))) = this.poll_event() else { panic!("no job") };
    this.handle_job(now, DestinationDone::Datagram(job.failed())).unwrap();
    this.handle_payload(now, None, payload(9_000));
    pair.drive();
    assert_eq!(pair.taken().len(), limits::VERIFYING);
    let (rate, burst) = limits::VERIFICATIONS;
    let later = pair.now.later(Duration::from_secs(u64::from(burst.div_ceil(rate)) + 1));
    for n in 0..burst as usize + 20 {
        pair.sides[1].destination.handle_payload(later, None, payload(10_000 + n));
        pair.drain(1);
    }
    assert_eq!(pair.taken().len(), burst as usize);
}

/// A signed datagram that comes again outside of any session, until as many others have come as are remembered.
#[test]
fn t97_replays_are_known_up_to_the_limit() {
    let keys = known_keys(None);
    let mut pair = strangers(&keys);
    let signed = Datagram1::sign(keys.destination(), keys.signing_key(), &[0; 8]);
    let mut now = pair.now;
    let this = &mut pair.sides[1].destination;
    // Whether it is verified. Only the first bytes are looked at before.
    let mut verified = |n: u64| {
        now = now.later(Duration::from_millis(3));
        let mut data = signed.clone();
        let at = data.len() - 8;
        data[at..].copy_from_slice(&n.to_be_bytes());
        this.handle_payload(now, None, ClientPayload { protocol: protocol::DATAGRAM, from_port: 0, to_port: 7, data });
        let mut jobs = 0;
        while let Some(event) = this.poll_event() {
            let DestinationEvent::Job(DestinationJob::Datagram(job)) = event else { panic!("{event:?}") };
            this.handle_job(now, DestinationDone::Datagram(job.failed())).unwrap();
            jobs += 1;
        }
        jobs == 1
    };
    let count = limits::REPLAYS as u64;
    for n in 0..2 * count {
        assert!(verified(n), "{n}");
        assert!(n % 100 != 99 || !verified(n - 50));
    }
    assert!(verified(2 * count) && !verified(count + 1), "the younger half is known");
    assert!(verified(0), "the oldest is forgotten");
}

#[test]
fn datagrams_to_oneself_are_like_others() {
    let mut pair = pair();
    let to = pair.sides[1].destination.hash();
    for (format, _) in FORMATS {
        let datagram =
            Outgoing { format, to, from_port: 0, to_port: 7, options: Mapping::new(), payload: b"me".to_vec() };
        pair.sides[1].destination.send_datagram(pair.now, datagram).unwrap();
        pair.drive();
        assert_eq!(pair.taken().len(), 1, "{format:?}");
    }
}

proptest::proptest! {
    #[test]
    fn random_datagrams_do_not_panic_and_prove_nothing(
        data in proptest::collection::vec(proptest::num::u8::ANY, 0..600), protocol in 17u8..21, known: bool,
    ) {
        let mut pair = strangers(&known_keys(None));
        let session = known.then_some(Hash([3; 32]));
        let payload = ClientPayload { protocol, from_port: 0, to_port: 7, data };
        pair.sides[1].destination.handle_payload(pair.now, session, payload);
        pair.drive();
        for datagram in pair.taken() {
            proptest::prop_assert!(matches!(datagram.from, Origin::Claimed(_) | Origin::Unknown));
        }
    }
}
