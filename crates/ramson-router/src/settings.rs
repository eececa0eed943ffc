//! The config file: read strictly, so that a slip is an error with its line, never a silent default.

// With its path: the fuzz target includes this file from elsewhere.
#[path = "settings/names.rs"]
mod names;
#[path = "settings/rate.rs"]
mod rate;
#[path = "settings/sam.rs"]
mod sam;
#[path = "settings/site.rs"]
mod site;

pub(crate) use names::Naming;
use ramson::TunnelOptions;
use ramson::config::{
    BandwidthConfig, Config, Floodfill, NetworkConfig, Ntcp2Config, PUBLIC_NETWORK_ID, Proxy, ProxyKind, ReseedConfig,
    ReseedServers, TransitConfig, TunnelConfig,
};
use ramson_services::names::Host;
use ramson_wire::data::router_address::is_public;
use rate::{Percent, Rate};
pub(crate) use sam::Sam;
use serde::de::{Error as DeError, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt::Formatter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::de::DeTable;

/// The commented file that is written on first start.
const TEMPLATE: &str = include_str!("template.toml");

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) network: Network,
    #[serde(default)]
    ntcp2: Ntcp2,
    #[serde(default)]
    reseed: Reseed,
    #[serde(default)]
    tunnels: Tunnels,
    #[serde(default)]
    transit: Transit,
    #[serde(default)]
    bandwidth: Bandwidth,
    #[serde(default)]
    netdb: NetDb,
    #[serde(default)]
    pub(crate) http_proxy: HttpProxy,
    #[serde(default)]
    pub(crate) sam: Sam,
    #[serde(default)]
    pub(crate) names: Naming,
    #[serde(default)]
    pub(crate) server: Vec<Server>,
    #[serde(default)]
    pub(crate) client: Vec<Client>,
    #[serde(default)]
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) process: Process,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    pub(crate) id: NetworkId,
    #[serde(default)]
    allow_reserved_addresses: bool,
    #[serde(default)]
    allow_same_subnet: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ntcp2 {
    listen: Vec<At>,
    publish: Vec<At>,
    outbound_only: bool,
    printable_padding: bool,
    proxy: Option<ProxyUrl>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reseed {
    servers: Servers,
    files: Vec<PathBuf>,
    proxy: Option<ProxyUrl>,
    certificates: Vec<PathBuf>,
    dangerously_accept_unsigned_files: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tunnels {
    exploratory_hops: Hops,
    exploratory_quantity: Quantity,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Transit {
    enabled: bool,
    max_tunnels: usize,
    kilobytes_per_second: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Bandwidth {
    #[serde(rename = "in")]
    incoming: Rate,
    #[serde(rename = "out")]
    outgoing: Rate,
    share: Percent,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NetDb {
    floodfill: Floodfilling,
}

/// Whether to serve as a floodfill.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Floodfilling {
    No,
    Yes,
    #[default]
    Auto,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpProxy {
    pub(crate) enabled: bool,
    pub(crate) listen: At,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    hops: Hops,
    quantity: Quantity,
}

/// A password, which is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A server of ours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: TunnelName,
    pub(crate) kind: Kind,
    target: Option<At>,
    folder: Option<PathBuf>,
    #[serde(default)]
    pub(crate) listing: bool,
    pub(crate) keys: PathBuf,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    #[serde(default = "max_streams")]
    pub(crate) max_streams: usize,
    #[serde(default = "max_streams_per_client")]
    pub(crate) max_streams_per_client: usize,
    #[serde(default)]
    hops: Hops,
    #[serde(default)]
    quantity: Quantity,
    /// Its address is said to who runs the command.
    #[serde(skip)]
    pub(crate) announced: bool,
}

/// A local port that leads to a destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    pub(crate) name: TunnelName,
    pub(crate) listen: At,
    pub(crate) to: To,
    #[serde(default)]
    pub(crate) port: u16,
    #[serde(default)]
    hops: Hops,
    #[serde(default)]
    quantity: Quantity,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) level: Level,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Process {
    pub(crate) hardening: Hardening,
}

/// Whether the process confines itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Hardening {
    #[default]
    On,
    Off,
}

impl TryFrom<String> for Hardening {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err("hardening is \"on\" or \"off\""),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Kind {
    Http,
    Site,
    Tcp,
}

impl TryFrom<String> for Kind {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "http" => Ok(Self::Http),
            "site" => Ok(Self::Site),
            "tcp" => Ok(Self::Tcp),
            _ => Err("a kind is \"http\", \"site\" or \"tcp\""),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl TryFrom<String> for Level {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("a level is \"error\", \"warn\", \"info\", \"debug\" or \"trace\""),
        }
    }
}

impl Settings {
    /// Reads the text of a config file. The error names the line and the key.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        settings.check().map_err(|fault| fault.said(text))?;
        Ok(settings)
    }

    /// The text of a new config file.
    pub(crate) fn template(network: NetworkId) -> String {
        let id = if network.0 == PUBLIC_NETWORK_ID { "\"public\"".to_owned() } else { network.0.to_string() };
        let text = TEMPLATE.replacen("NETWORK", &id, 1);
        if network.0 == PUBLIC_NETWORK_ID {
            return text;
        }
        text.replace("#allow_reserved_addresses = false", "allow_reserved_addresses = true")
            .replace("#allow_same_subnet = false", "allow_same_subnet = true")
            .replace("#servers = \"shipped\"", "servers = \"off\"")
    }

    /// Settings that are good each by itself, and contradict each other.
    fn check(&self) -> Result<(), Fault> {
        let public = self.network.id.0 == PUBLIC_NETWORK_ID;
        let fault = |section, key, why: &str| Err(Fault { section, at: None, key, why: why.to_owned() });
        for (key, is_set) in [
            ("allow_reserved_addresses", self.network.allow_reserved_addresses),
            ("allow_same_subnet", self.network.allow_same_subnet),
        ] {
            if public && is_set {
                return fault("network", key, "is for private networks only");
            }
        }
        let proxy = &self.http_proxy;
        match (&proxy.user, &proxy.password) {
            (Some(_), None) => return fault("http_proxy", "user", "needs a password beside it"),
            (None, Some(_)) => return fault("http_proxy", "password", "needs a user beside it"),
            _ => {}
        }
        if proxy.enabled && proxy.password.is_none() && !proxy.listen.0.ip().is_loopback() {
            return fault(
                "http_proxy",
                "listen",
                "is open to others: set user and password, or take a loopback address",
            );
        }
        self.sam.check()?;
        self.check_ntcp2(public)?;
        for (i, client) in self.client.iter().enumerate() {
            if !client.listen.0.ip().is_loopback() {
                let why = "must be a loopback address".to_owned();
                return Err(Fault { section: "client", at: Some(i), key: "listen", why });
            }
        }
        (0..self.server.len()).try_for_each(|i| self.check_server(i))
    }

    fn check_ntcp2(&self, public: bool) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "ntcp2", at: None, key, why: why.to_owned() });
        let ntcp2 = &self.ntcp2;
        if ntcp2.proxy.is_some() && !ntcp2.publish.is_empty() {
            return fault("publish", "has no use beside a proxy: no address is told to the network then");
        }
        if ntcp2.outbound_only && !ntcp2.listen.is_empty() {
            return fault("listen", "contradicts outbound_only");
        }
        if ntcp2.outbound_only && !ntcp2.publish.is_empty() {
            return fault("publish", "contradicts outbound_only");
        }
        if ntcp2.publish.iter().any(|at| at.0.ip().is_unspecified()) {
            return fault("publish", "must name the address itself, not all of them");
        }
        if public && ntcp2.publish.iter().any(|at| !is_public(at.0.ip())) {
            return fault("publish", "must be an address of the public Internet");
        }
        Ok(())
    }

    fn check_server(&self, i: usize) -> Result<(), Fault> {
        let Some((server, earlier)) = self.server.get(..=i).and_then(<[Server]>::split_last) else { return Ok(()) };
        let fault = |key, why: &str| Err(Fault { section: "server", at: Some(i), key, why: why.to_owned() });
        server.check_site(i)?;
        if server.kind != Kind::Http && server.host.is_some() {
            return fault("host", "is for kind = \"http\"");
        }
        if earlier.iter().any(|other| other.name == server.name) {
            return fault("name", "is taken by another server");
        }
        let shares = |other: &&Server| other.keys == server.keys;
        if earlier.iter().filter(shares).any(|other| other.port == server.port) {
            return fault("keys", "are those of another server: they need different ports");
        }
        if earlier.iter().filter(shares).any(|other| (other.hops, other.quantity) != (server.hops, server.quantity)) {
            return fault("keys", "are those of another server: they need the same hops and quantity");
        }
        Ok(())
    }

    /// The router's part of the settings.
    pub(crate) fn router(&self, data_dir: &Path) -> Config {
        Config {
            data_dir: data_dir.to_owned(),
            network: NetworkConfig {
                id: self.network.id.0,
                allow_reserved_addresses: self.network.allow_reserved_addresses,
                allow_same_subnet: self.network.allow_same_subnet,
            },
            ntcp2: Ntcp2Config {
                bind: self.ntcp2.listen.iter().map(|at| at.0).collect(),
                publish: self.ntcp2.publish.iter().map(|at| at.0).collect(),
                outbound_only: self.ntcp2.outbound_only,
                printable_padding: self.ntcp2.printable_padding,
            },
            reseed: ReseedConfig {
                servers: self.reseed.servers.0.clone(),
                files: self.reseed.files.iter().map(|f| data_dir.join(f)).collect(),
                proxy: self.reseed.proxy.clone().map(|p| p.0),
                certificates: self.reseed.certificates.iter().map(|f| data_dir.join(f)).collect(),
                dangerously_accept_unsigned_files: self.reseed.dangerously_accept_unsigned_files,
                ..ReseedConfig::default()
            },
            tunnels: TunnelConfig {
                exploratory_hops: self.tunnels.exploratory_hops.0,
                exploratory_quantity: self.tunnels.exploratory_quantity.0,
            },
            transit: TransitConfig {
                enabled: self.transit.enabled,
                max_tunnels: self.transit.max_tunnels,
                bytes_per_second: u64::from(self.transit.kilobytes_per_second) * 1000,
            },
            bandwidth: BandwidthConfig {
                incoming: self.bandwidth.incoming.0,
                outgoing: self.bandwidth.outgoing.0,
                share_percent: self.bandwidth.share.0,
            },
            floodfill: match self.netdb.floodfill {
                Floodfilling::No => Floodfill::No,
                Floodfilling::Yes => Floodfill::Yes,
                Floodfilling::Auto => Floodfill::Auto,
            },
            proxy: self.ntcp2.proxy.clone().map(|p| p.0),
        }
    }
}

