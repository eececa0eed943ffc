//! Routers as hops and in a big network: what the crowd (`ramson-crowd`, another program) measures at the subject and at
//! an i2pd beside it, in a namespace each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::figure;
use crate::net::{home, within};
use crate::scenarios::{median, number};
use crate::subject::{Kind, Subject};
use crate::world::World;

/// Where the crowd lives.
const CROWD: &str = "10.120.0.0";
/// Rounds of the load, all through the same tunnels; with all rates they must be over before the tunnels are.
const ROUNDS: u64 = 5;
const MOST_ROUNDS: u64 = 12;
/// Rates of the load in MB/s.
const RATES: [&str; 3] = ["3", "10", "20"];
const SECONDS: u64 = 12;
/// RouterInfos that both routers find when they start.
const KNOWN: u32 = 10_000;
const SESSIONS: u32 = 500;
const TUNNELS: u32 = 2_000;

/// Both routers under test, and the namespace of the crowd.
struct Pair {
    hops: [Subject; 2],
    crowd: String,
    program: PathBuf,
}

impl Pair {
    /// Both, which know `known` routers of the crowd from the start.
    fn start(world: &World, known: u32) -> Result<Self, String> {
        let program =
            std::env::var_os("CROWD_BIN").map_or_else(|| home().join("../target/release/ramson-crowd"), Into::into);
        let program = program.canonicalize().map_err(|why| format!("{}: {why}", program.display()))?;
        let (crowd, ip) = world.net.attach("crowd")?;
        let net = format!("{CROWD}/16");
        ip_command(&crowd, &["route", "replace", "local", &net, "dev", "lo"])?;
        let theirs = Kind::I2pd { program: crate::cache().join("i2pd-sid/run-i2pd") };
        let prepare = |kind: &Kind, name: &str| {
            let hop = Subject::prepare(&world.net, kind, name, world.spec)?;
            ip_command(&hop.namespace, &["route", "replace", &net, "via", &ip, "dev", "eth0", "onlink"])?;
            Ok::<_, String>(hop)
        };
        let mut hops = [prepare(world.kind(), "hop1")?, prepare(&theirs, "hop2")?];
        if known > 0 {
            let count = known.to_string();
            let mut infos = Command::new(&program);
            infos.args(["infos", "--base", CROWD, "--count", &count]).args(hops.iter().map(|hop| hop.dir.join("data")));
            let out = infos.stdin(Stdio::null()).output().map_err(|why| format!("{}: {why}", program.display()))?;
            if !out.status.success() {
                return Err(format!("ramson-crowd infos: {}", String::from_utf8_lossy(&out.stderr).trim()));
            }
        }
        for hop in &mut hops {
            hop.run()?;
            hop.until_it_has_keys()?;
        }
        // i2pd says nothing when it has read its netDb and its first sessions stand.
        std::thread::sleep(Duration::from_secs(if known > 0 { 20 } else { 5 }));
        Ok(Self { hops, crowd, program })
    }

    /// Runs the crowd on both, and returns the lines that it says.
    fn measure(&mut self, world: &World, args: &[&str], limit: Duration) -> Result<Vec<Line>, String> {
        let seeds = world.net.run.join("seed");
        let mut crowd = within(&self.crowd, &self.program.to_string_lossy());
        crowd.args(args).args(["--base", CROWD, "--known"]).arg(&seeds);
        for (hop, name) in self.hops.iter_mut().zip(["ours", "peer"]) {
            hop.alive()?;
            let info = hop.dir.join("data/router.info");
            let pid = hop.pid().ok_or("a hop is not running")?;
            crowd.arg("--hop").arg(format!("{name},{},{pid}", info.display()));
        }
        let out = world.net.run.join("crowd.out");
        let file = std::fs::File::create(&out).map_err(|why| format!("{}: {why}", out.display()))?;
        let errors = file.try_clone().map_err(|why| why.to_string())?;
        let mut child = crowd.stdout(file).stderr(errors).spawn().map_err(|why| format!("ramson-crowd: {why}"))?;
        self.hops[0].remember(child.id());
        let end = Instant::now() + limit;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("ramson-crowd takes longer than {} s:\n{}", limit.as_secs(), read(&out)));
                }
            }
        };
        let said = read(&out);
        for line in said.lines() {
            println!("     {line}");
        }
        for hop in &mut self.hops {
            hop.alive()?;
        }
        if !status.success() {
            return Err(format!("ramson-crowd: {status}: {}", said.lines().last().unwrap_or_default()));
        }
        Ok(said.lines().map(Line::parse).collect())
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn ip_command(namespace: &str, args: &[&str]) -> Result<(), String> {
    let out = within(namespace, "ip").args(args).output().map_err(|why| format!("ip: {why}"))?;
    if out.status.success() { Ok(()) } else { Err(format!("ip: {}", String::from_utf8_lossy(&out.stderr).trim())) }
}

