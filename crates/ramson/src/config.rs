//! The settings of a router, as plain data. Where they come from (a file, flags, a program) is the caller's affair.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// The number of the public I2P network.
pub const PUBLIC_NETWORK_ID: u8 = 2;

/// All settings of a router. [`Config::new`] gives those of the public network.
#[derive(Clone, Debug)]
pub struct Config {
    /// The router's folder: identity, netDb, peers. Made with mode 0700 if it is missing. One router at a time.
    pub data_dir: PathBuf,
    /// Which network it joins.
    pub network: NetworkConfig,
    /// Where it listens, and what it publishes.
    pub ntcp2: Ntcp2Config,
    /// Whether it speaks SSU2, and where.
    pub ssu2: Ssu2Config,
    /// Whether the gateway is asked to forward ports.
    pub port_mapping: PortMappingConfig,
    /// Where the first routers come from.
    pub reseed: ReseedConfig,
    /// The router's own tunnels.
    pub tunnels: TunnelConfig,
    /// Being a hop in the tunnels of others.
    pub transit: TransitConfig,
    /// How much it may send and receive.
    pub bandwidth: BandwidthConfig,
    /// Whether the router keeps a part of the network database for others.
    pub floodfill: Floodfill,
    /// Nobody is told where the router is, and it does nothing for others: no address is published, no RouterInfo is given
    /// to floodfills, and no tunnels of others go through it. For where running a router is dangerous.
    pub hidden: bool,
    /// Through which proxy outgoing connections to peers go. No NTCP2 address is published then.
    pub proxy: Option<Proxy>,
}

impl Config {
    /// The settings for the public network, with the router's files in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            network: NetworkConfig::public(),
            ntcp2: Ntcp2Config::default(),
            ssu2: Ssu2Config::default(),
            port_mapping: PortMappingConfig::default(),
            reseed: ReseedConfig::default(),
            tunnels: TunnelConfig::default(),
            transit: TransitConfig::default(),
            bandwidth: BandwidthConfig::default(),
            floodfill: Floodfill::default(),
            hidden: false,
            proxy: None,
        }
    }

    /// The settings for a private network with the given number: addresses of private ranges and several routers of
    /// one subnet are accepted there, and nothing is fetched from the public reseed servers.
    pub fn private(data_dir: impl Into<PathBuf>, id: u8) -> Self {
        let network = NetworkConfig { id, allow_reserved_addresses: true, allow_same_subnet: true };
        let reseed = ReseedConfig { servers: ReseedServers::Off, ..ReseedConfig::default() };
        Self { network, reseed, ..Self::new(data_dir) }
    }
}

/// Which network, and by which rules its routers are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The `netId`; 2 is the public network, 16 to 254 are for private ones.
    pub id: u8,
    /// Peers may have loopback, private and other reserved addresses. Only for private networks.
    pub allow_reserved_addresses: bool,
    /// Two hops of a tunnel may be of one /16, and clock samples of one subnet all count. Only for private networks.
    pub allow_same_subnet: bool,
}

impl NetworkConfig {
    /// The I2P network.
    pub fn public() -> Self {
        Self { id: PUBLIC_NETWORK_ID, allow_reserved_addresses: false, allow_same_subnet: false }
    }

    /// Whether this is the public network.
    pub fn is_public(&self) -> bool {
        self.id == PUBLIC_NETWORK_ID
    }
}

/// The NTCP2 transport.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ntcp2Config {
    /// Where to listen. Empty: on all addresses of both families, at a random port that is kept in the data folder;
    /// nowhere with a proxy. Port 0 means that random port, too.
    pub bind: Vec<SocketAddr>,
    /// The addresses to publish, if they are known. A port of 0 means the port of the listener of that family.
    pub publish: Vec<SocketAddr>,
    /// Do not listen at all.
    pub outbound_only: bool,
    /// Choose the padding of message 1 so that its first bytes print as ASCII, against filters of random-looking
    /// traffic.
    pub printable_padding: bool,
}

/// The SSU2 transport, over UDP.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ssu2Config {
    /// Whether there is any. It uses the addresses of [`Ntcp2Config::bind`], or all of both families. Not with a proxy.
    pub enabled: bool,
    /// The port; 0 means that of NTCP2.
    pub port: u16,
}

