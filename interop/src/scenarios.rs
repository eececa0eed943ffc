//! What scenarios do that tell whether something works. Each is a function over a [`World`]; it says what it saw, or why it failed. Every wait has a bound.

use std::time::{Duration, Instant};

use crate::subject::SITE_NAME;
use crate::world::{Pending, Route, World, begin, curl, until_page};

/// A cold start: the subject knows nothing but the seeds.
pub(crate) const COLD: Duration = Duration::from_secs(150);
/// The subject's first LeaseSet, or a new one while peers hold the old: i2pd asks again only after a while.
pub(crate) const LEASES: Duration = Duration::from_secs(200);
/// No byte for so long ends a transfer.
pub(crate) const STALL: Duration = Duration::from_secs(60);

pub(crate) fn page(world: &mut World) -> Result<String, String> {
    let (ours, site) = (world.ours(0)?, world.their_site()?);
    let first = until_page(&ours, &site, COLD)?;
    expect_pong(&curl(&ours, &format!("http://{site}/ping"))?)?;
    expect_pong(&curl(&ours, &format!("http://{SITE_NAME}/ping"))?)?;
    let again = begin(&ours, &format!("http://{site}/ping"), STALL, STALL, &[])?.end()?;
    Ok(format!(
        "first page by b32 after {}, then by curl and by name; again in {} ms",
        seconds(first),
        again.first_byte.as_millis()
    ))
}

pub(crate) fn serve(world: &mut World) -> Result<String, String> {
    let (theirs, site) = (world.theirs()?, world.our_site(0)?);
    let first = until_page(&theirs, &site, LEASES)?;
    expect_pong(&curl(&theirs, &format!("http://{site}/ping"))?)?;
    let closed = world.subject(0)?.stop("TERM")?;
    world.restart(0)?;
    let after = world.our_site(0)?;
    if after != site {
        return Err(format!("another destination after the restart: {after}, was {site}"));
    }
    let again = found_again(world, &theirs, &site)?;
    let (first, closed, again) = (seconds(first), seconds(closed), seconds(again));
    Ok(format!("read after {first}; closed in {closed}; read again {again} after the restart"))
}

/// The page of a subject that was restarted, by an i2pd that knows no LeaseSet. Where its look-up came before the new
/// LeaseSet was stored, it keeps the old one until that ends: it is made to forget again.
fn found_again(world: &mut World, theirs: &Route, site: &str) -> Result<Duration, String> {
    let start = Instant::now();
    let mut last = String::new();
    for _ in 0..3 {
        world.forget_leases()?;
        match until_page(theirs, site, Duration::from_secs(60)) {
            Ok(_) => return Ok(start.elapsed()),
            Err(why) => last = why,
        }
    }
    Err(last)
}

pub(crate) fn refusals(world: &mut World) -> Result<String, String> {
    let (ours, site) = (world.ours(0)?, world.their_site()?);
    until_page(&ours, &site, COLD)?;
    let ip = world.subject(0)?.ip.clone();
    let identity = world.subject(0)?.identity()?;
    let by_ip = world.net.testnet(&["why", "--ip", &format!("{ip}:"), "--top", "100"])?;
    let by_identity = world.net.testnet(&["why", "--ident", &identity, "--top", "100"])?;
    let mut lines: Vec<&str> = by_ip.lines().chain(by_identity.lines()).collect();
    lines.dedup();
    let (bad, plain): (Vec<&str>, Vec<&str>) = lines.into_iter().partition(|line| !is_ordinary(line));
    if bad.is_empty() {
        return Ok(format!("none in the logs of 12 routers; {} kinds of ordinary lines about it", plain.len()));
    }
    Err(format!("{} kinds of refusals:\n{}", bad.len(), bad.join("\n")))
}

/// What i2pd also logs about another i2pd that joins, closes or restarts.
fn is_ordinary(line: &str) -> bool {
    [
        "End of file",
        "Connection reset by peer",
        "Connection refused",
        "Broken pipe",
        "Operation canceled",
        "not found, requested",
    ]
    .iter()
    .any(|ordinary| line.contains(ordinary))
}

pub(crate) fn restart(world: &mut World) -> Result<String, String> {
    let (ours, theirs) = (world.ours(0)?, world.theirs()?);
    let (their_site, our_site) = (world.their_site()?, world.our_site(0)?);
    until_page(&ours, &their_site, COLD)?;
    let identity = world.subject(0)?.identity()?;
    let mut said = Vec::new();
    for signal in ["TERM", "KILL"] {
        let busy =
            begin(&ours, &format!("http://{their_site}/file/1/50000000"), STALL, STALL, &["down", "1", "50000000"])?;
        std::thread::sleep(Duration::from_secs(2));
        world.subject(0)?.stop(signal)?;
        if busy.end().is_ok() {
            said.push("(the transfer was over before the end)".to_owned());
        }
        world.restart(0)?;
        if world.subject(0)?.identity()? != identity || world.our_site(0)? != our_site {
            return Err(format!("another identity or destination after SIG{signal}"));
        }
        let reads = until_page(&ours, &their_site, COLD)?;
        let serves = found_again(world, &theirs, &our_site)?;
        said.push(format!("SIG{signal}: reads after {}, then serves after {}", seconds(reads), seconds(serves)));
    }
    Ok(said.join("; "))
}

