//! Hops under load: tunnels through both routers under test, in either order, carry a chosen rate, while a few
//! messages go through each of them alone and tell how long it keeps them.

use crate::plane::Plane;
use crate::route::{Hop, Route, Routes};
use crate::usage::Cpu;
use ramson_wire::i2np::tunnel_data::BODY_LEN;
use std::time::Duration;

/// Sessions and builds a second, so that no router takes the crowd for a flood.
const PER_SECOND: u64 = 20;
/// Routers of the crowd must be known to those that the hops ask, and first builds take their look-ups.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two probes of a hop.
const PROBE_EVERY: u64 = 50_000;
/// How long messages may be under way after the last was sent.
const DRAIN: u64 = 2_000_000;

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Millions of bytes a second.
    pub(crate) rates: Vec<f64>,
    pub(crate) seconds: u64,
    pub(crate) tunnels: u32,
    /// Routers of the crowd that send; as many others receive.
    pub(crate) members: u32,
    /// Messages of one tunnel that are sent at once. A packet of a stream makes two, and a stream has many under way.
    pub(crate) burst: u32,
}

/// Builds the tunnels and runs every rate; prints a line for each rate and hop.
pub(crate) fn run(plane: &mut Plane, hops: Vec<Hop>, load: &Load) -> Result<(), String> {
    let mut routes = Routes::new(hops);
    let count = routes.hops.len();
    let members = load.members.max(1);
    // Beside senders and receivers, two routers for the probes of each hop.
    let probers = 2 * members;
    routes.connect(plane, 0..probers + 2 * count as u32, PER_SECOND, LIMIT)?;
    for tunnel in 0..load.tunnels {
        let order: Vec<usize> = if tunnel % 2 == 0 { (0..count).collect() } else { (0..count).rev().collect() };
        let member = tunnel / 2 % members;
        routes.routes.push(Route::new(member, members + member, order));
    }
    for hop in 0..count {
        let member = probers + 2 * hop as u32;
        routes.routes.push(Route::new(member, member + 1, vec![hop]));
    }
    routes.build(plane, PER_SECOND, LIMIT)?;
    say(&format!(
        "BUILT tunnels={} declined={} unanswered={}",
        routes.routes.len(),
        routes.declined,
        routes.unanswered
    ));
    for rate in &load.rates {
        one_rate(plane, &mut routes, load, *rate)?;
    }
    Ok(())
}

fn one_rate(plane: &mut Plane, routes: &mut Routes, load: &Load, rate: f64) -> Result<(), String> {
    let loaded = load.tunnels as usize;
    for (at, route) in routes.routes.iter_mut().enumerate() {
        (route.sent, route.received, route.broken) = (0, 0, 0);
        route.times = (at >= loaded).then(Vec::new);
    }
    let cpu = |routes: &Routes| routes.hops.iter().map(|hop| Cpu::of(hop.pid)).collect::<Result<Vec<_>, _>>();
    let own = Cpu::of(std::process::id())?;
    let before = cpu(routes)?;
    let begin = plane.micros();
    let end = begin + load.seconds * 1_000_000;
    let (mut sent, mut refused, mut next_probe, mut turn) = (0_u64, 0_u64, begin, 0);
    loop {
        let micros = plane.micros();
        if micros >= end {
            break;
        }
        let now = plane.now();
        if micros >= next_probe {
            next_probe += PROBE_EVERY;
            for at in loaded..routes.routes.len() {
                routes.send(plane, now, at);
                plane.drain(routes.routes[at].sender);
            }
        }
        let due = ((micros - begin) as f64 * rate / BODY_LEN as f64) as u64;
        let mut senders = Vec::new();
        while sent < due && loaded > 0 {
            let at = turn % loaded;
            turn += 1;
            for _ in 0..load.burst.max(1) {
                refused += u64::from(!routes.send(plane, now, at));
                sent += 1;
            }
            if !senders.contains(&routes.routes[at].sender) {
                senders.push(routes.routes[at].sender);
            }
        }
        for sender in senders {
            plane.drain(sender);
        }
        plane.turn(Duration::from_millis(1))?;
        routes.take(plane);
    }
    let seconds = (plane.micros() - begin) as f64 / 1e6;
    let after = cpu(routes)?;
    let own = Cpu::of(std::process::id())?.since(own);
    while plane.micros() < end + DRAIN {
        plane.turn(Duration::from_millis(5))?;
        routes.take(plane);
    }
    let sum = |of: fn(&Route) -> u64| routes.routes.iter().take(loaded).map(of).sum::<u64>();
    let (received, broken) = (sum(|route| route.received), sum(|route| route.broken));
    let megabytes = sent as f64 * BODY_LEN as f64 / 1e6;
    let per = |milliseconds: f64| if megabytes > 0.0 { milliseconds / megabytes } else { milliseconds / seconds };
    say(&format!(
        "LOAD rate={rate} seconds={seconds:.1} sent={sent} refused={refused} received={received} broken={broken} lost={} crowd_cpu={:.2}",
        sent.saturating_sub(refused + received + broken),
        per(own.user + own.system)
    ));
    for (place, hop) in routes.hops.iter().enumerate() {
        let used = after[place].since(before[place]);
        let probe = &mut routes.routes[loaded + place];
        let (probes, answered) = (probe.sent, probe.received);
        let times = probe.times.take().unwrap_or_default();
        let [median, high] = quantiles(times);
        say(&format!(
            "HOP rate={rate} name={} user={:.3} system={:.3} cpu={:.3} median={median:.3} p99={high:.3} probes={probes} answered={answered}",
            hop.name,
            per(used.user),
            per(used.system),
            per(used.user + used.system),
        ));
    }
    Ok(())
}

/// Median and 99th percentile in milliseconds.
fn quantiles(mut times: Vec<u32>) -> [f64; 2] {
    times.sort_unstable();
    [50, 99].map(|percent| {
        let at = times.len() * percent / 100;
        times.get(at.min(times.len().saturating_sub(1))).map_or(f64::NAN, |micros| f64::from(*micros) / 1000.0)
    })
}

/// A line for whoever has started the crowd.
#[expect(clippy::print_stdout, reason = "the program's output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::quantiles;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        assert_eq!(quantiles((1..=100).rev().map(|n| n * 1000).collect()), [51.0, 100.0]);
        assert!(quantiles(Vec::new())[0].is_nan());
    }
}
