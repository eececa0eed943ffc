//! The tunnel message without its layers. <https://geti2p.net/spec/tunnel-message#tunnel-message-decrypted>
//!
//! ```text
//! tunnelId(4) IV(16) checksum(4) nonzero padding(n) 0x00 fragments(up to 1,003)
//! ```
//!
//! The checksum is the first four bytes of SHA-256 over the fragments and the IV behind them.

use super::delivery::Fragment;
use crate::codec::{DecodeError, Reader, Write};
use crate::crypto::{CryptoRng, hash::sha256_of};
use crate::i2np::tunnel_data::BODY_LEN;

/// The most bytes of fragments and their instructions in one tunnel message.
pub const MAX_PAYLOAD: usize = 1003;

const IV: usize = 4;
const CHECKSUM: usize = 20;
const PADDING: usize = 24;

/// The body of a TunnelData message around `payload` (fragments with their instructions, at most [`MAX_PAYLOAD`]
/// bytes), with a random IV and random padding, before any layer.
pub fn build(tunnel: u32, payload: &[u8], rng: &mut impl CryptoRng) -> Result<Vec<u8>, DecodeError> {
    let Some(padding) = MAX_PAYLOAD.checked_sub(payload.len()) else {
        return Err(DecodeError::TooLarge { what: "tunnel message payload", limit: MAX_PAYLOAD });
    };
    let iv: [u8; 16] = crate::crypto::random(rng);
    let [a, b, c, d, ..] = sha256_of(&[payload, &iv]);
    let mut body = Vec::with_capacity(BODY_LEN);
    body.put_u32(tunnel);
    body.put(&iv);
    body.put(&[a, b, c, d]);
    body.resize(PADDING + padding, 0);
    if let Some(padding) = body.get_mut(PADDING..) {
        fill_nonzero(padding, rng);
    }
    body.put_u8(0);
    body.put(payload);
    Ok(body)
}

/// Takes the frame off a body whose layers are removed, verifies the checksum, and returns its fragments.
pub fn open(body: &[u8]) -> Result<Fragments<'_>, DecodeError> {
    let mut r = Reader::new(body);
    if body.len() != BODY_LEN {
        return Err(DecodeError::invalid("tunnel message", "not 1,028 bytes"));
    }
    r.take(IV, "tunnel message id")?;
    let iv = r.take(CHECKSUM - IV, "tunnel message IV")?;
    let checksum = r.take(PADDING - CHECKSUM, "tunnel message checksum")?;
    let rest = r.take_rest();
    let zero = rest.iter().position(|b| *b == 0);
    let Some(payload) = zero.and_then(|at| rest.get(at + 1..)) else {
        return Err(DecodeError::invalid("tunnel message padding", "no zero byte"));
    };
    if !sha256_of(&[payload, iv]).starts_with(checksum) {
        return Err(DecodeError::Unverified { what: "tunnel message checksum" });
    }
    Ok(Fragments { rest: Reader::new(payload) })
}

/// The fragments of a tunnel message, in order. After an error it ends.
#[derive(Clone, Debug)]
pub struct Fragments<'a> {
    rest: Reader<'a>,
}

impl<'a> Iterator for Fragments<'a> {
    type Item = Result<Fragment<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let fragment = Fragment::decode(&mut self.rest);
        if fragment.is_err() {
            self.rest.take_rest();
        }
        Some(fragment)
    }
}

/// Every byte is uniform in 1..=255: zeros are drawn again.
fn fill_nonzero(out: &mut [u8], rng: &mut impl CryptoRng) {
    rng.fill_bytes(out);
    for byte in out.iter_mut().filter(|byte| **byte == 0) {
        while *byte == 0 {
            rng.fill_bytes(std::slice::from_mut(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::delivery::{Instructions, Target};
    use super::*;
    use crate::tunnel::test_rng::TestRng;
    use proptest::prelude::*;

    fn one_fragment(data: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        Instructions::First { target: Target::Local, fragmented: None }.encode(data.len() as u16, &mut payload);
        payload.extend_from_slice(data);
        payload
    }

    #[test]
    fn every_size_round_trips() {
        let mut rng = TestRng::new(1);
        for len in 1..=MAX_PAYLOAD - 3 {
            let data: Vec<u8> = (0..len).map(|i| (i % 256) as u8).collect();
            let body = build(5, &one_fragment(&data), &mut rng).unwrap();
            assert_eq!(body.len(), BODY_LEN);
            let fragments: Vec<_> = open(&body).unwrap().map(Result::unwrap).collect();
            assert_eq!(fragments.len(), 1);
            assert_eq!(fragments[0].data, data);
        }
        assert!(build(5, &[0; MAX_PAYLOAD + 1], &mut rng).is_err());
        assert_eq!(open(&build(5, &[], &mut rng).unwrap()).unwrap().count(), 0, "padding only");
    }

    /// Threats T77: no zero byte, a wrong checksum, wrong lengths, zero fragments, 200 instructions.
    #[test]
    fn t77_malformed_messages_are_refused_in_one_pass() {
        let mut rng = TestRng::new(2);
        let good = build(5, &one_fragment(&[7; 20]), &mut rng).unwrap();
        for at in [4, 19, 20, 23, BODY_LEN - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&bad).is_err(), "byte {at}");
        }
        assert!(open(&[1; BODY_LEN]).is_err(), "no zero byte");
        assert!(open(&good[..BODY_LEN - 1]).is_err());
        assert!(open(&[&good[..], &[0]].concat()).is_err());
        let many = build(5, &[0, 0, 1, 9].repeat(200), &mut rng).unwrap();
        assert_eq!(open(&many).unwrap().filter(Result::is_ok).count(), 200);
        let broken = build(5, &[&one_fragment(&[1]), &[0xff; 50][..]].concat(), &mut rng).unwrap();
        let read: Vec<_> = open(&broken).unwrap().collect();
        assert_eq!((read.len(), read[0].is_ok(), read[1].is_ok()), (2, true, false), "ends after the error");
    }

    #[test]
    fn padding_has_no_zero_and_uses_every_other_value() {
        let mut rng = TestRng::new(3);
        let mut seen = [0u32; 256];
        for _ in 0..200 {
            let body = build(5, &[], &mut rng).unwrap();
            body[PADDING..BODY_LEN - 1].iter().for_each(|b| seen[usize::from(*b)] += 1);
        }
        assert_eq!(seen[0], 0);
        assert!(seen[1..].iter().all(|n| (600..1000).contains(n)), "{seen:?}");
    }

    proptest! {
        #[test]
        fn random_bodies_do_not_panic(mut body in prop::collection::vec(any::<u8>(), BODY_LEN)) {
            let _ = open(&body).map(Iterator::count);
            // With a checksum that fits, the fragments are read too.
            if let Some(zero) = body[PADDING..].iter().position(|b| *b == 0) {
                let sum = sha256_of(&[&body[PADDING + zero + 1..], &body[4..20]]);
                body[20..24].copy_from_slice(&sum[..4]);
                prop_assert!(open(&body).unwrap().count() < 400);
            }
        }
    }
}
