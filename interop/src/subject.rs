//! The router under test: Ramson, or an i2pd that shows that the suite itself is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::nat::{Behind, Nat};
use crate::net::{Floodfills, Net, NetSpec, Way, this_program, within};

/// How many of the subjects of `half` and of `alone` are no floodfills.
pub(crate) const PLAIN_HALF: usize = 3;
pub(crate) const PLAIN_ALONE: usize = 22;

/// Which program is under test.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Ramson { program: PathBuf },
    I2pd { program: PathBuf },
}

/// Where a router under test is in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where everybody can reach it; it knows and publishes its address.
    Open,
    /// Behind an address translator; it is told nothing of it.
    Behind(Nat),
}

/// A router under test in its namespace, with a web server behind its eepsite.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) ip: String,
    /// The translator that it is behind.
    pub(crate) behind: Option<Behind>,
    pub(crate) dir: PathBuf,
    run: PathBuf,
    kind: Kind,
    router: Option<Child>,
    web: Child,
    proxy: Option<Child>,
}

const PROXY: &str = "127.0.0.1:1080";

impl Subject {
    /// Prepares a router, and starts it.
    pub(crate) fn start(net: &Net, kind: &Kind, name: &str, spec: NetSpec, place: Place) -> Result<Self, String> {
        let mut subject = Self::prepare_at(net, kind, name, spec, place)?;
        subject.run()?;
        Ok(subject)
    }

    /// Attaches a namespace, starts the web server there, and writes the config.
    pub(crate) fn prepare(net: &Net, kind: &Kind, name: &str, spec: NetSpec) -> Result<Self, String> {
        Self::prepare_at(net, kind, name, spec, Place::Open)
    }

    fn prepare_at(net: &Net, kind: &Kind, name: &str, spec: NetSpec, place: Place) -> Result<Self, String> {
        let way = spec.way;
        if !matches!(way, Way::Ipv4 | Way::Nat | Way::Ssu2 | Way::Ssu2Ipv6) && matches!(kind, Kind::I2pd { .. }) {
            return Err("this scenario is for Ramson only".to_owned());
        }
        let behind = match place {
            Place::Open => None,
            Place::Behind(nat) => Some(net.attach_behind(name, nat)?),
        };
        let (namespace, ip) = match &behind {
            None => net.attach(name)?,
            Some(behind) => (behind.namespace.clone(), behind.inside.clone()),
        };
        let dir = net.run.join(name);
        fs::create_dir_all(dir.join("data")).map_err(|why| format!("{}: {why}", dir.display()))?;
        let web = within(&namespace, &this_program())
            .args(["_web", "127.0.0.1:8080"])
            .arg(&net.run)
            .spawn()
            .map_err(|why| format!("web server: {why}"))?;
        let (kind, name, run) = (kind.clone(), name.to_owned(), net.run.clone());
        let mut subject = Self { name, namespace, ip, behind, dir, run, kind, router: None, web, proxy: None };
        subject.remember(subject.web.id());
        subject.connect(way)?;
        subject.configure(net, spec)?;
        Ok(subject)
    }

    /// Takes the IPv4 address from the namespace, or starts a proxy in it.
    fn connect(&mut self, way: Way) -> Result<(), String> {
        match way {
            Way::Ipv4 | Way::Both | Way::Ssu2 | Way::Nat | Way::Families => {}
            Way::Ipv6 | Way::Ssu2Ipv6 => {
                let flush = ["-4", "addr", "flush", "dev", "eth0"];
                let status = within(&self.namespace, "ip").args(flush).status().map_err(|why| format!("ip: {why}"))?;
                if !status.success() {
                    return Err(format!("ip: {status}"));
                }
                self.ip = ipv6_of(&self.ip);
            }
            Way::Proxy => {
                let mut proxy = within(&self.namespace, &this_program());
                let proxy = proxy.args(["_proxy", PROXY]).arg(self.dir.join("proxied")).spawn();
                let proxy = proxy.map_err(|why| format!("proxy: {why}"))?;
                self.remember(proxy.id());
                self.proxy = Some(proxy);
            }
        }
        Ok(())
    }

