//! The first hops of a destination (threats 4.2).

use crate::world::{World, local};
use ramson_core::router::Command;
use ramson_core::time::Duration;
use ramson_core::tunnel::Direction;
use ramson_sim::{End, NodeId, Settings};
use ramson_wire::data::Hash;
use std::collections::BTreeSet;

/// A small network, and a destination in it that has its tunnels.
fn world(seed: u64) -> (World, End) {
    let mut world = World::of(Settings { seed, ..Settings::default() }, 10, 2);
    let (end, _) = world.destination(world.routers[0]);
    world.wait_for(&[end]);
    (world, end)
}

fn first_hops(world: &World, end: End) -> Vec<Hash> {
    world.net.router(end.node).first_hops(end.destination)
}

/// The hops next to the destination's router, in all its tunnels.
fn nearest(world: &World, end: End) -> BTreeSet<Hash> {
    let paths = world.net.router(end.node).paths(Some(end.destination));
    let near = |(direction, hops): &(Direction, Vec<Hash>)| match direction {
        Direction::Inbound => hops.last().copied(),
        Direction::Outbound => hops.first().copied(),
    };
    paths.iter().filter_map(near).collect()
}

fn is_whole(world: &World, end: End) -> bool {
    let pool = local(&world.net, end).pool;
    pool.inbound >= pool.inbound_wanted && pool.outbound >= pool.outbound_wanted
}

#[test]
fn three_routers_stay_next_to_a_destination_and_each_destination_has_its_own() {
    let (mut world, end) = world(1);
    let (other, _) = world.destination(world.routers[0]);
    world.wait_for(&[end, other]);
    let chosen = first_hops(&world, end);
    assert_eq!(chosen.len(), 3);
    let (mut met, mut met_by_other) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..6 {
        world.net.run_for(Duration::from_mins(5));
        met.extend(nearest(&world, end));
        met_by_other.extend(nearest(&world, other));
        assert!(is_whole(&world, end));
    }
    assert_eq!((met.len(), met_by_other.len()), (3, 3));
    assert_eq!(met, chosen.iter().copied().collect());
    assert_ne!(first_hops(&world, other), chosen, "by a choice of its own");
}

/// Death costs no seconds: the other two serve, or others stand in; and when the dead are back, so are they.
#[test]
fn dead_first_hops_are_stood_in_for_at_once() {
    {
        let seed = 3;
        let (mut world, end) = world(seed);
        // A tunnel was built through each: before, one makes room at once.
        let mut met = BTreeSet::new();
        while met.len() < 3 {
            world.net.run_for(Duration::from_mins(2));
            met.extend(nearest(&world, end));
        }
        let chosen = first_hops(&world, end);
        let nodes: Vec<NodeId> = chosen.iter().filter_map(|hash| world.net.node_of(hash)).collect();
        world.net.kill(nodes[0]);
        let soon = world.net.run_until(Duration::from_secs(10), |net| {
            let paths = net.router(end.node).paths(Some(end.destination));
            !paths.iter().any(|(_, hops)| hops.contains(&chosen[0]))
                && local(net, end).pool.inbound > 0
                && local(net, end).pool.outbound > 0
        });
        assert!(soon, "seed {seed}: one of three is dead");
        world.net.run_for(Duration::from_secs(60));
        assert!(is_whole(&world, end), "seed {seed}");
        assert!(nearest(&world, end).iter().all(|hash| chosen[1..].contains(hash)), "seed {seed}");

        nodes[1..].iter().for_each(|node| world.net.kill(*node));
        world.net.run_for(Duration::from_secs(90));
        assert!(is_whole(&world, end), "seed {seed}: others stand in, {:?}", local(&world.net, end));
        assert!(nearest(&world, end).iter().all(|hash| !chosen.contains(hash)), "seed {seed}");
        world.net.run_for(Duration::from_mins(5));
        assert_eq!(first_hops(&world, end)[..3], chosen[..], "seed {seed}: they are not given up so soon");

        nodes.iter().for_each(|node| world.net.start(*node));
        world.net.run_for(Duration::from_mins(15));
        let back = nearest(&world, end);
        assert!(is_whole(&world, end) && back.iter().all(|hash| chosen.contains(hash)), "seed {seed}");
    }
}

#[test]
fn first_hops_that_are_kept_outlive_a_restart() {
    for kept in [true, false] {
        let mut world = World::of(Settings { seed: 9, ..Settings::default() }, 10, 2);
        let node = world.routers[0];
        let (end, hash) = world.destination(world.routers[1]);
        let own = End { node, destination: end.destination };
        if kept {
            world.net.command(node, Command::KeepGuards { destination: hash, saved: Vec::new() });
        }
        world.create(own);
        world.wait_for(&[own]);
        let before: BTreeSet<Hash> = first_hops(&world, own).into_iter().collect();
        let saved = world.net.saved_guards(node, &hash).map(<[u8]>::to_vec);
        assert_eq!(saved.is_some(), kept, "nothing is kept of a destination that is not");
        world.net.kill(node);
        world.net.start(node);
        if let Some(saved) = saved {
            world.net.command(node, Command::KeepGuards { destination: hash, saved });
        }
        world.create(own);
        world.wait_for(&[own]);
        let after: BTreeSet<Hash> = first_hops(&world, own).into_iter().collect();
        assert_eq!(after == before, kept, "{before:?} {after:?}");
    }
}
