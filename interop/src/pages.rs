//! The scenarios that measure how long the first page takes, and what it costs the network.

use std::path::Path;
use std::time::Instant;

use crate::figures::{Pair, figure};
use crate::net::Peer;
use crate::scenarios::{COLD, LEASES, median, number};
use crate::world::{Route, World, until_page};

/// How long until both have read a page of their sites, started at the same moment.
fn both_first_pages(world: &mut World, ours: &str, theirs: &str) -> Result<[f64; 2], String> {
    let (our_route, their_route) = (world.ours(0)?, world.theirs()?);
    let (our_time, their_time) = std::thread::scope(|scope| {
        let their = scope.spawn(|| until_page(&their_route, theirs, COLD));
        (until_page(&our_route, ours, COLD), their.join())
    });
    // The peer's own failure is its affair: it counts as the whole limit.
    let their_time = their_time.ok().and_then(Result::ok).unwrap_or(COLD);
    Ok([our_time?.as_secs_f64(), their_time.as_secs_f64()])
}

/// Time to the first page, after restarts of the reader alone and of both with a new destination.
pub(crate) fn first_page(world: &mut World) -> Result<String, String> {
    let rounds = number("INTEROP_ROUNDS", 10).max(1);
    let mut said = Vec::new();
    for pair in [Pair::Own, Pair::Peers] {
        pair.warm(world)?;
    }
    let client = world.net.peer("client")?.name;
    for both in [false, true] {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..rounds {
            world.subject(0)?.stop("TERM")?;
            if both {
                let server = world.subject(1)?;
                server.stop("TERM")?;
                server.forget_site()?;
                world.net.testnet(&["newsite", &format!("site-{round}.dat")])?;
                world.restart(1)?;
            } else {
                world.net.testnet(&["restart", &client])?;
            }
            world.restart(0)?;
            let (ours, theirs) = (world.our_site(1)?, world.their_site()?);
            let [our_time, their_time] = both_first_pages(world, &ours, &theirs)?;
            println!("     round {}: {our_time:.1} s; i2pd {their_time:.1} s", round + 1);
            times[0].push(our_time);
            times[1].push(their_time);
            let route = world.ours(0)?;
            let start = Instant::now();
            until_page(&route, &theirs, COLD)?;
            times[2].push(start.elapsed().as_secs_f64());
        }
        let name = if both { "net-first-page-new" } else { "net-first-page" };
        let worsts = [worst(&times[0]), worst(&times[1])];
        let [mut ours, mut theirs, mut after] = times;
        said.push(figure(name, median(&mut ours), median(&mut theirs), "s"));
        said.push(figure(&format!("{name}-worst"), worsts[0], worsts[1], "s"));
        said.push(format!("i2pd's page {:.1} s later", median(&mut after)));
    }
    said.push(costs(world, rounds.div_ceil(2))?);
    Ok(said.join("; "))
}

fn worst(times: &[f64]) -> f64 {
    times.iter().copied().fold(0.0, f64::max)
}

/// Builds and look-ups that a restarted reader has sent when its first page is there, ours and i2pd's.
fn costs(world: &mut World, rounds: u64) -> Result<String, String> {
    let client = world.net.peer("client")?;
    let [mut builds, mut lookups, mut both] = [(); 3].map(|()| [Vec::new(), Vec::new()]);
    for round in 0..rounds {
        world.subject(0)?.stop("TERM")?;
        let before = log_of(&client).len();
        world.net.testnet(&["restart", "--loglevel", "debug", &client.name])?;
        world.restart(0)?;
        let (ours, theirs) = (world.our_site(1)?, world.their_site()?);
        let (our_route, their_route) = (world.ours(0)?, world.theirs()?);
        let peer = || {
            until_page(&their_route, &theirs, COLD).ok()?;
            Some(sent_by_i2pd(log_of(&client).get(before..).unwrap_or_default()))
        };
        let (our_count, their_count) = std::thread::scope(|scope| {
            let peer = scope.spawn(peer);
            let page = until_page(&our_route, &ours, COLD);
            let count = page.and_then(|_| world.subject(0)?.sent().ok_or_else(|| "it tells no counts".to_owned()));
            (count, peer.join().ok().flatten())
        });
        let our_count = our_count?;
        println!("     round {}: builds and look-ups {our_count:?}; i2pd {their_count:?}", round + 1);
        for (side, count) in [Some(our_count), their_count].into_iter().enumerate() {
            builds[side].extend(count.map(|(builds, _)| builds));
            lookups[side].extend(count.map(|(_, lookups)| lookups));
            both[side].extend(count.map(|(builds, lookups)| builds + lookups));
        }
    }
    world.net.testnet(&["restart", "--loglevel", "info", &client.name])?;
    let said = [("builds", builds), ("lookups", lookups), ("sent", both)].map(|(name, [mut ours, mut theirs])| {
        figure(&format!("net-first-page-{name}"), median(&mut ours), median(&mut theirs), "count")
    });
    Ok(said.join("; "))
}

