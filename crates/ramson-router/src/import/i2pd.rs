//! i2pd: i2pd.conf, tunnels.conf and tunnels.d, key files, the address book.

use super::feeds::feeds;
use super::lines::{self, At, Format, Setting, files_of, is_true};
use super::plan::{Plan, Tunnel, lengths, list, number, read_keys, socket};
use ramson_services::names::{Host, HostName, I2pUrl};
use ramson_wire::codec::Decode;
use ramson_wire::data::router_address::is_public;
use ramson_wire::data::{Destination, base32};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use toml_edit::Value;

/// Bytes of an index of the address book, and of a destination in it.
const INDEX_BYTES: u64 = 16 << 20;
const DESTINATION_BYTES: u64 = 4096;
/// Streams of a server at once; i2pd's own number when nothing was set is 2048.
const MOST_STREAMS: i64 = 65_535;

/// The data folder, or one that has the config files only: then `keys` is where the key files are.
pub(super) fn folder(folder: &Path, keys: &Path, plan: &mut Plan) {
    let there = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    // Where it is, the list in the config counts for nothing.
    if let Some(file) = there("subscriptions.txt") {
        super::feeds::subscriptions(&file, plan);
    }
    if let Some(file) = there("i2pd.conf") {
        main_file(&file, plan);
    }
    if let Some(file) = there("tunnels.conf") {
        tunnels_file(&file, keys, plan);
    }
    // The second is Debian's.
    for apart in ["tunnels.d", "tunnels.conf.d"] {
        for file in files_of(&folder.join(apart), "conf") {
            tunnels_file(&file, keys, plan);
        }
    }
    if let Some(book) =
        there("addressbook").filter(|book| book.join("addresses.csv").exists() || book.join("local.csv").exists())
    {
        for index in ["local.csv", "addresses.csv"] {
            index_file(&book, index, plan);
        }
    }
    if there("router.keys").is_some() && there("router.info").is_some() {
        plan.notes
            .push("the other router's identity stays its own: this one has a new one, which costs nothing".into());
    }
}

/// i2pd.conf.
pub(super) fn main_file(file: &Path, plan: &mut Plan) {
    let settings = match lines::settings(file, Format::Options) {
        Ok(settings) => settings,
        Err(why) => return plan.left.push(why),
    };
    let all: BTreeMap<(String, String), Setting> =
        settings.iter().map(|s| ((s.section.clone(), s.key.clone()), s.clone())).collect();
    let value = |section: &str, key: &str| all.get(&(section.to_owned(), key.to_owned())).map(|s| s.value.as_str());
    address(plan, &all);
    for s in &settings {
        match (s.section.as_str(), s.key.as_str()) {
            ("", "netid") => match s.value.parse() {
                Ok(id) => plan.network = Some(id),
                Err(_) => plan.leave(s, "is no number of a network"),
            },
            ("", "bandwidth") => bandwidth(plan, s),
            ("", "share") => counted(plan, s, ("bandwidth", "share"), 100),
            ("", "notransit") => plan.set(&s.at, "transit", "enabled", !is_true(&s.value)),
            ("", "floodfill") => plan.set(&s.at, "netdb", "floodfill", if is_true(&s.value) { "yes" } else { "no" }),
            ("limits", "transittunnels") => counted(plan, s, ("transit", "max_tunnels"), 1_000_000),
            ("", "loglevel") => match s.value.as_str() {
                level @ ("debug" | "info" | "warn" | "error") => plan.set(&s.at, "log", "level", level),
                "critical" | "none" => plan.set(&s.at, "log", "level", "error"),
                _ => plan.leave(s, "is no level of ours"),
            },
            ("httpproxy" | "sam" | "socksproxy", "enabled") => {
                plan.set(&s.at, ours(&s.section), "enabled", is_true(&s.value));
            }
            ("httpproxy" | "sam" | "socksproxy", "address") => {}
            ("httpproxy" | "sam" | "socksproxy", "port") => service(plan, s, value(&s.section, "address")),
            ("sam", "portudp") => match socket(value("sam", "address").unwrap_or("127.0.0.1"), &s.value) {
                Ok(at) if at.ip().is_loopback() => plan.set(&s.at, "sam", "udp", at.to_string()),
                Ok(_) => plan.leave(s, "is open to others, which needs a password in [sam]"),
                Err(why) => plan.leave(s, &why),
            },
            ("httpproxy" | "socksproxy", "inbound.length" | "outbound.length") => {
                hops(plan, s, ours(&s.section), "hops", &all);
            }
            ("httpproxy" | "socksproxy", "inbound.quantity" | "outbound.quantity") => {
                hops(plan, s, ours(&s.section), "quantity", &all);
            }
            ("httpproxy", "outproxy") => outproxy(plan, s),
            ("exploratory", "inbound.length" | "outbound.length") => hops(plan, s, "tunnels", "exploratory_hops", &all),
            ("exploratory", "inbound.quantity" | "outbound.quantity") => {
                hops(plan, s, "tunnels", "exploratory_quantity", &all);
            }
            ("ntcp2" | "ssu2", "proxy") if !s.value.is_empty() => proxy(plan, s, "ntcp2"),
            ("reseed", "proxy") if !s.value.is_empty() => proxy(plan, s, "reseed"),
            ("reseed", "urls") if !s.value.is_empty() => reseed_urls(plan, s),
            ("reseed", "file" | "zipfile") if s.value.starts_with('/') => {
                plan.set(&s.at, "reseed", "files", list([s.value.as_str()]));
            }
            ("addressbook", "subscriptions") => feeds(plan, s, s.value.split(',')),
            ("", "tunconf" | "tunnelsdir") if !s.value.is_empty() => {
                plan.notes.push(format!("{}: {} = {}: import that by itself, with --keys", s.at, s.key, s.value));
            }
            // Where the other keeps what is its own.
            (
                "",
                "datadir" | "certsdir" | "pidfile" | "log" | "logfile" | "logclftime" | "daemon" | "service" | "host"
                | "port" | "ipv4" | "nat",
            ) => {}
            ("ntcp2", "port" | "published" | "enabled") => {}
            ("addressbook", "defaulturl") | ("persist" | "precomputation" | "cpuext", _) => {}
            ("upnp", "enabled") if is_true(&s.value) => plan.set(&s.at, "port_mapping", "enabled", true),
            (_, key) if key == "enabled" && !is_true(&s.value) => {}
            _ => plan.leave(s, why_not(&s.section, &s.key)),
        }
    }
}

