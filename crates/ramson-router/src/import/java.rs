//! The Java router (and I2P+): router.config, i2ptunnel.config and its folder, clients.config, the address book's lists.

use super::feeds::subscriptions;
use super::lines::{self, Format, Setting, files_of, is_true};
use super::plan::{Plan, Tunnel, lengths, list, number, read_keys, socket};
use ramson_services::names::Host;
use ramson_wire::data::router_address::is_public;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use toml_edit::{InlineTable, Value};

/// The data folder; `keys` is where the key files are.
pub(super) fn folder(folder: &Path, keys: &Path, plan: &mut Plan) {
    let there = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
    if let Some(file) = there("router.config") {
        router_file(&file, plan);
    }
    if let Some(file) = there("clients.config") {
        clients_file(&file, plan);
    }
    for file in files_of(&folder.join("clients.config.d"), "config") {
        clients_file(&file, plan);
    }
    // Where the folder is, it holds what the file held before.
    let apart = files_of(&folder.join("i2ptunnel.config.d"), "config");
    if let Some(file) = there("i2ptunnel.config").filter(|_| apart.is_empty()) {
        tunnels_file(&file, keys, plan);
    }
    for file in apart {
        tunnels_file(&file, keys, plan);
    }
    if let Some(file) = there("addressbook/subscriptions.txt") {
        subscriptions(&file, plan);
    }
    for (name, private) in [("privatehosts.txt", true), ("userhosts.txt", false), ("hosts.txt", false)] {
        if let Some(file) = there(name) {
            plan.hosts(&file, private);
        }
    }
    if let Some(file) = there("hostsdb.blockfile") {
        blockfile(&file, plan);
    }
    if there("eepsite/docroot").is_some() {
        let note = "the folder eepsite/docroot can be served without a web server: `kind = \"site\"` and `folder` in its \
                    [[server]], or `ramson host`";
        plan.notes.push(note.into());
    }
}

pub(super) fn blockfile(file: &Path, plan: &mut Plan) {
    plan.left.push(format!(
        "{}: names in the router's own format: export them first (in its address book, \"Export\"), then `ramson name \
         import` the list",
        file.display()
    ));
}

/// router.config.
pub(super) fn router_file(file: &Path, plan: &mut Plan) {
    let settings = match lines::settings(file, Format::Java) {
        Ok(settings) => settings,
        Err(why) => return plan.left.push(why),
    };
    let get = |key: &str| settings.iter().find(|s| s.key == key);
    let port =
        get("i2np.ntcp.port").or(get("i2np.udp.port")).and_then(|s| s.value.parse::<u16>().ok()).filter(|p| *p > 0);
    for s in &settings {
        match s.key.as_str() {
            "i2np.bandwidth.inboundKBytesPerSecond" => bandwidth(plan, s, "in"),
            "i2np.bandwidth.outboundKBytesPerSecond" => bandwidth(plan, s, "out"),
            "router.sharePercentage" => match number(&s.value, 0, 100) {
                Some(n) => plan.set(&s.at, "bandwidth", "share", n),
                None => plan.leave(s, "is no percentage"),
            },
            "router.maxParticipatingTunnels" => match number(&s.value, 0, 1_000_000) {
                Some(0) => plan.set(&s.at, "transit", "enabled", false),
                Some(n) => plan.set(&s.at, "transit", "max_tunnels", n),
                None => plan.leave(s, "is no number of tunnels"),
            },
            "router.floodfillParticipant" => match s.value.as_str() {
                "true" => plan.set(&s.at, "netdb", "floodfill", "yes"),
                "false" => plan.set(&s.at, "netdb", "floodfill", "no"),
                _ => {}
            },
            "router.networkID" => match s.value.parse() {
                Ok(id) => plan.network = Some(id),
                Err(_) => plan.leave(s, "is no number of a network"),
            },
            "i2np.ntcp.port" | "i2np.udp.port" if port.is_some_and(|port| port.to_string() == s.value) => {
                let at = format!("0.0.0.0:{}", s.value);
                if s.key == "i2np.ntcp.port" || get("i2np.ntcp.port").is_none() {
                    plan.set(&s.at, "ntcp2", "listen", list([at.as_str()]));
                }
            }
            "i2np.ntcp.hostname" | "i2np.udp.host" => match (s.value.parse::<IpAddr>(), port) {
                (Ok(ip), Some(port)) if is_public(ip) => {
                    let at = SocketAddr::new(ip, port).to_string();
                    if s.key == "i2np.ntcp.hostname" || get("i2np.ntcp.hostname").is_none() {
                        plan.set(&s.at, "ntcp2", "publish", list([at.as_str()]));
                    }
                }
                _ => plan.leave(s, "an address is told to others only if it is public, in numbers, and has a port"),
            },
            key if is_its_own(key) => {}
            _ => plan.leave(s, "nothing here corresponds to it"),
        }
    }
}

