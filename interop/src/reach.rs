//! Routers behind translators: what peer tests tell them of themselves, and how others reach them.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cache;
use crate::nat::Nat;
use crate::net::within;
use crate::scenarios::{LEASES, seconds};
use crate::subject::{Kind, Place};
use crate::world::{World, until_page};

/// A verdict takes two tests, and a test some seconds; the first one waits for sessions.
const VERDICT: Duration = Duration::from_secs(240);
/// Introducers, and somebody who comes by one.
const INTRODUCED: Duration = Duration::from_secs(240);
/// Open subjects of a network without i2pds. An i2pd asks five Bobs for tests, when it starts and then after an hour, and has
/// sessions with all of them: there must be more who can be Charlie.
const OPEN: usize = 13;

fn i2pd() -> Kind {
    Kind::I2pd { program: cache().join("i2pd-sid/run-i2pd") }
}

/// What Ramson must say of itself behind each kind.
const fn verdict(nat: Nat) -> &'static str {
    match nat {
        Nat::FullCone => "open",
        Nat::AddressRestricted | Nat::PortRestricted => "firewalled",
        Nat::Symmetric => "symmetric",
    }
}

/// Asks until `ask` says something that `is_right` takes; what it said last, and after how long.
fn until<T: std::fmt::Debug>(
    limit: Duration,
    mut ask: impl FnMut() -> Result<T, String>,
    is_right: impl Fn(&T) -> bool,
) -> Result<(T, Duration), String> {
    let start = Instant::now();
    loop {
        let said = ask();
        match said {
            Ok(said) if is_right(&said) => return Ok((said, start.elapsed())),
            said if start.elapsed() > limit => return Err(format!("{said:?} after {}", seconds(limit))),
            _ => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}

fn said(world: &mut World, subject: usize, pointer: &str) -> Result<Value, String> {
    let status = world.subject(subject)?.status().ok_or("no status")?;
    status.pointer(pointer).cloned().ok_or_else(|| format!("no {pointer} in the status"))
}

/// Behind each kind of translator, and before none, Ramson's verdict on itself is right, with i2pds as Bob and Charlie.
pub(crate) fn verdicts(world: &mut World) -> Result<String, String> {
    let kind = world.kind().clone();
    let places = [Place::Open].into_iter().chain(Nat::ALL.map(Place::Behind));
    let subjects: Vec<(Place, usize)> =
        places.map(|place| Ok((place, world.add(&kind, place)?))).collect::<Result<_, String>>()?;
    let (mut told, mut wrong) = (Vec::new(), Vec::new());
    for (place, subject) in subjects {
        let (name, wanted) = match place {
            Place::Open => ("nothing", "open"),
            Place::Behind(nat) => (nat.name(), verdict(nat)),
        };
        let verdict = until(VERDICT, || said(world, subject, "/reachability/udp_v4"), |said| said == wanted);
        match verdict {
            Ok((_, after)) => told.push(format!("behind {name}: {wanted} after {}", seconds(after))),
            Err(why) => wrong.push(format!("behind {name}: not {wanted}: {why}")),
        }
    }
    if wrong.is_empty() { Ok(told.join("; ")) } else { Err([wrong, told].concat().join("; ")) }
}

/// Sessions that each of the open subjects has before an i2pd comes among them: its first tests, when it knows nobody yet,
/// are its best, and need Bobs who know a Charlie.
const KNOWN: u64 = 4;
/// Those take so long at most.
const ACQUAINTED: Duration = Duration::from_secs(90);

/// How long it takes until peer tests have shown a subject that others reach it.
pub(crate) fn until_open(world: &mut World, subject: usize) -> Result<Duration, String> {
    let open = until(VERDICT, || said(world, subject, "/reachability/udp_v4"), |said| said == "open");
    open.map(|(_, after)| after).map_err(|why| format!("not open: {why}"))
}

/// A network of open subjects; the i2pds that it began with are gone.
fn alone(world: &mut World) -> Result<(), String> {
    for subject in 0..OPEN {
        world.subject(subject)?;
        let info = world.subject(subject)?.dir.join("data/router.info").to_string_lossy().into_owned();
        world.net.testnet(&["add-ri", &info])?;
    }
    // A scenario before this one may have done that.
    let runs = |peer: &crate::net::Peer| peer.pid.and_then(crate::subject::usage_of).is_some();
    let peers: Vec<String> = world.net.peers()?.into_iter().filter(runs).map(|peer| peer.name).collect();
    if !peers.is_empty() {
        world.net.kill(&peers)?;
    }
    for subject in 0..OPEN {
        world.subject(subject)?.stop("TERM")?;
        world.restart(subject)?;
    }
    for subject in 0..OPEN {
        let sessions = |world: &mut World| {
            let mut count = |key| Ok::<u64, String>(said(world, subject, key)?.as_u64().unwrap_or(0));
            Ok(count("/links/inbound")? + count("/links/outbound")?)
        };
        until(ACQUAINTED, || sessions(world), |count| *count >= KNOWN).map_err(|why| format!("sessions: {why}"))?;
    }
    Ok(())
}

/// A page of the console of an i2pd that is a subject, without markup.
fn console(world: &mut World, subject: usize, page: &str) -> Result<String, String> {
    let namespace = world.subject(subject)?.namespace.clone();
    let url = format!("http://127.0.0.1:7070/{page}");
    let mut curl = within(&namespace, "curl");
    let out = curl.args(["-sS", "--max-time", "10", &url]).output().map_err(|why| format!("curl: {why}"))?;
    let html = String::from_utf8_lossy(&out.stdout).replace("<br>", "\n");
    let text: String = html.split('<').map(|piece| piece.split_once('>').map_or("", |(_, text)| text)).collect();
    Ok(text)
}

/// The console's line about the network.
fn network_status(world: &mut World, subject: usize) -> Result<String, String> {
    let text = console(world, subject, "")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Network status:").map(str::trim));
    line.map(str::to_owned).ok_or_else(|| "its console says nothing of the network".to_owned())
}

/// i2pd's verdict on itself is right where all others are Ramsons.
pub(crate) fn verdicts_of_i2pd(world: &mut World) -> Result<String, String> {
    alone(world)?;
    let mut subjects = Vec::new();
    for nat in Nat::ALL {
        subjects.push((nat, world.add(&i2pd(), Place::Behind(nat))?));
    }
    let (mut told, mut wrong) = (Vec::new(), Vec::new());
    for (nat, subject) in subjects {
        let wanted = match nat {
            Nat::FullCone => "OK",
            Nat::AddressRestricted | Nat::PortRestricted => "Firewalled",
            Nat::Symmetric => "Symmetric",
        };
        let status = until(VERDICT, || network_status(world, subject), |said| said.contains(wanted));
        match status {
            Ok((_, after)) => told.push(format!("behind {}: {wanted} after {}", nat.name(), seconds(after))),
            Err(why) => wrong.push(format!("behind {}: not {wanted}: {why}", nat.name())),
        }
    }
    if wrong.is_empty() { Ok(told.join("; ")) } else { Err([wrong, told].concat().join("; ")) }
}

/// How many introducers the subject's RouterInfo names.
fn introducers(world: &mut World, subject: usize) -> Result<usize, String> {
    let file = world.subject(subject)?.dir.join("data/router.info");
    let bytes = std::fs::read(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    Ok((0..3u8).filter(|n| bytes.windows(5).any(|part| part == [b"itag".as_slice(), &[b'0' + n]].concat())).count())
}

/// Ramsons behind translators name introducers, others come to them by these, and read their sites; so do two of them with
/// each other.
pub(crate) fn introduced(world: &mut World) -> Result<String, String> {
    let kind = world.kind().clone();
    let mut told = Vec::new();
    let mut subjects = Vec::new();
    for nat in [Nat::PortRestricted, Nat::AddressRestricted] {
        subjects.push((nat, world.add(&kind, Place::Behind(nat))?));
    }
    for (nat, subject) in &subjects {
        let (count, after) = until(INTRODUCED, || introducers(world, *subject), |count| *count > 0)
            .map_err(|why| format!("{}: introducers: {why}", nat.name()))?;
        told.push(format!("{}: {count} introducers after {}", nat.name(), seconds(after)));
        let (theirs, site) = (world.theirs()?, world.our_site(*subject)?);
        told.push(format!("read by i2pd after {}", seconds(until_page(&theirs, &site, LEASES)?)));
        // Nobody begins a session with it but through a hole that it has punched.
        let came = |count: &Value| count.as_u64().is_some_and(|count| count > 0);
        let (_, after) = until(INTRODUCED, || said(world, *subject, "/links/inbound"), came)
            .map_err(|why| format!("{}: sessions that others began: {why}", nat.name()))?;
        told.push(format!("somebody came to it after {}", seconds(after)));
    }
    let (first, second) = (subjects[0].1, subjects[1].1);
    for (reader, server) in [(first, second), (second, first)] {
        let (route, site) = (world.ours(reader)?, world.our_site(server)?);
        let after = until_page(&route, &site, LEASES).map_err(|why| format!("both behind translators: {why}"))?;
        told.push(format!("one reads the other after {}", seconds(after)));
    }
    Ok(told.join("; "))
}

/// An i2pd behind a translator takes Ramsons for introducers, and they come to it by each other.
pub(crate) fn introduces(world: &mut World) -> Result<String, String> {
    let kind = world.kind().clone();
    alone(world)?;
    let subject = world.add(&i2pd(), Place::Behind(Nat::PortRestricted))?;
    let (count, after) = until(INTRODUCED, || introducers(world, subject), |count| *count > 0)
        .map_err(|why| format!("i2pd names no introducers: {why}"))?;
    let mut told = vec![format!("i2pd names {count} introducers after {}", seconds(after))];
    let (ours, site) = (world.ours(0)?, world.our_site(subject)?);
    told.push(format!("Ramson reads its site after {}", seconds(until_page(&ours, &site, LEASES)?)));
    // Who has a session with it already dials it no more: another router comes, which has none.
    let late = world.add(&kind, Place::Open)?;
    let late_route = world.ours(late)?;
    told.push(format!("one that came later reads it after {}", seconds(until_page(&late_route, &site, LEASES)?)));
    // i2pd's console puts the arrow before the peers that it has dialled, and behind those that have dialled it.
    let inbound = |world: &mut World| {
        let text = console(world, subject, "?page=transports")?;
        let lines = text.lines().map(str::trim);
        Ok(lines.filter(|line| line.contains("&#8658;") && !line.starts_with("&#8658;")).count())
    };
    let (count, after) = until(INTRODUCED, || inbound(world), |count| *count > 0)
        .map_err(|why| format!("{}; sessions that others began: {why}", told.join("; ")))?;
    told.push(format!("{count} sessions that Ramsons began after {}", seconds(after)));
    Ok(told.join("; "))
}
