//! A network of routers under test alone, each a process of its own.

use std::time::{Duration, Instant};

use crate::scenarios::{LEASES, number, seconds};
use crate::subject::PLAIN_ALONE;
use crate::world::{Route, World, begin, until_page};

/// Routers of the network; the last ones are floodfills.
const SUBJECTS: usize = 30;
/// Minutes of pages; `INTEROP_ALONE_MINUTES` changes it.
const MINUTES: u64 = 30;
/// Between two pages.
const PAUSE: Duration = Duration::from_secs(1);
/// All begin at once here, and ask for each other before anybody has told floodfills of himself: builds of this time are
/// said, and do not count.
const SETTLE: Duration = Duration::from_secs(120);
/// A page that is not there by then is a failure.
const PAGE: Duration = Duration::from_secs(20);
/// What may fail of the pages, in percent.
const MOST_FAILURES: f64 = 1.0;
/// Builds that must succeed, in percent.
const LEAST_BUILDS: f64 = 95.0;
/// Readers and servers in turn: these many of each, by the rule below.
const ENDS: usize = 6;

pub(crate) fn alone(world: &mut World) -> Result<String, String> {
    for subject in 0..SUBJECTS {
        world.subject(subject)?;
    }
    // The floodfills are the reseed from now on.
    for subject in PLAIN_ALONE..SUBJECTS {
        let info = world.subject(subject)?.dir.join("data/router.info").to_string_lossy().into_owned();
        world.net.testnet(&["add-ri", &info])?;
    }
    let peers: Vec<String> = world.net.peers()?.into_iter().map(|peer| peer.name).collect();
    world.net.kill(&peers)?;
    for subject in 0..SUBJECTS {
        world.subject(subject)?.stop("TERM")?;
        world.restart(subject)?;
    }
    let readers: Vec<Route> = (0..ENDS).map(|place| world.ours(place)).collect::<Result<_, _>>()?;
    let sites: Vec<String> = (ENDS..2 * ENDS).map(|place| world.our_site(place)).collect::<Result<_, _>>()?;
    let mut said = Vec::new();
    let first = until_page(&readers[0], &sites[0], LEASES)?;
    said.push(format!("first page after {}", seconds(first)));
    let begun = Instant::now();
    let mut start = None;
    let end = begun + Duration::from_secs(60 * number("INTEROP_ALONE_MINUTES", MINUTES));
    let (mut read, mut failed) = (0u32, 0u32);
    for turn in 0.. {
        if Instant::now() >= end {
            break;
        }
        if start.is_none() && begun.elapsed() >= SETTLE {
            start = Some(builds(world)?);
        }
        // Every reader comes to every site.
        let (reader, site) = (&readers[turn % ENDS], &sites[(turn + turn / ENDS) % ENDS]);
        read += 1;
        if let Err(why) = begin(reader, &format!("http://{site}/ping"), PAGE, PAGE, &[])?.end() {
            failed += 1;
            println!("     {why}");
        }
        std::thread::sleep(PAUSE);
    }
    let all = builds(world)?;
    let share = |from: (f64, f64)| 100.0 * (all.0 - from.0) / (all.1 - from.1).max(1.0);
    said.push(format!("{failed} of {read} pages failed"));
    let (from_start, settled) = (share((0.0, 0.0)), share(start.unwrap_or((0.0, 0.0))));
    println!("FIGURE net-alone-builds {settled:.2} - percent");
    said.push(format!("{settled:.1} % of builds succeeded after two minutes, {from_start:.1} % of all {:.0}", all.1));
    let memory = world.running().iter().filter_map(|subject| Some(subject.usage()?.1)).fold(0.0, f64::max);
    said.push(format!("largest {memory:.0} MB"));
    let said = said.join("; ");
    if 100.0 * f64::from(failed) / f64::from(read.max(1)) > MOST_FAILURES {
        return Err(format!("too many pages failed: {said}"));
    }
    if settled < LEAST_BUILDS { Err(format!("too many builds failed: {said}")) } else { Ok(said) }
}

/// How many builds of all subjects succeeded, and how many ended.
fn builds(world: &mut World) -> Result<(f64, f64), String> {
    let mut sum = (0.0, 0.0);
    for subject in 0..SUBJECTS {
        let of_one = world.subject(subject)?.builds().ok_or("this scenario is for Ramson only")?;
        sum = (sum.0 + of_one.0, sum.1 + of_one.1);
    }
    Ok(sum)
}