/// Lets everybody know these subjects, which are floodfills, from the start: the peers are restarted, so that they have
/// them in their netDb as they have each other, and so are all subjects.
pub(crate) fn acquaint(world: &mut World, floodfills: &[usize]) -> Result<(), String> {
    let names: Vec<String> = world.net.peers()?.into_iter().map(|peer| peer.name).collect();
    for (place, number) in floodfills.iter().enumerate() {
        let info = world.subject(*number)?.dir.join("data/router.info").to_string_lossy().into_owned();
        let mut args = vec!["add-ri", &info];
        if place + 1 == floodfills.len() {
            args.push("--to");
            args.extend(names.iter().map(String::as_str));
        }
        world.net.testnet(&args)?;
    }
    for number in 0..world.running().len() {
        world.subject(number)?.stop("TERM")?;
        world.restart(number)?;
    }
    Ok(())
}

/// The subjects are floodfills, and everybody knows them from the start.
pub(crate) fn floodfill(world: &mut World) -> Result<String, String> {
    const SUBJECTS: usize = 3;
    for number in 0..SUBJECTS {
        world.subject(number)?;
    }
    acquaint(world, &[0, 1, 2])?;
    let (ours, theirs) = (world.ours(0)?, world.theirs()?);
    let (our_site, their_site) = (world.our_site(1)?, world.their_site()?);
    let mut said = Vec::new();
    for (what, route, site) in [
        ("i2pd reads i2pd", &theirs, &their_site),
        ("i2pd reads ours", &theirs, &our_site),
        ("ours reads i2pd", &ours, &their_site),
        ("ours reads ours", &ours, &our_site),
    ] {
        let first = until_page(route, site, LEASES).map_err(|why| format!("{what}: {why}"))?;
        expect_pong(&curl(route, &format!("http://{site}/ping"))?)?;
        said.push(format!("{what} after {}", seconds(first)));
    }
    // Once more from nothing, so that the LeaseSet is asked for again.
    world.forget_leases()?;
    let again = until_page(&theirs, &their_site, COLD)?;
    said.push(format!("again after {}", seconds(again)));
    let mut sums = [0; 3];
    for number in 0..SUBJECTS {
        let kept = world.subject(number)?.kept()?;
        println!("     mine{} keeps {} LeaseSets, took {} stores, answered {}", number + 1, kept[0], kept[1], kept[2]);
        sums.iter_mut().zip(kept).for_each(|(sum, of_one)| *sum += of_one);
    }
    match sums {
        [lease_sets, stored, answered] if lease_sets >= 2 && stored >= 10 && answered >= 3 => {
            said.push(format!("{lease_sets} LeaseSets kept, {stored} stores, {answered} answers"));
            Ok(said.join("; "))
        }
        _ => Err(format!("{}; but the subjects have kept, taken and answered only {sums:?}", said.join("; "))),
    }
}

pub(crate) fn two_subjects(world: &mut World) -> Result<String, String> {
    let mut said = Vec::new();
    for (client, server) in [(0, 1), (1, 0)] {
        let site = world.our_site(server)?;
        let route = world.ours(client)?;
        let first = until_page(&route, &site, LEASES)?;
        expect_pong(&curl(&route, &format!("http://{site}/ping"))?)?;
        said.push(format!("mine{} reads mine{} after {}", client + 1, server + 1, seconds(first)));
    }
    Ok(said.join("; "))
}

