//! Limits of bandwidth over all links.

use super::*;

const RATE: u64 = 100_000;

fn limited(incoming: Option<u64>, outgoing: Option<u64>) -> Pair {
    let mut pair = Pair::new(0);
    pair.send(0, 10);
    pair.run();
    let now = pair.now(0);
    pair.machines[0].links.set_limits(now, LinkLimits { incoming, outgoing });
    pair
}

/// What is sent keeps to the rate, all of it arrives, and the load says how near the limit is.
#[test]
fn what_is_sent_keeps_to_the_limit() {
    let mut pair = limited(None, Some(RATE));
    let before = pair.machines[0].links.stats().sent_bytes;
    (0..70).for_each(|_| assert!(pair.send(0, 10_000)));
    pair.run();
    let mut load: f64 = 0.0;
    for secs in 0..8u64 {
        let sent = pair.machines[0].links.stats().sent_bytes - before;
        let most = RATE * (secs + 1) + 2 * limits::FRAME_PAYLOAD as u64;
        assert!(sent <= most, "{sent} after {secs} s");
        assert!(sent >= (RATE * (secs + 1)).min(700_000) - 20_000, "{sent} after {secs} s");
        let now = pair.now(0);
        load = load.max(pair.machines[0].links.measure_load(now));
        pair.advance(Duration::from_secs(1));
    }
    assert!(load > 0.8, "{load}");
    assert_eq!(pair.lengths(1).len(), 71);
    pair.machines[0].links.check();
}

/// A connection that ends while it waits leaves nothing behind, and another one does not wait for it.
#[test]
fn a_connection_that_ends_waits_no_longer() {
    let mut pair = limited(None, Some(RATE));
    (0..70).for_each(|_| assert!(pair.send(0, 10_000)));
    pair.run();
    let links = &mut pair.machines[0].links;
    assert_eq!(links.stalled.len(), 1);
    links.check();
    let [(_, id), _] = pair.wires[0];
    let now = pair.now(0);
    pair.machines[0].links.handle_closed(now, id);
    assert!(pair.machines[0].links.stalled.is_empty());
    pair.machines[0].links.check();
}

/// Reading pauses when more has come than may, for as long as that takes; without a limit never.
#[test]
fn reading_pauses_at_the_limit() {
    let mut pair = limited(Some(RATE), None);
    let now = pair.now(0);
    assert_eq!(pair.machines[0].links.reads_at(now), None);
    (0..20).for_each(|_| assert!(pair.send(1, 10_000)));
    pair.run();
    let now = pair.now(0);
    let at = pair.machines[0].links.reads_at(now).unwrap();
    let pause = at.since(now.mono).as_secs_f64();
    assert!((0.9..1.1).contains(&pause), "{pause}: one second's worth too much has come");
    pair.advance(Duration::from_millis(1_200));
    let now = pair.now(0);
    assert_eq!(pair.machines[0].links.reads_at(now), None);
    pair.machines[0].links.set_limits(now, LinkLimits::default());
    (0..90).for_each(|_| assert!(pair.send(1, 10_000)));
    pair.run();
    assert_eq!(pair.machines[0].links.reads_at(now), None);
}
