//! The web server behind an eepsite: `_web ADDR:PORT`, run in a router's namespace.
//!
//! `GET /ping` says pong, `GET /file/SEED/BYTES[/BYTES_PER_SECOND]` streams content, `POST /sink` takes a body and
//! answers `SHA256 BYTES`, `GET /headers` shows the request as it came, `GET /hosts.txt` is the feed of the run.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::content::{Content, hex};

const IDLE: Duration = Duration::from_secs(300);
const MAX_HEAD: usize = 64 << 10;

/// Serves until the process ends.
pub(crate) fn serve(address: &str, run: Option<&str>) -> Result<(), String> {
    let run = std::path::PathBuf::from(run.unwrap_or_default());
    let listener = TcpListener::bind(address).map_err(|why| format!("{address}: {why}"))?;
    for stream in listener.incoming().flatten() {
        let run = run.clone();
        std::thread::spawn(move || {
            // A client that goes away in the middle is no affair of the server.
            let _ = connection(stream, &run);
        });
    }
    Ok(())
}

fn connection(mut stream: TcpStream, run: &std::path::Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(head) = head(&mut stream, &mut buffer)? {
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        // A proxy's request line may carry the whole URL.
        let path = path
            .find("://")
            .and_then(|at| path[at + 3..].find('/').map(|slash| path[at + 3 + slash..].to_owned()))
            .unwrap_or(path);
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok());
        match (words.first().copied(), number(1), number(2)) {
            (Some("file"), Some(seed), Some(bytes)) => file(&mut stream, seed, bytes, number(3))?,
            (Some("sink"), ..) => sink(&mut stream, &head, &mut buffer)?,
            (Some("headers"), ..) => answer(&mut stream, "200 OK", &head)?,
            (Some("hosts.txt"), ..) => crate::names::feed(&mut stream, &head, run)?,
            (Some("ping"), ..) => answer(&mut stream, "200 OK", "pong\n")?,
            _ => answer(&mut stream, "404 Not Found", "there is /ping, /file, /sink and /headers\n")?,
        }
        if head.to_ascii_lowercase().contains("connection: close") || head.contains(" HTTP/1.0") {
            stream.shutdown(std::net::Shutdown::Write)?;
            break;
        }
    }
    Ok(())
}

/// The next request's head; what follows it stays in `buffer`. `None` when the client is done.
fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 4);
            return Ok(Some(head));
        }
        let mut piece = [0; 8192];
        let count = stream.read(&mut piece)?;
        if count == 0 || buffer.len() > MAX_HEAD {
            return Ok(None);
        }
        buffer.extend_from_slice(&piece[..count]);
    }
}

/// Writes a head at once. i2pd's HTTP proxy garbles one that comes in pieces.
fn send(stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
    stream.write_all(head.as_bytes())
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    send(stream, &format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"))
}

fn file(stream: &mut TcpStream, seed: u64, bytes: u64, rate: Option<u64>) -> std::io::Result<()> {
    send(
        stream,
        &format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n"),
    )?;
    let mut content = Content::new(seed);
    let mut buffer = vec![0; rate.map_or(1 << 16, |_| 1 << 13)];
    let (start, mut sent) = (Instant::now(), 0);
    while sent < bytes {
        let now = buffer.len().min(usize::try_from(bytes - sent).unwrap_or(usize::MAX));
        content.fill(&mut buffer[..now]);
        stream.write_all(&buffer[..now])?;
        sent += now as u64;
        if let Some(rate) = rate.filter(|rate| *rate > 0) {
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
    }
    Ok(())
}

fn sink(stream: &mut TcpStream, head: &str, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let Some(length) = length.and_then(|(_, value)| value.trim().parse::<u64>().ok()) else {
        return answer(stream, "411 Length Required", "say the length\n");
    };
    let mut hash = Sha256::new();
    let first = buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX));
    hash.update(&buffer[..first]);
    buffer.drain(..first);
    let mut left = length - first as u64;
    let mut piece = vec![0; 1 << 16];
    while left > 0 {
        let room = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = stream.read(&mut piece[..room])?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&piece[..count]);
        left -= count as u64;
    }
    answer(stream, "200 OK", &format!("{} {length}\n", hex(&hash.finalize())))
}
