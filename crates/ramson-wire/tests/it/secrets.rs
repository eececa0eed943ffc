//! Nothing secret stays in the heap behind its owner, and none is shown.

use crate::heap::{Secrets, assert_gone};
use ramson_wire::codec::{Decode, Encode};
use ramson_wire::crypto::aead::AeadKey;
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::crypto::elligator2::KeyPair;
use ramson_wire::crypto::hash::sha256;
use ramson_wire::crypto::noise::SymmetricState;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::siphash::LengthMask;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::{Hash, PrivateKeys};
use ramson_wire::i2np::database_lookup::ReplyEncryption;
use ramson_wire::tunnel::bandwidth::BandwidthRequest;
use ramson_wire::tunnel::build_record::{HopKeys, Request, Role, open_request, seal_request};
use std::fmt::Debug;
use zeroize::Zeroizing;

const TIMES: u32 = 1_000;

/// A secret that nothing else has.
fn secret(kind: &str, n: u32) -> [u8; 32] {
    sha256(format!("{kind} {n}").as_bytes())
}

/// Draws secrets, and can tell which.
struct Draws(&'static str, u32);

impl rand_core::TryRng for Draws {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(self.1)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.1.into())
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in out.chunks_mut(32) {
            self.1 += 1;
            chunk.copy_from_slice(&secret(self.0, self.1)[..chunk.len()]);
        }
        Ok(())
    }
}
impl rand_core::TryCryptoRng for Draws {}

/// Makes a value of a secret, and notes the secret.
fn noted<T>(kind: &str, n: u32, secrets: &mut Secrets, make: impl FnOnce([u8; 32]) -> T) -> T {
    let key = secret(kind, n);
    secrets.note(&key);
    make(key)
}

fn hop(secrets: &mut Secrets, n: u32) -> (HopKeys, HopKeys) {
    let own = SecretKey::from_bytes(secret("hop", n));
    let request = Request {
        receive_tunnel: 1,
        next_tunnel: 2,
        next_hop: Hash([3; 32]),
        role: Role::OutboundEndpoint,
        minutes: 4,
        send_message_id: 5,
        bandwidth: BandwidthRequest::NONE,
    };
    let mut rng = Draws("build", n * 100);
    let (record, creators) = seal_request(&request, &Hash([6; 32]), &own.public_key(), &mut rng).unwrap();
    let (_, hops) = open_request(&record, &own, &own.public_key()).unwrap();
    for key in [&creators.layer, &creators.iv, &creators.garlic.as_ref().unwrap().key] {
        secrets.note(key.as_slice());
    }
    (creators, hops)
}

#[test]
fn secrets_are_found_while_they_are_there() {
    let mut secrets = Secrets::new();
    let kept: Vec<_> = (0..10).map(|n| Box::new(noted("kept", n, &mut secrets, SecretKey::from_bytes))).collect();
    assert_eq!(secrets.count_in_heap(), 20);
    drop(kept);
    assert_eq!(secrets.count_in_heap(), 0);
    let plain: Vec<_> = (0..10).map(|n| Box::new(noted("plain", n, &mut secrets, |key| key))).collect();
    drop(plain);
    assert!(secrets.count_in_heap() > 0, "what is not wiped is found after it was dropped");
}

#[test]
fn keys_are_gone_when_their_owners_are() {
    assert_gone("AeadKey", TIMES, |n, secrets| {
        let key = noted("aead", n, secrets, |key| AeadKey::new(&key));
        key.seal_tail(1, b"", &mut b"message".to_vec(), 0);
        key
    });
    assert_gone("TunnelLayer", TIMES, |n, secrets| {
        let layer = noted("layer", n, secrets, |a| noted("iv", n, &mut Secrets::new(), |b| TunnelLayer::new(&a, &b)));
        secrets.note(&secret("iv", n));
        layer.encrypt(&mut [0; 1024]);
        layer
    });
    assert_gone("LengthMask", TIMES, |n, secrets| {
        let mut mask = noted("mask", n, secrets, |key| LengthMask::new(&key));
        mask.next_mask();
        mask
    });
    assert_gone("SigningKey", 100, |n, secrets| {
        let key = noted("sign", n, secrets, SigningKey::from_seed);
        let copy = key.clone();
        copy.sign(b"message");
        (key, copy)
    });
    assert_gone("SecretKey and SharedSecret", 100, |n, secrets| {
        let (one, two) =
            (noted("one", n, secrets, SecretKey::from_bytes), noted("two", n, secrets, SecretKey::from_bytes));
        let shared = one.diffie_hellman(&two.public_key()).unwrap();
        secrets.note(&shared.0);
        (one, two.clone(), two, shared)
    });
    assert_gone("KeyPair", 20, |n, secrets| {
        let pair = KeyPair::random(&mut Draws("pair", n * 100));
        secrets.note(pair.secret.as_bytes());
        pair
    });
}

