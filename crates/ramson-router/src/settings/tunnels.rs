//! Tunnels: servers that are offered, and local ports that lead to others.

use super::{At, Fault, Hops, OneOrMany, Password, Quantity, To};
use ramson::{DestinationOptions, TunnelOptions};
use ramson_services::Order;
use ramson_services::tunnels::{Rates, RatesConfig, UdpFormat, Who};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Length and number of the tunnels of one direction, where it is not as the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Way {
    hops: Option<Hops>,
    quantity: Option<Quantity>,
    extra_hops: Option<Hops>,
}

/// What a destination is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape<'a> {
    pub(super) hops: Hops,
    pub(super) quantity: Quantity,
    pub(super) extra_hops: Option<Hops>,
    pub(super) inbound: &'a Way,
    pub(super) outbound: &'a Way,
    pub(super) compress: bool,
}

impl Shape<'_> {
    fn way(&self, way: &Way) -> TunnelOptions {
        let hops = way.hops.unwrap_or(self.hops).0;
        TunnelOptions {
            hops,
            // Who writes such a number means it.
            dangerously_short: hops < TunnelOptions::SAFE_HOPS,
            quantity: way.quantity.unwrap_or(self.quantity).0,
            extra_hops: way.extra_hops.or(self.extra_hops).map_or(0, |hops| hops.0),
        }
    }

    /// The same of a destination of ours.
    pub(crate) fn apply(&self, options: DestinationOptions) -> DestinationOptions {
        let (inbound, outbound) = (self.way(self.inbound), self.way(self.outbound));
        DestinationOptions { inbound, outbound, compress: self.compress, ..options }
    }

    /// Whether it can be: the name of what cannot.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let is_long = |way: &Way| {
            let options = self.way(way);
            options.hops + options.extra_hops > 7
        };
        match () {
            () if self.inbound.extra_hops.is_some() && is_long(self.inbound) => Some("inbound"),
            () if self.outbound.extra_hops.is_some() && is_long(self.outbound) => Some("outbound"),
            () if is_long(self.inbound) || is_long(self.outbound) => Some("extra_hops"),
            () => None,
        }
    }
}

const TOO_LONG: &str = "makes tunnels of more than 7 hops";

/// A server of ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: TunnelName,
    /// Whether it is there from the start.
    #[serde(default = "on")]
    pub(crate) enabled: bool,
    pub(crate) kind: Kind,
    pub(super) target: Option<At>,
    pub(super) folder: Option<PathBuf>,
    #[serde(default)]
    pub(crate) listing: bool,
    pub(crate) keys: PathBuf,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    /// Of a bidirectional one: where its proxy listens. Of a streamr one: where its source sends to.
    pub(crate) listen: Option<At>,
    pub(crate) webirc_password: Option<WebircPassword>,
    #[serde(default = "max_streams")]
    pub(crate) max_streams: usize,
    #[serde(default = "max_streams_per_client")]
    pub(crate) max_streams_per_client: usize,
    pub(super) max_subscribers: Option<usize>,
    #[serde(default)]
    pub(crate) allow: Vec<Listed>,
    #[serde(default)]
    pub(crate) deny: Vec<Listed>,
    #[serde(default)]
    per_client: Limits,
    #[serde(default)]
    in_all: Limits,
    #[serde(default)]
    hops: Hops,
    #[serde(default)]
    quantity: Quantity,
    extra_hops: Option<Hops>,
    #[serde(default)]
    inbound: Way,
    #[serde(default)]
    outbound: Way,
    #[serde(default)]
    compress: bool,
    /// Its address is said to who runs the command.
    #[serde(skip)]
    pub(crate) announced: bool,
}

/// Connections in a minute, an hour and a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    minute: Option<u32>,
    hour: Option<u32>,
    day: Option<u32>,
}

impl From<Limits> for Rates {
    fn from(Limits { minute, hour, day }: Limits) -> Self {
        Self { minute, hour, day }
    }
}

/// A local port that leads to a destination.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    pub(crate) name: TunnelName,
    /// Whether it is there from the start.
    #[serde(default = "on")]
    pub(crate) enabled: bool,
    #[serde(default)]
    pub(crate) kind: ClientKind,
    pub(super) listen: Option<At>,
    /// Of a streamr one: the local program that gets what comes.
    pub(super) target: Option<At>,
    pub(crate) to: OneOrMany<To>,
    #[serde(default)]
    pub(crate) order: InOrder,
    #[serde(default)]
    pub(crate) port: u16,
    #[serde(default = "max_connections")]
    pub(crate) max_connections: usize,
    pub(crate) datagram: Option<DatagramVersion>,
    /// Of the destination that all such have together.
    #[serde(default)]
    pub(crate) shared: bool,
    /// Of a destination that stays the same.
    pub(crate) keys: Option<PathBuf>,
    #[serde(default)]
    pub(crate) delayed: bool,
    pub(crate) close_after: Option<Minutes>,
    #[serde(default)]
    hops: Hops,
    #[serde(default)]
    quantity: Quantity,
    extra_hops: Option<Hops>,
    #[serde(default)]
    inbound: Way,
    #[serde(default)]
    outbound: Way,
    #[serde(default)]
    compress: bool,
}

