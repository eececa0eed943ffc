//! The log can be shown to strangers: above DEBUG it names no destination, no host and no peer's address, and at no
//! level a key or a password.

use crate::crash::{first_hops, tomorrow};
use crate::routers::{self, Draws};
use ramson_wire::crypto::hash::sha256;
use ramson_wire::crypto::sign::SigningKey;
use ramson_wire::data::{Destination, Hash, base32, base64};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const EACH: u32 = 100;
const PASSWORD: &str = "marked-password-1";

/// What the log must not hold: five hundred marks.
struct Marks {
    /// In the netDb: routers at addresses of this machine at which nobody listens.
    addresses: Vec<String>,
    routers: Vec<Hash>,
    /// In the user's own hosts.txt.
    names: Vec<(String, Destination)>,
    /// Asked for, and known to nobody.
    unknown: Vec<String>,
    hashes: Vec<Hash>,
    /// Addresses in the Internet that a program asks the proxy for.
    literals: Vec<String>,
}

impl Marks {
    fn new() -> Self {
        let destination = |n: u32| {
            let key = SigningKey::from_seed(sha256(&n.to_be_bytes()));
            Destination::new(key.verifying_key(), &mut Draws(n * 1_000))
        };
        Self {
            addresses: (0..EACH).map(|n| format!("127.77.{}.{}", n / 50 + 10, n % 50 + 100)).collect(),
            routers: Vec::new(),
            names: (0..EACH).map(|n| (format!("marked-name-{n}.i2p"), destination(n + 5_000))).collect(),
            unknown: (0..EACH).map(|n| format!("marked-unknown-{n}.i2p")).collect(),
            hashes: (0..EACH).map(|n| Hash::of(format!("marked {n}").as_bytes())).collect(),
            literals: (0..EACH).map(|n| format!("198.51.100.{n}")).collect(),
        }
    }

    /// RouterInfos as files in a folder.
    fn write_routers(&mut self, folder: &Path) {
        self.routers = routers::write(folder, &self.addresses);
    }

    /// In all the forms that somebody could print, and which mark each is.
    fn forms(&self) -> Vec<String> {
        let hashes = self.routers.iter().chain(&self.hashes).copied();
        let hashes = hashes.chain(self.names.iter().map(|(_, destination)| destination.hash()));
        let hashes: Vec<Hash> = hashes.collect();
        let hashes: Vec<String> = forms_of(&hashes).collect();
        let destinations = self.names.iter().map(|(_, destination)| destination.to_base64()[..16].to_owned());
        let plain = self.addresses.iter().chain(&self.unknown).chain(&self.literals).cloned();
        let names = self.names.iter().map(|(name, _)| name.clone());
        hashes.into_iter().chain(destinations).chain(plain).chain(names).collect()
    }
}

/// The forms in which somebody could print these.
fn forms_of(hashes: &[Hash]) -> impl Iterator<Item = String> {
    hashes.iter().flat_map(|hash| {
        let [a, b, c, d, ..] = hash.0;
        [
            base32::encode(&hash.0)[..10].to_owned(),
            base64::encode(&hash.0)[..8].to_owned(),
            format!("{a:02x}{b:02x}{c:02x}"),
            format!("{a}, {b}, {c}, {d}"),
        ]
    })
}

/// A router and what it says.
pub(crate) struct Router {
    process: Child,
    lines: Receiver<String>,
    log: String,
}

impl Router {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &Path, environment: &[(&str, &OsStr)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ramson"));
        Self::start_by(command.arg("--data").arg(folder).envs(environment.iter().copied()))
    }

