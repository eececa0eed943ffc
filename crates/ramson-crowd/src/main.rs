//! A crowd of I2P routers in one process: a tool for the laboratory, that loads routers under test and measures what they
//! cost. It speaks NTCP2 and builds tunnels with the production code, and lives in a private network, at a /16 of
//! addresses that its namespace must own (`ip route add local 10.120.0.0/16 dev lo`).
//!
//! It bounds little and trusts its arguments; it never leaves the laboratory.

mod ask;
mod hold;
mod load;
mod people;
mod plane;
mod route;
mod usage;

use ask::Ask;
use hold::Hold;
use load::Load;
use people::{Crowd, Known, MOST};
use plane::Plane;
use route::Hop;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const USAGE: &str = "\
ramson-crowd infos --count N DATA...      puts N RouterInfos into the netDb of each data folder
ramson-crowd load --hop NAME,INFO,PID...  [--rates 3,10,20] [--seconds 20] [--tunnels 16] [--members 8] [--burst 8]
ramson-crowd hold --hop NAME,INFO,PID...  [--sessions 500] [--tunnels 2000] [--messages 20] [--seconds 10]
ramson-crowd ask --hop NAME,INFO,PID...   [--rates 0,150,5000] [--seconds 10] [--members 50] [--load 3]
    NAME of a router under test, the file of its RouterInfo, its process
all: [--base 10.120.0.0] [--seed 1] [--known FOLDER] [--people N]
    addresses of the crowd; who they are; RouterInfos of others; how many the hops may know of the crowd";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            #[expect(clippy::print_stderr, reason = "the program's last word")]
            {
                eprintln!("{why}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Arguments by name, and the ones without.
struct Args {
    named: Vec<(String, String)>,
    rest: Vec<String>,
}

impl Args {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut parsed = Self { named: Vec::new(), rest: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                Some(name) => {
                    let value = args.next().ok_or_else(|| format!("--{name} needs a value"))?;
                    parsed.named.push((name.to_owned(), value.clone()));
                }
                None => parsed.rest.push(arg.clone()),
            }
        }
        Ok(parsed)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.named.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn one<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        let value = self.all(name).last();
        value.map_or(Ok(default), |value| value.parse().map_err(|_| format!("--{name} {value}: no such value")))
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let (command, rest) = args.split_first().ok_or(USAGE)?;
    let args = Args::parse(rest)?;
    let crowd = Crowd { seed: args.one("seed", 1)?, base: args.one("base", std::net::Ipv4Addr::new(10, 120, 0, 0))? };
    match command.as_str() {
        "infos" => {
            let folders: Vec<PathBuf> = args.rest.iter().map(PathBuf::from).collect();
            infos(&crowd, args.one("count", 10_000)?, &folders)
        }
        "load" => {
            let rates = args.one("rates", "3,10,20".to_owned())?;
            let rates: Result<Vec<f64>, _> = rates.split(',').map(str::parse).collect();
            let load = Load {
                rates: rates.map_err(|_| "--rates are numbers")?,
                seconds: args.one("seconds", 20)?,
                tunnels: args.one("tunnels", 16)?,
                members: args.one("members", 8)?,
                burst: args.one("burst", 8)?,
            };
            load::run(&mut plane(crowd, &args)?, hops(&args)?, &load)
        }
        "ask" => {
            let rates = args.one("rates", "0,150,5000".to_owned())?;
            let rates: Result<Vec<u64>, _> = rates.split(',').map(str::parse).collect();
            let ask = Ask {
                rates: rates.map_err(|_| "--rates are whole numbers")?,
                seconds: args.one("seconds", 10)?,
                members: args.one("members", 50)?,
                load: args.one("load", 3.0)?,
            };
            ask::run(&mut plane(crowd, &args)?, hops(&args)?, &ask)
        }
        "hold" => {
            let hold = Hold {
                sessions: args.one("sessions", 500)?,
                tunnels: args.one("tunnels", 2_000)?,
                messages: args.one("messages", 20)?,
                seconds: args.one("seconds", 10)?,
            };
            hold::run(&mut plane(crowd, &args)?, hops(&args)?, hold)
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn hops(args: &Args) -> Result<Vec<Hop>, String> {
    let hops: Vec<Hop> = args.all("hop").map(Hop::parse).collect::<Result<_, _>>()?;
    if hops.is_empty() { Err(USAGE.to_owned()) } else { Ok(hops) }
}

/// A plane that knows the hops, the crowd, and who else is named.
fn plane(crowd: Crowd, args: &Args) -> Result<Plane, String> {
    let mut known = Known::new();
    for folder in args.all("known") {
        people::read_folder(Path::new(folder), &mut known)?;
    }
    for hop in hops(args)? {
        known.insert(hop.info.hash(), hop.info);
    }
    let now = unix_ms();
    for number in 0..args.one("people", 0)?.min(MOST) {
        let info = crowd.info(number, &crowd.keys(number), now)?;
        known.insert(info.hash(), std::sync::Arc::new(info));
    }
    Plane::new(crowd, known)
}

fn infos(crowd: &Crowd, count: u32, folders: &[PathBuf]) -> Result<(), String> {
    let now = unix_ms();
    for number in 0..count.min(MOST) {
        let info = crowd.info(number, &crowd.keys(number), now)?;
        for folder in folders {
            people::put(folder, &info)?;
        }
    }
    Ok(())
}

fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_names_or_none() {
        let words = ["--hop", "a", "x", "--hop", "b", "--seconds", "7"].map(str::to_owned);
        let args = Args::parse(&words).unwrap();
        assert_eq!(args.all("hop").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((args.rest.as_slice(), args.one("seconds", 20)), (&["x".to_owned()][..], Ok(7)));
        assert_eq!(args.one("tunnels", 16), Ok(16));
        assert!(args.one::<u32>("hop", 1).is_err());
        assert!(Args::parse(&["--hop".to_owned()]).is_err());
    }
}
