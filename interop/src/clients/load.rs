//! How many: idle SAM sockets, destinations and streams at once, and what each costs; and how fast: streams through local sockets
//! between two routers without hops.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::get::script;
use super::stage::text;
use super::{Said, Stage, Task, done, wait_for};
use crate::net::within;
use crate::sam::Server;
use crate::scenarios::{median, number};
use crate::world::World;

/// A step of thousands, with 64 at once.
const STEP: Duration = Duration::from_secs(900);
const SERVERS: &str = "10";

pub(crate) fn load(world: &mut World) -> Said {
    run(world, "load", [2_000, 200, 5_000], false)
}

/// The same with fewer streams, where hops lose sight of each other, in pairs, once the tunnels stand. All tests of tunnels that do
/// not lead through both hops of a pair pass, and destinations with one tunnel each way must find another way to their servers.
pub(crate) fn cut_hops(world: &mut World) -> Said {
    run(world, "load-cut", [10, 200, 1_000], true)
}

/// Hops that do not reach each other, while this lives.
struct Cut(Vec<String>);

impl Cut {
    /// Of the hops that carry tunnels, each two neighbours in the list; the last two of the network carry none.
    fn pairs(world: &World) -> Result<Self, String> {
        let peers = world.net.peers()?;
        let mut cut = Self(Vec::new());
        for pair in peers[..peers.len().saturating_sub(2)].chunks_exact(2) {
            for (from, to) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                cut.0.push(from.namespace.clone());
                let drop = format!("add rule inet cut out ip daddr {} drop", to.ip);
                let chain = "add chain inet cut out { type filter hook output priority 0 ; }";
                for rule in ["add table inet cut", chain, &drop] {
                    let out = within(&from.namespace, "nft").args(rule.split(' ')).output();
                    let out = out.map_err(|why| format!("nft: {why}"))?;
                    if !out.status.success() {
                        return Err(format!("nft {rule}: {}", String::from_utf8_lossy(&out.stderr).trim()));
                    }
                }
            }
        }
        Ok(cut)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        for namespace in &self.0 {
            let _ = within(namespace, "nft").args(["delete", "table", "inet", "cut"]).status();
        }
    }
}

fn run(world: &mut World, name: &str, [idle, sessions, streams]: [u64; 3], cuts: bool) -> Said {
    let idle = number("INTEROP_LOAD_IDLE", idle);
    let sessions = number("INTEROP_LOAD_SESSIONS", sessions);
    let streams = number("INTEROP_LOAD_STREAMS", streams);
    let stage = Stage::new(world, name)?;
    let mut serve = within(&stage.b.namespace, "python3");
    let ends = stage.dir.join("ends");
    let serve = serve
        .args([&script("load.py"), "serve", SERVERS, &text(&ends)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let server = Server::named(serve.map_err(|why| format!("python3: {why}"))?, "mine2")?;
    let mut command = within(&stage.a.namespace, "python3");
    command.args([&script("load.py"), "ask"]).args([idle, sessions, streams].map(|n| n.to_string()));
    command.args(server.services.iter().skip(1).step_by(2));
    let mut asks = Task::start(name, &stage.dir, &mut command)?;
    let mut said = Vec::new();
    let mut apart = None;
    let mut before = (usage(world, 0)?, usage(world, 1)?);
    for (step, many) in
        [("idle", idle), ("sessions", sessions), ("streams", streams), ("talked", streams), ("again", streams)]
    {
        let line = asks.line(&format!("{step} "), STEP)?;
        let after = (usage(world, 0)?, usage(world, 1)?);
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [good, bad, seconds, why] = words[..] else { return Err(format!("odd: {step} {line}")) };
        // Streams that thousands open at once may be lost to a timer of the network between; none that stands is.
        if bad != "0" && (cuts || step != "streams" || bad.parse::<u64>().map_or(true, |bad| bad * 100 > many)) {
            return Err(format!("{step}: {bad} of {many} failed: {why}"));
        }
        let kib = |after: f64, before: f64| (after - before) * 1024.0 / many.max(1) as f64;
        let how = format!(
            "{good} {step} in {seconds} s ({bad} failed); memory {:.0} and {:.0} MB, {:.1} and {:.1} KiB for each; CPU {:.1} and {:.1} s",
            after.0.1,
            after.1.1,
            kib(after.0.1, before.0.1),
            kib(after.1.1, before.1.1),
            after.0.0 - before.0.0,
            after.1.0 - before.1.0
        );
        println!("     {how}");
        said.push(how);
        before = after;
        if cuts && step == "sessions" {
            apart = Some(Cut::pairs(world)?);
        }
        asks.type_in("on")?;
    }
    asks.line("flowing ", STEP)?;
    // What a stop tells peers has its own scenario, where all of them are reached.
    if let Some(apart) = apart {
        return Ok(format!("{} pairs of hops apart: {}", apart.0.len() / 2, said.join("; ")));
    }
    let closed = world.subject(0)?.stop("TERM")?;
    said.push(format!("closed in {:.1} s while streams carry data", closed.as_secs_f64()));
    said.push(cut(&asks.line("ended ", STEP)?, &ends)?);
    world.restart(0)?;
    Ok(said.join("; "))
}

/// What programs at both ends have seen of the end of their streams: nothing that was cut may look whole. `line` is what those at
/// the router that stops say: resets, and ends in order; the file has the same of the others.
fn cut(line: &str, file: &Path) -> Result<String, String> {
    let counts = |text: &str| -> Option<[u64; 2]> {
        let mut words = text.split_whitespace().map(str::parse::<u64>);
        Some([words.next()?.ok()?, words.next()?.ok()?])
    };
    let [reset, whole] = counts(line).ok_or_else(|| format!("odd: {line}"))?;
    // The resets are on their way through the network for a moment.
    let begun = Instant::now();
    let mut far = [0, 0];
    while far[0] + far[1] < reset && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(500));
        far = counts(&fs::read_to_string(file).unwrap_or_default()).unwrap_or(far);
    }
    let said = format!("{reset} reset here and {} there, {} seen as whole", far[0], whole + far[1]);
    if whole + far[1] > 0 || far[0] == 0 { Err(format!("cut silently: {said}")) } else { Ok(said) }
}

