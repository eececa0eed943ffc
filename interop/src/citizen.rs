//! What i2pd does with a router that says how full it is, that is about to stop, or that is too old for short records.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::drops;
use crate::scenarios::{LEASES, STALL, seconds};
use crate::subject::{Kind, Place};
use crate::world::{World, begin, until_page};

/// Between two looks at the consoles.
const LOOK: Duration = Duration::from_secs(5);
/// How long i2pds choose hops before it is judged whom they choose.
const CHOOSING: Duration = Duration::from_secs(150);
/// Tunnels of others at most at a subject that is to be full.
const FEW: &str = "5";
/// Tunnels through a subject without a cap that show that i2pds do build.
const LEAST_TUNNELS: usize = 10;
/// Tunnels that must stand when the subject is asked to stop.
const LEAST_STANDING: usize = 8;
/// How long i2pds build until they begin anew.
const AGAIN: Duration = Duration::from_secs(45);
/// No tunnel lasts longer, by the specification; and a little for what is under way.
const TUNNEL: Duration = Duration::from_secs(660);

/// A tunnel of an i2pd, as its console has it: whether it is exploratory, and its last state and amount.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    exploratory: bool,
    state: String,
    kibibytes: f64,
}

/// Tunnels by the i2pd whose they are and their id there.
type Tunnels = BTreeMap<(String, String), Seen>;

/// A line of the page of tunnels.
fn parse(line: &str) -> Option<(String, Seen)> {
    let me = line.find(":me")?;
    let id = line[..me].rsplit(|c: char| !c.is_ascii_digit()).next().filter(|id| !id.is_empty())?;
    let states = ["established", "expiring", "building", "declined", "test failed", "failed"];
    let state = states.into_iter().find(|state| line.contains(state))?;
    let (amount, unit) = line.rsplit_once(", ")?.1.trim().split_once(' ')?;
    let unit = match unit.trim() {
        "B" => 1.0 / 1024.0,
        "KiB" => 1.0,
        "MiB" => 1024.0,
        _ => return None,
    };
    let kibibytes = amount.parse::<f64>().ok()? * unit;
    let seen = Seen { exploratory: line.contains("(exploratory)"), state: state.to_owned(), kibibytes };
    Some((id.to_owned(), seen))
}

/// The tunnels of all i2pds that lead through these routers, which are named by the beginning of their hashes; an empty one
/// is everybody.
fn look(world: &World, hops: &[String]) -> Result<Vec<Tunnels>, String> {
    let mut all = vec![Tunnels::new(); hops.len()];
    for peer in world.net.peers()? {
        // One that is starting has no console yet.
        let page = world.net.console(&peer, "tunnels").unwrap_or_default();
        for line in page.lines() {
            for (hop, tunnels) in hops.iter().zip(&mut all).filter(|(hop, _)| line.contains(&format!("{hop} "))) {
                let Some((id, seen)) = parse(line) else {
                    // Of everybody's, all lines of a page are looked at.
                    if hop.is_empty() {
                        continue;
                    }
                    return Err(format!("{hop}: unknown line `{line}`"));
                };
                tunnels.insert((peer.name.clone(), id), seen);
            }
        }
    }
    Ok(all)
}

/// How i2pd's consoles call the subject.
fn short(world: &mut World, subject: usize) -> Result<String, String> {
    Ok(world.subject(subject)?.identity()?.chars().take(4).collect())
}

