//! A Java router in a namespace of its own: its configuration, its process, and what it says of itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::watch::Watch;
use crate::net::{Net, home, this_program, within};
use crate::subject::{address_of, base64_of};
use crate::world::Route;

/// Until a router has made its keys.
const KEYS: Duration = Duration::from_secs(120);
/// Until its exploratory tunnels stand and its own programs have begun. It refuses all tunnels of others in its first
/// 90 seconds, and has no tunnels itself before they accept some.
const RUNNING: Duration = Duration::from_secs(300);
/// Where a router tells what it counts, in its namespace.
const WATCH: &str = "http://127.0.0.1:7070/";

/// What a Java router is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) floodfill: bool,
}

/// A Java router that runs. It ends with this.
pub(crate) struct Router {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) ip: String,
    pub(crate) dir: PathBuf,
    role: Role,
    child: Child,
    web: Child,
}

/// Compiles Java's router, unless that was done before. `Ok(None)` where it cannot be had.
pub(crate) fn compiled() -> Result<Option<PathBuf>, String> {
    let folder = crate::cache().join("i2p-java-router");
    let out = Command::new(home().join("java/get-router.sh")).arg(&folder).output();
    let out = out.map_err(|why| format!("get-router.sh: {why}"))?;
    let said = String::from_utf8_lossy(&out.stdout);
    match out.status.code() {
        Some(0) => Ok(Some(folder)),
        Some(3) => {
            println!("     SKIP Java's router: {}", said.trim());
            Ok(None)
        }
        _ => Err(format!("get-router.sh: {}{}", said, String::from_utf8_lossy(&out.stderr))),
    }
}

