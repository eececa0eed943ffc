//! Small programs that the scenario `tunnels` runs in the routers' namespaces: `_irc ADDR:PORT`, `_udp echo|ask|source|hear
//! ADDR:PORT`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Until a program has been answered for the first time: both ends look each other up.
const FIRST: Duration = Duration::from_secs(90);
const ANSWER: Duration = Duration::from_secs(10);
const PACKETS: usize = 30;
/// Packets of a source that are heard: ten seconds of it.
const BEATS: usize = 200;
/// Datagrams may be lost; more than these are a fault.
const MOST_LOST: usize = 3;

type Said = Result<String, String>;

/// Comes to an IRC server with telling words, asks itself who it is, and says `ok HOST NAME`, or `bad` and why. With
/// `plain` nothing filters its words.
pub(crate) fn irc(args: &[String]) -> Result<(), String> {
    let (at, filtered) = match args {
        [at] => (at, true),
        [at, plain] if plain == "plain" => (at, false),
        _ => return Err("_irc ADDR:PORT [plain]".to_owned()),
    };
    let start = Instant::now();
    loop {
        match visit(at, filtered) {
            Ok(said) => {
                println!("ok {said}");
                return Ok(());
            }
            Err(why) if start.elapsed() > FIRST => {
                println!("bad {why}");
                return Ok(());
            }
            Err(_) => std::thread::sleep(Duration::from_secs(2)),
        }
    }
}

fn visit(at: &str, filtered: bool) -> Said {
    let stream = TcpStream::connect(at).map_err(|why| why.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(|why| why.to_string())?;
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    let hello = "NICK visitor\r\nUSER login laptop.example.net irc.example.net :Real Name\r\n";
    say(&reader, hello)?;
    wait(&mut reader, &mut lines, " 001 ")?;
    say(&reader, "WHOIS visitor\r\n")?;
    let who = wait(&mut reader, &mut lines, " 311 ")?;
    say(&reader, "PRIVMSG visitor :\x01VERSION\x01\r\nPRIVMSG visitor :\x01ACTION waves\x01\r\n")?;
    let waved = wait(&mut reader, &mut lines, "ACTION waves")?;
    if filtered && lines.iter().any(|line| line.contains("VERSION\x01")) {
        return Err("a question to the program has passed".to_owned());
    }
    // What a program calls the server in its question is unknown there.
    say(&reader, if filtered { "PING one two\r\n" } else { "PING one\r\n" })?;
    wait(&mut reader, &mut lines, "PONG")?;
    say(&reader, "QUIT :secret words\r\n")?;
    let end = wait(&mut reader, &mut lines, "ERROR");
    let tells = |line: &&String| line.contains("laptop") || line.contains("secret words");
    if filtered && lines.iter().chain([&waved]).any(|line| tells(&line)) {
        return Err(format!("what tells of the user has passed: {lines:?}"));
    }
    end?;
    // `:server 311 visitor visitor ~login HOST * :Real Name`
    let words: Vec<&str> = who.split(' ').collect();
    let (Some(name), Some(host)) = (words.get(4), words.get(5)) else { return Err(format!("odd: {who}")) };
    Ok(format!("{host} {name}"))
}

fn say(reader: &BufReader<TcpStream>, text: &str) -> Result<(), String> {
    reader.get_ref().write_all(text.as_bytes()).map_err(|why| format!("write: {why}"))
}

fn wait(reader: &mut BufReader<TcpStream>, lines: &mut Vec<String>, wanted: &str) -> Said {
    for _ in 0..500 {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(0) => return Err(format!("closed before `{wanted}`: {:?}", lines.last())),
            Ok(_) => {}
            Err(why) => return Err(format!("no `{wanted}`: {why}; {:?}", lines.last())),
        }
        let line = line.trim_end().to_owned();
        if let Some(token) = line.strip_prefix("PING ") {
            // As programs do that say where they are.
            say(reader, &format!("PONG laptop.example.net {token}\r\n"))?;
        }
        lines.push(line.clone());
        if line.contains(wanted) {
            return Ok(line);
        }
    }
    Err(format!("no `{wanted}` in 500 lines"))
}

