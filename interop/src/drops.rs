//! One stream over tunnels that lose messages: the hops are builds of Ramson that drop a share of them where outbound
//! tunnels end, so each way of a stream meets that loss once.

use std::fs;
use std::path::PathBuf;

use crate::figures::over_links;
use crate::net::home;
use crate::world::World;

/// The hops of the `own-hops` network.
pub(crate) const CARRIERS: usize = 7;
/// A request's way through 3+3 hops and back crosses this many links.
const LINKS: f64 = 14.0;

/// The program of the hops: `RAMSON_LAB_BIN`, else a release build with `--cfg ramson_lab` in `target/lab`.
pub(crate) fn program() -> Result<PathBuf, String> {
    let built = home().join("../target/lab/release/ramson");
    let program = std::env::var_os("RAMSON_LAB_BIN").map_or(built, PathBuf::from);
    program.canonicalize().map_err(|why| format!("a Ramson that loses messages, {}: {why}", program.display()))
}

/// Losses of tunnel messages by round trips of the path, ours and i2pd's ends in turn.
pub(crate) fn drops(world: &mut World) -> Result<String, String> {
    for number in 2..2 + CARRIERS {
        world.subject(number)?;
    }
    let mut said = Vec::new();
    // Millions of bytes that each side moves, about ten seconds of it where messages are lost.
    for (round_trip, megabytes) in [(20.0, [16.0, 4.0]), (100.0, [12.0, 1.0]), (300.0, [6.0, 0.4])] {
        for loss in [0.0, 0.5, 2.0, 5.0] {
            lose(world, loss)?;
            let delay = format!("{:.3}", round_trip / LINKS);
            let name = format!("net-drop-{loss}%-{round_trip}ms");
            let bytes = megabytes.map(|millions: f64| (millions * 1e6) as u64);
            let figure = over_links(world, &name, &["--delay-ms", &delay], bytes);
            lose(world, 0.0)?;
            said.push(figure?);
        }
    }
    Ok(said.join("; "))
}

/// Has all hops lose this share of messages, in per cent. They look once a second.
fn lose(world: &World, per_cent: f64) -> Result<(), String> {
    for subject in world.running().iter().skip(2) {
        let file = subject.dir.join("data/lab-loss");
        fs::write(&file, format!("{}", per_cent / 100.0)).map_err(|why| format!("{}: {why}", file.display()))?;
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    Ok(())
}