/// What the router notes for itself, and how its own pages look.
fn is_its_own(key: &str) -> bool {
    let prefixes = [
        "i2p.dir.",
        "router.blocklist",
        "router.firstInstalled",
        "router.firstVersion",
        "router.inboundPool.",
        "router.outboundPool.",
        "router.lastUpdate",
        "router.news",
        "router.passwordManager",
        "router.previousVersion",
        "router.startup",
        "router.update",
        "router.updateLast",
        "router.hashes",
        "routerconsole.",
        "stat.",
        "jbigi.",
        "desktopgui.",
        "i2np.lastIP",
        "i2np.lastCountry",
        "i2np.udp.internalPort",
        "i2np.ntcp2.sp",
        "i2np.ntcp2.iv",
        "i2np.ssu2.",
        "i2np.udp.addressSources",
        "i2np.udp.ipv6",
        "i2np.laptopMode",
        "time.",
        "prng.",
        "router.configLocation",
        "router.rebuildKeys",
        "netdb.family",
        "crypto.",
        "plugin",
    ];
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

fn bandwidth(plan: &mut Plan, s: &Setting, key: &'static str) {
    match s.value.parse::<u32>() {
        Ok(n) if n >= 16 => plan.set(&s.at, "bandwidth", key, format!("{n} KB/s")),
        _ => plan.leave(s, "a limit is at least 16 KB/s here"),
    }
}

/// clients.config: what starts with the router.
pub(super) fn clients_file(file: &Path, plan: &mut Plan) {
    let settings = match lines::settings(file, Format::Java) {
        Ok(settings) => settings,
        Err(why) => return plan.left.push(why),
    };
    for (prefix, all) in grouped(&settings, "clientApp.") {
        let get = |key: &str| all.get(key).map(|s| s.value.as_str()).unwrap_or_default();
        let Some(main) = all.get("main") else { continue };
        let starts = !get("startOnLoad").eq_ignore_ascii_case("false");
        match main.value.as_str() {
            "net.i2p.sam.SAMBridge" => {
                plan.set(&main.at, "sam", "enabled", starts);
                let words: Vec<&str> = get("args").split_whitespace().filter(|word| !word.contains('=')).collect();
                let at = words.windows(2).find_map(|pair| match pair {
                    [host, port] => socket(host, port).ok(),
                    _ => None,
                });
                match at {
                    Some(at) if at.ip().is_loopback() => plan.set(&main.at, "sam", "listen", at.to_string()),
                    Some(_) => {
                        plan.leave(main, "its address is open to others, which needs a user and a password here");
                    }
                    None => {}
                }
            }
            // The console, the tunnels (which are read by themselves), and what opens a browser.
            "net.i2p.router.web.RouterConsoleRunner"
            | "net.i2p.i2ptunnel.TunnelControllerGroup"
            | "net.i2p.apps.systray.UrlLauncher" => {}
            _ if !starts => {}
            _ => plan.leave(main, &format!("{prefix}programs of the Java router do not run here")),
        }
    }
}

/// i2ptunnel.config, or a file of its folder. `data` is where its key files are.
pub(super) fn tunnels_file(file: &Path, data: &Path, plan: &mut Plan) {
    let settings = match lines::settings(file, Format::Java) {
        Ok(settings) => settings,
        Err(why) => return plan.left.push(why),
    };
    for (_, all) in grouped(&settings, "tunnel.") {
        let tunnel = Java { all: &all, data };
        let name = tunnel.get("name").unwrap_or("?").to_owned();
        if let Err(why) = tunnel.carry_over(plan) {
            let at = all.values().map(|s| &s.at).min_by_key(|at| at.line).map(ToString::to_string).unwrap_or_default();
            plan.left.push(format!("{at}: the tunnel {name}: {why}"));
        }
    }
}

/// The settings of each number: `tunnel.3.name` is `name` of 3; those without a number are one.
fn grouped<'s>(settings: &'s [Setting], prefix: &str) -> BTreeMap<String, BTreeMap<String, &'s Setting>> {
    let mut groups: BTreeMap<String, BTreeMap<String, &'s Setting>> = BTreeMap::new();
    for s in settings {
        let numbered = s.key.strip_prefix(prefix).and_then(|rest| rest.split_once('.'));
        let (group, key) = match numbered.filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit())) {
            // So that 10 stands behind 9.
            Some((n, key)) => (format!("{prefix}{n:0>6}: "), key),
            None => (String::new(), s.key.as_str()),
        };
        groups.entry(group).or_default().insert(key.to_owned(), s);
    }
    groups
}

