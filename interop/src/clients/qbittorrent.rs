//! qBittorrent at a Ramson's SAM bridge and another at an i2pd's, told by their web interfaces what to share.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::get::unpacked;
use super::stage::text;
use super::torrent::{BYTES, LIMIT, torrent, tracker};
use super::{Said, Stage, Task, done, wait_for};
use crate::content::hex;
use crate::net::within;
use crate::world::World;

const WEB: &str = "http://127.0.0.1:8099/api/v2";

/// One that runs, in a namespace.
struct Sharer {
    task: Task,
    namespace: String,
}

impl Sharer {
    fn start(program: &str, dir: &Path, namespace: &str) -> Result<Self, String> {
        let config = dir.join("qBittorrent/config");
        fs::create_dir_all(&config).map_err(|why| format!("{}: {why}", config.display()))?;
        let settings = format!(
            "[LegalNotice]\nAccepted=true\n[Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port=8099\n\
             WebUI\\LocalHostAuth=false\nWebUI\\CSRFProtection=false\nWebUI\\HostHeaderValidation=false\nWebUI\\Username=admin\n\
             [BitTorrent]\nSession\\I2P\\Enabled=true\nSession\\I2P\\Address=127.0.0.1\nSession\\I2P\\Port=7656\n\
             Session\\DHTEnabled=false\nSession\\LSDEnabled=false\nSession\\QueueingSystemEnabled=false\n\
             Session\\Interface=lo\nSession\\DefaultSavePath={}\n[Network]\nPortForwardingEnabled=false\n",
            text(dir)
        );
        let file = config.join("qBittorrent.conf");
        fs::write(&file, settings).map_err(|why| format!("{}: {why}", file.display()))?;
        let mut command = within(namespace, program);
        command.args(["--confirm-legal-notice", &format!("--profile={}", text(dir))]).env("HOME", dir);
        let sharer = Self { task: Task::start("qbittorrent", dir, &mut command)?, namespace: namespace.to_owned() };
        let seen = wait_for(Duration::from_secs(30), || sharer.ask("torrents/info", &[]));
        seen.map_err(|why| format!("{why}; {}", sharer.task.tail()))?;
        Ok(sharer)
    }

    fn ask(&self, what: &str, more: &[&str]) -> Said {
        let url = format!("{WEB}/{what}");
        done(&self.namespace, 20, &[&["curl", "-sS", "--fail", "--max-time", "15"], more, &[&url]].concat())
    }

    /// Begins to share a torrent, in this folder.
    fn add(&self, torrent: &str, folder: &str) -> Result<(), String> {
        let (file, path) = (format!("torrents=@{torrent}"), format!("savepath={folder}"));
        self.ask("torrents/add", &["-F", &file, "-F", &path]).map(drop)
    }

    /// How many bytes of the newest torrent it still needs, and what it does.
    fn left(&self, name: &str) -> Result<(u64, String), String> {
        let said = self.ask("torrents/info", &[])?;
        let list: Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
        let of = |torrent: &&Value| torrent.get("name").and_then(Value::as_str) == Some(name);
        let found =
            list.as_array().and_then(|list| list.iter().find(of)).ok_or_else(|| format!("no {name}: {said}"))?;
        let left = found.get("amount_left").and_then(Value::as_u64).ok_or("no amount")?;
        Ok((left, found.get("state").and_then(Value::as_str).unwrap_or_default().to_owned()))
    }

    /// Tells the tracker where it is, and asks who else is there.
    fn announce(&self) {
        let _ = self.ask("torrents/reannounce", &["--data", "hashes=all"]);
    }

    /// Takes I2P off and on again, as its users must when the router was started again: its libtorrent does not go back to the
    /// bridge by itself before 2.1.
    fn again(&self) -> Result<(), String> {
        for set in [r#"json={"i2p_enabled":false}"#, r#"json={"i2p_enabled":true}"#] {
            self.ask("app/setPreferences", &["--data-urlencode", set])?;
            std::thread::sleep(Duration::from_secs(2));
        }
        Ok(())
    }

    /// Waits until no more than so many bytes of it are missing. While nothing comes, both ask the tracker anew.
    fn until(&self, name: &str, most: u64, other: &Self, limit: Duration) -> Result<(), String> {
        let begun = Instant::now();
        let (mut last, mut asked) = (0, Instant::now());
        loop {
            let (left, state) = self.left(name)?;
            if left <= most && !state.starts_with("checking") {
                return Ok(());
            }
            if begun.elapsed() > limit {
                return Err(format!("{left} bytes of {name} are missing ({state}); {}", self.task.tail()));
            }
            if left == last && asked.elapsed() > Duration::from_secs(10) {
                self.announce();
                other.announce();
                asked = Instant::now();
            }
            last = left;
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

pub(crate) fn qbittorrent(world: &mut World) -> Said {
    let (program, version) = unpacked("qbittorrent-nox")?;
    let stage = Stage::new(world, "qbittorrent")?;
    let (_tracker, tracker) = tracker(&stage, "tracker-q")?;
    let ours = Sharer::start(&program, &stage.client_dir("at-ramson")?, &stage.a.namespace)?;
    let theirs = Sharer::start(&program, &stage.client_dir("at-i2pd")?, &stage.client.namespace)?;
    let mut said = Vec::new();
    let ways = [
        (&ours, &theirs, "seed at Ramson", false),
        (&theirs, &ours, "leech at Ramson", false),
        (&ours, &theirs, "seed's Ramson restarts", true),
        (&theirs, &ours, "leech's Ramson restarts", true),
    ];
    for (seed, (seeder, leecher, what, restart)) in (950..).zip(ways) {
        let (folder, torrent, hash) = torrent(&stage, &tracker, seed)?;
        let name = format!("file{seed}");
        seeder.add(&torrent, &folder)?;
        wait_for(Duration::from_secs(30), || {
            seeder.until(&name, 0, leecher, Duration::from_secs(30)).map(|()| String::new())
        })?;
        let to = stage.client_dir(&format!("leech{seed}"))?;
        let begun = Instant::now();
        leecher.add(&torrent, &text(&to))?;
        wait_for(Duration::from_secs(30), || leecher.left(&name).map(|_| String::new()))?;
        let failed = |why: String| format!("{what}: {why}");
        if restart {
            leecher.until(&name, BYTES / 10 * 8, seeder, LIMIT).map_err(failed)?;
            world.subject(0)?.stop("TERM")?;
            world.restart(0)?;
            if leecher.left(&name)?.0 == 0 {
                return Err(format!("{what}: all was there before the restart"));
            }
            ours.again()?;
        }
        leecher.until(&name, 0, seeder, LIMIT).map_err(failed)?;
        let took = begun.elapsed().as_secs();
        let bytes = fs::read(to.join(&name)).map_err(|why| format!("{what}: {why}"))?;
        if hex(&Sha256::digest(bytes)) != hash {
            return Err(format!("{what}: another file came than was shared"));
        }
        println!("     {what}: 50 MB in {took} s");
        said.push(format!("{what}: {took} s"));
    }
    Ok(format!("qBittorrent {version}: 50 MB each, {}", said.join(", ")))
}