/// A setting that contradicts others.
struct Fault {
    section: &'static str,
    /// Which one, of a section that may stand several times.
    at: Option<usize>,
    key: &'static str,
    why: String,
}

impl Fault {
    /// In words, with the line in `text`.
    fn said(&self, text: &str) -> String {
        let Self { section, at, key, why } = self;
        let line =
            self.offset(text).and_then(|offset| text.get(..offset)).map(|before| before.matches('\n').count() + 1);
        let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let section = if at.is_some() { format!("[[{section}]]") } else { format!("[{section}]") };
        format!("{line}{section} {key} {why}")
    }

    fn offset(&self, text: &str) -> Option<usize> {
        let root = DeTable::parse(text).ok()?;
        let section = root.get_ref().get(self.section)?.get_ref();
        let section = match self.at {
            Some(at) => section.as_array()?.get(at)?.get_ref(),
            None => section,
        };
        let (key, _) = section.as_table()?.get_key_value(self.key)?;
        Some(key.span().start)
    }
}

impl HttpProxy {
    pub(crate) fn tunnels(&self) -> TunnelOptions {
        TunnelOptions { hops: self.hops.0, quantity: self.quantity.0, ..TunnelOptions::default() }
    }
}

impl Server {
    pub(crate) fn tunnels(&self) -> TunnelOptions {
        TunnelOptions { hops: self.hops.0, quantity: self.quantity.0, ..TunnelOptions::default() }
    }
}

