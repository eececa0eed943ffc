//! A torrent of 50 MB between a program at a Ramson's SAM bridge and one at an i2pd's, each way; and in the middle of another
//! one the Ramson is started again.

use std::fs;
use std::time::{Duration, Instant};

use super::get::{python, script};
use super::stage::text;
use super::{Said, Stage, Task, done};
use crate::content::{Content, sha256_of};
use crate::net::{this_program, within};
use crate::world::World;

const TRACKER: u16 = 8092;
pub(crate) const BYTES: u64 = 50_000_000;
/// A torrent that takes longer has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(400);

/// A tracker behind a tunnel of the second Ramson, and its address. The tunnel takes streams to every port: libtorrent names
/// none of I2P.
pub(crate) fn tracker(stage: &Stage, name: &str) -> Result<(Task, String), String> {
    let mut command = within(&stage.b.namespace, &this_program());
    let task = Task::start("tracker", &stage.dir, command.args(["_tracker", &format!("127.0.0.1:{TRACKER}")]))?;
    stage.b.add(&format!(
        "[[server]]\nname = \"{name}\"\nkind = \"http\"\ntarget = \"127.0.0.1:{TRACKER}\"\nkeys = \"{name}.dat\"\n"
    ))?;
    let b32 = stage.b.b32(name)?;
    Ok((task, format!("http://{b32}/announce")))
}

/// A file and its torrent; where the file's folder is, the torrent, and the file's hash.
pub(crate) fn torrent(stage: &Stage, tracker: &str, seed: u64) -> Result<(String, String, String), String> {
    let dir = stage.client_dir(&format!("seed{seed}"))?;
    let file = dir.join(format!("file{seed}"));
    let mut bytes = vec![0; usize::try_from(BYTES).map_err(|why| why.to_string())?];
    Content::new(seed).fill(&mut bytes);
    fs::write(&file, bytes).map_err(|why| format!("{}: {why}", file.display()))?;
    let made = text(&stage.dir.join(format!("{seed}.torrent")));
    done(&stage.b.namespace, 60, &[&python(), &script("torrent.py"), "make", &text(&file), &made, tracker])?;
    Ok((text(&dir), made, sha256_of(seed, BYTES)))
}

pub(crate) fn libtorrent(world: &mut World) -> Said {
    let stage = Stage::new(world, "libtorrent")?;
    let (_tracker, tracker) = tracker(&stage, "tracker")?;
    let (ours, theirs) = (stage.a.namespace.clone(), stage.client.namespace.clone());
    let mut said = Vec::new();
    let mut version = String::new();
    let ways = [(&ours, &theirs, "seed at Ramson", false), (&theirs, &ours, "leech at Ramson", false)];
    let again = [(&ours, &theirs, "seed's Ramson restarts", true), (&theirs, &ours, "leech's Ramson restarts", true)];
    for (n, (seeder, leecher, what, restart)) in ways.into_iter().chain(again).enumerate() {
        let (folder, torrent, hash) = torrent(&stage, &tracker, 900 + n as u64)?;
        let share = |name: &str, at: &str, folder: &str| {
            let mut command = within(at, &python());
            Task::start(
                &format!("{name}{n}"),
                &stage.dir,
                command.args([&script("torrent.py"), folder, &torrent, &hash]),
            )
        };
        let mut seed = share("seed", seeder, &folder)?;
        version = seed.line("version ", Duration::from_secs(30))?;
        seed.line("done ", Duration::from_secs(60))?;
        let mut leech = share("leech", leecher, &text(&stage.client_dir(&format!("leech{n}"))?))?;
        if restart {
            until(&mut leech, BYTES / 5)?;
            world.subject(0)?.stop("TERM")?;
            world.restart(0)?;
            if let Some(now) = progress(&leech).filter(|now| *now >= BYTES) {
                return Err(format!("{what}: all {now} bytes were there before the restart"));
            }
        }
        let took = leech.line("done ", LIMIT).map_err(|why| format!("{what}: {why}; the seed: {}", seed.tail()))?;
        said.push(format!("{what}: {took} s"));
        println!("     {what}: 50 MB in {took} s");
    }
    Ok(format!("libtorrent {version}: 50 MB each, {}", said.join(", ")))
}

/// How many bytes a program says that it has.
fn progress(task: &Task) -> Option<u64> {
    let said = task.said();
    said.lines().rev().find_map(|line| line.strip_prefix("at ")?.split(' ').next()?.parse().ok())
}

fn until(task: &mut Task, bytes: u64) -> Result<(), String> {
    let end = Instant::now() + LIMIT;
    while progress(task).unwrap_or(0) < bytes {
        if Instant::now() > end {
            return Err(format!("{}: less than {bytes} bytes: {}", task.name, task.tail()));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