/// The destination that clients have together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Shared {
    hops: Hops,
    quantity: Quantity,
    extra_hops: Option<Hops>,
    inbound: Way,
    outbound: Way,
    compress: bool,
}

macro_rules! shaped {
    ($($what:ty),*) => {$(
        impl $what {
            pub(crate) fn shape(&self) -> Shape<'_> {
                Shape {
                    hops: self.hops,
                    quantity: self.quantity,
                    extra_hops: self.extra_hops,
                    inbound: &self.inbound,
                    outbound: &self.outbound,
                    compress: self.compress,
                }
            }
        }
    )*};
}
pub(super) use shaped;
shaped!(Server, Client, Shared);

impl Shared {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let fault = |key| Fault { section: "shared", at: None, key, why: TOO_LONG.to_owned() };
        self.shape().fault().map_or(Ok(()), |key| Err(fault(key)))
    }
}

impl Server {
    pub(crate) fn rates(&self) -> RatesConfig {
        RatesConfig { client: self.per_client.into(), all: self.in_all.into() }
    }

    pub(super) fn check(&self, earlier: &[Self], i: usize) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "server", at: Some(i), key, why: why.to_owned() });
        self.check_site(i)?;
        let is_http = matches!(self.kind, Kind::Http | Kind::HttpBidirectional);
        if !is_http && self.host.is_some() {
            return fault("host", "is for kind = \"http\"");
        }
        if self.kind != Kind::Irc && self.webirc_password.is_some() {
            return fault("webirc_password", "is for kind = \"irc\"");
        }
        match (self.kind, &self.listen) {
            (Kind::HttpBidirectional, None) => return fault("kind", "needs `listen`, the address of its proxy"),
            (Kind::Streamr, None) => return fault("kind", "needs `listen`, the address that its source sends to"),
            (Kind::HttpBidirectional | Kind::Streamr, Some(at)) if !at.0.ip().is_loopback() => {
                return fault("listen", "must be a loopback address");
            }
            (Kind::HttpBidirectional | Kind::Streamr, _) | (_, None) => {}
            (_, Some(_)) => return fault("listen", "is for kind = \"http-bidirectional\" and \"streamr\""),
        }
        match self.max_subscribers {
            Some(_) if self.kind != Kind::Streamr => return fault("max_subscribers", "is for kind = \"streamr\""),
            Some(n) if !(1..=ramson_services::limits::STREAMR_SUBSCRIBERS).contains(&n) => {
                return fault("max_subscribers", "must be 1 to 256");
            }
            _ => {}
        }
        if let Some(key) = self.shape().fault() {
            return fault(key, TOO_LONG);
        }
        for (key, list) in [("allow", &self.allow), ("deny", &self.deny)] {
            if list.len() > ramson_services::limits::ACCESS {
                return fault(key, "is too long");
            }
        }
        if earlier.iter().any(|other| other.name == self.name) {
            return fault("name", "is taken by another server");
        }
        let shares = |other: &&Self| other.keys == self.keys;
        let same_door = |other: &Self| other.port == self.port && other.kind.is_datagrams() == self.kind.is_datagrams();
        if earlier.iter().filter(shares).any(same_door) {
            return fault("keys", "are those of another server: they need different ports");
        }
        if earlier.iter().filter(shares).any(|other| other.shape() != self.shape()) {
            return fault("keys", "are those of another server: they need the same hops and quantity");
        }
        Ok(())
    }
}

impl Server {
    /// How many may hear a streamr one.
    pub(crate) fn max_subscribers(&self) -> usize {
        self.max_subscribers.unwrap_or(ramson_services::limits::STREAMR_USUAL)
    }
}

