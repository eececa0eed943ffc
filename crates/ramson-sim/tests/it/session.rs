//! Two routers and one clock.

use ramson_core::time::Duration;
use ramson_sim::Pair;

#[test]
fn two_routers_make_one_session() {
    for seed in 0..5 {
        let mut pair = Pair::new(seed);
        let (a, b) = (pair.a, pair.b);
        let stand = pair.net.run_until(Duration::from_secs(60), |net| {
            net.snapshot(a).links.sessions > 0 && net.snapshot(b).links.sessions > 0
        });
        assert!(stand, "no session with seed {seed}");
        pair.net.run_for(Duration::from_secs(30));
        let sessions = [a, b].map(|id| pair.net.snapshot(id).links.sessions);
        assert_eq!(sessions, [1, 1], "seed {seed}");
    }
}