impl Router {
    /// Starts a router that knows whom the network's seeds name.
    pub(crate) fn start(net: &Net, java: &Path, name: &str, role: Role) -> Result<Self, String> {
        let (namespace, ip) = net.attach(name)?;
        let dir = net.run.join(name);
        let written = |why: std::io::Error| format!("{}: {why}", dir.display());
        fs::create_dir_all(dir.join("netDb")).map_err(written)?;
        for seed in fs::read_dir(net.run.join("seed")).map_err(written)? {
            let seed = seed.map_err(written)?;
            fs::copy(seed.path(), dir.join("netDb").join(seed.file_name())).map_err(written)?;
        }
        for (file, text) in [
            ("router.config", router_config(&ip, role)),
            ("clients.config", CLIENTS.to_owned()),
            ("i2ptunnel.config", TUNNELS.to_owned()),
            ("logger.config", logger_config()),
            // Without it, the router does not take the folder for one of its own.
            ("hosts.txt", String::new()),
        ] {
            fs::write(dir.join(file), text).map_err(written)?;
        }
        let web = within(&namespace, &this_program()).args(["_web", "127.0.0.1:8080"]).arg(&net.run).spawn();
        let web = web.map_err(|why| format!("web server: {why}"))?;
        net.remember(web.id());
        let out = fs::File::create(dir.join("stdout")).map_err(written)?;
        let errors = out.try_clone().map_err(written)?;
        let shown = dir.display();
        let path = format!("{}:{}", java.join("router").display(), java.join("watch").display());
        let mut command = within(&namespace, "java");
        command.current_dir(&dir).args(["-Xmx192m", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"]);
        command.args(["base", "config", "pid", "temp"].map(|part| format!("-Di2p.dir.{part}={shown}")));
        command.args(["-Djava.awt.headless=true", "-cp", &path, "net.i2p.router.RouterLaunch"]);
        let child = command.stdout(out).stderr(errors).stdin(Stdio::null()).spawn();
        let child = child.map_err(|why| format!("java: {why}"))?;
        net.remember(child.id());
        Ok(Self { name: name.to_owned(), namespace, ip, dir, role, child, web })
    }

    /// Waits until its RouterInfo says where it is and whether it is a floodfill, which the first one does not; the file.
    pub(crate) fn info(&mut self) -> Result<PathBuf, String> {
        let (file, end) = (self.dir.join("router.info"), Instant::now() + KEYS);
        while !says(&fs::read(&file).unwrap_or_default(), &self.ip, self.role.floodfill) {
            self.patience(end, "no RouterInfo with an address")?;
        }
        Ok(file)
    }

    /// Whether it publishes that it is reachable.
    pub(crate) fn says_reachable(&self) -> bool {
        fs::read(self.dir.join("router.info")).is_ok_and(|info| caps(&info).contains(&b'R'))
    }

    /// Puts a RouterInfo where it looks for new ones every two minutes.
    pub(crate) fn learn(&self, info: &Path) -> Result<(), String> {
        let name = format!("routerInfo-{}.dat", base64_of(info)?);
        let written = fs::copy(info, self.dir.join("netDb").join(name));
        written.map(|_| ()).map_err(|why| format!("{}: {why}", info.display()))
    }

    /// Waits until its own programs have begun, which it does when its exploratory tunnels stand.
    pub(crate) fn until_running(&mut self) -> Result<(), String> {
        let end = Instant::now() + RUNNING;
        while !(self.dir.join("site.dat").exists() && self.watch().is_ok_and(|watch| watch.running)) {
            self.patience(end, "it has not begun")?;
        }
        Ok(())
    }

    fn patience(&mut self, end: Instant, what: &str) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("{} ended by itself: {status}\n{}", self.name, self.log_tail()));
        }
        if Instant::now() > end {
            return Err(format!("{}: {what} in time\n{}", self.name, self.log_tail()));
        }
        std::thread::sleep(Duration::from_millis(250));
        Ok(())
    }

    /// The host name of the eepsite behind its tunnel.
    pub(crate) fn site(&self) -> Result<String, String> {
        address_of(&self.dir.join("site.dat"))
    }

    /// Through its HTTP proxy.
    pub(crate) fn route(&self) -> Route {
        Route { namespace: self.namespace.clone(), what: format!("Java's {}", self.name) }
    }

    /// What it counts.
    pub(crate) fn watch(&self) -> Result<Watch, String> {
        let out = within(&self.namespace, "curl").args(["-sS", "--max-time", "5", WATCH]).output();
        let out = out.map_err(|why| format!("curl: {why}"))?;
        if !out.status.success() {
            return Err(format!("{}: {}", self.name, String::from_utf8_lossy(&out.stderr).trim()));
        }
        Watch::parse(&String::from_utf8_lossy(&out.stdout)).map_err(|why| format!("{}: {why}", self.name))
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let read = |name: &str| fs::read(self.dir.join(name)).unwrap_or_default();
        let text = [read("stdout"), read("log-0.txt")].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        for child in [&mut self.child, &mut self.web] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a RouterInfo holds this address, and the capability of a floodfill where that is wanted.
fn says(info: &[u8], ip: &str, floodfill: bool) -> bool {
    info.windows(ip.len()).any(|part| part == ip.as_bytes()) && (!floodfill || caps(info).contains(&b'f'))
}

/// The capabilities of a RouterInfo: they stand last, behind those of its addresses.
fn caps(info: &[u8]) -> &[u8] {
    let caps = info.windows(5).rposition(|part| part == b"caps=").and_then(|at| info.get(at + 6..));
    caps.map_or(&[][..], |rest| rest.split(|byte| *byte == b';').next().unwrap_or_default())
}

/// A router of a private network: it takes private addresses and hops of one subnet, knows its own address, asks nobody
/// for the time or for routers, and serves others as soon as it may.
fn router_config(ip: &str, role: Role) -> String {
    let floodfill = role.floodfill;
    format!(
        "router.networkID=99\ni2np.allowLocal=true\nrouter.reseedDisable=true\nrouter.blocklist.enable=false\n\
         router.sybilFrequency=0\nrouter.updateDisabled=true\nrouter.rebuildKeys=false\nrouter.rejectStartupTime=0\n\
         router.floodfillParticipant={floodfill}\nrouter.sharePercentage=80\ni2p.insecureFiles=true\nstat.full=true\n\
         time.disabled=true\ntime.sntpServerList=localhost\n\
         i2np.bandwidth.inboundKBytesPerSecond=4000\ni2np.bandwidth.inboundBurstKBytesPerSecond=4000\n\
         i2np.bandwidth.inboundBurstKBytes=40000\ni2np.bandwidth.outboundKBytesPerSecond=4000\n\
         i2np.bandwidth.outboundBurstKBytesPerSecond=4000\ni2np.bandwidth.outboundBurstKBytes=40000\n\
         i2np.ipv4.firewalled=false\ni2np.ipv6.firewalled=false\ni2np.lastIPv6Firewalled=false\n\
         i2np.upnp.enable=false\ni2np.laptopMode=false\n\
         i2np.ntcp.enable=true\ni2np.ntcp.autoip=false\ni2np.ntcp.hostname={ip}\ni2np.ntcp.autoport=false\n\
         i2np.ntcp.port=23456\ni2np.udp.enable=true\ni2np.udp.addressSources=hidden\ni2np.udp.host={ip}\n\
         i2np.udp.port=23456\ni2np.udp.internalPort=23456\n"
    )
}

/// Everything at WARN, or what `INTEROP_JAVA_LOG` names at DEBUG: classes and packages, with commas.
fn logger_config() -> String {
    let more = std::env::var("INTEROP_JAVA_LOG").unwrap_or_default();
    let more: String =
        more.split(',').filter(|name| !name.is_empty()).map(|name| format!("logger.record.{name}=DEBUG\n")).collect();
    format!(
        "logger.format=d p [t] c: m\nlogger.defaultLevel=WARN\nlogger.logFileName=log-@.txt\nlogger.logFileSize=40m\n{more}"
    )
}

const CLIENTS: &str = "clientApp.0.main=net.i2p.sam.SAMBridge\nclientApp.0.name=SAM\nclientApp.0.delay=0\n\
    clientApp.0.args=sam.keys 127.0.0.1 7656 i2cp.tcp.host=127.0.0.1 i2cp.tcp.port=7654\nclientApp.0.startOnLoad=true\n\
    clientApp.1.main=net.i2p.i2ptunnel.TunnelControllerGroup\nclientApp.1.name=tunnels\nclientApp.1.delay=0\n\
    clientApp.1.args=i2ptunnel.config\nclientApp.1.startOnLoad=true\n\
    clientApp.2.main=Watch\nclientApp.2.name=watch\nclientApp.2.delay=0\nclientApp.2.args=7070\n\
    clientApp.2.startOnLoad=true\n";

/// An HTTP proxy, and a server with Ed25519 and X25519 keys; three hops, three tunnels each way.
const TUNNELS: &str = "tunnel.0.name=proxy\ntunnel.0.type=httpclient\ntunnel.0.interface=127.0.0.1\n\
    tunnel.0.listenPort=4444\ntunnel.0.sharedClient=false\ntunnel.0.startOnLoad=true\ntunnel.0.i2cpHost=127.0.0.1\n\
    tunnel.0.i2cpPort=7654\ntunnel.0.option.inbound.length=3\ntunnel.0.option.outbound.length=3\n\
    tunnel.0.option.inbound.quantity=3\ntunnel.0.option.outbound.quantity=3\ntunnel.0.option.i2cp.leaseSetEncType=4\n\
    tunnel.1.name=site\ntunnel.1.type=server\ntunnel.1.targetHost=127.0.0.1\ntunnel.1.targetPort=8080\n\
    tunnel.1.privKeyFile=site.dat\ntunnel.1.startOnLoad=true\ntunnel.1.i2cpHost=127.0.0.1\ntunnel.1.i2cpPort=7654\n\
    tunnel.1.option.i2cp.destination.sigType=7\ntunnel.1.option.i2cp.leaseSetEncType=4\n\
    tunnel.1.option.inbound.length=3\ntunnel.1.option.outbound.length=3\n\
    tunnel.1.option.inbound.quantity=3\ntunnel.1.option.outbound.quantity=3\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn router_infos_say_where_and_what_they_are() {
        let info = b"\x05SSU2\x04caps=\x014;\x04host=\x0a10.110.0.1;\x04caps=\x04XfRD;\x05netId=\x0299;";
        assert!(says(info, "10.110.0.1", true) && says(info, "10.110.0.1", false));
        assert!(!says(info, "10.110.0.2", false));
        let early = b"\x04host=\x0a10.110.0.1;\x04caps=\x02XD;\x05netId=\x0299;";
        assert!(says(early, "10.110.0.1", false) && !says(early, "10.110.0.1", true));
        assert!(!says(b"\x04caps=\x02XD;", "10.110.0.1", false) && !says(b"", "10.110.0.1", true));
    }
}
