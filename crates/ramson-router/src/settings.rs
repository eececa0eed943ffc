//! The config file: read strictly, so that a slip is an error with its line, never a silent default.

use ramson::TunnelOptions;
use ramson::config::{
    Config, NetworkConfig, Ntcp2Config, PUBLIC_NETWORK_ID, Proxy, ProxyKind, ReseedConfig, ReseedServers,
    TransitConfig, TunnelConfig,
};
use ramson_services::names::Host;
use serde::{Deserialize, Deserializer, de::Error as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
    pub(crate) http_proxy: HttpProxy,
    #[serde(default)]
    pub(crate) server: Vec<Server>,
    #[serde(default)]
    pub(crate) client: Vec<Client>,
    #[serde(default)]
    pub(crate) log: Log,
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
    listen: Vec<SocketAddr>,
    publish: Vec<SocketAddr>,
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
pub(crate) struct HttpProxy {
    pub(crate) enabled: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    hops: Hops,
    quantity: Quantity,
}

/// A server of ours.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: TunnelName,
    pub(crate) kind: Kind,
    pub(crate) target: SocketAddr,
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
}

/// A local port that leads to a destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    pub(crate) name: TunnelName,
    pub(crate) listen: SocketAddr,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Http,
    Tcp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Settings {
    /// Reads the text of a config file. The error names the line and the key.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        settings.check()?;
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

    fn check(&self) -> Result<(), String> {
        let public = self.network.id.0 == PUBLIC_NETWORK_ID;
        if public && (self.network.allow_reserved_addresses || self.network.allow_same_subnet) {
            return Err("[network] allow_reserved_addresses and allow_same_subnet are for private networks only".into());
        }
        let proxy = &self.http_proxy;
        if proxy.user.is_some() != proxy.password.is_some() {
            return Err("[http_proxy] user and password come together, or not at all".into());
        }
        if proxy.enabled && proxy.password.is_none() && !proxy.listen.ip().is_loopback() {
            return Err(format!("[http_proxy] listen = \"{}\" is open to others: set user and password", proxy.listen));
        }
        if self.ntcp2.proxy.is_some() && !self.ntcp2.publish.is_empty() {
            return Err("[ntcp2] publish and proxy contradict each other".into());
        }
        for client in &self.client {
            if !client.listen.ip().is_loopback() {
                return Err(format!("[[client]] {}: listen must be a loopback address", client.name.0));
            }
        }
        for (i, server) in self.server.iter().enumerate() {
            if server.kind == Kind::Tcp && server.host.is_some() {
                return Err(format!("[[server]] {}: host is for kind = \"http\"", server.name.0));
            }
            if self.server.iter().take(i).any(|other| other.name == server.name) {
                return Err(format!("[[server]] {}: the name is taken", server.name.0));
            }
            if self.server.iter().take(i).any(|other| {
                other.keys == server.keys
                    && (other.port == server.port || other.hops != server.hops || other.quantity != server.quantity)
            }) {
                return Err(format!(
                    "[[server]] {}: servers of one key file need different ports and equal tunnels",
                    server.name.0
                ));
            }
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
                bind: self.ntcp2.listen.clone(),
                publish: self.ntcp2.publish.clone(),
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
            proxy: self.ntcp2.proxy.clone().map(|p| p.0),
        }
    }
}

impl HttpProxy {
    pub(crate) fn tunnels(&self) -> TunnelOptions {
        TunnelOptions { hops: self.hops.0, quantity: self.quantity.0 }
    }
}

impl Server {
    pub(crate) fn tunnels(&self) -> TunnelOptions {
        TunnelOptions { hops: self.hops.0, quantity: self.quantity.0 }
    }
}

impl Client {
    pub(crate) fn tunnels(&self) -> TunnelOptions {
        TunnelOptions { hops: self.hops.0, quantity: self.quantity.0 }
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

impl Default for HttpProxy {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 4444));
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
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(i64),
            Name(String),
        }
        let text = match Form::deserialize(d)? {
            Form::Number(n) => n.to_string(),
            Form::Name(name) => name,
        };
        text.parse().map_err(D::Error::custom)
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
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            Urls(Vec<String>),
        }
        match Form::deserialize(d)? {
            Form::Word(word) if word == "shipped" => Ok(Self(ReseedServers::Shipped)),
            Form::Word(word) if word == "off" => Ok(Self(ReseedServers::Off)),
            Form::Word(_) => Err(D::Error::custom("servers is \"shipped\", \"off\", or a list of URLs")),
            Form::Urls(urls) => match urls.iter().find(|u| !u.starts_with("https://") && !u.starts_with("http://")) {
                Some(url) => Err(D::Error::custom(format!("{url:?} is no URL"))),
                None => Ok(Self(ReseedServers::Urls(urls))),
            },
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_good_and_every_setting_in_it_is_known() {
        for id in ["public", "99"] {
            let text = Settings::template(id.parse().unwrap());
            Settings::parse(&text).unwrap();
        }
        let text = Settings::template(NetworkId(99));
        let open: String = text
            .lines()
            .map(|l| l.strip_prefix('#').filter(|r| !r.starts_with(' ')).unwrap_or(l))
            .map(|l| format!("{l}\n"))
            .collect();
        let open = open.replace("socks5://127.0.0.1:9050", "http://u:p@127.0.0.1:1");
        let settings = Settings::parse(&open).unwrap();
        assert_eq!((settings.server.len(), settings.client.len()), (1, 1));
        assert_eq!(settings.router(Path::new("/d")).proxy.unwrap().user.as_deref(), Some("u"));
    }

    #[test]
    fn what_the_template_says_is_the_default_is_the_default() {
        let bare = Settings::parse("[network]\nid = 99\n").unwrap().router(Path::new("/d"));
        let tunnels = "[network]\nid = 99\n[tunnels]\nexploratory_hops = 2\nexploratory_quantity = 3\n[transit]\nenabled = true\nmax_tunnels = 2500\nkilobytes_per_second = 2000\n";
        let said = Settings::parse(tunnels).unwrap().router(Path::new("/d"));
        assert_eq!((bare.tunnels, bare.transit), (said.tunnels, said.transit));
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        let error = |text: &str| Settings::parse(&format!("[network]\nid = 99\n{text}")).unwrap_err();
        let cases = [
            ("[http_proxy]\nlisten = \"4444\"\n", ["line 4", "listen"]),
            ("[http_proxy]\nlisen = \"127.0.0.1:1\"\n", ["line 4", "lisen"]),
            ("[http_proxi]\n", ["line 3", "http_proxi"]),
            ("[tunnels]\nexploratory_hops = 9\n", ["line 4", "0 to 7 hops"]),
            ("[log]\nlevel = \"loud\"\n", ["line 4", "loud"]),
            ("[ntcp2]\nproxy = \"socks5://host:1\"\n", ["line 4", "address in numbers"]),
            ("[[client]]\nname = \"x\"\nlisten = \"127.0.0.1:1\"\nto = \"example.com\"\n", ["line 6", "i2p"]),
            ("[http_proxy]\nlisten = \"0.0.0.0:4444\"\n", ["http_proxy", "password"]),
            ("[log\n", ["line 3", "log"]),
        ];
        for (text, words) in cases {
            let e = error(text);
            assert!(words.iter().all(|w| e.contains(w)), "{e}");
        }
        assert!(Settings::parse("").unwrap_err().contains("network"));
        assert!(Settings::parse("[network]\nid = 1\n").unwrap_err().contains("line 2"));
        let public = "[network]\nid = \"public\"\nallow_same_subnet = true\n";
        assert!(Settings::parse(public).unwrap_err().contains("private"));
    }
}
