//! Routers behind translators that are reached through introducers.

use crate::world::World;
use ramson_core::time::Duration;
use ramson_sim::{Link, NatKind, NodeId, Progress, Settings, Transfer, Transport};
use ramson_wire::codec::Decode;
use ramson_wire::data::RouterInfo;

fn settings(seed: u64) -> Settings {
    let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(10));
    let link = Link { delay, jitter, loss: 0.01, duplicated: 0.01, reordered: 0.01, ..Link::default() };
    Settings { seed, link, transport: Transport::Udp, ..Settings::default() }
}

/// A router that nobody can dial, behind a translator.
fn home(world: &mut World, kind: Option<NatKind>) -> NodeId {
    let home = world.net.add_router_with(0, |config| config.publishable = false);
    world.net.set_nat(home, kind);
    world.net.reseed_one(home);
    home
}

fn is_linked(world: &World, from: NodeId, to: NodeId) -> bool {
    world.net.router(from).connected().contains(&world.net.hash(to))
}

/// Introducers that the netDb knows of a router.
fn published(world: &World, id: NodeId) -> usize {
    let info = RouterInfo::from_bytes(world.net.router(id).own_router_info()).unwrap();
    info.ssu2_addresses().iter().map(|address| address.introducers.len()).sum()
}

/// Whether the netDb knows where a router is to be dialled.
fn is_dialled(world: &World, id: NodeId) -> bool {
    let info = RouterInfo::from_bytes(world.net.router(id).own_router_info()).unwrap();
    info.ssu2_addresses().iter().any(|address| address.endpoint().is_some())
}

/// One learns what another publishes now.
fn tell(world: &mut World, of: NodeId, to: NodeId) {
    let info = RouterInfo::from_bytes(world.net.router(of).own_router_info()).unwrap();
    world.net.give_info(to, &info);
    world.net.run_for(Duration::from_millis(10));
}

/// Who is behind which translator, and whether they can meet at all.
const MATRIX: [(NatKind, Option<NatKind>, bool); 10] = [
    (NatKind::FULL_CONE, None, true),
    (NatKind::PORT_RESTRICTED, None, true),
    (NatKind::PORT_RESTRICTED, Some(NatKind::PORT_RESTRICTED), true),
    (NatKind::PORT_RESTRICTED, Some(NatKind::FULL_CONE), true),
    (NatKind::RESTRICTED, Some(NatKind::RESTRICTED), true),
    (NatKind::RESTRICTED, Some(NatKind::SYMMETRIC), true),
    (NatKind::SYMMETRIC, None, true),
    // One HolePunch for each request, and it comes before she has sent anything there.
    (NatKind::SYMMETRIC, Some(NatKind::RESTRICTED), false),
    (NatKind::SYMMETRIC, Some(NatKind::FULL_CONE), true),
    (NatKind::SYMMETRIC, Some(NatKind::SYMMETRIC), false),
];

/// Whoever can be reached is, within seconds; and who cannot is given up.
#[test]
fn routers_behind_translators_are_reached_through_introducers() {
    for (seed, (server, client, meet)) in (1..).zip(MATRIX) {
        let mut world = World::with(settings(seed));
        let server = home(&mut world, Some(server));
        let client = home(&mut world, client);
        world.net.run_for(Duration::from_mins(4));
        let introducers = world.net.router(server).introducers().len();
        // By a full cone everybody comes in. Peer tests find that out where somebody is left to whom it has not spoken, and
        // then it needs no introducers.
        let found_out = MATRIX[seed as usize - 1].0 == NatKind::FULL_CONE && introducers == 0;
        assert!(
            (found_out || (2..=3).contains(&introducers)) && published(&world, server) == introducers,
            "seed {seed}: {introducers}"
        );
        assert_eq!(introducers == 0, is_dialled(&world, server), "seed {seed}");
        // They may have met by their tunnels.
        if !is_linked(&world, client, server) {
            tell(&mut world, server, client);
            world.net.greet(client, server);
        }
        let met = world
            .net
            .run_until(Duration::from_secs(20), |net| net.router(client).connected().contains(&net.hash(server)));
        assert_eq!(met, meet, "seed {seed}: {:?}", MATRIX[seed as usize - 1]);
        world.net.run_for(Duration::from_secs(60));
        let dialling = world.net.router(client).dialling();
        assert!(dialling <= 2, "seed {seed}: {dialling} dials are stuck");
    }
}

/// A translator that lets everybody in is found out by most in time, also in a network so small that soon no stranger is left to
/// test it; and nobody who is found open keeps introducers.
#[test]
fn most_behind_full_cones_find_out_that_they_can_be_dialled() {
    let found = (1..=8).filter(|seed| {
        let mut world = World::with(settings(*seed));
        let server = home(&mut world, Some(NatKind::FULL_CONE));
        world.net.run_for(Duration::from_mins(4));
        let (dialled, introducers) = (is_dialled(&world, server), published(&world, server));
        assert_eq!(dialled, introducers == 0, "seed {seed}: {introducers}");
        dialled
    });
    let found = found.count();
    assert!(found >= 4, "{found} of 8");
}

/// Its introducers die one after the other: it finds others, and is reached by them.
#[test]
fn a_router_whose_introducers_die_finds_others() {
    for seed in [21, 22] {
        let mut world = World::with(settings(seed));
        let server = home(&mut world, Some(NatKind::PORT_RESTRICTED));
        let client = home(&mut world, Some(NatKind::PORT_RESTRICTED));
        world.net.run_for(Duration::from_mins(4));
        let first = world.net.router(server).introducers();
        assert_eq!(first.len(), 3, "seed {seed}");
        for introducer in &first {
            let node = world.net.node_of(&introducer.router).unwrap();
            world.net.kill(node);
        }
        world.net.run_for(Duration::from_mins(6));
        let then = world.net.router(server).introducers();
        assert!(!then.is_empty() && then.iter().all(|one| first.iter().all(|old| old.router != one.router)));
        if !is_linked(&world, client, server) {
            tell(&mut world, server, client);
            world.net.greet(client, server);
        }
        let met = world
            .net
            .run_until(Duration::from_secs(20), |net| net.router(client).connected().contains(&net.hash(server)));
        assert!(met, "seed {seed}");
    }
}

/// A server and its reader, both behind translators, with the whole way between.
#[test]
fn both_ends_behind_translators_move_their_bytes() {
    for (seed, server, client) in
        [(31, NatKind::PORT_RESTRICTED, NatKind::PORT_RESTRICTED), (32, NatKind::SYMMETRIC, NatKind::PORT_RESTRICTED)]
    {
        let mut world = World::with(settings(seed));
        let server = home(&mut world, Some(server));
        let client = home(&mut world, Some(client));
        let (reads, _) = world.destination(client);
        let (serves, to) = world.destination(server);
        world.wait_for(&[reads, serves]);
        let mut transfer = Transfer::open(&mut world.net, reads, serves, to, 200_000, 50_000);
        let until = world.net.now() + Duration::from_mins(4);
        while world.net.now() < until && world.net.step(until) && !transfer.pump(&mut world.net) {}
        assert_eq!(transfer.progress(), Progress::Done, "seed {seed}: {:?}", transfer.received());
    }
}
