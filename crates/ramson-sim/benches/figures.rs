//! What a message costs the core without any I/O, with the cost of its cryptography alone beside it: `cargo xtask bench`.
//! A line each, `FIGURE name ours crypto unit`.
//!
//! A stream runs through tunnels of three hops in virtual time; only the time inside the cores is counted.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the terminal")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what the simulator must not know is measured here"
)]

#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

#[path = "figures/datagrams.rs"]
mod datagrams;
#[path = "figures/requests.rs"]
mod requests;

use ramson_core::time::Duration;
use ramson_sim::{Link, NodeId, Progress, Settings, Transfer};
use ramson_wire::crypto::aead::AeadKey;
use ramson_wire::crypto::aes::TunnelLayer;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;
use world::World;

/// Bytes in each direction.
const BYTES: u64 = 16_000_000;
const ROUNDS: u64 = 5;
/// A tunnel message in a frame.
const MESSAGE: usize = 1_028 + 9;

fn main() {
    datagrams::measure();
    requests::measure();
    let crypto = Crypto::measure();
    let (mut hops, mut ends) = (Vec::new(), Vec::new());
    for seed in 0..ROUNDS {
        let [hop, end] = run(seed);
        hops.push(hop);
        ends.push(end);
    }
    // A hop opens a message, adds or takes a layer, and seals it again.
    let transit = 2.0 * crypto.aead + crypto.layer;
    println!("FIGURE transit-message {:.0} {transit:.0} ns", median(&mut hops));
    // An end peels or adds three layers of each message and opens or seals it once for the link and once end to end;
    // a kilobyte takes about one and an eighth of them.
    let end = 1.125 * (3.0 * crypto.layer + 2.0 * crypto.aead);
    println!("FIGURE stream-kilobyte-at-an-end {:.0} {end:.0} ns", median(&mut ends));
}

struct Crypto {
    aead: f64,
    layer: f64,
}

impl Crypto {
    fn measure() -> Self {
        let key = AeadKey::new(&[1; 32]);
        let layer = TunnelLayer::new(&[1; 32], &[2; 32]);
        let (mut message, mut data) = (vec![7; MESSAGE], [7; 1_024]);
        Self {
            aead: each(|| {
                black_box(key.seal(1, &[], black_box(&mut message)));
            }),
            layer: each(|| layer.encrypt(black_box(&mut data))),
        }
    }
}

/// The median time of one call, in nanoseconds.
fn each(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 4_000;
    let sample = |_| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    median(&mut (0..15).map(sample).collect::<Vec<f64>>())
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Nanoseconds for a message at a hop, and for a kilobyte of the stream at its ends.
fn run(seed: u64) -> [f64; 2] {
    let link = Link { delay: Duration::from_millis(1), ..Link::IDEAL };
    let mut world = World::with(Settings { seed, link, ..Settings::default() });
    // Ends that carry for others would count twice.
    let (client, _) = world.destination(world.routers[0]);
    let (server, to) = world.destination(world.routers[1]);
    world.wait_for(&[client, server]);
    let passed = |world: &World, carriers: &[NodeId]| -> u64 {
        carriers.iter().map(|node| world.net.snapshot(*node).tunnels.transit.messages).sum()
    };
    let carriers: Vec<NodeId> = world.routers[2..].to_vec();
    let before = passed(&world, &carriers);

    let spent: Rc<RefCell<BTreeMap<NodeId, std::time::Duration>>> = Rc::default();
    let (into, mut since) = (Rc::clone(&spent), Instant::now());
    world.net.set_meter(Some(Box::new(move |node, begins| {
        if begins {
            since = Instant::now();
        } else {
            *into.borrow_mut().entry(node).or_default() += since.elapsed();
        }
    })));
    let mut transfer = Transfer::open(&mut world.net, client, server, to, BYTES, 0);
    world.net.run_until(Duration::from_mins(10), |net| transfer.pump(net));
    assert_eq!(transfer.progress(), Progress::Done, "{:?}", transfer.received());
    world.net.set_meter(None);

    let messages = passed(&world, &carriers) - before;
    let nanos = |nodes: &[NodeId]| {
        nodes.iter().filter_map(|node| spent.borrow().get(node).copied()).sum::<std::time::Duration>().as_nanos() as f64
    };
    // Both ends handle each byte of both directions.
    let kilobytes = (4 * BYTES) as f64 / 1_000.0;
    [nanos(&carriers) / messages as f64, nanos(&world.routers[..2]) / kilobytes]
}
