//! Figures of the wire: `cargo xtask bench`. A line each, `FIGURE name ours peer unit`; there is no peer here, so `-`.
//! Each is the median of many samples of a few milliseconds, on one thread.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the terminal")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use ramson_wire::codec::Decode;
use ramson_wire::crypto::aead::AeadKey;
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::crypto::hash::sha256;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::SecretKey;
use ramson_wire::data::RouterInfo;
use ramson_wire::i2np::Message;

const SAMPLES: usize = 31;
const SAMPLE: Duration = Duration::from_millis(3);

fn main() {
    let mut message = vec![7; 1024];
    let aead = AeadKey::new(&[1; 32]);
    figure("aead-seal-1k", || aead.seal(1, &[], &mut message));
    let layer = TunnelLayer::new(&[1; 32], &[2; 32]);
    let mut body = vec![7; 1028];
    figure("tunnel-layer-encrypt", || layer.encrypt(black_box(&mut body)));
    let mut eight = [[5; 1024]; 8];
    figure("tunnel-layer-encrypt-eight", || layer.encrypt_each(&mut black_box(&mut eight).each_mut()));
    figure("tunnel-layer-decrypt", || layer.decrypt(black_box(&mut body)));
    figure("sha256-1k", || sha256(&message));

    let (ours, peer) = (SecretKey::from_bytes([3; 32]), SecretKey::from_bytes([4; 32]).public_key());
    figure("x25519-agree", || ours.diffie_hellman(&peer));
    figure("x25519-public", || ours.public_key());
    let key = SigningKey::from_seed([5; 32]);
    let (public, signature) = (key.verifying_key(), key.sign(&message));
    figure("ed25519-sign", || key.sign(&message));
    figure("ed25519-verify", || public.verify(&message, &signature));

    let info = include_bytes!("../tests/fixtures/routers/router1.dat");
    figure("router-info-decode", || RouterInfo::from_bytes(info));
    let decoded = RouterInfo::from_bytes(info).unwrap();
    figure("router-info-verify", || decoded.verify());
    let mut short = vec![20];
    short.extend_from_slice(&[0; 8]);
    short.extend_from_slice(&message);
    figure("i2np-decode-short-1k", || Message::decode_short(&short));
}

/// Prints the median time of one call, in nanoseconds.
fn figure<T>(name: &str, mut call: impl FnMut() -> T) {
    let mut count = 1;
    while time(count, &mut call) < SAMPLE {
        count *= 2;
    }
    let mut samples: Vec<Duration> = (0..SAMPLES).map(|_| time(count, &mut call)).collect();
    samples.sort();
    println!("FIGURE {name} {:.1} - ns", samples[SAMPLES / 2].as_nanos() as f64 / f64::from(count));
}

fn time<T>(count: u32, call: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        black_box(call());
    }
    start.elapsed()
}
