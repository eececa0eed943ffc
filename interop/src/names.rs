//! Names and sites: a subscription that an i2pd eepsite serves, with a change that its holder has signed; and a folder
//! that the subject hosts, read by i2pd's proxy.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::content::hex;
use crate::net::within;
use crate::scenarios::{COLD, LEASES};
use crate::subject::{Kind, SITE_NAME};
use crate::world::{Route, World, curl, until_page};

/// Until a reading of a feed has been taken in: its destination needs tunnels first.
const FEED: Duration = Duration::from_secs(120);
const PAGE: &str = "a page of the folder";

// ---- the server ----

/// Answers with the feed in the folder of the run, or that it has not changed, and notes which.
pub(crate) fn feed(stream: &mut TcpStream, head: &str, run: &Path) -> std::io::Result<()> {
    let body = fs::read(run.join("feed.txt")).unwrap_or_default();
    let tag = format!("\"{}\"", &hex(&Sha256::digest(&body))[..16]);
    let known = head.lines().filter_map(|line| line.split_once(':'));
    let known =
        known.filter(|(name, _)| name.eq_ignore_ascii_case("if-none-match")).any(|(_, tags)| tags.contains(&tag));
    let status = if known { "304 Not Modified" } else { "200 OK" };
    let mut log = fs::OpenOptions::new().create(true).append(true).open(run.join("feed.log"))?;
    writeln!(log, "{status}")?;
    let length = if known { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let mut answer =
        format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nETag: {tag}\r\n{length}\r\n").into_bytes();
    if !known {
        answer.extend(body);
    }
    stream.write_all(&answer)
}

// ---- the scenario ----

/// The subject's program, and where its data and ours are.
struct Hand {
    program: PathBuf,
    data: PathBuf,
    run: PathBuf,
}

impl Hand {
    fn of(world: &mut World) -> Result<Self, String> {
        let Kind::Ramson { program } = world.kind().clone() else {
            return Err("this scenario is for Ramson only".into());
        };
        let (data, run) = (world.subject(0)?.dir.join("data"), world.net.run.clone());
        Ok(Self { program, data, run })
    }

    fn ramson(&self, args: &[&str], with_data: bool) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::null());
        if with_data {
            command.arg("--data").arg(&self.data);
        }
        let out = command.output().map_err(|why| format!("{}: {why}", self.program.display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(format!("{args:?}: {}", text(&out.stderr))) }
    }

    /// New keys in the folder of the run, and their destination.
    fn keys(&self, name: &str) -> Result<(String, String), String> {
        let file = self.run.join(name);
        let _ = fs::remove_file(&file);
        let file = file.to_string_lossy().into_owned();
        let said = self.ramson(&["keys", &file, "--new", "--json"], false)?;
        Ok((file, field(&said, "destination")?))
    }

    fn publish(&self, lines: &[String]) -> Result<(), String> {
        fs::write(self.run.join("feed.txt"), lines.join("\n") + "\n").map_err(|why| format!("feed.txt: {why}"))
    }

    /// How often the server has said so.
    fn answers(&self, status: &str) -> usize {
        fs::read_to_string(self.run.join("feed.log")).unwrap_or_default().matches(status).count()
    }

    fn means(&self, name: &str) -> Result<String, String> {
        field(&self.ramson(&["name", "lookup", name, "--json"], true)?, "destination")
    }

    /// Has the feed read, again where that fails, until it has come to something; says how long that took.
    fn read_until(&self, what: &str, done: impl Fn() -> bool) -> Result<Duration, String> {
        let start = Instant::now();
        while start.elapsed() < FEED {
            self.ramson(&["name", "update"], true)?;
            let limit = Instant::now() + Duration::from_secs(40);
            while Instant::now() < limit {
                if done() {
                    return Ok(start.elapsed());
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        Err(format!("{what}: not in {} s", start.elapsed().as_secs()))
    }
}

fn field(json: &str, key: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(json).map_err(|why| format!("{json}: {why}"))?;
    value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("no {key} in {json}"))
}

pub(crate) fn names(world: &mut World) -> Result<String, String> {
    let (ours, theirs, site) = (world.ours(0)?, world.theirs()?, world.their_site()?);
    until_page(&ours, &site, COLD)?;
    let hand = Hand::of(world)?;
    let subscribed = subscription(world, &hand, &ours)?;
    let hosted = host(&hand, &ours, &theirs)?;
    Ok(format!("{subscribed}; {hosted}"))
}

fn subscription(world: &mut World, hand: &Hand, ours: &Route) -> Result<String, String> {
    let ((old, old_destination), (impostor, _)) = (hand.keys("old.dat")?, hand.keys("impostor.dat")?);
    // The eepsite of i2pd takes the name over in the end.
    let theirs = hand.run.join("theirs.dat");
    let keys =
        fs::read(world.net.peer("server")?.dir.join("data/site.dat")).map_err(|why| format!("site.dat: {why}"))?;
    fs::write(&theirs, keys).map_err(|why| why.to_string())?;
    fs::set_permissions(&theirs, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(|why| why.to_string())?;
    let theirs = theirs.to_string_lossy().into_owned();
    let site = field(&hand.ramson(&["keys", &theirs, "--json"], false)?, "destination")?;
    let register = |args: &[&str]| hand.ramson(&[&["name", "register"], args].concat(), false);
    let mut lines = vec![
        register(&["alpha.i2p", "--key", &old])?,
        format!("beta.i2p={old_destination}"),
        // A name that the subject knows.
        register(&[SITE_NAME, "--key", &impostor])?,
    ];
    hand.publish(&lines)?;
    let config = world.subject(0)?.dir.join("ramson.toml");
    let text = fs::read_to_string(&config).map_err(|why| why.to_string())?;
    if !text.contains("[names]") {
        let names = format!("\n[names]\nsubscriptions = [\"http://{SITE_NAME}/hosts.txt\"]\n");
        fs::write(&config, text + &names).map_err(|why| why.to_string())?;
    }
    world.subject(0)?.stop("TERM")?;
    world.restart(0)?;
    until_page(ours, &world.their_site()?, COLD)?;
    let is = |name: &str, destination: &str| hand.means(name).is_ok_and(|means| means == destination);
    let first = hand.read_until("the first reading", || is("alpha.i2p", &old_destination))?;
    if !is("beta.i2p", &old_destination) || !is(SITE_NAME, &site) {
        return Err("the first reading is not what the feed says, or it took a known name".into());
    }
    let before = hand.answers("304");
    hand.read_until("a reading of what has not changed", || hand.answers("304") > before)?;
    lines.push(register(&["alpha.i2p", "--key", &theirs, "--change-from", &old])?);
    // The impostor has the old destination's name in it, but not its signature.
    let forged = register(&["beta.i2p", "--key", &theirs, "--change-from", &impostor])?;
    let (impostor, _) = (field(&hand.ramson(&["keys", &impostor, "--json"], false)?, "destination")?, ());
    lines.push(forged.replace(&impostor, &old_destination));
    hand.publish(&lines)?;
    let changed = hand.read_until("the signed change", || is("alpha.i2p", &site))?;
    if !is("beta.i2p", &old_destination) {
        return Err("a change without the old key's signature was taken".into());
    }
    let page = curl(ours, "http://alpha.i2p/ping")?;
    // What was read is there after a kill.
    world.subject(0)?.stop("KILL")?;
    let kept = is("alpha.i2p", &site) && is("beta.i2p", &old_destination);
    world.restart(0)?;
    if page != "pong" || !kept {
        return Err(format!("alpha.i2p says {page}; kept: {kept}"));
    }
    let (full, same) = (hand.answers("200"), hand.answers("304"));
    let (first, changed) = (first.as_secs_f64(), changed.as_secs_f64());
    Ok(format!("feed read in {first:.1} s, signed change in {changed:.1} s; {full} answers whole, {same} unchanged"))
}

/// A `ramson host`, ended with this value.
struct Hosting {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Hosting {
    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.lines.read_line(&mut line).map_err(|why| why.to_string())?;
        if line.is_empty() { Err("`ramson host` has ended".into()) } else { Ok(line) }
    }
}

impl Drop for Hosting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn host(hand: &Hand, ours: &Route, theirs: &Route) -> Result<String, String> {
    let folder = hand.run.join("folder");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join("index.html"), PAGE))
        .map_err(|why| why.to_string())?;
    let limit = Instant::now() + Duration::from_secs(30);
    // Its control socket is there a little later than its process.
    while hand.ramson(&["status"], true).is_err() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(200));
    }
    let start = Instant::now();
    let mut command = within(&ours.namespace, &hand.program.to_string_lossy());
    let child =
        command.arg("host").arg(&folder).arg("--data").arg(&hand.data).arg("--json").stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|why| format!("host: {why}"))?;
    let lines = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut hosting = Hosting { child, lines };
    let address = field(&hosting.line()?, "address")?;
    while !hosting.line()?.contains("\"reachable\":true") {}
    let reachable = start.elapsed();
    let page = loop {
        match curl(theirs, &address) {
            Ok(page) => break page,
            Err(why) if start.elapsed() > LEASES => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_secs(2)),
        }
    };
    let read = start.elapsed();
    if page != PAGE {
        return Err(format!("i2pd reads {page}"));
    }
    // A part; what is hidden; and nothing of when or by what.
    let mut ask = within(&theirs.namespace, "curl");
    ask.args(["-sS", "-i", "--max-time", "60", "-x", "http://127.0.0.1:4444", "-r", "2-5", &address]);
    let out = ask.output().map_err(|why| format!("curl: {why}"))?;
    let said = String::from_utf8_lossy(&out.stdout).to_lowercase();
    let telling = ["\nserver:", "\ndate:", "\nlast-modified:"].iter().find(|name| said.contains(**name));
    if !said.contains(" 206 ") || !said.ends_with("page") || telling.is_some() {
        return Err(format!("a part of the page: {telling:?} {said}"));
    }
    let (reachable, read) = (reachable.as_secs_f64(), read.as_secs_f64());
    Ok(format!("hosted folder reachable after {reachable:.1} s, read by i2pd after {read:.1} s"))
}
