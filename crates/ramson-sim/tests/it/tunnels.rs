//! Exploratory tunnels.

use crate::world::{World, local};
use ramson_core::time::Duration;
use ramson_sim::{Progress, Transfer};

#[test]
fn exploratory_tunnels_are_built() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        world.net.run_for(Duration::from_mins(15));
        let (mut built, mut ended) = (0, 0);
        for id in &world.routers {
            let snapshot = world.net.snapshot(*id);
            let (pool, stats) = (snapshot.exploratory, snapshot.tunnels);
            assert!(pool.inbound >= 2 && pool.outbound >= 2, "seed {seed}: {stats:?}");
            assert!(stats.tests_passed > 0, "seed {seed}: {stats:?}");
            built += stats.built;
            ended += stats.built + stats.declined + stats.timed_out + stats.tampered;
        }
        assert!(built * 10 > ended * 9, "seed {seed}: {built} of {ended} builds succeeded");
    }
}

/// Floodfills and routers alike carry the tunnels of others.
#[test]
fn everybody_serves_as_a_hop() {
    let mut world = World::new(7);
    world.net.run_for(Duration::from_mins(15));
    for id in world.routers.iter().chain(&world.floodfills) {
        assert!(world.net.snapshot(*id).tunnels.transit_tunnels > 0);
    }
}

/// Four of ten routers die for good. A pool whose outbound tunnels are all gone cannot test its inbound ones, and
/// replies by a dead one do not come; others are built all the same, long before the dead ones end by themselves.
#[test]
fn a_pool_recovers_when_many_hops_die() {
    for seed in 6..14 {
        let mut world = World::new(seed);
        let (end, hash) = world.destination(world.routers[0]);
        let (other, _) = world.destination(world.routers[1]);
        world.wait_for(&[end, other]);
        for victim in &world.routers[2..6] {
            world.net.kill(*victim);
        }
        world.net.run_for(Duration::from_secs(150));
        let mut transfer = Transfer::open(&mut world.net, other, end, hash, 1_000, 0);
        world.net.run_until(Duration::from_mins(10), |net| transfer.pump(net));
        let pools = [end, other].map(|end| local(&world.net, end).pool);
        assert_eq!(transfer.progress(), Progress::Done, "seed {seed}: {pools:?}");
    }
}
