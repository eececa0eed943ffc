//! The private network: a thin hand on `testnet/testnet.py`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Which network a scenario wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetSpec {
    /// Debian suite of the i2pds, or several with commas.
    pub(crate) peer: &'static str,
    /// Suite of the floodfills.
    pub(crate) floodfill_peer: &'static str,
    /// How the routers under test reach the others.
    pub(crate) way: Way,
    /// Who carries the tunnels.
    pub(crate) carriers: Carriers,
    /// Who keeps the network database.
    pub(crate) floodfills: Floodfills,
}

/// Who keeps the network database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floodfills {
    /// Five of the i2pds.
    Peers,
    /// Two of the i2pds, and the routers under test.
    Both,
    /// The routers under test alone.
    Subjects,
    /// Three of the i2pds, and as many routers under test.
    Half,
    /// A few of many routers under test.
    Alone,
    /// Two of the Java routers.
    Java,
}

/// Who carries the tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carriers {
    /// The i2pds.
    Peers,
    /// Routers under test; of the i2pds there are only floodfills and two ends.
    Subjects,
    /// Thirty i2pds: in a small network nearly everybody knows everybody, and whom Charlie knows already he does not test.
    Many,
    /// Six of each.
    Half,
    /// Routers under test; two i2pds are there to begin with, and end before anything is measured.
    Alone,
    /// Routers under test, with builds of the subject that lose tunnel messages when told to.
    Lossy,
    /// Java routers and the routers under test; of the i2pds there are only two ends.
    Java,
}

/// How the routers under test reach the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Ipv4,
    /// By IPv4, and both transports: so the others.
    Both,
    /// They have no IPv4 address; the others have both.
    Ipv6,
    /// By IPv4 and SSU2; the others have no NTCP2.
    Ssu2,
    /// By IPv6 and SSU2: the others have both families, no NTCP2, and public addresses.
    Ssu2Ipv6,
    /// By SSU2, from wherever a scenario puts them; the others have public IPv4 addresses and no NTCP2.
    Nat,
    /// By SSU2 and both families: of the others, some have IPv4 or IPv6 only.
    Families,
    /// Through a SOCKS5 proxy (the first one) or an HTTP proxy in their namespace.
    Proxy,
}

impl Way {
    /// Whether the i2pds have SSU2 and no NTCP2.
    pub(crate) const fn is_udp(self) -> bool {
        matches!(self, Self::Ssu2 | Self::Ssu2Ipv6 | Self::Nat | Self::Families)
    }
}

/// A running network of 12 i2pd routers (7 where others carry), 5 of them floodfills, over NTCP2, or SSU2 where it is about that. Taken down when dropped.
pub(crate) struct Net {
    pub(crate) run: PathBuf,
    guard: Option<Child>,
}

/// A router of the network, as `state.json` has it.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) ip: String,
    pub(crate) dir: PathBuf,
    /// Its process, while it runs.
    pub(crate) pid: Option<u32>,
}

/// The folder of this package, where `testnet/` is.
pub(crate) fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// This program, which also is the web server and the HTTP client in the namespaces.
pub(crate) fn this_program() -> String {
    std::env::current_exe().map_or_else(|_| "ramson-interop".to_owned(), |path| path.to_string_lossy().into_owned())
}

impl Net {
    /// Brings the network up, after taking down what an earlier run left in the same place.
    pub(crate) fn up(run: &Path, spec: NetSpec) -> Result<Self, String> {
        if run.join("state.json").exists() {
            println!("     a network of an earlier run is there; taking it down");
            let _ = testnet(run, &["down"]);
        }
        let mut net = Self { run: run.to_path_buf(), guard: None };
        let web = this_program();
        let start = Instant::now();
        let routers = match spec.carriers {
            Carriers::Peers => "12",
            Carriers::Many => "30",
            Carriers::Half => "6",
            Carriers::Alone | Carriers::Java => "2",
            Carriers::Subjects | Carriers::Lossy => "7",
        };
        let mut up = vec![
            "up",
            "--routers",
            routers,
            "--floodfills",
            match spec.floodfills {
                Floodfills::Peers => "5",
                Floodfills::Both => "2",
                Floodfills::Subjects | Floodfills::Alone | Floodfills::Java => "0",
                Floodfills::Half => "3",
            },
            "--transports",
            match spec.way {
                Way::Both => "both",
                way if way.is_udp() => "ssu2",
                _ => "ntcp2",
            },
            "--peer",
            spec.peer,
            "--ff-peer",
            spec.floodfill_peer,
            "--loglevel",
            if std::env::var_os("INTEROP_LOG").is_some() { "debug" } else { "info" },
            "--web",
            &web,
            "--wait",
            "0",
        ];
        if matches!(spec.way, Way::Ipv6 | Way::Ssu2Ipv6 | Way::Families) {
            up.push("--ipv6");
        }
        if spec.way == Way::Families {
            up.push("--mixed-families");
        }
        if spec.way == Way::Nat {
            up.extend(["--ip-plan", "public"]);
        }
        if matches!(spec.carriers, Carriers::Subjects | Carriers::Lossy | Carriers::Alone | Carriers::Java) {
            up.push("--no-transit");
        }
        let said = net.testnet(&up);
        if let Err(why) = said {
            let _ = testnet(run, &["down"]);
            return Err(format!("the network does not come up: {why}"));
        }
        // Takes the network down when this process is killed and cannot do it itself.
        let (own, run_text) = (std::process::id().to_string(), run.to_string_lossy().into_owned());
        let mut guard = Command::new("setsid");
        guard.args([&web, "_guard", &own, &run_text]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        net.guard = guard.spawn().ok();
        println!("     network of {routers} i2pd ({}) up in {:.1} s", spec.peer, start.elapsed().as_secs_f64());
        Ok(net)
    }

    /// Runs `testnet.py` for this network and returns what it prints.
    pub(crate) fn testnet(&self, args: &[&str]) -> Result<String, String> {
        testnet(&self.run, args)
    }

    /// The network's own account of itself.
    pub(crate) fn state(&self) -> Result<Value, String> {
        json(&self.run.join("state.json"))
    }

    /// The eepsite of i2pd.
    pub(crate) fn site(&self) -> Result<String, String> {
        text(&self.state()?, "b32")
    }

    /// The i2pd that hosts the eepsite, or the one whose proxies reads others'.
    pub(crate) fn peer(&self, role: &str) -> Result<Peer, String> {
        let name = text(&self.state()?, role)?;
        self.peers()?.into_iter().find(|peer| peer.name == name).ok_or_else(|| format!("no router {name}"))
    }

    pub(crate) fn peers(&self) -> Result<Vec<Peer>, String> {
        let state = self.state()?;
        let routers = state.get("routers").and_then(Value::as_array).ok_or("no routers in state.json")?;
        let peer = |router: &Value| {
            let pid = router.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok());
            Ok(Peer {
                name: text(router, "name")?,
                namespace: text(router, "ns")?,
                ip: text(router, "ip")?,
                dir: text(router, "dir")?.into(),
                pid,
            })
        };
        routers.iter().map(peer).collect()
    }

