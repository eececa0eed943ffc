//! The config file: read strictly, so that a slip is an error with its line, never a silent default.

// With their paths: the fuzz target includes this file from elsewhere.
#[path = "settings/door.rs"]
mod door;
#[path = "settings/i2cp.rs"]
mod i2cp;
#[path = "settings/i2pcontrol.rs"]
mod i2pcontrol;
#[path = "settings/list.rs"]
mod list;
#[path = "settings/names.rs"]
mod names;
#[path = "settings/port_mapping.rs"]
mod port_mapping;
#[path = "settings/proxies.rs"]
mod proxies;
#[path = "settings/rate.rs"]
mod rate;
#[path = "settings/sam.rs"]
mod sam;
#[path = "settings/site.rs"]
mod site;
#[path = "settings/tunnels.rs"]
mod tunnels;

pub(crate) use i2cp::I2cp;
use i2pcontrol::I2pControl;
pub(crate) use list::OneOrMany;
pub(crate) use names::Naming;
use port_mapping::PortMapping;
pub(crate) use proxies::{HttpProxy, Socks};
use ramson::TunnelOptions;
use ramson::config::{
    BandwidthConfig, Config, Floodfill, NetworkConfig, Ntcp2Config, PUBLIC_NETWORK_ID, Proxy, ProxyKind, ReseedConfig,
    ReseedServers, Ssu2Config, TransitConfig, TunnelConfig,
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
#[cfg(test)]
pub(crate) use tunnels::Shape;
pub(crate) use tunnels::{Client, ClientKind, Kind, Listed, Server, Shared};

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
    ssu2: Ssu2,
    #[serde(default)]
    port_mapping: PortMapping,
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
    pub(crate) socks: Socks,
    #[serde(default)]
    pub(crate) sam: Sam,
    #[serde(default)]
    pub(crate) i2cp: I2cp,
    #[serde(default)]
    pub(crate) i2pcontrol: I2pControl,
    #[serde(default)]
    pub(crate) names: Naming,
    #[serde(default)]
    pub(crate) shared: Shared,
    #[serde(default)]
    pub(crate) server: Vec<Server>,
    #[serde(default)]
    pub(crate) client: Vec<Client>,
    #[serde(default)]
    pub(crate) log: Log,
    #[serde(default)]
    pub(crate) process: Process,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    pub(crate) id: NetworkId,
    #[serde(default)]
    allow_reserved_addresses: bool,
    #[serde(default)]
    allow_same_subnet: bool,
    #[serde(default)]
    hidden: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ntcp2 {
    listen: Vec<At>,
    publish: Vec<At>,
    outbound_only: bool,
    printable_padding: bool,
    proxy: Option<ProxyUrl>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ssu2 {
    enabled: port_mapping::Enabled,
    port: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reseed {
    servers: Servers,
    files: Vec<PathBuf>,
    proxy: Option<ProxyUrl>,
    certificates: Vec<PathBuf>,
    dangerously_accept_unsigned_files: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tunnels {
    exploratory_hops: Hops,
    exploratory_quantity: Quantity,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Transit {
    enabled: bool,
    max_tunnels: usize,
    kilobytes_per_second: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Bandwidth {
    #[serde(rename = "in")]
    incoming: Rate,
    #[serde(rename = "out")]
    outgoing: Rate,
    share: Percent,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NetDb {
    floodfill: Floodfilling,
}

/// Whether to serve as a floodfill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Floodfilling {
    No,
    Yes,
    #[default]
    Auto,
}

/// A password, which is not shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) level: Level,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
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
    /// Bytes a second in and out that the router may use, where that is limited.
    pub(crate) const fn limits(&self) -> (Option<u64>, Option<u64>) {
        (self.bandwidth.incoming.0, self.bandwidth.outgoing.0)
    }

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
        self.http_proxy.check()?;
        self.socks.check()?;
        self.sam.check()?;
        self.shared.check()?;
        self.i2cp.check()?;
        self.i2pcontrol.check()?;
        self.check_ntcp2(public)?;
        for (i, client) in self.client.iter().enumerate() {
            client.check(self.client.get(..i).unwrap_or_default(), &self.server, i)?;
        }
        for (i, server) in self.server.iter().enumerate() {
            server.check(self.server.get(..i).unwrap_or_default(), i)?;
        }
        Ok(())
    }

    /// Takes over what can change while the router runs.
    pub(crate) fn take_services(&mut self, new: Self) {
        let Self { http_proxy, socks, shared, server, client, .. } = new;
        (self.http_proxy, self.socks, self.shared) = (http_proxy, socks, shared);
        (self.server, self.client) = (server, client);
    }

    /// The sections in which `new` differs, and which are read at the start only.
    pub(crate) fn need_a_restart(&self, new: &Self) -> Vec<&'static str> {
        // Taken apart, so that a new section cannot be forgotten here.
        let Self {
            network,
            ntcp2,
            ssu2,
            port_mapping,
            reseed,
            tunnels,
            transit,
            bandwidth,
            netdb,
            sam,
            i2cp,
            i2pcontrol,
            names,
            log,
            process,
            // These can change while the router runs.
            http_proxy: _,
            socks: _,
            shared: _,
            server: _,
            client: _,
        } = self;
        let sections = [
            ("network", *network != new.network),
            ("ntcp2", *ntcp2 != new.ntcp2),
            ("ssu2", *ssu2 != new.ssu2),
            ("port_mapping", *port_mapping != new.port_mapping),
            ("reseed", *reseed != new.reseed),
            ("tunnels", *tunnels != new.tunnels),
            ("transit", *transit != new.transit),
            ("bandwidth", *bandwidth != new.bandwidth),
            ("netdb", *netdb != new.netdb),
            ("sam", *sam != new.sam),
            ("i2cp", *i2cp != new.i2cp),
            ("i2pcontrol", *i2pcontrol != new.i2pcontrol),
            ("names", *names != new.names),
            ("log", *log != new.log),
            ("process", *process != new.process),
        ];
        sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }

    fn check_ntcp2(&self, public: bool) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "ntcp2", at: None, key, why: why.to_owned() });
        let ntcp2 = &self.ntcp2;
        if ntcp2.proxy.is_some() && !ntcp2.publish.is_empty() {
            return fault("publish", "has no use beside a proxy: no address is told to the network then");
        }
        if ntcp2.proxy.is_some() && self.ssu2.enabled.or(false) {
            return fault("proxy", "is not for SSU2, which would show what it hides");
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

    /// Whether it is the I2P network.
    pub(crate) fn is_public(&self) -> bool {
        self.network.id.0 == PUBLIC_NETWORK_ID
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
            ssu2: Ssu2Config {
                enabled: self.ssu2.enabled.or(self.ntcp2.proxy.is_none() && !self.ntcp2.outbound_only),
                port: self.ssu2.port,
            },
            hidden: self.network.hidden,
            port_mapping: self.port_mapping.config(),
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

/// The destination of a client tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct To(pub(crate) Host);

impl TryFrom<String> for To {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Host::parse(&text).map(Self).map_err(|e| e.to_string())
    }
}

/// `shipped`, `off`, or URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
