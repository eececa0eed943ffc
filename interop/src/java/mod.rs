//! Java routers and routers under test in one network, in which only these carry tunnels.

mod router;
mod watch;

use std::time::{Duration, Instant};

use router::Role;
pub(crate) use router::Router;
pub(crate) use router::compiled;

use crate::library;
use crate::net::{Floodfills, Way, within};
use crate::sam;
use crate::scenarios::{LEASES, acquaint, number, one_transfer, seconds};
use crate::subject::name_of;
use crate::world::{Route, World, until_page};

type Said = Result<String, String>;

/// Java routers; the first [`FLOODFILLS`] are floodfills, where subjects are not.
const ROUTERS: usize = 5;
const FLOODFILLS: usize = 2;
/// Subjects where Java keeps the network database, and where subjects do.
const SUBJECTS: usize = 2;
const SUBJECT_FLOODFILLS: usize = 3;
/// The Java router whose site and proxy are used: no floodfill.
const END: usize = ROUTERS - 1;
/// What a transfer moves.
const BYTES: u64 = 2_000_000;
/// How often, each way of each pair; `INTEROP_ROUNDS` changes it.
const ROUNDS: u64 = 3;
/// Formats of datagrams that Java's SAM bridge of 2.8.0 has, beside streams.
const STYLES: [&str; 3] = ["STREAM", "DATAGRAM", "RAW"];
/// Builds of ours that must succeed once the Java routers accept tunnels, in percent.
const LEAST_BUILDS: f64 = 70.0;
/// Until the routers that are reachable know it.
const REACHABLE: Duration = Duration::from_secs(60);
/// From the start of the first Java router until all take tunnels (after 90 seconds) and have read what they were
/// given to know, the floodfills answer (after two minutes), and builds that nobody answered before have ended.
const SETTLED: Duration = Duration::from_secs(185);
/// Until both kinds of routers have led tunnels through each other.
const MIXING: Duration = Duration::from_secs(240);

/// Starts the Java routers and the subjects, unless they run. `Ok(false)` where Java's router cannot be had.
fn begin(world: &mut World) -> Result<bool, String> {
    if !world.javas.is_empty() {
        return Ok(true);
    }
    let Some(java) = compiled()? else { return Ok(false) };
    let start = Instant::now();
    let ours_keep = world.spec.floodfills == Floodfills::Subjects;
    let subjects = if ours_keep { SUBJECT_FLOODFILLS } else { SUBJECTS };
    if world.spec.way == Way::Ssu2 {
        (1..=subjects).try_for_each(|number| no_tcp(world, &format!("mine{number}")))?;
    }
    if ours_keep {
        for number in 0..subjects {
            world.subject(number)?;
        }
        acquaint(world, &[0, 1, 2])?;
    }
    for number in 0..ROUTERS {
        let role = Role { floodfill: !ours_keep && number < FLOODFILLS };
        let router = Router::start(&world.net, &java, &format!("java{}", number + 1), role)?;
        world.javas.push(router);
        // The others know the first one from their start.
        if number == 0 {
            tell(world, 0)?;
        }
    }
    for number in 1..ROUTERS {
        tell(world, number)?;
    }
    for number in 0..subjects {
        world.subject(number)?;
    }
    for router in &mut world.javas {
        router.until_running()?;
    }
    acquaint_all(world)?;
    std::thread::sleep(SETTLED.saturating_sub(start.elapsed()));
    println!("     {ROUTERS} Java routers run and serve after {}", seconds(start.elapsed()));
    Ok(true)
}

