//! Doors of the router as programs of others know them: SAM by TLS with Python's ssl, I2CP by TLS with Java's client library, and
//! Java's own streamr at the other end of ours, both ways.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::clients::{Task, wait_for};
use crate::i2cp;
use crate::java::compiled;
use crate::net::{home, this_program, within};
use crate::sam;
use crate::subject::destination_of;
use crate::tunnels::{Ours, ours};
use crate::world::World;

type Said = Result<String, String>;

const BY_TLS: &str = "\n[sam]\nenabled = true\ntls = true\n\n[i2cp]\nenabled = true\ntls = true\n";
const SHAPE: &str = "hops = 2\nquantity = 2\n";
/// Until a router that was started again has tunnels and serves programs.
const AGAIN: Duration = Duration::from_secs(60);

/// Runs a program in the namespace of a router: what it says behind `ok`.
fn said(what: &str, command: &mut Command) -> Said {
    let out = command.output().map_err(|why| format!("{what}: {why}"))?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let errors = || String::from_utf8_lossy(&out.stderr).lines().rev().take(3).collect::<Vec<_>>().join(" | ");
    text.strip_prefix("ok ").map(|said| format!("{what}: {said}")).ok_or_else(|| format!("{what}: {text} {}", errors()))
}

fn python(namespace: &str, args: &[&str]) -> Command {
    let mut command = within(namespace, "python3");
    command.arg(home().join("clients/sam_tls.py")).args(args);
    command
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Starts the second router again with another config, and waits for its doors.
fn again(world: &mut World, config: &str) -> Result<(), String> {
    let subject = world.subject(1)?;
    subject.stop("TERM")?;
    let file = subject.dir.join("ramson.toml");
    fs::write(&file, config).map_err(|why| format!("{}: {why}", file.display()))?;
    let namespace = subject.namespace.clone();
    world.restart(1)?;
    wait_for(AGAIN, || {
        let open = |port: &str| {
            within(&namespace, "bash").args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]).output()
        };
        let all = ["7656", "7654"].into_iter().all(|port| open(port).is_ok_and(|out| out.status.success()));
        if all { Ok(String::new()) } else { Err("SAM or I2CP does not listen".to_owned()) }
    })
    .map(drop)
}

/// Programs that come by TLS, at the second router, to a service at the first.
fn by_tls(world: &mut World, java: Option<&Path>) -> Said {
    let server = sam::begin_with(&world.ours(0)?, &["STREAM"])?;
    let to = server.services.get(1).cloned().ok_or("the service has no destination")?;
    let other = ours(world, 1)?;
    let config = fs::read_to_string(other.dir.join("ramson.toml")).map_err(|why| why.to_string())?;
    again(world, &(config.clone() + BY_TLS))?;
    let certificate = other.dir.join("data/tls-cert.pem");
    let mut all =
        vec![said("SAM by TLS, Python's ssl", &mut python(&other.namespace, &["stream", &text(&certificate), &to]))?];
    if let Some(java) = java {
        all.push(i2cp::asked_by_tls(&world.ours(1)?, java, &certificate, &to)?);
    }
    again(world, &config)?;
    Ok(all.join("; "))
}

/// Java's tunnels as it runs them by itself, with commands of its own, at a router's I2CP port.
fn i2ptunnel(router: &Path, at: &Ours, name: &str, command: &str) -> Result<Task, String> {
    let mut java = within(&at.namespace, "java");
    let dir = at.dir.join(name);
    fs::create_dir_all(&dir).map_err(|why| format!("{}: {why}", dir.display()))?;
    java.current_dir(&dir).args([
        "-Xmx128m",
        &format!("-Di2p.dir.base={}", text(&dir)),
        &format!("-Di2p.dir.config={}", text(&dir)),
    ]);
    java.args(["-Di2cp.leaseSetEncType=4", "-Dinbound.length=2", "-Doutbound.length=2", "-Dinbound.quantity=2"]);
    java.args(["-Doutbound.quantity=2", "-cp", &text(router), "net.i2p.i2ptunnel.I2PTunnel", "-w", "-e", command]);
    Task::start(name, &at.dir, &mut java)
}

fn hear(at: &str, port: u16, what: &str, task: &Task) -> Said {
    let mut hears = within(at, &this_program());
    said(what, hears.args(["_udp", "hear", &format!("127.0.0.1:{port}")]))
        .map_err(|why| format!("{why}; {}", task.tail()))
}

fn source(at: &Ours, port: u16) -> Result<Task, String> {
    let mut source = within(&at.namespace, &this_program());
    source.args(["_udp", "source", &format!("127.0.0.1:{port}")]);
    Task::start(&format!("source-{port}"), &at.dir, source.stdin(Stdio::null()))
}

/// A source at ours that Java's consumer hears, and one at Java's producer that ours hears.
fn streamr(world: &mut World, router: &Path) -> Said {
    let (a, b) = (ours(world, 0)?, ours(world, 1)?);
    a.add(&format!(
        "[[server]]\nname = \"for-java\"\nkind = \"streamr\"\nlisten = \"127.0.0.1:7210\"\nkeys = \"for-java.dat\"\n{SHAPE}"
    ))?;
    a.b32("for-java")?;
    let ours = destination_of(&a.dir.join("data/for-java.dat"))?;
    let _beats = source(&a, 7210)?;
    let consumer = i2ptunnel(router, &b, "streamr-consumer", &format!("streamrclient 127.0.0.1 7211 {ours}"))?;
    let heard = hear(&b.namespace, 7211, "streamr, Java hears ours", &consumer)?;
    drop(consumer);
    let keys = b.dir.join("streamr.dat");
    let mut generate = python(&b.namespace, &["generate", &text(&keys)]);
    let name = said("keys", &mut generate)?;
    let name = name.strip_prefix("keys: ").ok_or("no name")?;
    let producer = i2ptunnel(router, &b, "streamr-producer", &format!("streamrserver 7212 {}", text(&keys)))?;
    let _their_beats = source(&b, 7212)?;
    a.add(&format!(
        "[[client]]\nname = \"of-java\"\nkind = \"streamr\"\ntarget = \"127.0.0.1:7213\"\nto = \"{name}\"\n{SHAPE}"
    ))?;
    let back = hear(&a.namespace, 7213, "ours hears Java's", &producer)?;
    Ok(format!("{heard}; {back}"))
}

/// The scenario.
pub(crate) fn doors(world: &mut World) -> Said {
    let java = i2cp::java("doors")?;
    let tls = by_tls(world, java.as_deref())?;
    let streamr = match compiled()? {
        Some(router) => streamr(world, &router.join("router"))?,
        None => "streamr: Java's router is not there".to_owned(),
    };
    Ok(format!("{tls}; {streamr}"))
}
