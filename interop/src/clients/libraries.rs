//! Libraries of SAM in three languages. Each one serves at a Ramson's bridge and is asked from another Ramson's and from an
//! i2pd's; then it serves at the i2pd's and is asked from a Ramson's.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::get::{npm, python, python_version, script, yosemite};
use super::{Said, Stage, done, wait_for};
use crate::net::within;
use crate::sam::Server;
use crate::world::World;

/// All that one library is asked to do.
const LIMIT: u64 = 300;

pub(crate) fn i2plib(world: &mut World) -> Said {
    let words = [python(), script("i2plib_peer.py")];
    let said = everywhere(world, "i2plib", &words, &["9540"])?;
    Ok(format!("{}: {said}", python_version("i2plib")?))
}

pub(crate) fn i2p_sam(world: &mut World) -> Said {
    let (library, version) = npm()?;
    let words = ["node".to_owned(), script("sam_peer.mjs"), library];
    Ok(format!("i2p-sam {version}: {}", everywhere(world, "i2p-sam", &words, &[])?))
}

pub(crate) fn yosemite_peer(world: &mut World) -> Said {
    let (program, version) = yosemite()?;
    Ok(format!("{version}: {}", everywhere(world, "yosemite", &[program], &[])?))
}

fn everywhere(world: &mut World, name: &str, words: &[String], more: &[&str]) -> Said {
    let stage = Stage::new(world, name)?;
    let (ours, other, theirs) = (&stage.a.namespace, &stage.b.namespace, &stage.client.namespace);
    let mut said = Vec::new();
    let asking = [
        (ours, other, "Ramson to Ramson"),
        (ours, theirs, "i2pd to Ramson"),
        // Where a web server is, too.
        (&stage.server.namespace, ours, "Ramson to i2pd"),
    ];
    let mut serving: Option<(&String, Server)> = None;
    for (at, from, what) in asking {
        if serving.as_ref().is_none_or(|(place, _)| *place != at) {
            drop(serving.take());
            serving = Some((at, serve(at, words).map_err(|why| format!("{what}: {why}"))?));
        }
        let Some((_, server)) = &serving else { return Err("no server".to_owned()) };
        let ask: Vec<&str> = words
            .iter()
            .map(String::as_str)
            .chain(["ask"])
            .chain(server.services.iter().map(String::as_str))
            .chain(more.iter().copied())
            .collect();
        // A session whose first look-up came too early is a matter of the next try.
        let answer = wait_for(Duration::from_secs(60), || done(from, LIMIT, &ask));
        let answer = answer.map_err(|why| format!("{what}: {}", short(&why)))?;
        let answer = answer.lines().last().unwrap_or_default();
        println!("     {name}: {what}: {answer}");
        said.push(format!("{what}: {}", answer.strip_prefix("ok ").ok_or_else(|| format!("{what}: {answer}"))?));
    }
    Ok(said.join("; "))
}

fn serve(namespace: &str, words: &[String]) -> Result<Server, String> {
    let (program, args) = words.split_first().ok_or("no program")?;
    let mut command: Command = within(namespace, program);
    let child = command.args(args).arg("serve").stdout(Stdio::piped()).spawn();
    Server::named(child.map_err(|why| format!("{program}: {why}"))?, namespace)
}

/// Without the destinations, each of which is a line of its own.
fn short(why: &str) -> String {
    why.split(' ').map(|word| if word.len() > 200 { &word[..20] } else { word }).collect::<Vec<_>>().join(" ")
}