pub(crate) fn hop(world: &mut World) -> Result<String, String> {
    let ours = world.ours(0)?;
    until_page(&ours, &world.their_site()?, COLD)?;
    let subject = world.subject(0)?;
    let (ip, identity) = (subject.ip.clone(), subject.identity()?);
    let short: String = identity.chars().take(4).collect();
    let (theirs, site) = (world.theirs()?, world.their_site()?);
    // The client is restarted below, and comes back with the routers that it had at its start. A while after that it
    // would find the subject by exploring.
    let (info, client) = (subject_info(world)?, world.net.peer("client")?.name);
    world.net.testnet(&["add-ri", &info, "--to", &client])?;
    let start = Instant::now();
    loop {
        // Traffic of i2pd's own. Its client starts with new tunnels each time, until some of them lead through the
        // subject. A stream keeps the tunnels that it began with, so it takes several to use them all.
        world.forget_leases()?;
        until_page(&theirs, &site, COLD)?;
        let url = format!("http://{site}/file/5/2000000");
        let streams = (0..8).map(|_| begin(&theirs, &url, STALL, STALL * 2, &["down", "5", "2000000"]));
        let streams = streams.collect::<Result<Vec<_>, _>>()?;
        let moved: Vec<_> = streams.into_iter().map(Pending::end).collect();
        let (mut sessions, mut tunnels, mut most) = (0, 0, 0.0f64);
        for peer in world.net.peers()? {
            let lines = world.net.console(&peer, "transports")?;
            sessions +=
                usize::from(lines.lines().any(|line| line.contains(&format!("{ip}:")) && line.contains(&short)));
            for line in world.net.console(&peer, "tunnels")?.lines() {
                if line.contains(&format!("{short} ")) && line.contains("established") {
                    tunnels += 1;
                    most = most.max(kibibytes(line));
                }
            }
        }
        if sessions > 0 && tunnels > 0 && most > 500.0 {
            let after = seconds(start.elapsed());
            return Ok(format!(
                "peer of {sessions} routers, hop of {tunnels} tunnels, one with {most:.0} KiB, after {after}"
            ));
        }
        if start.elapsed() > Duration::from_secs(400) {
            let lost = moved.into_iter().find_map(Result::err);
            let moved = lost.map_or_else(String::new, |why| format!("; i2pd's own transfer: {why}"));
            return Err(format!("peer of {sessions} routers, hop of {tunnels} tunnels, at most {most:.0} KiB{moved}"));
        }
    }
}

/// The file with the RouterInfo of the first subject.
fn subject_info(world: &mut World) -> Result<String, String> {
    Ok(world.subject(0)?.dir.join("data/router.info").to_string_lossy().into_owned())
}

/// The amount at the end of a console's line about a tunnel, such as `established, 41.16 KiB`.
fn kibibytes(line: &str) -> f64 {
    let Some((_, amount)) = line.rsplit_once(", ") else { return 0.0 };
    let mut words = amount.split_whitespace();
    let number: f64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    match words.next() {
        Some("MiB") => number * 1024.0,
        Some("GiB") => number * 1024.0 * 1024.0,
        _ => number,
    }
}

/// Host and route of the three pairs, once each has moved a page.
fn pairs(world: &mut World) -> Result<Vec<(Route, String)>, String> {
    let pairs = vec![
        (world.ours(0)?, world.their_site()?),
        (world.theirs()?, world.our_site(0)?),
        (world.ours(1)?, world.our_site(0)?),
    ];
    for (route, site) in &pairs {
        until_page(route, site, LEASES)?;
    }
    Ok(pairs)
}

pub(crate) fn transfer(world: &mut World) -> Result<String, String> {
    let bytes = number("INTEROP_TRANSFER_MB", 100) * 1_000_000;
    let mut said = Vec::new();
    for (pair, (route, site)) in pairs(world)?.iter().enumerate() {
        for way in ["down", "up"] {
            let got = one_transfer(route, site, way, 100 + pair as u64, bytes)?.end()?;
            let rate = bytes as f64 / 1e6 / got.total.as_secs_f64();
            println!(
                "     {} {way} {} MB of {}..: {rate:.2} MB/s, SHA-256 equal",
                route.what,
                bytes / 1_000_000,
                &site[..8]
            );
            said.push(format!("{rate:.2}"));
        }
    }
    Ok(format!("{} MB each, MB/s: {}", bytes / 1_000_000, said.join(" ")))
}

pub(crate) fn one_transfer(route: &Route, site: &str, way: &str, seed: u64, bytes: u64) -> Result<Pending, String> {
    let (seed_text, bytes_text) = (seed.to_string(), bytes.to_string());
    let url = if way == "up" { format!("http://{site}/sink") } else { format!("http://{site}/file/{seed}/{bytes}") };
    // A tenth of a megabyte a second is slower than anything worth calling a pass.
    let limit = Duration::from_secs(120 + bytes / 100_000);
    // The sink answers only after its last byte, and the proxies between hold many bytes: a longer stall than usual.
    begin(route, &url, STALL * if way == "up" { 3 } else { 1 }, limit, &[way, &seed_text, &bytes_text])
}

pub(crate) fn eight(world: &mut World) -> Result<String, String> {
    let mut said = Vec::new();
    let (ours, their_site) = (world.ours(0)?, world.their_site()?);
    let (theirs, our_site) = (world.theirs()?, world.our_site(0)?);
    for (route, site) in [(ours, their_site), (theirs, our_site)] {
        until_page(&route, &site, LEASES)?;
        let start = Instant::now();
        let all: Result<Vec<Pending>, String> =
            (0..8).map(|seed| one_transfer(&route, &site, "down", 200 + seed, 10_000_000)).collect();
        for pending in all? {
            pending.end()?;
        }
        said.push(format!("{}: {:.2} MB/s together", route.what, 80.0 / start.elapsed().as_secs_f64()));
    }
    Ok(said.join("; "))
}