    pub(crate) fn start_by(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the router starts");
        let (sender, lines) = channel();
        let mut said = BufReader::new(process.stderr.take().expect("its log"));
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while said.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let _ = sender.send(String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned());
            }
        });
        Self { process, lines, log: String::new() }
    }

    /// Waits for a line that holds `words`, and gives it.
    pub(crate) fn line(&mut self, words: &str) -> String {
        let limit = Instant::now() + LIMIT;
        while Instant::now() < limit {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(10)) else { break };
            self.log.push_str(&line);
            if line.contains(words) {
                return line;
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        panic!("no line says {words:?}: {}", self.log);
    }

    pub(crate) fn proxy(&mut self) -> u16 {
        let line = self.line("the HTTP proxy listens at 127.0.0.1:");
        line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Whether it has ended by itself by now, or soon.
    pub(crate) fn has_ended(&mut self) -> bool {
        let limit = Instant::now() + Duration::from_secs(2);
        while Instant::now() < limit {
            if self.process.try_wait().expect("a status").is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.process.id())]).status();
        assert!(kill.expect("a shell").success());
    }

    /// Stops it; all that it has said.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        self.line("stopped");
        let _ = self.process.wait();
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(100)) {
            self.log.push_str(&line);
        }
        self.log
    }
}

fn folder(level: &str, marks: &mut Marks) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let seeds = dir.path().join("marked-seeds");
    marks.write_routers(&seeds);
    let config = format!(
        "[network]\nid = 99\nallow_reserved_addresses = true\nallow_same_subnet = true\n[ntcp2]\noutbound_only = true\n\
         [reseed]\nservers = \"off\"\nfiles = [{seeds:?}]\ndangerously_accept_unsigned_files = true\n\
         [http_proxy]\nlisten = \"127.0.0.1:0\"\nuser = \"marked-user\"\npassword = \"{PASSWORD}\"\n[log]\nlevel = \"{level}\"\n\
         [[server]]\nname = \"site\"\nkind = \"http\"\ntarget = \"127.0.0.1:1\"\nkeys = \"site.dat\"\n\
         [[client]]\nname = \"irc\"\nlisten = \"127.0.0.1:0\"\nto = \"{}\"\n",
        marks.names[0].0
    );
    fs::write(dir.path().join("ramson.toml"), config).expect("a config");
    let hosts = marks.names.iter().fold(String::new(), |mut text, (name, destination)| {
        let _ = writeln!(text, "{name}={}", destination.to_base64());
        text
    });
    fs::write(dir.path().join("hosts.txt"), hosts).expect("names");
    dir
}

/// Asks the proxy for everything at once, as a browser that waits for no page long; the answers are of no interest.
fn ask_for_all(port: u16, marks: &Marks) {
    use base64_of_the_world as standard;
    let login = standard(format!("marked-user:{PASSWORD}").as_bytes());
    let urls = marks.names.iter().map(|(name, _)| format!("http://{name}/"));
    let urls = urls.chain(marks.unknown.iter().map(|name| format!("http://{name}/")));
    let urls = urls.chain(marks.hashes.iter().map(|hash| format!("http://{}/", base32::host_name(hash))));
    let urls = urls.chain(marks.literals.iter().map(|ip| format!("http://{ip}/")));
    let (name, destination) = &marks.names[1];
    let helper = format!("http://marked-helper.i2p/?i2paddresshelper={}", destination.to_base64());
    let other = format!("http://{name}/?i2paddresshelper={}", base32::host_name(&marks.hashes[0]));
    let mut open = Vec::new();
    for url in urls.chain([helper, other]) {
        let host = url.split('/').nth(2).unwrap_or_default();
        let head = format!(
            "GET {url} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\nProxy-Authorization: Basic {login}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy");
        stream.write_all(head.as_bytes()).expect("a request");
        open.push(stream);
    }
    for mut stream in open {
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 407"), "{answer}");
    }
}

/// The base 64 of the rest of the world.
fn base64_of_the_world(bytes: &[u8]) -> String {
    base64::encode(bytes).replace('-', "+").replace('~', "/")
}

/// The private keys of a folder, in all forms.
fn keys(dir: &Path) -> Vec<String> {
    // Magic, then three keys of 32 bytes; and the last 32 bytes of a destination's file.
    let router = fs::read(dir.join("router.keys")).expect("keys");
    let site = fs::read(dir.join("site.dat")).expect("keys");
    let mut keys: Vec<[u8; 32]> = (0..3).filter_map(|n| router.get(8 + n * 32..)?.first_chunk().copied()).collect();
    keys.extend(site.last_chunk::<32>().copied());
    assert_eq!(keys.len(), 4);
    let forms = keys.iter().flat_map(|key| {
        let hex = |upper: bool| {
            key[..6].iter().fold(String::new(), |mut text, b| {
                let _ = if upper { write!(text, "{b:02X}") } else { write!(text, "{b:02x}") };
                text
            })
        };
        let numbers = key[..6].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        [hex(true), hex(false), numbers, base64::encode(key)[..10].to_owned(), base32::encode(key)[..10].to_owned()]
    });
    forms.chain([PASSWORD.to_owned(), base64_of_the_world(format!("marked-user:{PASSWORD}").as_bytes())]).collect()
}

