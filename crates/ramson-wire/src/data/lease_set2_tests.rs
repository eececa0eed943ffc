use super::*;
use crate::crypto::sign::SigType;
use crate::crypto::x25519::PublicKey;
use crate::data::identity::testing::Count;
use proptest::prelude::*;

fn unsigned(leases: u8, offline: Option<OfflineSignature>) -> Unsigned {
    let key = SigningKey::from_seed([1; 32]);
    Unsigned {
        destination: Destination::new(key.verifying_key(), &mut Count(0)),
        times: Times { published: 1_700_000_000, expires: 600, flags: Flags::default(), offline },
        options: Mapping::from_pairs([("_smtp._tcp", "0 86400 25")]).unwrap(),
        keys: vec![EncryptionKey { kind: 6, bytes: Box::new([6; 32]) }, EncryptionKey::x25519(PublicKey([4; 32]))],
        leases: (0..leases).map(|i| Lease2 { gateway: Hash([i; 32]), tunnel_id: 9, end: 1_700_000_600 }).collect(),
    }
}

#[test]
fn round_trips_and_verifies() {
    let set = unsigned(3, None).sign(&SigningKey::from_seed([1; 32])).unwrap();
    let read = LeaseSet2::from_bytes(set.as_bytes()).unwrap();
    read.verify().unwrap();
    assert_eq!(read.to_bytes(), set.as_bytes());
    assert_eq!(read.encryption_keys().iter().map(|key| key.kind).collect::<Vec<_>>(), [6, 4]);
    assert_eq!(read.x25519_key(), Some(PublicKey([4; 32])));
    assert_eq!((read.leases().len(), read.times().end()), (3, 1_700_000_600));
    assert_eq!(read.options().get("_smtp._tcp"), Some("0 86400 25"));
}

#[test]
fn a_transient_key_needs_a_permit() {
    let (offline, transient) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
    let permit = OfflineSignature::new(1_800_000_000, transient.verifying_key(), &offline);
    let set = unsigned(1, Some(permit)).sign(&transient).unwrap();
    assert!(set.times().flags.contains(Flags::OFFLINE));
    LeaseSet2::from_bytes(set.as_bytes()).unwrap().verify().unwrap();
    let forged = OfflineSignature::new(1_800_000_000, transient.verifying_key(), &transient);
    assert!(unsigned(1, Some(forged)).sign(&transient).is_err());
    assert!(unsigned(1, None).sign(&transient).is_err(), "the destination's key must sign");
}

#[test]
fn every_flipped_bit_is_caught() {
    let good = unsigned(2, None).sign(&SigningKey::from_seed([1; 32])).unwrap().to_bytes();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(LeaseSet2::from_bytes(&bad).and_then(|set| set.verify()).is_err(), "bit {bit}");
    }
}

/// Threats T17, T18.
#[test]
fn t17_t18_counts_are_bounded() {
    let key = SigningKey::from_seed([1; 32]);
    unsigned(16, None).sign(&key).unwrap();
    for leases in [0, 17, 255] {
        assert!(unsigned(leases, None).sign(&key).is_err());
    }
    for keys in [0, 17] {
        let mut set = unsigned(1, None);
        set.keys = vec![EncryptionKey::x25519(PublicKey([4; 32])); keys];
        assert!(set.sign(&key).is_err());
    }
    let mut wrong = unsigned(1, None);
    wrong.keys[1].bytes = Box::new([4; 33]);
    assert!(wrong.sign(&key).is_err());
}

/// Types are part of what is signed: a record cannot be passed off as one of another type.
#[test]
fn encrypted_and_meta_verify_as_their_own_type() {
    let key = SigningKey::from_seed([1; 32]);
    let times = Times { published: 5, expires: 6, flags: Flags::default(), offline: None };
    let seal = |kind: u8, mut raw: Vec<u8>| {
        let signature = key.sign(&[&[kind], &raw[..]].concat());
        raw.put(&signature);
        raw
    };
    let mut outer = 7u16.to_be_bytes().to_vec();
    outer.put(key.public());
    times.encode(&mut outer);
    outer.put_u16(40);
    outer.put(&[8; 40]);
    let set = EncryptedLeaseSet::from_bytes(&seal(TYPE_ENCRYPTED, outer.clone())).unwrap();
    set.verify().unwrap();
    assert_eq!((set.blinded.kind(), set.ciphertext.len()), (SigType::Ed25519, 40));
    assert_eq!(set.key(), Hash::of(&[&[0, 7], &key.public()[..]].concat()));
    assert!(EncryptedLeaseSet::from_bytes(&seal(3, outer)).unwrap().verify().is_err());

    let mut meta = unsigned(1, None).destination.to_bytes();
    times.encode(&mut meta);
    Mapping::new().encode(&mut meta);
    meta.put(&[1]);
    meta.put(&[7; 40]);
    meta.put(&[1]);
    meta.put(&[9; 32]);
    let set = MetaLeaseSet::from_bytes(&seal(TYPE_META, meta.clone())).unwrap();
    set.verify().unwrap();
    assert_eq!((set.entries.len(), set.revoked.len(), set.entries[0].cost), (1, 1, 7));
    assert!(MetaLeaseSet::from_bytes(&seal(3, meta)).unwrap().verify().is_err());
}

