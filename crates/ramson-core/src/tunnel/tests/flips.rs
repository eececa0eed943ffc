//! Threats P-22: tagging. Whoever flips a bit of a tunnel message on its way marks nothing that comes out of the tunnel.

use crate::rng::Rng;
use crate::time::Instant;
use crate::tunnel::endpoint::{Delivered, Endpoint};
use crate::tunnel::gateway::Gateway;
use ramson_wire::crypto::aes::TunnelLayer;
use ramson_wire::i2np::{Kind, Message, tunnel_data};
use ramson_wire::tunnel::delivery::Target;

const HOPS: usize = 3;
/// Where the padding begins: behind the id, the IV and the checksum.
const PADDING: usize = 4 + 16 + 4;

/// A message of so many bytes, as the gateway puts it into one tunnel message without layers.
fn sent(len: usize, rng: &mut Rng) -> (Message, Vec<u8>) {
    let message = Message { kind: Kind::DATA, id: 3, expiration: 1_000, body: vec![7; len] };
    let (mut gateway, mut out) = (Gateway::default(), Vec::new());
    gateway.put(5, Target::Local, &message, rng, &mut out).unwrap();
    gateway.flush(5, rng, &mut out);
    assert_eq!(out.len(), 1, "{len} bytes need more than one tunnel message");
    (message, out.remove(0))
}

/// What comes out at the creator of an inbound tunnel where the bit is flipped before this hop adds its layer.
fn flipped(layers: &[TunnelLayer], body: &[u8], hop: usize, bit: usize) -> Vec<Delivered> {
    let mut body = body.to_vec();
    let (_, data) = tunnel_data::split_mut(&mut body).unwrap();
    for (place, layer) in layers.iter().enumerate() {
        if place == hop {
            data[bit / 8] ^= 1 << (bit % 8);
        }
        layer.encrypt(data);
    }
    layers.iter().rev().for_each(|layer| layer.decrypt(data));
    let mut out = Vec::new();
    let result = Endpoint::default().handle(Instant::ZERO, &body, &mut out);
    assert!(result.is_ok() || out.is_empty(), "a fragment of a message that is not whole");
    out
}

/// Every bit of a message without padding, at every hop.
#[test]
fn p22_a_flipped_bit_costs_the_message() {
    let mut rng = Rng::from_seed([5; 32]);
    let layers = [(); HOPS].map(|()| TunnelLayer::new(&rng.bytes(), &rng.bytes()));
    let full = (900..1_024).map(|len| sent(len, &mut rng)).find(|(_, body)| body[PADDING] == 0);
    let (_, body) = full.expect("a length that fills a tunnel message");
    for hop in 0..HOPS {
        for bit in 0..tunnel_data::DATA_LEN * 8 {
            assert_eq!(flipped(&layers, &body, hop, bit), [], "bit {bit} at hop {hop}");
        }
    }
}

/// The checksum does not cover padding: what is flipped there is lost with the message, or with the padding.
#[test]
fn p22_a_bit_of_padding_changes_nothing_that_is_delivered() {
    let mut rng = Rng::from_seed([6; 32]);
    let layers = [(); HOPS].map(|()| TunnelLayer::new(&rng.bytes(), &rng.bytes()));
    let (message, body) = sent(300, &mut rng);
    let whole = [Delivered { target: Target::Local, message }];
    let (mut lost, mut passed) = (0, 0);
    for hop in 0..HOPS {
        for bit in 0..tunnel_data::DATA_LEN * 8 {
            match flipped(&layers, &body, hop, bit) {
                out if out.is_empty() => lost += 1,
                out => {
                    assert_eq!(out, whole, "bit {bit} at hop {hop}");
                    passed += 1;
                }
            }
        }
    }
    assert!(lost > 0 && passed > 0, "{lost} lost, {passed} passed");
}
