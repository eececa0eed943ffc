//! Clocks that are wrong.

use crate::world::World;
use ramson_core::time::Duration;

const HOURS_3: i64 = 3 * 3_600_000;

#[test]
fn a_clock_three_hours_off_converges_from_peers() {
    for (seed, skew) in [(1, HOURS_3), (2, -HOURS_3)] {
        let mut world = World::new(seed);
        world.net.run_for(Duration::from_mins(1));
        let late = world.net.add_router_with(skew, |_| {});
        // A reseed bundle was signed before; a clock behind that is known to be wrong.
        let signed = world.net.unix_ms();
        world.net.set_time_floor(late, signed);
        world.net.reseed_one(late);
        let converged = world
            .net
            .run_until(Duration::from_mins(5), |net| (net.snapshot(late).clock_offset_ms + skew).abs() <= 2_000);
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
