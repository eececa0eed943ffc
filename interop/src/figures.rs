//! The scenarios that measure: lines `FIGURE name ours peer unit`, medians of rounds in which the subject and i2pd take
//! turns, so that whatever else the machine does meets both.

use std::time::{Duration, Instant};

use crate::drops::CARRIERS;
use crate::scenarios::{LEASES, median, number, one_transfer};
use crate::subject::usage_of;
use crate::world::{Pending, Route, World, begin, until_page};

/// Rounds of each figure; `INTEROP_ROUNDS` changes it.
const ROUNDS: u64 = 5;

/// Who reads from whom: subjects are 1 (the reader) and 2 (the server).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    /// The second subject's site, read by the first.
    Own,
    /// i2pd's site, read by the first subject.
    FromPeer,
    /// The second subject's site, read by i2pd.
    ToPeer,
    /// i2pd's site, read by i2pd.
    Peers,
}

/// What a pair of ends did in one round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    /// Millions of bytes a second, all streams together.
    pub(crate) rate: f64,
    /// The fastest stream's rate by the slowest one's.
    spread: f64,
    /// Milliseconds of CPU per MB at the reader and at the server.
    reader: f64,
    server: f64,
    /// Resident memory of both, in MB.
    reader_memory: f64,
    server_memory: f64,
}

impl Pair {
    /// Where the requests start, and the host that they ask for.
    pub(crate) fn ends(self, world: &mut World) -> Result<(Route, String), String> {
        world.subject(1)?;
        let route = match self {
            Self::Own | Self::FromPeer => world.ours(0)?,
            Self::ToPeer | Self::Peers => world.theirs()?,
        };
        let site = match self {
            Self::Own | Self::ToPeer => world.our_site(1)?,
            Self::FromPeer | Self::Peers => world.their_site()?,
        };
        Ok((route, site))
    }

    /// CPU and memory of reader and server.
    fn usage(self, world: &mut World) -> Option<[(f64, f64); 2]> {
        let peer = |role| world.net.peer(role).ok()?.pid.and_then(usage_of);
        let (client, server) = (peer("client"), peer("server"));
        let reader = match self {
            Self::Own | Self::FromPeer => world.subject(0).ok()?.usage(),
            Self::ToPeer | Self::Peers => client,
        };
        let server = match self {
            Self::Own | Self::ToPeer => world.subject(1).ok()?.usage(),
            Self::FromPeer | Self::Peers => server,
        };
        Some([reader?, server?])
    }

    pub(crate) fn warm(self, world: &mut World) -> Result<(), String> {
        let (route, site) = self.ends(world)?;
        until_page(&route, &site, LEASES).map(|_| ())
    }

    /// `streams` downloads of `bytes` each at once.
    fn run(self, world: &mut World, seed: u64, streams: u64, bytes: u64) -> Result<Run, String> {
        let (route, site) = self.ends(world)?;
        let before = self.usage(world);
        let start = Instant::now();
        let pending: Result<Vec<Pending>, String> =
            (0..streams).map(|stream| one_transfer(&route, &site, "down", seed * 100 + stream, bytes)).collect();
        let mut rates = Vec::new();
        for pending in pending? {
            rates.push(pending.end()?.megabytes_per_second());
        }
        let megabytes = (streams * bytes) as f64 / 1e6;
        let rate = if streams == 1 { rates[0] } else { megabytes / start.elapsed().as_secs_f64() };
        rates.sort_by(f64::total_cmp);
        let spread = rates.last().unwrap_or(&1.0) / rates.first().unwrap_or(&1.0);
        let mut run = Run { rate, spread, ..Run::default() };
        if let (Some(before), Some(after)) = (before, self.usage(world)) {
            let cost = |end: usize| (after[end].0 - before[end].0) * 1000.0 / megabytes;
            (run.reader, run.server) = (cost(0), cost(1));
            (run.reader_memory, run.server_memory) = (after[0].1, after[1].1);
        }
        println!("     {self:?} x{streams}: {run:.2?}");
        Ok(run)
    }
}

/// The median of one field of several runs.
fn of(runs: &[Run], field: impl Fn(&Run) -> f64) -> f64 {
    median(&mut runs.iter().map(field).collect::<Vec<f64>>())
}

