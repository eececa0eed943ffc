//! A network of which one half are routers under test and the other half i2pds, each with half of the floodfills.

use std::time::{Duration, Instant};

use crate::figures::figure;
use crate::scenarios::{LEASES, acquaint, number, seconds};
use crate::subject::PLAIN_HALF;
use crate::world::{Route, World, begin, until_page};

/// Routers under test; the first two are a reader and a server, the last three floodfills.
pub(crate) const SUBJECTS: usize = 6;
/// Minutes of pages; `INTEROP_HALF_MINUTES` changes it.
const MINUTES: u64 = 10;
/// Between two rounds of pages.
const PAUSE: Duration = Duration::from_secs(3);
/// A page that is not there by then is a failure.
const PAGE: Duration = Duration::from_secs(20);
/// What may fail of the pages with an end of ours, in percent; i2pd's own failures are its own affair.
const MOST_FAILURES: f64 = 1.0;
/// Builds of ours that must succeed once all have started, in percent. Until then i2pds decline some, and others end with the
/// hops that are restarted, which is known a minute later.
const LEAST_BUILDS: f64 = 90.0;
const STARTED: Duration = Duration::from_secs(75);
/// Of fewer builds nothing is said: tunnels last for ten minutes, and a short run sees few of them renewed.
const FEWEST: f64 = 24.0;

struct Kind {
    what: &'static str,
    route: Route,
    site: String,
    read: u32,
    failed: u32,
}

/// Starts the subjects and lets all know each other; says which subjects are floodfills.
pub(crate) fn begin_together(world: &mut World) -> Result<Vec<usize>, String> {
    let floodfills: Vec<usize> = (PLAIN_HALF..SUBJECTS).collect();
    for subject in 0..SUBJECTS {
        world.subject(subject)?;
    }
    acquaint(world, &floodfills)?;
    Ok(floodfills)
}

pub(crate) fn half(world: &mut World) -> Result<String, String> {
    let floodfills = begin_together(world)?;
    let (ours, theirs) = (world.ours(0)?, world.theirs()?);
    let (our_site, their_site) = (world.our_site(1)?, world.their_site()?);
    let mut kinds = [
        ("ours reads ours", &ours, &our_site),
        ("ours reads i2pd", &ours, &their_site),
        ("i2pd reads ours", &theirs, &our_site),
        ("i2pd reads i2pd", &theirs, &their_site),
    ]
    .map(|(what, route, site)| Kind { what, route: route.clone(), site: site.clone(), read: 0, failed: 0 });
    let mut said = Vec::new();
    for kind in &kinds {
        let first = until_page(&kind.route, &kind.site, LEASES).map_err(|why| format!("{}: {why}", kind.what))?;
        said.push(format!("{} after {}", kind.what, seconds(first)));
    }
    let mut begun = None;
    let started = Instant::now() + STARTED;
    let end = Instant::now() + Duration::from_secs(60 * number("INTEROP_HALF_MINUTES", MINUTES));
    while Instant::now() < end {
        if begun.is_none() && Instant::now() >= started {
            begun = our_builds(world)?;
        }
        for kind in &mut kinds {
            let page = begin(&kind.route, &format!("http://{}/ping", kind.site), PAGE, PAGE, &[])?.end();
            kind.read += 1;
            if let Err(why) = page {
                kind.failed += 1;
                println!("     {}: {why}", kind.what);
            }
        }
        std::thread::sleep(PAUSE);
    }
    let mut bad = 0.0f64;
    for kind in &kinds {
        said.push(format!("{}: {} of {} failed", kind.what, kind.failed, kind.read));
        if kind.what.contains("ours") {
            bad = bad.max(100.0 * f64::from(kind.failed) / f64::from(kind.read.max(1)));
        }
    }
    let builds = our_builds(world)?;
    said.push(figure("net-half-builds", builds.map_or(0.0, percent), their_builds(world)?, "percent"));
    let later = builds.zip(begun).map(|(all, first)| (all.0 - first.0, all.1 - first.1));
    let later = later.filter(|(_, all)| *all >= FEWEST);
    said.push(match later {
        Some(later) => format!("{:.1} % of our {} builds after the start succeeded", percent(later), later.1),
        None => "too few builds after the start to judge them".to_owned(),
    });
    let later = later.map(percent);
    let mut kept = 0;
    for subject in floodfills {
        // i2pd in our place says nothing of it.
        kept += world.subject(subject)?.kept().map_or(1, |[lease_sets, ..]| lease_sets);
    }
    said.push(format!("our floodfills keep {kept} LeaseSets"));
    let said = said.join("; ");
    match later {
        _ if bad > MOST_FAILURES => Err(format!("{bad:.1} % of pages failed: {said}")),
        _ if kept == 0 => Err(format!("no LeaseSet came to our floodfills: {said}")),
        Some(later) if later < LEAST_BUILDS => Err(format!("{later:.1} % of our builds succeeded: {said}")),
        _ => Ok(said),
    }
}

/// How many builds of ours succeeded so far, and of how many, of all subjects together; nothing where they are i2pds.
fn our_builds(world: &mut World) -> Result<Option<(f64, f64)>, String> {
    let (mut ok, mut all) = (0.0, 0.0);
    for subject in 0..SUBJECTS {
        if let Some(of_one) = world.subject(subject)?.builds() {
            ok += of_one.0;
            all += of_one.1;
        }
    }
    Ok((all > 0.0).then_some((ok, all)))
}

fn percent((ok, all): (f64, f64)) -> f64 {
    100.0 * ok / all
}

/// The same of the i2pds in percent, as their consoles say it: the mean of their shares.
fn their_builds(world: &World) -> Result<f64, String> {
    let mut shares = Vec::new();
    for peer in world.net.peers()? {
        let said = world.net.console(&peer, "")?;
        let share = said.split("Total tunnel creation success rate").nth(1);
        let share =
            share.and_then(|rest| rest.split('%').next()?.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok());
        shares.push(share.ok_or_else(|| format!("{} does not say how its builds went", peer.name))?);
    }
    Ok(shares.iter().sum::<f64>() / shares.len().max(1) as f64)
}