fn counted(plan: &mut Plan, s: &Setting, (section, key): (&'static str, &'static str), most: i64) {
    match number(&s.value, 0, most) {
        Some(n) => plan.set(&s.at, section, key, n),
        None => plan.leave(s, &format!("is no number from 0 to {most}")),
    }
}

fn why_not(section: &str, key: &str) -> &'static str {
    match section {
        "ssu2" => "SSU2 is on here, at the port of NTCP2; `[ssu2]` has its own settings",
        "socksproxy" => "what is clear goes to outproxies inside I2P only here",
        "i2cp" => "the I2CP port is set up by hand",
        "bob" => "there is no BOB here; SAM does what it did",
        "http" => "there is no web console here: `ramson status` says how the router is",
        "i2pcontrol" => "I2PControl is set up by hand",
        "trust" => "peers are not limited to some here",
        "meshnets" => "there is no other network below than the Internet",
        "nettime" => "the clock is compared with peers, and not set",
        "" if key == "family" => "a family's signing key cannot be used here",
        _ => "nothing here corresponds to it",
    }
}

fn ours(section: &str) -> &'static str {
    match section {
        "sam" => "sam",
        "socksproxy" => "socks",
        _ => "http_proxy",
    }
}

/// An outproxy inside I2P.
fn outproxy(plan: &mut Plan, s: &Setting) {
    match I2pUrl::parse(&s.value) {
        Ok(url) => {
            plan.set(&s.at, "http_proxy", "outproxy", url.host_name());
            if url.port() != 80 {
                plan.set(&s.at, "http_proxy", "outproxy_port", i64::from(url.port()));
            }
            plan.notes.push("the outproxy carries TLS only, unless outproxy_plain says otherwise".into());
        }
        Err(why) => plan.leave(s, &why.to_string()),
    }
}

