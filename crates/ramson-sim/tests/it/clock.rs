//! Clocks that are wrong.

use crate::world::World;
use ramson_core::time::Duration;
use ramson_sim::{Net, NodeId, Settings};

const HOURS_3: i64 = 3 * 3_600_000;
const DAY: i64 = 86_400_000;
const YEARS_10: i64 = 3_653 * DAY;

/// How far the network's time as a node has it is off, in milliseconds.
fn error(net: &Net, node: NodeId, skew: i64) -> i64 {
    net.snapshot(node).clock_offset_ms + skew
}

/// A router that starts with a clock that is ahead by `skew`, in a world that runs, out of a reseed that was signed
/// just now.
fn late_router(seed: u64, skew: i64) -> (World, NodeId) {
    let mut world = World::new(seed);
    world.net.run_for(Duration::from_mins(1));
    let late = world.net.add_router_with(skew, |_| {});
    let signed = world.net.unix_ms();
    world.net.set_time_floor(late, signed);
    world.net.reseed_one(late);
    (world, late)
}

#[test]
fn p37_a_clock_three_hours_off_converges_from_peers() {
    for (seed, skew) in [(1, HOURS_3), (2, -HOURS_3)] {
        let (mut world, late) = late_router(seed, skew);
        let converged = world.net.run_until(Duration::from_mins(5), |net| error(net, late, skew).abs() <= 2_000);
        assert!(converged, "skew {skew}: offset {}", world.net.snapshot(late).clock_offset_ms);
        world.net.run_for(Duration::from_mins(10));
        let snapshot = world.net.snapshot(late);
        assert!((snapshot.clock_offset_ms + skew).abs() <= 2_000, "skew {skew}: it stays");
        let pool = snapshot.exploratory;
        assert!(pool.inbound >= 2 && pool.outbound >= 2, "skew {skew}: it takes part: {snapshot:?}");
        for router in &world.routers {
            assert!(world.net.snapshot(*router).clock_offset_ms.abs() <= 2_000, "nobody follows one wrong clock");
        }
    }
}

/// Threats P-36: from a second to ten years, ahead and behind.
#[test]
fn p36_any_offset_converges_and_takes_part() {
    for (seed, skew) in (1..).zip([1_000, 45_000, 90_000, 3_600_000, DAY, 400 * DAY, YEARS_10]) {
        for skew in [skew, -skew] {
            let (mut world, late) = late_router(seed, skew);
            let converged = world.net.run_until(Duration::from_mins(5), |net| {
                let pool = net.snapshot(late).exploratory;
                error(net, late, skew).abs() <= 5_000 && pool.inbound > 0 && pool.outbound > 0
            });
            let snapshot = world.net.snapshot(late);
            assert!(converged, "seed {seed}, skew {skew}: {snapshot:?}");
            assert_eq!(snapshot.faults, 0);
        }
    }
}

/// Threats P-36: a system clock that is set while the router runs, forwards and backwards, and one that drifts.
#[test]
fn p36_steps_and_drift_are_followed() {
    for (seed, step) in [(1, HOURS_3), (2, -HOURS_3), (5, -YEARS_10), (6, YEARS_10)] {
        let mut world = World::new(seed);
        world.net.run_for(Duration::from_mins(5));
        let router = world.routers[3];
        world.net.set_skew(router, step);
        let followed = world.net.run_until(Duration::from_mins(30), |net| {
            let pool = net.snapshot(router).exploratory;
            error(net, router, step).abs() <= 5_000 && pool.inbound >= 2 && pool.outbound >= 2
        });
        let snapshot = world.net.snapshot(router);
        assert!(followed, "seed {seed}, step {step}: {snapshot:?}");
        assert_eq!(snapshot.faults, 0);
        for other in world.routers.iter().filter(|other| **other != router) {
            assert!(world.net.snapshot(*other).clock_offset_ms.abs() <= 5_000, "seed {seed}: others stay");
        }
    }
    // As far as 200 millionths lead in ten hours, in one: 7 seconds.
    let mut world = World::new(7);
    let router = world.routers[3];
    for minute in 0..60 {
        world.net.set_skew(router, minute * 120);
        world.net.run_for(Duration::from_mins(1));
    }
    let off = error(&world.net, router, 60 * 120);
    assert!(off.abs() <= 8_000, "{off} ms");
}

/// Threats P-36: the ends of the clocks of 31 and of 32 bits.
#[test]
fn p36_the_years_2038_and_2106() {
    for (end, goes_on) in [(1 << 31, true), (u64::from(u32::MAX), false)] {
        let start_unix_ms = (end - 300) * 1000;
        let mut world = World::with(Settings { seed: 38, start_unix_ms, ..Settings::default() });
        world.net.run_for(Duration::from_mins(4));
        let before = world.net.snapshot(world.routers[0]).exploratory;
        assert!(before.inbound >= 2 && before.outbound >= 2, "before {end}: {before:?}");
        world.net.run_for(Duration::from_mins(20));
        for router in &world.routers {
            let snapshot = world.net.snapshot(*router);
            assert_eq!(snapshot.faults, 0);
            let pool = snapshot.exploratory;
            // In 2106 the seconds of the protocols end; nothing here does but the tunnels.
            assert!(!goes_on || pool.inbound >= 2 && pool.outbound >= 2, "after {end}: {snapshot:?}");
        }
    }
}

/// Threats P-36: two of five routers lie about their clocks with one voice.
#[test]
fn p36_two_fifths_of_the_routers_lie() {
    for (seed, lie) in [(1, 3_600_000), (2, -3_600_000), (3, 40_000), (4, -40_000), (5, 20_000)] {
        let mut net = Net::new(Settings { seed, ..Settings::default() });
        let honest: Vec<_> = (0..9).map(|_| net.add_router()).collect();
        (0..7).for_each(|_| _ = net.add_router_with(lie, |_| {}));
        (0..3).for_each(|_| _ = net.add_floodfill());
        net.reseed();
        for _ in 0..10 {
            net.run_for(Duration::from_mins(1));
            for router in &honest {
                let offset = net.snapshot(*router).clock_offset_ms;
                assert!(offset.abs() <= 30_000, "seed {seed}, lie {lie}: {offset}");
            }
        }
    }
}
