//! Ramson where the others have SSU2 alone: for a long time, after restarts, and behind a translator whose public
//! address changes.

use std::time::{Duration, Instant};

use crate::nat::Nat;
use crate::net::Way;
use crate::scenarios::{COLD, LEASES, STALL, number, restart, seconds, two_subjects};
use crate::subject::Place;
use crate::world::{Route, World, begin, until_page};

/// Minutes of `ssu2-long`; `INTEROP_SSU2_MINUTES` changes it.
const MINUTES: u64 = 25;
/// Bytes a second of its two streams.
const RATE: u64 = 200_000;
/// Between two pages of one kind.
const PAUSE: Duration = Duration::from_secs(3);
/// A page that is not there by then is a failure.
const PAGE: Duration = Duration::from_secs(30);
/// What may fail of the pages with an end of ours, in percent.
const MOST_FAILURES: f64 = 2.0;

/// Ends with an error when subjects have sessions over TCP; those between two subjects may be.
pub(crate) fn over_udp_alone(world: &mut World) -> Result<(), String> {
    let ip = world.subject(1)?.ip.clone();
    let other = if ip.contains(':') { format!("[{ip}]:") } else { format!("{ip}:") };
    let (_, elsewhere) = world.subject(0)?.sessions(&other)?;
    if elsewhere.is_empty() { Ok(()) } else { Err(format!("sessions over TCP: {}", elsewhere.join(", "))) }
}

/// Where all have both transports, pages, files and tests of reachability work as with one.
pub(crate) fn both(world: &mut World) -> Result<String, String> {
    let mut said = vec![crate::scenarios::page(world)?, crate::scenarios::transfer(world)?, two_subjects(world)?];
    said.push(crate::scenarios::serve(world)?);
    for subject in [0, 1] {
        let after = crate::reach::until_open(world, subject)?;
        said.push(format!("{} open after {}", world.subject(subject)?.name, seconds(after)));
    }
    Ok(said.join("; "))
}

/// After SIGTERM and SIGKILL the same router serves again, over UDP.
pub(crate) fn restarts(world: &mut World) -> Result<String, String> {
    let said = [restart(world)?, two_subjects(world)?].join("; ");
    over_udp_alone(world)?;
    Ok(said)
}

/// Pages of all pairs beside a stream each way, for so long that every tunnel is made anew twice and every session has
/// rotated its tokens.
pub(crate) fn long(world: &mut World) -> Result<String, String> {
    let time = Duration::from_secs(60 * number("INTEROP_SSU2_MINUTES", MINUTES));
    let (ours, theirs) = (world.ours(0)?, world.theirs()?);
    let (our_site, their_site) = (world.our_site(1)?, world.their_site()?);
    let pairs = [
        ("ours reads i2pd", &ours, &their_site),
        ("i2pd reads ours", &theirs, &our_site),
        ("ours reads ours", &ours, &our_site),
    ];
    for (what, route, site) in pairs {
        until_page(route, site, LEASES).map_err(|why| format!("{what}: {why}"))?;
    }
    let bytes = time.as_secs() * RATE;
    let stream = |route: &Route, site: &str, seed: u64| {
        let url = format!("http://{site}/file/{seed}/{bytes}/{RATE}");
        let limit = time + Duration::from_secs(300);
        begin(route, &url, STALL, limit, &["down", &seed.to_string(), &bytes.to_string()])
    };
    let (down, up) = (stream(&ours, &their_site, 510)?, stream(&theirs, &our_site, 511)?);
    let start = Instant::now();
    let mut counts = [(0u32, 0u32); 3];
    while start.elapsed() < time {
        for ((what, route, site), (read, failed)) in pairs.into_iter().zip(&mut counts) {
            *read += 1;
            if let Err(why) = begin(route, &format!("http://{site}/ping"), PAGE, PAGE, &[])?.end() {
                *failed += 1;
                println!("     after {}: {what}: {why}", seconds(start.elapsed()));
            }
        }
        std::thread::sleep(PAUSE);
    }
    let (down, up) = (down.end()?, up.end()?);
    over_udp_alone(world)?;
    let (read, failed) = counts.iter().fold((0, 0), |(read, failed), one| (read + one.0, failed + one.1));
    let kinds: Vec<String> = pairs
        .iter()
        .zip(counts)
        .map(|((what, ..), (read, failed))| format!("{what} {read} times, {failed} failed"))
        .collect();
    let said = format!(
        "{}; streams of {bytes} bytes each way, longest pauses {} and {}",
        kinds.join(", "),
        seconds(down.gap),
        seconds(up.gap)
    );
    if f64::from(failed) * 100.0 > MOST_FAILURES * f64::from(read) {
        return Err(format!("{said}: more than {MOST_FAILURES} % of pages failed"));
    }
    Ok(said)
}

/// A stream with its end behind a translator goes on when the translator's public address changes, both ways.
pub(crate) fn renumber(world: &mut World) -> Result<String, String> {
    const BYTES: u64 = 12_000_000;
    const AT_RATE: u64 = 600_000;
    let mut said = Vec::new();
    let kind = world.kind().clone();
    for nat in [Nat::PortRestricted, Nat::Symmetric] {
        let subject = world.add(&kind, Place::Behind(nat))?;
        let (ours, their_site) = (world.ours(subject)?, world.their_site()?);
        until_page(&ours, &their_site, COLD)?;
        let (theirs, our_site) = (world.theirs()?, world.our_site(subject)?);
        until_page(&theirs, &our_site, LEASES)?;
        for (what, route, site) in [("reads", &ours, &their_site), ("serves", &theirs, &our_site)] {
            let url = format!("http://{site}/file/7/{BYTES}/{AT_RATE}");
            let transfer = begin(route, &url, STALL, STALL * 3, &["down", "7", &BYTES.to_string()])?;
            std::thread::sleep(Duration::from_secs(6));
            let name = world.subject(subject)?.name.clone();
            let now = world.net.renumber(&name)?;
            let got = transfer.end().map_err(|why| format!("{} {what}, {now}: {why}", nat.name()))?;
            println!("     {}: {what} on from {now}, longest pause {}", nat.name(), seconds(got.gap));
            said.push(format!("{} {what}: {}", nat.name(), seconds(got.gap)));
        }
    }
    Ok(format!("longest pauses: {}", said.join(", ")))
}

/// The same pages where routers have one family or both.
pub(crate) fn families(world: &mut World) -> Result<String, String> {
    debug_assert_eq!(world.spec.way, Way::Families, "the network of this scenario");
    let said = [crate::scenarios::page(world)?, crate::scenarios::serve(world)?, two_subjects(world)?].join("; ");
    over_udp_alone(world)?;
    Ok(said)
}