/// A line of the crowd: a word, and values by name.
struct Line {
    word: String,
    values: BTreeMap<String, String>,
}

impl Line {
    fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default().to_owned();
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { word, values: words.filter_map(pair).collect() }
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.values.get(name).is_some_and(|known| known == value)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.values.get(name)?.parse().ok()
    }
}

/// The medians of ours and the peer's over all rounds.
fn both(lines: &[Line], rate: &str, value: &str) -> [f64; 2] {
    ["ours", "peer"].map(|name| {
        let of_hop = |line: &&Line| line.word == "HOP" && line.is("rate", rate) && line.is("name", name);
        median(&mut lines.iter().filter(of_hop).filter_map(|line| line.number(value)).collect::<Vec<_>>())
    })
}

/// What a hop costs and how long it keeps a message, at three rates, with the i2pd as the other hop of the same tunnels.
pub(crate) fn hop_cost(world: &mut World) -> Result<String, String> {
    let mut pair = Pair::start(world, 0)?;
    let rounds = number("INTEROP_ROUNDS", ROUNDS).clamp(1, MOST_ROUNDS);
    let rates = vec![RATES.join(","); rounds as usize].join(",");
    let seconds = SECONDS.to_string();
    let limit = Duration::from_secs(rounds * RATES.len() as u64 * (SECONDS + 3) + 200);
    let mut said = Vec::new();
    for (suffix, rates, burst) in [("", rates.as_str(), "8"), ("-thin", "10,10,10,10,10", "2")] {
        let lines = pair.measure(world, &["load", "--rates", rates, "--seconds", &seconds, "--burst", burst], limit)?;
        let of_load = |name: &str| {
            let load = lines.iter().filter(|line| line.word == "LOAD");
            load.map(|line| line.number(name).unwrap_or(f64::NAN)).collect::<Vec<_>>()
        };
        let (sent, lost, broken) = (of_load("sent"), of_load("lost"), of_load("broken"));
        // Where the machine has something else to do, i2pd ends sessions that take no 500 messages in a tenth of a second.
        let mut shares: Vec<f64> = lost.iter().zip(&sent).map(|(lost, sent)| lost / sent).collect();
        let (lost, sent) = (lost.iter().sum::<f64>(), sent.iter().sum::<f64>());
        if broken.iter().any(|broken| *broken > 0.0) || median(&mut shares) > 0.01 {
            return Err(format!("{lost} of {sent} messages are lost, {broken:?} broken in the rounds"));
        }
        for rate in RATES.iter().filter(|rate| rates.split(',').any(|known| known == **rate)) {
            let [ours, theirs] = both(&lines, rate, "cpu");
            said.push(figure(&format!("net-hop-cpu-{rate}{suffix}"), ours, theirs, "ms/MB"));
            let [ours, theirs] = both(&lines, rate, "median");
            said.push(figure(&format!("net-hop-latency-{rate}{suffix}"), ours, theirs, "ms"));
            if *rate == "10" {
                for part in ["user", "system"] {
                    let [ours, theirs] = both(&lines, rate, part);
                    figure(&format!("net-hop-{part}-{rate}{suffix}"), ours, theirs, "ms/MB");
                }
            }
        }
        said.push(format!("{lost} of {sent} messages lost"));
    }
    Ok(said.join("; "))
}

/// Requests a second: none, what a hop may get from a few peers, and a flood of them.
const REQUESTS: [&str; 3] = ["0", "150", "5000"];
const ASKED_SECONDS: u64 = 10;
/// What standing tunnels may lose under the flood, in percent.
const MOST_LOST: f64 = 20.0;