/// One more subject, whose data folder has these files while it runs; with some of them it is a build that obeys them.
fn add(world: &mut World, files: &[(&str, &str)]) -> Result<usize, String> {
    let kind = match files {
        [] => world.kind().clone(),
        _ => Kind::Ramson { program: drops::program()? },
    };
    let number = world.add(&kind, Place::Open)?;
    let data = world.subject(number)?.dir.join("data");
    for (name, text) in files {
        fs::write(data.join(name), text).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(number)
}

/// Starts all i2pds again with what the subjects say of themselves now.
fn tell_all(world: &mut World, subjects: &[usize]) -> Result<(), String> {
    let names: Vec<String> = world.net.peers()?.into_iter().map(|peer| peer.name).collect();
    for subject in subjects {
        let info = world.subject(*subject)?.dir.join("data/router.info").to_string_lossy().into_owned();
        let mut args = vec!["add-ri", &info, "--to"];
        args.extend(names.iter().map(String::as_str));
        world.net.testnet(&args)?;
    }
    Ok(())
}

fn caps_in(file: &Path) -> Option<String> {
    let bytes = fs::read(file).ok()?;
    let text = bytes.windows(6).position(|part| part == b"\x04caps=")? + 6;
    let length = usize::from(*bytes.get(text)?);
    Some(String::from_utf8_lossy(bytes.get(text + 1..text + 1 + length)?).into_owned())
}

/// Waits until a subject's RouterInfo has this cap.
fn until_cap(world: &mut World, subject: usize, cap: char, limit: Duration) -> Result<Duration, String> {
    let start = Instant::now();
    loop {
        let caps = caps_in(&world.subject(subject)?.dir.join("data/router.info")).unwrap_or_default();
        if caps.contains(cap) {
            return Ok(start.elapsed());
        }
        if start.elapsed() > limit {
            let transit = world.subject(subject)?.status().and_then(|status| status.get("transit").cloned());
            return Err(format!("caps {caps} and no {cap} after {}: {transit:?}", seconds(limit)));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn of_transit(world: &mut World, subject: usize, names: &[&str]) -> Result<u64, String> {
    let status = world.subject(subject)?.status().ok_or("this scenario is for Ramson only")?;
    let transit = status.get("transit").ok_or("no transit in the status")?;
    names.iter().map(|name| transit.get(name).and_then(Value::as_u64).ok_or(format!("no transit.{name}"))).sum()
}

/// Requests that came to a subject.
fn asked(world: &mut World, subject: usize) -> Result<u64, String> {
    of_transit(world, subject, &["accepted", "declined"])
}

/// Whom i2pds and a subject choose among four: one without a cap, a full one, and two that say D and E.
pub(crate) fn caps(world: &mut World) -> Result<String, String> {
    let free = add(world, &[])?;
    let full = add(world, &[])?;
    world.subject(full)?.stop("TERM")?;
    let file = world.stopped(full)?.dir.join("ramson.toml");
    let text = fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let few = text.replace("max_tunnels = 5000", &format!("max_tunnels = {FEW}"));
    fs::write(&file, few).map_err(|why| format!("{}: {why}", file.display()))?;
    world.restart(full)?;
    let (medium, high) = (add(world, &[("lab-cap", "D")])?, add(world, &[("lab-cap", "E")])?);
    let all = [free, full, medium, high];
    for (subject, cap) in [(medium, 'D'), (high, 'E')] {
        until_cap(world, subject, cap, Duration::from_secs(20))?;
    }
    tell_all(world, &all)?;
    let filled = until_cap(world, full, 'G', Duration::from_secs(300))?;
    // Everybody begins again, and knows from the start who is full.
    tell_all(world, &all)?;
    let hops = all.iter().map(|subject| short(world, *subject)).collect::<Result<Vec<_>, _>>()?;
    let newcomer = add(world, &[])?;
    let before = all.iter().map(|subject| asked(world, *subject)).collect::<Result<Vec<_>, _>>()?;
    let (theirs, site) = (world.theirs()?, world.their_site()?);
    let mut seen = vec![Tunnels::new(); all.len()];
    let end = Instant::now() + CHOOSING;
    while Instant::now() < end {
        // Whether a page comes is the affair of other scenarios.
        let _ = begin(&theirs, &format!("http://{site}/ping"), LOOK, LOOK, &[])?.end();
        for (all, now) in seen.iter_mut().zip(look(world, &hops)?) {
            all.extend(now);
        }
        std::thread::sleep(LOOK);
    }
    let after = all.iter().map(|subject| asked(world, *subject)).collect::<Result<Vec<_>, _>>()?;
    let requests: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let builds = world.subject(newcomer)?.sent().map_or(0.0, |(builds, _)| builds);
    let is_full = until_cap(world, full, 'G', Duration::ZERO).is_ok();
    for subject in [free, full, medium, high, newcomer] {
        world.subject(subject)?.stop("TERM")?;
    }
    let count = |at: usize, exploratory| seen[at].values().filter(|tunnel| tunnel.exploratory == exploratory).count();
    let mut said = format!("full, and G, after {}", seconds(filled));
    for (at, name) in ["no cap", "G", "D", "E"].into_iter().enumerate() {
        let (of_clients, exploring) = (count(at, false), count(at, true));
        said += &format!(
            "; {name}: i2pd's tunnels {of_clients} of clients and {exploring} others, {} requests",
            requests[at]
        );
    }
    said += &format!("; a new subject has begun {builds} builds");
    let shunned = requests[1] * 10 <= requests[0];
    match () {
        () if count(0, false) < LEAST_TUNNELS || builds < 10.0 => Err(format!("too little is built to judge: {said}")),
        () if !is_full => Err(format!("the full subject did not stay so: {said}")),
        () if count(1, false) + count(1, true) > 0 || !shunned => {
            Err(format!("tunnels through a router with G: {said}"))
        }
        // Where i2pd finds no hop for a client's tunnel by chance, it chooses as for others, which pass by routers with D.
        () if count(2, false) * 4 > count(0, false) => Err(format!("clients' tunnels through a router with D: {said}")),
        () if count(3, false) + count(3, true) > 0 => Err(format!("tunnels through a router with E: {said}")),
        () => Ok(said),
    }
}

/// i2pd's tunnels through a subject that is older, as it says, than short records.
///
/// i2pd 2.59 spoils most of its own inbound builds with 528-byte records: it writes a record that stands for no hop where it
/// would be among short ones, in the middle of others. It chooses nobody by whom builds have failed; therefore it begins anew
/// now and then, and few tunnels do.
pub(crate) fn long_records(world: &mut World) -> Result<String, String> {
    let old = add(world, &[("lab-version", "0.9.50")])?;
    let file = world.subject(old)?.dir.join("data/router.info");
    let start = Instant::now();
    while !fs::read(&file).is_ok_and(|info| info.windows(6).any(|part| part == b"0.9.50")) {
        if start.elapsed() > Duration::from_secs(20) {
            return Err("the RouterInfo has another version".to_owned());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    tell_all(world, &[old])?;
    let hop = [short(world, old)?];
    let counted = world.subject(old)?.dir.join("data/lab-long");
    let mut seen = Tunnels::new();
    let (start, mut begun) = (Instant::now(), Instant::now());
    let said = loop {
        if begun.elapsed() > AGAIN {
            tell_all(world, &[old])?;
            begun = Instant::now();
        }
        for now in look(world, &hop)? {
            seen.extend(now);
        }
        let used = |tunnel: &&Seen| tunnel.state == "established" && tunnel.kibibytes > 0.0;
        let used: Vec<f64> = seen.values().filter(used).map(|tunnel| tunnel.kibibytes).collect();
        let long: u64 = fs::read_to_string(&counted).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let most = used.iter().copied().fold(0.0, f64::max);
        let accepted = of_transit(world, old, &["accepted"])?;
        let messages = of_transit(world, old, &["messages"])?;
        let said = format!(
            "{long} of {accepted} requests accepted had 528-byte records, {} of i2pd's {} tunnels through it stand and have \
             carried, at most {most:.1} KiB; {messages} messages passed; after {}",
            used.len(),
            seen.len(),
            seconds(start.elapsed())
        );
        if long >= 2 && used.len() >= 2 && messages > 0 {
            break Ok(said);
        }
        if start.elapsed() > Duration::from_secs(240) {
            break Err(said);
        }
        std::thread::sleep(LOOK);
    };
    world.subject(old)?.stop("TERM")?;
    said
}

/// i2pd's tunnels through a subject that was asked to stop when they have run out.
pub(crate) fn orderly(world: &mut World) -> Result<String, String> {
    let subject = add(world, &[])?;
    tell_all(world, &[subject])?;
    let hop = [short(world, subject)?];
    let (theirs, site) = (world.theirs()?, world.their_site()?);
    until_page(&theirs, &site, LEASES)?;
    let start = Instant::now();
    let stands = |tunnel: &Seen| tunnel.state == "established";
    let mut standing = loop {
        let mut now = look(world, &hop)?.remove(0);
        now.retain(|_, tunnel| stands(tunnel));
        if now.len() >= LEAST_STANDING {
            break now;
        }
        if start.elapsed() > Duration::from_secs(240) {
            return Err(format!("{} tunnels of i2pd through the subject", now.len()));
        }
        std::thread::sleep(LOOK);
    };
    let (accepted, messages) = (of_transit(world, subject, &["accepted"])?, of_transit(world, subject, &["messages"])?);
    let pid = world.subject(subject)?.pid().ok_or("the subject is not running")?;
    // The shell's own `kill`: a bare machine has no program of that name.
    let asked = Command::new("sh").args(["-c", &format!("kill -USR1 {pid}")]).status();
    asked.map_err(|why| format!("kill: {why}"))?;
    let (start, count) = (Instant::now(), standing.len());
    let (mut carried, mut still_accepted, mut last) = (messages, accepted, standing.clone());
    // Tunnels that miss the subject fail their tests, too: i2pd sends a test out by one tunnel and back by another.
    let everybody = [hop[0].clone(), String::new()];
    let mut others = Tunnels::new();
    // Until the router ends by itself, which is no error here.
    while world.subject(subject).is_ok() {
        if start.elapsed() > TUNNEL + LOOK * 4 {
            return Err(format!("still running after {}", seconds(start.elapsed())));
        }
        // A word between the two questions may come too late for the process.
        if let (Ok(messages), Ok(accepted)) =
            (of_transit(world, subject, &["messages"]), of_transit(world, subject, &["accepted"]))
        {
            (carried, still_accepted) = (messages, accepted);
        }
        let _ = begin(&theirs, &format!("http://{site}/ping"), STALL / 4, STALL / 4, &[])?.end();
        let mut now = look(world, &everybody)?;
        if world.subject(subject).is_err() {
            break;
        }
        let all = now.remove(1);
        last = now.remove(0);
        others.extend(all.into_iter().filter(|(tunnel, _)| !last.contains_key(tunnel)));
        for (tunnel, now) in &last {
            // What it said last is how it ended.
            standing.entry(tunnel.clone()).and_modify(|known| *known = now.clone());
        }
        std::thread::sleep(LOOK);
    }
    let took = start.elapsed();
    let is_cut = |tunnel: &&Seen| tunnel.state.contains("failed");
    let cut: Vec<&Seen> = standing.values().filter(is_cut).collect();
    let left = last.iter().filter(|(tunnel, now)| standing.contains_key(*tunnel) && stands(now)).count();
    let of_others = others.values().filter(is_cut).count();
    let said = format!(
        "{count} of i2pd's tunnels stood; stopped by itself after {}, {} messages carried meanwhile, {} requests accepted; \
         {} of the tunnels ended failed, {left} stood when it ended; of {} tunnels of others {of_others} ended failed",
        seconds(took),
        carried - messages,
        still_accepted - accepted,
        cut.len(),
        others.len(),
    );
    match () {
        () if carried == messages => Err(format!("nothing was carried: {said}")),
        () if still_accepted != accepted => Err(format!("requests were accepted: {said}")),
        () if left > 0 => Err(format!("tunnels were cut by the end: {said}")),
        () if cut.len() as f64 > most_by_chance(of_others, others.len(), count) => {
            Err(format!("tunnels were cut: {said}: {cut:?}"))
        }
        () => Ok(said),
    }
}

/// How many of `count` tunnels may have failed by nothing but what made `failed` of `all` others fail: three standard
/// deviations above as many as there are to be.
fn most_by_chance(failed: usize, all: usize, count: usize) -> f64 {
    let share = failed.max(1) as f64 / all.max(1) as f64;
    let wanted = share * count as f64;
    wanted + 3.0 * (wanted * (1.0 - share).max(0.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_failures_are_chance_and_many_are_not() {
        assert!(most_by_chance(22, 347, 29) > 4.0);
        assert!(most_by_chance(22, 347, 29) < 7.0);
        assert!(most_by_chance(0, 0, 10) <= 10.0);
    }

    #[test]
    fn lines_of_consoles() {
        let inbound = "> abcd > efgh > 1234567:me ( 12ms ) established (exploratory), 2.00 MiB ";
        let seen = Seen { exploratory: true, state: "established".to_owned(), kibibytes: 2048.0 };
        assert_eq!(parse(inbound), Some(("1234567".to_owned(), seen)));
        let outbound = "42:me > abcd > efgh test failed, 512 B";
        let seen = Seen { exploratory: false, state: "test failed".to_owned(), kibibytes: 0.5 };
        assert_eq!(parse(outbound), Some(("42".to_owned(), seen)));
        assert_eq!(parse("abcd established, 1 KiB"), None);
    }
}
