//! How much of a line a session uses, in virtual time, and what it leaves to others.

use super::*;

/// Keeps the outbox of flow `flow` filled.
fn feed(line: &mut Line, flow: usize, id: &mut u32) {
    while line.waiting(flow, 0) < 300_000 {
        *id += 1;
        assert!(line.push(flow, 0, message(*id, 1028)));
    }
}

/// Runs for so many seconds after a start of two; bytes of bodies per second that each flow has got through.
fn goodput(line: &mut Line, seconds: u64) -> Vec<f64> {
    let flows = (0..).take_while(|flow| *flow < line.flows()).collect::<Vec<_>>();
    let (mut id, start) = (0, line.now() + Duration::from_secs(2));
    let mut bytes = vec![0usize; flows.len()];
    let end = start + Duration::from_secs(seconds);
    while line.now() < end {
        for flow in &flows {
            feed(line, *flow, &mut id);
        }
        let until = line.now() + ms(5);
        while line.step(until) {}
        for flow in &flows {
            let got: usize = line.take(*flow, 1).iter().map(|message| message.body.len()).sum();
            bytes[*flow] += if line.now() > start { got } else { 0 };
        }
    }
    bytes.into_iter().map(|bytes| bytes as f64 / seconds as f64).collect()
}

/// The share of the line that one session uses for messages.
fn utilisation(mbit: u64, rtt: u64, loss: f64, buffer_ms: u64, seconds: u64) -> f64 {
    let rate = mbit * 125_000;
    let buffer = rate * buffer_ms / 1_000;
    let config = LineConfig { delay: ms(rtt) / 2, rate, buffer, loss, ..LineConfig::default() };
    let mut line = Line::new(config, 1);
    let used = goodput(&mut line, seconds)[0] / rate as f64;
    let stats = line.stats(0, 0);
    println!(
        "{mbit:>3} Mbit/s, {rtt:>3} ms, loss {:.1} %, buffer {buffer_ms:>3} ms: {:.1} % used; window {}, lost {}, late {}",
        loss * 100.0,
        used * 100.0,
        stats.window,
        stats.packets_lost,
        stats.packets_late
    );
    used
}

#[test]
fn a_good_line_is_used_whole() {
    for (mbit, rtt) in [(10, 10), (10, 100), (100, 10), (100, 100)] {
        let used = utilisation(mbit, rtt, 0.0, rtt.max(20), if mbit > 10 { 2 } else { 8 });
        // 1,028 of the bytes of a packet of 1,100.
        assert!(used > 0.85, "{mbit} Mbit/s, {rtt} ms: {used}");
    }
}

#[test]
fn a_lossy_line_is_used_all_the_same() {
    for (mbit, rtt, loss) in [(10, 10, 0.01), (10, 100, 0.01), (10, 100, 0.02), (100, 10, 0.02), (100, 100, 0.01)] {
        let used = utilisation(mbit, rtt, loss, rtt.max(20), if mbit > 10 { 2 } else { 8 });
        assert!(used > 0.75, "{mbit} Mbit/s, {rtt} ms, {loss}: {used}");
    }
}

/// Beside a flow that is CUBIC and nothing else, as TCP is: neither starves the other.
#[test]
fn it_is_fair_against_tcp() {
    for (rtt, buffer_ms) in [(40, 40), (40, 160), (40, 10)] {
        let rate = 1_250_000;
        let config = LineConfig { delay: ms(rtt) / 2, rate, buffer: rate * buffer_ms / 1_000, ..LineConfig::default() };
        let mut line = Line::new(config, 2);
        line.transfer(1, 0).window.be_strict();
        let shares = goodput(&mut line, 30);
        let ratio = shares[0] / shares[1];
        println!(
            "10 Mbit/s, {rtt} ms, buffer {buffer_ms} ms: {:.0} and {:.0} B/s, ratio {ratio:.2}",
            shares[0], shares[1]
        );
        assert!((0.33..3.0).contains(&ratio), "{ratio}");
        assert!(shares.iter().sum::<f64>() > 0.8 * rate as f64);
    }
}

#[test]
fn two_sessions_share_a_line() {
    let rate = 1_250_000;
    let mut line = Line::new(LineConfig { rate, buffer: rate / 20, ..LineConfig::default() }, 2);
    let shares = goodput(&mut line, 20);
    let ratio = shares[0] / shares[1];
    assert!((0.5..2.0).contains(&ratio), "{shares:?}");
}