    /// How many of the router's established sessions lead to addresses that begin like this, and where others lead.
    /// Its local clients do not count.
    pub(crate) fn sessions(&self, begin: &str) -> Result<(usize, Vec<String>), String> {
        let pid = self.router.as_ref().map(|router| format!("pid={},", router.id())).ok_or("it is not running")?;
        let out = within(&self.namespace, "ss").args(["-Htnp", "state", "established"]).output();
        let out = out.map_err(|why| format!("ss: {why}"))?;
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let ends = |line: &str| line.split_whitespace().skip(2).take(2).map(str::to_owned).collect::<Vec<_>>();
        let local = |ends: &[String]| {
            ends.first().is_some_and(|end| end == "127.0.0.1:4444")
                || ends.last().is_some_and(|end| end == "127.0.0.1:8080")
        };
        let of_router = said.lines().filter(|line| line.contains(&pid)).map(ends).filter(|ends| !local(ends));
        let (there, elsewhere): (Vec<_>, Vec<_>) =
            of_router.filter_map(|mut ends| ends.pop()).partition(|end| end.starts_with(begin));
        Ok((there.len(), elsewhere))
    }

    /// How many connections the proxy has made.
    pub(crate) fn carried(&self) -> Result<usize, String> {
        let file = self.dir.join("proxied");
        let text = fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(text.lines().count())
    }

    /// Whether the router's own RouterInfo holds its address.
    pub(crate) fn publishes_its_address(&self) -> Result<bool, String> {
        let file = self.dir.join("data/router.info");
        let bytes = fs::read(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        Ok(bytes.windows(self.ip.len()).any(|part| part == self.ip.as_bytes()))
    }

    /// Adds lines to Ramson's configuration, for its next start.
    pub(crate) fn add_to_config(&self, lines: &str) -> Result<(), String> {
        let file = self.dir.join("ramson.toml");
        let text = fs::read_to_string(&file).map(|text| text + lines);
        text.and_then(|text| fs::write(&file, text)).map_err(|why| format!("{}: {why}", file.display()))
    }

    /// Starts the router's program again.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).map_err(|why| why.to_string())?;
        let log_too = log.try_clone().map_err(|why| why.to_string())?;
        let (program, args) = self.program();
        let mut command = within(&self.namespace, &program.to_string_lossy());
        let child = command.args(args).stdout(log).stderr(log_too).spawn();
        let child = child.map_err(|why| format!("{}: {why}", program.display()))?;
        self.remember(child.id());
        self.router = Some(child);
        Ok(())
    }