proptest! {
    #[test]
    fn changed_sets_do_not_panic(at in 380usize..700, bytes in prop::collection::vec(any::<u8>(), 0..30)) {
        let mut raw = unsigned(3, None).sign(&SigningKey::from_seed([1; 32])).unwrap().to_bytes();
        let at = at.min(raw.len());
        let end = (at + bytes.len()).min(raw.len());
        raw.splice(at..end, bytes);
        let _ = LeaseSet2::from_bytes(&raw).map(|set| set.verify());
        let _ = MetaLeaseSet::from_bytes(&raw).map(|set| set.verify());
    }

    #[test]
    fn random_bytes_do_not_panic(kind in 0u8..13, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let raw = [&[0, kind][..], &bytes].concat();
        let _ = EncryptedLeaseSet::from_bytes(&raw).map(|set| set.verify());
    }
}

/// Threats T17: every missing byte. T22: a length that says more or less than there is.
#[test]
fn t17_t22_missing_bytes_and_wrong_lengths_are_refused() {
    let good = unsigned(3, None).sign(&SigningKey::from_seed([1; 32])).unwrap().to_bytes();
    for len in 0..good.len() {
        assert!(LeaseSet2::from_bytes(&good[..len]).is_err(), "{len} bytes");
    }
    // A blinded key of type 11, times, a length, so many bytes, and a signature.
    let encrypted = |said: u16, bytes: usize| {
        let header = [&[0, 11][..], &[7; 32], &[0, 0, 0, 9], &[2, 88], &[0, 0], &said.to_be_bytes()].concat();
        EncryptedLeaseSet::from_bytes(&[header, vec![1; bytes], vec![0; 64]].concat()).is_ok()
    };
    assert!(encrypted(100, 100));
    assert!(!encrypted(99, 100) && !encrypted(101, 100) && !encrypted(u16::MAX, 100));
}

/// Threats T19: flags to come are kept, options beyond the end are not.
#[test]
fn t19_unknown_flags_are_tolerated() {
    let key = SigningKey::from_seed([1; 32]);
    let mut set = unsigned(1, None);
    set.times.flags = Flags(0xff80);
    let set = set.sign(&key).unwrap();
    let read = LeaseSet2::from_bytes(set.as_bytes()).unwrap();
    read.verify().unwrap();
    assert_eq!((read.times().flags, read.to_bytes()), (Flags(0xff80), set.to_bytes()));
    let at = read.destination().to_bytes().len() + 8;
    let mut long = set.to_bytes();
    long[at..at + 2].copy_from_slice(&u16::MAX.to_be_bytes());
    assert!(LeaseSet2::from_bytes(&long).is_err());
}

/// Threats T21: permits for keys of unknown or unfit types, of another destination, cut short, and one in another.
#[test]
fn t21_permits_of_the_wrong_kind_are_refused() {
    let (key, transient, other) =
        (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]), SigningKey::from_seed([3; 32]));
    let permit = OfflineSignature::new(77, transient.verifying_key(), &key);
    let good = unsigned(1, Some(permit)).sign(&transient).unwrap();
    let at = good.destination().to_bytes().len() + 8 + 4;
    assert_eq!(good.as_bytes()[at..at + 2], [0, 7], "the type of the transient key");
    for code in (0..=255).chain([0xff00, 0xffff]).filter(|code| *code != 7) {
        let mut raw = good.to_bytes();
        raw[at..at + 2].copy_from_slice(&u16::to_be_bytes(code));
        assert!(LeaseSet2::from_bytes(&raw).and_then(|set| set.verify()).is_err(), "type {code}");
    }
    // Of another destination, and by the transient key of another permit.
    let foreign = OfflineSignature::new(77, transient.verifying_key(), &other);
    assert!(unsigned(1, Some(foreign)).sign(&transient).is_err());
    let nested = OfflineSignature::new(77, other.verifying_key(), &transient);
    assert!(unsigned(1, Some(nested)).sign(&other).is_err(), "a permit of a transient key permits nothing");
    let unpermitted = OfflineSignature::new(77, other.verifying_key(), &key);
    assert!(unsigned(1, Some(unpermitted)).sign(&transient).is_err());
    // The flag without a permit behind it.
    let mut raw = unsigned(1, None).sign(&key).unwrap().to_bytes();
    raw[at - 5] |= 1;
    assert!(LeaseSet2::from_bytes(&raw).and_then(|set| set.verify()).is_err());
}