/// Sends back what comes, until it is killed; or sends and waits, and says how it went.
pub(crate) fn udp(args: &[String]) -> Result<(), String> {
    match args {
        [role, at] if role == "echo" => {
            let socket = UdpSocket::bind(at).map_err(|why| format!("{at}: {why}"))?;
            let mut buffer = vec![0; 65_536];
            loop {
                let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
                let _ = socket.send_to(&buffer[..n], from);
            }
        }
        [role, at] if role == "ask" => {
            match ping(at) {
                Ok(said) => println!("ok {said}"),
                Err(why) => println!("bad {why}"),
            }
            Ok(())
        }
        [role, at] if role == "source" => {
            let socket = UdpSocket::bind("127.0.0.1:0").map_err(|why| why.to_string())?;
            for n in 0u64.. {
                let packet = format!("beat {n} {}", "z".repeat(900));
                let _ = socket.send_to(packet.as_bytes(), at);
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
        [role, at] if role == "hear" => {
            match hear(at) {
                Ok(said) => println!("ok {said}"),
                Err(why) => println!("bad {why}"),
            }
            Ok(())
        }
        _ => Err("_udp echo|ask|source|hear ADDR:PORT".to_owned()),
    }
}

/// Packets there and back: some one by one, with pauses, and then some at once.
fn ping(at: &str) -> Said {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|why| why.to_string())?;
    socket.connect(at).map_err(|why| why.to_string())?;
    let start = Instant::now();
    let (mut first, mut answered, mut sent) = (None, 0, 0);
    while sent < PACKETS {
        let packet = format!("{sent} {} {}", start.elapsed().as_nanos(), "x".repeat(700));
        let _ = socket.send(packet.as_bytes());
        let patience = if first.is_some() { ANSWER } else { Duration::from_secs(4) };
        if heard(&socket, packet.as_bytes(), patience)? {
            first.get_or_insert(start.elapsed());
            answered += 1;
        } else if first.is_none() {
            if start.elapsed() > FIRST {
                return Err(format!("no answer in {} s", FIRST.as_secs()));
            }
            continue;
        }
        sent += 1;
        if sent % 2 == 0 {
            std::thread::sleep(Duration::from_millis(150));
        }
    }
    let burst: Vec<String> = (0..PACKETS).map(|n| format!("burst {n} {}", "y".repeat(700))).collect();
    for packet in &burst {
        let _ = socket.send(packet.as_bytes());
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut back = std::collections::BTreeSet::new();
    let mut buffer = vec![0; 65_536];
    socket.set_read_timeout(Some(Duration::from_secs(5))).map_err(|why| why.to_string())?;
    while back.len() < PACKETS {
        let Ok(n) = socket.recv(&mut buffer) else { break };
        if buffer.starts_with(b"burst ") {
            back.insert(buffer[..n].to_vec());
        }
    }
    let first = first.unwrap_or_default().as_millis();
    let said = format!("{answered} of {sent}, first after {first} ms, {} of {PACKETS} at once", back.len());
    if sent - answered > MOST_LOST || PACKETS - back.len() > MOST_LOST { Err(said) } else { Ok(said) }
}

/// What a source says: whole packets, of which few are lost once the first is there.
fn hear(at: &str) -> Said {
    let socket = UdpSocket::bind(at).map_err(|why| format!("{at}: {why}"))?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).map_err(|why| why.to_string())?;
    let start = Instant::now();
    let (mut first, mut got) = (None, std::collections::BTreeSet::new());
    let mut buffer = vec![0; 65_536];
    while got.len() < BEATS {
        let Ok(n) = socket.recv(&mut buffer) else {
            if start.elapsed() > FIRST {
                return Err(format!("{} packets in {} s", got.len(), FIRST.as_secs()));
            }
            continue;
        };
        let text = std::str::from_utf8(&buffer[..n]).map_err(|_| "not what the source said".to_owned())?;
        let number = text.strip_prefix("beat ").and_then(|rest| rest.split_once(' '));
        let (number, rest) = number.ok_or("not what the source said")?;
        if rest.len() != 900 {
            return Err(format!("a packet of {n} bytes"));
        }
        first.get_or_insert(start.elapsed());
        got.insert(number.parse::<u64>().map_err(|why| why.to_string())?);
    }
    let span = got.last().zip(got.first()).map_or(0, |(last, first)| last - first + 1);
    let lost = span.saturating_sub(got.len() as u64);
    let said = format!("{} of {span}, first after {} ms", got.len(), first.unwrap_or_default().as_millis());
    if lost as usize > BEATS / 10 { Err(said) } else { Ok(said) }
}

fn heard(socket: &UdpSocket, packet: &[u8], patience: Duration) -> Result<bool, String> {
    let end = Instant::now() + patience;
    let mut buffer = vec![0; 65_536];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left)).map_err(|why| why.to_string())?;
        if socket.recv(&mut buffer).is_ok_and(|n| &buffer[..n] == packet) {
            return Ok(true);
        }
    }
}
