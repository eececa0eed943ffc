//! Black box tests of Ramson in a private network of other routers. `cargo xtask interop` builds and starts it.

mod alone;
mod citizen;
mod clients;
mod content;
mod datagrams;
mod doors;
mod drops;
mod figures;
mod get;
mod half;
mod hops;
mod i2cp;
mod java;
mod kill;
mod library;
mod list;
mod mapping;
mod names;
mod nat;
mod neighbours;
mod net;
mod pages;
mod programs;
mod proxy;
mod reach;
mod sam;
mod scenarios;
mod shares;
mod soak;
mod subject;
mod tunnels;
mod udp;
mod web;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::list::{ALL, GROUPS, Scenario};
use crate::net::{Net, NetSpec, home};
use crate::subject::Kind;
use crate::world::World;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("_web") => match rest {
            [address, run @ ..] => web::serve(address, run.first().map(String::as_str)),
            [] => Err("_web ADDR:PORT [RUN]".to_owned()),
        },
        Some("_get") => get::main(rest),
        Some("_sam") => sam::main(rest),
        Some("_irc") => programs::irc(rest),
        Some("_udp") => programs::udp(rest),
        Some("_tracker") => match rest {
            [address] => clients::tracker::serve(address),
            _ => Err("_tracker ADDR:PORT".to_owned()),
        },
        Some("_idle") => get::idle(rest),
        Some("_proxy") => match rest {
            [address, file] => proxy::serve(address, file),
            _ => Err("_proxy ADDR:PORT FILE".to_owned()),
        },
        Some("_reflect") => nat::reflect(rest),
        Some("_probe") => nat::probe(rest),
        Some("_guard") => net::guard(rest),
        Some("list") => {
            list();
            Ok(())
        }
        Some("fetch") => chosen(rest).and_then(|scenarios| fetch(&scenarios)),
        Some(_) => chosen(&args).and_then(|scenarios| run(&scenarios)),
        None => Err("ramson-interop SCENARIO... | list | fetch SCENARIO...".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    for scenario in ALL {
        println!("{:14} {}", scenario.name, scenario.about);
    }
    for (group, names) in GROUPS {
        println!("{group:14} = {}", names.join(" "));
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, String> {
    let mut scenarios = Vec::new();
    for name in names {
        let group = GROUPS.iter().find(|(group, _)| group == name).map(|(_, names)| *names);
        let one = [name.as_str()];
        for name in group.unwrap_or(&one) {
            let found = ALL.iter().find(|scenario| scenario.name == *name);
            scenarios.push(found.ok_or_else(|| format!("no scenario `{name}`; `list` names them"))?);
        }
    }
    Ok(scenarios)
}

/// The network of a scenario, with another i2pd where INTEROP_PEER names one.
fn spec(scenario: &Scenario) -> NetSpec {
    let (peer, floodfill_peer) = match std::env::var("INTEROP_PEER").as_deref() {
        Ok("sid") => ("sid", "sid"),
        Ok("trixie") => ("trixie", "trixie"),
        Ok("sid,trixie") => ("sid,trixie", "sid"),
        _ => return scenario.spec,
    };
    NetSpec { peer, floodfill_peer, ..scenario.spec }
}

/// The router under test: `INTEROP_SUBJECT` is `ramson` (binary in `RAMSON_BIN`) or `i2pd-SUITE`.
fn subject() -> Result<Kind, String> {
    let name = std::env::var("INTEROP_SUBJECT").unwrap_or_else(|_| "ramson".to_owned());
    if let Some(suite) = name.strip_prefix("i2pd-") {
        return Ok(Kind::I2pd { program: cache().join(format!("i2pd-{suite}/run-i2pd")) });
    }
    if name != "ramson" {
        return Err(format!("INTEROP_SUBJECT is `{name}`, and could be `ramson`, `i2pd-sid` or `i2pd-trixie`"));
    }
    let built = home().join("../target/release/ramson");
    let program = std::env::var_os("RAMSON_BIN").map_or(built, PathBuf::from);
    let program = program.canonicalize().map_err(|why| format!("{}: {why}", program.display()))?;
    Ok(Kind::Ramson { program })
}

/// Unpacks the i2pds that the scenarios need, where they are not unpacked yet.
fn fetch(scenarios: &[&Scenario]) -> Result<(), String> {
    let mut suites: Vec<String> = Vec::new();
    for scenario in scenarios {
        let spec = spec(scenario);
        suites.extend(spec.peer.split(',').chain([spec.floodfill_peer]).map(str::to_owned));
    }
    suites.extend(std::env::var("INTEROP_SUBJECT").ok().and_then(|name| name.strip_prefix("i2pd-").map(str::to_owned)));
    suites.sort();
    suites.dedup();
    if scenarios.iter().any(|scenario| scenario.name == "tunnels") {
        tunnels::fetch()?;
    }
    if scenarios.iter().any(|scenario| scenario.name == "mapping") {
        mapping::fetch()?;
    }
    if scenarios.iter().any(|scenario| clients::SCENARIOS.contains(&scenario.name)) {
        clients::get::fetch()?;
    }
    for suite in suites {
        if cache().join(format!("i2pd-{suite}/run-i2pd")).exists() {
            continue;
        }
        println!("     unpacking i2pd of Debian {suite}");
        let status = Command::new(home().join("testnet/get-peer.sh")).arg(&suite).status();
        let status = status.map_err(|why| format!("get-peer.sh: {why}"))?;
        if !status.success() {
            return Err(format!("get-peer.sh {suite}: {status}"));
        }
    }
    Ok(())
}

/// Where `testnet/` keeps the unpacked routers.
pub(crate) fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(cache) = variable("I2P_TESTNET_CACHE") {
        return cache;
    }
    let home = variable("HOME").unwrap_or_default();
    variable("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("i2p-testnet")
}

/// One folder per checkout, so that two of them do not meet; `INTEROP_RUN` names another.
fn run_folder() -> PathBuf {
    let mark = home().to_string_lossy().bytes().fold(5381u32, |mark, byte| mark.wrapping_mul(33) ^ u32::from(byte));
    let default = || std::env::temp_dir().join(format!("ramson-interop-{mark:08x}"));
    std::env::var_os("INTEROP_RUN").map_or_else(default, PathBuf::from)
}

/// Runs the scenarios; neighbours with the same network share it.
///
/// With `INTEROP_RETRIES=1` a scenario that failed is tried once more in a new network, and its line says so: i2pd's
/// own first fetch is a matter of its timers and luck, and once in a while takes longer than any sensible wait.
fn run(scenarios: &[&Scenario]) -> Result<(), String> {
    let kind = subject()?;
    let folder = run_folder();
    let retries: u32 = std::env::var("INTEROP_RETRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(0).min(3);
    let mut failed = Vec::new();
    let mut world: Option<World> = None;
    for scenario in scenarios {
        let mut tries = 0;
        while !attempt(scenario, &kind, &folder, &mut world, tries) {
            if tries >= retries {
                failed.push(scenario.name);
                break;
            }
            tries += 1;
            println!("     {} is tried again in a new network", scenario.name);
        }
    }
    drop(world);
    println!("{} of {} scenarios passed", scenarios.len() - failed.len(), scenarios.len());
    if failed.is_empty() { Ok(()) } else { Err(format!("interop: failed: {}", failed.join(", "))) }
}

/// Runs one scenario in the network in hand, or in a new one; tells how it ended.
fn attempt(scenario: &Scenario, kind: &Kind, folder: &Path, world: &mut Option<World>, tries: u32) -> bool {
    let spec = spec(scenario);
    if world.as_ref().is_none_or(|world| world.spec != spec) {
        // The old network goes before the new one comes.
        drop(world.take());
        match Net::up(folder, spec) {
            Ok(net) => *world = Some(World::new(net, kind.clone(), spec)),
            Err(why) => {
                println!("FAIL {}: {why}", scenario.name);
                return false;
            }
        }
    }
    let Some(in_hand) = world.as_mut() else { return false };
    let (start, refused) = (Instant::now(), neighbours::refused());
    match (scenario.run)(in_hand) {
        Ok(said) => {
            let again = if tries > 0 { format!(", try {}", tries + 1) } else { String::new() };
            println!("PASS {} ({:.0} s{again}): {said}", scenario.name, start.elapsed().as_secs_f64());
            true
        }
        Err(why) => {
            println!("FAIL {}: {why}", scenario.name);
            if let Some(warning) = neighbours::warning(refused) {
                println!("     {warning}");
            }
            reasons(in_hand);
            // What a failed scenario leaves behind is no base for the next one.
            drop(world.take());
            false
        }
    }
}

/// What the peers say about the routers under test, and the ends of these routers' own logs.
fn reasons(world: &World) {
    for subject in world.running() {
        for (what, value) in [("--ip", Ok(format!("{}:", subject.ip))), ("--ident", subject.identity())] {
            let said = value.and_then(|value| world.net.testnet(&["why", what, &value, "--top", "20"]));
            println!("     i2pd about {} by {what}:\n{}", subject.name, said.unwrap_or_else(|why| why));
        }
        println!("     the end of {}'s log:\n{}", subject.name, subject.log_tail());
    }
    if world.spec.way.is_udp() {
        let subjects: Vec<_> =
            world.running().iter().map(|subject| (subject.name.clone(), subject.namespace.clone())).collect();
        println!("     {}", datagrams::told(&world.net, &subjects));
    }
    println!("     the network:\n{}", world.net.testnet(&["status"]).unwrap_or_else(|why| why));
}