pub(crate) fn lossy(world: &mut World) -> Result<String, String> {
    let (ours, theirs) = (world.ours(0)?, world.theirs()?);
    let (their_site, our_site) = (world.their_site()?, world.our_site(0)?);
    world.net.testnet(&["link", "--delay-ms", "25", "--loss", "0.5"])?;
    let result = (|| {
        let mut said = Vec::new();
        for (route, site) in [(&ours, &their_site), (&theirs, &our_site)] {
            let page = until_page(route, site, LEASES)?;
            let got = one_transfer(route, site, "down", 400, 20_000_000)?.end()?;
            said.push(format!(
                "{}: page after {}, 20 MB at {:.2} MB/s",
                route.what,
                seconds(page),
                got.megabytes_per_second()
            ));
        }
        Ok(said.join("; "))
    })();
    world.net.testnet(&["link", "--clear"])?;
    result
}

pub(crate) fn long(world: &mut World) -> Result<String, String> {
    const RATE: u64 = 200_000;
    let duration = number("INTEROP_LONG_SECONDS", 1_500);
    let (ours, their_site) = (world.ours(0)?, world.their_site()?);
    let (theirs, our_site) = (world.theirs()?, world.our_site(0)?);
    until_page(&ours, &their_site, COLD)?;
    until_page(&theirs, &our_site, LEASES)?;
    let bytes = duration * RATE;
    let start = |route: &Route, site: &str, seed: u64| {
        let url = format!("http://{site}/file/{seed}/{bytes}/{RATE}");
        let limit = Duration::from_secs(duration + 300);
        begin(route, &url, STALL, limit, &["down", &seed.to_string(), &bytes.to_string()])
    };
    let (down, up) = (start(&ours, &their_site, 500)?, start(&theirs, &our_site, 501)?);
    let (down, up) = (down.end(), up.end());
    let minutes = |total: Duration| total.as_secs_f64() / 60.0;
    let (down, up) = (down?, up?);
    Ok(format!(
        "read for {:.1} minutes and served for {:.1}, {bytes} bytes each, SHA-256 equal",
        minutes(down.total),
        minutes(up.total)
    ))
}

pub(crate) fn mixed(world: &mut World) -> Result<String, String> {
    Ok([page(world)?, serve(world)?, two_subjects(world)?].join("; "))
}

pub(crate) fn ipv6(world: &mut World) -> Result<String, String> {
    let said = [page(world)?, serve(world)?, refusals(world)?].join("; ");
    let (sessions, elsewhere) = world.subject(0)?.sessions("[2a0c:110:")?;
    if elsewhere.is_empty() && sessions > 0 {
        return Ok(format!("{said}; {sessions} sessions over IPv6"));
    }
    Err(format!("{sessions} sessions over IPv6, and others: {}", elsewhere.join(", ")))
}

pub(crate) fn ssu2(world: &mut World) -> Result<String, String> {
    let said = [page(world)?, transfer(world)?, two_subjects(world)?, serve(world)?].join("; ");
    crate::udp::over_udp_alone(world)?;
    Ok(said)
}

pub(crate) fn proxy(world: &mut World) -> Result<String, String> {
    let mut said = vec![page(world)?, serve(world)?];
    let site = world.their_site()?;
    let second = world.ours(1)?;
    said.push(format!("second subject: page after {}", seconds(until_page(&second, &site, COLD)?)));
    for number in [0, 1] {
        let subject = world.subject(number)?;
        let (sessions, elsewhere) = subject.sessions("127.0.0.1:")?;
        let carried = subject.carried()?;
        if !elsewhere.is_empty() || sessions == 0 || carried < sessions {
            return Err(format!("{sessions} of {carried} connections; past the proxy: {}", elsewhere.join(", ")));
        }
        if subject.publishes_its_address()? {
            return Err(format!("{} publishes its address, although it is behind a proxy", subject.name));
        }
        said.push(format!("{sessions} sessions, all through its proxy"));
    }
    Ok(said.join("; "))
}

fn expect_pong(text: &str) -> Result<(), String> {
    if text == "pong" { Ok(()) } else { Err(format!("another page than was served: {text}")) }
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_amounts() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0]), 2.5);
        assert_eq!(kibibytes("> Ax~~ X > 68:me ( 4ms ) established, 41.16 KiB "), 41.16);
        assert_eq!(kibibytes("established (exploratory), 2.00 MiB"), 2048.0);
    }
}
