//! curl through every kind of proxy: megabytes down and up.

use std::fs;
use std::time::Duration;

use super::stage::{text, version};
use super::{Said, Stage, done, wait_for};
use crate::content::{Content, sha256_of};
use crate::world::World;

const SOCKS: &str = "127.0.0.1:4447";
const BYTES: u64 = 1_000_000;
const SEED: u64 = 31;
/// With a user and a password curl offers two methods of SOCKS5, this and none.
const WAYS: [(&str, &[&str]); 5] = [
    ("SOCKS4a", &["--socks4a", SOCKS]),
    ("SOCKS5", &["--socks5-hostname", SOCKS]),
    ("SOCKS5 with two methods", &["--socks5-hostname", SOCKS, "--proxy-user", "curl:word"]),
    ("HTTP", &["-x", "http://127.0.0.1:4444"]),
    ("CONNECT", &["-p", "-x", "http://127.0.0.1:4444"]),
];

pub(crate) fn curl(world: &mut World) -> Said {
    let stage = Stage::new(world, "curl")?;
    let sites = [(world.our_site(0)?, "Ramson"), (world.their_site()?, "i2pd")];
    let mut body = vec![0; usize::try_from(BYTES).map_err(|why| why.to_string())?];
    Content::new(SEED).fill(&mut body);
    let file = stage.dir.join("body");
    fs::write(&file, body).map_err(|why| format!("{}: {why}", file.display()))?;
    let got = stage.dir.join("got");
    let at = &stage.b.namespace;
    for (site, router) in &sites {
        for (what, way) in WAYS {
            let curl = |more: &[&str], url: &str| {
                let mut words = vec!["curl", "-sS", "--fail", "--max-time", "110"];
                words.extend(way.iter().chain(more).copied().chain([url]));
                done(at, 120, &words).map_err(|why| format!("{what} to {router}: {why}"))
            };
            // The first one waits for tunnels.
            let out = text(&got);
            let down = format!("http://{site}/file/{SEED}/{BYTES}");
            wait_for(Duration::from_secs(180), || curl(&["-o", &out], &down))?;
            let bytes = fs::read(&got).map_err(|why| format!("{}: {why}", got.display()))?;
            if bytes != fs::read(&file).unwrap_or_default() {
                return Err(format!("{what} to {router}: other bytes came than were served"));
            }
            let posted = format!("@{}", text(&file));
            let said = curl(&["--data-binary", &posted], &format!("http://{site}/sink"))?;
            if said != format!("{} {BYTES}", sha256_of(SEED, BYTES)) {
                return Err(format!("{what} to {router}: the server got {said}"));
            }
        }
        for bad in ["http://example.org/", "http://127.0.0.1:8080/ping", "http://[::1]:8080/ping"] {
            for (what, way) in WAYS {
                let mut words = vec!["curl", "-sS", "--fail", "--max-time", "30"];
                words.extend(way.iter().copied().chain([bad]));
                if let Ok(said) = done(at, 40, &words) {
                    return Err(format!("{bad} was reached by {what}: {said}"));
                }
            }
        }
    }
    let names: Vec<&str> = WAYS.iter().map(|(what, _)| *what).collect();
    Ok(format!(
        "{}: 1 MB down and up by {}, from a Ramson and an i2pd",
        version(&["curl", "--version"])?,
        names.join(", ")
    ))
}
