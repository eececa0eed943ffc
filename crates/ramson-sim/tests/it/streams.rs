//! Streams between destinations, through tunnels of three hops.

use crate::world::{World, local};
use ramson_core::time::Duration;
use ramson_sim::{Progress, Transfer};

const MB: u64 = 1_000_000;

#[test]
fn a_megabyte_each_way_arrives_once_and_in_order() {
    for seed in 0..2 {
        let mut world = World::new(seed);
        let (client, _) = world.destination(world.routers[0]);
        let (server, to) = world.destination(world.routers[1]);
        world.wait_for(&[client, server]);
        let mut transfer = Transfer::open(&mut world.net, client, server, to, MB, 0);
        world.net.run_until(Duration::from_mins(5), |net| transfer.pump(net));
        assert_eq!(transfer.progress(), Progress::Done, "seed {seed}: {:?}", transfer.received());
        assert_eq!(transfer.received(), [MB, MB]);
        world.net.run_for(Duration::from_mins(3));
        assert_eq!(local(&world.net, client).streams, 0, "seed {seed}: the stream is gone");
    }
}

/// Half an hour: three generations of tunnels, and LeaseSets that follow them.
#[test]
fn a_slow_transfer_outlives_its_tunnels() {
    let mut world = World::new(3);
    let (client, _) = world.destination(world.routers[2]);
    let (server, to) = world.destination(world.routers[5]);
    world.wait_for(&[client, server]);
    let start = world.net.now();
    let total = 30 * 60 * 1_000;
    let mut transfer = Transfer::open(&mut world.net, client, server, to, total, 1_000);
    world.net.run_until(Duration::from_mins(40), |net| transfer.pump(net));
    assert_eq!(transfer.progress(), Progress::Done, "{:?}", transfer.received());
    let took = world.net.now().since(start);
    assert!(took >= Duration::from_mins(29) && took < Duration::from_mins(33), "{took:?}");
}

/// Routers that serve as hops die one after the other; the transfer goes on.
#[test]
fn a_transfer_outlives_its_hops() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        let (client, _) = world.destination(world.routers[0]);
        let (server, to) = world.destination(world.routers[1]);
        world.wait_for(&[client, server]);
        let total = 600 * 2_000;
        let mut transfer = Transfer::open(&mut world.net, client, server, to, total, 2_000);
        world.net.run_until(Duration::from_mins(2), |net| transfer.pump(net));
        for victim in [world.routers[3], world.routers[4]] {
            assert!(world.net.snapshot(victim).tunnels.transit_tunnels > 0, "seed {seed}: it serves as a hop");
            world.net.kill(victim);
            world.net.run_until(Duration::from_mins(3), |net| transfer.pump(net));
        }
        world.net.run_until(Duration::from_mins(15), |net| transfer.pump(net));
        assert_eq!(transfer.progress(), Progress::Done, "seed {seed}: {:?}", transfer.received());
    }
}