/// Where peers find us.
fn address(plan: &mut Plan, all: &BTreeMap<(String, String), Setting>) {
    let get = |section: &str, key: &str| all.get(&(section.to_owned(), key.to_owned()));
    let port = get("ntcp2", "port").filter(|s| s.value != "0").or(get("", "port"));
    if let Some(port) = port {
        match port.value.parse::<u16>() {
            Ok(number) if number > 0 => {
                plan.set(&port.at, "ntcp2", "listen", list([format!("0.0.0.0:{number}").as_str()]));
            }
            _ => plan.leave(port, "is no port"),
        }
    }
    let Some(host) = get("", "host") else { return };
    let hidden = get("ntcp2", "published").is_some_and(|s| !is_true(&s.value));
    match (host.value.parse::<IpAddr>(), port.and_then(|port| port.value.parse::<u16>().ok())) {
        (Ok(ip), Some(port)) if !hidden && is_public(ip) => {
            let at = std::net::SocketAddr::new(ip, port).to_string();
            plan.set(&host.at, "ntcp2", "publish", list([at.as_str()]));
        }
        (Ok(_), _) => plan.leave(host, "an address is told to others only if it is public and has a port"),
        (Err(_), _) => plan.leave(host, "addresses are in numbers here"),
    }
}

fn bandwidth(plan: &mut Plan, s: &Setting) {
    let kilobytes = match s.value.as_str() {
        "L" => Some(32),
        "O" => Some(256),
        "P" => Some(2048),
        "X" => return,
        number => number.parse::<u32>().ok().filter(|n| *n >= 16),
    };
    match kilobytes {
        Some(n) => {
            for key in ["in", "out"] {
                plan.set(&s.at, "bandwidth", key, format!("{n} KB/s"));
            }
        }
        None => plan.leave(s, "a limit is at least 16 KB/s here"),
    }
}

/// Where a service listens; beyond this computer only with a password, which the other's cannot give.
fn service(plan: &mut Plan, s: &Setting, address: Option<&str>) {
    match socket(address.unwrap_or("127.0.0.1"), &s.value) {
        Ok(at) if at.ip().is_loopback() => plan.set(&s.at, ours(&s.section), "listen", at.to_string()),
        Ok(_) => plan.leave(s, "is open to others, which needs a user and a password here"),
        Err(why) => plan.leave(s, &why),
    }
}

/// One length or quantity for both ways: the larger.
fn hops(
    plan: &mut Plan,
    s: &Setting,
    section: &'static str,
    key: &'static str,
    all: &BTreeMap<(String, String), Setting>,
) {
    let (least, most) = if key.ends_with("hops") { (0, 7) } else { (1, 16) };
    let (way, what) = s.key.split_once('.').unwrap_or_default();
    let other = if way == "inbound" { "outbound" } else { "inbound" };
    let other = all.get(&(s.section.clone(), format!("{other}.{what}"))).and_then(|o| number(&o.value, least, most));
    match number(&s.value, least, most) {
        Some(n) if other.is_none_or(|other| other < n || other == n && way == "inbound") => {
            plan.set(&s.at, section, key, n);
        }
        Some(_) => {}
        None => plan.leave(s, "is out of range here"),
    }
}

fn proxy(plan: &mut Plan, s: &Setting, section: &'static str) {
    let rest = s.value.split_once("://");
    match rest {
        Some((scheme @ ("socks" | "socks5" | "http"), at))
            if at
                .rsplit('@')
                .next()
                .is_some_and(|at| at.trim_end_matches('/').parse::<std::net::SocketAddr>().is_ok()) =>
        {
            let scheme = if scheme == "http" { "http" } else { "socks5" };
            plan.set(&s.at, section, "proxy", format!("{scheme}://{at}"));
        }
        _ => plan.leave(s, "a proxy is socks5://address:port or http://address:port here, with the address in numbers"),
    }
}

fn reseed_urls(plan: &mut Plan, s: &Setting) {
    let (good, bad): (Vec<&str>, Vec<&str>) =
        s.value.split(',').map(str::trim).partition(|url| url.starts_with("https://"));
    if !bad.is_empty() {
        plan.leave(s, "reseed servers are asked by https:// only");
    }
    if !good.is_empty() {
        plan.set(&s.at, "reseed", "servers", list(good));
    }
}

/// tunnels.conf, and files of its kind. `data` is where its key files are.
pub(super) fn tunnels_file(file: &Path, data: &Path, plan: &mut Plan) {
    let settings = match lines::settings(file, Format::Tunnels) {
        Ok(settings) => settings,
        Err(why) => return plan.left.push(why),
    };
    for all in settings.chunk_by(|a, b| a.block == b.block) {
        let name = all.first().map(|s| s.section.as_str()).unwrap_or_default();
        let section = Section { name, all, data };
        if let Err(why) = section.carry_over(plan) {
            let at = section.all.first().map(|s| s.at.to_string()).unwrap_or_default();
            plan.left.push(format!("{at}: the tunnel {name}: {why}"));
        }
    }
}

