//! Threats P-38 for a router as a whole: what strangers and programs can make it hold, counted at the heap.
//!
//! Each flood comes to a floodfill that has a published destination. What it holds is what its end gives back.

#![allow(clippy::unwrap_used, reason = "a test ends where its world is not as it should be")]
#![allow(clippy::print_stdout, reason = "the figures of a test")]

mod floods;
#[allow(dead_code, reason = "the other tests use more of it")]
#[path = "../it/world.rs"]
mod world;

use cap::Cap;
use floods::Flood;
use ramson_core::keys::RouterKeys;
use ramson_core::limits;
use ramson_core::link::ConnId;
use ramson_core::rng::Rng;
use ramson_core::router::{Input, Output, Router};
use ramson_core::time::{Duration, Instant, Now};
use ramson_sim::{End, NodeId, Settings};
use ramson_wire::data::Hash;
use std::alloc::System;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::World;

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time: the heap is of all of them.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A floodfill under siege, with a published destination, and those who besiege it.
struct Siege {
    world: World,
    router: NodeId,
    server: End,
    server_hash: Hash,
    client: End,
    hostile: Vec<NodeId>,
    next: u32,
    rng: Rng,
}

impl Siege {
    fn new() -> Self {
        let mut world = World::with(Settings { seed: 38, ..Settings::default() });
        let router = world.floodfills[0];
        let hostile: Vec<NodeId> = (0..4).map(|_| world.net.add_puppet()).collect();
        world.net.reseed();
        let (server, server_hash) = world.destination(router);
        let (client, _) = world.destination(world.routers[1]);
        world.wait_for(&[server, client]);
        Self { world, router, server, server_hash, client, hostile, next: 0, rng: Rng::from_seed([38; 32]) }
    }

    /// Ends the router; what it held.
    fn held(mut self) -> usize {
        let (before, freed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (at, to, router) = (Arc::clone(&before), Arc::clone(&freed), self.router);
        self.world.net.set_meter(Some(Box::new(move |node, begins| {
            if node == router && begins {
                at.store(HEAP.allocated(), Ordering::Relaxed);
            } else if node == router && to.load(Ordering::Relaxed) == 0 {
                to.store(at.load(Ordering::Relaxed).saturating_sub(HEAP.allocated()), Ordering::Relaxed);
            }
        })));
        self.world.net.kill(router);
        freed.load(Ordering::Relaxed)
    }
}

/// Waves of everything that a stranger can send. A router under siege keeps what the limits let it keep, and of a message
/// that it does not keep, no more than its place in a filter.
#[test]
fn p38_floods_of_strangers_leave_little_behind() {
    let _turn = turn();
    endure(floods::OF_STRANGERS);
}

/// The same of programs: they ask, connect, listen and write without end.
#[test]
fn p38_floods_of_programs_leave_little_behind() {
    let _turn = turn();
    endure(floods::OF_PROGRAMS);
}

fn endure(floods: &[Flood]) {
    let base = Siege::new().held();
    assert!(base > 64 * KIB && base < 2 * MIB, "at rest it holds {base} bytes");
    for flood in floods {
        let [one, three] = [1, 3].map(|waves| {
            let mut siege = Siege::new();
            (0..waves).for_each(|_| (flood.wave)(&mut siege));
            assert_eq!(siege.world.net.snapshot(siege.router).faults, 0, "{}", flood.name);
            siege.held().saturating_sub(base)
        });
        println!("{}: {} KiB after one wave, {} KiB after three", flood.name, one / KIB, three / KIB);
        assert!(three <= flood.budget, "{}: {three} bytes are more than {}", flood.name, flood.budget);
        let left = three.saturating_sub(one) / (2 * flood.messages);
        assert!(left <= flood.each, "{}: each of them leaves {left} bytes", flood.name);
    }
}

/// Connections from everywhere that send a beginning and no more, or all that a handshake may buffer. What they make a
/// router hold goes with them.
#[test]
fn p38_connections_of_strangers_are_within_their_budget() {
    let _turn = turn();
    let mut rng = Rng::from_seed([1; 32]);
    let addr = "10.1.1.1:9000".parse().unwrap();
    let now = Now::new(Instant::ZERO, 1_790_000_000_000);
    let keys = RouterKeys::generate(&mut rng);
    let mut router = Router::new(ramson_sim::router_config(addr), keys, [2; 32], now);
    let drain = |router: &mut Router| while !matches!(router.poll_output(), Output::Timeout(_)) {};
    drain(&mut router);
    let before = HEAP.allocated();
    let mut most = 0;
    for n in 0..2_000_u32 {
        let conn = ConnId(ConnId::INBOUND | u64::from(n));
        let [_, x, y, z] = n.to_be_bytes();
        let addr = SocketAddr::from(([20, x, y, z], 4000));
        router.handle_input(now, Input::TcpAccepted { conn, addr, room: 128 * KIB });
        drain(&mut router);
        // Nobody runs the jobs of these handshakes, so all of it waits.
        let mut bytes = vec![7; [63, 60 * KIB, 60 * KIB, 100 * KIB][n as usize % 4]];
        // Else each but the first is a replay.
        bytes[..32].copy_from_slice(&rng.bytes::<32>());
        router.handle_input(now, Input::TcpData { conn, bytes: &bytes, more: false });
        drain(&mut router);
        drop(bytes);
        most = most.max(HEAP.allocated().saturating_sub(before));
    }
    let budget = limits::link::INBOUND_HANDSHAKES * (limits::link::HANDSHAKE_BUFFER + 4 * KIB);
    println!("connections: {} KiB at most", most / KIB);
    assert!((budget / 4..=budget).contains(&most), "{most} bytes, and the budget is {budget}");
    for seconds in 1..=120 {
        let now = Now::new(Instant::ZERO + Duration::from_secs(seconds), now.unix_ms + 1_000 * seconds);
        router.handle_input(now, Input::Timeout);
        drain(&mut router);
    }
    let after = HEAP.allocated().saturating_sub(before);
    assert!(after <= MIB, "{after} bytes are left of them");
}