impl Client {
    /// Its local address: where it listens or, of a streamr one, where packets go.
    pub(crate) fn at(&self) -> SocketAddr {
        self.listen.or(self.target).map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |At(at)| at)
    }

    pub(crate) fn close_after(&self) -> Option<Duration> {
        self.close_after.map(|minutes| Duration::from_secs(u64::from(minutes.0) * 60))
    }

    /// Whether its destination is made with the first connection only.
    pub(crate) fn is_delayed(&self) -> bool {
        self.delayed || self.close_after.is_some()
    }

    pub(super) fn check(&self, earlier: &[Self], servers: &[Server], i: usize) -> Result<(), Fault> {
        let fault = |key, why: &str| Err(Fault { section: "client", at: Some(i), key, why: why.to_owned() });
        let is_streamr = self.kind == ClientKind::Streamr;
        match (&self.listen, &self.target) {
            (Some(_), _) if is_streamr => return fault("listen", "has no use here: `target` is where packets go"),
            (_, None) if is_streamr => return fault("kind", "needs `target`, the address that packets go to"),
            (_, Some(_)) if !is_streamr => return fault("target", "is for kind = \"streamr\""),
            (None, _) if !is_streamr => return fault("name", "needs `listen`, the address of its local port"),
            (Some(at), _) if !at.0.ip().is_loopback() => return fault("listen", "must be a loopback address"),
            _ => {}
        }
        if earlier.iter().any(|other| other.name == self.name) {
            return fault("name", "is taken by another client");
        }
        let is_udp = matches!(self.kind, ClientKind::Udp | ClientKind::Streamr);
        if !is_udp && self.datagram.is_some() {
            return fault("datagram", "is for kind = \"udp\" and \"streamr\"");
        }
        if is_udp && self.to.0.len() != 1 {
            return fault("to", "must be one destination with kind = \"udp\" and \"streamr\"");
        }
        if self.to.0.is_empty() || self.to.0.len() > ramson_services::limits::TARGETS {
            return fault("to", "must be 1 to 16 destinations");
        }
        if self.max_connections == 0 {
            return fault("max_connections", "must be 1 or more");
        }
        if is_streamr && self.is_delayed() {
            let key = if self.delayed { "delayed" } else { "close_after" };
            return fault(key, "has no meaning here: it asks all the time");
        }
        if self.shared && (self.keys.is_some() || self.close_after.is_some() || self.delayed || is_udp) {
            return fault("shared", "contradicts `keys`, `delayed`, `close_after`, and kind = \"udp\" and \"streamr\"");
        }
        let taken = |keys: &PathBuf| {
            servers.iter().any(|server| server.keys == *keys)
                || earlier.iter().any(|other| other.keys.as_ref() == Some(keys))
        };
        if self.keys.as_ref().is_some_and(taken) {
            return fault("keys", "are those of another tunnel");
        }
        if let Some(key) = self.shape().fault() {
            return fault(key, TOO_LONG);
        }
        Ok(())
    }
}

const fn on() -> bool {
    true
}

fn max_streams() -> usize {
    256
}

fn max_streams_per_client() -> usize {
    32
}

fn max_connections() -> usize {
    ramson_services::limits::LOCAL_CONNECTIONS
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Kind {
    Http,
    HttpBidirectional,
    Irc,
    Site,
    Streamr,
    Tcp,
    Udp,
}

impl Kind {
    /// Whether it takes datagrams, and no streams.
    fn is_datagrams(self) -> bool {
        matches!(self, Self::Streamr | Self::Udp)
    }
}

impl TryFrom<String> for Kind {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "http" => Ok(Self::Http),
            "http-bidirectional" => Ok(Self::HttpBidirectional),
            "irc" => Ok(Self::Irc),
            "site" => Ok(Self::Site),
            "streamr" => Ok(Self::Streamr),
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err("a kind is \"http\", \"http-bidirectional\", \"irc\", \"site\", \"streamr\", \"tcp\" or \"udp\""),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum ClientKind {
    Irc,
    Streamr,
    #[default]
    Tcp,
    Udp,
}

impl TryFrom<String> for ClientKind {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "irc" => Ok(Self::Irc),
            "streamr" => Ok(Self::Streamr),
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err("the kind of a client is \"irc\", \"streamr\", \"tcp\" or \"udp\""),
        }
    }
}

/// Which of several destinations is next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct InOrder(pub(crate) Order);

impl TryFrom<String> for InOrder {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match text.as_str() {
            "in-turn" => Ok(Self(Order::InTurn)),
            "random" => Ok(Self(Order::Random)),
            _ => Err("an order is \"in-turn\" or \"random\""),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub(crate) struct DatagramVersion(pub(crate) UdpFormat);

impl TryFrom<u8> for DatagramVersion {
    type Error = &'static str;

    fn try_from(n: u8) -> Result<Self, &'static str> {
        match n {
            1 => Ok(Self(UdpFormat::One)),
            2 => Ok(Self(UdpFormat::Two)),
            3 => Ok(Self(UdpFormat::Three)),
            _ => Err("the version of datagrams is 1, 2 or 3"),
        }
    }
}

/// Minutes after which something is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Minutes(u32);

impl TryFrom<u32> for Minutes {
    type Error = &'static str;

    fn try_from(n: u32) -> Result<Self, &'static str> {
        if (1..=7 * 24 * 60).contains(&n) { Ok(Self(n)) } else { Err("that are 1 to 10080 minutes") }
    }
}

/// A password that stands in one line of IRC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct WebircPassword(pub(crate) Password);

impl TryFrom<String> for WebircPassword {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let good =
            (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) && !text.starts_with(':');
        if good { Ok(Self(Password(text))) } else { Err("a WEBIRC password is one word") }
    }
}

/// A destination in an access list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Listed(pub(crate) Who);

impl TryFrom<String> for Listed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Who::parse(&text).map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            format!("{shown:?} is no name, b32 address, hash or destination")
        })
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
