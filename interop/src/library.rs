//! The examples of the library, each a router in a namespace of its own, beside i2pd.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::net::{home, within};
use crate::world::{Route, World, curl, until_page};

/// Until an example has said what it has to, in a network that has just begun.
const PATIENCE: Duration = Duration::from_secs(240);

/// An example that runs. It ends with this.
struct Example {
    name: &'static str,
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the examples are: `EXAMPLES`, or where cargo puts them.
fn program(name: &str) -> Result<PathBuf, String> {
    let targets = ["release", "debug"].map(|profile| home().join(format!("../target/{profile}/examples")));
    let mut folders = std::env::var_os("EXAMPLES").map(PathBuf::from).into_iter().chain(targets);
    let found = folders.find_map(|folder| folder.join(name).canonicalize().ok());
    found.ok_or_else(|| format!("no example {name}: cargo build --release -p ramson --examples"))
}

impl Example {
    fn start(world: &World, name: &'static str, place: &str, args: &[&str]) -> Result<Self, String> {
        let (namespace, ip) = world.net.attach(place)?;
        let program = program(name)?;
        let mut command: Command = within(&namespace, &program.to_string_lossy());
        command.args(["--network", "99", "--listen", &format!("{ip}:23456"), "--seed"]);
        command.arg(world.net.run.join("seed")).args(args);
        Self::run(name, command)
    }

    /// The same without a router of its own: over I2CP to the router in whose namespace it is.
    fn at(router: &Route, name: &'static str, args: &[&str]) -> Result<Self, String> {
        let mut command = within(&router.namespace, &program(name)?.to_string_lossy());
        command.args(["--i2cp", "127.0.0.1:7654"]).args(args);
        Self::run(name, command)
    }

    fn run(name: &'static str, mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| format!("{name}: {why}"))?;
        let out = child.stdout.take().ok_or("no output")?;
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name, child, lines })
    }

    /// The rest of the first line that begins so.
    fn line(&self, begin: &str) -> Result<String, String> {
        let end = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.map_err(|why| format!("{}: no line \"{begin}\" ({why}); it said {said:?}", self.name))?;
            match line.strip_prefix(begin) {
                Some(rest) => return Ok(rest.to_owned()),
                None => said.push(line),
            }
        }
    }

    /// Types a line.
    fn type_in(&mut self, line: &str) -> Result<(), String> {
        let input = self.child.stdin.as_mut().ok_or("no input")?;
        writeln!(input, "{line}").map_err(|why| format!("{}: {why}", self.name))
    }

    /// Waits until it has ended by itself.
    fn end(mut self) -> Result<(), String> {
        drop(self.child.stdin.take());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("{}: {status}", self.name)),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        Err(format!("{} does not end", self.name))
    }
}

/// The echo with its server at a Ramson and its client at i2pd, and the other way round.
pub(crate) fn library_i2cp(world: &mut World) -> Result<String, String> {
    echo_over(world, &world.theirs()?)
}

/// The same at any router that speaks I2CP.
pub(crate) fn echo_over(world: &World, router: &Route) -> Result<String, String> {
    let mut said = Vec::new();
    for over_i2cp in ["client", "server"] {
        let (server, place) = (["--serve"], format!("i2cp-{over_i2cp}"));
        let server = match over_i2cp {
            "server" => Example::at(router, "echo", &server)?,
            _ => Example::start(world, "echo", &place, &server)?,
        };
        let address = server.line("the echo is at ")?;
        let ask = ["--ask", &address];
        let client = match over_i2cp {
            "client" => Example::at(router, "echo", &ask)?,
            _ => Example::start(world, "echo", &place, &ask)?,
        };
        for word in ["ramsons", "are", "wild", "garlic"] {
            client.line(&format!("{word} -> {word}"))?;
        }
        let much = client.line("2000000 bytes -> the same: true, after ")?;
        for format in ["Datagram1", "Datagram2", "Datagram3"] {
            client.line(&format!("{format} -> the same: true"))?;
        }
        client.end()?;
        server.end()?;
        let what = &router.what;
        said.push(format!(
            "{over_i2cp} over I2CP of {what}: words, 2 MB there and back in {much}, datagrams 1, 2 and 3"
        ));
    }
    Ok(said.join("; "))
}

pub(crate) fn library(world: &mut World) -> Result<String, String> {
    // i2pd publishes its site half a minute after its start.
    let theirs = world.their_site()?;
    until_page(&world.theirs()?, &theirs, PATIENCE)?;
    let begun = Instant::now();
    let echo = Example::start(world, "echo", "echo", &[])?;
    for word in ["ramsons", "are", "wild", "garlic"] {
        echo.line(&format!("{word} -> {word}"))?;
    }
    echo.end()?;
    let echoed = begun.elapsed().as_secs_f64();

    let site = Example::start(world, "eepsite", "eepsite", &[])?;
    let address = site.line("http://")?;
    let page = curl(&world.theirs()?, &format!("http://{address}"))?;
    if !page.starts_with("Hello. I do not know who you are; you came as ") {
        return Err(format!("i2pd reads another page than axum serves: {page}"));
    }
    drop(site);

    let fetch = Example::start(world, "fetch", "fetch", &[&theirs, "/ping"])?;
    fetch.line("pong")?;
    fetch.end()?;

    let mut first = Example::start(world, "chat", "chat1", &[])?;
    let address = first.line("waiting at ")?;
    let mut second = Example::start(world, "chat", "chat2", &[&address])?;
    second.type_in("who is there?")?;
    first.line("> who is there?")?;
    first.type_in("nobody you know")?;
    second.line("> nobody you know")?;
    second.end()?;
    first.end()?;
    Ok(format!("the echo's words after {echoed:.1} s; i2pd reads the site of axum; hyper reads that of i2pd; two chat"))
}
