//! One GET over HTTPS, directly or through a proxy.
//!
//! This is HTTP/1.0 by hand over rustls, and no HTTP library. A reseed is one request without cookies, compression,
//! pooling or chunks, so a library would bring more ways to be fingerprinted and to be surprised than it saves lines;
//! and the steps must be told apart here (name, connection, TLS, HTTP), since the advice to the user differs. The
//! header is that of Wget 1.11.4, which all routers of I2P send.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ramson_wire::data::base64;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::pins::{self, Pin, PinsAndRoots};
use super::{Failure, MAX_BUNDLE, Stage};
use crate::config::{Proxy, ProxyKind};

const MAX_HEAD: usize = 16 << 10;
const MAX_REDIRECTS: usize = 3;
/// The longest URL that is taken.
pub(super) const MAX_URL: usize = 1_000;
/// A server with several addresses gets one try at each, but not all the time for the first.
const CONNECT: Duration = Duration::from_secs(15);

/// An `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    host: String,
    port: u16,
    /// Path and query.
    path: String,
}

impl Url {
    /// Reads a URL; one that names a folder means the bundle in it for `network`.
    pub(super) fn parse(text: &str, network: u8) -> Result<Self, Failure> {
        let mut url = Self::absolute(text)?;
        let is_file = url.path.contains('?') || [".su3", ".zip"].iter().any(|end| url.path.ends_with(end));
        if !is_file {
            let slash = if url.path.ends_with('/') { "" } else { "/" };
            let _ = write!(url.path, "{slash}i2pseeds.su3?netid={network}");
        }
        Ok(url)
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    fn absolute(text: &str) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::new(Stage::Url, why);
        if text.len() > MAX_URL || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("too long, or with characters that a URL cannot have"));
        }
        let Some(rest) = text.strip_prefix("https://") else {
            return Err(bad("not https, and nothing less is fetched"));
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("user names are not taken"));
        }
        // A bracketed IPv6 address has colons of its own.
        let colon = authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|bracket| bracket < *colon));
        let (host, port) = match colon {
            Some(colon) => (authority.get(..colon).unwrap_or_default(), authority.get(colon + 1..).unwrap_or_default()),
            None => (authority, "443"),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = port.parse().map_err(|_| bad("the port is no number"))?;
        if ServerName::try_from(host.as_str()).is_err() {
            return Err(bad("the host is no name and no address"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { host, port, path })
    }

    /// The target of a redirect from here. It stays on https.
    pub(super) fn follow(&self, location: &str) -> Result<Self, Failure> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Self::absolute(&format!("https://{}{location}", self.authority()));
        }
        Self::absolute(location)
            .map_err(|why| Failure::new(Stage::Http, format!("redirected to another place: {}", why.why)))
    }

    /// Host and port as they stand in requests.
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.path)
    }
}

/// Who may vouch for servers.
#[derive(Clone)]
pub(super) struct Roots(Arc<ClientConfig>);

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Roots(..)")
    }
}

impl Roots {
    /// The authorities that Mozilla trusts, carried along: so a bare machine has them, too, and one that trusts a
    /// filter of its network does not trust it here. The shipped pins count besides.
    pub(super) fn public() -> Result<Self, Failure> {
        Self::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, pins::shipped()?)
    }

    /// Only the authority with this certificate, and these pins.
    #[cfg(test)]
    pub(super) fn only(der: &[u8], pins: Vec<Pin>) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from(der.to_vec())).unwrap();
        Self::new(roots, pins)
    }

    fn new(roots: RootCertStore, pins: Vec<Pin>) -> Result<Self, Failure> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = PinsAndRoots::new(pins, roots, Arc::clone(&provider))?;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|why| Failure::new(Stage::Tls, why))?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(Self(Arc::new(builder.with_no_client_auth())))
    }
}

/// The body at `url`, at most [`MAX_BUNDLE`] bytes, before `deadline`.
pub(super) fn fetch(url: &Url, proxy: Option<&Proxy>, roots: &Roots, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        match get(&url, proxy, roots, deadline)? {
            Answer::Body(body) => return Ok(body),
            Answer::Redirect(location) => url = url.follow(&location)?,
        }
    }
    Err(Failure::new(Stage::Http, format!("more than {MAX_REDIRECTS} redirects")))
}

enum Answer {
    Body(Vec<u8>),
    Redirect(String),
}

