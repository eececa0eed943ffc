//! Same seed, same run.

use crate::world::World;
use ramson_core::time::Duration;
use ramson_sim::{Link, Settings, Transfer};

/// A run with everything in it: jitter, refused dials, a kill, a restart, a partition, and a stream.
fn run(seed: u64) -> (u64, u64) {
    let link = Link { refused: 0.05, ..Link::default() };
    let mut world = World::with(Settings { seed, link, ..Settings::default() });
    let (client, _) = world.destination(world.routers[0]);
    let (server, to) = world.destination(world.routers[1]);
    world.wait_for(&[client, server]);
    let mut transfer = Transfer::open(&mut world.net, client, server, to, 50_000, 0);
    world.net.run_until(Duration::from_secs(20), |net| transfer.pump(net));
    world.net.kill(world.routers[5]);
    world.net.partition(world.routers[2], world.routers[3]);
    world.net.run_for(Duration::from_secs(40));
    world.net.start(world.routers[5]);
    world.net.heal(world.routers[2], world.routers[3]);
    world.net.run_for(Duration::from_secs(60));
    (world.net.trace().hash(), world.net.trace().events())
}

#[test]
fn same_seed_same_trace() {
    let first = run(1);
    // To be compared between builds: `cargo test -p ramson-sim same_seed -- --nocapture`, with and without --release.
    println!("trace of seed 1: {:016x} of {} events", first.0, first.1);
    assert!(first.1 > 10_000, "{} events", first.1);
    assert_eq!(first, run(1));
    assert_ne!(first.0, run(2).0);
}
