//! Programs at SAM bridges: one that answers, at one router, and one that asks, at another. `_sam serve [STYLE ...]` and
//! `_sam ask STYLE DESTINATION ...`, run in the routers' namespaces; and the scenario that runs them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::content::Content;
use crate::net::{this_program, within};
use crate::world::{Route, World};

const BRIDGE: &str = "127.0.0.1:7656";
const STYLES: [&str; 5] = ["STREAM", "DATAGRAM", "DATAGRAM2", "DATAGRAM3", "RAW"];
const TUNNELS: &str = "SIGNATURE_TYPE=7 i2cp.leaseSetEncType=4 inbound.length=2 outbound.length=2 inbound.quantity=2 \
    outbound.quantity=2";
/// Until a session stands in a network that has just begun.
const CREATE: Duration = Duration::from_secs(240);
/// Until the first answer: both ends look each other up.
const FIRST: Duration = Duration::from_secs(90);
/// Between two tries to reach a service.
const PAUSE: Duration = Duration::from_secs(2);
/// One answer after that.
const ANSWER: Duration = Duration::from_secs(10);
const STREAM_BYTES: u64 = 2_000_000;
const DATAGRAMS: usize = 20;
/// Datagrams may be lost; more than these are a fault.
const MOST_LOST: usize = 2;

type Said = Result<String, String>;

/// A connection to a bridge.
struct Sam {
    reader: BufReader<TcpStream>,
}

impl Sam {
    fn dial() -> Result<Self, String> {
        let stream = TcpStream::connect(BRIDGE).map_err(|why| format!("{BRIDGE}: {why}"))?;
        stream.set_read_timeout(Some(CREATE)).map_err(|why| why.to_string())?;
        let mut sam = Self { reader: BufReader::new(stream) };
        let said = sam.ask("HELLO VERSION MIN=3.1 MAX=3.3")?;
        if said.contains("RESULT=OK") { Ok(sam) } else { Err(said) }
    }

    /// A session, on its own socket, and its destination.
    fn session(style: &str, id: &str) -> Result<(Self, String), String> {
        let mut sam = Self::dial()?;
        let said = sam.ask(&format!("SESSION CREATE STYLE={style} ID={id} DESTINATION=TRANSIENT {TUNNELS}"))?;
        if !said.starts_with("SESSION STATUS RESULT=OK DESTINATION=") {
            return Err(format!("{style}: {said}"));
        }
        let said = sam.ask("NAMING LOOKUP NAME=ME")?;
        let own = said.split("VALUE=").nth(1).ok_or_else(|| format!("{style}: {said}"))?.to_owned();
        Ok((sam, own))
    }

    fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream().write_all(bytes).map_err(|why| format!("write: {why}"))
    }

    fn line(&mut self) -> Said {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => Err("the bridge has closed the connection".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(why) => Err(format!("read: {why}")),
        }
    }

    fn ask(&mut self, line: &str) -> Said {
        self.send(format!("{line}\n").as_bytes())?;
        self.line()
    }

    /// The next datagram: its sender, of raw ones none, and its payload.
    fn datagram(&mut self) -> Result<(Option<String>, Vec<u8>), String> {
        let line = self.line()?;
        let option =
            |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
        let size = option("SIZE").and_then(|size| size.parse().ok()).ok_or_else(|| format!("no datagram: {line}"))?;
        let mut payload = vec![0; size];
        self.reader.read_exact(&mut payload).map_err(|why| format!("read: {why}"))?;
        Ok((option("DESTINATION"), payload))
    }

    fn send_datagram(&mut self, style: &str, to: &str, payload: &[u8]) -> Result<(), String> {
        let command = if style == "RAW" { "RAW" } else { "DATAGRAM" };
        let head = format!("{command} SEND DESTINATION={to} SIZE={}\n", payload.len());
        self.send(&[head.as_bytes(), payload].concat())
    }
}

/// `_sam serve|ask ...`.
pub(crate) fn main(args: &[String]) -> Result<(), String> {
    match args {
        [role, styles @ ..] if role == "serve" => serve(styles),
        [role, rest @ ..] if role == "ask" => {
            match ask(rest) {
                Ok(said) => println!("ok {said}"),
                Err(why) => println!("bad {why}"),
            }
            Ok(())
        }
        _ => Err("_sam serve [STYLE ...] | ask STYLE DESTINATION ...".to_owned()),
    }
}