/// Asking the gateway of the local network to forward the ports of NTCP2 and SSU2, by PCP, NAT-PMP or UPnP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PortMappingConfig {
    /// Whether it is asked.
    pub wish: PortMapping,
    /// Its IPv4 address; else that of the default route, where the system (Linux) tells it.
    pub gateway: Option<Ipv4Addr>,
}

/// Whether the gateway is asked to forward ports. Never with a proxy, and not for a router that does not listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PortMapping {
    /// No.
    No,
    /// Yes. Refused in a build without the feature `port-mapping`.
    Yes,
    /// On the public network, when the machine has a private IPv4 address and none is to be published.
    #[default]
    Auto,
}

/// Where the first routers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReseedConfig {
    /// Which servers are asked.
    pub servers: ReseedServers,
    /// Files (su3 or zip) and folders of RouterInfos, read before any server is asked.
    pub files: Vec<PathBuf>,
    /// Through which proxy the servers are asked.
    pub proxy: Option<Proxy>,
    /// More certificates of signers (PEM files), besides the shipped ones.
    pub certificates: Vec<PathBuf>,
    /// Accept bundles without a valid signature from `files`.
    pub dangerously_accept_unsigned_files: bool,
    /// Reseed when fewer routers than this are known.
    pub minimum_routers: usize,
}

impl Default for ReseedConfig {
    fn default() -> Self {
        Self {
            servers: ReseedServers::Shipped,
            files: Vec::new(),
            proxy: None,
            certificates: Vec::new(),
            dangerously_accept_unsigned_files: false,
            minimum_routers: 50,
        }
    }
}

/// Which reseed servers are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReseedServers {
    /// The list that is shipped.
    Shipped,
    /// These, each a URL of a folder that holds `i2pseeds.su3`, or of the bundle itself.
    Urls(Vec<String>),
    /// None.
    Off,
}

/// The router's own tunnels: length and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    /// Hops of exploratory tunnels, 0 to 7. They carry look-ups, and builds of the other tunnels.
    pub exploratory_hops: u8,
    /// Exploratory tunnels each way.
    pub exploratory_quantity: u8,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self { exploratory_hops: 2, exploratory_quantity: 3 }
    }
}

/// Being a hop in the tunnels of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitConfig {
    /// Whether tunnels of others are accepted.
    pub enabled: bool,
    /// At most so many tunnels of others.
    pub max_tunnels: usize,
    /// At most so many bytes a second for others, each way.
    pub bytes_per_second: u64,
}

impl Default for TransitConfig {
    fn default() -> Self {
        Self { enabled: true, max_tunnels: 2_500, bytes_per_second: 2_000_000 }
    }
}

/// What all traffic of the router may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandwidthConfig {
    /// Bytes a second that come in, over all connections with routers. One second of it may come at once.
    pub incoming: Option<u64>,
    /// Bytes a second that go out.
    pub outgoing: Option<u64>,
    /// The part of the smaller limit that others may use, in percent; nothing is theirs with 0. The rest is ours.
    pub share_percent: u8,
}

impl Default for BandwidthConfig {
    fn default() -> Self {
        Self { incoming: None, outgoing: None, share_percent: 80 }
    }
}

/// Serving as a floodfill: keeping a part of the network database for others. It takes a machine that can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Floodfill {
    /// Never.
    No,
    /// Whenever the router can be reached.
    Yes,
    /// By itself: when the router was reachable for two hours, carries 128 KB/s or more for others without being full,
    /// and the network has fewer floodfills than it should have. It leaves when that no longer holds.
    #[default]
    Auto,
}

/// A proxy for outgoing connections. Host names are resolved by the proxy, never here.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Where it listens.
    pub address: SocketAddr,
    /// The user, where it asks for one.
    pub user: Option<String>,
    /// The password, where it asks for one. It passes in the clear.
    pub password: Option<String>,
}

/// The protocol of a [`Proxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP CONNECT.
    Http,
    /// SOCKS 5, with addresses in numbers.
    Socks5,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.address)
    }
}
