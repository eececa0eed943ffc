//! Keys and messages of the post-quantum hybrid, which is not spoken here. Threats T88.

use super::*;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{Destination as PublicDestination, Mapping};
use ramson_wire::garlic::frame;

/// A LeaseSet of a stranger with keys of these types.
fn set_with(pair: &Pair, seed: u8, keys: &[(u16, [u8; 32])]) -> LeaseSet2 {
    let signing = ramson_wire::crypto::sign::SigningKey::from_seed([seed; 32]);
    let unsigned = Unsigned {
        destination: PublicDestination::new(signing.verifying_key(), &mut Rng::from_seed([seed; 32])),
        times: Times { published: pair.now.unix_secs(), expires: 600, flags: Flags::default(), offline: None },
        options: Mapping::new(),
        keys: keys.iter().map(|(kind, key)| EncryptionKey { kind: *kind, bytes: Box::new(*key) }).collect(),
        leases: vec![Lease2 { gateway: Hash([4; 32]), tunnel_id: 1, end: pair.now.unix_secs() + 600 }],
    };
    unsigned.sign(&signing).unwrap()
}

/// Sends to the owner of this LeaseSet; what comes of it: garlic bodies, and why the message failed.
fn sent_to(pair: &mut Pair, set: LeaseSet2) -> (usize, Option<SendError>) {
    let (now, to) = (pair.now, set.key());
    let payload = ClientPayload { protocol: protocol::RAW, from_port: 1, to_port: 2, data: b"x".to_vec() };
    let this = &mut pair.sides[0];
    this.destination.send(now, to, payload);
    let (mut bodies, mut failed) = (0, None);
    while let Some(event) = this.destination.poll_event() {
        match event {
            DestinationEvent::NeedLeaseSet { .. } => this.destination.handle_lease_set(now, set.clone()),
            DestinationEvent::Job(job) => {
                let done = job.run(&mut this.rng);
                let _ = this.destination.handle_job(now, done);
            }
            DestinationEvent::Garlic { .. } => bodies += 1,
            DestinationEvent::Failed { reason, .. } => failed = Some(reason),
            other => panic!("{other:?}"),
        }
    }
    (bodies, failed)
}

#[test]
fn t88_a_lease_set_is_used_by_its_x25519_key_or_not_at_all() {
    let mut pair = Pair::new();
    let key = secret(1).public_key().0;
    for (seed, kinds) in [(60, &[5][..]), (61, &[6]), (62, &[7]), (63, &[7, 6, 5]), (64, &[0x1234])] {
        let keys: Vec<_> = kinds.iter().map(|kind| (*kind, key)).collect();
        let set = set_with(&pair, seed, &keys);
        assert_eq!(sent_to(&mut pair, set), (0, Some(SendError::UnsupportedEncryption)), "{kinds:?}");
    }
    let both = set_with(&pair, 65, &[(6, key), (4, key)]);
    assert_eq!(sent_to(&mut pair, both), (1, None), "behind a hybrid key there is one of ours");
    let zero = set_with(&pair, 66, &[(4, [0; 32])]);
    assert_eq!(sent_to(&mut pair, zero).0, 0, "a key of zeros seals nothing");
}

/// A key of a hybrid type that is longer than an X25519 key, as the encapsulation key of ML-KEM is.
#[test]
fn t88_keys_of_another_length_are_refused() {
    let pair = Pair::new();
    let good = set_with(&pair, 70, &[(5, [3; 32])]);
    let at = good.as_bytes().windows(4).position(|w| w == [0, 5, 0, 32]).unwrap();
    for len in [0u16, 31, 33, 800, 1184, 1568, u16::MAX] {
        let mut raw = good.as_bytes().to_vec();
        raw[at + 2..at + 4].copy_from_slice(&len.to_be_bytes());
        raw.splice(at + 4..at + 36, vec![3; usize::from(len)]);
        assert!(<LeaseSet2 as ramson_wire::codec::Decode>::from_bytes(&raw).is_err(), "{len}");
    }
}

/// Messages as long as those of the hybrid: with the encapsulation key, with the ciphertext, and cut short.
#[test]
fn t88_messages_of_the_hybrid_begin_no_session() {
    let mut pair = Pair::new();
    for from in [0, 1, 0] {
        pair.send(from, "first");
        pair.drive();
    }
    let (got, sizes) = (pair.sides[1].got.len(), pair.sides[1].destination.sessions.sizes());
    let mut rng = Rng::from_seed([9; 32]);
    let mut jobs = 0;
    for (key, ciphertext) in [(800, 768), (1184, 1088), (1568, 1568)] {
        for len in [
            32 + key + 16 + 48 + 23 + 500,
            32 + key + 16 + 48,
            8 + 32 + ciphertext + 16 + 16 + 500,
            8 + 32 + ciphertext - 1,
            32 + key,
        ] {
            for zeros in [false, true] {
                let body: Vec<u8> = (0..len).map(|_| if zeros { 0 } else { rng.below(256) as u8 }).collect();
                let (now, this) = (pair.now, &mut pair.sides[1]);
                let _ = this.destination.handle_garlic(now, &frame(&body));
                while let Some(event) = this.destination.poll_event() {
                    let DestinationEvent::Job(job) = event else { panic!("{event:?}") };
                    jobs += 1;
                    let done = job.run(&mut this.rng);
                    assert!(this.destination.handle_job(now, done).is_err(), "{len} bytes");
                }
            }
        }
    }
    assert!(jobs <= 30, "one reading each: {jobs}");
    assert_eq!((pair.sides[1].got.len(), pair.sides[1].destination.sessions.sizes()), (got, sizes));
    pair.send(0, "second");
    pair.drive();
    assert_eq!(pair.sides[1].got.len(), got + 1, "the session goes on");
}