/// CPU seconds and megabytes of a router under test.
fn usage(world: &mut World, number: usize) -> Result<(f64, f64), String> {
    world.subject(number)?.usage().ok_or_else(|| "no usage".to_owned())
}

const PORT: u16 = 8096;
const FILE_BYTES: u64 = 64_000_000;
const STREAMS: usize = 8;

pub(crate) fn local(world: &mut World) -> Said {
    let rounds = number("INTEROP_ROUNDS", 3);
    let stage = Stage::new(world, "local")?;
    let mut tasks = Vec::new();
    for (dir, namespace) in stage.servers() {
        let root = dir.join("www");
        fs::create_dir_all(&root).map_err(|why| why.to_string())?;
        let bytes = usize::try_from(FILE_BYTES).map_err(|why| why.to_string())?;
        fs::write(root.join("file"), vec![0x5a; bytes]).map_err(|why| why.to_string())?;
        tasks.push(lighttpd(&dir, namespace)?);
    }
    let ways = stage.tunnels_of(world, "local", "tcp", (PORT, PORT), 9590, 0)?;
    let theirs = stage.i2pd_to_i2pd(world, "local", PORT, 9595, 0)?;
    let pairs = [("Ramson", &ways[0].namespace, ways[0].port), ("i2pd", &stage.client.namespace, theirs)];
    let mut rates = [Vec::new(), Vec::new()];
    for (_, namespace, port) in pairs {
        wait_for(Duration::from_secs(180), || fetch(namespace, port).and_then(Fetch::end))?;
    }
    for _ in 0..rounds {
        for ((what, namespace, port), rates) in pairs.iter().zip(&mut rates) {
            let begun = Instant::now();
            let all: Result<Vec<Fetch>, String> = (0..STREAMS).map(|_| fetch(namespace, *port)).collect();
            // All of them, so that none goes on into the next round.
            let ended: Vec<Said> = all?.into_iter().map(Fetch::end).collect();
            match ended.into_iter().find_map(Result::err) {
                // i2pd loses the session that carries all of them now and then, and gets another one after minutes.
                Some(why) if *what == "i2pd" => println!("     {what}: {why}"),
                Some(why) => return Err(format!("{what}: {why}")),
                None => {
                    let rate = STREAMS as f64 * FILE_BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64();
                    println!("     {what}: {rate:.1} MB/s with {STREAMS} streams");
                    rates.push(rate);
                }
            }
        }
    }
    if rates[1].is_empty() {
        return Err("i2pd has not ended a round".to_owned());
    }
    let [ours, theirs] = [median(&mut rates[0]), median(&mut rates[1])];
    Ok(format!(
        "{STREAMS} streams without hops, medians of {rounds}: Ramson {ours:.1} MB/s, i2pd {theirs:.1} MB/s, {:.2} times",
        ours / theirs
    ))
}

/// A file on its way.
struct Fetch(std::process::Child);

impl Fetch {
    fn end(self) -> Said {
        let out = self.0.wait_with_output().map_err(|why| format!("curl: {why}"))?;
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        if said == FILE_BYTES.to_string() { Ok(said) } else { Err(format!("curl got {said} bytes: {}", out.status)) }
    }
}

fn fetch(namespace: &str, port: u16) -> Result<Fetch, String> {
    let mut curl = within(namespace, "curl");
    curl.args(["-s", "-o", "/dev/null", "--max-time", "60", "-w", "%{size_download}"]);
    let child = curl.arg(format!("http://127.0.0.1:{port}/file")).stdout(Stdio::piped()).spawn();
    Ok(Fetch(child.map_err(|why| format!("curl: {why}"))?))
}

fn lighttpd(dir: &Path, namespace: &str) -> Result<Task, String> {
    let config = format!(
        "server.bind = \"127.0.0.1\"\nserver.port = {PORT}\nserver.document-root = \"{}/www\"\n\
         mimetype.assign = (\"\" => \"application/octet-stream\")\n",
        text(dir)
    );
    let file = dir.join("lighttpd.conf");
    fs::write(&file, config).map_err(|why| format!("{}: {why}", file.display()))?;
    let task = Task::start("lighttpd", dir, within(namespace, "/usr/sbin/lighttpd").arg("-D").arg("-f").arg(file))?;
    let url = format!("http://127.0.0.1:{PORT}/file");
    wait_for(Duration::from_secs(10), || done(namespace, 5, &["curl", "-sS", "--fail", "-o", "/dev/null", &url]))?;
    Ok(task)
}
