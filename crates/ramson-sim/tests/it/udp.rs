//! Networks whose links are sessions over UDP.

use crate::world::World;
use ramson_core::time::Duration;
use ramson_sim::{Link, NatKind, Net, Progress, Settings, Transfer, Transport};

const BYTES: u64 = 600_000;
const PACE: u64 = 100_000;

fn settings(seed: u64, loss: f64) -> Settings {
    let (delay, jitter) = (Duration::from_millis(15), Duration::from_millis(5));
    let link = Link { delay, jitter, loss, duplicated: loss, reordered: loss, ..Link::default() };
    Settings { seed, link, transport: Transport::Udp, ..Settings::default() }
}

/// Moves so many bytes each way between two destinations; `halfway` happens once in between.
fn transfer(world: &mut World, mut halfway: impl FnMut(&mut Net)) {
    let (client, _) = world.destination(world.routers[0]);
    let (server, to) = world.destination(world.routers[1]);
    world.wait_for(&[client, server]);
    let mut transfer = Transfer::open(&mut world.net, client, server, to, BYTES, PACE);
    let until = world.net.now() + Duration::from_mins(4);
    let mut happened = false;
    while world.net.now() < until && world.net.step(until) && !transfer.pump(&mut world.net) {
        if !happened && transfer.received().iter().all(|received| *received > BYTES / 3) {
            happened = true;
            halfway(&mut world.net);
        }
    }
    assert!(happened);
    assert_eq!(transfer.progress(), Progress::Done, "{:?}", transfer.received());
}

#[test]
fn streams_run_over_udp_alone_though_packets_are_lost() {
    for (seed, loss) in [(1, 0.0), (2, 0.01), (3, 0.03)] {
        let mut world = World::with(settings(seed, loss));
        transfer(&mut world, |_| {});
        for id in &world.routers {
            let udp = world.net.udp(*id);
            assert!(udp.received > 100 && udp.too_long == 0, "{udp:?}");
            assert_eq!(udp.lost > 0, loss > 0.0);
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run_over_udp() {
    let run = || {
        let mut world = World::with(settings(4, 0.02));
        world.net.run_for(Duration::from_secs(60));
        (world.net.trace().hash(), world.net.trace().events())
    };
    assert_eq!(run(), run());
}

/// A router that nobody can dial goes out through a translator, which forgets it in the middle of a transfer: its peers
/// see it elsewhere then, and go on.
#[test]
fn a_router_behind_a_translator_serves_and_moves() {
    for kind in [NatKind::FULL_CONE, NatKind::RESTRICTED, NatKind::PORT_RESTRICTED, NatKind::SYMMETRIC] {
        let mut world = World::with(settings(5, 0.005));
        let home = world.net.add_router_with(0, |config| config.publishable = false);
        world.net.set_nat(home, Some(kind));
        world.net.reseed_one(home);
        world.routers[1] = home;
        let before = world.net.udp(home).received;
        transfer(&mut world, |net| net.rebind_nat(home));
        let udp = world.net.udp(home);
        assert!(udp.received > before + 500, "{kind:?}: {udp:?}");
    }
}