/// What answers to build requests cost, and what a flood of requests does to the tunnels that stand.
pub(crate) fn requests(world: &mut World) -> Result<String, String> {
    let mut pair = Pair::start(world, 0)?;
    let rounds = number("INTEROP_ROUNDS", 3).clamp(1, MOST_ROUNDS);
    let rates = vec![REQUESTS.join(","); rounds as usize].join(",");
    let seconds = ASKED_SECONDS.to_string();
    let limit = Duration::from_secs(rounds * REQUESTS.len() as u64 * 2 * (ASKED_SECONDS + 3) + 200);
    let lines = pair.measure(world, &["ask", "--rates", &rates, "--seconds", &seconds], limit)?;
    let value = |rate: &str, what: fn(&Line) -> Option<f64>| {
        ["ours", "peer"].map(|name| {
            let of_hop = |line: &&Line| line.word == "ASKED" && line.is("rate", rate) && line.is("name", name);
            median(&mut lines.iter().filter(of_hop).filter_map(what).collect::<Vec<_>>())
        })
    };
    let cpu: fn(&Line) -> Option<f64> = |line| Some(line.number("cpu")? / line.number("seconds")?);
    let answers: fn(&Line) -> Option<f64> =
        |line| Some((line.number("accepted")? + line.number("declined")?) / line.number("seconds")?);
    let lost: fn(&Line) -> Option<f64> = |line| Some(100.0 - 100.0 * line.number("received")? / line.number("sent")?);
    let idle = value(REQUESTS[0], cpu);
    let mut said = Vec::new();
    for rate in &REQUESTS[1..] {
        let (used, answered) = (value(rate, cpu), value(rate, answers));
        // What the messages of the standing tunnels cost is no cost of requests.
        let own = [0, 1].map(|side| (used[side] - idle[side]).max(0.0));
        said.push(figure(&format!("net-requests-answered-{rate}"), answered[0], answered[1], "1/s"));
        said.push(figure(&format!("net-requests-cpu-{rate}"), 100.0 * own[0], 100.0 * own[1], "% of a core"));
        // What few requests cost is less than the kernel counts.
        if *rate == REQUESTS[2] {
            let per_core = [0, 1].map(|side| answered[side] / own[side]);
            said.push(figure("net-requests-per-core", per_core[0], per_core[1], "1/s"));
        }
    }
    let flood = value(REQUESTS[2], lost);
    said.push(figure("net-requests-lost", flood[0], flood[1], "% of messages"));
    let [ours, theirs] = value(REQUESTS[2], |line| line.number("rss"));
    said.push(figure("net-requests-memory", ours, theirs, "MB"));
    let said = said.join("; ");
    if flood[0] > MOST_LOST { Err(format!("too many messages are lost in a flood: {said}")) } else { Ok(said) }
}

/// Memory with 10,000 known routers, 500 sessions and 2,000 transit tunnels.
pub(crate) fn crowd(world: &mut World) -> Result<String, String> {
    let mut pair = Pair::start(world, KNOWN)?;
    let (sessions, tunnels) = (SESSIONS.to_string(), TUNNELS.to_string());
    let people = KNOWN.to_string();
    let args = ["hold", "--sessions", &sessions, "--tunnels", &tunnels, "--people", &people];
    let lines = pair.measure(world, &args, Duration::from_secs(500))?;
    let memory = |name: &str, after: &str| {
        let of_hop = |line: &&Line| line.word == "MEMORY" && line.is("name", name) && line.is("after", after);
        lines.iter().find(of_hop).and_then(|line| line.number("rss")).ok_or("the crowd does not tell the memory")
    };
    for hop in &pair.hops {
        let folder = hop.dir.join("data/netDb");
        let kept = std::fs::read_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let files = |entry: std::fs::DirEntry| std::fs::read_dir(entry.path()).map_or(0, Iterator::count);
        let kept: usize = kept.flatten().map(files).sum();
        if kept < KNOWN as usize * 95 / 100 {
            return Err(format!("{} keeps {kept} routers of {KNOWN}", hop.name));
        }
    }
    let steps = ["before", "sessions", "tunnels", "messages"];
    for after in &steps[..3] {
        figure(&format!("net-crowd-memory-{after}"), memory("ours", after)?, memory("peer", after)?, "MB");
    }
    Ok(figure("net-crowd-memory", memory("ours", steps[3])?, memory("peer", steps[3])?, "MB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_word_and_values() {
        let lines: Vec<Line> =
            ["HOP rate=3 name=ours cpu=2.5", "HOP rate=3 name=ours cpu=4.5", "HOP rate=3 name=peer cpu=9"]
                .into_iter()
                .map(Line::parse)
                .collect();
        assert_eq!(both(&lines, "3", "cpu"), [3.5, 9.0]);
        assert_eq!(lines[0].number("name"), None);
    }
}