/// Runs of our pair and of the peer's in turn.
pub(crate) fn in_turn(world: &mut World, ours: Pair, streams: u64, bytes: [u64; 2]) -> Result<[Vec<Run>; 2], String> {
    let mut runs = [Vec::new(), Vec::new()];
    for pair in [ours, Pair::Peers] {
        pair.warm(world)?;
    }
    for round in 0..number("INTEROP_ROUNDS", ROUNDS).max(1) {
        for (side, pair) in [ours, Pair::Peers].into_iter().enumerate() {
            let run = match pair.run(world, 1 + round * 2 + side as u64, streams, bytes[side]) {
                // What i2pd loses by itself is its affair: nothing arrived.
                Err(why) if pair == Pair::Peers => {
                    println!("     {pair:?} x{streams}: {why}");
                    Run::default()
                }
                result => result?,
            };
            runs[side].push(run);
        }
    }
    Ok(runs)
}

/// Prints a figure, and says it.
pub(crate) fn figure(name: &str, ours: f64, peer: f64, unit: &str) -> String {
    println!("FIGURE {name} {ours:.3} {peer:.3} {unit}");
    format!("{name} {ours:.2} against {peer:.2} {unit}")
}

/// One stream and eight between all pairs, with CPU and memory at the ends.
pub(crate) fn throughput(world: &mut World) -> Result<String, String> {
    const BYTES: u64 = 32_000_000;
    let net = if world.spec.way.is_udp() { "net-ssu2" } else { "net" };
    let mut said = Vec::new();
    // `INTEROP_PAIRS` names those to measure: a short form for who looks at one of them.
    let wanted = std::env::var("INTEROP_PAIRS").unwrap_or_else(|_| "own,from-i2pd,to-i2pd,eight".to_owned());
    let wanted = |name: &str| wanted.split(',').any(|part| part == name);
    let pairs = [("own", Pair::Own), ("from-i2pd", Pair::FromPeer), ("to-i2pd", Pair::ToPeer)];
    for (name, pair) in pairs.into_iter().filter(|(name, _)| wanted(name)) {
        let [ours, theirs] = in_turn(world, pair, 1, [BYTES; 2])?;
        let rate = |runs: &[Run]| of(runs, |run| run.rate);
        said.push(figure(&format!("{net}-stream-{name}"), rate(&ours), rate(&theirs), "MB/s"));
        if pair != Pair::ToPeer {
            let cpu = |runs: &[Run]| of(runs, |run| run.reader);
            said.push(figure(&format!("{net}-reader-cpu-{name}"), cpu(&ours), cpu(&theirs), "ms/MB"));
        }
        if pair != Pair::FromPeer {
            let cpu = |runs: &[Run]| of(runs, |run| run.server);
            said.push(figure(&format!("{net}-server-cpu-{name}"), cpu(&ours), cpu(&theirs), "ms/MB"));
        }
    }
    if !wanted("eight") {
        return Ok(said.join("; "));
    }
    let [ours, theirs] = in_turn(world, Pair::Own, 8, [BYTES / 4; 2])?;
    let name = |what: &str| format!("{net}-{what}");
    said.push(figure(&name("eight-streams"), of(&ours, |run| run.rate), of(&theirs, |run| run.rate), "MB/s"));
    said.push(figure(&name("eight-spread"), of(&ours, |run| run.spread), of(&theirs, |run| run.spread), "ratio"));
    let memory = |runs: &[Run]| runs.iter().map(|run| run.reader_memory.max(run.server_memory)).fold(0.0, f64::max);
    said.push(figure(&name("memory"), memory(&ours), memory(&theirs), "MB"));
    Ok(said.join("; "))
}

