//! Proxies and tunnels: curl by SOCKS and CONNECT, IRC through the tunnels of both routers to ngircd, UDP both ways, a
//! source that several hear. The tunnels are put into the configs while the routers run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::net::{Peer, this_program, within};
use crate::subject::Kind;
use crate::world::{Route, World, until_page};

const SOCKS: &str = "127.0.0.1:4447";
const SHAPE: &str = "hops = 2\nquantity = 2\n";
const I2PD_SHAPE: &str = "inbound.length = 2\ninbound.quantity = 2\noutbound.length = 2\noutbound.quantity = 2\n";
/// A word that ngircd believes WEBIRC by.
const WORD: &str = "betweenus";

/// Programs that end with this value.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    fn add(&mut self, command: &mut Command) -> Result<(), String> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.0.push(child.map_err(|why| format!("{command:?}: {why}"))?);
        Ok(())
    }
}

/// A router under test: its program, its config and its data folder.
pub(crate) struct Ours {
    program: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) namespace: String,
}

impl Ours {
    fn ask(&self, command: &str) -> Result<Value, String> {
        let mut ask = Command::new(&self.program);
        let out = ask.args([command, "--json", "--data"]).arg(self.dir.join("data")).output();
        let out = out.map_err(|why| format!("ramson {command}: {why}"))?;
        if !out.status.success() {
            return Err(format!("ramson {command}: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
        serde_json::from_slice(&out.stdout).map_err(|why| format!("ramson {command}: {why}"))
    }

    /// Puts tunnels into the config, and has it read; says how many were started.
    pub(crate) fn add(&self, text: &str) -> Result<usize, String> {
        append(&self.dir.join("ramson.toml"), text)?;
        let changes = self.ask("reload")?;
        let count = |what: &str| changes.get(what).and_then(Value::as_array).map_or(0, Vec::len);
        if count("changed") + count("stopped") + count("problems") + count("after_a_restart") > 0 {
            return Err(format!("a reload has changed more than was new: {changes}"));
        }
        Ok(count("started"))
    }

    /// A value of a tunnel.
    fn tunnel(&self, name: &str, what: &str) -> Result<Value, String> {
        let list = self.ask("tunnels")?;
        let of = |tunnel: &&Value| tunnel.get("name").and_then(Value::as_str) == Some(name);
        let found = list.as_array().and_then(|list| list.iter().find(of)).and_then(|tunnel| tunnel.get(what));
        found.cloned().ok_or_else(|| format!("no {what} of tunnel {name}: {list}"))
    }

    pub(crate) fn b32(&self, name: &str) -> Result<String, String> {
        self.tunnel(name, "b32")?.as_str().map(str::to_owned).ok_or_else(|| format!("tunnel {name} is not open"))
    }
}

fn append(file: &Path, text: &str) -> Result<(), String> {
    let before = fs::read_to_string(file).map_err(|why| format!("{}: {why}", file.display()))?;
    fs::write(file, format!("{before}\n{text}")).map_err(|why| format!("{}: {why}", file.display()))
}

pub(crate) fn ours(world: &mut World, number: usize) -> Result<Ours, String> {
    let Kind::Ramson { program } = world.kind().clone() else {
        return Err("this scenario is for Ramson only".to_owned());
    };
    let subject = world.subject(number)?;
    Ok(Ours { program, dir: subject.dir.clone(), namespace: subject.namespace.clone() })
}

/// Puts tunnels into the config of an i2pd, and starts it again: a server of it that has read its config while it runs takes no
/// more streams for the tunnels that it had.
pub(crate) fn add_to_i2pd(world: &World, peer: &Peer, text: &str) -> Result<(), String> {
    append(&peer.dir.join("tunnels.conf"), text)?;
    world.net.testnet(&["restart", &peer.name]).map(drop)
}

/// The b32 address of a key file that an i2pd makes.
pub(crate) fn address_of(file: &Path) -> Result<String, String> {
    let start = Instant::now();
    loop {
        match crate::subject::address_of(file) {
            Ok(b32) => return Ok(b32),
            Err(why) if start.elapsed() > Duration::from_secs(30) => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// ngircd of Debian, unpacked and not installed.
fn ngircd() -> PathBuf {
    crate::cache().join("ngircd/root/usr/sbin/ngircd")
}

/// Unpacks it, where it is not unpacked yet.
pub(crate) fn fetch() -> Result<(), String> {
    if ngircd().exists() {
        return Ok(());
    }
    let folder = crate::cache().join("ngircd");
    let script = "set -e; mkdir -p root debs; cd debs; apt-get -q download ngircd libident; cd ..; \
        for deb in debs/*.deb; do dpkg-deb -x \"$deb\" root; done";
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let out = Command::new("sh").args(["-c", script]).current_dir(&folder).output();
    let out = out.map_err(|why| format!("sh: {why}"))?;
    if !out.status.success() {
        return Err(format!("ngircd cannot be had: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    Ok(())
}

/// Servers of IRC and UDP in a namespace.
fn serve(running: &mut Running, namespace: &str, dir: &Path) -> Result<(), String> {
    let program = ngircd();
    if !program.exists() {
        return Err("ngircd is not unpacked: `fetch tunnels` does that".to_owned());
    }
    let config = dir.join("ngircd.conf");
    let text = format!(
        "[Global]\nName = irc.test.net\nInfo = test\nListen = 127.0.0.1\nPorts = 6667\nServerUID = root\nServerGID = root\n\
         MotdPhrase = hello\n[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = yes\nIdent = no\nPAM = no\nSyslogFacility = local1\n\
         WebircPassword = {WORD}\n"
    );
    fs::write(&config, text).map_err(|why| format!("{}: {why}", config.display()))?;
    let libraries = crate::cache().join("ngircd/root/usr/lib/x86_64-linux-gnu");
    let mut command = within(namespace, &program.to_string_lossy());
    running.add(command.arg("-n").arg("-f").arg(&config).env("LD_LIBRARY_PATH", libraries))?;
    running.add(within(namespace, &this_program()).args(["_udp", "echo", "127.0.0.1:7100"]))
}

/// Runs a program of this suite in a namespace: what it says behind `ok`.
fn ask(namespace: &str, what: &str, args: &[&str]) -> Result<String, String> {
    let out = within(namespace, &this_program()).args(args).output().map_err(|why| format!("{what}: {why}"))?;
    let said = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    said.strip_prefix("ok ").map(str::to_owned).ok_or_else(|| format!("{what}: {said}"))
}

/// curl by a proxy of a router under test.
fn curl(route: &Route, proxy: &[&str], url: &str) -> Result<String, String> {
    let mut last = String::new();
    for _ in 0..3 {
        let mut curl = within(&route.namespace, "curl");
        let out = curl.args(["-sS", "--fail", "--max-time", "60"]).args(proxy).arg(url).output();
        let out = out.map_err(|why| format!("curl: {why}"))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
        }
        last = format!("curl {} {url}: {}", proxy.join(" "), String::from_utf8_lossy(&out.stderr).trim());
    }
    Err(last)
}

fn proxies(route: &Route, sites: &[String]) -> Result<usize, String> {
    let ways: [&[&str]; 5] = [
        &["--socks4a", SOCKS],
        &["--socks5-hostname", SOCKS],
        &["--socks5-hostname", SOCKS, "--proxy-user", "one:x"],
        &["--socks5-hostname", SOCKS, "--proxy-user", "two:x"],
        &["-p", "-x", "http://127.0.0.1:4444"],
    ];
    for site in sites {
        for way in ways {
            let said = curl(route, way, &format!("http://{site}/ping"))?;
            if said != "pong" {
                return Err(format!("curl {} {site}: {said}", way.join(" ")));
            }
        }
    }
    for bad in ["http://127.0.0.1:8080/ping", "http://example.org/", "http://unknown.i2p/"] {
        if let Ok(said) = curl(route, &["--socks5-hostname", SOCKS], bad) {
            return Err(format!("{bad} was reached: {said}"));
        }
    }
    Ok(ways.len() * sites.len())
}

/// Servers of IRC and UDP behind a Ramson and an i2pd.
fn put_servers(world: &mut World, running: &mut Running) -> Result<(Ours, Peer), String> {
    let server = world.net.peer("server")?;
    add_to_i2pd(
        world,
        &server,
        &format!(
            "[irc]\ntype = irc\nhost = 127.0.0.1\nport = 6667\ninport = 6667\nkeys = irc.dat\nwebircpassword = {WORD}\n\
             {I2PD_SHAPE}\n[udp]\ntype = udpserver\nhost = 127.0.0.1\nport = 7100\ninport = 7\nkeys = udp.dat\n{I2PD_SHAPE}"
        ),
    )?;
    let a = ours(world, 0)?;
    serve(running, &a.namespace, &a.dir)?;
    serve(running, &server.namespace, &server.dir)?;
    let started = a.add(&format!(
        "[[server]]\nname = \"irc\"\nkind = \"irc\"\ntarget = \"127.0.0.1:6667\"\nkeys = \"irc.dat\"\n\
         webirc_password = \"{WORD}\"\n{SHAPE}\n[[server]]\nname = \"udp\"\nkind = \"udp\"\ntarget = \"127.0.0.1:7100\"\n\
         keys = \"udp.dat\"\nport = 7\n{SHAPE}"
    ))?;
    if started != 2 {
        return Err(format!("{started} of 2 servers were started by the reload"));
    }
    Ok((a, server))
}

/// Clients at another Ramson and another i2pd that lead to them.
fn put_clients(world: &World, a: &Ours, b: &Ours, server: &Peer, client: &Peer) -> Result<(), String> {
    let (our_irc, our_udp) = (a.b32("irc")?, a.b32("udp")?);
    let their_irc = address_of(&server.dir.join("data/irc.dat"))?;
    let their_udp = address_of(&server.dir.join("data/udp.dat"))?;
    add_to_i2pd(
        world,
        client,
        &format!(
            "[irc]\ntype = client\naddress = 127.0.0.1\nport = 6668\ndestination = {our_irc}\ndestinationport = 6667\n\
             keys = transient-irc\n{I2PD_SHAPE}\n[udp]\ntype = udpclient\naddress = 127.0.0.1\nport = 7101\n\
             destination = {our_udp}\ndestinationport = 7\ndatagramversion = 1\nkeys = transient-udp\n{I2PD_SHAPE}\n\
             [udp3]\ntype = udpclient\naddress = 127.0.0.1\nport = 7103\ndestination = {our_udp}\ndestinationport = 7\n\
             datagramversion = 3\nkeys = transient-udp3\n{I2PD_SHAPE}"
        ),
    )?;
    let tunnel = |name: &str, kind: &str, port: u16, to: &str, there: u16| {
        format!(
            "[[client]]\nname = \"{name}\"\nkind = \"{kind}\"\nlisten = \"127.0.0.1:{port}\"\nto = \"{to}\"\nport = {there}\n{SHAPE}\n"
        )
    };
    b.add(
        &[
            tunnel("to-ours", "irc", 6668, &our_irc, 6667),
            tunnel("to-theirs", "irc", 6669, &their_irc, 6667),
            tunnel("udp-to-ours", "udp", 7101, &our_udp, 7),
            tunnel("udp-to-theirs", "udp", 7102, &their_udp, 7),
        ]
        .concat(),
    )?;
    Ok(())
}

fn irc(b: &Ours, client: &Peer) -> Result<String, String> {
    let check = |namespace: &str, what: &str, args: &[&str], who: &str| {
        let host = ask(namespace, what, args)?;
        let odd = || format!("IRC {what}: the server sees {host}, and not who comes");
        host.contains(who).then_some(()).ok_or_else(odd)
    };
    check(&b.namespace, "ours to ours", &["_irc", "127.0.0.1:6668"], &b.b32("to-ours")?)?;
    check(&b.namespace, "ours to i2pd", &["_irc", "127.0.0.1:6669"], &b.b32("to-theirs")?)?;
    // An i2pd filters nothing, so that its program would see its own question.
    check(&client.namespace, "i2pd to ours", &["_irc", "127.0.0.1:6668", "plain"], ".b32.i2p ")?;
    Ok("IRC ours to ours, ours to i2pd, i2pd to ours: the server reads who comes".to_owned())
}

fn udp(b: &Ours, client: &Peer) -> Result<String, String> {
    let mut said = Vec::new();
    for (namespace, what, at) in [
        (&b.namespace, "ours to ours", "127.0.0.1:7101"),
        (&b.namespace, "ours to i2pd", "127.0.0.1:7102"),
        (&client.namespace, "i2pd to ours", "127.0.0.1:7101"),
        (&client.namespace, "i2pd to ours by Datagram3", "127.0.0.1:7103"),
    ] {
        said.push(format!("UDP {what}: {}", ask(namespace, what, &["_udp", "ask", at])?));
    }
    Ok(said.join("; "))
}

/// A source at one of ours, which two programs at the other hear, each through a tunnel of its own, by Datagram1 and by Datagram2;
/// when both have left, nobody is counted.
fn streamr(running: &mut Running, a: &Ours, b: &Ours) -> Result<String, String> {
    let started = a.add(&format!(
        "[[server]]\nname = \"radio\"\nkind = \"streamr\"\nlisten = \"127.0.0.1:7200\"\nkeys = \"radio.dat\"\n{SHAPE}"
    ))?;
    let radio = a.b32("radio")?;
    let hears = |port: u16, datagram: u8| {
        format!(
            "[[client]]\nname = \"radio-{datagram}\"\nkind = \"streamr\"\ntarget = \"127.0.0.1:{port}\"\nto = \"{radio}\"\n\
             datagram = {datagram}\n{SHAPE}\n"
        )
    };
    running.add(within(&a.namespace, &this_program()).args(["_udp", "source", "127.0.0.1:7200"]))?;
    let config = b.dir.join("ramson.toml");
    let before = fs::read_to_string(&config).map_err(|why| format!("{}: {why}", config.display()))?;
    if started + b.add(&[hears(7201, 1), hears(7202, 2)].concat())? != 3 {
        return Err("the streamr tunnels were not started by the reload".to_owned());
    }
    let mut said = Vec::new();
    for (what, at) in [("Datagram1", "127.0.0.1:7201"), ("Datagram2", "127.0.0.1:7202")] {
        said.push(format!("streamr, asked by {what}: {}", ask(&b.namespace, what, &["_udp", "hear", at])?));
    }
    let count = || a.tunnel("radio", "connections").map(|n| n.as_u64().unwrap_or(99));
    if count()? != 2 {
        return Err(format!("the source has {} subscribers, and not 2", count()?));
    }
    fs::write(&config, before).map_err(|why| format!("{}: {why}", config.display()))?;
    b.ask("reload")?;
    let start = Instant::now();
    while count()? > 0 {
        if start.elapsed() > Duration::from_secs(30) {
            return Err(format!("{} still hear after they have left", count()?));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    said.push(format!("both have left {} ms after they were stopped", start.elapsed().as_millis()));
    Ok(said.join("; "))
}

/// The scenario.
pub(crate) fn tunnels(world: &mut World) -> Result<String, String> {
    let mut running = Running(Vec::new());
    let (a, server) = put_servers(world, &mut running)?;
    let (b, client) = (ours(world, 1)?, world.net.peer("client")?);
    put_clients(world, &a, &b, &server, &client)?;
    let sites = [world.their_site()?, world.our_site(0)?];
    let route = world.ours(1)?;
    for site in &sites {
        until_page(&route, site, Duration::from_secs(180))?;
    }
    let pages = format!("curl read {} pages by SOCKS4a, SOCKS5 and CONNECT", proxies(&route, &sites)?);
    let said = [pages, irc(&b, &client)?, udp(&b, &client)?, streamr(&mut running, &a, &b)?].join("; ");
    if b.tunnel("to-ours", "bytes_in")?.as_u64().unwrap_or(0) == 0 {
        return Err("`ramson tunnels` has counted nothing".to_owned());
    }
    Ok(said)
}