fn log_of(peer: &Peer) -> String {
    let file: &Path = &peer.dir.join("i2pd.log");
    std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Builds and look-ups in a log of i2pd at level debug, which begins at its start and ends with its first page. Of the
/// look-ups of a LeaseSet the first one says nothing, so that one is counted for the page.
fn sent_by_i2pd(log: &str) -> (f64, f64) {
    let (mut builds, mut lookups) = (0.0, 1.0);
    for line in log.lines() {
        let has = |what: &str| line.contains(what);
        if has("reating destination inbound tunnel")
            || has("reating destination outbound tunnel")
            || has("Creating paired inbound tunnel")
            || has("Creating one hop ")
        {
            builds += 1.0;
        } else if has("Can't create inbound tunnel") || has("Can't create outbound tunnel") || has("Can't re-create") {
            builds -= 1.0; // it had said that it would
        } else if has("NetDbReq: Try ") || has("Destination: Requesting ") {
            lookups += 1.0;
        } else if let Some((_, rest)) = line.split_once("NetDbReq: Exploring new ") {
            lookups += rest.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0.0);
        }
    }
    (builds, lookups)
}

/// From the start with an empty data folder and a reseed bundle to the first page.
pub(crate) fn cold(world: &mut World) -> Result<String, String> {
    let rounds = number("INTEROP_ROUNDS", 5).max(1);
    let site = world.our_site(1)?;
    let warm = world.ours(1)?;
    // The server stands, and can be found.
    until_page(&warm, &world.their_site()?, LEASES)?;
    world.subject(0)?;
    let mut times = Vec::new();
    for round in 0..rounds {
        world.net.testnet(&["seed"])?;
        let subject = world.subject(0)?;
        subject.stop("TERM")?;
        subject.forget_all()?;
        let start = Instant::now();
        world.restart(0)?;
        let route: Route = world.route(0)?;
        until_page(&route, &site, COLD)?;
        times.push(start.elapsed().as_secs_f64());
        println!("     round {}: {:.1} s", round + 1, times[times.len() - 1]);
    }
    let (worst, median) = (worst(&times), median(&mut times));
    println!("FIGURE net-cold {median:.3} - s");
    println!("FIGURE net-cold-worst {worst:.3} - s");
    Ok(format!("first page after {median:.1} s, at most {worst:.1} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_i2pd_tells_what_was_sent() {
        let log = "03:00:00@1/debug - Tunnels: Creating destination inbound tunnel...\n\
            03:00:00@1/debug - Tunnels: Re-creating destination outbound tunnel...\n\
            03:00:00@1/debug - Tunnel: Creating one hop outbound tunnel\n\
            03:00:00@1/debug - Tunnels: Creating destination outbound tunnel...\n\
            03:00:00@1/error - Tunnels: Can't create outbound tunnel, no inbound tunnels found\n\
            03:00:00@1/info - NetDbReq: Exploring new 9 routers ...\n\
            03:00:00@1/info - Destination: Requesting abc at def\n\
            03:00:00@1/debug - NetDbReq: Try abc at 1 floodfill def directly\n";
        assert_eq!(sent_by_i2pd(log), (3.0, 12.0));
    }
}