struct Java<'a> {
    all: &'a BTreeMap<String, &'a Setting>,
    data: &'a Path,
}

impl Java<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.all.get(key).map(|s| s.value.as_str()).filter(|value| !value.is_empty())
    }

    fn option(&self, key: &str) -> Option<&str> {
        self.get(&format!("option.{key}"))
    }

    fn carry_over(&self, plan: &mut Plan) -> Result<(), String> {
        let Some(kind) = self.get("type") else {
            return Err("it has no type".into());
        };
        if self.option("i2cp.leaseSetType").is_some_and(|kind| kind == "5" || kind == "7")
            || self.option("i2cp.encryptLeaseSet").is_some_and(is_true)
        {
            return Err("its LeaseSet is encrypted, which cannot be done here yet: it would be open to all".into());
        }
        match kind {
            "client" | "ircclient" => self.client(plan, kind),
            "httpclient" | "sockstunnel" => self.proxy(plan, if kind == "httpclient" { "http_proxy" } else { "socks" }),
            "streamrclient" => self.client(plan, kind),
            "server" | "streamrserver" | "httpserver" | "httpbidirserver" | "ircserver" => self.server(plan, kind),
            _ => Err(format!("tunnels of type {kind} are set up by hand")),
        }
    }

    fn listen(&self) -> Result<SocketAddr, String> {
        let at = socket(self.get("interface").unwrap_or("127.0.0.1"), self.get("listenPort").ok_or("it has no port")?)?;
        if at.ip().is_loopback() {
            Ok(at)
        } else {
            Err(format!("{at} is open to others: it listens on this computer only here"))
        }
    }

    fn proxy(&self, plan: &mut Plan, section: &'static str) -> Result<(), String> {
        if !self.starts() {
            return Err("it does not start with the router".into());
        }
        if self.option("proxyAuth").is_some_and(|auth| auth != "false") {
            return Err(
                "it asks for a user and a password: set them up by hand, or it would be open to all here".into()
            );
        }
        let listen = self.listen()?;
        let Some(s) = self.all.get("listenPort") else { return Err("it has no port".into()) };
        if plan.settings.iter().any(|c| (c.section, c.key) == (section, "listen")) {
            return Err("there is one such proxy here, and another one is carried over already".into());
        }
        plan.set(&s.at, section, "listen", listen.to_string());
        let mut keys = Vec::new();
        lengths(&mut keys, |key| self.option(key));
        for (key, value) in keys {
            plan.set(&s.at, section, key, value);
        }
        // Only TLS goes there.
        let outproxies = ["option.i2ptunnel.httpclient.SSLOutproxies", "proxyList"];
        if let Some(outproxy) = outproxies.iter().find_map(|key| self.all.get(*key).filter(|s| !s.value.is_empty())) {
            let hosts = list(outproxy.value.split([',', ' ']).filter(|host| !host.is_empty()));
            plan.set(&outproxy.at, section, "outproxy", hosts);
            plan.notes.push("outproxies carry TLS only, unless outproxy_plain says otherwise".into());
        }
        if let Some(jumps) =
            self.option("i2ptunnel.httpclient.jumpServers").and(self.all.get("option.i2ptunnel.httpclient.jumpServers"))
        {
            plan.leave(jumps, "jump services are set up by hand: names.jump_services");
        }
        Ok(())
    }

    fn client(&self, plan: &mut Plan, kind: &str) -> Result<(), String> {
        let local = match kind {
            // The program that hears is a target, whose port stands where others listen.
            "streamrclient" => (
                "target",
                socket(self.get("targetHost").unwrap_or("127.0.0.1"), self.get("listenPort").ok_or("it has no port")?)?,
            ),
            _ => ("listen", self.listen()?),
        };
        let all = self.get("targetDestination").ok_or("it has no destination")?;
        let parts = all.split([',', ' ']).filter(|to| !to.is_empty());
        let each: Vec<(&str, &str)> = parts.map(|to| to.split_once(':').unwrap_or((to, ""))).collect();
        let (_, port) = *each.first().ok_or("it has no destination")?;
        if each.iter().any(|(_, other)| *other != port) {
            return Err("its destinations have different ports".into());
        }
        for (to, _) in &each {
            Host::parse(to).map_err(|e| format!("{to}: {e}"))?;
        }
        let to = list(each.iter().map(|(to, _)| *to));
        let mut keys = vec![(local.0, Value::from(local.1.to_string())), ("to", to)];
        if !port.is_empty() {
            keys.push(("port", number(port, 0, 65_535).ok_or("its port is none")?.into()));
        }
        match kind {
            "ircclient" => keys.push(("kind", "irc".into())),
            "streamrclient" => {
                if each.len() > 1 {
                    return Err("it hears one destination only".into());
                }
                keys.push(("kind", "streamr".into()));
                lengths(&mut keys, |key| self.option(key));
                self.finish(plan, "client", keys, None);
                return Ok(());
            }
            _ => {}
        }
        let file = self.get("privKeyFile").filter(|_| self.option("persistentClientKey").is_some_and(is_true));
        // One that was never started has none.
        let file = file.map(|file| self.data.join(file)).filter(|file| file.exists());
        let mut private = None;
        if let Some(file) = file {
            let own = read_keys(&file, &mut plan.notes)?;
            let copy = plan.key_file(self.name(), &own);
            keys.push(("keys", copy.as_str().into()));
            private = Some((copy, own));
        }
        if self.get("sharedClient").is_some_and(is_true) && private.is_none() {
            keys.push(("shared", true.into()));
        } else if self.option("i2cp.closeOnIdle").is_some_and(is_true) {
            // Milliseconds; without a number, half an hour.
            let idle = self.option("i2cp.closeIdleTime").map_or(Some(1_800_000), |ms| number(ms, 0, i64::MAX));
            keys.push(("close_after", idle.map_or(30, |ms| (ms / 60_000).clamp(1, 10_080)).into()));
        } else if self.option("i2cp.delayOpen").is_some_and(is_true) {
            keys.push(("delayed", true.into()));
        }
        lengths(&mut keys, |key| self.option(key));
        self.finish(plan, "client", keys, private);
        Ok(())
    }

    fn server(&self, plan: &mut Plan, kind: &str) -> Result<(), String> {
        if self.get("filterDefinition").is_some() {
            return Err("only some may reach it: its filter is set up by hand, or it would be open to all".into());
        }
        // The source of a streamr server sends to the port that is a target elsewhere, and here from this computer only.
        let is_source = kind == "streamrserver";
        let host = self.get("targetHost").filter(|_| !is_source).unwrap_or("127.0.0.1");
        let target = socket(host, self.get("targetPort").ok_or("it has no port")?)?;
        if self.option("useSSL").is_some_and(is_true) {
            return Err("its server speaks TLS, which is not spoken to local servers here".into());
        }
        let file = self.data.join(self.get("privKeyFile").ok_or("it has no keys")?);
        let keys = read_keys(&file, &mut plan.notes)?;
        let ours = plan.key_file(self.name(), &keys);
        let http = kind.starts_with("http");
        let mut settings = vec![
            ("kind", Value::from(ours_of(kind))),
            (if is_source { "listen" } else { "target" }, target.to_string().into()),
            ("keys", ours.as_str().into()),
        ];
        if let Some(host) = self.get("spoofedHost").filter(|_| http) {
            settings.push(("host", host.into()));
        }
        if kind == "httpbidirserver" {
            settings.push(("listen", self.listen()?.to_string().into()));
        }
        for (key, enable) in [("allow", "enableAccessList"), ("deny", "enableBlackList")] {
            if [enable, &format!("i2cp.{enable}")].iter().any(|key| self.option(key).is_some_and(is_true)) {
                let who = self.option("i2cp.accessList").or(self.get("accessList"));
                let who = who.ok_or("only some may reach it, and its list is not there")?;
                settings.push((key, list(who.split([',', ';', ' ']).filter(|who| !who.is_empty()))));
            }
        }
        lengths(&mut settings, |key| self.option(key));
        self.limits(&mut settings);
        let more = self.other_ports(plan, &settings)?;
        self.finish(plan, "server", settings, Some((ours.clone(), keys.clone())));
        for settings in more {
            self.finish(plan, "server", settings, Some((ours.clone(), keys.clone())));
        }
        Ok(())
    }

    /// The limits of connections that mean the same here; 0 is none.
    fn limits(&self, settings: &mut Vec<(&'static str, Value)>) {
        let some = |key: &str| self.option(&format!("i2p.streaming.{key}")).and_then(|n| number(n, 1, 4_294_967_295));
        if let Some(n) = some("maxConcurrentStreams") {
            settings.push(("max_streams", n.into()));
        }
        for (key, of) in [("per_client", "maxConns"), ("in_all", "maxTotalConns")] {
            let mut limits = InlineTable::new();
            for (word, time) in [("minute", "Minute"), ("hour", "Hour"), ("day", "Day")] {
                if let Some(n) = some(&format!("{of}Per{time}")) {
                    limits.insert(word, n.into());
                }
            }
            if !limits.is_empty() {
                settings.push((key, limits.into()));
            }
        }
    }

    /// `targetForPort.443 = 127.0.0.1:7668`: a server of its own for each such port, at the same destination.
    fn other_ports(
        &self,
        plan: &mut Plan,
        first: &[(&'static str, Value)],
    ) -> Result<Vec<Vec<(&'static str, Value)>>, String> {
        let mut all = Vec::new();
        for (key, s) in self.all.iter().filter(|(key, _)| key.starts_with(FOR_PORT)) {
            let port = number(key.trim_start_matches(FOR_PORT), 1, 65_535);
            let (Some(port), Some((host, at))) = (port, s.value.rsplit_once(':')) else {
                plan.leave(s, "is no port and its server");
                continue;
            };
            let target = socket(host, at)?;
            // As there: what comes to 443 is TLS, whatever comes to the others.
            let kind =
                if port == 443 { "tcp" } else { first.first().and_then(|(_, kind)| kind.as_str()).unwrap_or("tcp") };
            let mut settings: Vec<_> = first.to_vec();
            settings.retain(|(key, _)| !matches!(*key, "listen" | "host") || (kind == "http" && *key == "host"));
            for (key, value) in &mut settings {
                match *key {
                    "kind" => *value = if kind == "http-bidirectional" { "http" } else { kind }.into(),
                    "target" => *value = target.to_string().into(),
                    _ => {}
                }
            }
            settings.push(("port", port.into()));
            all.push(settings);
        }
        Ok(all)
    }

    fn starts(&self) -> bool {
        self.get("startOnLoad").is_none_or(is_true)
    }

    fn name(&self) -> &str {
        self.get("name").unwrap_or("tunnel")
    }

    fn finish(
        &self,
        plan: &mut Plan,
        section: &'static str,
        mut keys: Vec<(&'static str, Value)>,
        private: Option<(String, ramson::PrivateKeys)>,
    ) {
        // It is said once, also where several tunnels come of it.
        let is_first = !keys.iter().any(|(key, _)| *key == "port") || section == "client";
        for (key, s) in self.all.iter().filter(|(key, _)| is_first && key.starts_with("option.")) {
            if !is_usual(key, &s.value) && !key.starts_with(FOR_PORT) {
                plan.leave(s, "nothing here corresponds to it");
            }
        }
        if !self.starts() {
            keys.push(("enabled", false.into()));
        }
        let at = self.all.values().map(|s| s.at.clone()).min_by_key(|at| at.line);
        let at = at.unwrap_or(lines::At { file: self.data.to_owned(), line: 0 });
        let name = plan.tunnel_name(self.name());
        plan.tunnel(Tunnel { section, name, keys, private, at });
    }
}

const FOR_PORT: &str = "option.targetForPort.";

/// The kind of a server.
fn ours_of(kind: &str) -> &'static str {
    match kind {
        "httpserver" => "http",
        "httpbidirserver" => "http-bidirectional",
        "ircserver" => "irc",
        "streamrserver" => "streamr",
        _ => "tcp",
    }
}

/// What is read elsewhere, what the Java router writes into every tunnel and is so here anyway, and how it works inside.
fn is_usual(key: &str, value: &str) -> bool {
    let key = key.strip_prefix("option.").unwrap_or(key);
    if matches!(value, "false" | "0" | "") {
        return true;
    }
    match key {
        "inbound.length" | "outbound.length" | "inbound.quantity" | "outbound.quantity" => true,
        "i2cp.accessList" | "i2cp.enableAccessList" | "i2cp.enableBlackList" => true,
        "enableAccessList" | "enableBlackList" => true,
        "i2cp.delayOpen" | "i2cp.closeOnIdle" | "i2cp.closeIdleTime" | "persistentClientKey" => true,
        "i2p.streaming.limitsManuallySet" | "i2p.streaming.maxConcurrentStreams" => true,
        // Java's `http` answers what is one too many; here it is reset.
        "i2p.streaming.limitAction" => true,
        _ if key.starts_with("i2p.streaming.maxConnsPer") => true,
        _ if key.starts_with("i2p.streaming.maxTotalConnsPer") => true,
        "i2ptunnel.httpclient.SSLOutproxies" | "i2ptunnel.httpclient.jumpServers" => true,
        "inbound.nickname" | "outbound.nickname" | "inbound.backupQuantity" | "outbound.backupQuantity" => true,
        "inbound.randomKey" | "outbound.randomKey" | "outbound.priority" => true,
        "i2cp.destination.sigType" | "i2cp.leaseSetEncType" => true,
        "i2cp.leaseSetSigningPrivateKey" | "i2cp.leaseSetPrivateKey" => true,
        "i2cp.reduceOnIdle" | "i2cp.reduceIdleTime" | "i2cp.reduceQuantity" | "i2cp.newDestOnResume" => true,
        "i2p.streaming.connectDelay" | "i2p.streaming.maxWindowSize" | "i2p.streaming.profile" => true,
        "crypto.tagsToSend" | "crypto.lowTagThreshold" | "shouldBundleReplyInfo" | "spoofedHost" => true,
        _ => false,
    }
}
