//! An HTTP client that checks what it gets: `_get PROXY URL STALL_SECONDS [down|up SEED BYTES]`, run in a router's
//! namespace. It prints one line: `ok STATUS BYTES FIRST_BYTE_MS TOTAL_MS GAP_MS TEXT` or `bad REASON`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::content::{Content, hex, sha256_of};

/// What to move, besides a page.
pub(crate) enum Move {
    Page,
    Down { seed: u64, bytes: u64 },
    Up { seed: u64, bytes: u64 },
}

/// Does the request and prints the line.
pub(crate) fn main(args: &[String]) -> Result<(), String> {
    let [proxy, url, stall, rest @ ..] = args else {
        return Err("_get PROXY URL STALL [down|up SEED BYTES]".to_owned());
    };
    let number = |text: &String| text.parse::<u64>().map_err(|why| format!("{text}: {why}"));
    let what = match rest {
        [way, seed, bytes] if way == "down" => Move::Down { seed: number(seed)?, bytes: number(bytes)? },
        [way, seed, bytes] if way == "up" => Move::Up { seed: number(seed)?, bytes: number(bytes)? },
        _ => Move::Page,
    };
    match request(proxy, url, Duration::from_secs(number(stall)?), &what) {
        Ok(said) => println!("ok {said}"),
        Err(why) => println!("bad {why}"),
    }
    Ok(())
}

/// `_idle PROXY URL SECONDS`: reads a page, and leaves the connection open for so long.
pub(crate) fn idle(args: &[String]) -> Result<(), String> {
    let [proxy, url, seconds] = args else { return Err("_idle PROXY URL SECONDS".to_owned()) };
    let time = Duration::from_secs(seconds.parse().map_err(|why| format!("{seconds}: {why}"))?);
    let mut stream = TcpStream::connect(proxy).map_err(|why| format!("{proxy}: {why}"))?;
    stream.set_read_timeout(Some(time)).map_err(|why| why.to_string())?;
    send(&mut stream, &format!("GET {url} HTTP/1.1\r\nHost: {}\r\nUser-Agent: interop\r\n\r\n", host_of(url)))?;
    let (_, length, body) = head(&mut stream)?;
    page(&mut stream, body, length)?;
    std::thread::sleep(time);
    Ok(())
}

fn host_of(url: &str) -> &str {
    url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap_or("localhost")
}

fn request(proxy: &str, url: &str, stall: Duration, what: &Move) -> Result<String, String> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(proxy).map_err(|why| format!("{proxy}: {why}"))?;
    stream
        .set_read_timeout(Some(stall))
        .and_then(|()| stream.set_write_timeout(Some(stall)))
        .map_err(|why| why.to_string())?;
    let close = format!("Host: {}\r\nUser-Agent: interop\r\nConnection: close\r\n", host_of(url));
    match *what {
        Move::Up { seed, bytes } => {
            send(&mut stream, &format!("POST {url} HTTP/1.1\r\n{close}Content-Length: {bytes}\r\n\r\n"))?;
            upload(&mut stream, seed, bytes)?;
        }
        _ => send(&mut stream, &format!("GET {url} HTTP/1.1\r\n{close}\r\n"))?,
    }
    let (status, length, body) = head(&mut stream)?;
    let first = start.elapsed().as_millis();
    let (count, text, gap) = match *what {
        Move::Down { seed, bytes } if status == 200 => download(&mut stream, body, length, seed, bytes)?,
        _ => page(&mut stream, body, length).map(|(count, text)| (count, text, Duration::ZERO))?,
    };
    if let (Move::Up { seed, bytes }, 200) = (what, status) {
        let wanted = format!("{} {bytes}", sha256_of(*seed, *bytes));
        if text.trim() != wanted {
            return Err(format!("the server got `{}`, sent was `{wanted}`", text.trim()));
        }
    }
    let (total, gap) = (start.elapsed().as_millis(), gap.as_millis());
    Ok(format!("{status} {count} {first} {total} {gap} {}", one_line(&text)))
}

/// Writes a head at once, as browsers do.
fn send(stream: &mut TcpStream, head: &str) -> Result<(), String> {
    stream.write_all(head.as_bytes()).map_err(|why| format!("request: {why}"))
}

fn upload(stream: &mut TcpStream, seed: u64, bytes: u64) -> Result<(), String> {
    let mut content = Content::new(seed);
    let mut buffer = vec![0; 1 << 16];
    let mut sent = 0;
    while sent < bytes {
        let now = buffer.len().min(usize::try_from(bytes - sent).unwrap_or(usize::MAX));
        content.fill(&mut buffer[..now]);
        stream.write_all(&buffer[..now]).map_err(|why| format!("after {sent} bytes up: {why}"))?;
        sent += now as u64;
    }
    Ok(())
}

