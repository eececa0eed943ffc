//! Hops that die in the middle of a transfer, without a word: it goes on by other tunnels.

use crate::world::World;
use ramson_core::time::{Duration, Instant};
use ramson_sim::{Link, Net, Progress, Settings, Transfer};

/// Each way.
const BYTES: u64 = 4_000_000;
const PACE: u64 = 100_000;
const HOPS: usize = 10;

/// How hops are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Their processes die, and come back a while later.
    Killed,
    /// Their machines are cut off for good: nobody is told.
    Silent,
}

/// Runs a transfer during which `victims` of the hops are lost at once; gives the longest time in which an end received
/// nothing.
fn stall(seed: u64, victims: usize, loss: Loss) -> Duration {
    let link = Link { delay: Duration::from_millis(2), jitter: Duration::from_millis(1), ..Link::IDEAL };
    let mut world = World::of(Settings { seed, link, ..Settings::default() }, 2 + HOPS, 3);
    let (client, _) = world.destination(world.routers[0]);
    let (server, to) = world.destination(world.routers[1]);
    world.wait_for(&[client, server]);
    world.net.run_for(Duration::from_secs(20));
    let skip = usize::try_from(seed).unwrap() % HOPS;
    let dead: Vec<_> = world.routers[2..].iter().copied().cycle().skip(skip).take(victims).collect();
    let mut transfer = Transfer::open(&mut world.net, client, server, to, BYTES, PACE);
    let start = world.net.now();
    let (mut last, mut longest) = ([(start, 0); 2], Duration::ZERO);
    let mut watch = |net: &mut Net, until: Instant| {
        while net.now() < until && net.step(until) && !transfer.pump(net) {
            for (last, received) in last.iter_mut().zip(transfer.received()) {
                if received < BYTES {
                    longest = longest.max(net.now().since(last.0));
                }
                if received > last.1 {
                    *last = (net.now(), received);
                }
            }
        }
    };
    watch(&mut world.net, start + Duration::from_secs(8));
    dead.iter().for_each(|id| if loss == Loss::Killed { world.net.kill(*id) } else { world.net.isolate(*id) });
    watch(&mut world.net, start + Duration::from_secs(23));
    dead.iter().filter(|_| loss == Loss::Killed).for_each(|id| world.net.start(*id));
    watch(&mut world.net, start + Duration::from_mins(5));
    assert_eq!(transfer.progress(), Progress::Done, "seed {seed}: {:?}", transfer.received());
    longest
}

/// The stalls of some seeds, the shortest first.
fn stalls(victims: usize, loss: Loss, seeds: u64) -> Vec<Duration> {
    let mut stalls: Vec<_> = (0..seeds).map(|seed| stall(seed, victims, loss)).collect();
    stalls.sort_unstable();
    stalls
}

#[test]
fn a_transfer_survives_the_loss_of_a_hop() {
    let stalls = stalls(1, Loss::Killed, 4);
    assert!(stalls.iter().all(|stall| *stall < Duration::from_secs(3)), "{stalls:?}");
}

/// Most tunnels of both ends are lost at once, and with them what their LeaseSets say.
#[test]
fn a_transfer_survives_the_loss_of_most_tunnels() {
    let stalls = stalls(4, Loss::Killed, 6);
    assert!(stalls[3] < Duration::from_secs(5) && stalls[5] < Duration::from_secs(15), "{stalls:?}");
}

/// Only tests of tunnels and builds without an answer tell of these.
#[test]
fn a_transfer_survives_hops_that_fall_silent() {
    let stalls = stalls(2, Loss::Silent, 6);
    assert!(stalls[3] < Duration::from_secs(10) && stalls[5] < Duration::from_secs(25), "{stalls:?}");
}