impl Client {
    pub(crate) fn tunnels(&self) -> TunnelOptions {
        TunnelOptions { hops: self.hops.0, quantity: self.quantity.0, ..TunnelOptions::default() }
    }
}

impl Default for Tunnels {
    fn default() -> Self {
        let d = TunnelConfig::default();
        Self { exploratory_hops: Hops(d.exploratory_hops), exploratory_quantity: Quantity(d.exploratory_quantity) }
    }
}

impl Default for Transit {
    fn default() -> Self {
        let d = TransitConfig::default();
        let kilobytes_per_second = u32::try_from(d.bytes_per_second / 1000).unwrap_or(u32::MAX);
        Self { enabled: d.enabled, max_tunnels: d.max_tunnels, kilobytes_per_second }
    }
}

impl Default for Bandwidth {
    fn default() -> Self {
        let d = BandwidthConfig::default();
        Self { incoming: Rate(d.incoming), outgoing: Rate(d.outgoing), share: Percent(d.share_percent) }
    }
}

impl Default for HttpProxy {
    fn default() -> Self {
        let listen = At(SocketAddr::from(([127, 0, 0, 1], 4444)));
        Self { enabled: true, listen, user: None, password: None, hops: Hops::default(), quantity: Quantity::default() }
    }
}

fn max_streams() -> usize {
    256
}