/// Makes a session of each of these styles, or of all, names their destinations, and sends back what comes, until it
/// is killed.
fn serve(styles: &[String]) -> Result<(), String> {
    let mut serving = Vec::new();
    let wanted = STYLES.into_iter().filter(|style| styles.is_empty() || styles.iter().any(|wanted| wanted == style));
    let begun: Vec<_> = wanted
        .map(|style| (style, std::thread::spawn(move || Sam::session(style, &format!("serve-{style}")))))
        .collect();
    for (style, session) in begun {
        let (sam, own) = session.join().map_err(|_| "a panic".to_owned())??;
        println!("{style} {own}");
        serving.push(std::thread::spawn(move || if style == "STREAM" { accept(sam) } else { answer(style, sam) }));
    }
    println!("ready");
    for thread in serving {
        thread.join().map_err(|_| "a panic".to_owned())??;
    }
    Ok(())
}

fn accept(_session: Sam) -> Result<(), String> {
    loop {
        let mut sam = Sam::dial()?;
        let said = sam.ask("STREAM ACCEPT ID=serve-STREAM")?;
        if !said.contains("RESULT=OK") {
            return Err(said);
        }
        // Who comes, when somebody does.
        sam.stream().set_read_timeout(None).map_err(|why| why.to_string())?;
        sam.line()?;
        std::thread::spawn(move || {
            let Ok(mut to) = sam.stream().try_clone() else { return };
            let _ = std::io::copy(&mut sam.reader, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

fn answer(style: &str, mut sam: Sam) -> Result<(), String> {
    sam.stream().set_read_timeout(None).map_err(|why| why.to_string())?;
    loop {
        let (from, payload) = sam.datagram()?;
        let to = match from {
            // The sender of a raw one stands in its first line.
            None => String::from_utf8_lossy(payload.split(|b| *b == b'\n').next().unwrap_or_default()).into_owned(),
            Some(hash) if hash.len() == 44 => match whole(&hash) {
                Ok(to) => to,
                Err(why) => {
                    eprintln!("{style}: {why}");
                    continue;
                }
            },
            Some(from) => from,
        };
        sam.send_datagram(style, &to, &payload)?;
    }
}

/// The destination of a hash in base64, as the specification has programs find it.
fn whole(hash: &str) -> Said {
    let name = crate::subject::b32_of(hash).ok_or_else(|| format!("no hash: {hash}"))?;
    let said = Sam::dial()?.ask(&format!("NAMING LOOKUP NAME={name}"))?;
    said.split("VALUE=").nth(1).map(str::to_owned).ok_or(said)
}

/// Asks each of these services, and says how it went.
fn ask(services: &[String]) -> Said {
    let pairs = services.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    let begun: Vec<_> = pairs
        .map(|(style, to)| {
            std::thread::spawn(move || if style == "STREAM" { exchange(&to) } else { ping(&style, &to) })
        })
        .collect();
    let said: Vec<Said> = begun.into_iter().map(|thread| thread.join().map_err(|_| "a panic".to_owned())?).collect();
    let all = said.iter().map(|said| said.as_ref().unwrap_or_else(|why| why).as_str()).collect::<Vec<_>>().join(", ");
    if said.iter().all(Result::is_ok) { Ok(all) } else { Err(all) }
}

/// Megabytes there and back by one stream.
fn exchange(to: &str) -> Said {
    let (_session, _) = Sam::session("STREAM", "ask-STREAM")?;
    let start = Instant::now();
    let mut sam = loop {
        let mut sam = Sam::dial()?;
        let said = sam.ask(&format!("STREAM CONNECT ID=ask-STREAM DESTINATION={to}"))?;
        if said.contains("RESULT=OK") {
            break sam;
        }
        if start.elapsed() > FIRST {
            return Err(format!("STREAM: {said}"));
        }
        std::thread::sleep(PAUSE);
    };
    let opened = start.elapsed();
    sam.stream().set_read_timeout(Some(Duration::from_secs(60))).map_err(|why| why.to_string())?;
    let mut out = sam.stream().try_clone().map_err(|why| why.to_string())?;
    let writer = std::thread::spawn(move || {
        let mut content = Content::new(7);
        let mut buffer = vec![0; 20_000];
        for _ in 0..STREAM_BYTES / 20_000 {
            content.fill(&mut buffer);
            out.write_all(&buffer).map_err(|why| format!("STREAM: write: {why}"))?;
        }
        Ok::<_, String>(())
    });
    let (mut content, mut count) = (Content::new(7), 0);
    let (mut got, mut wanted) = (vec![0; 20_000], vec![0; 20_000]);
    // i2pd ends both directions when the program ends one, so this one ends none before all is here.
    while count < STREAM_BYTES {
        let n = sam.reader.read(&mut got).map_err(|why| format!("STREAM: after {count} bytes: {why}"))?;
        if n == 0 {
            break;
        }
        content.fill(&mut wanted[..n]);
        if got[..n] != wanted[..n] {
            return Err(format!("STREAM: other bytes than were sent, after {count}"));
        }
        count += n as u64;
    }
    writer.join().map_err(|_| "a panic".to_owned())??;
    if count != STREAM_BYTES {
        return Err(format!("STREAM: {count} bytes came back of {STREAM_BYTES}"));
    }
    Ok(format!(
        "STREAM opened in {} ms, {count} bytes and back in {} ms",
        opened.as_millis(),
        start.elapsed().as_millis()
    ))
}

/// Datagrams there and back.
fn ping(style: &str, to: &str) -> Said {
    let (mut sam, own) = Sam::session(style, &format!("ask-{style}"))?;
    let start = Instant::now();
    let mut first = None;
    let (mut answered, mut sent) = (0, 0);
    while sent < DATAGRAMS {
        let payload = format!("{own}\n{style} {} {}", start.elapsed().as_nanos(), "x".repeat(600));
        sam.send_datagram(style, to, payload.as_bytes())?;
        let patience = if first.is_some() { ANSWER } else { Duration::from_secs(5) };
        if wait(&mut sam, payload.as_bytes(), patience)? {
            first.get_or_insert(start.elapsed());
            answered += 1;
        } else if first.is_none() {
            if start.elapsed() > FIRST {
                return Err(format!("{style}: no answer in {} s", FIRST.as_secs()));
            }
            continue;
        }
        sent += 1;
    }
    let first = first.unwrap_or_default().as_millis();
    let said = format!("{style} {answered} of {sent}, first after {first} ms");
    if sent - answered > MOST_LOST { Err(said) } else { Ok(said) }
}

/// Waits for this datagram; late answers to earlier ones are passed over.
fn wait(sam: &mut Sam, payload: &[u8], patience: Duration) -> Result<bool, String> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        sam.stream().set_read_timeout(Some(left)).map_err(|why| why.to_string())?;
        // Whether anything is there; a line that has begun is read whole.
        match sam.reader.fill_buf() {
            Ok([]) => return Err("the bridge has closed the connection".to_owned()),
            Ok(_) => {}
            Err(why) if matches!(why.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(why) => return Err(format!("read: {why}")),
        }
        sam.stream().set_read_timeout(Some(Duration::from_secs(10))).map_err(|why| why.to_string())?;
        if sam.datagram()?.1 == payload {
            return Ok(true);
        }
    }
}

// ---- the scenario ----

/// A `_sam serve` in a namespace, and what it named.
pub(crate) struct Server {
    child: Child,
    /// Styles and destinations, in turn.
    pub(crate) services: Vec<String>,
}

impl Server {
    /// A program that names its services, line by line, and then says that it is ready.
    pub(crate) fn named(child: Child, at: &str) -> Result<Self, String> {
        let mut server = Self { child, services: Vec::new() };
        let out = server.child.stdout.take().ok_or("no output")?;
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|why| why.to_string())?;
            match line.split_once(' ') {
                Some((style, destination)) => server.services.extend([style.to_owned(), destination.to_owned()]),
                None => return Ok(server),
            }
        }
        Err(format!("the program at {at} has ended"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn begin(route: &Route) -> Result<Server, String> {
    begin_with(route, &[])
}

/// The same with these styles only.
pub(crate) fn begin_with(route: &Route, styles: &[&str]) -> Result<Server, String> {
    let mut command = within(&route.namespace, &this_program());
    let child = command
        .args(["_sam", "serve"])
        .args(styles)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| format!("_sam: {why}"))?;
    Server::named(child, &route.what)
}

pub(crate) fn asked(route: &Route, server: &Server) -> Said {
    let mut command = within(&route.namespace, &this_program());
    let out = command.args(["_sam", "ask"]).args(&server.services).output().map_err(|why| format!("_sam: {why}"))?;
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    said.strip_prefix("ok ").map(str::to_owned).ok_or(said)
}

/// Streams and datagrams of every format between programs at bridges of ours and of i2pd, every way.
pub(crate) fn sam(world: &mut World) -> Said {
    let (ours, theirs, other) = (world.ours(0)?, world.theirs()?, world.ours(1)?);
    let mut said = Vec::new();
    for (at, asking) in [(&ours, vec![&theirs, &other]), (&theirs, vec![&ours])] {
        let server = begin(at)?;
        for route in asking {
            let what = format!("{} at {}", route.what, at.what);
            said.push(
                asked(route, &server).map(|how| format!("{what}: {how}")).map_err(|why| format!("{what}: {why}"))?,
            );
        }
    }
    Ok(said.join("; "))
}