/// What the log says, without the times: six digits of a second's fraction are now and then the first six of a mark.
fn words(log: &str) -> String {
    log.lines()
        .map(|line| line.split_once(' ').map_or(line, |(_, words)| words))
        .fold(String::new(), |text, words| text + words + "\n")
}

fn run(level: &str, marks: &mut Marks) -> (String, Vec<String>) {
    let dir = folder(level, marks);
    let mut router = Router::start(dir.path());
    let port = router.proxy();
    router.line("reseeded");
    ask_for_all(port, marks);
    let secret = keys(dir.path());
    for file in ["router.info", "site.dat"] {
        // Our own identity and destination, by which others find us.
        let bytes = fs::read(dir.path().join(file)).expect("a file");
        marks.hashes.push(Hash::of(&bytes[..391]));
    }
    // A second run reads what the first has written, and the first hops of the site.
    let mut log = router.stop();
    let site = marks.hashes.last().expect("the site");
    let hops = dir.path().join(format!("state/guards-{}", base32::encode(&site.0)));
    let named: Vec<_> = marks.routers[..3].iter().map(|hash| (*hash, tomorrow())).collect();
    fs::write(&hops, first_hops(&[&named[..], &[(marks.routers[3], 1)]].concat())).expect("first hops");
    let mut router = Router::start(dir.path());
    router.proxy();
    let limit = Instant::now() + LIMIT;
    while fs::read(&hops).expect("first hops") != first_hops(&named) {
        assert!(Instant::now() < limit, "the one whose time is over stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    log.push_str(&router.stop());
    assert_eq!(fs::metadata(&hops).expect("first hops").permissions().mode() & 0o777, 0o600);
    // Who reads this knows by whom the tunnels of the site begin: no line at any level brings both together.
    let both =
        |line: &&str| [&[*site][..], &marks.routers[..4]].iter().all(|some| forms_of(some).any(|f| line.contains(&f)));
    assert_eq!(log.lines().find(both), None);
    // The path of the folder is the operator's own, and may hold anything.
    let path: PathBuf = dir.path().into();
    (log.replace(&path.display().to_string(), "FOLDER"), secret)
}

#[test]
fn at_info_the_log_says_nothing_of_anybody() {
    let mut marks = Marks::new();
    let (log, secret) = run("info", &mut marks);
    let log = words(&log);
    assert!(log.contains("the router starts") && log.contains("reseeded") && !log.contains("DEBUG"), "{log}");
    let forms = marks.forms();
    assert!(forms.len() > 500 && marks.routers.len() == EACH as usize);
    let found: Vec<_> = forms.iter().chain(&secret).filter(|form| log.contains(*form)).collect();
    assert!(found.is_empty(), "{found:?} in {log}");
    // There was nothing to take out, either.
    assert!(["[name]", "[address]", "[key]", "[hash]"].iter().all(|word| !log.contains(word)), "{log}");
}

#[test]
fn at_trace_the_log_shows_peers_and_no_key() {
    let mut marks = Marks::new();
    let (log, secret) = run("trace", &mut marks);
    assert!(log.contains("DEBUG"), "{log}");
    // What the test at INFO looks for is what would be seen.
    assert!(marks.forms().iter().any(|form| log.contains(form)), "{log}");
    let found: Vec<_> = secret.iter().filter(|form| log.contains(*form)).collect();
    assert!(found.is_empty(), "{found:?}");
    let loud = log.lines().filter(|line| !line.contains("DEBUG") && !line.contains("TRACE"));
    let loud = words(&loud.collect::<Vec<_>>().join("\n"));
    let found: Vec<_> = marks.forms().into_iter().filter(|form| loud.contains(form)).collect();
    assert!(found.is_empty(), "{found:?} in {loud}");
}