/// Status, length if it is said, and what came after the head.
fn head(stream: &mut TcpStream) -> Result<(u16, Option<u64>, Vec<u8>), String> {
    let mut buffer = Vec::new();
    let mut piece = [0; 8192];
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let status = head
                .split(' ')
                .nth(1)
                .and_then(|word| word.parse().ok())
                .ok_or_else(|| format!("no status in `{}`", one_line(&head)))?;
            let fields = || head.lines().filter_map(|line| line.split_once(':'));
            if fields().any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value.contains("chunked"))
            {
                return Err("the answer is chunked, but its server said a length".to_owned());
            }
            let length = fields().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            return Ok((status, length.and_then(|(_, value)| value.trim().parse().ok()), buffer.split_off(end + 4)));
        }
        let count = stream.read(&mut piece).map_err(|why| format!("no answer: {why}"))?;
        if count == 0 {
            return Err(format!("closed before an answer, after {} bytes", buffer.len()));
        }
        buffer.extend_from_slice(&piece[..count]);
    }
}

fn download(
    stream: &mut TcpStream,
    first: Vec<u8>,
    length: Option<u64>,
    seed: u64,
    bytes: u64,
) -> Result<(u64, String, Duration), String> {
    if length.is_some_and(|length| length != bytes) {
        return Err(format!("said length {length:?}, wanted {bytes}"));
    }
    let mut content = Content::new(seed);
    let mut hash = Sha256::new();
    let (mut piece, mut wanted, mut got) = (vec![0; 1 << 16], vec![0; 1 << 16], 0);
    let mut check = |part: &[u8], at: u64| {
        content.fill(&mut wanted[..part.len()]);
        hash.update(part);
        match part.iter().zip(&wanted).position(|(got, wanted)| got != wanted) {
            Some(offset) => Err(format!("another byte at {}", at + offset as u64)),
            None => Ok(()),
        }
    };
    check(&first, 0)?;
    got += first.len() as u64;
    let (mut gap, mut last) = (Duration::ZERO, Instant::now());
    while got < bytes {
        let count = stream.read(&mut piece).map_err(|why| format!("after {got} of {bytes} bytes: {why}"))?;
        if count == 0 {
            return Err(format!("closed after {got} of {bytes} bytes"));
        }
        gap = gap.max(last.elapsed());
        last = Instant::now();
        check(&piece[..count], got)?;
        got += count as u64;
    }
    // What is said to be the end must be it: bytes that come twice would come now.
    let _ = stream.set_nonblocking(true);
    if got > bytes || stream.read(&mut piece).is_ok_and(|count| count > 0) {
        return Err(format!("more than {bytes} bytes"));
    }
    let (sha256, wanted) = (hex(&hash.finalize()), sha256_of(seed, bytes));
    if sha256 == wanted { Ok((got, sha256, gap)) } else { Err(format!("SHA-256 {sha256}, wanted {wanted}")) }
}

fn page(stream: &mut TcpStream, first: Vec<u8>, length: Option<u64>) -> Result<(u64, String), String> {
    let mut body = first;
    let mut piece = [0; 8192];
    while length.is_none_or(|length| (body.len() as u64) < length) && body.len() < 1 << 20 {
        let count = stream.read(&mut piece).map_err(|why| format!("in the page: {why}"))?;
        if count == 0 {
            break;
        }
        body.extend_from_slice(&piece[..count]);
    }
    if length.is_some_and(|length| (body.len() as u64) < length) {
        return Err(format!("closed after {} of {length:?} bytes", body.len()));
    }
    Ok((body.len() as u64, String::from_utf8_lossy(&body).into_owned()))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server of this suite stands in for a proxy: it takes whole URLs.
    fn site() -> String {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let address = free.clone();
        std::thread::spawn(move || crate::web::serve(&address, None));
        while TcpStream::connect(&free).is_err() {
            std::thread::yield_now();
        }
        free
    }

    #[test]
    fn pages_files_and_uploads_are_checked() {
        let proxy = site();
        let ask =
            |path: &str, what: Move| request(&proxy, &format!("http://x.i2p/{path}"), Duration::from_secs(20), &what);
        assert!(ask("ping", Move::Page).unwrap().ends_with("pong"));
        assert!(ask("file/7/300000", Move::Down { seed: 7, bytes: 300_000 }).unwrap().starts_with("200 300000 "));
        assert_eq!(ask("file/8/300000", Move::Down { seed: 7, bytes: 300_000 }).unwrap_err(), "another byte at 0");
        assert!(ask("file/7/300001", Move::Down { seed: 7, bytes: 300_000 }).unwrap_err().contains("length"));
        assert!(ask("sink", Move::Up { seed: 9, bytes: 200_001 }).unwrap().starts_with("200 "));
        assert!(ask("nothing", Move::Down { seed: 9, bytes: 1 }).unwrap().starts_with("404 "));
    }
}
