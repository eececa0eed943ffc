//! A destination, driven to its limits.

use super::*;
use crate::dest::lease::VerifyDone;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{Destination as PublicDestination, Mapping};

fn noise(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes.iter_mut().for_each(|byte| *byte = rng.below(256) as u8);
    bytes
}

/// A clove with a payload of this size.
fn clove(bytes: usize) -> Clove {
    let message = Message { kind: Kind::DATA, id: 1, expiration: 0, body: vec![0; bytes] };
    Clove { delivery: Delivery::Local, message }
}

#[test]
fn bytes_that_wait_for_lease_sets_are_bounded() {
    let mut pair = Pair::new();
    let data = noise(&mut pair.rng, 60_000);
    let (now, this) = (pair.now, &mut pair.sides[0].destination);
    let mut most = 0;
    for n in 0..200u32 {
        for _ in 0..3 {
            let data = data.clone();
            this.send(now, Hash::of(&n.to_be_bytes()), ClientPayload { protocol: 18, from_port: 0, to_port: 0, data });
            most = most.max(this.waiting_bytes);
        }
    }
    let held: usize = this.waiting.values().flat_map(|w| w.messages.iter()).map(|text| text.body.len()).sum();
    assert_eq!(held, this.waiting_bytes);
    assert!((limits::WAITING_BYTES - 61_000..=limits::WAITING_BYTES).contains(&most), "{most}");
    let failed = std::iter::from_fn(|| this.poll_event())
        .filter(|event| matches!(event, DestinationEvent::Failed { reason: SendError::QueueFull, .. }));
    assert_eq!(failed.count(), 600 - limits::WAITING_BYTES / 60_100);
    (0..200u32).for_each(|n| this.handle_lookup_failed(now, Hash::of(&n.to_be_bytes())));
    assert_eq!((this.waiting_bytes, this.waiting.len()), (0, 0));
}

/// Messages of sessions whose LeaseSet is being checked: many, and large.
#[test]
fn what_waits_for_a_check_is_bounded() {
    let mut pair = Pair::new();
    let (now, this) = (pair.now, &mut pair.sides[0].destination);
    let key = |n: u8| SecretKey::from_bytes([n; 32]).public_key();
    for n in 1..=100u8 {
        let seed = [n; 32];
        let signing = ramson_wire::crypto::sign::SigningKey::from_seed(seed);
        let unsigned = Unsigned {
            destination: PublicDestination::new(signing.verifying_key(), &mut Rng::from_seed(seed)),
            times: Times { published: now.unix_secs(), expires: 600, flags: Flags::default(), offline: None },
            options: Mapping::new(),
            keys: vec![EncryptionKey::x25519(key(n))],
            leases: vec![Lease2 { gateway: Hash([4; 32]), tunnel_id: 1, end: now.unix_secs() + 600 }],
        };
        let set = unsigned.sign(&signing).unwrap();
        let store = [&set.key().0[..], &[3, 0, 0, 0, 0], set.as_bytes()].concat();
        this.handle_bundled(now, key(n), &store);
    }
    assert_eq!(this.held.len(), limits::LEASE_SET_JOBS);
    let jobs = std::iter::from_fn(|| this.poll_event()).filter(|event| matches!(event, DestinationEvent::Job(_)));
    assert_eq!(jobs.count(), limits::LEASE_SET_JOBS);
    for bytes in [0, 60_000] {
        for n in 1..=limits::LEASE_SET_JOBS as u8 {
            (0..100).for_each(|_| this.handle_clove(now, Sender::Static(key(n)), clove(bytes)));
        }
        assert!(this.held.values().all(|held| held.len() <= limits::QUEUED_PER_REMOTE));
        assert!(this.held_bytes <= limits::HELD_BYTES);
        for n in 1..=limits::LEASE_SET_JOBS as u8 {
            if bytes == 0 {
                assert_eq!(this.held[&key(n)].len(), limits::QUEUED_PER_REMOTE);
                this.held.get_mut(&key(n)).unwrap().clear();
            }
        }
    }
    assert!(this.held_bytes > limits::HELD_BYTES - 60_000);
    for n in 1..=limits::LEASE_SET_JOBS as u8 {
        this.handle_verified(now, VerifyDone { session_key: key(n), set: None });
    }
    assert_eq!((this.held.len(), this.held_bytes), (0, 0));
}

/// Threats T83: garlic in garlic is not opened.
#[test]
fn t83_garlic_in_garlic_is_dropped() {
    let mut pair = Pair::new();
    pair.send(0, "first");
    pair.drive();
    let inner = pair.delivered.last().unwrap().1.clone();
    let (now, this) = (pair.now, &mut pair.sides[1].destination);
    for from in [Sender::Static(secret(0).public_key()), Sender::Anonymous] {
        for body in [inner.clone(), vec![0; 1_000], Vec::new()] {
            let message = Message { kind: Kind::GARLIC, id: 1, expiration: 0, body };
            this.handle_clove(now, from, Clove { delivery: Delivery::Local, message });
            assert!(this.poll_event().is_none());
        }
    }
}