/// Where routers under test carry all tunnels: ours and i2pd's ends take turns.
pub(crate) fn own_hops(world: &mut World) -> Result<String, String> {
    const BYTES: u64 = 32_000_000;
    for number in 2..2 + CARRIERS {
        world.subject(number)?;
    }
    let before: Vec<f64> = world.running().iter().filter_map(|subject| Some(subject.usage()?.0)).collect();
    let [ours, theirs] = in_turn(world, Pair::Own, 1, [BYTES; 2])?;
    let mut said = vec![figure("net-own-hops", of(&ours, |run| run.rate), of(&theirs, |run| run.rate), "MB/s")];
    let after: Vec<f64> = world.running().iter().filter_map(|subject| Some(subject.usage()?.0)).collect();
    // Every byte of either pair passes six hops, whoever of the seven they are.
    let cost: f64 = after.iter().zip(&before).skip(2).map(|(after, before)| after - before).sum();
    let passed = (ours.len() + theirs.len()) as f64 * BYTES as f64 / 1e6 * 6.0;
    println!("FIGURE net-own-hops-cpu {:.2} - ms/MB", cost * 1000.0 / passed);
    let [ours, theirs] = in_turn(world, Pair::Own, 8, [BYTES / 4; 2])?;
    said.push(figure("net-own-hops-eight", of(&ours, |run| run.rate), of(&theirs, |run| run.rate), "MB/s"));
    let memory = world.running().iter().filter_map(|subject| Some(subject.usage()?.1)).fold(0.0, f64::max);
    println!("FIGURE net-own-hops-memory {memory:.1} - MB");
    said.push(format!("a hop: {:.2} ms/MB, {memory:.0} MB", cost * 1000.0 / passed));
    Ok(said.join("; "))
}

/// Runs one stream of our pair and of the peer's with these properties of every link.
pub(crate) fn over_links(world: &mut World, name: &str, link: &[&str], bytes: [u64; 2]) -> Result<String, String> {
    for pair in [Pair::Own, Pair::Peers] {
        pair.warm(world)?;
    }
    world.net.testnet(&[&["link"], link].concat())?;
    let runs = in_turn(world, Pair::Own, 1, bytes);
    world.net.testnet(&["link", "--clear"])?;
    let [ours, theirs] = runs?;
    Ok(figure(name, of(&ours, |run| run.rate), of(&theirs, |run| run.rate), "MB/s"))
}

/// One stream over links with delays, one way.
pub(crate) fn delays(world: &mut World) -> Result<String, String> {
    let mut said = Vec::new();
    for (delay, bytes) in
        [("2", [16_000_000, 4_000_000]), ("10", [16_000_000, 1_500_000]), ("25", [8_000_000, 800_000])]
    {
        said.push(over_links(world, &format!("net-delay-{delay}ms"), &["--delay-ms", delay], bytes)?);
    }
    Ok(said.join("; "))
}

/// One stream over links that lose packets, which the kernel's TCP sends again.
pub(crate) fn losses(world: &mut World) -> Result<String, String> {
    let mut said = Vec::new();
    for loss in ["0.1", "0.5", "1"] {
        let name = format!("net-loss-{loss}%");
        said.push(over_links(world, &name, &["--loss", loss], [8_000_000; 2])?);
    }
    Ok(said.join("; "))
}

/// The time to the first byte of new streams, ours and i2pd's in turn.
pub(crate) fn new_streams(world: &mut World) -> Result<String, String> {
    const STREAMS: usize = 200;
    for pair in [Pair::Own, Pair::Peers] {
        pair.warm(world)?;
    }
    world.net.testnet(&["link", "--delay-ms", "10"])?;
    let result = (|| {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..STREAMS {
            for (side, pair) in [Pair::Own, Pair::Peers].into_iter().enumerate() {
                if side == 1 && round % 10 > 0 {
                    continue; // twenty of the peer's give its median
                }
                let (route, site) = pair.ends(world)?;
                let limit = Duration::from_secs(120);
                let got = begin(&route, &format!("http://{site}/ping"), limit, limit, &[])?.end()?;
                times[side].push(got.first_byte.as_secs_f64() * 1000.0);
            }
        }
        Ok::<_, String>(times)
    })();
    world.net.testnet(&["link", "--clear"])?;
    let [mut ours, mut theirs] = result?;
    let worst = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let (our_worst, their_worst) = (worst(&ours), worst(&theirs));
    Ok([
        figure("net-new-stream", median(&mut ours), median(&mut theirs), "ms"),
        figure("net-new-stream-worst", our_worst, their_worst, "ms"),
    ]
    .join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_one_field() {
        let run = |rate| Run { rate, spread: -rate, ..Run::default() };
        let runs = [run(3.0), run(1.0), run(2.0)];
        assert_eq!((of(&runs, |run| run.rate), of(&runs, |run| run.spread)), (2.0, -2.0));
    }
}
