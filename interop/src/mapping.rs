//! Port mapping against Debian's miniupnpd in the translator of a subject: by PCP and by UPnP, until the router stops.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cache;
use crate::nat::{Behind, Nat};
use crate::net::within;
use crate::scenarios::seconds;
use crate::subject::Place;
use crate::world::World;

/// The router asks at once; a search takes some seconds where the first ways fail.
const MAPPED: Duration = Duration::from_secs(60);

fn folder() -> PathBuf {
    cache().join("miniupnpd")
}

fn program() -> PathBuf {
    folder().join("root/usr/sbin/miniupnpd")
}

/// Unpacks it and what it is linked with; nothing is installed.
pub(crate) fn fetch() -> Result<(), String> {
    if program().exists() {
        return Ok(());
    }
    let script = "set -e; mkdir -p debs; cd debs; apt-get -q download miniupnpd-nftables libnftnl11 libmnl0; cd ..; \
        for deb in debs/*.deb; do dpkg-deb -x \"$deb\" root; done";
    fs::create_dir_all(folder()).map_err(|why| format!("{}: {why}", folder().display()))?;
    let out = Command::new("sh").args(["-c", script]).current_dir(folder()).output();
    let out = out.map_err(|why| format!("sh: {why}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("miniupnpd cannot be had: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

/// miniupnpd at work; it ends with this.
struct Gateway {
    child: Child,
    namespace: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    /// With PCP and NAT-PMP, or with UPnP.
    fn start(world: &World, behind: &Behind, upnp: bool) -> Result<Self, String> {
        if !program().exists() {
            return Err("miniupnpd is not unpacked: `fetch mapping` does that".to_owned());
        }
        let namespace = behind.translator.clone();
        nft(&namespace, "add table inet mapper\nflush table inet mapper\ndelete table inet mapper\n")?;
        nft(
            &namespace,
            "table inet mapper {\n chain prerouting { type nat hook prerouting priority -101; jump upnp_pre\n }\n \
             chain postrouting { type nat hook postrouting priority 99; jump upnp_post\n }\n \
             chain upnp_pre { }\n chain upnp_post { }\n chain upnp_forward { }\n}\n",
        )?;
        let [pcp, upnp] = [!upnp, upnp].map(|on| if on { "yes" } else { "no" });
        let conf = format!(
            "ext_ifname=eth0\next_ip={}\nlistening_ip=lan0\nenable_natpmp={pcp}\nenable_upnp={upnp}\nsecure_mode=yes\n\
             ipv6_disable=yes\nuuid=00000000-1111-2222-3333-444444444444\nserial=1\nmodel_number=1\n\
             upnp_table_name=mapper\nupnp_nat_table_name=mapper\nupnp_forward_chain=upnp_forward\n\
             upnp_nat_chain=upnp_pre\nupnp_nat_postrouting_chain=upnp_post\n\
             allow 1024-65535 0.0.0.0/0 1024-65535\n",
            behind.outside
        );
        let file = world.net.run.join(format!("{}-miniupnpd.conf", behind.name));
        fs::write(&file, conf).map_err(|why| format!("{}: {why}", file.display()))?;
        let log = fs::File::create(world.net.run.join(format!("{}-miniupnpd.log", behind.name)));
        let log = log.map_err(|why| why.to_string())?;
        let log_too = log.try_clone().map_err(|why| why.to_string())?;
        let mut command = within(&namespace, &program().to_string_lossy());
        let libraries = format!("{}/root/usr/lib/{}-linux-gnu", folder().display(), std::env::consts::ARCH);
        command.env("LD_LIBRARY_PATH", libraries).arg("-d").arg("-f").arg(&file);
        command.arg("-P").arg(world.net.run.join(format!("{}-miniupnpd.pid", behind.name)));
        let child = command.stdout(log).stderr(log_too).spawn().map_err(|why| format!("miniupnpd: {why}"))?;
        world.net.remember(child.id());
        Ok(Self { child, namespace })
    }

    /// The lines of its tables that lead inside.
    fn forwarded(&self) -> Result<Vec<String>, String> {
        let mut list = within(&self.namespace, "nft");
        let out =
            list.args(["list", "chain", "inet", "mapper", "upnp_pre"]).output().map_err(|why| format!("nft: {why}"))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        Ok(text.lines().filter(|line| line.contains("dnat")).map(|line| line.trim().to_owned()).collect())
    }
}

fn nft(namespace: &str, rules: &str) -> Result<(), String> {
    use std::io::Write;
    let mut command = within(namespace, "nft");
    let child = command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|why| format!("nft: {why}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(rules.as_bytes()).map_err(|why| format!("nft: {why}"))?;
    }
    let out = child.wait_with_output().map_err(|why| format!("nft: {why}"))?;
    if out.status.success() { Ok(()) } else { Err(format!("nft: {}", String::from_utf8_lossy(&out.stderr).trim())) }
}

/// What the subject says that a gateway forwards, once it says so.
fn mapped(world: &mut World, subject: usize) -> Result<Vec<String>, String> {
    let limit = Instant::now() + MAPPED;
    loop {
        let status = world.subject(subject)?.status();
        let said = status.as_ref().and_then(|status| status.pointer("/reachability/mapped")).and_then(Value::as_array);
        let said: Vec<String> = said.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if !said.is_empty() {
            return Ok(said);
        }
        if Instant::now() > limit {
            return Err(format!("nothing is mapped after {}", seconds(MAPPED)));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// By each protocol: both ports are forwarded, somebody outside reaches the router there, and after its end they are not
/// forwarded any more.
pub(crate) fn mapping(world: &mut World) -> Result<String, String> {
    let kind = world.kind().clone();
    let subject = world.add(&kind, Place::Behind(Nat::PortRestricted))?;
    let behind = world.subject(subject)?.behind.clone().ok_or("the subject is behind nothing")?;
    world.subject(subject)?.stop("TERM")?;
    world.stopped(subject)?.add_to_config("\n[port_mapping]\nenabled = true\n")?;
    let (outside, _) = world.net.attach("outside")?;
    let mut said = Vec::new();
    for (upnp, name) in [(false, "PCP"), (true, "UPnP")] {
        let gateway = Gateway::start(world, &behind, upnp)?;
        // It opens its sockets first.
        std::thread::sleep(Duration::from_millis(500));
        let start = Instant::now();
        world.restart(subject)?;
        let lines = mapped(world, subject).map_err(|why| format!("{name}: {why}"))?;
        let wanted = ["UDP", "TCP"].map(|what| format!("{what} {}:23456 by {name}", behind.outside));
        if lines != wanted {
            return Err(format!("{name}: mapped is {lines:?}, and should be {wanted:?}"));
        }
        let after = seconds(start.elapsed());
        let rules = gateway.forwarded()?;
        if rules.len() != 2 || !rules.iter().all(|rule| rule.contains(&behind.inside)) {
            return Err(format!("{name}: the gateway forwards {rules:?}"));
        }
        let mut connect = within(&outside, "bash");
        let line = format!("exec 3<>/dev/tcp/{}/23456", behind.outside);
        let status = connect.args(["-c", &line]).status().map_err(|why| format!("bash: {why}"))?;
        if !status.success() {
            return Err(format!("{name}: nobody outside reaches {}:23456", behind.outside));
        }
        world.subject(subject)?.stop("TERM")?;
        let left = gateway.forwarded()?;
        if !left.is_empty() {
            return Err(format!("{name}: after the end the gateway forwards {left:?}"));
        }
        said.push(format!("{name}: both ports after {after}, reached from outside, gone at the end"));
    }
    Ok(said.join("; "))
}