/// One tunnel.
struct Section<'a> {
    name: &'a str,
    all: &'a [Setting],
    data: &'a Path,
}

impl Section<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.all.iter().find(|s| s.key == key).map(|s| s.value.as_str()).filter(|value| !value.is_empty())
    }

    fn carry_over(&self, plan: &mut Plan) -> Result<(), String> {
        let encrypted = self.get("i2cp.leaseSetType").is_some_and(|kind| kind == "5");
        if encrypted {
            return Err("its LeaseSet is encrypted, which cannot be done here yet: it would be open to all".into());
        }
        let kind = self.get("type").ok_or("it has no type")?;
        match kind {
            "client" | "udpclient" => self.client(plan, kind),
            "server" | "http" | "irc" | "udpserver" => self.server(plan, kind),
            "socks" | "websocks" | "httpproxy" => Err(format!("tunnels of type {kind} are set up by hand")),
            _ => Err(format!("nobody knows the type {kind}")),
        }
    }

    fn client(&self, plan: &mut Plan, kind: &str) -> Result<(), String> {
        let at = socket(self.get("address").unwrap_or("127.0.0.1"), self.get("port").ok_or("it has no port")?)?;
        if !at.ip().is_loopback() {
            return Err(format!("{at} is open to others: client tunnels listen on this computer only"));
        }
        let to = self.get("destination").ok_or("it has no destination")?;
        let (to, port) = to.split_once(':').unwrap_or((to, ""));
        Host::parse(to).map_err(|e| format!("{to}: {e}"))?;
        let mut keys = vec![("listen", Value::from(at.to_string())), ("to", Value::from(to))];
        if let Some(port) = self.get("destinationport").or(Some(port)).filter(|port| !port.is_empty() && *port != "0") {
            keys.push(("port", number(port, 1, 65_535).ok_or("its port is none")?.into()));
        }
        lengths(&mut keys, |key| self.get(key));
        if kind == "udpclient" {
            keys.push(("kind", "udp".into()));
            if let Some(version) = self.get("datagramversion").and_then(|version| number(version, 1, 3)) {
                keys.push(("datagram", version.into()));
            }
        } else if self.get("keys") == Some("shareddest") {
            keys.push(("shared", true.into()));
        }
        let mut private = None;
        // One that was never started has none.
        let file = self.get("keys").filter(|file| !file.starts_with("transient") && *file != "shareddest");
        let file = file.filter(|file| self.data.join(file).exists());
        if let Some(file) = file {
            let own = read_keys(&self.data.join(file), &mut plan.notes)?;
            let copy = plan.key_file(self.name, &own);
            keys.push(("keys", copy.as_str().into()));
            private = Some((copy, own));
        }
        let known = ["type", "address", "port", "destination", "destinationport", "keys", "datagramversion"];
        self.finish(plan, "client", keys, private, &known)
    }

    fn server(&self, plan: &mut Plan, kind: &str) -> Result<(), String> {
        if self.get("ssl").is_some_and(is_true) {
            return Err("its server speaks TLS, which is not spoken to local servers here".into());
        }
        let target = socket(self.get("host").unwrap_or("127.0.0.1"), self.get("port").ok_or("it has no port")?)?;
        let file = self.get("keys").ok_or("it has no keys")?;
        if file.starts_with("transient") || file == "shareddest" {
            return Err("it has another address at each start, which servers do not have here".into());
        }
        let keys = read_keys(&self.data.join(file), &mut plan.notes)?;
        let ours = plan.key_file(self.name, &keys);
        let mut settings = vec![
            ("kind", Value::from(ours_of(kind))),
            ("target", target.to_string().into()),
            ("keys", ours.as_str().into()),
        ];
        if let Some(host) = self.get("hostoverride").filter(|_| kind == "http") {
            settings.push(("host", host.into()));
        }
        let inport = self.get("inport").map(|port| number(port, 0, 65_535).ok_or("its inport is none")).transpose()?;
        // The first of a destination gets what comes to no port of another one.
        let same = plan.servers_of(&keys);
        if same.iter().any(|other| is_datagrams(other) == (kind == "udpserver")) {
            let port = inport.unwrap_or(i64::from(target.port()));
            if port > 0 {
                settings.push(("port", port.into()));
            }
        }
        if let Some(password) = self.get("webircpassword").filter(|_| kind == "irc") {
            settings.push(("webirc_password", password.into()));
        }
        // Its name of before.
        if let Some(allowed) = self.get("accesslist").or(self.get("whitelist")) {
            let allowed: Vec<String> = allowed.split(',').map(|who| full_b32(who.trim())).collect();
            settings.push(("allow", list(allowed.iter().map(String::as_str))));
        }
        // They have the tunnels of their destination, and so of its first.
        match plan.servers_of(&keys).first() {
            Some(first) => {
                settings.extend(first.keys.iter().filter(|(key, _)| matches!(*key, "hops" | "quantity")).cloned());
            }
            None => lengths(&mut settings, |key| self.get(key)),
        }
        if let Some(most) = self.get("i2p.streaming.maxConcurrentStreams").and_then(|n| number(n, 1, MOST_STREAMS)) {
            settings.push(("max_streams", most.into()));
        }
        let known = [
            "type",
            "host",
            "port",
            "keys",
            "inport",
            "hostoverride",
            "address",
            "accesslist",
            "whitelist",
            "ssl",
            "webircpassword",
            "i2p.streaming.maxConcurrentStreams",
        ];
        self.finish(plan, "server", settings, Some((ours, keys)), &known)
    }

    fn finish(
        &self,
        plan: &mut Plan,
        section: &'static str,
        keys: Vec<(&'static str, Value)>,
        private: Option<(String, ramson::PrivateKeys)>,
        known: &[&str],
    ) -> Result<(), String> {
        let tunnels = ["inbound.length", "outbound.length", "inbound.quantity", "outbound.quantity"];
        for s in self.all.iter().filter(|s| !known.contains(&s.key.as_str()) && !tunnels.contains(&s.key.as_str())) {
            // What keys are of what type, they say themselves.
            if !matches!(s.key.as_str(), "signaturetype" | "cryptotype" | "gzip" | "i2cp.leaseSetEncType") {
                plan.leave(s, "nothing here corresponds to it");
            }
        }
        let at = self.all.first().map_or(At { file: PathBuf::new(), line: 0 }, |s| s.at.clone());
        let name = plan.tunnel_name(self.name);
        plan.tunnel(Tunnel { section, name, keys, private, at });
        Ok(())
    }
}

