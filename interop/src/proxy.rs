//! The proxy that a router under test goes out through: `_proxy ADDR:PORT FILE`, run in the router's namespace.
//!
//! It speaks SOCKS5 without a login and HTTP's CONNECT, takes addresses only, and writes the target of each connection
//! that it made to FILE, a line each.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const MAX_HEAD: usize = 4 << 10;
const CONNECT: Duration = Duration::from_secs(10);

/// Serves until the process ends.
pub(crate) fn serve(address: &str, file: &str) -> Result<(), String> {
    let listener = TcpListener::bind(address).map_err(|why| format!("{address}: {why}"))?;
    let file = OpenOptions::new().create(true).append(true).open(file).map_err(|why| format!("{file}: {why}"))?;
    for stream in listener.incoming().flatten() {
        let file = file.try_clone().map_err(|why| why.to_string())?;
        std::thread::spawn(move || {
            // A client that goes away in the middle is no affair of the proxy.
            let _ = connection(stream, file);
        });
    }
    Ok(())
}

fn connection(mut client: TcpStream, mut file: File) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut first = [0];
    client.read_exact(&mut first)?;
    let (target, yes, no): (_, &[u8], &[u8]) = if first[0] == 5 {
        (socks5(&mut client)?, &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0], &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])
    } else {
        (connect(&mut client, first[0])?, b"HTTP/1.1 200 Connected\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    };
    let Ok(server) = TcpStream::connect_timeout(&target, CONNECT) else { return client.write_all(no) };
    server.set_nodelay(true)?;
    writeln!(file, "{target}")?;
    client.write_all(yes)?;
    let (back_from, back_to) = (server.try_clone()?, client.try_clone()?);
    let back = std::thread::spawn(move || carry(back_from, back_to));
    carry(client, server);
    let _ = back.join();
    Ok(())
}

/// Carries bytes until one end is done, and lets the other know.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// What follows the version of a greeting, and the request (RFC 1928).
fn socks5(client: &mut TcpStream) -> io::Result<SocketAddr> {
    let mut methods = vec![0; usize::from(byte(client)?)];
    client.read_exact(&mut methods)?;
    if !methods.contains(&0) {
        return Err(bad("a login that is not known here"));
    }
    client.write_all(&[5, 0])?;
    let mut head = [0; 4];
    client.read_exact(&mut head)?;
    let ip: IpAddr = match head {
        [5, 1, _, 1] => Ipv4Addr::from(bytes::<4>(client)?).into(),
        [5, 1, _, 4] => Ipv6Addr::from(bytes::<16>(client)?).into(),
        _ => return Err(bad("only connections to addresses")),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(bytes::<2>(client)?)))
}

/// `CONNECT ADDRESS:PORT HTTP/1.1` and header lines, of which the first byte was read.
fn connect(client: &mut TcpStream, first: u8) -> io::Result<SocketAddr> {
    let mut head = vec![first];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD {
            return Err(bad("a head without end"));
        }
        head.push(byte(client)?);
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    target.and_then(|target| target.parse().ok()).ok_or_else(|| bad("only CONNECT to addresses"))
}

fn byte(client: &mut TcpStream) -> io::Result<u8> {
    bytes::<1>(client).map(|[byte]| byte)
}

fn bytes<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