    /// Ends the router with SIGTERM (or SIGKILL) and says how long it took to close.
    pub(crate) fn stop(&mut self, signal: &str) -> Result<Duration, String> {
        let Some(mut router) = self.router.take() else { return Ok(Duration::ZERO) };
        let start = Instant::now();
        // The shell's own `kill`: a bare machine has no program of that name.
        let _ = Command::new("sh").args(["-c", &format!("kill -{signal} {}", router.id())]).status();
        while start.elapsed() < Duration::from_secs(20) {
            if let Ok(Some(_)) = router.try_wait() {
                return Ok(start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = router.kill();
        let _ = router.wait();
        Err(format!("{} does not end within 20 s of SIG{signal}", self.name))
    }

    /// Ends with an error when the router's program ended by itself.
    pub(crate) fn alive(&mut self) -> Result<(), String> {
        match self.router.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => Err(format!("{} ended by itself: {status}", self.name)),
            Some(_) => Ok(()),
            None => Err(format!("{} is not running", self.name)),
        }
    }

    /// What Ramson says of itself as a floodfill: how many LeaseSets it keeps, stores it took, and questions it answered.
    pub(crate) fn kept(&self) -> Result<[u64; 3], String> {
        let Kind::Ramson { program } = &self.kind else { return Err("this scenario is for Ramson only".to_owned()) };
        let mut status = within(&self.namespace, &program.to_string_lossy());
        let said = status.args(["status", "--json", "--data"]).arg(self.dir.join("data")).output();
        let said = said.map_err(|why| format!("{}: {why}", program.display()))?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let status: serde_json::Value = serde_json::from_str(&text).map_err(|why| format!("status: {why}: {text}"))?;
        let netdb = status.get("netdb").filter(|netdb| netdb.get("serves") == Some(&true.into()));
        let netdb = netdb.ok_or_else(|| format!("{} is no floodfill: {text}", self.name))?;
        let number = |key: &str| netdb.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
        Ok([number("lease_sets"), number("stored"), number("answered")])
    }

    /// Waits for the files that a first start makes.
    pub(crate) fn until_it_has_keys(&mut self) -> Result<(), String> {
        let limit = Instant::now() + Duration::from_secs(30);
        while self.identity().and(self.site()).is_err() {
            self.alive().map_err(|why| format!("{why}\n{}", self.log_tail()))?;
            if Instant::now() > limit {
                return Err(format!("no router.info and site.dat after 30 s:\n{}", self.log_tail()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The hash of the router's identity, in I2P's base 64.
    pub(crate) fn identity(&self) -> Result<String, String> {
        base64_of(&self.dir.join("data/router.info"))
    }

    /// Deletes the keys of the eepsite: the next start makes others.
    pub(crate) fn forget_site(&self) -> Result<(), String> {
        let path = self.dir.join("data/site.dat");
        fs::remove_file(&path).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// The b32 name (without `.b32.i2p`) of the eepsite, from its key file.
    pub(crate) fn site(&self) -> Result<String, String> {
        Ok(base32(&Sha256::digest(identity_of(&self.dir.join("data/site.dat"))?)))
    }

    /// The last lines of the router's log.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// The router's process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.router.as_ref().map(Child::id)
    }

    /// CPU seconds that the router used so far, and its resident memory in MB.
    pub(crate) fn usage(&self) -> Option<(f64, f64)> {
        usage_of(self.router.as_ref()?.id())
    }

    /// What Ramson says of itself; nothing of another router.
    pub(crate) fn status(&self) -> Option<Value> {
        let Kind::Ramson { program } = &self.kind else { return None };
        let mut ask = Command::new(program);
        let said = ask.args(["status", "--json", "--data"]).arg(self.dir.join("data")).output().ok()?;
        serde_json::from_slice(&said.stdout).ok()
    }

    /// Builds that it has started, and look-ups that it has sent to floodfills.
    pub(crate) fn sent(&self) -> Option<(f64, f64)> {
        let status = self.status()?;
        let count = |part: &str, name: &str| status.get(part)?.get(name)?.as_f64();
        Some((count("builds", "started")?, count("netdb", "lookups")?))
    }

    /// Empties the data folder of all but the names: the next start is a first one.
    pub(crate) fn forget_all(&self) -> Result<(), String> {
        let data = self.dir.join("data");
        let names = data.join("hosts.txt");
        let again = fs::read(&names).and_then(|names| {
            fs::remove_dir_all(&data)?;
            fs::create_dir_all(&data)?;
            Ok(names)
        });
        again.and_then(|text| fs::write(&names, text)).map_err(|why| format!("{}: {why}", data.display()))
    }

    /// How many builds of its tunnels succeeded, and how many ended at all.
    pub(crate) fn builds(&self) -> Option<(f64, f64)> {
        let status = self.status()?;
        let count = |name: &str| status.get("builds")?.get(name)?.as_f64();
        let ok = count("ok")?;
        Some((ok, ok + count("declined")? + count("timed_out")?))
    }

    /// The lines of Ramson's configuration that tell how it reaches others.
    fn ntcp2(&self, way: Way) -> String {
        let ip = &self.ip;
        match way {
            // SSU2 is on by itself, at the port of NTCP2.
            Way::Nat if self.behind.is_some() => "listen = [\"0.0.0.0:23456\"]".to_owned(),
            Way::Ipv4 | Way::Both | Way::Ssu2 | Way::Nat => {
                format!("listen = [\"{ip}:23456\"]\npublish = [\"{ip}:23456\"]")
            }
            Way::Families => {
                let both = format!("[\"{ip}:23456\", \"[{}]:23456\"]", ipv6_of(ip));
                format!("listen = {both}\npublish = {both}")
            }
            Way::Ssu2Ipv6 | Way::Ipv6 => format!("listen = [\"[{ip}]:23456\"]\npublish = [\"[{ip}]:23456\"]"),
            Way::Proxy if self.name.ends_with('1') => format!("proxy = \"socks5://{PROXY}\""),
            Way::Proxy => format!("proxy = \"http://{PROXY}\""),
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Notes a process for the guard.
    pub(crate) fn remember(&self, pid: u32) {
        crate::net::remember(&self.run, pid);
    }

    fn program(&self) -> (&Path, Vec<String>) {
        let dir = self.dir.display();
        match &self.kind {
            Kind::Ramson { program } => (
                program,
                ["--data", &format!("{dir}/data"), "--config", &format!("{dir}/ramson.toml")]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            Kind::I2pd { program } => {
                let file = |key: &str, name: &str| format!("--{key}={dir}/{name}");
                (program, vec![file("datadir", "data"), file("conf", "i2pd.conf"), file("tunconf", "tunnels.conf")])
            }
        }
    }

    /// An i2pd's configuration for a network without NTCP2, where it stands or behind its translator.
    fn i2pd_udp(&self, run: &Path, reserved: bool) -> String {
        let address = format!("address4 = {0}\nhost = {0}\n", self.ip);
        let conf = i2pd_conf(&self.dir, &self.ip, run, false)
            .replace("[ntcp2]\nenabled = true\npublished = true\n[ssu2]\nenabled = false\n", I2PD_UDP)
            .replace("reservedrange = false", if reserved { "reservedrange = false" } else { "reservedrange = true" });
        match self.behind {
            None if self.ip.contains(':') => conf
                .replace("ipv4 = true\nipv6 = false", "ipv4 = false\nipv6 = true")
                .replace("address4 = ", "address6 = "),
            None => conf,
            Some(_) => conf.replace(&address, "").replace("nat = false", "nat = true"),
        }
    }

    fn configure(&self, net: &Net, spec: NetSpec) -> Result<(), String> {
        let number = self.name.trim_start_matches("mine").parse::<usize>();
        let floodfill = match spec.floodfills {
            Floodfills::Peers | Floodfills::Java => false,
            Floodfills::Both | Floodfills::Subjects => true,
            Floodfills::Half => number.is_ok_and(|number| number > PLAIN_HALF),
            Floodfills::Alone => number.is_ok_and(|number| number > PLAIN_ALONE),
        };
        let hosts = hosts(net)?;
        let write = |name: &str, text: &str| {
            let file = self.dir.join(name);
            fs::write(&file, text).map_err(|why| format!("{}: {why}", file.display()))
        };
        write("data/hosts.txt", &hosts)?;
        match self.kind {
            Kind::Ramson { .. } => {
                // In the network with public addresses, private ones are what they are elsewhere.
                let reserved = spec.way != Way::Nat;
                write("ramson.toml", &ramson_toml(&self.ntcp2(spec.way), &net.run, floodfill, reserved))
            }
            Kind::I2pd { .. } if matches!(spec.way, Way::Nat | Way::Ssu2 | Way::Ssu2Ipv6) => {
                write("i2pd.conf", &self.i2pd_udp(&net.run, spec.way != Way::Nat))?;
                write("tunnels.conf", I2PD_SITE)
            }
            Kind::I2pd { .. } => {
                write("i2pd.conf", &i2pd_conf(&self.dir, &self.ip, &net.run, floodfill))?;
                write("tunnels.conf", I2PD_SITE)
            }
        }
    }
}

/// How many files and sockets a process has open.
pub(crate) fn descriptors_of(pid: u32) -> Option<f64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as f64)
}

/// CPU seconds that a process used so far, and its resident memory in MB.
pub(crate) fn usage_of(pid: u32) -> Option<(f64, f64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some((ticks / 100.0, megabytes_of(pid, "VmRSS:")?))
}

/// The part of a process's resident memory that is no file, in MB.
pub(crate) fn anonymous_of(pid: u32) -> Option<f64> {
    megabytes_of(pid, "RssAnon:")
}

fn megabytes_of(pid: u32, what: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.stop("TERM");
        for child in [Some(&mut self.web), self.proxy.as_mut()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The IPv6 address that `testnet.py up --ipv6` gives beside an IPv4 one, as it is written shortest.
fn ipv6_of(ip: &str) -> String {
    let mut groups = [0x2a0c, 0x110, 0, 0, 0, 0, 0, 0];
    for (group, part) in groups[4..].iter_mut().zip(ip.split('.')) {
        *group = part.parse().unwrap_or(0);
    }
    std::net::Ipv6Addr::from(groups).to_string()
}

/// The name that the suite gives to the eepsite of i2pd.
pub(crate) const SITE_NAME: &str = "testsite.i2p";

/// A hosts.txt with the eepsite of i2pd under [`SITE_NAME`].
fn hosts(net: &Net) -> Result<String, String> {
    let server = net.peer("server")?;
    Ok(format!("{SITE_NAME}={}\n", base64(&identity_of(&server.dir.join("data/site.dat"))?)))
}

/// Ramson's configuration: a private network, three hops, one web site, names from hosts.txt in the data folder.
fn ramson_toml(ntcp2: &str, run: &Path, floodfill: bool, reserved: bool) -> String {
    let floodfill = if floodfill { "yes" } else { "no" };
    let run = run.display();
    let level = std::env::var("INTEROP_LOG").unwrap_or_else(|_| "info".to_owned());
    format!(
        r#"[network]
id = 99
allow_reserved_addresses = {reserved}
allow_same_subnet = true

[ntcp2]
{ntcp2}

[reseed]
servers = "off"
files = ["{run}/seeds.su3"]
certificates = ["{run}/reseed-cert.crt"]

[log]
level = "{level}"

[transit]
kilobytes_per_second = 1000000
max_tunnels = 5000

[netdb]
floodfill = "{floodfill}"

[http_proxy]
listen = "127.0.0.1:4444"

[[server]]
name = "site"
kind = "http"
target = "127.0.0.1:8080"
keys = "site.dat"
"#
    )
}

fn i2pd_conf(dir: &Path, ip: &str, run: &Path, floodfill: bool) -> String {
    let (dir, run) = (dir.display(), run.display());
    let level = if std::env::var_os("INTEROP_LOG").is_some() { "debug" } else { "info" };
    format!(
        "log = file\nlogfile = {dir}/log\nloglevel = {level}\nipv4 = true\nipv6 = false\nnetid = 99\n\
         address4 = {ip}\nhost = {ip}\nport = 23456\nnat = false\nreservedrange = false\nfloodfill = {floodfill}\n\
         bandwidth = X\nshare = 100\n[limits]\ntransittunnels = 5000\n[upnp]\nenabled = false\n\
         [reseed]\nverify = false\nthreshold = 0\nurls =\nyggurls =\nfile = {run}/seeds.su3\n\
         [addressbook]\nenabled = true\nsubscriptions =\n\
         [http]\nenabled = true\naddress = 127.0.0.1\nport = 7070\nstrictheaders = false\n\
         [httpproxy]\nenabled = true\naddress = 127.0.0.1\nport = 4444\n\
         inbound.length = 3\ninbound.quantity = 3\noutbound.length = 3\noutbound.quantity = 3\n\
         [socksproxy]\nenabled = false\n[sam]\nenabled = false\n[bob]\nenabled = false\n\
         [ntcp2]\nenabled = true\npublished = true\n[ssu2]\nenabled = false\n\
         [nettime]\nenabled = false\nfrompeers = false\n[persist]\nprofiles = false\n"
    )
}

const I2PD_UDP: &str = "[ntcp2]\nenabled = false\n[ssu2]\nenabled = true\npublished = true\n";

const I2PD_SITE: &str = "[site]\ntype = server\nhost = 127.0.0.1\nport = 8080\ninport = 80\nkeys = site.dat\n\
    inbound.length = 3\ninbound.quantity = 3\noutbound.length = 3\noutbound.quantity = 3\n\
    i2cp.leaseSetType = 3\ni2cp.leaseSetEncType = 4\n";

/// The identity or destination that a RouterInfo or a private key file begins with.
fn identity_of(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let bytes = fs::read(file).map_err(|why| format!("{shown}: {why}"))?;
    let certificate = bytes.get(385..387).ok_or_else(|| format!("{shown}: too short"))?;
    let end = 387 + usize::from(u16::from_be_bytes([certificate[0], certificate[1]]));
    Ok(bytes.get(..end).ok_or_else(|| format!("{shown}: too short"))?.to_vec())
}

/// The hash of the identity that a RouterInfo begins with, in I2P's base 64.
pub(crate) fn base64_of(file: &Path) -> Result<String, String> {
    Ok(base64(&Sha256::digest(identity_of(file)?)))
}

/// The destination of a private key file, in I2P's base 64.
pub(crate) fn destination_of(file: &Path) -> Result<String, String> {
    Ok(base64(&identity_of(file)?))
}

/// The b32 name of the destination of a private key file.
pub(crate) fn address_of(file: &Path) -> Result<String, String> {
    Ok(base32(&Sha256::digest(identity_of(file)?)) + ".b32.i2p")
}

/// The b32 name of a hash in I2P's base 64.
pub(crate) fn b32_of(hash: &str) -> Option<String> {
    Some(base32(&hash_of(hash)?) + ".b32.i2p")
}

/// The b32 name of a destination in I2P's base 64.
pub(crate) fn name_of(destination: &str) -> Option<String> {
    Some(base32(&Sha256::digest(bytes_of(destination)?)) + ".b32.i2p")
}

/// A hash in I2P's base 64, as bytes.
pub(crate) fn hash_of(hash: &str) -> Option<Vec<u8>> {
    bytes_of(hash).filter(|bytes| bytes.len() == 32)
}

/// I2P's base 64, as bytes.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let mut bits = 0u32;
    let (mut held, mut bytes) = (0, Vec::new());
    for c in text.trim_end_matches('=').bytes() {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' => 62,
            b'~' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

fn base32(bytes: &[u8]) -> String {
    digits(bytes, 5).iter().map(|digit| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(*digit)])).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-~";
    let mut text: String = digits(bytes, 6).iter().map(|digit| char::from(DIGITS[usize::from(*digit)])).collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

fn digits(bytes: &[u8], bits: u32) -> Vec<u8> {
    let (mut digits, mut held, mut count) = (Vec::new(), 0u32, 0);
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xffff;
        count += 8;
        while count >= bits {
            count -= bits;
            digits.push((held >> count & ((1 << bits) - 1)) as u8);
        }
    }
    if count > 0 {
        digits.push((held << (bits - count) & ((1 << bits) - 1)) as u8);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_are_those_of_the_testnet() {
        assert_eq!(ipv6_of("10.110.0.1"), "2a0c:110::a:6e:0:1");
    }

    #[test]
    fn base32_and_base64_are_those_of_i2p() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
        assert_eq!(base64(b"foob"), "Zm9vYg==");
        assert_eq!(base64(&[0xff, 0xff, 0xfe]), "~~~-");
        assert_eq!(b32_of(&base64(&[7; 32])), Some(base32(&[7; 32]) + ".b32.i2p"));
        assert_eq!(b32_of("AAAA"), None);
        // The SHA-256 of "foob".
        assert_eq!(name_of("Zm9vYg=="), Some(base32(&Sha256::digest(b"foob")) + ".b32.i2p"));
        assert_eq!(name_of("!"), None);
    }
}