fn get(url: &Url, proxy: Option<&Proxy>, roots: &Roots, deadline: Instant) -> Result<Answer, Failure> {
    let stream = match proxy {
        Some(proxy) => through(proxy, url, deadline)?,
        None => connect(&url.host, url.port, deadline)?,
    };
    let name = ServerName::try_from(url.host.clone()).map_err(|why| Failure::new(Stage::Url, why))?;
    let tls = ClientConnection::new(roots.0.clone(), name).map_err(|why| Failure::new(Stage::Tls, why))?;
    let mut stream = StreamOwned::new(tls, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|why| Failure::new(Stage::Tls, said(&why)))?;
    }
    let http = |why: io::Error| Failure::new(Stage::Http, said(&why));
    let request = format!(
        "GET {} HTTP/1.0\r\nUser-Agent: Wget/1.11.4\r\nAccept: */*\r\nHost: {}\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority()
    );
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(http)?;
    let (head, rest) = read_head(&mut stream)?;
    match head.status {
        200 => body(&mut stream, &head, rest).map(Answer::Body),
        301 | 302 | 303 | 307 | 308 => {
            let location = head.field("location").ok_or_else(|| Failure::new(Stage::Http, "a redirect to nowhere"))?;
            Ok(Answer::Redirect(location.to_owned()))
        }
        status => Err(Failure::new(Stage::Http, format!("the server answers with status {status}"))),
    }
}

/// The head of an answer.
pub(super) struct Head {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split_ascii_whitespace();
        words.next().filter(|version| version.starts_with("HTTP/1."))?;
        let status = words.next()?.parse().ok()?;
        let field =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Self { status, fields: lines.filter_map(field).collect() })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

/// The head, and what came behind it.
pub(super) fn read_head(stream: &mut impl Read) -> Result<(Head, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let head = String::from_utf8_lossy(&bytes);
            let head = Head::parse(&head).ok_or_else(|| Failure::new(Stage::Http, "no HTTP answer"))?;
            return Ok((head, rest));
        }
        if bytes.len() > MAX_HEAD {
            return Err(Failure::new(Stage::Http, "the answer's head does not end"));
        }
        match stream.read(&mut piece) {
            Ok(0) => return Err(Failure::new(Stage::Http, "closed before an answer")),
            Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap_or_default()),
            Err(why) => return Err(Failure::new(Stage::Http, said(&why))),
        }
    }
}

pub(super) fn body(stream: &mut impl Read, head: &Head, mut body: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let http = |why: String| Err(Failure::new(Stage::Http, why));
    for (name, plain) in [("transfer-encoding", "identity"), ("content-encoding", "identity")] {
        if head.field(name).is_some_and(|value| !value.eq_ignore_ascii_case(plain)) {
            return http(format!("the answer has a {name} that was not asked for"));
        }
    }
    let length: Option<usize> = head.field("content-length").and_then(|value| value.parse().ok());
    let limit = length.unwrap_or(MAX_BUNDLE);
    if limit > MAX_BUNDLE {
        return http(format!("larger than {MAX_BUNDLE} bytes"));
    }
    let mut piece = vec![0; 16 << 10];
    while body.len() <= limit && Some(body.len()) != length {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => body.extend_from_slice(piece.get(..count).unwrap_or_default()),
            // Many servers close without TLS's goodbye. Where the length is not said, the signature shows what is
            // missing.
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof && length.is_none() => break,
            Err(why) => return http(said(&why)),
        }
    }
    match length {
        Some(length) if body.len() < length => http(format!("closed after {} of {length} bytes", body.len())),
        _ if body.len() > limit => http(format!("larger than {limit} bytes")),
        _ => Ok(body),
    }
}

/// A connection whose every read and write ends at the deadline, however slowly the other side drips.
#[derive(Debug)]
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn connect(host: &str, port: u16, deadline: Instant) -> Result<Timed, Failure> {
    let addresses = resolve(host, port, deadline)?;
    let mut last = Failure::new(Stage::Connect, "no address");
    for address in addresses.into_iter().take(4) {
        match dial(address, deadline) {
            Ok(stream) => return Ok(stream),
            Err(why) => last = Failure::new(Stage::Connect, said(&why)),
        }
    }
    Err(last)
}

fn dial(address: SocketAddr, deadline: Instant) -> io::Result<Timed> {
    let left = deadline.saturating_duration_since(Instant::now()).min(CONNECT);
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let stream = TcpStream::connect_timeout(&address, left)?;
    Ok(Timed { stream, deadline })
}

