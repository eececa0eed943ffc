//! Exploratory tunnels.

use crate::world::World;
use ramson_core::time::Duration;

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
    for id in &world.routers {
        assert!(world.net.snapshot(*id).tunnels.transit_tunnels > 0);
    }
    for id in &world.floodfills {
        assert!(world.net.floodfill(*id).transit_tunnels() > 0);
    }
}
