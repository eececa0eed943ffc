//! Whether a router finds out what stands in front of it, and publishes that.

use crate::world::World;
use ramson_core::reach::{Nat as Front, Reachability};
use ramson_core::time::Duration;
use ramson_sim::{Link, Nat, NatKind, NodeId, Settings, Transport};

fn settings(seed: u64) -> Settings {
    let (delay, jitter) = (Duration::from_millis(20), Duration::from_millis(10));
    let link = Link { delay, jitter, loss: 0.02, duplicated: 0.01, reordered: 0.02, ..Link::default() };
    Settings { seed, link, transport: Transport::Udp, ..Settings::default() }
}

/// A world in which one router has no address that it was told of, and stands behind this.
fn world(seed: u64, nat: Option<NatKind>) -> (World, NodeId) {
    let mut world = World::of(settings(seed), 40, 1);
    let home = world.net.add_router_with(0, |config| {
        config.publishable = false;
        config.listen.clear();
    });
    world.net.set_nat(home, nat);
    world.net.reseed_one(home);
    (world, home)
}

/// The verdict of the router, once it has one.
fn verdict(world: &mut World, home: NodeId) -> Reachability {
    world.net.run_until(Duration::from_secs(900), |net| net.snapshot(home).reach[0] != Reachability::Unknown);
    world.net.snapshot(home).reach[0]
}

#[test]
fn a_router_finds_out_what_stands_in_front_of_it() {
    let kinds = [
        (None, Reachability::Open),
        (Some(NatKind::FULL_CONE), Reachability::Open),
        (Some(NatKind { keeps_port: false, ..NatKind::FULL_CONE }), Reachability::Open),
        (Some(NatKind::RESTRICTED), Reachability::Firewalled(Front::Filtering)),
        (Some(NatKind::PORT_RESTRICTED), Reachability::Firewalled(Front::Filtering)),
        (Some(NatKind::SYMMETRIC), Reachability::Firewalled(Front::Symmetric)),
    ];
    for (seed, (kind, expected)) in kinds.into_iter().cycle().take(12).enumerate() {
        let (mut world, home) = world(seed as u64, kind);
        assert_eq!(verdict(&mut world, home), expected, "{kind:?}, seed {seed}");
        world.net.run_for(Duration::from_secs(5));
        let status = world.net.snapshot(home);
        let outer = world.net.nat(home).map(Nat::outer);
        match expected {
            Reachability::Open => {
                let [addr] = status.published_udp[..] else { panic!("{:?}", status.published_udp) };
                assert!(outer.is_none_or(|outer| outer == addr.ip()), "{kind:?}");
                assert!(status.reachable);
            }
            _ => assert!(!status.reachable && status.published_udp.is_empty(), "{kind:?}"),
        }
        // It stays so.
        world.net.run_for(Duration::from_secs(120));
        assert_eq!(world.net.snapshot(home).reach[0], expected, "{kind:?}, seed {seed}");
    }
}

/// Where routers have both transports most sessions are over TCP, and Bob has none with a Charlie: he dials one.
#[test]
fn tests_find_a_charlie_where_most_sessions_are_over_tcp() {
    for seed in 0..4 {
        let settings = Settings { transport: Transport::Both, ..settings(seed) };
        let mut world = World::of(settings, 40, 1);
        // The others have made their tests long ago.
        world.net.run_for(Duration::from_mins(10));
        let home = world.net.add_router_with(0, |config| {
            config.publishable = false;
            config.listen.clear();
        });
        world.net.set_nat(home, Some(NatKind::PORT_RESTRICTED));
        world.net.reseed_one(home);
        let begun = world.net.now();
        assert_eq!(verdict(&mut world, home), Reachability::Firewalled(Front::Filtering), "seed {seed}");
        let took = world.net.now().since(begun);
        assert!(took < Duration::from_secs(60), "seed {seed}: {took:?}");
    }
}