/// The only name look-up of the router. It has a thread, since the system's resolver knows no deadline.
fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (sender, receiver) = mpsc::channel();
    let name = host.to_owned();
    std::thread::spawn(move || {
        let _ = sender.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    });
    let left = deadline.saturating_duration_since(Instant::now());
    let addresses = match receiver.recv_timeout(left) {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(why)) => return Err(Failure::new(Stage::Name, why)),
        Err(_) => return Err(Failure::new(Stage::Name, "no answer in time")),
    };
    // A public name with a local address is how some networks block it.
    let local = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    if host != "localhost" && addresses.iter().any(|address| local(address.ip())) {
        return Err(Failure::new(Stage::Name, "the name leads to this machine itself, which cannot be right"));
    }
    if addresses.is_empty() { Err(Failure::new(Stage::Name, "the name has no address")) } else { Ok(addresses) }
}

/// A connection to the URL's host that a proxy makes. The name is resolved there.
fn through(proxy: &Proxy, url: &Url, deadline: Instant) -> Result<Timed, Failure> {
    let failed = |why: io::Error| Failure::new(Stage::Proxy, said(&why));
    let mut stream = dial(proxy.address, deadline).map_err(failed)?;
    ask(&mut stream, proxy, url).map_err(failed)?;
    Ok(stream)
}

pub(super) fn ask(stream: &mut (impl Read + Write), proxy: &Proxy, url: &Url) -> io::Result<()> {
    match proxy.kind {
        ProxyKind::Socks5 => socks5(stream, proxy, url),
        ProxyKind::Http => http_connect(stream, proxy, url),
    }
}

/// <https://www.rfc-editor.org/rfc/rfc1928>, with user names as in RFC 1929.
fn socks5(stream: &mut (impl Read + Write), proxy: &Proxy, url: &Url) -> io::Result<()> {
    let short =
        |text: &str| u8::try_from(text.len()).map_err(|_| io::Error::other("a name is longer than SOCKS5 can say"));
    let user = proxy.user.as_deref();
    stream.write_all(&[5, 1, if user.is_some() { 2 } else { 0 }])?;
    let [version, method] = take(stream)?;
    match (version, method, user) {
        (5, 0, _) => {}
        (5, 2, Some(user)) => {
            let password = proxy.password.as_deref().unwrap_or_default();
            let mut login = vec![1, short(user)?];
            login.extend_from_slice(user.as_bytes());
            login.push(short(password)?);
            login.extend_from_slice(password.as_bytes());
            stream.write_all(&login)?;
            let [_, status] = take(stream)?;
            if status != 0 {
                return Err(io::Error::other("the proxy refuses the user name and password"));
            }
        }
        (5, ..) => return Err(io::Error::other("the proxy wants another way to log in")),
        _ => return Err(io::Error::other("not a SOCKS5 proxy")),
    }
    let mut request = vec![5, 1, 0, 3, short(&url.host)?];
    request.extend_from_slice(url.host.as_bytes());
    request.extend_from_slice(&url.port.to_be_bytes());
    stream.write_all(&request)?;
    let [_, status, _, kind] = take(stream)?;
    if status != 0 {
        return Err(io::Error::other(format!("the proxy cannot connect (SOCKS5 reply {status})")));
    }
    // The address that the proxy used is of no use, but must be read.
    let address = match kind {
        1 => 4,
        3 => usize::from(u8::from_be_bytes(take(stream)?)),
        4 => 16,
        _ => return Err(io::Error::other("the proxy answers with an unknown kind of address")),
    };
    stream.read_exact(&mut vec![0; address + 2])
}

fn http_connect(stream: &mut (impl Read + Write), proxy: &Proxy, url: &Url) -> io::Result<()> {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let target = format!("{host}:{}", url.port);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(user) = &proxy.user {
        let login = format!("{user}:{}", proxy.password.as_deref().unwrap_or_default());
        let login = base64::encode(login.as_bytes()).replace('-', "+").replace('~', "/");
        let _ = write!(request, "Proxy-Authorization: Basic {login}\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    // Byte by byte: what follows the head is the server's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD {
            return Err(io::Error::other("the proxy's answer does not end"));
        }
        let byte: [u8; 1] = take(stream)?;
        head.extend(byte);
    }
    match Head::parse(&String::from_utf8_lossy(&head)) {
        Some(head) if (200..300).contains(&head.status) => Ok(()),
        Some(head) => Err(io::Error::other(format!("the proxy cannot connect (status {})", head.status))),
        None => Err(io::Error::other("not an HTTP proxy")),
    }
}

fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The words of an error; a timeout has two kinds, by platform.
fn said(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "took too long".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed early".to_owned(),
        _ => why.to_string(),
    }
}