/// Whether a server takes datagrams, and no streams.
fn is_datagrams(tunnel: &Tunnel) -> bool {
    tunnel.keys.iter().any(|(key, value)| *key == "kind" && value.as_str() == Some("udp"))
}

/// The kind of a server.
fn ours_of(kind: &str) -> &'static str {
    match kind {
        "http" => "http",
        "irc" => "irc",
        "udpserver" => "udp",
        _ => "tcp",
    }
}

/// The name of a hash that is written without its end.
fn full_b32(who: &str) -> String {
    if who.len() == 52 { format!("{who}.b32.i2p") } else { who.to_owned() }
}

/// An index of the address book: `name,b32`; the destinations are in files of their own.
fn index_file(book: &Path, name: &str, plan: &mut Plan) {
    let file = book.join(name);
    if !file.exists() {
        return;
    }
    let text = match lines::bytes(&file, INDEX_BYTES) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(why) => return plan.left.push(why),
    };
    let (mut found, mut missing) = (Vec::new(), 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()).take(ramson_services::limits::HOSTS_NAMES) {
        match entry(book, line) {
            Some(entry) => found.push(entry),
            None => missing += 1,
        }
    }
    if missing > 0 {
        plan.left.push(format!("{name}: {missing} names whose destinations are not there, or cannot be read"));
    }
    plan.add_names(&file, false, found);
}

fn entry(book: &Path, line: &str) -> Option<(HostName, Destination)> {
    let (name, b32) = line.split_once(',')?;
    let name = HostName::parse(name.trim()).ok()?;
    let b32 = b32.trim();
    let hash = base32::host_hash(&format!("{b32}.b32.i2p"))?;
    let file = book.join(format!("b{}", b32.get(..1)?)).join(format!("{b32}.b32"));
    let bytes = lines::bytes(&file, DESTINATION_BYTES).ok()?;
    let destination = Destination::from_bytes(&bytes).ok()?;
    (destination.hash() == hash).then_some((name, destination))
}