fn max_streams_per_client() -> usize {
    32
}

/// The number of a network; `public` is one of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetworkId(pub(crate) u8);

impl FromStr for NetworkId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "public" {
            return Ok(Self(PUBLIC_NETWORK_ID));
        }
        let id = text.parse::<u8>().ok().filter(|id| (16..=254).contains(id));
        id.map(Self).ok_or_else(|| "a network is \"public\", or a number from 16 to 254".to_owned())
    }
}

impl<'de> Deserialize<'de> for NetworkId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = NetworkId;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"public\", or a number from 16 to 254")
            }

            fn visit_i64<E: DeError>(self, number: i64) -> Result<NetworkId, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: DeError>(self, text: &str) -> Result<NetworkId, E> {
                text.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Form)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
struct Hops(u8);

impl Default for Hops {
    fn default() -> Self {
        Self(TunnelOptions::default().hops)
    }
}

impl TryFrom<u8> for Hops {
    type Error = &'static str;

    fn try_from(n: u8) -> Result<Self, Self::Error> {
        if n <= 7 { Ok(Self(n)) } else { Err("tunnels have 0 to 7 hops") }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
struct Quantity(u8);

impl Default for Quantity {
    fn default() -> Self {
        Self(TunnelOptions::default().quantity)
    }
}

impl TryFrom<u8> for Quantity {
    type Error = &'static str;

    fn try_from(n: u8) -> Result<Self, Self::Error> {
        if (1..=16).contains(&n) { Ok(Self(n)) } else { Err("the number of tunnels is 1 to 16") }
    }
}

/// An address with its port, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct At(pub(crate) SocketAddr);

impl TryFrom<String> for At {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "an address is in numbers and has a port, such as \"127.0.0.1:4444\"")
    }
}

/// The name of a tunnel: shown in the status and the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TunnelName(pub(crate) String);

impl TryFrom<String> for TunnelName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let good = (1..=64).contains(&name.len()) && !name.chars().any(char::is_control);
        if good { Ok(Self(name)) } else { Err("a tunnel's name has 1 to 64 characters") }
    }
}

/// The destination of a client tunnel.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct To(pub(crate) Host);

impl TryFrom<String> for To {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Host::parse(&text).map(Self).map_err(|e| e.to_string())
    }
}

/// `shipped`, `off`, or URLs.
#[derive(Clone, Debug)]
struct Servers(ReseedServers);

impl Default for Servers {
    fn default() -> Self {
        Self(ReseedServers::Shipped)
    }
}

impl<'de> Deserialize<'de> for Servers {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Servers;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("\"shipped\", \"off\", or a list of URLs")
            }

            fn visit_str<E: DeError>(self, word: &str) -> Result<Servers, E> {
                match word {
                    "shipped" => Ok(Servers(ReseedServers::Shipped)),
                    "off" => Ok(Servers(ReseedServers::Off)),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Servers, A::Error> {
                let mut urls: Vec<String> = Vec::new();
                while let Some(url) = list.next_element::<String>()? {
                    if !url.starts_with("https://") {
                        return Err(A::Error::custom(format!("{url:?} is no URL that begins with https://")));
                    }
                    urls.push(url);
                }
                Ok(Servers(ReseedServers::Urls(urls)))
            }
        }
        d.deserialize_any(Form)
    }
}

/// `socks5://[user:password@]address:port`, or the same with `http`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct ProxyUrl(Proxy);

impl TryFrom<String> for ProxyUrl {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        let bad = "a proxy is socks5://address:port or http://address:port, with the address in numbers";
        let (scheme, rest) = url.split_once("://").ok_or(bad)?;
        let kind = match scheme {
            "socks5" => ProxyKind::Socks5,
            "http" => ProxyKind::Http,
            _ => return Err(bad),
        };
        let (login, address) = rest.rsplit_once('@').map_or((None, rest), |(login, address)| (Some(login), address));
        let (user, password) = login.map(|l| l.split_once(':').unwrap_or((l, ""))).unzip();
        let address = address.trim_end_matches('/').parse().map_err(|_| bad)?;
        Ok(Self(Proxy { kind, address, user: user.map(str::to_owned), password: password.map(str::to_owned) }))
    }
}

// With its path: the fuzz target includes this file from elsewhere.
#[cfg(test)]
#[path = "settings/tests.rs"]
mod tests;