#[test]
fn what_handshakes_derive_is_gone_when_they_are() {
    assert_gone("SymmetricState", TIMES, |n, secrets| {
        let mut state = SymmetricState::new(b"Noise_N_25519_ChaChaPoly_SHA256");
        for round in 0..3 {
            noted("mixed", n * 3 + round, secrets, |key| state.mix_key_bytes(&key));
            secrets.note(state.ck());
            secrets.note(state.k());
            state.seal_tail(0, &mut b"message".to_vec(), 0);
        }
        let split = state.split();
        secrets.note(&split.0);
        secrets.note(&split.1);
        state
    });
    assert_gone("HopKeys", 100, |n, secrets| hop(secrets, n));
    assert_gone("ReplyEncryption", TIMES, |n, secrets| {
        noted("reply", n, secrets, |key| ReplyEncryption { key: key.into(), tag: [0; 8] })
    });
}

#[test]
fn key_files_are_gone_when_they_were_read_and_written() {
    assert_gone("PrivateKeys", 50, |n, secrets| {
        let keys = PrivateKeys::random(&mut Draws("file", n * 100));
        secrets.note(keys.signing_key().seed());
        let read = PrivateKeys::from_base64(&keys.to_base64()).unwrap();
        let transient = noted("transient", n, secrets, SigningKey::from_seed);
        let offline = keys.delegate(transient, 9).unwrap();
        let bytes = Zeroizing::new(offline.to_bytes());
        (PrivateKeys::from_bytes(&bytes).unwrap(), keys, read, offline)
    });
}

/// Every type of this crate that holds a secret. What it shows must not hold the secret in any form of bytes that
/// Rust, or we, print.
#[test]
fn no_secret_is_shown() {
    let key = secret("shown", 1);
    let same = |value: &dyn Debug| format!("{value:?} {value:#?}");
    let shared = SecretKey::from_bytes(key).diffie_hellman(&SecretKey::from_bytes([9; 32]).public_key()).unwrap();
    let (creators, _) = hop(&mut Secrets::new(), 7);
    let mut state = SymmetricState::new(b"x");
    state.mix_key_bytes(&key);
    let keys = PrivateKeys::random(&mut Draws("file", 7));
    let pair = KeyPair::random(&mut Draws("pair", 7));
    let shown = [
        (key, same(&SecretKey::from_bytes(key))),
        (shared.0, same(&shared)),
        (key, same(&SigningKey::from_seed(key))),
        (key, same(&AeadKey::new(&key))),
        (key, same(&TunnelLayer::new(&key, &key))),
        (key, same(&LengthMask::new(&key))),
        (*state.ck(), same(&state)),
        (*pair.secret.as_bytes(), same(&pair)),
        (*keys.signing_key().seed(), same(&keys)),
        (*creators.layer, same(&creators)),
        (*creators.garlic.as_ref().unwrap().key, same(&creators.garlic)),
        (key, same(&ReplyEncryption { key: key.into(), tag: [0; 8] })),
    ];
    for (secret, text) in shown {
        let [a, b, c, d, ..] = secret;
        for form in [
            format!("{a}, {b}"),
            format!("{a},\n"),
            format!("{a:02x}{b:02x}{c:02x}{d:02x}"),
            format!("{a:02X}{b:02X}{c:02X}{d:02X}"),
            ramson_wire::data::base64::encode(&secret)[..6].to_owned(),
            ramson_wire::data::base32::encode(&secret)[..6].to_owned(),
        ] {
            assert!(!text.contains(&form), "{text} shows {form}");
        }
    }
}
