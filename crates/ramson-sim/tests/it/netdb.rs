//! Publication and look-ups.

use crate::world::World;
use ramson_core::router::{Command, Event};
use ramson_core::time::Duration;

/// Each router stores its RouterInfo with one floodfill, whose confirmation arrives: else it would go on to the next.
/// The others have it by flooding.
#[test]
fn router_infos_are_published_once_and_confirmed() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        world.net.run_for(Duration::from_mins(20));
        for router in &world.routers {
            let hash = world.net.hash(*router);
            let stores: u64 = world.floodfills.iter().map(|f| world.net.floodfill(*f).stores_of(&hash)).sum();
            assert_eq!(stores, 1, "seed {seed}, {router:?}");
            for floodfill in &world.floodfills {
                assert!(world.net.floodfill(*floodfill).router_info(&hash).is_some());
            }
        }
    }
}

#[test]
fn a_lease_set_is_published_and_found_by_another() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        let (server, hash) = world.destination(world.routers[0]);
        let (client, own) = world.destination(world.routers[1]);
        world.wait_for(&[server, client]);
        let holders = |world: &World| {
            world.floodfills.iter().filter(|f| world.net.floodfill(**f).lease_set(&hash).is_some()).count()
        };
        assert!(holders(&world) >= 1, "seed {seed}");
        world.net.run_for(Duration::from_secs(1));
        assert_eq!(holders(&world), 3, "seed {seed}: it is flooded");

        let look_up = |token, hash| Command::Lookup { destination: client.destination, token, hash };
        world.net.take_events(client.node);
        world.net.command(client.node, look_up(1, hash));
        world.net.command(client.node, look_up(2, ramson_wire::data::Hash([7; 32])));
        let mut found = Vec::new();
        world.net.run_until(Duration::from_secs(120), |net| {
            found.extend(net.take_events(client.node).into_iter().filter_map(|(_, event)| match event {
                Event::LookedUp { token, destination } => Some((token, destination.map(|d| d.hash()))),
                _ => None,
            }));
            found.len() == 2
        });
        found.sort();
        assert_eq!(found, [(1, Some(hash)), (2, None)], "seed {seed}");
        assert_ne!(own, hash);
    }
}

/// A router that knows only one floodfill learns of the others by exploration and from search replies.
#[test]
fn a_router_that_knows_one_floodfill_finds_the_network() {
    let mut world = World::new(11);
    world.net.run_for(Duration::from_mins(2));
    let new = world.net.add_router();
    world.net.introduce(world.floodfills[0], new);
    let found = world.net.run_until(Duration::from_mins(20), |net| net.snapshot(new).routers >= 10);
    assert!(found, "{} routers are known", world.net.snapshot(new).routers);
}
