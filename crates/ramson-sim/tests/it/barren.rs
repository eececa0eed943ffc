//! Tunnels that stand, and yet lead nowhere: their ends do not reach each other.

use crate::world::World;
use ramson_core::time::Duration;
use ramson_sim::{End, Progress, Transfer};
use ramson_wire::data::Hash;

/// Cuts the end of the sender's outbound tunnel off from the gateway of the lease that it uses. False where both are one.
fn cut(world: &mut World, from: End, to: &Hash) -> bool {
    let route = world.net.router(from.node).route(from.destination, to).unwrap();
    let [end, gateway] = [route.outbound[route.outbound.len() - 1], route.gateway].map(|hash| world.net.node_of(&hash));
    let (end, gateway) = (end.unwrap(), gateway.unwrap());
    if end == gateway {
        return false;
    }
    world.net.partition(end, gateway);
    true
}

fn reached(world: &mut World, client: End, server: End, to: Hash, patience: Duration) -> bool {
    let mut transfer = Transfer::open(&mut world.net, client, server, to, 2_000, 0);
    world.net.run_until(patience, |net| transfer.pump(net));
    transfer.progress() == Progress::Done
}

/// Two hops lose sight of each other, and both go on with everybody else: all tests of tunnels pass, since none of them takes
/// this way. Destinations with one tunnel each way, at both ends, find another one long before those end by themselves.
#[test]
fn tunnels_whose_ends_do_not_reach_each_other_are_left() {
    let mut tried = [0; 2];
    for (length, seeds) in [(1, 0..6), (2, 6..9)] {
        for (way, seed) in seeds.flat_map(|seed| [(0, seed), (1, seed)]) {
            let mut world = World::new(seed).with_single_tunnels(length);
            let (client, back) = world.destination(world.routers[0]);
            let (server, to) = world.destination(world.routers[1]);
            world.wait_for(&[client, server]);
            assert!(reached(&mut world, client, server, to, Duration::from_secs(30)), "seed {seed}");
            let was_cut = match way {
                0 => cut(&mut world, client, &to),
                _ => cut(&mut world, server, &back),
            };
            if !was_cut {
                continue;
            }
            tried[way] += 1;
            let first = reached(&mut world, client, server, to, Duration::from_secs(60));
            assert!(first, "seed {seed}, {}", ["to the server", "back"][way]);
            let second = reached(&mut world, client, server, to, Duration::from_secs(5));
            assert!(second, "seed {seed}, {}: the next one at once", ["to the server", "back"][way]);
        }
    }
    assert!(tried.iter().all(|tried| *tried >= 4), "{tried:?}");
}