    /// Namespace and address for a router that is not i2pd's, and fresh seeds.
    pub(crate) fn attach(&self, name: &str) -> Result<(String, String), String> {
        let said = self.testnet(&["attach", name])?;
        let said: Value = serde_json::from_str(&said).map_err(|why| format!("attach: {why}"))?;
        Ok((text(&said, "netns")?, text(&said, "ip")?))
    }

    /// Notes a process for the guard.
    pub(crate) fn remember(&self, pid: u32) {
        remember(&self.run, pid);
    }

    /// Kills these i2pds, without a chance to say farewell.
    pub(crate) fn kill(&self, names: &[String]) -> Result<(), String> {
        let peers = self.peers()?;
        let pids = peers.iter().filter(|peer| names.contains(&peer.name)).filter_map(|peer| peer.pid);
        let pids: Vec<String> = pids.map(|pid| pid.to_string()).collect();
        let kill = Command::new("sh").args(["-c", &format!("kill -KILL {}", pids.join(" "))]).status();
        match kill {
            Ok(status) if status.success() => Ok(()),
            why => Err(format!("kill of {}: {why:?}", names.join(" "))),
        }
    }

    /// A page of an i2pd's console, without markup; the first one has no name.
    pub(crate) fn console(&self, peer: &Peer, page: &str) -> Result<String, String> {
        let query = if page.is_empty() { String::new() } else { format!("?page={page}") };
        let url = format!("http://127.0.0.1:7070/{query}");
        let mut curl = within(&peer.namespace, "curl");
        let said = curl.args(["-sS", "--max-time", "10", &url]).output().map_err(|why| format!("curl: {why}"))?;
        let html = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut plain = String::new();
        for piece in html.split('<') {
            // A listed tunnel or session is one line of text in the end.
            if piece.starts_with("div") || piece.starts_with("/div") {
                plain.push('\n');
            }
            let text = piece.split_once('>').map_or("", |(_, text)| text);
            plain.push_str(&text.replace("&#8658;", ">").replace("&nbsp;", " ").replace('\n', " "));
        }
        Ok(plain)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Err(why) = self.testnet(&["down"]) {
            println!("     taking the network down: {why}");
        }
        if let Some(mut guard) = self.guard.take() {
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }
}

/// Notes a process of a run for its guard.
pub(crate) fn remember(run: &Path, pid: u32) {
    use std::io::Write;
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(run.join("pids")) {
        let _ = writeln!(file, "{pid}");
    }
}

/// `_guard PID RUN`: waits until PID is gone, then ends what its run left.
pub(crate) fn guard(args: &[String]) -> Result<(), String> {
    let [pid, run] = args else { return Err("_guard PID RUN".to_owned()) };
    while Path::new("/proc").join(pid).exists() {
        std::thread::sleep(Duration::from_secs(1));
    }
    let run = Path::new(run);
    for line in std::fs::read_to_string(run.join("pids")).unwrap_or_default().lines() {
        // Only what still is a program of this run: process ids are used again.
        let said = std::fs::read(Path::new("/proc").join(line).join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains(&*run.to_string_lossy()) {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {}", line.trim())]).status();
        }
    }
    if run.join("state.json").exists() { testnet(run, &["down"]).map(|_| ()) } else { Ok(()) }
}

/// A command inside a network namespace. `ip netns exec` execs, so that the child is the program itself.
pub(crate) fn within(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]).stdin(Stdio::null());
    command
}

pub(crate) fn json(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|why| format!("{}: {why}", file.display()))?;
    serde_json::from_str(&text).map_err(|why| format!("{}: {why}", file.display()))
}

fn text(value: &Value, key: &str) -> Result<String, String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| format!("no `{key}` in testnet's answer"))
}

fn testnet(run: &Path, args: &[&str]) -> Result<String, String> {
    let script = home().join("testnet/testnet.py");
    let mut python = Command::new("python3");
    let python = python.arg(script).arg("--run").arg(run).args(args).stdin(Stdio::null());
    let out = python.output().map_err(|why| format!("python3: {why}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    Err(format!("testnet.py {}: {}", args.first().unwrap_or(&""), String::from_utf8_lossy(&out.stderr).trim()))
}
