//! What is unusually large, and a network that is unusually small.

use crate::world::{World, local};
use ramson_core::rng::Rng;
use ramson_core::router::{Command, Event};
use ramson_core::time::Duration;
use ramson_sim::{End, Net, NodeId, Settings, Transfer};
use ramson_wire::codec::Encode;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::crypto::x25519::PublicKey;
use ramson_wire::data::lease_set2::{EncryptionKey, Flags, Times, Unsigned};
use ramson_wire::data::{AnyLeaseSet, Destination, Hash, Lease2, LeaseSet2, Mapping};
use ramson_wire::i2np::database_store::{DatabaseStore, Entry, StoreReply};
use ramson_wire::i2np::{Kind, Message};
use std::net::SocketAddr;
use std::sync::Arc;

/// A router that publishes as many addresses as fit, and a floodfill that does.
#[test]
fn large_router_infos_are_shown_published_and_found() {
    let mut net = Net::new(Settings { seed: 70, ..Settings::default() });
    let routers: Vec<NodeId> = (0..6).map(|_| net.add_router()).collect();
    let many = |config: &mut ramson_core::router::Config| {
        let first = config.listen[0];
        config.listen.extend((1..15).map(|n| SocketAddr::new(first.ip(), first.port() + n)));
    };
    let large = net.add_router_with(0, many);
    let floodfill = net.add_router_with(0, |config| {
        many(config);
        config.floodfill = ramson_core::netdb::FloodfillMode::Yes;
    });
    let floodfills = [floodfill, net.add_floodfill(), net.add_floodfill()];
    for node in [large, floodfill] {
        let len = net.info(node).as_bytes().len();
        assert!((2_049..=ramson_wire::data::router_info::MAX_LEN).contains(&len), "{len} bytes");
    }
    // The large router is known to the floodfills alone, by what it publishes itself.
    for a in routers.iter().chain(&floodfills) {
        for b in routers.iter().chain(&floodfills).filter(|b| *b != a) {
            net.introduce(*a, *b);
        }
    }
    for floodfill in floodfills {
        net.introduce(floodfill, large);
    }
    net.run_for(Duration::from_mins(15));
    let hash = net.hash(large);
    for floodfill in floodfills {
        assert!(net.router(floodfill).is_told(&hash), "{floodfill:?} has it by a store or by flooding");
    }
    let knows = |node: &&NodeId| net.router(**node).known_routers().any(|info| info.hash() == hash);
    assert!(routers.iter().filter(knows).count() >= 2, "others have found it");
    let (serves, session) = (net.snapshot(floodfill), net.snapshot(large));
    assert!(serves.flood.stored > 0 && session.links.sessions > 2, "{:?}, {:?}", serves.flood, session.links);
}

fn lease_set(net: &Net, seed: u8, options: usize) -> LeaseSet2 {
    let now = u32::try_from(net.unix_ms() / 1000).unwrap();
    let key = SigningKey::from_seed([seed; 32]);
    let values: Vec<(String, String)> = (0..options).map(|n| (format!("_http._tcp.{n:03}"), "x".repeat(200))).collect();
    let pairs = values.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let unsigned = Unsigned {
        destination: Destination::new(key.verifying_key(), &mut Rng::from_seed([seed; 32])),
        times: Times { published: now, expires: 590, flags: Flags::default(), offline: None },
        options: Mapping::from_pairs(pairs).unwrap(),
        keys: vec![EncryptionKey::x25519(PublicKey([4; 32]))],
        leases: vec![Lease2 { gateway: Hash([9; 32]), tunnel_id: 1, end: now + 590 }; 16],
    };
    unsigned.sign(&key).unwrap()
}

/// LeaseSets of 2 to 8 KiB, stored at a floodfill by a link: passed on, and found by a destination through tunnels.
#[test]
fn large_lease_sets_are_passed_on_and_found() {
    let mut world = World::with(Settings { seed: 71, ..Settings::default() });
    let puppet = world.net.add_puppet();
    world.net.reseed();
    let (client, _) = world.destination(world.routers[0]);
    world.wait_for(&[client]);
    for (number, options) in [(1, 6), (2, 14), (3, 30)] {
        let set = lease_set(&world.net, number, options);
        let (key, len) = (set.key(), set.as_bytes().len());
        assert!((2_048..=ramson_wire::data::lease_set2::MAX_LEN).contains(&len), "{len}");
        let reply = StoreReply { token: 70, tunnel: 0, gateway: world.net.hash(puppet) };
        let body = DatabaseStore::new(Entry::LeaseSet(Arc::new(AnyLeaseSet::V2(set))), Some(reply)).to_bytes();
        let expiration = world.net.unix_ms() + 30_000;
        let message = Message { kind: Kind::DATABASE_STORE, id: u32::from(number), expiration, body };
        let at = world.floodfills[usize::from(number) % 3];
        world.net.tell(puppet, at, message);
        world.net.run_for(Duration::from_secs(5));
        let holders = world.floodfills.iter().filter(|f| world.net.router(**f).lease_set_of_others(&key).is_some());
        assert_eq!(holders.count(), 3, "{len} bytes are passed on");
        assert_eq!(look_up(&mut world.net, client, key), Some(key), "{len} bytes are found");
    }
}

fn look_up(net: &mut Net, client: End, hash: Hash) -> Option<Hash> {
    net.take_events(client.node);
    net.command(client.node, Command::Lookup { destination: client.destination, token: 1, hash });
    let mut found = None;
    net.run_until(Duration::from_secs(60), |net| {
        for (_, event) in net.take_events(client.node) {
            if let Event::LookedUp { destination, .. } = event {
                found = Some(destination.map(|d| d.hash()));
            }
        }
        found.is_some()
    });
    found.flatten()
}

/// A network with one floodfill: destinations are published and found, on other routers, and on the floodfill itself,
/// which stores and asks at itself by its tunnels as at any other.
#[test]
fn one_floodfill_is_enough_also_for_those_who_live_on_it() {
    for seed in [72, 73] {
        let mut world = World::with_floodfills(Settings { seed, ..Settings::default() }, 1);
        let here = world.floodfills[0];
        let (on_it, on_it_hash) = world.destination(here);
        let (beside, _) = world.destination(here);
        let (other, other_hash) = world.destination(world.routers[2]);
        world.wait_for(&[on_it, beside, other]);
        assert!([on_it, beside, other].iter().all(|end| local(&world.net, *end).published));
        for (client, server, hash) in [(other, on_it, on_it_hash), (on_it, other, other_hash)] {
            let mut transfer = Transfer::open(&mut world.net, client, server, hash, 3_000, 0);
            let done = world.net.run_until(Duration::from_mins(2), |net| transfer.pump(net));
            assert!(done, "seed {seed}: {client:?} to {server:?}: {:?}", transfer.progress());
        }
        world.net.take_events(here);
        let connect = Command::Connect { destination: beside.destination, token: 9, to: on_it_hash, ports: (0, 80) };
        world.net.command(here, connect);
        let (mut opened, mut accepted) = (false, false);
        let both = world.net.run_until(Duration::from_mins(1), |net| {
            for (_, event) in net.take_events(here) {
                opened |= matches!(event, Event::StreamOpened { token: 9, .. });
                accepted |= matches!(event, Event::StreamAccepted { .. });
            }
            opened && accepted
        });
        assert!(both, "seed {seed}: opened: {opened}, accepted: {accepted}");
    }
}
