//! Java's client library at I2CP ports of Ramson: its streams and datagrams, against programs at other routers.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::net::{home, within};
use crate::sam::{self, Server};
use crate::world::{Route, World};

type Said = Result<String, String>;

/// What a program is asked for besides its streams and datagrams: what the router itself does for it.
const OF_THE_ROUTER: &str = "SESSION";

/// Compiles the library and the program over it, unless that was done before. `Ok(None)` where it cannot be had.
pub(crate) fn java(scenario: &str) -> Result<Option<PathBuf>, String> {
    let folder = crate::cache().join("i2p-java");
    let out = Command::new(home().join("clients/get-java.sh")).arg(&folder).output();
    let out = out.map_err(|why| format!("get-java.sh: {why}"))?;
    let said = String::from_utf8_lossy(&out.stdout);
    match out.status.code() {
        Some(0) => Ok(Some(folder)),
        Some(3) => {
            println!("     SKIP {scenario}: {}", said.trim());
            Ok(None)
        }
        _ => Err(format!("get-java.sh: {}{}", said, String::from_utf8_lossy(&out.stderr))),
    }
}

/// The program over the library, in the namespace of a router.
fn program(route: &Route, java: &std::path::Path, args: &[&str]) -> Command {
    let mut command = within(&route.namespace, "java");
    let path = format!("{}:{}", java.join("library").display(), java.join("program").display());
    // It writes a log where it is.
    command.current_dir(java).args(["-Xmx256m", "-cp", &path, "I2cp"]).args(args);
    command
}

fn begin(route: &Route, java: &std::path::Path) -> Result<Server, String> {
    let child =
        program(route, java, &["serve"]).stdout(Stdio::piped()).spawn().map_err(|why| format!("java: {why}"))?;
    Server::named(child, &route.what)
}

fn asked(route: &Route, java: &std::path::Path, services: &[String]) -> Said {
    let args: Vec<&str> = ["ask"].into_iter().chain(services.iter().map(String::as_str)).collect();
    asked_with(program(route, java, &args))
}

/// A stream to a service where the door speaks TLS only: the library trusts what is in its folder, and with an
/// empty one it must not get in.
pub(crate) fn asked_by_tls(route: &Route, java: &std::path::Path, certificate: &std::path::Path, to: &str) -> Said {
    let mut said = String::new();
    for trusts in [false, true] {
        let folder = java.join(if trusts { "trusts" } else { "trusts-nobody" });
        let certificates = folder.join("certificates/i2cp");
        let copied = fs::create_dir_all(&certificates).and_then(|()| match trusts {
            true => fs::copy(certificate, certificates.join("ramson.i2cp.crt")).map(drop),
            false => Ok(()),
        });
        copied.map_err(|why| format!("{}: {why}", certificates.display()))?;
        let mut command = within(&route.namespace, "java");
        let path = format!("{}:{}", java.join("library").display(), java.join("program").display());
        let folder = folder.display();
        command.current_dir(java).args([
            "-Xmx256m",
            &format!("-Di2p.dir.base={folder}"),
            &format!("-Di2p.dir.config={folder}"),
        ]);
        command.args(["-Dsuite.tls=true", "-cp", &path, "I2cp", if trusts { "ask" } else { "session" }]);
        if trusts {
            command.args(["STREAM", to]);
        }
        match (trusts, asked_with(command)) {
            (true, how) => said = format!("I2CP by TLS, Java's library: {}", how?),
            (false, Ok(how)) => return Err(format!("I2CP by TLS: a library that trusts nobody got in: {how}")),
            (false, Err(why)) if why.contains("certificate") => {}
            (false, Err(why)) => {
                return Err(format!("I2CP by TLS: a library that trusts nobody failed by something else: {why}"));
            }
        }
    }
    Ok(said)
}

fn asked_with(mut command: Command) -> Said {
    let out = command.output().map_err(|why| format!("java: {why}"))?;
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let errors = || String::from_utf8_lossy(&out.stderr).lines().rev().take(5).collect::<Vec<_>>().join(" | ");
    said.strip_prefix("ok ").map(str::to_owned).ok_or_else(|| format!("{said} {}", errors()))
}

/// Only these formats are made by Java's library of that version.
fn known(services: &[String]) -> Vec<String> {
    let pairs = services.chunks_exact(2).filter(|pair| matches!(pair[0].as_str(), "STREAM" | "DATAGRAM" | "RAW"));
    pairs.flatten().cloned().collect()
}

/// Programs over Java's library ask each other at two Ramsons, those at SAM bridges of i2pd, and are asked by them.
pub(crate) fn i2cp(world: &mut World) -> Said {
    let Some(java) = java("i2cp")? else { return Ok("skipped: Java's client library is not there".to_owned()) };
    let (ours, theirs, other) = (world.ours(0)?, world.theirs()?, world.ours(1)?);
    let mut said = Vec::new();
    let mut note = |what: String, how: Said| match how {
        Ok(how) => {
            said.push(format!("{what}: {how}"));
            Ok(())
        }
        Err(why) => Err(format!("{what}: {why}")),
    };
    let server = begin(&ours, &java)?;
    let services = server.services.clone();
    let raw = services.chunks_exact(2).find(|pair| pair[0] == "RAW").map(|pair| pair[1].clone()).unwrap_or_default();
    let mut all = services.clone();
    all.extend([OF_THE_ROUTER.to_owned(), raw]);
    note(format!("Java at {} to Java at {}", other.what, ours.what), asked(&other, &java, &all))?;
    note(format!("SAM at {} to Java at {}", theirs.what, ours.what), sam::asked(&theirs, &server))?;
    drop(server);
    let server = sam::begin(&theirs)?;
    let what = format!("Java at {} to SAM at {}", ours.what, theirs.what);
    note(what, asked(&ours, &java, &known(&server.services)))?;
    Ok(said.join("; "))
}
