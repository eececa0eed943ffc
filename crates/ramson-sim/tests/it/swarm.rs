//! Faults drawn by the seed, and recovery when they are over. `RAMSON_SEEDS=1000` runs more seeds than usual, from
//! `RAMSON_FIRST_SEED` on.

use crate::world::World;
use ramson_core::rng::Rng;
use ramson_core::time::Duration;
use ramson_sim::{Link, Progress, Settings, Transfer};
use std::collections::BTreeSet;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Five minutes in which, every ten seconds, a router is killed or started, a pair cut off or healed, or a link made
/// slow.
fn faults(world: &mut World, rng: &mut Rng, mut each: impl FnMut(&mut World)) {
    let (mut down, mut cut) = (BTreeSet::new(), BTreeSet::new());
    // The first two routers have the destinations. Their links may fail, but they stay.
    let victims = world.routers[2..].to_vec();
    let all: Vec<_> = world.routers.iter().chain(&world.floodfills).copied().collect();
    for _ in 0..30 {
        let victim = victims[rng.below(victims.len())];
        let pair = (all[rng.below(all.len())], all[rng.below(all.len())]);
        match rng.below(6) {
            0 if down.len() < 2 && world.net.is_up(victim) => {
                world.net.kill(victim);
                down.insert(victim);
            }
            1 | 2 => {
                if let Some(id) = down.pop_first() {
                    world.net.start(id);
                }
            }
            3 if pair.0 != pair.1 && cut.len() < 4 => {
                world.net.partition(pair.0, pair.1);
                cut.insert(pair);
            }
            4 => {
                if let Some((a, b)) = cut.pop_first() {
                    world.net.heal(a, b);
                }
            }
            5 if pair.0 != pair.1 => {
                let delay = Duration::from_millis(rng.below(400) as u64);
                world.net.set_link(pair.0, pair.1, Link { delay, refused: 0.1, ..Link::default() });
            }
            _ => {}
        }
        each(world);
    }
    down.into_iter().for_each(|id| world.net.start(id));
    cut.into_iter().for_each(|(a, b)| world.net.heal(a, b));
}

/// Whatever happens, no byte is wrong (the transfer asserts it), the law of the door holds, and when the faults are
/// over a new stream works.
#[test]
fn the_network_recovers_from_faults() {
    let first = number("RAMSON_FIRST_SEED", 100);
    let mut broken = Vec::new();
    let seeds = number("RAMSON_SEEDS", 5);
    for seed in first..first + seeds {
        let mut world = World::with(Settings { seed, ..Settings::default() });
        let (client, _) = world.destination(world.routers[0]);
        let (server, to) = world.destination(world.routers[1]);
        world.wait_for(&[client, server]);
        let mut rng = Rng::from_seed([u8::try_from(seed % 256).unwrap(); 32]);
        let mut transfer = Transfer::open(&mut world.net, client, server, to, 300_000, 2_000);
        faults(&mut world, &mut rng, |world| {
            let end = world.net.now() + Duration::from_secs(10);
            while world.net.step(end) {
                transfer.pump(&mut world.net);
            }
        });
        world.net.run_until(Duration::from_mins(5), |net| transfer.pump(net));
        if transfer.progress() != Progress::Done {
            broken.push((seed, transfer.progress(), transfer.received()));
        }
        world.net.run_for(Duration::from_mins(3));
        world.wait_for(&[client, server]);
        let mut again = Transfer::open(&mut world.net, client, server, to, 50_000, 0);
        world.net.run_until(Duration::from_mins(3), |net| again.pump(net));
        assert_eq!(again.progress(), Progress::Done, "seed {seed}: after the faults");
    }
    // Faults may cut the two ends off for longer than a stream waits.
    println!("{} of {seeds} streams broke while there were faults: {broken:?}", broken.len());
}