/// Has a subject's namespace refuse NTCP2 both ways, so that SSU2 is left. Java's routers keep both transports: with
/// SSU2 alone, in so small a network, they never learn that they are reachable, and lead no tunnels through each other.
fn no_tcp(world: &World, name: &str) -> Result<(), String> {
    let (namespace, _) = world.net.attach(name)?;
    for rule in [
        "add table inet way",
        "add chain inet way in { type filter hook input priority 0 ; }",
        "add chain inet way out { type filter hook output priority 0 ; }",
        "add rule inet way in tcp dport 23456 reject with tcp reset",
        "add rule inet way out tcp dport 23456 reject with tcp reset",
    ] {
        let out = within(&namespace, "nft").args(rule.split(' ')).output().map_err(|why| format!("nft: {why}"))?;
        if !out.status.success() {
            return Err(format!("nft {rule}: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
    }
    Ok(())
}

/// Lets the Java routers know each other and the subjects, which they read out of their folders within two minutes. By
/// themselves they would take longer: their floodfills answer nobody at first, and a hop that does not know the next
/// one drops the request.
fn acquaint_all(world: &World) -> Result<(), String> {
    // What they publish as soon as they know that they are reachable; without it nobody takes them for a gateway.
    let end = Instant::now() + REACHABLE;
    while Instant::now() < end && !world.javas.iter().all(Router::says_reachable) {
        std::thread::sleep(Duration::from_millis(500));
    }
    let theirs = world.javas.iter().map(|router| router.dir.join("router.info"));
    let infos: Vec<_> =
        theirs.chain(world.running().iter().map(|subject| subject.dir.join("data/router.info"))).collect();
    for router in &world.javas {
        for info in &infos {
            router.learn(info)?;
        }
    }
    Ok(())
}

/// Puts the RouterInfo of a Java router among the seeds.
fn tell(world: &mut World, number: usize) -> Result<(), String> {
    let info = world.javas[number].info()?;
    world.net.testnet(&["add-ri", &info.to_string_lossy()]).map(|_| ())
}

/// All of it where Java routers are the floodfills.
pub(crate) fn java(world: &mut World) -> Said {
    all(world).map_err(|why| with_logs(world, why))
}

/// All of it where subjects are.
pub(crate) fn floodfill(world: &mut World) -> Said {
    let said = all(world).map_err(|why| with_logs(world, why))?;
    let mut sums = [0; 3];
    for number in 0..SUBJECT_FLOODFILLS {
        let kept = world.subject(number)?.kept()?;
        sums.iter_mut().zip(kept).for_each(|(sum, of_one)| *sum += of_one);
    }
    match sums {
        [lease_sets, stored, answered] if lease_sets >= 2 && stored >= 5 && answered >= 2 => {
            Ok(format!("{said}; ours keep {lease_sets} LeaseSets, took {stored} stores and gave {answered} answers"))
        }
        _ => Err(format!("{said}; but ours have kept, taken and answered only {sums:?}")),
    }
}

/// The echo of the library over Java's I2CP.
pub(crate) fn library(world: &mut World) -> Said {
    if !begin(world)? {
        return Ok("skipped: Java's router is not there".to_owned());
    }
    let at = world.javas[END].route();
    library::echo_over(world, &at).map_err(|why| with_logs(world, why))
}

fn with_logs(world: &World, why: String) -> String {
    let tails =
        world.javas.iter().map(|router| format!("     the end of {}'s log:\n{}", router.name, router.log_tail()));
    format!("{why}\n{}", tails.collect::<Vec<_>>().join("\n"))
}

fn all(world: &mut World) -> Said {
    if !begin(world)? {
        return Ok("skipped: Java's router is not there".to_owned());
    }
    let (before, theirs) = (builds(world)?, java_builds(world)?);
    let mut said = vec![pages(world)?, transfers(world)?, programs(world)?, mixed(world)?, sessions(world)?];
    let (ok, all) = builds(world)?;
    let (ok, all) = (ok - before.0, all - before.1);
    let share = 100.0 * ok / all.max(1.0);
    said.push(format!("{ok:.0} of {all:.0} builds of ours succeeded since ({share:.0} %)"));
    let since = java_builds(world)?;
    said.push(format!("{} of {} of Java's", since.0 - theirs.0, since.1 - theirs.1));
    if world.spec.floodfills == Floodfills::Java {
        let keep = world.javas.iter().take(FLOODFILLS).map(|router| Ok(router.watch()?.leases));
        let keep: u64 = keep.collect::<Result<Vec<u64>, String>>()?.iter().sum();
        said.push(format!("Java's floodfills keep {keep} LeaseSets"));
    }
    let said = said.join("; ");
    if share < LEAST_BUILDS { Err(format!("too few builds succeeded: {said}")) } else { Ok(said) }
}

/// Builds of all subjects that succeeded, and that ended.
fn builds(world: &mut World) -> Result<(f64, f64), String> {
    let mut sums = (0.0, 0.0);
    for number in 0..world.running().len() {
        let (ok, all) = world.subject(number)?.builds().ok_or("this scenario is for Ramson only")?;
        sums = (sums.0 + ok, sums.1 + all);
    }
    Ok(sums)
}

/// The same of all Java routers.
fn java_builds(world: &World) -> Result<(u64, u64), String> {
    let mut sums = (0, 0);
    for router in &world.javas {
        let (ok, all) = router.watch()?.builds();
        sums = (sums.0 + ok, sums.1 + all);
    }
    Ok(sums)
}

/// The pairs of ends: who reads, through which proxy, from which site.
fn pairs(world: &mut World) -> Result<Vec<(String, Route, String)>, String> {
    let (ours, other, theirs) = (world.ours(0)?, world.our_site(1)?, world.javas[END].route());
    let (our_site, their_site) = (world.our_site(0)?, world.javas[END].site()?);
    Ok(vec![
        ("ours reads Java".to_owned(), ours.clone(), their_site),
        ("Java reads ours".to_owned(), theirs, our_site),
        ("ours reads ours".to_owned(), ours, other),
    ])
}

fn pages(world: &mut World) -> Said {
    let mut said = Vec::new();
    for (what, route, site) in pairs(world)? {
        let first = until_page(&route, &site, LEASES).map_err(|why| format!("{what}: {why}"))?;
        said.push(format!("{what} after {}", seconds(first)));
    }
    Ok(said.join(", "))
}

fn transfers(world: &mut World) -> Said {
    let mut said = Vec::new();
    for (seed, (what, route, site)) in pairs(world)?.into_iter().enumerate() {
        for way in ["down", "up"] {
            let mut times = Vec::new();
            for round in 0..number("INTEROP_ROUNDS", ROUNDS) {
                let got = one_transfer(&route, &site, way, 300 + 10 * round + seed as u64, BYTES)?.end();
                let got = got.map_err(|why| format!("{what}, 2 MB {way}, after {}: {why}", times.join(" ")))?;
                times.push(seconds(got.total));
            }
            said.push(format!("{what} 2 MB {way} in {}", times.join(" ")));
        }
    }
    Ok(said.join(", "))
}

/// Programs at SAM bridges, both ways.
fn programs(world: &mut World) -> Said {
    let (ours, theirs) = (world.ours(0)?, world.javas[END].route());
    let mut said = Vec::new();
    for (server, client) in [(&ours, &theirs), (&theirs, &ours)] {
        let what = format!("SAM at {} to {}", client.what, server.what);
        let mut server = sam::begin_with(server, &STYLES).map_err(|why| format!("{what}: {why}"))?;
        // Java 2.8.0 takes a destination out of a packet for another one than the same out of text, and refuses the
        // answer to its SYN; names are looked up, and are right.
        for service in server.services.chunks_exact_mut(2).filter(|service| service[0] == "STREAM") {
            service[1] = name_of(&service[1]).ok_or("no destination")?;
        }
        said.push(format!("{what}: {}", sam::asked(client, &server).map_err(|why| format!("{what}: {why}"))?));
    }
    Ok(said.join("; "))
}

/// Java's routers lead tunnels of their own through ours, and messages pass both.
fn mixed(world: &mut World) -> Said {
    let end = Instant::now() + MIXING;
    loop {
        let mut ours = Vec::new();
        for number in 0..world.running().len() {
            ours.push(world.subject(number)?.identity()?);
        }
        let (mut tunnels, mut messages, mut beside, mut agreed) = (0, 0, (0, 0), 0);
        for router in &world.javas {
            let watch = router.watch()?;
            for peer in &ours {
                let through = watch.tunnels_through(peer);
                (tunnels, messages) = (tunnels + through.0, messages + through.1);
                let transit = watch.transit_beside(peer);
                beside = (beside.0 + transit.0, beside.1 + transit.1);
                agreed += watch.agreed(peer);
            }
        }
        let said = format!(
            "Java leads {tunnels} tunnels with {messages} messages through ours, which agreed {agreed} times; it stands \
             beside ours in {} tunnels with {} messages",
            beside.0, beside.1
        );
        if tunnels > 0 && messages > 0 && beside.0 > 0 && beside.1 > 0 && agreed > 0 {
            return Ok(said);
        }
        if Instant::now() > end {
            return Err(said);
        }
        std::thread::sleep(Duration::from_secs(5));
    }
}

/// Every Java router has a session with each of ours by the network's transport, and both sides have dialled.
fn sessions(world: &mut World) -> Said {
    let transport = if world.spec.way == Way::Ssu2 { "SSU" } else { "NTCP" };
    let (mut held, mut wanted) = (0, 0);
    for number in 0..world.running().len() {
        let identity = world.subject(number)?.identity()?;
        for router in &world.javas {
            wanted += 1;
            held += usize::from(router.watch()?.has_session(transport, &identity));
        }
    }
    if held == 0 {
        return Err(format!("no Java router has a session with ours by {transport}"));
    }
    let said = format!("{held} of {wanted} pairs have a session by {transport}");
    if world.spec.way == Way::Ssu2 {
        return Ok(said);
    }
    let (mut by_us, mut by_them) = (0, 0);
    let addresses: Vec<String> = world.javas.iter().map(|router| router.ip.clone()).collect();
    for subject in world.running() {
        let out = within(&subject.namespace, "ss").args(["-Htn", "state", "established"]).output();
        let out = out.map_err(|why| format!("ss: {why}"))?;
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let ends: Vec<&str> = line.split_whitespace().skip(2).take(2).collect();
            let [local, remote] = ends[..] else { continue };
            let of_java = |end: &str| end.rsplit_once(':').is_some_and(|(ip, _)| addresses.iter().any(|a| a == ip));
            by_us += usize::from(of_java(remote) && remote.ends_with(":23456"));
            by_them += usize::from(of_java(remote) && local.ends_with(":23456"));
        }
    }
    Ok(format!("{said}, {by_us} dialled by ours and {by_them} by Java"))
}
