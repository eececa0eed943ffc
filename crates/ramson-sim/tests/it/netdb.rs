//! Publication and look-ups.

use crate::world::World;
use ramson_core::router::{Command, Event};
use ramson_core::time::Duration;
use ramson_sim::Net;

/// Each router stores its RouterInfo with one floodfill, whose confirmation arrives: else it would go on to the next.
/// The others have it by flooding.
#[test]
fn router_infos_are_published_once_and_confirmed() {
    for seed in 0..3 {
        let mut world = World::new(seed);
        world.net.run_for(Duration::from_mins(20));
        for router in &world.routers {
            let hash = world.net.hash(*router);
            for floodfill in &world.floodfills {
                assert!(world.net.router(*floodfill).is_told(&hash), "seed {seed}, {router:?}");
            }
        }
        // Eight routers and three floodfills, each at one floodfill; and each is passed on to the others.
        let stats: Vec<_> = world.floodfills.iter().map(|f| world.net.snapshot(*f).flood).collect();
        let confirmed: u64 = stats.iter().map(|stats| stats.confirmed).sum();
        let flooded: u64 = stats.iter().map(|stats| stats.flooded).sum();
        assert_eq!((confirmed, flooded), (11, 11), "seed {seed}: {stats:?}");
        assert!(stats.iter().all(|stats| stats.refused + stats.dropped == 0), "seed {seed}: {stats:?}");
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
            world.floodfills.iter().filter(|f| world.net.router(**f).lease_set_of_others(&hash).is_some()).count()
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
                Event::LookedUp { token, destination, .. } => Some((token, destination.map(|d| d.hash()))),
                _ => None,
            }));
            found.len() == 2
        });
        found.sort();
        assert_eq!(found, [(1, Some(hash)), (2, None)], "seed {seed}");
        assert_ne!(own, hash);
    }
}

/// A floodfill that goes on giving an older LeaseSet away is not taken for one that has the new one: the look-up that
/// verifies the publication finds that out, and the LeaseSet is stored there too.
#[test]
fn an_older_lease_set_does_not_verify_a_publication() {
    let mut world = World::with_puppets(1);
    let (server, hash) = world.destination(world.routers[0]);
    world.wait_for(&[server]);
    world.net.run_for(Duration::from_mins(2));
    let stores = |world: &World, f| world.net.puppet(f).stores_of(&hash);
    let flooded = world.floodfills.iter().copied().find(|f| stores(&world, *f) == 0);
    let stale = flooded.expect("the LeaseSet is stored at two of three");
    let other = world.floodfills.iter().copied().find(|f| *f != stale).expect("there are three");
    let old = world.net.puppet(stale).lease_set(&hash).cloned().expect("it is flooded");
    world.net.puppet_mut(stale).become_stale();
    let newer = |net: &Net| net.puppet(other).lease_set(&hash).is_some_and(|set| set.version() > old.version());
    assert!(world.net.run_until(Duration::from_mins(10), |net| newer(net)));
    assert_eq!(stores(&world, stale), 0);
    let left = Duration::from_millis(old.end() - world.net.unix_ms());
    let stored = world.net.run_until(left, |net| net.puppet(stale).stores_of(&hash) > 0);
    assert!(stored, "while the older one could still be given away, it was asked to store the newer one");
    assert_eq!(world.net.puppet(stale).lease_set(&hash).unwrap().version(), old.version());
    assert!(world.net.snapshot(server.node).locals[0].published);
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
